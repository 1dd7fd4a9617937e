//! The shape of the average brain, as the outline of raw scans needs it.

use super::field;
use super::material::SHAPE;
use super::subjects::{MaterialError, read_mni};
use crate::volume::distance::{dilate, erode};
use crate::volume::intensity::atlas;
use std::path::Path;

/// Furrows narrower than twice this many voxels are bridged, as those of an outline are.
const CLOSE: f32 = 6.0;

/// The bytes of `src/volume/intensity/atlas.bin`: depth in the brain of `lesion_shapes/MNI152_T1_1mm_brain_tissues.nii.gz`.
///
/// # Errors
/// [`MaterialError`] if the map is missing or not on the MNI grid.
pub fn average_brain(data: &Path) -> Result<Vec<u8>, MaterialError> {
    let tissue = read_mni(&data.join("lesion_shapes/MNI152_T1_1mm_brain_tissues.nii.gz"))?;
    let brain: Vec<bool> = tissue.iter().map(|t| *t > 0.0).collect();
    let closed = erode(&dilate(&brain, SHAPE, CLOSE), SHAPE, CLOSE);
    let depths = atlas::depths(&closed, SHAPE, 1.0);
    let samples: Vec<f32> = (0..field::len(atlas::SHAPE))
        .map(|i| {
            let at = field::voxel(atlas::SHAPE, i).map(|c| c * atlas::SPACING_MM as usize);
            depths[field::index(SHAPE, at)]
        })
        .collect();
    Ok(atlas::encode(&samples))
}
