//! Resampling between grids whose axes are parallel: one axis after the other, by area averaging.

use nalgebra::Matrix4;

use crate::volume::{Grid, Volume, orientation::permute};

/// One axis of the target in terms of the source: target index `i` lies at source index `step * i + start`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AxisMap {
    pub(super) step: f64,
    pub(super) start: f64,
}

/// How the target's axes lie along the source's, if they are parallel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AxisAligned {
    /// The source axis of each target axis.
    pub(super) source: [usize; 3],
    pub(super) maps: [AxisMap; 3],
}

/// How far (in source voxels) a target voxel may lie off its axis for the axes to pass as parallel. Affines in files
/// are `f32`, which leaves about 1e-5 of a voxel over 256 of them.
const PARALLEL: f64 = 1e-3;

/// Positions closer to a source voxel's centre than this (in voxels) are on it, so that a pure reordering of voxels
/// gives the very same numbers.
const ON_CENTRE: f64 = 1e-6;

impl AxisAligned {
    /// `target_to_source` maps target indices to source indices.
    pub(super) fn find(target_to_source: &Matrix4<f64>, target_shape: [usize; 3]) -> Option<Self> {
        let mut source = [0; 3];
        let mut maps = [AxisMap {
            step: 1.0,
            start: 0.0,
        }; 3];
        let mut used = [false; 3];
        for target_axis in 0..3 {
            let column = target_to_source.fixed_view::<3, 1>(0, target_axis);
            let source_axis = column.iamax();
            let reach = target_shape[target_axis].saturating_sub(1) as f64;
            let drifts = (0..3).any(|row| row != source_axis && column[row].abs() * reach > PARALLEL);
            if drifts || used[source_axis] || column[source_axis] == 0.0 {
                return None;
            }
            used[source_axis] = true;
            source[target_axis] = source_axis;
            maps[target_axis] = AxisMap {
                step: column[source_axis],
                start: target_to_source[(source_axis, 3)],
            };
        }
        Some(Self { source, maps })
    }
}

/// Source voxels and weights of every voxel along a target axis.
#[derive(Default)]
struct Taps {
    /// First source voxel of each target voxel.
    first: Vec<usize>,
    /// Where each target voxel's weights end; they start where those of the voxel before end.
    end: Vec<usize>,
    /// Weights of consecutive source voxels. All of them together are at most the source's voxels and two for each
    /// target voxel, since target voxels do not overlap.
    weights: Vec<f32>,
    /// Target voxels whose centre lies in the source's field of view: `inside.0 .. inside.1`. Others have no weights.
    inside: (usize, usize),
}

impl Taps {
    /// The weight of source voxel `k` is the share of the target voxel `[p - w/2, p + w/2]` that lies in
    /// `[k - 1/2, k + 1/2]`, with `w = max(1, |step|)` in source voxels: area averaging when shrinking, which at
    /// `w = 1` is linear interpolation exactly. The weights that one source voxel gives to all target voxels add up to
    /// `1 / w` (when shrinking): sums, and so volumes, are kept. A part of a source voxel counts as if it lay at its
    /// centre, which can move a value by up to `1 / (8 w)` source voxels. The outermost source voxels go on beyond
    /// the border.
    fn new(source_len: usize, target_len: usize, map: AxisMap) -> Self {
        let last = source_len - 1;
        let size = map.step.abs().max(1.0);
        let mut taps = Self::default();
        for target in 0..target_len {
            let mut centre = map.step * target as f64 + map.start;
            if (centre - centre.round()).abs() < ON_CENTRE {
                centre = centre.round();
            }
            let mut first = 0;
            if centre >= -0.5 && centre <= last as f64 + 0.5 {
                if taps.weights.is_empty() {
                    taps.inside.0 = target;
                }
                taps.inside.1 = target + 1;
                let (low, high) = (centre - size / 2.0, centre + size / 2.0);
                let voxel = |at: f64| at.clamp(0.0, last as f64) as usize;
                first = voxel((low + 0.5).floor());
                for k in first..=voxel((high - 0.5).ceil()) {
                    let left = if k == 0 { low } else { low.max(k as f64 - 0.5) };
                    let right = if k == last { high } else { high.min(k as f64 + 0.5) };
                    taps.weights.push(((right - left).max(0.0) / size) as f32);
                }
            }
            taps.first.push(first);
            taps.end.push(taps.weights.len());
        }
        taps
    }

    /// First source voxel and weights of a target voxel.
    fn of(&self, target: usize) -> (usize, &[f32]) {
        let start = if target == 0 { 0 } else { self.end[target - 1] };
        (self.first[target], &self.weights[start..self.end[target]])
    }

    /// True if every target voxel is the source voxel of the same index.
    fn is_identity(&self, source_len: usize) -> bool {
        self.first.len() == source_len && (0..source_len).all(|i| self.of(i) == (i, &[1.0]))
    }
}

/// Resamples `source` to `target`; voxels whose centre lies outside the source's field of view become `fill`.
pub(super) fn area_average(source: &Volume, target: &Grid, aligned: &AxisAligned, fill: f32) -> Vec<f32> {
    let straight = aligned.source == [0, 1, 2];
    let mut shape = aligned.source.map(|axis| source.grid.shape[axis]);
    let mut data = if straight {
        source.data.clone()
    } else {
        permute(
            &source.data,
            source.grid.shape,
            aligned.source.map(|axis| (axis, false)),
        )
    };

    // The axis that shrinks most first: the least work for the others.
    let mut order = [0, 1, 2];
    let growth = |axis: usize| target.shape[axis] as f64 / shape[axis] as f64;
    order.sort_by(|&a, &b| growth(a).total_cmp(&growth(b)));
    let mut inside = [(0, 0); 3];
    for axis in order {
        let taps = Taps::new(shape[axis], target.shape[axis], aligned.maps[axis]);
        inside[axis] = taps.inside;
        if !taps.is_identity(shape[axis]) {
            data = along(&data, shape, axis, &taps);
            shape[axis] = target.shape[axis];
        }
    }
    fill_outside(&mut data, target.shape, inside, fill);
    data
}

/// Applies taps along one axis.
fn along(data: &[f32], shape: [usize; 3], axis: usize, taps: &Taps) -> Vec<f32> {
    let inner: usize = shape[..axis].iter().product();
    let len = shape[axis];
    let target_len = taps.first.len();
    let outer: usize = shape[axis + 1..].iter().product();
    let mut out = vec![0.0; inner * target_len * outer];
    for (block, out_block) in data
        .chunks_exact(inner * len)
        .zip(out.chunks_exact_mut(inner * target_len))
    {
        for (target, row) in out_block.chunks_exact_mut(inner).enumerate() {
            let (first, weights) = taps.of(target);
            for (voxel, &weight) in (first..).zip(weights) {
                let from = &block[voxel * inner..][..inner];
                for (to, &value) in row.iter_mut().zip(from) {
                    *to += weight * value;
                }
            }
        }
    }
    out
}

/// Sets everything outside the box `inside` to `fill`.
fn fill_outside(data: &mut [f32], shape: [usize; 3], inside: [(usize, usize); 3], fill: f32) {
    let [x, y, z] = inside;
    if (0..3).all(|i| inside[i] == (0, shape[i])) {
        return;
    }
    for (row, values) in data.chunks_exact_mut(shape[0]).enumerate() {
        let (row_y, row_z) = (row % shape[1], row / shape[1]);
        if (y.0..y.1).contains(&row_y) && (z.0..z.1).contains(&row_z) {
            values[..x.0].fill(fill);
            values[x.1..].fill(fill);
        } else {
            values.fill(fill);
        }
    }
}
