//! Voxel-wise agreement at each of a few thresholds.

use super::error::check_probabilities;
use super::{Confusion, MetricsError};

/// The agreement of a probability map with a reference at each of `thresholds`, exactly, from one look at every
/// voxel. A voxel is lesion where its probability is above 0 and at or above the threshold, as in
/// [`evaluate`](super::evaluate) without a smallest lesion.
///
/// # Errors
/// [`MetricsError::Length`] if the two inputs differ in length, [`MetricsError::NotAProbability`] if a value is not
/// a number within 0 and 1, [`MetricsError::Setting`] if the thresholds do not ascend within 0 and 1.
pub fn confusions_at(
    reference: &[bool],
    probability: &[f32],
    thresholds: &[f32],
) -> Result<Vec<Confusion>, MetricsError> {
    MetricsError::check_length("probability map", reference.len(), probability.len())?;
    check_probabilities(probability)?;
    for (index, &threshold) in thresholds.iter().enumerate() {
        let ascends = index == 0 || thresholds[index - 1] < threshold;
        let allowed = ascends && (0.0..=1.0).contains(&threshold);
        MetricsError::check_setting(
            "threshold",
            f64::from(threshold),
            allowed,
            "within 0 and 1 and above the one before it",
        )?;
    }

    // Voxels, and lesion voxels among them, by the number of thresholds that they reach.
    let mut reached = vec![[0_u64; 2]; thresholds.len() + 1];
    for (&p, &lesion) in probability.iter().zip(reference) {
        let count = if p > 0.0 {
            thresholds.partition_point(|&threshold| threshold <= p)
        } else {
            0
        };
        reached[count][0] += 1;
        reached[count][1] += u64::from(lesion);
    }
    let lesions: u64 = reached.iter().map(|[_, lesions]| lesions).sum();
    let (mut marked, mut hits) = (0, 0);
    let mut found: Vec<Confusion> = reached[1..]
        .iter()
        .rev()
        .map(|[voxels, lesion]| {
            marked += voxels;
            hits += lesion;
            Confusion {
                true_positives: hits,
                false_positives: marked - hits,
                false_negatives: lesions - hits,
                true_negatives: reference.len() as u64 + hits - marked - lesions,
            }
        })
        .collect();
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hand_made_map() {
        let reference = [true, true, false, false, true];
        let probability = [0.9, 0.5, 0.5, 0.2, 0.0];
        let found = confusions_at(&reference, &probability, &[0.0, 0.5, 0.6, 1.0]).unwrap();
        let dice: Vec<_> = found.iter().map(Confusion::dice).collect();
        assert_eq!(
            dice,
            [Some(4.0 / 7.0), Some(4.0 / 6.0), Some(2.0 / 4.0), Some(0.0)]
        );
        assert_eq!(confusions_at(&reference, &probability, &[]), Ok(vec![]));
    }

    #[test]
    fn thresholds_must_ascend_within_0_and_1() {
        for bad in [
            &[0.5, 0.5][..],
            &[0.6, 0.5],
            &[1.5],
            &[f32::NAN],
            &[0.1, f32::NAN],
        ] {
            let error = confusions_at(&[true], &[0.5], bad).unwrap_err();
            assert!(matches!(error, MetricsError::Setting { .. }), "{bad:?}");
        }
        assert!(confusions_at(&[true], &[], &[0.5]).is_err());
        assert!(confusions_at(&[true], &[2.0], &[0.5]).is_err());
    }

    proptest! {
        #[test]
        fn every_threshold_is_the_confusion_of_its_mask(
            voxels in proptest::collection::vec((any::<bool>(), 0_u8..=20), 1..80),
        ) {
            let (reference, probability): (Vec<bool>, Vec<f32>) =
                voxels.into_iter().map(|(lesion, p)| (lesion, f32::from(p) / 20.0)).unzip();
            let thresholds: Vec<f32> = (0..=10_u8).map(|step| f32::from(step) / 10.0).collect();
            let found = confusions_at(&reference, &probability, &thresholds).unwrap();
            for (threshold, found) in thresholds.iter().zip(found) {
                let mask: Vec<bool> = probability.iter().map(|p| *p > 0.0 && p >= threshold).collect();
                prop_assert_eq!(found, Confusion::new(&reference, &mask).unwrap());
            }
        }
    }
}
