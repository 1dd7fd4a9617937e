//! A channel's voxels as one long line with zeros between rows and planes.
//!
//! There every tap of a kernel is a constant offset, so a convolution is a sum of shifted copies of one line: no branches at
//! borders, whole vectors whatever the patch side, and the few positions computed in vain are dropped when the result is
//! written. Rows and planes have their zeros in common with their neighbours.

/// Voxels along z, y, x.
pub(crate) type Extent = [usize; 3];

/// Spare values after each line, so that the last vector may run over.
const SLACK: usize = 64;

/// How a channel of one extent lies in its line.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    extent: Extent,
    /// Distance of neighbours in y: a row, and a voxel of zero.
    pub(super) pitch: usize,
    /// Distance of neighbours in z: a plane, and a row of zeros.
    pub(super) plane: usize,
    /// Position of the first voxel.
    pub(super) first: usize,
    /// Positions from the first voxel to the last, inclusive of the borders between.
    pub(super) span: usize,
    /// Values of a line, slack included.
    pub(super) line: usize,
}

impl Grid {
    /// With `planes` planes of zeros at either end: none where no tap reaches along z.
    pub(super) fn new(extent: Extent, planes: usize) -> Self {
        let [d, h, w] = extent;
        let pitch = w + 1;
        let plane = (h + 1) * pitch;
        let first = planes * plane + pitch + 1;
        let span = if d * h * w == 0 {
            0
        } else {
            (d - 1) * plane + (h - 1) * pitch + w
        };
        Self {
            extent,
            pitch,
            plane,
            first,
            span,
            line: first + (d + planes) * plane + SLACK,
        }
    }

    /// Where row `y` of plane `z` starts.
    pub(super) fn row(&self, z: usize, y: usize) -> usize {
        self.first + z * self.plane + y * self.pitch
    }

    /// Zeros where a line has no voxels.
    pub(super) fn border(&self, line: &mut [f32]) {
        let [d, h, w] = self.extent;
        line[..self.first].fill(0.0);
        let (inside, after) = line[self.first..].split_at_mut(d * self.plane);
        for plane in inside.chunks_exact_mut(self.plane) {
            for row in plane.chunks_exact_mut(self.pitch).take(h) {
                row[w] = 0.0;
            }
            plane[h * self.pitch..].fill(0.0);
        }
        after.fill(0.0);
    }

    /// The voxels at `count` positions from `from` after the first voxel on, as runs within a row: place among the positions, z, y, x
    /// and length.
    pub(super) fn runs(&self, from: usize, count: usize) -> impl Iterator<Item = (usize, Extent, usize)> {
        let [_, h, w] = self.extent;
        let (pitch, plane) = (self.pitch, self.plane);
        let mut at = from;
        std::iter::from_fn(move || {
            while at < from + count {
                let (z, y, x) = (at / plane, at % plane / pitch, at % plane % pitch);
                let place = at - from;
                let run = (from + count - at).min(pitch - x);
                at += run;
                if y < h && x < w {
                    return Some((place, [z, y, x], run.min(w - x)));
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_voxel_is_in_one_run_and_every_other_value_is_border() {
        for (extent, planes) in [([1, 1, 1], 0), ([2, 3, 4], 0), ([3, 1, 5], 1), ([2, 4, 1], 1)] {
            let grid = Grid::new(extent, planes);
            let [_, h, w] = extent;
            for width in [1, 3, 8] {
                let mut line = vec![f32::NAN; grid.line];
                grid.border(&mut line);
                let mut seen = vec![0; extent.iter().product()];
                for from in (0..grid.span).step_by(width) {
                    for (place, [z, y, x], run) in grid.runs(from, width.min(grid.span - from)) {
                        for i in 0..run {
                            seen[(z * h + y) * w + x + i] += 1;
                            let at = grid.first + from + place + i;
                            assert_eq!(at, grid.row(z, y) + x + i);
                            assert!(line[at].is_nan());
                            line[at] = 1.0;
                        }
                    }
                }
                assert!(seen.iter().all(|n| *n == 1), "{extent:?} in {width}: {seen:?}");
                assert!(line.iter().all(|v| !v.is_nan()), "{extent:?}");
            }
        }
    }
}
