//! Groups of patches: predicted in batches, fused on the device, read back once.

use super::{Engine, EngineError, probabilities, read};
use crate::net::config::{ConfigError, NetConfig};
use crate::net::{kernels, memory};
use crate::tiling::{Fuser, Group, Rotation, Sums, Window};
use burn::tensor::{Device, Tensor, TensorData};

/// How much an adapter takes at once.
struct Portion {
    /// Voxels of the patches of a group.
    voxels: usize,
    /// Bytes that a batch may take at its peak.
    batch: u64,
}

/// A GPU: 8 patches of 64^3 hide launches and the read-back.
const HARDWARE: Portion = Portion {
    voxels: 8 << 18,
    batch: 512_000_000,
};

/// An adapter in software, where a patch takes seconds and progress shall stay alive: 2 patches of 64^3. One patch of that
/// size keeps the processor busy, and two in a batch win nothing (`docs/performance.md`); small ones still go together.
const SOFTWARE: Portion = Portion {
    voxels: 2 << 18,
    batch: 128_000_000,
};

impl Engine {
    /// Voxels that the patches of a group may have in all ([`Group::size`]); 0 where patches are best predicted one by one.
    #[must_use]
    pub fn group_voxels(&self) -> usize {
        match self.binding {
            None => 0,
            // Votes and their spread lie in one buffer, over a box of no more voxels.
            Some(binding) => usize::try_from(binding / 8)
                .unwrap_or(usize::MAX)
                .min(self.portion().voxels),
        }
    }

    /// Patches that this engine runs through a network of this form together, when it has as many as it takes
    /// ([`Engine::group_voxels`]).
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration or the side is out of range.
    pub fn batch(&self, config: &NetConfig, side: usize) -> Result<usize, ConfigError> {
        match Group::size(self.group_voxels(), side) {
            None => Ok(1),
            Some(count) => self.batch_of(config, side, count),
        }
    }

    /// Patches that go together, of `count`.
    fn batch_of(&self, config: &NetConfig, side: usize, count: usize) -> Result<usize, ConfigError> {
        let binding = self.binding.unwrap_or(u64::MAX);
        let most = memory::batch(config, side, count, self.portion().batch, binding)?;
        // Equal batches use the same buffers again.
        Ok(count.div_ceil(count.div_ceil(most)))
    }

    fn portion(&self) -> Portion {
        if self.is_software() { SOFTWARE } else { HARDWARE }
    }

    /// Predicts the patches of a group and sums their votes, weighed by `window`; `spread` asks for [`Sums::spread`].
    /// `patches` are turned as the group says, each as [`Engine::predict`] takes it.
    ///
    /// # Errors
    /// [`EngineError`] if no network is loaded, the patches do not fit it or the group, or the device fails.
    pub async fn predict_group(
        &self,
        patches: &[f32],
        group: &Group,
        window: Window,
        spread: bool,
    ) -> Result<Sums, EngineError> {
        let (config, net) = self.net.as_ref().ok_or(EngineError::NotLoaded)?;
        let (side, count, channels) = (group.side(), group.patches().len(), config.in_channels);
        config.check_side(side)?;
        let one = channels * side.pow(3);
        if patches.len() != count * one || count == 0 {
            return Err(EngineError::Patch {
                got: patches.len(),
                expected: count.max(1) * one,
                side,
                channels,
            });
        }
        let batch = self.batch_of(config, side, count)?;
        let predicted = patches
            .chunks(batch * one)
            .map(|some| probabilities(net, channels, some.to_vec(), side, &self.device))
            .collect();
        vote(Tensor::cat(predicted, 0), group, window, spread).await
    }
}

/// Sums the votes of `p [patch, 1, z, y, x]` where they are, and reads the sums.
async fn vote(p: Tensor<5>, group: &Group, window: Window, spread: bool) -> Result<Sums, EngineError> {
    let weights = window.weights(group.side()).rounded();
    let mut votes = read(kernels::vote(p, group, &weights, spread)).await?;
    let count = votes.iter().filter(|v| !v.is_finite()).count();
    if count > 0 {
        return Err(EngineError::NotProbabilities { count });
    }
    let voxels = group.shape().iter().product();
    let spread = spread.then(|| votes.split_off(voxels));
    Ok(Sums { votes, spread })
}

/// How far the fusion of three small patches on `device` is from that of [`Fuser`]: largest difference of probability
/// or variance.
pub(super) async fn vote_differs(device: &Device) -> Result<f64, EngineError> {
    let (side, window) = (4, Window::Bspline);
    let places = [
        ([0, 0, 0], Rotation::Identity),
        ([2, 0, 1], Rotation::AboutX),
        ([1, 2, 0], Rotation::AboutZ),
    ];
    let group = Group::gather(side, places);
    let cube = side.pow(3);
    let count = group.patches().len();
    let p: Vec<f32> = (0..count * cube)
        .map(|i| (i * 7919 % 2003) as f32 / 2002.0)
        .collect();
    let tensor = Tensor::<5>::from_data(TensorData::new(p.clone(), [count, 1, side, side, side]), device);
    let sums = vote(tensor, &group, window, true).await?;
    let weight = group.weight(&window.weights(side).rounded());

    // A group cannot fail to fit its own box; a difference beyond all bounds would say so.
    let known = || {
        let mut fuser = Fuser::new(group.shape(), &window.weights(side))
            .ok()?
            .with_variance();
        for (patch, placed) in p.chunks_exact(cube).zip(group.patches()) {
            let mut patch = patch.to_vec();
            placed.turn.apply(&mut patch, side);
            fuser.add(placed.offset.map(|o| o as isize), &patch).ok()?;
        }
        Some(fuser.finish())
    };
    let Some(known) = known() else { return Ok(f64::MAX) };
    let largest = |sums: &[f32], known: &[f32]| {
        let all = sums.iter().zip(&weight).zip(known);
        all.filter(|((_, w), _)| **w > 0.0)
            .map(|((sum, w), known)| f64::from((sum / w - known).abs()))
            .fold(0.0, f64::max)
    };
    let spread = sums.spread.unwrap_or_default();
    Ok(largest(&sums.votes, &known.probability).max(largest(&spread, &known.variance.unwrap_or_default())))
}
