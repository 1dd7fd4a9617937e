//! How deep each voxel lies in the average brain, laid over the outline of a brain.
//!
//! An outline by brightness takes in whatever has the brain's brightness and lies next to it: marrow where fat is not suppressed, muscle, eyes.
//! That is local, and a brain's shape is not: nine parameters laid over the rest of the outline say where it cannot be right.

use crate::volume::Grid;
use crate::volume::distance::squared_distance;
use crate::volume::pose::{Pose, Steps};
use nalgebra::Vector3;

/// Depth of the ICBM152 brain's voxels, packed by [`encode`], every [`SPACING_MM`] along right, anterior, superior. Made from the tissue map beside the lesion shapes
/// (Apache-2.0) by `lab atlas`.
static DEPTHS: &[u8; SHAPE[0] * SHAPE[1] * SHAPE[2]] = include_bytes!("atlas.bin");

/// Samples of the atlas along right, anterior, superior.
pub const SHAPE: [usize; 3] = [33, 40, 32];

/// Distance of the samples in mm.
pub const SPACING_MM: f64 = 5.0;

/// Steps a millimetre.
const STEPS: f32 = 2.0;

/// About so many points of each surface are compared.
const POINTS: f64 = 2500.0;

/// Scales in mm at which a distance counts half of the most it can, one after the other, and the halvings of the first steps tried at each: what lies
/// farther away is taken for something else than brain.
const ROUNDS: [(f32, std::ops::Range<i32>); 3] = [(12.0, 0..3), (6.0, 1..4), (4.0, 2..6)];

/// Depths in mm (negative outside) at the atlas's samples as its bytes: half millimetres, and of those the differences along each
/// axis, which compress to half the size.
#[must_use]
pub fn encode(depths_mm: &[f32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = depths_mm
        .iter()
        .map(|mm| (STEPS * mm).round().clamp(-127.0, 127.0) as i8 as u8)
        .collect();
    along_each_axis(|stride| {
        for i in (0..bytes.len()).rev().filter(|i| stride.has_before(*i)) {
            bytes[i] = bytes[i].wrapping_sub(bytes[i - stride.step]);
        }
    });
    bytes
}

/// What [`encode`] was given, to the half millimetre.
fn decode(bytes: &[u8]) -> Vec<f32> {
    let mut bytes = bytes.to_vec();
    along_each_axis(|stride| {
        for i in (0..bytes.len()).filter(|i| stride.has_before(*i)) {
            bytes[i] = bytes[i].wrapping_add(bytes[i - stride.step]);
        }
    });
    bytes.into_iter().map(|b| f32::from(b as i8) / STEPS).collect()
}

/// From a sample to the next along an axis.
struct Stride {
    step: usize,
    samples: usize,
}

impl Stride {
    /// True if there is a sample before this one along the axis.
    fn has_before(&self, i: usize) -> bool {
        !(i / self.step).is_multiple_of(self.samples)
    }
}

fn along_each_axis(mut visit: impl FnMut(Stride)) {
    let mut step = 1;
    for samples in SHAPE {
        visit(Stride { step, samples });
        step *= samples;
    }
}

/// A field of distances to a surface, positive inside.
struct Field<'a> {
    values: &'a [f32],
    shape: [usize; 3],
}

impl<'a> Field<'a> {
    /// The average brain's, of its decoded values.
    fn average(values: &'a [f32]) -> Self {
        Self { values, shape: SHAPE }
    }

    /// Linear interpolation at a fractional voxel; beyond the border, the border's.
    fn at(&self, at: Vector3<f64>) -> f32 {
        let mut base = [0; 3];
        let mut t = [0.0_f32; 3];
        for a in 0..3 {
            let c = at[a].clamp(0.0, (self.shape[a] - 1) as f64);
            base[a] = (c as usize).min(self.shape[a].saturating_sub(2));
            t[a] = (c - base[a] as f64) as f32;
        }
        let mut sum = 0.0;
        for corner in 0..8 {
            let mut weight = 1.0;
            let mut voxel = base;
            for a in 0..3 {
                let up = corner >> a & 1;
                weight *= if up == 1 { t[a] } else { 1.0 - t[a] };
                voxel[a] = (base[a] + up).min(self.shape[a] - 1);
            }
            let [x, y, z] = voxel;
            sum += weight * self.values[x + self.shape[0] * (y + self.shape[1] * z)];
        }
        sum
    }

    /// Where the field crosses 0 between neighbouring voxels, about [`POINTS`] of them, picked by a multiplicative hash.
    fn surface(&self) -> Vec<Vector3<f64>> {
        let [nx, ny, nz] = self.shape;
        let stride = [1, nx, nx * ny];
        let mut points = Vec::new();
        for i in 0..nx * ny * nz {
            let voxel = [i % nx, i / nx % ny, i / (nx * ny)];
            for a in (0..3).filter(|&a| voxel[a] + 1 < self.shape[a]) {
                let (here, there) = (self.values[i], self.values[i + stride[a]]);
                if (here > 0.0) != (there > 0.0) {
                    let mut point = Vector3::from(voxel.map(|c| c as f64));
                    point[a] += f64::from(here / (here - there));
                    points.push(point);
                }
            }
        }
        let share = POINTS / points.len().max(1) as f64;
        let mut number = 0_u32;
        points.retain(|_| {
            number += 1;
            f64::from(number.wrapping_mul(0x9E37_79B1)) <= share * f64::from(u32::MAX)
        });
        points
    }
}

/// The depth in mm of every voxel of `grid` in the average brain laid over `brain`; negative outside. `None` if there is no brain.
pub(super) fn depth(brain: &[bool], grid: &Grid) -> Option<Vec<f32>> {
    let average = decode(DEPTHS);
    let atlas = Field::average(&average);
    let spacing = grid.spacing();
    let distances = depths(brain, grid.shape, spacing.iter().sum::<f64>() as f32 / 3.0);
    let own = Field {
        values: &distances,
        shape: grid.shape,
    };
    let centres = [centre(&atlas)?, centre(&own)?];
    let surfaces = [atlas.surface(), own.surface()];
    let mut pose = Pose::new(centres, [[SPACING_MM; 3], spacing]);
    for (scale, halvings) in ROUNDS {
        let far = |d: f32| f64::from(d * d / (d * d + scale * scale));
        for halving in halvings {
            pose.climb(Steps::COARSE.times(0.5_f64.powi(halving)), |pose| {
                let (origin, matrix) = pose.linear();
                let Some(back) = matrix.try_inverse() else {
                    return f64::NEG_INFINITY;
                };
                let mean = |points: &[Vector3<f64>], cost: &dyn Fn(&Vector3<f64>) -> f64| {
                    points.iter().map(cost).sum::<f64>() / points.len().max(1) as f64
                };
                -mean(&surfaces[0], &|p| far(own.at(origin + matrix * p)))
                    - mean(&surfaces[1], &|p| far(atlas.at(back * (p - origin))))
            });
        }
    }
    let (origin, matrix) = pose.linear();
    let back = matrix.try_inverse()?;
    let [nx, ny, _] = grid.shape;
    let place = |i: usize| Vector3::from([i % nx, i / nx % ny, i / (nx * ny)].map(|c| c as f64));
    Some(
        (0..brain.len())
            .map(|i| atlas.at(back * (place(i) - origin)))
            .collect(),
    )
}

/// The middle of what lies inside, in voxels; `None` if nothing does.
fn centre(field: &Field<'_>) -> Option<[f64; 3]> {
    let [nx, ny, _] = field.shape;
    let (mut sum, mut inside) = ([0.0; 3], 0.0);
    for (i, _) in field.values.iter().enumerate().filter(|(_, v)| **v > 0.0) {
        let at = [i % nx, i / nx % ny, i / (nx * ny)];
        inside += 1.0;
        for a in 0..3 {
            sum[a] += at[a] as f64;
        }
    }
    (inside > 0.0).then(|| sum.map(|s| s / inside))
}

/// The distance of every voxel of a mask to the nearest voxel outside it, negative outside to the nearest inside, in mm. The surface
/// lies half a voxel from the centres on either side.
#[must_use]
pub fn depths(mask: &[bool], shape: [usize; 3], voxel_mm: f32) -> Vec<f32> {
    let outside: Vec<bool> = mask.iter().map(|m| !m).collect();
    let (inner, outer) = (squared_distance(&outside, shape), squared_distance(mask, shape));
    let depth = |(&inner, &outer): (&f32, &f32)| {
        // The longest a distance can be on any grid that is worked on; a mask without an outside has none.
        let mm = |squared: f32| voxel_mm * (squared.sqrt() - 0.5).min(1e3);
        if inner > 0.0 { mm(inner) } else { -mm(outer) }
    };
    inner.iter().zip(&outer).map(depth).collect()
}

/// The depth at points given in mm from the middle of the average brain.
#[cfg(test)]
pub(super) fn average() -> impl Fn([f64; 3]) -> f32 {
    let values = decode(DEPTHS);
    let middle = centre(&Field::average(&values)).unwrap_or_default();
    move |mm| Field::average(&values).at(Vector3::from([0, 1, 2].map(|a| middle[a] + mm[a] / SPACING_MM)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Matrix4, Rotation3};

    #[test]
    fn the_average_brain_finds_itself_turned_scaled_and_with_a_growth() {
        let grid = Grid {
            shape: [88, 104, 84],
            affine: Matrix4::from_diagonal(&[2.0, 2.0, 2.0, 1.0].into()),
        };
        let average = average();
        let rotation = Rotation3::from_euler_angles(0.12, -0.06, 0.1);
        let truth: Vec<f32> = (0..grid.len())
            .map(|i| {
                let at = [i % 88, i / 88 % 104, i / (88 * 104)];
                let mm = Vector3::from([0, 1, 2].map(|a| 2.0 * (at[a] as f64 - [44.0, 54.0, 40.0][a])));
                let scaled = (rotation.inverse() * mm).component_div(&Vector3::new(0.92, 0.95, 1.06));
                average(scaled.into())
            })
            .collect();
        let whole: Vec<bool> = truth.iter().map(|d| *d > 0.0).collect();
        // In front and above, 10 mm of marrow.
        let grown: Vec<bool> = truth
            .iter()
            .enumerate()
            .map(|(i, d)| *d > 0.0 || (*d > -10.0 && i / 88 % 104 > 80 && i / (88 * 104) > 40))
            .collect();
        for mask in [&whole, &grown] {
            let found = depth(mask, &grid).unwrap();
            let wrong = (0..truth.len()).filter(|&i| truth[i].abs() < 20.0);
            let errors: Vec<f32> = wrong.map(|i| (found[i] - truth[i]).abs()).collect();
            let [median, most] = super::super::percentiles(&errors, [50.0, 99.0]).unwrap();
            assert!(median < 1.0 && most < 3.0, "{median} {most}");
        }
        let marrow = (0..truth.len()).filter(|&i| grown[i] && !whole[i]).count();
        assert!(marrow > 2000, "{marrow}");
        assert_eq!(depth(&vec![false; grid.len()], &grid), None);
    }

    #[test]
    fn depths_survive_their_bytes_to_the_half_millimetre() {
        let depths: Vec<f32> = (0..SHAPE.iter().product::<usize>())
            .map(|i| (i * 7919 % 2003) as f32 / 10.0 - 100.0)
            .collect();
        for (found, depth) in decode(&encode(&depths)).iter().zip(depths) {
            assert!(
                (found - depth.clamp(-63.5, 63.5)).abs() <= 0.25,
                "{found} {depth}"
            );
        }
    }

    #[test]
    fn depth_is_positive_inside() {
        let mask: Vec<bool> = (0..9).map(|i| (3..6).contains(&i)).collect();
        assert_eq!(
            depths(&mask, [9, 1, 1], 2.0),
            [-5.0, -3.0, -1.0, 1.0, 3.0, 1.0, -1.0, -3.0, -5.0]
        );
    }
}
