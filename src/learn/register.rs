//! Laying one tissue map over another: where the lesions of masks in MNI space belong in a map in scanner space.
//!
//! Nine parameters (rotation, scale, shift) found by coordinate search on the mean over background and tissue classes of the share of reference
//! voxels that meet their own class. Good to a few millimetres, which is what painting needs; not a registration for measurements.

use super::anatomy;
use super::field::{self, Shape};
use crate::volume::pose::{Pose, Steps};
use nalgebra::Vector3;

/// A tissue map and the size of its voxels in mm.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    /// Tissue ([`Tissue`](super::anatomy::Tissue)), axes to right, anterior, superior.
    pub tissue: &'a [u8],
    /// Voxels along each axis.
    pub shape: Shape,
    /// Voxel edges in mm.
    pub spacing: [f64; 3],
}

impl Map<'_> {
    /// The tissue of the voxel nearest to a fractional index; 0 beyond the map.
    fn nearest(&self, at: Vector3<f64>) -> u8 {
        let mut voxel = [0; 3];
        for a in 0..3 {
            let c = at[a].round();
            if !(c >= 0.0 && c < self.shape[a] as f64) {
                return 0;
            }
            voxel[a] = c as usize;
        }
        self.tissue[field::index(self.shape, voxel)]
    }
}

/// Centre of parenchyma on centre of parenchyma, otherwise unchanged. `None` if either map has none.
#[must_use]
pub fn centred(reference: Map<'_>, moving: Map<'_>) -> Option<Pose> {
    let fixed = anatomy::moments(reference.tissue, reference.shape)?.0;
    let moved = anatomy::moments(moving.tissue, moving.shape)?.0;
    Some(Pose::new([fixed, moved], [reference.spacing, moving.spacing]))
}

/// Mean over background and tissue classes of the share of the given reference voxels that meet their class.
fn agreement(pose: &Pose, voxels: &[(Vector3<f64>, u8)], moving: Map<'_>) -> f64 {
    let (origin, matrix) = pose.linear();
    let (mut met, mut all) = ([0.0_f64; 4], [0.0_f64; 4]);
    for (v, class) in voxels {
        let at = origin + matrix * v;
        all[*class as usize] += 1.0;
        met[*class as usize] += f64::from(u8::from(moving.nearest(at) == *class));
    }
    (0..4)
        .map(|c| if all[c] > 0.0 { met[c] / all[c] } else { 0.0 })
        .sum::<f64>()
        / 4.0
}

/// Finds the pose in which `moving` agrees best with `reference`. `None` if either has no parenchyma.
#[must_use]
pub fn register(reference: Map<'_>, moving: Map<'_>) -> Option<Pose> {
    let mut pose = centred(reference, moving)?;
    // Every class, and the background near the brain.
    let brain = field::Region::around(
        (0..reference.tissue.len()).filter(|&i| reference.tissue[i] > 0),
        reference.shape,
        6,
    )?;
    // About 15 000 of them, picked by a multiplicative hash: a lattice would keep step with rows or with the other map's voxels.
    let share = (15_000.0 / field::len(brain.shape()) as f64).min(1.0);
    let mut voxels = Vec::new();
    brain.for_each(reference.shape, |i, local| {
        let hash = (local as u32).wrapping_mul(0x9E37_79B1);
        if f64::from(hash) <= share * f64::from(u32::MAX) {
            let v = Vector3::from(field::voxel(reference.shape, i).map(|c| c as f64));
            voxels.push((v, reference.tissue[i].min(3)));
        }
    });
    // Down to a 64th of the first steps.
    for halvings in 0..7 {
        pose.climb(Steps::COARSE.times(0.5_f64.powi(halvings)), |pose| {
            agreement(pose, &voxels, moving)
        });
    }
    Some(pose)
}

/// The moving map on the reference's grid.
#[must_use]
pub fn resample(pose: &Pose, moving: Map<'_>, shape: Shape) -> Vec<u8> {
    let (origin, matrix) = pose.linear();
    (0..field::len(shape))
        .map(|i| moving.nearest(origin + matrix * Vector3::from(field::voxel(shape, i).map(|c| c as f64))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Rotation3;

    /// A lopsided brain: white ellipsoid in a grey one, with an off-centre cavity of CSF.
    fn brain(shape: Shape, spacing: [f64; 3], turn: f64, shift: [f64; 3]) -> Vec<u8> {
        let rotation = Rotation3::from_euler_angles(0.0, turn, 0.5 * turn);
        (0..field::len(shape))
            .map(|i| {
                let v = field::voxel(shape, i);
                let p = Vector3::from(
                    [0, 1, 2].map(|a| (v[a] as f64 - shape[a] as f64 / 2.0) * spacing[a] - shift[a]),
                );
                let p = rotation.inverse() * p;
                let r =
                    |c: [f64; 3], s: [f64; 3]| (0..3).map(|a| ((p[a] - c[a]) / s[a]).powi(2)).sum::<f64>();
                if r([4.0, 6.0, 2.0], [4.0, 9.0, 5.0]) < 1.0 {
                    1
                } else if r([0.0; 3], [14.0, 20.0, 12.0]) < 1.0 {
                    3
                } else {
                    2 * u8::from(r([0.0; 3], [18.0, 25.0, 15.0]) < 1.0)
                }
            })
            .collect()
    }

    #[test]
    fn a_turned_and_shifted_map_is_laid_back() {
        let (shape, fine) = ([48, 64, 44], [60, 130, 90]);
        let reference = brain(shape, [1.0; 3], 0.0, [0.0; 3]);
        let spacing = [0.9, 0.5, 0.5];
        let moved = brain(fine, spacing, 0.3, [2.0, -1.5, 1.0]);
        let fixed = Map {
            tissue: &reference,
            shape,
            spacing: [1.0; 3],
        };
        let moving = Map {
            tissue: &moved,
            shape: fine,
            spacing,
        };
        let share = |found: &[u8]| {
            let in_brain = (0..found.len()).filter(|&i| reference[i] > 0);
            let (mut same, mut all) = (0.0, 0.0);
            for i in in_brain {
                all += 1.0;
                same += f64::from(u8::from(found[i] == reference[i]));
            }
            same / all
        };
        let before = centred(fixed, moving).map(|p| share(&resample(&p, moving, shape)));
        let after = register(fixed, moving).map(|p| share(&resample(&p, moving, shape)));
        // The best there is: the pose by which the moved map was made.
        let rotation = Rotation3::from_euler_angles(0.0, 0.3, 0.15);
        let exact: Vec<u8> = (0..field::len(shape))
            .map(|i| {
                let v = field::voxel(shape, i);
                let p = Vector3::from([0, 1, 2].map(|a| v[a] as f64 - shape[a] as f64 / 2.0));
                let q = rotation * p + Vector3::new(2.0, -1.5, 1.0);
                moving.nearest(Vector3::from(
                    [0, 1, 2].map(|a| q[a] / spacing[a] + fine[a] as f64 / 2.0),
                ))
            })
            .collect();
        let exact = share(&exact);
        assert!(before < Some(exact - 0.05), "{before:?} {exact}");
        assert!(after > Some(exact - 0.01), "{after:?} {exact}");
    }

    #[test]
    fn an_empty_map_has_no_pose() {
        let empty = Map {
            tissue: &[0; 8],
            shape: [2, 2, 2],
            spacing: [1.0; 3],
        };
        assert!(register(empty, empty).is_none());
    }
}
