//! Watching a network on a few fixed held-out patches.

use crate::learn::augment::patch::Patch;
use crate::net::{DenseNet, Mode};
use burn::tensor::{Device, Tensor, TensorData, activation};

/// Fixed patches a network is scored on while it trains.
#[derive(Clone, Debug)]
pub struct Watch {
    patches: Vec<Patch>,
}

/// Voxel counts over all patches at threshold 0.5, and the scores they give; `None` where the denominator is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WatchScore {
    /// Dice coefficient.
    pub dsc: Option<f64>,
    /// Positive predictive value.
    pub ppv: Option<f64>,
    /// True positive rate.
    pub tpr: Option<f64>,
}

impl Watch {
    /// Patches to watch.
    #[must_use]
    pub fn new(patches: Vec<Patch>) -> Self {
        Self { patches }
    }

    /// Scores a network (without autodiff) that lives on `device`; `None` if there is nothing to watch.
    #[must_use]
    pub fn score(&self, net: &DenseNet, device: &Device) -> Option<WatchScore> {
        let [mut tp, mut fp, mut missed] = [0u64; 3];
        for patch in &self.patches {
            let n = patch.side;
            let channels = patch.image.len() / n.pow(3).max(1);
            let data = TensorData::new(patch.image.clone(), [1, channels, n, n, n]);
            let p = activation::sigmoid(net.forward(Tensor::from_data(data, device), Mode::Infer));
            let p: Vec<f32> = p.into_data().try_to_vec().ok()?;
            for (p, g) in p.iter().zip(&patch.label) {
                match (*p >= 0.5, *g >= 0.5) {
                    (true, true) => tp += 1,
                    (true, false) => fp += 1,
                    (false, true) => missed += 1,
                    (false, false) => {}
                }
            }
        }
        let share = |a: u64, b: u64| (b > 0).then(|| a as f64 / b as f64);
        (!self.patches.is_empty()).then(|| WatchScore {
            dsc: share(2 * tp, 2 * tp + fp + missed),
            ppv: share(tp, tp + fp),
            tpr: share(tp, tp + missed),
        })
    }
}
