//! 3x3x3 convolution on CubeCL devices, by Winograd's minimal filtering along z (`net/kernels/winograd.rs`): a kernel
//! transforms the input, one multiplies at each point, one transforms back. Rows stay as they are, so that the taps along x
//! share what is loaded, and neighbouring units read and write neighbouring voxels.

mod gradient;
mod products;
mod transform;

use super::launch::{Folds, Shaped, buffer, empty, empty_f32, grid, stored};
use crate::net::kernels::infer::Read;
use crate::net::kernels::tiles::Tiles;
use crate::net::kernels::winograd::{POINTS, TILE};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
pub(super) use gradient::conv3_dw;

/// Output channels, and values of a row, that are loaded together.
const LANES: usize = 4;

/// Sizes that the kernels are given.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    cin: usize,
    cout: usize,
    d: usize,
    h: usize,
    w: usize,
    /// Tiles along z.
    tiles: usize,
    /// Values of a row, those of the border included.
    pitch: usize,
    /// Runs of a row.
    runs: usize,
    /// Groups of output channels, and vectors of them in all groups.
    groups: usize,
    quads: usize,
    /// Channels of the output buffer, and the first that is written.
    channels: usize,
    at: usize,
    /// Channels of the input, and the first that is read.
    total: usize,
    from: usize,
    /// Where scales and shifts are: see [`Folds`].
    fold: usize,
    step: usize,
    columns: usize,
}

/// Weights at the points as the kernel reads them, `[group, point, cin, 9, output channels of a group]`, of
/// `[cout, cin, 3, 3, 3]`, or of `[cin, cout, 3, 3, 3]`, mirrored, for the data gradient.
pub(super) fn pack(w: &CubeTensor, mirror: bool) -> CubeTensor {
    let [mut cout, mut cin, ..] = w.dims5();
    if mirror {
        (cout, cin) = (cin, cout);
    }
    let quads = cout.div_ceil(LANES).min(Tiles::get().quads);
    let width = quads * LANES;
    let groups = cout.div_ceil(width);
    let packed = empty(w, [groups, POINTS, cin, 9, width]);
    let units = groups * cin * 9 * width;
    let client = w.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        transform::weights::launch_unchecked(
            &client,
            count,
            dim,
            buffer(w),
            buffer(&packed),
            units,
            cin,
            cout,
            width,
            mirror,
        );
    }
    packed
}

/// The sizes of a convolution.
struct Sizes {
    batch: usize,
    total: usize,
    extent: [usize; 3],
    read: Read,
    /// Groups of output channels, and vectors in a group.
    groups: usize,
    quads: usize,
    /// Voxels of a row that one unit computes.
    run: usize,
    /// Tiles along z.
    tiles: usize,
}

impl Sizes {
    fn new(x: &CubeTensor, read: Read, groups: usize, quads: usize, run: usize) -> Self {
        let [batch, total, d, h, w] = x.dims5();
        Self {
            batch,
            total,
            extent: [d, h, w],
            read,
            groups,
            quads,
            // No longer than a row needs.
            run: run.min(w.next_multiple_of(LANES)),
            tiles: d.div_ceil(TILE),
        }
    }

    fn runs(&self) -> usize {
        self.extent[2].div_ceil(self.run)
    }

    fn pitch(&self) -> usize {
        self.runs() * self.run + LANES
    }

    /// What a kernel of so many units is told that writes channels `at..` of a buffer of `channels`.
    fn dims(&self, units: usize, folds: &Folds, channels: usize, at: usize) -> DimsLaunch {
        let [d, h, w] = self.extent;
        DimsLaunch::new(
            units,
            self.read.count,
            self.read.out,
            d,
            h,
            w,
            self.tiles,
            self.pitch(),
            self.runs(),
            self.groups,
            self.groups * self.quads,
            channels,
            at,
            self.total,
            self.read.from,
            folds.first,
            folds.step,
            folds.columns,
        )
    }
}

/// The input at the points, `[batch * cin, point, tile, h + 2, pitch]`.
fn values(x: &CubeTensor, folds: &Folds, normed: bool, sizes: &Sizes) -> CubeTensor {
    let (maps, pitch) = (sizes.batch * sizes.read.count, sizes.pitch());
    let rows = sizes.extent[1] + 2;
    let values = empty(x, [maps, POINTS, sizes.tiles, rows, pitch]);
    let units = maps * sizes.tiles * rows * pitch;
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        transform::input::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(&folds.tensor),
            buffer(&values),
            sizes.dims(units, folds, 0, 0),
            normed,
            stored(x),
        );
    }
    values
}

/// Convolves `read.count` channels of `x [batch, channels, d, h, w]` with weights from [`pack`] and writes the result into channels
/// `at..` of `y`, in place. `x` may be `y`: it is transformed first.
pub(super) fn conv3_into(
    x: &CubeTensor,
    folds: Option<Folds>,
    packed: &CubeTensor,
    read: Read,
    y: &CubeTensor,
    at: usize,
) {
    // Tiles may have changed since the weights were packed.
    let [groups, _, _, _, packed_width] = packed.dims5();
    let quads = packed_width / LANES;
    let sizes = Sizes::new(x, read, groups, quads, Tiles::get().run);
    let Sizes { batch, tiles, .. } = sizes;
    let [_, h, w] = sizes.extent;
    let normed = folds.is_some();
    let folds = folds.unwrap_or_else(|| Folds::none(x));
    let dims = |units: usize| sizes.dims(units, &folds, y.dims5()[1], at);
    let client = x.client.clone();
    let values = values(x, &folds, normed, &sizes);

    let sums = empty_f32(x, [batch * groups * quads, POINTS, tiles, h * w, LANES]);
    let units = batch * groups * POINTS * tiles * h * sizes.runs();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        products::products::launch_unchecked(
            &client,
            count,
            dim,
            LANES,
            buffer(&values),
            buffer(packed),
            buffer(&sums),
            dims(units),
            sizes.run,
            quads,
            LANES,
            stored(x),
        );
    }

    let units = batch * groups * quads * tiles * h * w;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        transform::output::launch_unchecked(
            &client,
            count,
            dim,
            LANES,
            buffer(&sums),
            buffer(y),
            dims(units),
            LANES,
            stored(x),
        );
    }
}
