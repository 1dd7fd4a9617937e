//! Nine parameters that lay one brain over another: rotation, scale along the reference's axes, shift.

use super::Grid;
use nalgebra::{Matrix3, Matrix4, Rotation3, Vector3};

/// From a voxel of a reference to a (fractional) voxel of what is laid over it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// Rotation about x, y, z in radians; logarithm of the scale along x, y, z; shift in mm.
    parameters: [f64; 9],
    /// A point of the reference and the one it lies on while nothing is turned, scaled or shifted, in voxels.
    centres: [[f64; 3]; 2],
    /// Voxel edges in mm: reference, moving.
    spacings: [[f64; 3]; 2],
}

/// How far [`Pose::climb`] steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Radians.
    pub rotation: f64,
    /// Logarithm of a factor.
    pub scale: f64,
    /// Millimetres.
    pub shift: f64,
}

impl Steps {
    /// What is tried first, in a brain that stands upright: 8 degrees, 8 per cent, 8 mm.
    pub const COARSE: Self = Self {
        rotation: 0.14,
        scale: 0.08,
        shift: 8.0,
    };

    /// All of them times a factor.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            rotation: factor * self.rotation,
            scale: factor * self.scale,
            shift: factor * self.shift,
        }
    }
}

/// Rounds over the nine parameters in one [`Pose::climb`].
const ROUNDS: usize = 4;

impl Pose {
    /// Centre on centre, neither turned nor scaled. Centres in voxels, spacings in mm; the reference's first.
    #[must_use]
    pub fn new(centres: [[f64; 3]; 2], spacings: [[f64; 3]; 2]) -> Self {
        Self {
            parameters: [0.0; 9],
            centres,
            spacings,
        }
    }

    /// A body that lies still in a world in mm, to be turned about a point of it and shifted.
    #[must_use]
    pub fn still(centre: Vector3<f64>) -> Self {
        Self::new([centre.into(); 2], [[1.0; 3]; 2])
    }

    /// Where a reference voxel lies in the moving grid, in voxels.
    #[must_use]
    pub fn map(&self, voxel: [f64; 3]) -> [f64; 3] {
        let [a, b, c, sx, sy, sz, x, y, z] = self.parameters;
        let mm = [0, 1, 2].map(|i| (voxel[i] - self.centres[0][i]) * self.spacings[0][i]);
        let scaled = Vector3::new(mm[0] * sx.exp(), mm[1] * sy.exp(), mm[2] * sz.exp());
        let moved = Rotation3::from_euler_angles(a, b, c) * scaled + Vector3::new(x, y, z);
        [0, 1, 2].map(|i| self.centres[1][i] + moved[i] / self.spacings[1][i])
    }

    /// The same map as an origin and a column for each axis, so that a voxel costs one product.
    #[must_use]
    pub fn linear(&self) -> (Vector3<f64>, Matrix3<f64>) {
        let origin = Vector3::from(self.map([0.0; 3]));
        let columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
            .map(|unit| Vector3::from(self.map(unit)) - origin);
        (origin, Matrix3::from_columns(&columns))
    }

    /// The same map in homogeneous coordinates.
    #[must_use]
    pub fn affine(&self) -> Matrix4<f64> {
        let (origin, matrix) = self.linear();
        let mut affine = matrix.to_homogeneous();
        affine.fixed_view_mut::<3, 1>(0, 3).copy_from(&origin);
        affine
    }

    /// By how much it turns, in degrees.
    #[must_use]
    pub fn degrees(&self) -> f64 {
        let [a, b, c, ..] = self.parameters;
        Rotation3::from_euler_angles(a, b, c).angle().to_degrees()
    }

    /// A grid of the reference's world, moved.
    #[must_use]
    pub fn moved(&self, grid: &Grid) -> Grid {
        Grid {
            shape: grid.shape,
            affine: self.affine() * grid.affine,
        }
    }

    /// Coordinate search: tries a step up and down in one parameter after the other and keeps what raises the score. Parameters whose step is 0 stay.
    pub fn climb(&mut self, steps: Steps, score: impl Fn(&Self) -> f64) {
        let mut best = score(self);
        for _ in 0..ROUNDS {
            let before = best;
            for (p, step) in [steps.rotation, steps.scale, steps.shift]
                .into_iter()
                .flat_map(|step| [step; 3])
                .enumerate()
                .filter(|(_, step)| *step > 0.0)
            {
                for signed in [step, -step] {
                    let mut trial = *self;
                    trial.parameters[p] += signed;
                    let found = score(&trial);
                    if found > best {
                        (best, *self) = (found, trial);
                    }
                }
            }
            if best <= before {
                break;
            }
        }
    }
}
