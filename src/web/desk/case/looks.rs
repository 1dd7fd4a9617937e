//! Pictures of the case.

use super::{Case, CaseError};
use crate::pipeline::pictures::{self, Picture};
use crate::volume::slice::Slice;
use crate::web::studies::{FamilyLook, Told};

/// Three pictures, and what they show in numbers.
#[derive(Debug)]
pub struct Drawn {
    /// The planes.
    pub pictures: [Picture; 3],
    /// The place that they go through, in world millimetres.
    pub place: [f64; 3],
    /// In numbers.
    pub told: Told,
}

impl Case {
    /// Puts the family beside the reference, or beside none.
    ///
    /// # Errors
    /// [`CaseError::Compare`].
    pub fn rank_family(&mut self) -> Result<(), CaseError> {
        let reference = self.reference.as_ref().map(|opened| &opened.reference);
        Ok(self.family.rank(reference)?)
    }

    /// Where there is something to see: the middle of the largest lesion of the newest mask.
    #[must_use]
    pub fn sight(&self) -> Option<[f64; 3]> {
        let lesion = self.result.as_ref()?.mask().lesions.first()?;
        Some(lesion.centre_mm)
    }

    /// The members of the family at a cut, and pictures of where one differs from another or from the reference; nothing if
    /// one of the two is missing.
    ///
    /// # Errors
    /// [`CaseError::NoFlair`], [`CaseError::Compare`].
    pub fn look_at_family(
        &mut self,
        look: &FamilyLook,
        place: Option<[f64; 3]>,
    ) -> Result<Option<Drawn>, CaseError> {
        let reference = self.reference.as_ref().map(|opened| &opened.reference);
        let members = self.family.cut(&look.cut, reference)?;
        let marked: Option<Vec<u8>> = reference
            .filter(|_| look.with.is_none())
            .map(|reference| reference.voxels.iter().map(|&voxel| u8::from(voxel)).collect());
        let place = place
            .or_else(|| self.family.sight(look.member))
            .or_else(|| self.sight());
        let window = self.window()?;
        let volume = &self.flair.as_ref().ok_or(CaseError::NoFlair)?.scan.volume;
        let Some((codes, split)) = self.family.differences(look, marked.as_deref()) else {
            return Ok(None);
        };
        let place = pictures::at_voxel(&volume.grid, place);
        let drawn = pictures::three_planes(
            &volume.grid,
            |at| volume.data[at],
            window,
            place,
            codes,
            |_| Vec::new(),
        );
        Ok(Some(Drawn {
            pictures: drawn,
            place,
            told: Told::Family { members, split },
        }))
    }

    /// Pictures of the newest mask.
    ///
    /// # Errors
    /// [`CaseError::NoFlair`], [`CaseError::NoResult`].
    pub fn look_at_result(&mut self, place: Option<[f64; 3]>) -> Result<Option<Drawn>, CaseError> {
        let window = self.window()?;
        let place = place.or_else(|| self.sight());
        let volume = &self.flair.as_ref().ok_or(CaseError::NoFlair)?.scan.volume;
        let mask = &self.result.as_ref().ok_or(CaseError::NoResult)?.mask().voxels;
        let place = pictures::at_voxel(&volume.grid, place);
        let marked = |slice: &Slice| {
            slice.values(|at| {
                if mask.get(at).is_some_and(|&voxel| voxel != 0) {
                    1.0
                } else {
                    f32::NAN
                }
            })
        };
        let drawn = pictures::three_planes(
            &volume.grid,
            |at| volume.data[at],
            window,
            place,
            marked,
            |_| Vec::new(),
        );
        Ok(Some(Drawn {
            pictures: drawn,
            place,
            told: Told::Result,
        }))
    }

    fn window(&mut self) -> Result<[f32; 2], CaseError> {
        let volume = &self.flair.as_ref().ok_or(CaseError::NoFlair)?.scan.volume;
        Ok(*self.window.get_or_insert_with(|| pictures::window(&volume.data)))
    }
}
