//! Watching a network on a few fixed held-out patches.

use crate::learn::augment::patch::Patch;
use crate::net::{DenseNet, InferNet};
use burn::tensor::{Device, Tensor, TensorData};

/// Fixed patches a network is scored on while it trains.
#[derive(Clone, Debug)]
pub struct Watch {
    patches: Vec<Patch>,
}

/// Voxel counts at threshold 0.5, and the scores they give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lesion voxels found.
    pub found: u64,
    /// Voxels found where there is no lesion.
    pub wrong: u64,
    /// Lesion voxels missed.
    pub missed: u64,
}

impl Counts {
    /// Counts of logits against labels (0 or 1); voxels with any other label do not count.
    #[must_use]
    pub fn of_logits(logits: &[f32], labels: &[f32]) -> Self {
        let mut counts = Self::default();
        for (z, g) in logits.iter().zip(labels).filter(|(_, g)| **g >= 0.0) {
            match (*z >= 0.0, *g >= 0.5) {
                (true, true) => counts.found += 1,
                (true, false) => counts.wrong += 1,
                (false, true) => counts.missed += 1,
                (false, false) => {}
            }
        }
        counts
    }

    /// Dice coefficient; `None` where nothing was to be found and nothing was.
    #[must_use]
    pub fn dsc(&self) -> Option<f64> {
        share(2 * self.found, 2 * self.found + self.wrong + self.missed)
    }

    /// Positive predictive value; `None` where nothing was found.
    #[must_use]
    pub fn ppv(&self) -> Option<f64> {
        share(self.found, self.found + self.wrong)
    }

    /// True positive rate; `None` where nothing was to be found.
    #[must_use]
    pub fn tpr(&self) -> Option<f64> {
        share(self.found, self.found + self.missed)
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            found: self.found + other.found,
            wrong: self.wrong + other.wrong,
            missed: self.missed + other.missed,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| a + b)
    }
}

fn share(a: u64, b: u64) -> Option<f64> {
    (b > 0).then(|| a as f64 / b as f64)
}

impl Watch {
    /// Patches to watch.
    #[must_use]
    pub fn new(patches: Vec<Patch>) -> Self {
        Self { patches }
    }

    /// Scores a network (without autodiff) that lives on `device`; `None` if there is nothing to watch.
    #[must_use]
    pub fn score(&self, net: &DenseNet, device: &Device) -> Option<Counts> {
        let (net, mut counts) = (InferNet::new(net), Counts::default());
        for patch in &self.patches {
            let n = patch.side;
            let channels = patch.image.len() / n.pow(3).max(1);
            let data = TensorData::new(patch.image.clone(), [1, channels, n, n, n]);
            let logits = net.logits(Tensor::from_data(data, device));
            let logits: Vec<f32> = logits.into_data().try_to_vec().ok()?;
            counts = counts + Counts::of_logits(&logits, &patch.label);
        }
        (!self.patches.is_empty()).then_some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_give_the_scores_of_their_definitions() {
        // The last two voxels are unknown.
        let counts = Counts::of_logits(
            &[2.0, -1.0, 0.5, -3.0, 1.0, 4.0, -4.0],
            &[1.0, 1.0, 0.0, 0.0, 1.0, -1.0, -1.0],
        );
        assert_eq!(
            counts,
            Counts {
                found: 2,
                wrong: 1,
                missed: 1
            }
        );
        assert_eq!(counts.dsc(), Some(4.0 / 6.0));
        assert_eq!(counts.ppv(), Some(2.0 / 3.0));
        assert_eq!(counts.tpr(), Some(2.0 / 3.0));
        let nothing = Counts::default();
        assert_eq!([nothing.dsc(), nothing.ppv(), nothing.tpr()], [None; 3]);
        assert_eq!([counts, nothing, counts].into_iter().sum::<Counts>().found, 4);
    }
}
