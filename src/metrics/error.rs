//! What keeps a score from being computed.

/// Input that cannot be scored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Two volumes that should describe the same voxels do not have the same number of them.
    #[error(
        "the {what} has {found} voxels where {expected} are expected: \
         both images must lie on one grid, resample one onto the other first"
    )]
    Length {
        /// Which input is wrong.
        what: &'static str,
        /// Number of voxels it should have.
        expected: usize,
        /// Number of voxels it has.
        found: usize,
    },
    /// A value that is no probability.
    #[error(
        "voxel {index} has the value {value}, but a probability lies within 0 and 1: \
         divide a map in percent by 100 and a 0/255 mask by 255"
    )]
    NotAProbability {
        /// Index of the voxel, x fastest.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A mask without a voxel where at least one is needed.
    #[error("the {what} is empty: there is nothing to measure in it")]
    Empty {
        /// Which input is empty.
        what: &'static str,
    },
    /// A setting outside its range.
    #[error("{name} is {value}, but must be {range}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values it may have, in words.
        range: &'static str,
    },
}

impl MetricsError {
    /// An error unless an input has the expected number of voxels.
    pub(super) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        if expected == found {
            Ok(())
        } else {
            Err(Self::Length {
                what,
                expected,
                found,
            })
        }
    }

    /// An error unless `allowed`.
    pub(super) fn check_setting(
        name: &'static str,
        value: f64,
        allowed: bool,
        range: &'static str,
    ) -> Result<(), Self> {
        if allowed {
            Ok(())
        } else {
            Err(Self::Setting { name, value, range })
        }
    }
}

/// How far outside 0..=1 a probability may lie: fusing and resampling round in f32.
const ROUNDING: f32 = 1e-5;

/// Refuses anything but probabilities; rounding errors outside 0..=1 pass and count as 0 or 1.
pub(super) fn check_probabilities(probability: &[f32]) -> Result<(), MetricsError> {
    let allowed = -ROUNDING..=1.0 + ROUNDING;
    match probability.iter().position(|p| !allowed.contains(p)) {
        None => Ok(()),
        Some(index) => Err(MetricsError::NotAProbability {
            index,
            value: probability[index],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probabilities_pass() {
        assert_eq!(check_probabilities(&[0.0, 1.0, -1e-6, 1.000_001]), Ok(()));
        for value in [f32::INFINITY, -0.1, 255.0] {
            assert_eq!(
                check_probabilities(&[0.5, value]),
                Err(MetricsError::NotAProbability { index: 1, value })
            );
        }
        assert!(check_probabilities(&[f32::NAN]).is_err());
    }

    #[test]
    fn messages_carry_the_numbers() {
        let message = MetricsError::check_length("reference", 24, 23)
            .unwrap_err()
            .to_string();
        assert!(message.contains("23") && message.contains("24"), "{message}");
    }
}
