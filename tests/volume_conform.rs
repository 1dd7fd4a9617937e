//! To the network's grid and back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use equipoise::volume::conform::{self, conform, conformed_grid, to_native};
use equipoise::volume::resample::{Interpolation, coverage, resample};
use equipoise::volume::{Grid, Orientation, Volume, VolumeError};
use nalgebra::{Matrix3, Matrix4, Rotation3, Vector3};
use proptest::prelude::*;

/// All ways to order and reverse three axes.
fn all_48() -> Vec<[(usize, bool); 3]> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let flips = (0..8).map(|bits| [0, 1, 2].map(|i| bits >> i & 1 == 1));
    flips
        .flat_map(|flip| orders.map(|order| [0, 1, 2].map(|i| (order[i], flip[i]))))
        .collect()
}

/// A grid with these Euler angles (radians) and voxel edges, centred on a point off the origin.
fn grid(shape: [usize; 3], angles: [f64; 3], spacing: [f64; 3]) -> Grid {
    let turn = Rotation3::from_euler_angles(angles[0], angles[1], angles[2]);
    let linear = turn.matrix() * Matrix3::from_diagonal(&Vector3::from(spacing));
    let middle = Vector3::from(shape.map(|n| (n as f64 - 1.0) / 2.0));
    let mut affine = Matrix4::identity();
    affine.fixed_view_mut::<3, 3>(0, 0).copy_from(&linear);
    let origin = Vector3::new(3.25, -17.5, 8.0) - linear * middle;
    affine.fixed_view_mut::<3, 1>(0, 3).copy_from(&origin);
    Grid { shape, affine }
}

/// The volume whose voxels have the value of a function of their place in the world, in mm.
fn sampled(grid: &Grid, value: impl Fn([f64; 3]) -> f64) -> Volume {
    let [nx, ny, _] = grid.shape;
    let data = (0..grid.len())
        .map(|i| value(grid.world([i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64))) as f32)
        .collect();
    Volume {
        grid: grid.clone(),
        data,
    }
}

/// A different value at every voxel.
fn distinct(grid: &Grid) -> Volume {
    let data = (0..grid.len())
        .map(|i| (i * 7919 % 10_007) as f32 / 10_007.0)
        .collect();
    Volume {
        grid: grid.clone(),
        data,
    }
}

#[test]
fn millimetre_scans_of_all_48_orientations_only_move() {
    let scan = distinct(&grid([7, 6, 5], [0.1, -0.15, 0.2], [1.0; 3]));
    let reference = conform(&scan).unwrap().volume;
    for axes in all_48() {
        let turned = scan.with_axes(axes);
        let conformed = conform(&turned).unwrap();
        assert!(!conformed.interpolated);
        assert_eq!(Orientation::of(&conformed.volume.grid.affine), Orientation::RAS);
        // The same voxels in the same order at the same place, whatever order the file had.
        assert_eq!(conformed.volume.data, reference.data, "{axes:?}");
        assert!((conformed.volume.grid.affine - reference.grid.affine).amax() < 1e-9);
        // And back, to the bit.
        assert_eq!(
            to_native(&conformed.volume, &turned.grid).unwrap(),
            turned.data,
            "{axes:?}"
        );
    }
}

#[test]
fn thick_slices_of_all_48_orientations_conform_alike() {
    let scan = distinct(&grid([9, 8, 5], [0.1, -0.15, 0.2], [0.8, 1.3, 3.0]));
    let reference = conform(&scan).unwrap().volume;
    assert_eq!(reference.grid.shape, [8, 11, 15]);
    let back = to_native(&reference, &scan.grid).unwrap();
    for axes in all_48() {
        let turned = scan.with_axes(axes);
        let conformed = conform(&turned).unwrap();
        assert!(conformed.interpolated);
        assert_eq!(conformed.volume.grid.shape, reference.grid.shape);
        assert!((conformed.volume.grid.affine - reference.grid.affine).amax() < 1e-9);
        let pairs = conformed.volume.data.iter().zip(&reference.data);
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5), "{axes:?}");
        let there = Volume {
            grid: turned.grid.clone(),
            data: to_native(&conformed.volume, &turned.grid).unwrap(),
        };
        let expected = Volume {
            grid: scan.grid.clone(),
            data: back.clone(),
        }
        .with_axes(axes);
        assert!(
            there
                .data
                .iter()
                .zip(&expected.data)
                .all(|(a, b)| (a - b).abs() < 1e-5),
            "{axes:?}"
        );
    }
}

#[test]
fn spacings_within_a_percent_are_kept() {
    let scan = distinct(&grid([6, 7, 8], [0.0; 3], [0.995, 1.0, 1.009]));
    let conformed = conform(&scan).unwrap();
    assert!(!conformed.interpolated);
    assert_eq!(conformed.volume, scan);
    let conformed = conform(&distinct(&grid([60, 7, 8], [0.0; 3], [0.98, 1.0, 1.0]))).unwrap();
    assert!(conformed.interpolated);
    assert_eq!(conformed.volume.grid.shape, [59, 7, 8]);
}

#[test]
fn a_field_of_view_of_metres_is_refused() {
    let wide = Grid {
        shape: [500, 500, 500],
        affine: Matrix4::identity() * 10.0,
    };
    let mut affine = wide.affine;
    affine[(3, 3)] = 1.0;
    let wide = Grid { affine, ..wide };
    match conformed_grid(&wide) {
        Err(VolumeError::FieldOfView { extent, limit }) => {
            assert_eq!(extent, [5000.0; 3]);
            assert_eq!(limit, conform::MAX_VOXELS);
        }
        other => panic!("{other:?}"),
    }
}

/// Share of a cube of side 1 about `at` that lies in a ball, by sampling.
fn ball_share(at: [f64; 3], centre: [f64; 3], radius: f64) -> f64 {
    const N: usize = 8;
    let inside = (0..N * N * N).filter(|i| {
        let p = [i % N, i / N % N, i / (N * N)].map(|k| (k as f64 + 0.5) / N as f64 - 0.5);
        (0..3).map(|a| (at[a] + p[a] - centre[a]).powi(2)).sum::<f64>() <= radius * radius
    });
    inside.count() as f64 / (N * N * N) as f64
}

/// The largest relative error of a lesion's volume (a ball of 4 mm across, at 8 heights) on slices of 4 mm: by
/// [`to_native`], and by interpolation at the slices' centre planes as plain trilinear resampling would do it.
fn volume_errors(in_plane: f64, n: usize) -> (f64, f64) {
    let fine = grid([16, 16, 16], [0.0; 3], [1.0; 3]);
    let thick = grid([n, n, 4], [0.0; 3], [in_plane, in_plane, 4.0]);
    let volume_of = |data: &[f32]| data.iter().map(|&v| f64::from(v)).sum::<f64>();
    let (mut average, mut point): (f64, f64) = (0.0, 0.0);
    for step in 0..8 {
        let centre = [3.55, -17.7, 8.0 + f64::from(step) * 0.5];
        let lesion = sampled(&fine, |at| ball_share(at, centre, 2.0));
        let truth = volume_of(&lesion.data);
        let back = to_native(&lesion, &thick).unwrap();
        average = average.max((volume_of(&back) * thick.voxel_volume() / truth - 1.0).abs());
        let planes = grid([n, n, 13], [0.0; 3], [in_plane, in_plane, 1.0]);
        let planes = resample(&lesion, &planes, Interpolation::Linear, 0.0).unwrap();
        let at_centres: Vec<f32> = planes
            .data
            .chunks_exact(n * n)
            .step_by(4)
            .flatten()
            .copied()
            .collect();
        point = point.max((volume_of(&at_centres) * thick.voxel_volume() / truth - 1.0).abs());
    }
    (average, point)
}

#[test]
fn thick_slices_keep_the_lesion_volume() {
    // Averaging over the slice keeps it exactly.
    let (average, point) = volume_errors(1.0, 16);
    assert!(average < 1e-5, "{average}");
    assert!(point > 0.25, "{point}");
    // Linear interpolation to smaller voxels within the slice does so only nearly.
    let (average, point) = volume_errors(0.8, 20);
    assert!(average < 0.04, "{average}");
    assert!(point > 0.25, "{point}");
}

#[test]
fn probabilities_stay_between_0_and_1() {
    let fine = grid([6, 6, 6], [0.0; 3], [1.0; 3]);
    let probability = sampled(&fine, |at| at[0]);
    let native = grid([6, 6, 6], [0.3, 0.2, 0.1], [0.9, 1.0, 1.2]);
    let back = to_native(&probability, &native).unwrap();
    assert!(back.iter().all(|v| (0.0..=1.0).contains(v)));
    assert!(back.contains(&1.0));
}

#[test]
fn coverage_is_the_shared_field_of_view() {
    let head = grid([40, 50, 30], [0.1, 0.2, 0.3], [1.0; 3]);
    assert_eq!(coverage(&head, &head).unwrap(), 1.0);
    let mut half = head.clone();
    let shift = half.affine.column(0) * 20.0;
    let origin = half.affine.column(3) + shift;
    half.affine.set_column(3, &origin);
    assert!((coverage(&head, &half).unwrap() - 0.5).abs() < 0.02);
    half.affine[(2, 3)] += 1000.0;
    assert_eq!(coverage(&head, &half).unwrap(), 0.0);
    let flat = Grid {
        shape: [2, 2, 2],
        affine: Matrix4::zeros(),
    };
    assert_eq!(coverage(&head, &flat), Err(VolumeError::SingularGrid));
}

proptest! {
    /// A function that is linear in the world is conformed to itself: every voxel has the value of its own place.
    /// Where the scan's voxels are smaller than 1 mm, averaging over parts of them may move a value by an eighth of
    /// them. (On the rim, where half a voxel of the scan is missing, the border voxel is repeated.)
    #[test]
    fn places_are_kept(
        shape in prop::array::uniform3(6usize..14),
        angles in prop::array::uniform3(-3.1f64..3.1),
        spacing in prop::array::uniform3(0.4f64..4.0),
    ) {
        let slope = [2.0, -1.0, 0.5];
        let ramp = |at: [f64; 3]| (0..3).map(|i| slope[i] * at[i]).sum();
        let scan = sampled(&grid(shape, angles, spacing), ramp);
        let moved: f64 = (0..3).filter(|&a| spacing[a] < 1.0).map(|a| {
            let step: f64 = (0..3).map(|i| slope[i] * scan.grid.affine[(i, a)]).sum();
            step.abs() * spacing[a] / 8.0
        }).sum();
        let conformed = conform(&scan).unwrap().volume;
        let expected = sampled(&conformed.grid, ramp);
        let to_scan = scan.grid.affine.try_inverse().unwrap() * conformed.grid.affine;
        let [nx, ny, _] = conformed.grid.shape;
        let mut compared = 0;
        for (i, (got, expected)) in conformed.data.iter().zip(&expected.data).enumerate() {
            let index = [i % nx, i / nx % ny, i / (nx * ny)].map(|v| v as f64);
            let at = to_scan.transform_point(&index.into());
            let inner = (0..3).all(|a| {
                let reach = (1.0 / spacing[a]).max(1.0) / 2.0 - 0.5 + 1e-9;
                at[a] >= reach && at[a] <= shape[a] as f64 - 1.0 - reach
            });
            if inner {
                compared += 1;
                prop_assert!(f64::from((got - expected).abs()) < moved + 1e-3, "{got}, expected {expected}");
            }
        }
        prop_assert!(compared > 0);
    }

    /// The conformed grid covers the scan, is 1 mm, and runs closest to right, anterior, superior.
    #[test]
    fn the_conformed_grid_covers_the_scan(
        shape in prop::array::uniform3(1usize..300),
        angles in prop::array::uniform3(-3.1f64..3.1),
        spacing in prop::array::uniform3(0.3f64..6.0),
    ) {
        let native = grid(shape, angles, spacing);
        if let Ok(conformed) = conformed_grid(&native) {
            prop_assert_eq!(Orientation::of(&conformed.affine), Orientation::RAS);
            prop_assert!(conformed.spacing().iter().all(|s| (s - 1.0).abs() <= conform::SPACING_TOLERANCE + 1e-9));
            let reordered = native.with_axes([0, 1, 2].map(|w| {
                let o = Orientation::of(&native.affine);
                let v = o.world.iter().position(|&x| x == w).unwrap();
                (v, o.flip[v])
            }));
            for (own, scan) in conformed.extent().into_iter().zip(reordered.extent()) {
                prop_assert!(own >= scan - 0.011 && (own < scan + 1.0 || own == 1.0), "{own} for {scan}");
            }
        }
    }
}

#[test]
#[ignore = "a timing, not a check"]
fn timing() {
    let scan = distinct(&grid([256, 256, 180], [0.1, 0.1, 0.1], [0.9, 0.9, 1.2]));
    for (what, target) in [
        ("parallel", conformed_grid(&scan.grid).unwrap()),
        ("turned", grid([256; 3], [0.0; 3], [0.9; 3])),
        ("turned, coarser", grid([256; 3], [0.0; 3], [1.5; 3])),
    ] {
        let start = std::time::Instant::now();
        let out = resample(&scan, &target, Interpolation::Linear, 0.0).unwrap();
        println!("{what} to {:?}: {:?}", out.grid.shape, start.elapsed());
    }
}
