//! Which tissue a voxel is, and where a lesion may lie.

use super::field::{self, Shape};
use crate::volume::components::{self, Connectivity};

/// A tissue class, numbered as in the tissue maps (FSL FAST's order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tissue {
    /// Not brain.
    Outside = 0,
    /// Cerebrospinal fluid.
    Csf = 1,
    /// Grey matter.
    Grey = 2,
    /// White matter.
    White = 3,
}

/// Splits a skull-stripped T1 into CSF, grey and white matter by three-class k-means on the voxels where T1
/// is not zero; known lesions, which look grey or black in T1, count as white matter, where they lie.
#[must_use]
pub fn segment_t1(t1: &[f32], lesions: &[bool]) -> Vec<u8> {
    let mut values: Vec<f32> = t1.iter().copied().filter(|v| *v != 0.0).collect();
    if values.is_empty() {
        return vec![0; t1.len()];
    }
    values.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    let mut centres = [0.08, 0.45, 0.85].map(at);
    for _ in 0..50 {
        // Sorted values: a class is a range, and its borders are half-way between centres.
        let cut = [0, 1].map(|i| {
            let border = 0.5 * (centres[i] + centres[i + 1]);
            values.partition_point(|v| *v < border)
        });
        let ranges = [0..cut[0], cut[0]..cut[1], cut[1]..values.len()];
        let next = ranges.map(|r| {
            let part = &values[r];
            part.iter().map(|v| f64::from(*v)).sum::<f64>() / part.len().max(1) as f64
        });
        let next = next.map(|c| c as f32);
        if next == centres {
            break;
        }
        centres = next;
    }
    let borders = [0, 1].map(|i| 0.5 * (centres[i] + centres[i + 1]));
    t1.iter()
        .zip(lesions)
        .map(|(&v, &lesion)| match v {
            0.0 => Tissue::Outside as u8,
            _ if lesion => Tissue::White as u8,
            v if v < borders[0] => Tissue::Csf as u8,
            v if v < borders[1] => Tissue::Grey as u8,
            _ => Tissue::White as u8,
        })
        .collect()
}

/// Islands of grey matter smaller than this many voxels are not cortex or nuclei.
const ISLAND: usize = 300;

/// Turns grey matter that is none into white matter: maps made from T1 take lesions for grey matter. `lesions` are where the patient's
/// lesions are known to lie (to a few millimetres, by which the mask is to be grown); elsewhere small islands are taken for lesions.
pub fn mend_lesions(tissue: &mut [u8], shape: Shape, lesions: &[bool]) {
    let grey = Tissue::Grey as u8;
    let near = field::distance(lesions, shape);
    for (t, distance) in tissue.iter_mut().zip(near) {
        if *t == grey && distance <= 2.5 {
            *t = Tissue::White as u8;
        }
    }
    let mask: Vec<bool> = tissue.iter().map(|t| *t == grey).collect();
    let islands = components::label(&mask, shape, Connectivity::Six);
    for (t, island) in tissue.iter_mut().zip(&islands.labels) {
        if *island > 0 && islands.sizes[*island as usize - 1] < ISLAND {
            *t = Tissue::White as u8;
        }
    }
}

/// Where lesions may be painted: in the brain, not in CSF, at least about 2 mm inside the brain's surface, and
/// in or next to white matter (periventricular and juxtacortical lesions reach a voxel or two beyond it).
#[must_use]
pub fn allowed(tissue: &[u8], shape: Shape) -> Vec<bool> {
    let class = |wanted: Tissue| -> Vec<f32> {
        tissue
            .iter()
            .map(|&t| f32::from(u8::from(t == wanted as u8)))
            .collect()
    };
    let mut white = class(Tissue::White);
    field::blur(&mut white, shape, [1.5; 3]);
    let mut outside = class(Tissue::Outside);
    field::blur(&mut outside, shape, [1.5; 3]);
    tissue
        .iter()
        .zip(white.iter().zip(&outside))
        .map(|(&t, (&white, &outside))| t >= Tissue::Grey as u8 && white > 0.45 && outside < 0.05)
        .collect()
}

/// The median intensity of white matter away from lesions; `None` if there is none.
#[must_use]
pub fn white_matter_level(image: &[f32], tissue: &[u8], lesions: &[bool]) -> Option<f32> {
    let mut values: Vec<f32> = image
        .iter()
        .zip(tissue.iter().zip(lesions))
        .filter(|(_, (t, l))| **t == Tissue::White as u8 && !**l)
        .map(|(v, _)| *v)
        .collect();
    field::median(&mut values)
}

/// Mean position and standard deviation, in voxels, of the parenchyma (grey and white) along each axis:
/// enough to lay one brain roughly over another. `None` without parenchyma.
#[must_use]
pub fn moments(tissue: &[u8], shape: Shape) -> Option<([f64; 3], [f64; 3])> {
    let (mut n, mut sum, mut squares) = (0.0_f64, [0.0_f64; 3], [0.0_f64; 3]);
    for (i, _) in tissue.iter().enumerate().filter(|(_, t)| **t > 1) {
        let v = field::voxel(shape, i);
        n += 1.0;
        for a in 0..3 {
            sum[a] += v[a] as f64;
            squares[a] += (v[a] * v[a]) as f64;
        }
    }
    let mean = sum.map(|s| s / n);
    let sd = [0, 1, 2].map(|a| (squares[a] / n - mean[a] * mean[a]).max(0.0).sqrt());
    (n > 0.0).then_some((mean, sd))
}

/// The fluid of a tissue map where ventricles may lie, for other fluid does not count; `None` if there is none.
pub(super) fn ventricles(tissue: &[u8], near: &[bool]) -> Option<Vec<bool>> {
    let fluid = |(&t, &near): (&u8, &bool)| near && t == Tissue::Csf as u8;
    let ventricles: Vec<bool> = tissue.iter().zip(near).map(fluid).collect();
    ventricles.contains(&true).then_some(ventricles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn three_noisy_classes_are_told_apart() {
        let mut rng = StdRng::seed_from_u64(5);
        let shape = [30, 30, 30];
        let noise = field::texture(&mut rng, shape, 0.0);
        let truth: Vec<u8> = (0..field::len(shape))
            .map(|i| (field::voxel(shape, i)[0] / 8) as u8)
            .collect();
        let level = [0.0, 40.0, 220.0, 330.0];
        let t1: Vec<f32> = truth
            .iter()
            .zip(&noise)
            .map(|(&t, n)| if t == 0 { 0.0 } else { level[t as usize] + 15.0 * n })
            .collect();
        let mut lesions = vec![false; t1.len()];
        let found = segment_t1(&t1, &lesions);
        let right = found.iter().zip(&truth).filter(|(a, b)| a == b).count();
        assert!(
            right as f64 > 0.995 * truth.len() as f64,
            "{right} of {}",
            truth.len()
        );
        // A lesion is white matter whatever its intensity.
        if let Some(csf) = truth.iter().position(|t| *t == 1) {
            lesions[csf] = true;
            assert_eq!(segment_t1(&t1, &lesions)[csf], Tissue::White as u8);
        }
    }

    #[test]
    fn grey_islands_and_known_lesions_become_white() {
        let shape = [24, 24, 24];
        let at = |x, y, z| field::index(shape, [x, y, z]);
        let mut tissue = vec![3; field::len(shape)];
        for (i, tissue) in tissue.iter_mut().enumerate() {
            if field::voxel(shape, i)[0] < 4 {
                *tissue = 2;
            }
        }
        tissue[at(15, 12, 12)] = 2;
        let mut lesions = vec![false; tissue.len()];
        lesions[at(5, 12, 12)] = true;
        mend_lesions(&mut tissue, shape, &lesions);
        assert_eq!(tissue[at(15, 12, 12)], 3, "a small island");
        assert_eq!(tissue[at(3, 12, 12)], 3, "next to a known lesion");
        assert_eq!(tissue[at(3, 4, 12)], 2, "cortex");
    }

    #[test]
    fn lesions_are_allowed_inside_white_matter_only() {
        let shape = [32, 24, 24];
        let tissue: Vec<u8> = (0..field::len(shape))
            .map(|i| match field::voxel(shape, i)[0] {
                0..4 => 0,
                4..10 => 1,
                10..16 => 2,
                _ => 3,
            })
            .collect();
        let allowed = allowed(&tissue, shape);
        let at = |x| allowed[field::index(shape, [x, 12, 12])];
        assert!(!at(2) && !at(7) && !at(11) && at(16) && at(25));
        assert!(moments(&[0; 8], [2, 2, 2]).is_none());
    }
}
