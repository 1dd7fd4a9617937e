//! A head on its way to becoming training material: images, truth and tissue on one grid.

use super::field::{Region, Shape};

/// FLAIR, T1, lesions and tissue of one head, on a 1 mm RAS grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Shape of every field.
    pub shape: Shape,
    /// FLAIR and T1 in scanner units, 0 where nothing was imaged.
    pub images: [Vec<f32>; 2],
    /// The truth.
    pub lesions: Vec<bool>,
    /// Where nobody knows the truth: what a scan without labels shows there may be lesion.
    pub unknown: Vec<bool>,
    /// Tissue ([`Tissue`](super::anatomy::Tissue)).
    pub tissue: Vec<u8>,
    /// White matter's usual intensity in FLAIR and T1: the unit of every relative intensity.
    pub white: [f32; 2],
}

impl Head {
    /// The box around the brain, grown by `margin`.
    #[must_use]
    pub fn cut_to_brain(self, margin: usize) -> Self {
        let brain = self
            .tissue
            .iter()
            .enumerate()
            .filter(|(_, t)| **t > 0)
            .map(|(i, _)| i);
        let Some(region) = Region::around(brain, self.shape, margin) else {
            return self;
        };
        self.cut(region)
    }

    /// A box of the head.
    #[must_use]
    pub fn cut(&self, region: Region) -> Self {
        Self {
            shape: region.shape(),
            images: [0, 1].map(|c| region.cut(&self.images[c], self.shape)),
            lesions: region.cut(&self.lesions, self.shape),
            unknown: region.cut(&self.unknown, self.shape),
            tissue: region.cut(&self.tissue, self.shape),
            white: self.white,
        }
    }
}
