//! The half turns of a patch for test-time voting.

use serde::{Deserialize, Serialize};

/// The identity or a rotation by 180 degrees about one voxel axis.
///
/// These four are a group, every element its own inverse, and proper rotations: unlike mirror images they never turn
/// a left hemisphere into a right one's shape (`method.md` 5.2). They are index maps, so no value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rotation {
    /// The patch as it is.
    Identity,
    /// Half a turn about x: y and z are reversed.
    AboutX,
    /// Half a turn about y: x and z are reversed.
    AboutY,
    /// Half a turn about z: x and y are reversed.
    AboutZ,
}

impl Rotation {
    /// All four, the identity first.
    pub const ALL: [Self; 4] = [Self::Identity, Self::AboutX, Self::AboutY, Self::AboutZ];

    /// Which axes (x, y, z) run backwards.
    #[must_use]
    pub fn reverses(self) -> [bool; 3] {
        match self {
            Self::Identity => [false, false, false],
            Self::AboutX => [false, true, true],
            Self::AboutY => [true, false, true],
            Self::AboutZ => [true, true, false],
        }
    }

    /// Turns a patch of any number of channels in place; turning twice restores it.
    ///
    /// `patch` holds `channels * side^3` values, x fastest; values past the last whole cube stay as they are.
    pub fn apply(self, patch: &mut [f32], side: usize) {
        let plane = side * side;
        if plane == 0 {
            return;
        }
        for cube in patch.chunks_exact_mut(plane * side) {
            match self {
                Self::Identity => {}
                Self::AboutX => reverse_rows(cube, side),
                Self::AboutY => {
                    // The whole cube backwards is x, y and z reversed; y is then put back.
                    cube.reverse();
                    for slice in cube.chunks_exact_mut(plane) {
                        reverse_rows(slice, side);
                    }
                }
                Self::AboutZ => cube.chunks_exact_mut(plane).for_each(<[f32]>::reverse),
            }
        }
    }
}

/// Reverses the order of the rows of `side` values, keeping each row as it is.
fn reverse_rows(values: &mut [f32], side: usize) {
    let rows = values.len() / side;
    let (head, tail) = values.split_at_mut(rows / 2 * side);
    for (a, b) in head.chunks_exact_mut(side).zip(tail.rchunks_exact_mut(side)) {
        a.swap_with_slice(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of a cube, every value another.
    fn cube(side: usize) -> Vec<f32> {
        (0..2 * side * side * side).map(|i| i as f32).collect()
    }

    #[test]
    fn rotations_are_the_index_maps_they_are_named_after() {
        for side in [1, 2, 3, 4, 5, 8] {
            for rotation in Rotation::ALL {
                let flips = rotation.reverses();
                let mut turned = cube(side);
                rotation.apply(&mut turned, side);
                for (i, &got) in turned.iter().enumerate() {
                    let at = [i % side, i / side % side, i / side / side % side];
                    let [x, y, z] = [0, 1, 2].map(|a| if flips[a] { side - 1 - at[a] } else { at[a] });
                    let channel = i / (side * side * side);
                    let from = x + side * (y + side * (z + side * channel));
                    assert_eq!(got, from as f32, "{rotation:?}, side {side}, value {i}");
                }
            }
        }
    }

    #[test]
    fn rotations_are_a_group_of_involutions() {
        let side = 5;
        let turned = |by: &[Rotation]| {
            let mut patch = cube(side);
            by.iter().for_each(|r| r.apply(&mut patch, side));
            patch
        };
        for a in Rotation::ALL {
            assert_eq!(turned(&[a, a]), cube(side), "{a:?} twice");
            for b in Rotation::ALL {
                assert_eq!(turned(&[a, b]), turned(&[b, a]), "{a:?} and {b:?} commute");
            }
        }
        assert_eq!(
            turned(&[Rotation::AboutX, Rotation::AboutY]),
            turned(&[Rotation::AboutZ])
        );
    }

    #[test]
    fn an_empty_patch_turns() {
        Rotation::AboutX.apply(&mut [], 0);
        Rotation::AboutY.apply(&mut [], 4);
    }
}
