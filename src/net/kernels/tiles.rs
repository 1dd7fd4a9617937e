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
            // 3x3x3: `lab tune --side 32 --repeat 9`, twice, on llvmpipe (LLVM 15, 256 bits) beside other work: 126 and 70 ms, where
            // 4 x 12 took 179 and 140, and 16 x 8 179 and 59. 16 x 12 took 117 and 51, for twice the sums in registers.
            // 1x1x1: `lab tune --repeat 9`: 70 ms, where 16 x 8 took 83.
            Class::Software => Self {
                run: 8,
                quads: 3,
                vectors: 4,
                outs: 12,
            },
            // 3x3x3: not measured since it multiplies at Winograd's points; 4 x 12 was best of the direct convolution, whose inner
            // loop is the same, where smaller tiles loaded more than they computed.
            // 1x1x1: `lab tune --side 32` on an H200 (Vulkan): 0.54 ms, where 16 x 8 took 0.58. Smaller tiles still, by which one small
            // patch spreads over more of so large a chip, took 0.50; with a batch they load more than they compute.
            Class::Hardware => Self {
                run: 4,
                quads: 3,
                vectors: 2,
                outs: 8,
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
