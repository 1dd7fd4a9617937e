//! How much one unit of a GPU kernel computes, by class of adapter. `lab tune` measures what is best on the one at hand.

use std::sync::{PoisonError, RwLock};

/// Tile shapes of the convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tiles {
    /// 3x3x3: positions along y at one of Winograd's points, a multiple of 4; fewer where the axis is shorter.
    pub run: usize,
    /// 3x3x3: most output channels, in vectors of 4.
    pub quads: usize,
    /// 1x1x1: vectors of 4 voxels.
    pub vectors: usize,
    /// 1x1x1: output channels, a multiple of 4.
    pub outs: usize,
    /// 3x3x3, weight gradient: input channels.
    pub conv3_dw: usize,
    /// 1x1x1, weight gradient: input and output channels.
    pub conv1_dw: [usize; 2],
    /// Transposed convolution and its data gradient: voxels of a row of the smaller maps.
    pub up2: usize,
    /// Transposed convolution, data gradient: input channels.
    pub up2_dx: usize,
    /// Transposed convolution, weight gradient: input channels.
    pub up2_dw: usize,
}

/// Classes of adapters that are known to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A GPU emulated on the CPU, in vectors of 4 or 8 lanes.
    Software,
    /// A GPU.
    Hardware,
}

impl Tiles {
    /// What is used unless something else is [set](Tiles::set) for an adapter of this class.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        match class {
            // Chosen by whole passes and steps in turn on llvmpipe and on SwiftShader (`docs/performance.md`). What computes more still
            // (1x1x1: 32 x 16) was another 5 % faster, but its shaders took twice as long to compile.
            Class::Software => Self {
                run: 16,
                quads: 3,
                vectors: 4,
                outs: 12,
                conv3_dw: 8,
                conv1_dw: [12, 8],
                up2: 4,
                up2_dx: 4,
                up2_dw: 8,
            },
            // 3x3x3: not measured since it multiplies at Winograd's points; 4 x 12 was best of the direct convolution, whose inner
            // loop is the same, where smaller tiles loaded more than they computed.
            // 1x1x1: `lab tune --side 32` on an H200 (Vulkan): 0.54 ms, where 16 x 8 took 0.58. Smaller tiles still, by which one small
            // patch spreads over more of so large a chip, took 0.50; with a batch they load more than they compute.
            // The rest: not measured on hardware.
            Class::Hardware => Self {
                run: 4,
                quads: 3,
                vectors: 2,
                outs: 8,
                conv3_dw: 4,
                conv1_dw: [8, 8],
                up2: 2,
                up2_dx: 2,
                up2_dw: 4,
            },
        }
    }

    /// Every shape that `lab tune` tries, those of the 3x3x3 convolution first, then those of the 1x1x1.
    #[must_use]
    pub fn candidates(self) -> [Vec<Self>; 2] {
        let pairs = |a: [usize; 3], b: [usize; 3]| a.into_iter().flat_map(move |a| b.map(|b| (a, b)));
        [
            pairs([4, 8, 16], [1, 2, 3])
                .map(|(run, quads)| Self { run, quads, ..self })
                .collect(),
            pairs([2, 4, 8], [4, 8, 12])
                .map(|(vectors, outs)| Self {
                    vectors,
                    outs,
                    ..self
                })
                .collect(),
        ]
    }

    /// Uses these shapes from now on.
    pub fn set(self) {
        *CHOSEN.write().unwrap_or_else(PoisonError::into_inner) = self;
    }

    /// The shapes in use.
    #[must_use]
    pub fn get() -> Self {
        *CHOSEN.read().unwrap_or_else(PoisonError::into_inner)
    }
}

static CHOSEN: RwLock<Tiles> = RwLock::new(Tiles::of(Class::Hardware));
