//! What every launch needs.

use burn::tensor::Shape;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::{CubeCount, CubeDim, calculate_cube_count_elemwise};

/// Sizes as an array.
pub(super) trait Shaped {
    fn dims5(&self) -> [usize; 5];
}

impl Shaped for CubeTensor {
    fn dims5(&self) -> [usize; 5] {
        self.meta.shape().dims::<5>()
    }
}

/// A contiguous tensor of anything, beside `like`.
pub(super) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        Shape::from(shape),
        like.dtype,
    )
}

/// A stand-in for scales and shifts that are not used: a kernel has the same bindings with and without.
pub(super) fn nothing(like: &CubeTensor) -> CubeTensor {
    empty(like, [1])
}

/// A contiguous tensor as a kernel's argument.
pub(super) fn buffer(tensor: &CubeTensor) -> BufferArg {
    tensor.clone().into_buffer_arg()
}

/// Enough workgroups for so many units.
pub(super) fn grid(client: &Client, units: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(client, units);
    (calculate_cube_count_elemwise(client, units, dim), dim)
}
