//! How a patient moved between two scans of a visit: one is laid on the other as a stiff body.
//!
//! Six parameters by coordinate search on normalised mutual information (Studholme et al. 1999, Pattern Recognition 32), which asks for no common
//! contrast, only that what is alike in one scan is alike in the other.

use super::pose::{Pose, Steps};
use super::resample::sample;
use super::{Grid, Volume};
use nalgebra::{Matrix3, Vector3};

/// About so many points are compared.
const POINTS: usize = 40_000;

/// Fewer say nothing.
const LEAST_POINTS: usize = 2000;

/// Intensities are told apart in so many steps.
const BINS: usize = 32;

/// The first steps of the search, some 3.5 degrees and 4 mm, and how often they are halved.
const FIRST: Steps = Steps {
    rotation: 0.06,
    scale: 0.0,
    shift: 4.0,
};
const HALVINGS: i32 = 5;

/// Share of the points in the second scan's field of view that may leave it, or the search would flee into emptiness.
const MOST_LOST: f64 = 0.05;

/// Where a second scan lies on the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// From the world of the first scan to that of the second, in mm. What the second scan has on a [moved](Pose::moved) grid of the first
    /// belongs on that grid.
    pub to_second: Pose,
    /// How far the points of the first scan's mask move, on average in mm.
    pub mean_mm: f64,
    /// Normalised mutual information (1: nothing in common, 2: one tells the other) as the headers say, and moved.
    pub information: [f64; 2],
}

/// A point of the first scan, in its world, and the step of its intensity.
struct Point {
    at: Vector3<f64>,
    bin: usize,
}

impl Motion {
    /// How `second` must move for it to lie on `first` (one value a voxel of `grid`, within `mask`). `None` if there is too little to go by.
    #[must_use]
    pub fn find(first: &[f32], grid: &Grid, mask: &[bool], second: &Volume) -> Option<Self> {
        let to_voxel = second.grid.affine.try_inverse()?;
        let value = |pose: &(Vector3<f64>, Matrix3<f64>), at: &Vector3<f64>| {
            let at = to_voxel.transform_point(&(pose.0 + pose.1 * at).into());
            let value = sample(
                &second.data,
                second.grid.shape,
                [0, 1, 2].map(|a| at[a] as f32),
                f32::NAN,
            );
            (!value.is_nan()).then_some(value)
        };
        let places = places(grid, mask);
        let own: Vec<f32> = places
            .iter()
            .map(|p| sample(first, grid.shape, p.map(|c| c as f32), 0.0))
            .collect();
        let bins = Bins::of(&own)?;
        let points: Vec<Point> = places
            .iter()
            .zip(&own)
            .map(|(place, own)| Point {
                at: grid.world(*place).into(),
                bin: bins.bin(*own),
            })
            .collect();
        let centre = points.iter().fold(Vector3::zeros(), |sum, p| sum + p.at) / points.len() as f64;
        let mut pose = Pose::still(centre);
        let still = pose.linear();
        let seen: Vec<f32> = points.iter().filter_map(|p| value(&still, &p.at)).collect();
        let others = Bins::of(&seen)?;
        let least = (seen.len() as f64 * (1.0 - MOST_LOST)) as usize;
        let score = |pose: &Pose| {
            let linear = pose.linear();
            let mut joint = vec![0_u32; BINS * BINS];
            let mut count = 0;
            for p in &points {
                if let Some(value) = value(&linear, &p.at) {
                    joint[p.bin * BINS + others.bin(value)] += 1;
                    count += 1;
                }
            }
            if count < least { 0.0 } else { information(&joint) }
        };
        let before = score(&pose);
        // A second time from smaller steps: a turn and a shift that belong together are found in turns.
        for halving in (0..=HALVINGS).chain(2..=HALVINGS) {
            pose.climb(FIRST.times(0.5_f64.powi(halving)), score);
        }
        let (origin, matrix) = pose.linear();
        let moved: f64 = points
            .iter()
            .map(|p| (origin + matrix * p.at - p.at).norm())
            .sum();
        Some(Self {
            to_second: pose,
            mean_mm: moved / points.len() as f64,
            information: [before, score(&pose)],
        })
    }
}

/// Places within a mask, in voxels, picked by a multiplicative hash and moved within their voxels: on a regular grid interpolation smooths least
/// where two grids meet, and the search would stick there.
fn places(grid: &Grid, mask: &[bool]) -> Vec<[f64; 3]> {
    let all = mask.iter().filter(|m| **m).count();
    let [nx, ny, _] = grid.shape;
    // 64 bits, or the page would pick other places than a native program.
    let hash = |i: u64| (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let share = u64::MAX / (all.max(1) as u64) * (POINTS.min(all) as u64);
    let picked = mask
        .iter()
        .enumerate()
        .filter(|(i, m)| **m && hash(*i as u64) <= share);
    picked
        .map(|(i, _)| {
            let voxel = [i % nx, i / nx % ny, i / nx / ny];
            let jitter = hash(hash(i as u64));
            [0, 1, 2].map(|a| {
                voxel[a] as f64 + ((jitter >> (20 * a)) & 0xF_FFFF) as f64 / f64::from(1 << 20) - 0.5
            })
        })
        .collect()
}

/// Steps of intensity from the darkest to the brightest hundredth.
struct Bins {
    from: f32,
    steps: f32,
}

impl Bins {
    /// `None` if there are too few values, or one value only.
    fn of(values: &[f32]) -> Option<Self> {
        if values.len() < LEAST_POINTS {
            return None;
        }
        let [low, high] = super::intensity::percentiles(values, [1.0, 99.0])?;
        (high > low).then(|| Self {
            from: low as f32,
            steps: BINS as f32 / (high - low) as f32,
        })
    }

    fn bin(&self, value: f32) -> usize {
        // What is darker than all becomes 0.
        (((value - self.from) * self.steps) as usize).min(BINS - 1)
    }
}

/// Normalised mutual information of a joint histogram: the entropies of both over that of the pair.
fn information(joint: &[u32]) -> f64 {
    let entropy = |counts: &mut dyn Iterator<Item = u32>| {
        let (mut sum, mut of_logs) = (0.0, 0.0);
        for count in counts.map(f64::from).filter(|c| *c > 0.0) {
            sum += count;
            of_logs += count * count.ln();
        }
        if sum > 0.0 { sum.ln() - of_logs / sum } else { 0.0 }
    };
    let row = |r: usize| joint[r * BINS..(r + 1) * BINS].iter().sum();
    let column = |c: usize| joint.iter().skip(c).step_by(BINS).sum();
    let both = entropy(&mut joint.iter().copied());
    if both <= 0.0 {
        return 0.0;
    }
    (entropy(&mut (0..BINS).map(row)) + entropy(&mut (0..BINS).map(column))) / both
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Matrix4, Point3, Rotation3};

    /// What a place in mm is made of, about -2 to 2; nothing outside an ellipsoid.
    fn tissue(p: &Point3<f64>) -> Option<f64> {
        let radii = [20.0, 22.0, 17.0];
        let square: f64 = (0..3)
            .map(|a| ((p[a] - [26.0, 26.0, 22.0][a]) / radii[a]).powi(2))
            .sum();
        let waves = (0.31 * p[0]).sin() * (0.27 * p[1]).cos() + (0.33 * p[2] + 0.2 * p[0]).sin();
        (square < 1.0).then_some(waves)
    }

    fn noise(i: usize) -> f32 {
        ((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1_u32 << 24) as f32 - 0.5
    }

    /// A scan of the tissue on a grid, the patient having moved.
    fn scan(grid: &Grid, moved: &Matrix4<f64>, contrast: fn(f64) -> f64) -> Volume {
        let back = moved.try_inverse().unwrap();
        let [nx, ny, _] = grid.shape;
        let data = (0..grid.len())
            .map(|i| {
                let at = grid.world([i % nx, i / nx % ny, i / nx / ny].map(|c| c as f64));
                tissue(&back.transform_point(&at.into())).map_or(0.0, |t| contrast(t) as f32)
                    + 10.0 * noise(i)
            })
            .collect();
        Volume {
            grid: grid.clone(),
            data,
        }
    }

    fn grids() -> [Grid; 2] {
        let first = Grid {
            shape: [52, 52, 44],
            affine: Matrix4::identity(),
        };
        let mut affine = Matrix4::new_nonuniform_scaling(&[1.1, 0.9, 1.3].into());
        affine[(0, 3)] = -3.0;
        let second = Grid {
            shape: [54, 64, 36],
            affine,
        };
        [first, second]
    }

    #[test]
    fn a_patient_who_moved_is_found_whatever_the_contrast() {
        let [one, two] = grids();
        for (shift, turn) in [([0.0; 3], 0.0), ([3.0, -1.0, 2.0], 0.0), ([-2.0, 1.5, 0.5], 0.09)] {
            let centre = Vector3::new(26.0, 26.0, 22.0);
            let rotation = Rotation3::from_euler_angles(turn / 2.0, 0.0, turn);
            let mut moved = rotation.to_homogeneous();
            let offset = centre - rotation * centre + Vector3::from(shift);
            moved.fixed_view_mut::<3, 1>(0, 3).copy_from(&offset);
            let first = scan(&one, &Matrix4::identity(), |t| 120.0 + 40.0 * t);
            let second = scan(&two, &moved, |t| 130.0 - 30.0 * t + 12.0 * t * t);
            let mask: Vec<bool> = first.data.iter().map(|v| *v > 30.0).collect();
            let found = Motion::find(&first.data, &one, &mask, &second).unwrap();
            let corners = [[8.0, 26.0, 22.0], [26.0, 44.0, 22.0], [26.0, 26.0, 36.0]].map(Point3::from);
            for p in corners {
                let error = (found.to_second.affine().transform_point(&p) - moved.transform_point(&p)).norm();
                assert!(error < 0.5, "{shift:?}, {turn}: {error} mm at {p}: {found:?}");
            }
            let expected = if turn == 0.0 {
                Vector3::from(shift).norm()
            } else {
                found.mean_mm
            };
            assert!((found.mean_mm - expected).abs() < 0.3, "{found:?}");
            // What the second scan has on the moved grid is the first scan's patient.
            let voxel = Point3::new(20.0, 24.0, 22.0);
            let there = found.to_second.moved(&one).affine.transform_point(&voxel);
            assert!((there - moved.transform_point(&voxel)).norm() < 0.5);
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let [one, two] = grids();
        let first = scan(&one, &Matrix4::identity(), |t| 120.0 + 40.0 * t);
        let mask: Vec<bool> = first.data.iter().map(|v| *v > 30.0).collect();
        let flat = Volume {
            data: vec![7.0; two.len()],
            grid: two.clone(),
        };
        assert_eq!(Motion::find(&first.data, &one, &mask, &flat), None);
        let few: Vec<bool> = (0..mask.len()).map(|i| mask[i] && i % 97 == 0).collect();
        assert_eq!(Motion::find(&first.data, &one, &few, &first), None);
    }

    #[test]
    fn information_is_one_without_and_two_with_a_bond() {
        let apart = vec![3; BINS * BINS];
        let bound: Vec<u32> = (0..BINS * BINS).map(|i| u32::from(i % (BINS + 1) == 0)).collect();
        assert!((information(&apart) - 1.0).abs() < 1e-12);
        assert!((information(&bound) - 2.0).abs() < 1e-12);
        assert_eq!(information(&vec![0; BINS * BINS]), 0.0);
    }
}
