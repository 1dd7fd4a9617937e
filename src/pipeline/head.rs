//! A head as the network sees it.

use super::PipelineError;
use crate::tiling::{TilingError, extract};
use crate::volume::Grid;
use crate::volume::distance::erode;

/// How far from the foreground's surface lesions begin, in voxels of 1 mm.
const SURFACE_MM: f32 = 2.0;

/// A head on the grid of the network: normalised channels and the voxels worth looking at.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    grid: Grid,
    flair: Vec<f32>,
    t1: Option<Vec<f32>>,
    foreground: Vec<bool>,
    outlined: bool,
}

impl Head {
    /// Channels of a network: FLAIR and T1.
    pub const CHANNELS: usize = 2;

    /// Puts the channels of a head together; each has one value per voxel of `grid`, x fastest.
    ///
    /// Intensities are those of [`normalise`](crate::volume::intensity::normalise): zero, which stands for what is
    /// missing (a T1, the world outside the scan), is the median of the brain's tissue.
    ///
    /// # Errors
    /// [`PipelineError::Tiling`] if an array does not fit the grid, [`PipelineError::NoForeground`] if there is
    /// nothing to segment.
    pub fn new(
        grid: Grid,
        flair: Vec<f32>,
        t1: Option<Vec<f32>>,
        foreground: Vec<bool>,
    ) -> Result<Self, PipelineError> {
        let expected = grid.len();
        let fits = |what, got| {
            if got == expected {
                Ok(())
            } else {
                Err(TilingError::Length { what, expected, got })
            }
        };
        fits("The FLAIR", flair.len())?;
        fits("The T1", t1.as_ref().map_or(expected, Vec::len))?;
        fits("The foreground mask", foreground.len())?;
        if !foreground.contains(&true) {
            return Err(PipelineError::NoForeground);
        }
        Ok(Self {
            grid,
            flair,
            t1,
            foreground,
            outlined: false,
        })
    }

    /// Says that the foreground is an outline drawn in a scan with its skull: the field of view ends somewhere in the head, mostly in the
    /// neck, and so does the brain for [`Head::depth`].
    #[must_use]
    pub fn outlined(mut self) -> Self {
        self.outlined = true;
        self
    }

    /// Shape and place of the voxels.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// FLAIR intensities, x fastest.
    #[must_use]
    pub fn flair(&self) -> &[f32] {
        &self.flair
    }

    /// T1 intensities, if there is a T1.
    #[must_use]
    pub fn t1(&self) -> Option<&[f32]> {
        self.t1.as_deref()
    }

    /// Where lesions may be.
    #[must_use]
    pub fn foreground(&self) -> &[bool] {
        &self.foreground
    }

    /// The foreground without what lies within 2 mm of its surface: pia, dura and partial volume are bright there, and lesions are not
    /// (`docs/accuracy.md` counts them). The end of the field of view is a surface where the brain was [outlined](Head::outlined), and
    /// none in an image that shows nothing but brain, which may have been cropped anywhere.
    #[must_use]
    pub fn depth(&self) -> Vec<bool> {
        let shape = self.grid.shape;
        let mut deep = erode(&self.foreground, shape, SURFACE_MM);
        if self.outlined {
            let border = SURFACE_MM as usize;
            let [nx, ny, nz] = shape.map(|n| border..n.saturating_sub(border));
            for (i, deep) in deep.iter_mut().enumerate() {
                let rest = i / shape[0];
                *deep &= nx.contains(&(i % shape[0]))
                    && ny.contains(&(rest % shape[1]))
                    && nz.contains(&(rest / shape[1]));
            }
        }
        deep
    }

    /// The patch of `side^3` voxels that starts at `origin`: FLAIR, then T1 or zeros ([`extract`]).
    ///
    /// # Errors
    /// None in practice: the lengths were checked in [`Head::new`].
    pub fn patch(&self, origin: [isize; 3], side: usize) -> Result<Vec<f32>, TilingError> {
        let shape = self.grid.shape;
        match &self.t1 {
            Some(t1) => extract(&[&self.flair, t1], shape, origin, side),
            None => {
                let mut patch = extract(&[&self.flair], shape, origin, side)?;
                patch.resize(Self::CHANNELS * patch.len(), 0.0);
                Ok(patch)
            }
        }
    }
}

/// Sets values to 0 where `deep` ([`Head::depth`]) is false.
pub fn keep_deep(values: &mut [f32], deep: &[bool]) {
    for (value, _) in values.iter_mut().zip(deep).filter(|(_, deep)| !**deep) {
        *value = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;

    fn grid() -> Grid {
        Grid {
            shape: [2, 3, 4],
            affine: Matrix4::identity(),
        }
    }

    #[test]
    fn a_missing_t1_is_zero() {
        let flair: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let head = Head::new(grid(), flair.clone(), None, vec![true; 24]).unwrap();
        let zeros = Head::new(grid(), flair, Some(vec![0.0; 24]), vec![true; 24]).unwrap();
        let patch = head.patch([-1, 0, 1], 3).unwrap();
        assert_eq!(patch, zeros.patch([-1, 0, 1], 3).unwrap());
        assert_eq!(patch.len(), 2 * 27);
    }

    #[test]
    fn arrays_must_fit_the_grid() {
        let make = |flair, t1, foreground| {
            Head::new(
                grid(),
                vec![0.0; flair],
                Some(vec![0.0; t1]),
                vec![true; foreground],
            )
        };
        assert!(make(24, 24, 24).is_ok());
        for (flair, t1, foreground) in [(23, 24, 24), (24, 25, 24), (24, 24, 0)] {
            let problem = make(flair, t1, foreground).unwrap_err();
            assert!(matches!(
                problem,
                PipelineError::Tiling(TilingError::Length { expected: 24, .. })
            ));
        }
        let empty = Head::new(grid(), vec![0.0; 24], None, vec![false; 24]);
        assert_eq!(empty, Err(PipelineError::NoForeground));
    }

    #[test]
    fn what_lies_deep_is_two_voxels_below_the_surface_and_reaches_the_end_of_a_scan_without_skull() {
        let grid = Grid {
            shape: [10, 12, 9],
            ..grid()
        };
        let [nx, ny, nz] = grid.shape;
        // A box that touches the lowest slice.
        let within = |i: usize, from: usize| {
            let [x, y, z] = [i % nx, i / nx % ny, i / nx / ny];
            (from..nx - from).contains(&x) && (from..ny - from).contains(&y) && z < nz - from
        };
        let mask = |from: usize| (0..nx * ny * nz).map(|i| within(i, from)).collect::<Vec<_>>();
        let n = nx * ny * nz;
        let head = Head::new(grid, vec![0.0; n], None, mask(1)).unwrap();
        assert_eq!(head.depth(), mask(3));
        let without_the_lowest = |(i, deep)| deep && i / nx / ny >= 2;
        let expected: Vec<bool> = mask(3).into_iter().enumerate().map(without_the_lowest).collect();
        assert_eq!(head.outlined().depth(), expected);
    }
}
