//! From a scan's intensities to those the network sees.

use super::{Foreground, even_out, normalise, tissue};
use crate::volume::Volume;

/// A FLAIR whose foreground is known and whose drift is evened out: what all channels of a head are normalised by.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The foreground, and how it was found.
    pub foreground: Foreground,
    /// The FLAIR after [`normalise`].
    pub flair: Vec<f32>,
    /// Standard deviation of the logarithm of the FLAIR's bias field over the foreground; `None` if none could be estimated.
    pub drift: Option<f64>,
    tissue: Vec<bool>,
}

impl Scene {
    /// Finds the foreground of a FLAIR and evens out its drift.
    #[must_use]
    pub fn new(mut flair: Volume) -> Self {
        let foreground = Foreground::find(&flair);
        let drift = even_out(&mut flair, &foreground.mask);
        let tissue = tissue(&flair, &foreground.mask);
        let flair = normalise(&flair, &foreground.mask, &tissue);
        Self {
            foreground,
            flair,
            drift,
            tissue,
        }
    }

    /// Another channel on the same grid, evened out and normalised over the part of the foreground where `inside` holds (one
    /// entry a voxel).
    #[must_use]
    pub fn channel(&self, mut image: Volume, inside: &[bool]) -> Vec<f32> {
        let inside: Vec<bool> = self
            .foreground
            .mask
            .iter()
            .zip(inside)
            .map(|(&f, &i)| f && i)
            .collect();
        even_out(&mut image, &inside);
        normalise(&image, &inside, &self.tissue)
    }
}
