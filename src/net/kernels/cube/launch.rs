//! What every launch needs.

use crate::net::kernels::infer::Read;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::ir::{ElemType, FloatKind};
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

/// A contiguous tensor of anything, beside `like` and of its type.
pub(super) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    beside(like, shape, like.dtype)
}

/// A contiguous tensor of anything, beside `like`, of its shape and type.
pub(super) fn alike(like: &CubeTensor) -> CubeTensor {
    let shape = like.meta.shape().clone();
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, like.dtype)
}

/// A contiguous tensor of any f32, beside `like`.
pub(super) fn empty_f32<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    beside(like, shape, DType::F32)
}

fn beside<const D: usize>(like: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        Shape::from(shape),
        dtype,
    )
}

/// What the maps of a tensor are stored as: f32, or f16 where inference is asked for it.
pub(super) fn stored(tensor: &CubeTensor) -> ElemType {
    ElemType::Float(match tensor.dtype {
        DType::F16 => FloatKind::F16,
        _ => FloatKind::F32,
    })
}

/// A stand-in for scales and shifts that are not used: a kernel has the same bindings with and without.
pub(super) fn nothing(like: &CubeTensor) -> CubeTensor {
    empty_f32(like, [1])
}

/// Scales and shifts as a kernel finds them: the scale of channel `c` of those it reads, of sample `b`, is at `first + b * step + c`,
/// the shift `columns` behind it.
pub(super) struct Folds {
    pub(super) tensor: CubeTensor,
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) columns: usize,
}

impl Folds {
    /// Of `[2, column]`, all for the `channels` that are read.
    pub(super) fn plain(tensor: CubeTensor, channels: usize) -> Self {
        let columns = tensor.meta.shape()[1];
        Self {
            tensor,
            first: 0,
            step: if columns > channels { channels } else { 0 },
            columns,
        }
    }

    /// Of a table `[norm, 2, column]` of a tensor of `width` channels, for what is read of it.
    pub(super) fn of(table: CubeTensor, width: usize, read: Read) -> Self {
        let columns = table.meta.shape()[2];
        Self {
            tensor: table,
            first: read.norm * 2 * columns + read.from,
            step: if columns > width { width } else { 0 },
            columns,
        }
    }

    /// Nothing that is read: a kernel has the same bindings with and without.
    pub(super) fn none(like: &CubeTensor) -> Self {
        Self {
            tensor: nothing(like),
            first: 0,
            step: 0,
            columns: 1,
        }
    }
}

/// A contiguous tensor as a kernel's argument.
pub(super) fn buffer(tensor: &CubeTensor) -> BufferArg {
    tensor.clone().into_buffer_arg()
}

/// Enough workgroups for so many units.
pub(super) fn grid(client: &Client, units: usize) -> (CubeCount, CubeDim) {
    #[cfg(test)]
    LAUNCHES.set(LAUNCHES.get() + 1);
    let dim = CubeDim::new(client, units);
    (calculate_cube_count_elemwise(client, units, dim), dim)
}

#[cfg(test)]
thread_local! {
    /// Launches of our kernels by this thread so far: each asks for its [`grid`] once.
    pub(crate) static LAUNCHES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
