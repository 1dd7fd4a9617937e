//! The last stage of a reduction in two: sums over chunks, always in the same order.

use super::launch::{buffer, empty, grid};
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

#[cube(launch_unchecked)]
fn gather(part: &[f32], out: &mut [f32], units: usize, chunks: usize) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let mut sum = 0.0f32;
    for chunk in 0..chunks {
        sum += part[chunk * units + ABSOLUTE_POS];
    }
    out[ABSOLUTE_POS] = sum;
}

/// Sums `[chunk, unit]` over the chunks; the units have the given shape.
pub(super) fn summed<const D: usize>(part: &CubeTensor, chunks: usize, shape: [usize; D]) -> CubeTensor {
    if chunks == 1 {
        return CubeBackend::float_reshape(part.clone(), Shape::from(shape));
    }
    let units = shape.iter().product();
    let out = empty(part, shape);
    let client = part.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        gather::launch_unchecked(&client, count, dim, buffer(part), buffer(&out), units, chunks);
    }
    out
}
