//! Weight gradients on CubeCL devices: reductions over voxels in two stages, so that the result does not depend on the
//! order in which workgroups run.

use super::chunks::summed;
use super::launch::{Folds, Shaped, buffer, empty, grid};
use crate::net::kernels::tiles::Tiles;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Rows of voxels that one unit sums up.
const ROWS: usize = 16;
/// Voxels that are loaded together.
const LANES: usize = 4;
/// 1x1x1: vectors of voxels that one unit sums up.
const LENGTH: usize = 128;

#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    batch: usize,
    cin: usize,
    cout: usize,
    d: usize,
    h: usize,
    w: usize,
    /// Chunks of [`ROWS`] rows.
    chunks: usize,
    /// Groups of input and of output channels.
    ins: usize,
    outs: usize,
}

/// Where scales and shifts are: see [`Folds`].
#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Fold {
    first: usize,
    step: usize,
    columns: usize,
}

/// Weight gradient of the transposed convolution over one chunk of input rows. `part` is `[chunk, cin, cout, 27]`.
#[cube(launch_unchecked)]
fn up2_dw_kernel(
    x: &[f32],
    dy: &[f32],
    part: &mut [f32],
    dims: Dims,
    #[comptime] rows: usize,
    #[comptime] ins: usize,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let zy = ABSOLUTE_POS % 9;
    let rest = ABSOLUTE_POS / 9;
    let co = rest % dims.cout;
    let rest = rest / dims.cout;
    let first = rest % dims.ins * ins;
    let chunk = rest / dims.ins;
    let total = dims.batch * dims.d * dims.h;

    let mut sums = Array::<f32>::new(ins * 3);
    for r in 0..rows {
        let row = chunk * rows + r;
        let batch = row / (dims.d * dims.h);
        let z0 = row / dims.h % dims.d;
        let y0 = row % dims.h;
        let (z, y) = (z0 * 2 + zy / 3, y0 * 2 + zy % 3);
        if row < total && z < dims.d * 2 && y < dims.h * 2 {
            let out = (((batch * dims.cout + co) * dims.d * 2 + z) * dims.h * 2 + y) * dims.w * 2;
            for px in 0..dims.w {
                let last = px + 1 >= dims.w;
                let g0 = dy[out + 2 * px];
                let g1 = dy[out + 2 * px + 1];
                let g2 = select(last, 0.0f32, dy[out + select(last, 2 * px, 2 * px + 2)]);
                #[unroll]
                for i in 0..ins {
                    let ci = min(first + i, dims.cin - 1);
                    let v = x[(((batch * dims.cin + ci) * dims.d + z0) * dims.h + y0) * dims.w + px];
                    sums[i * 3] += v * g0;
                    sums[i * 3 + 1] += v * g1;
                    sums[i * 3 + 2] += v * g2;
                }
            }
        }
    }
    #[unroll]
    for i in 0..ins {
        if first + i < dims.cin {
            let to = ((chunk * dims.cin + first + i) * dims.cout + co) * 27 + zy * 3;
            #[unroll]
            for dx in 0..3 {
                part[to + dx] = sums[i * 3 + dx];
            }
        }
    }
}

/// Weight gradient of the 1x1x1 convolution over one chunk of `length` vectors of voxels of a sample: `outs` output channels
/// by `ins` input channels, the first of `total` that a sample of `x` has. `part` is `[chunk, cout, cin]`.
#[cube(launch_unchecked)]
fn conv1_dw_kernel<N: Size>(
    x: &[Vector<f32, N>],
    folded: &[f32],
    dy: &[Vector<f32, N>],
    part: &mut [f32],
    dims: Dims,
    total: usize,
    fold: Fold,
    #[comptime] length: usize,
    #[comptime] ins: usize,
    #[comptime] outs: usize,
    #[comptime] lanes: usize,
    #[comptime] norm: bool,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let co0 = ABSOLUTE_POS % dims.outs * outs;
    let rest = ABSOLUTE_POS / dims.outs;
    let ci0 = rest % dims.ins * ins;
    let chunk = rest / dims.ins;
    let volume = dims.d * dims.h * dims.w / lanes;
    let chunks = dims.chunks / dims.batch;
    let batch = chunk / chunks;
    let start = chunk % chunks * length;
    let end = min(start + length, volume);

    let mut xs = Array::<usize>::new(ins);
    let mut ys = Array::<usize>::new(outs);
    let mut scales = Array::<Vector<f32, N>>::new(ins);
    let mut shifts = Array::<Vector<f32, N>>::new(ins);
    #[unroll]
    for o in 0..outs {
        ys[o] = (batch * dims.cout + min(co0 + o, dims.cout - 1)) * volume;
    }
    #[unroll]
    for i in 0..ins {
        let ci = min(ci0 + i, dims.cin - 1);
        xs[i] = (batch * total + ci) * volume;
        if norm {
            let own = fold.first + batch * fold.step + ci;
            scales[i] = Vector::new(folded[own]);
            shifts[i] = Vector::new(folded[fold.columns + own]);
        }
    }
    let mut sums = Array::<f32>::new(outs * ins);
    for at in start..end {
        let mut column = Array::<Vector<f32, N>>::new(ins);
        #[unroll]
        for i in 0..ins {
            let mut value = x[xs[i] + at];
            if norm {
                value = max(value * scales[i] + shifts[i], Vector::new(0.0f32));
            }
            column[i] = value;
        }
        #[unroll]
        for o in 0..outs {
            let g = dy[ys[o] + at];
            #[unroll]
            for i in 0..ins {
                #[unroll]
                for l in 0..lanes {
                    sums[o * ins + i] += column[i].extract(l) * g.extract(l);
                }
            }
        }
    }
    #[unroll]
    for o in 0..outs {
        #[unroll]
        for i in 0..ins {
            if co0 + o < dims.cout && ci0 + i < dims.cin {
                part[(chunk * dims.cout + co0 + o) * dims.cin + ci0 + i] = sums[o * ins + i];
            }
        }
    }
}

/// The sizes of a gradient; `small` is the extent whose rows are summed.
struct Sizes {
    batch: usize,
    cin: usize,
    cout: usize,
    extent: [usize; 3],
    chunks: usize,
    ins: usize,
    outs: usize,
}

impl Sizes {
    fn new(x: &CubeTensor, cout: usize, ins: usize, outs: usize) -> Self {
        let [batch, cin, d, h, w] = x.dims5();
        Self {
            batch,
            cin,
            cout,
            extent: [d, h, w],
            chunks: (batch * d * h).div_ceil(ROWS),
            ins: cin.div_ceil(ins),
            outs: cout.div_ceil(outs),
        }
    }

    fn dims(&self, units: usize) -> DimsLaunch {
        let [d, h, w] = self.extent;
        DimsLaunch::new(
            units,
            self.batch,
            self.cin,
            self.cout,
            d,
            h,
            w,
            self.chunks,
            self.ins,
            self.outs,
        )
    }
}

/// Gradient of the transposed convolution with respect to its weights `[cin, cout, 3, 3, 3]`.
pub(super) fn up2_dw(x: &CubeTensor, dy: &CubeTensor) -> CubeTensor {
    let ins = Tiles::get().up2_dw;
    let sizes = Sizes::new(x, dy.dims5()[1], ins, 1);
    let part = empty(x, [sizes.chunks, sizes.cin, sizes.cout, 27]);
    let units = sizes.chunks * sizes.ins * sizes.cout * 9;
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        up2_dw_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(dy),
            buffer(&part),
            sizes.dims(units),
            ROWS,
            ins,
        );
    }
    summed(&part, sizes.chunks, [sizes.cin, sizes.cout, 3, 3, 3])
}

/// Gradient of the 1x1x1 convolution of the first `cin` channels of `x`, normalised if there are `folds`, with respect to its weights
/// `[cout, cin]`.
pub(super) fn conv1_dw(x: &CubeTensor, cin: usize, folds: Option<Folds>, dy: &CubeTensor) -> CubeTensor {
    let total = x.dims5()[1];
    let norm = folds.is_some();
    let folds = folds.unwrap_or_else(|| Folds::none(x));
    let [ins, outs] = Tiles::get().conv1_dw;
    let mut sizes = Sizes::new(x, dy.dims5()[1], ins, outs);
    (sizes.cin, sizes.ins) = (cin, cin.div_ceil(ins));
    let volume: usize = sizes.extent.iter().product();
    // Without taps a sample is one line, of whole vectors but for a few odd sizes.
    let lanes = if volume.is_multiple_of(LANES) { LANES } else { 1 };
    sizes.chunks = sizes.batch * (volume / lanes).div_ceil(LENGTH);
    let part = empty(x, [sizes.chunks, sizes.cout, sizes.cin]);
    let units = sizes.chunks * sizes.ins * sizes.outs;
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        conv1_dw_kernel::launch_unchecked(
            &client,
            count,
            dim,
            lanes,
            buffer(x),
            buffer(&folds.tensor),
            buffer(dy),
            buffer(&part),
            sizes.dims(units),
            total,
            FoldLaunch::new(folds.first, folds.step, folds.columns),
            LENGTH,
            ins,
            outs,
            lanes,
            norm,
        );
    }
    summed(&part, sizes.chunks, [sizes.cout, sizes.cin])
}
