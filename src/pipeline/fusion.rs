//! How patches became one map: tiles, votes, weights, disagreement, and the seams that each window leaves.

use serde::{Deserialize, Serialize};

use super::pictures::{self, Picture};
use super::{Head, Segmentation, Settings};
use crate::tiling::{Fused, Plan, Seams, TilingError, Window, cover, seams};
use crate::volume::slice::Slice;

/// What is drawn over a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Layer {
    /// Number of votes on a voxel, rotations counted.
    Votes,
    /// Sum of their weights; a tile's voxels weigh 1 on average.
    #[default]
    Weights,
    /// Fused probability.
    Probability,
    /// Standard deviation of the votes.
    Disagreement,
}

impl Layer {
    /// True if it needs a run.
    #[must_use]
    pub fn of_a_run(self) -> bool {
        matches!(self, Self::Probability | Self::Disagreement)
    }
}

/// A window in numbers, over the foreground.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowNumbers {
    /// The window.
    pub window: Window,
    /// Seams of the fused probability.
    pub seams: Seams,
    /// Mean standard deviation of the votes.
    pub mean_disagreement: f64,
    /// Largest standard deviation of the votes.
    pub largest_disagreement: f64,
}

/// One set of votes, fused by every window.
#[derive(Clone, Debug)]
pub struct FusionStudy {
    plan: Plan,
    orientations: usize,
    windows: Vec<(Window, Fused)>,
    numbers: Vec<WindowNumbers>,
}

impl FusionStudy {
    /// Takes the votes' maps out of a segmentation of `head` that was run with [`Settings::compare_windows`] and
    /// [`Settings::variance`]; `plan` is its plan.
    ///
    /// # Errors
    /// [`TilingError`] if the maps are of another head.
    pub fn new(
        head: &Head,
        plan: Plan,
        settings: &Settings,
        segmentation: &mut Segmentation,
    ) -> Result<Self, TilingError> {
        let mut windows = std::mem::take(&mut segmentation.windows);
        windows.sort_by_key(|(window, _)| Window::ALL.iter().position(|known| known == window));
        let numbers = windows
            .iter()
            .map(|(window, fused)| numbers(*window, fused, &plan, head.foreground()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            plan,
            orientations: settings.orientations().len(),
            windows,
            numbers,
        })
    }

    /// Every window in numbers.
    #[must_use]
    pub fn numbers(&self) -> &[WindowNumbers] {
        &self.numbers
    }

    /// Where the patches lay.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Orientations in which every patch voted.
    #[must_use]
    pub fn orientations(&self) -> usize {
        self.orientations
    }

    fn fused(&self, window: Window) -> Option<&Fused> {
        self.windows
            .iter()
            .find(|(known, _)| *known == window)
            .map(|(_, fused)| fused)
    }
}

fn numbers(
    window: Window,
    fused: &Fused,
    plan: &Plan,
    inside: &[bool],
) -> Result<WindowNumbers, TilingError> {
    let deviations = || {
        let variance = fused.variance.iter().flatten();
        variance
            .zip(inside)
            .filter(|(_, inside)| **inside)
            .map(|(v, _)| f64::from(v.max(0.0)).sqrt())
    };
    let count = deviations().count();
    Ok(WindowNumbers {
        window,
        seams: seams(&fused.probability, plan, inside)?,
        mean_disagreement: if count > 0 {
            deviations().sum::<f64>() / count as f64
        } else {
            0.0
        },
        largest_disagreement: deviations().fold(0.0, f64::max),
    })
}

/// Draws a layer over three planes of the head, with the tiles that each slice cuts. `study` is there after a run; the layers
/// that need one are empty without it.
#[must_use]
pub fn draw(
    head: &Head,
    plan: &Plan,
    orientations: usize,
    study: Option<&FusionStudy>,
    (window, layer): (Window, Layer),
    place: [f64; 3],
) -> [Picture; 3] {
    let weights = window.weights(plan.side());
    let fused = study.and_then(|study| study.fused(window));
    let map = |slice: &Slice| -> Vec<f32> {
        let on_slice = |values: &[f32], value: fn(f32) -> f32| {
            slice.values(|at| {
                if head.foreground()[at] {
                    value(values[at])
                } else {
                    f32::NAN
                }
            })
        };
        match layer {
            Layer::Probability => fused.map(|fused| on_slice(&fused.probability, |p| p)),
            Layer::Disagreement => fused
                .and_then(|fused| fused.variance.as_deref())
                .map(|variance| on_slice(variance, |v| v.max(0.0).sqrt())),
            Layer::Votes | Layer::Weights => {
                let (from, size) = slice.voxels();
                let found = cover(plan, &weights, from, size);
                let inner = |at: usize| {
                    let [nx, ny, _] = plan.shape();
                    let voxel = [at % nx, at / nx % ny, at / nx / ny];
                    let [x, y, z] = [0, 1, 2].map(|a| voxel[a] - from[a]);
                    x + size[0] * (y + size[1] * z)
                };
                let many = orientations as f32;
                Some(slice.values(|at| {
                    let at = inner(at);
                    let value = if layer == Layer::Votes {
                        found.votes[at] as f32
                    } else {
                        found.weight[at]
                    };
                    if found.votes[at] == 0 {
                        f32::NAN
                    } else {
                        value * many
                    }
                }))
            }
        }
        .unwrap_or_default()
    };
    let boxes = |slice: &Slice| {
        let (axis, depth) = slice.depth();
        let side = plan.side() as f64;
        let cut = plan.origins().iter().filter(|origin| {
            let at = depth as isize - origin[axis];
            usize::try_from(at).is_ok_and(|at| at < plan.side())
        });
        let mut boxes: Vec<[f64; 4]> = cut
            .map(|origin| {
                let first = origin.map(|o| o as f64 - 0.5);
                let a = slice.pixel(first);
                let b = slice.pixel(first.map(|o| o + side));
                let corner = |i: usize| a[i].min(b[i]) + 0.5;
                [corner(0), corner(1), (b[0] - a[0]).abs(), (b[1] - a[1]).abs()]
            })
            .collect();
        boxes.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        boxes.dedup();
        boxes
    };
    let scan = head.flair();
    let window = pictures::window(scan);
    // Outside the foreground intensities are 0, which is the tissue's median; it is black here.
    let shown = |at: usize| {
        if head.foreground()[at] {
            scan[at]
        } else {
            window[0]
        }
    };
    pictures::three_planes(head.grid(), shown, window, place, map, boxes)
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;
    use crate::volume::Grid;

    fn head() -> Head {
        let grid = Grid {
            shape: [20, 18, 16],
            affine: Matrix4::identity(),
        };
        let flair = (0..grid.len()).map(|i| (i % 13) as f32).collect();
        let inside = vec![true; grid.len()];
        Head::new(grid, flair, None, inside).unwrap()
    }

    #[test]
    fn votes_and_weights_are_drawn_without_a_run() {
        let head = head();
        let plan = Plan::new([20, 18, 16], 8, 0.5).unwrap();
        let place = [10.0, 11.0, 8.0];
        let [axial, ..] = draw(&head, &plan, 4, None, (Window::Bspline, Layer::Votes), place);
        let middle = axial.about.pixel(place).map(|p| p.round() as usize);
        let at = middle[1] * axial.about.size[0] + middle[0];
        assert_eq!(axial.over[at], 4.0 * 12.0, "2 x 3 x 2 tiles, the last moved back");
        let [axial, ..] = draw(
            &head,
            &plan,
            1,
            None,
            (Window::Bspline, Layer::Probability),
            place,
        );
        assert!(axial.over.is_empty());
        // Tiles that the axial slice cuts, seen from below: the first begins at the patient's right, the screen's left.
        let first = axial.about.boxes.first().unwrap();
        assert_eq!((first[2], first[3]), (8.0, 8.0));
        assert!(
            axial
                .about
                .boxes
                .iter()
                .all(|b| b[0] >= 0.0 && b[0] + b[2] <= 20.0 && b[1] + b[3] <= 18.0)
        );
        assert_eq!(axial.about.boxes.len(), 4 * 4);
    }

    #[test]
    fn a_study_has_every_window_in_numbers() {
        let head = head();
        let settings = Settings {
            patch: 8,
            variance: true,
            compare_windows: true,
            ..Settings::default()
        };
        let plan = Plan::new([20, 18, 16], 8, 0.5).unwrap();
        let fused = |p: f32| Fused {
            probability: vec![p; 20 * 18 * 16],
            variance: Some(vec![0.25 * p; 20 * 18 * 16]),
        };
        let mut segmentation = Segmentation {
            probability: fused(1.0).probability,
            variance: fused(1.0).variance,
            windows: vec![
                (Window::Uniform, fused(0.0)),
                (Window::Gaussian, fused(0.36)),
                (Window::Bspline, fused(1.0)),
            ],
            patches: 1,
            notes: Vec::new(),
        };
        let study = FusionStudy::new(&head, plan.clone(), &settings, &mut segmentation).unwrap();
        let windows: Vec<_> = study.numbers().iter().map(|n| n.window).collect();
        assert_eq!(windows, Window::ALL);
        let means: Vec<f64> = study.numbers().iter().map(|n| n.mean_disagreement).collect();
        for (got, expected) in means.iter().zip([0.5, 0.3, 0.0]) {
            assert!((got - expected).abs() < 1e-6, "{means:?}");
        }
        assert!(
            study
                .numbers()
                .iter()
                .all(|n| n.seams.across.mean == 0.0 && n.seams.across.pairs > 0)
        );
        let [axial, ..] = draw(
            &head,
            &plan,
            1,
            Some(&study),
            (Window::Gaussian, Layer::Disagreement),
            [1.0; 3],
        );
        assert!(axial.over.iter().all(|v| (v - 0.3).abs() < 1e-6));
    }
}
