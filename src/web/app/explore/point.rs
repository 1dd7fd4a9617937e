//! Where the drawings of the loss stand.

use crate::loss::closed::FocalSettings;
use crate::loss::closed::point::{Counts, Pull, cross_entropy_pull, f_beta_pull, focal_pull};

/// A mask in counts, how rare lesions are around it, and the loss it is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// How much more recall counts than precision.
    pub beta: f64,
    /// Background voxels for each lesion voxel.
    pub ratio: f64,
    /// Lesion voxels that are marked.
    pub tp: f64,
    /// Background voxels that are marked; more than there are count as all (see [`Point::counts`]).
    pub fp: f64,
    /// Lesion voxels that are not marked.
    pub fn_: f64,
    /// Probability that the two voxels in question give to what they truly are.
    pub wrong: f64,
    /// The guided step that is open.
    pub step: Option<usize>,
}

impl Default for Point {
    /// A mask of precision 0.75 and recall 0.6 in a patch with one lesion voxel in a hundred, and the paper's beta.
    fn default() -> Self {
        Self {
            beta: 1.5,
            ratio: 100.0,
            tp: 60.0,
            fp: 20.0,
            fn_: 40.0,
            wrong: 0.1,
            step: None,
        }
    }
}

/// The losses that are compared, in the order of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// 1 - F_beta at the point's beta.
    FBeta,
    /// 1 - F_1.
    Dice,
    /// Mean cross-entropy.
    CrossEntropy,
    /// Mean focal loss with Lin's alpha 0.25 and gamma 2.
    Focal,
}

impl Compared {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FBeta, Self::Dice, Self::CrossEntropy, Self::Focal];
}

impl Point {
    /// Range of beta; the paper tried 1 to 3.
    pub const BETA: (f64, f64) = (0.5, 4.0);
    /// Range of [`Point::ratio`].
    pub const RATIO: (f64, f64) = (1.0, 10_000.0);
    /// Range of FP and FN.
    pub const COUNT: (f64, f64) = (0.0, 500.0);
    /// Range of TP: without any there is neither precision nor recall.
    pub const TP: (f64, f64) = (1.0, 500.0);
    /// Range of [`Point::wrong`].
    pub const WRONG: (f64, f64) = (0.01, 0.99);

    /// Background voxels when each lesion voxel has `ratio` of them.
    fn background(&self, ratio: f64) -> f64 {
        (self.tp + self.fn_) * ratio
    }

    /// Voxels of the patch.
    #[must_use]
    pub fn voxels(&self) -> f64 {
        (self.tp + self.fn_) + self.background(self.ratio)
    }

    /// Share of the voxels that is lesion.
    #[must_use]
    pub fn lesion_fraction(&self) -> f64 {
        1.0 / (1.0 + self.ratio)
    }

    /// The counts, with no more false positives than there is background.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            tp: self.tp,
            fp: self.fp.min(self.background(self.ratio)),
            fn_: self.fn_,
        }
    }

    /// How a loss pulls at a missed and at a falsely marked voxel when each lesion voxel has `ratio` background voxels.
    /// `None` where the point does not exist: it marks more background than there is.
    #[must_use]
    pub fn pull(&self, loss: Compared, ratio: f64) -> Option<Pull> {
        let background = self.background(ratio);
        if self.counts().fp > background {
            return None;
        }
        let voxels = self.tp + self.fn_ + background;
        match loss {
            Compared::FBeta => f_beta_pull(&self.counts(), self.beta),
            Compared::Dice => f_beta_pull(&self.counts(), 1.0),
            Compared::CrossEntropy => Some(cross_entropy_pull(voxels, self.wrong)),
            Compared::Focal => Some(focal_pull(voxels, self.wrong, &FocalSettings::default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn background_bounds_the_false_positives() {
        let point = Point {
            ratio: 1.0,
            fp: 300.0,
            ..Point::default()
        };
        assert_eq!((point.counts().fp, point.voxels()), (100.0, 200.0));
        assert_eq!(point.lesion_fraction(), 0.5);
        let rare = Point { ratio: 10.0, ..point };
        assert_eq!(rare.counts().fp, 300.0);
        assert!(
            rare.pull(Compared::FBeta, 2.0).is_none(),
            "only 200 voxels of background"
        );
        assert!(rare.pull(Compared::FBeta, 3.0).is_some());
    }

    #[test]
    fn rarer_lesions_weaken_the_means_and_leave_f_beta() {
        let point = Point::default();
        let missed = |loss, ratio| point.pull(loss, ratio).unwrap().missed;
        for loss in [Compared::FBeta, Compared::Dice] {
            assert_eq!(missed(loss, 1.0), missed(loss, 10_000.0));
        }
        for loss in [Compared::CrossEntropy, Compared::Focal] {
            let weaker = missed(loss, 1.0) / missed(loss, 10_000.0);
            assert!((weaker - 10_001.0 / 2.0).abs() < 1e-6, "{weaker}");
        }
        assert_eq!(
            Point { beta: 1.0, ..point }.pull(Compared::FBeta, 5.0),
            point.pull(Compared::Dice, 5.0)
        );
    }
}
