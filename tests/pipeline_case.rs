//! A whole case: NIfTI bytes in, lesions and NIfTI bytes out, for scans in odd orientations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::ops::ControlFlow;

use equipoise::pipeline::{
    Cut, Mask, PredictError, Predictor, PrepareError, Prepared, Settings, mask, prepare, segment,
};
use equipoise::volume::nifti::{self, Header, Limits, Scan};
use equipoise::volume::{Grid, Orientation};
use nalgebra::{Matrix3, Matrix4, Rotation3, Vector3};
use pollster::block_on;

/// Centre of the phantom's head in world mm; its radius is 22 mm.
const HEAD: [f64; 3] = [12.0, -7.0, 5.0];
/// Lesions: bright in FLAIR, dark in T1. Radius 4 and 3 mm.
const LARGE: [f64; 3] = [21.0, -9.0, 1.0];
const SMALL: [f64; 3] = [4.0, -2.0, 13.0];
/// As bright in FLAIR as a lesion, but bright in T1 too: only the T1 tells it apart. Radius 4 mm.
const VESSEL: [f64; 3] = [10.0, 2.0, -4.0];
/// Dark in both. Radius 5 mm.
const VENTRICLE: [f64; 3] = [4.0, -14.0, -2.0];

fn within(p: [f64; 3], centre: [f64; 3], radius: f64) -> bool {
    (0..3).map(|a| (p[a] - centre[a]).powi(2)).sum::<f64>() <= radius * radius
}

/// FLAIR or T1 intensity at a place in the world.
fn phantom(p: [f64; 3], t1: bool) -> i16 {
    let texture = (0.7 * p[0]).sin() * (0.5 * p[1]).cos() * (0.6 * p[2]).sin();
    if !within(p, HEAD, 22.0) {
        // Air is not blank, as in a scan that nobody masked.
        return 30 + (25.0 * texture) as i16;
    }
    if within(p, VENTRICLE, 5.0) {
        return 100;
    }
    let tissue = 1000 + (60.0 * texture) as i16;
    let lesion = within(p, LARGE, 4.0) || within(p, SMALL, 3.0);
    let vessel = within(p, VESSEL, 4.0);
    match (lesion, vessel, t1) {
        (true, _, true) => 600,
        (true, _, false) => 2000,
        (_, true, _) => 2000,
        _ => tissue,
    }
}

/// A grid around the head: world axes of the voxel axes as signed columns, spacing, tilt in degrees about x and z.
fn grid(axes: [[f64; 3]; 3], spacing: [f64; 3], tilt: [f64; 2], fov: [f64; 3]) -> Grid {
    let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), tilt[1].to_radians())
        * Rotation3::from_axis_angle(&Vector3::x_axis(), tilt[0].to_radians());
    let columns = Matrix3::from_columns(&axes.map(Vector3::from));
    let matrix = turn.matrix() * columns * Matrix3::from_diagonal(&Vector3::from(spacing));
    let shape = [0, 1, 2].map(|a| (fov[a] / spacing[a]).round() as usize);
    let middle = Vector3::from(shape.map(|n| (n as f64 - 1.0) / 2.0));
    let origin = Vector3::from(HEAD) - matrix * middle;
    let mut affine = Matrix4::identity();
    affine.fixed_view_mut::<3, 3>(0, 0).copy_from(&matrix);
    affine.fixed_view_mut::<3, 1>(0, 3).copy_from(&origin);
    Grid { shape, affine }
}

const R: [f64; 3] = [1.0, 0.0, 0.0];
const L: [f64; 3] = [-1.0, 0.0, 0.0];
const A: [f64; 3] = [0.0, 1.0, 0.0];
const P: [f64; 3] = [0.0, -1.0, 0.0];
const S: [f64; 3] = [0.0, 0.0, 1.0];
const I: [f64; 3] = [0.0, 0.0, -1.0];

/// The phantom as a NIfTI file: every voxel the mean of its eight octants, as a scanner would blur it.
fn file(grid: &Grid, t1: bool) -> Vec<u8> {
    let [nx, ny, _] = grid.shape;
    let data: Vec<i16> = (0..grid.len())
        .map(|i| {
            let at = [i % nx, i / nx % ny, i / nx / ny].map(|v| v as f64);
            let sum: i32 = (0..8_usize)
                .map(|octant| {
                    let shift = |axis: usize| if octant >> axis & 1 == 1 { 0.25 } else { -0.25 };
                    i32::from(phantom(grid.world([0, 1, 2].map(|a| at[a] + shift(a))), t1))
                })
                .sum();
            (sum / 8) as i16
        })
        .collect();
    nifti::write_int16(&Header::from_grid(grid).unwrap(), &data).unwrap()
}

fn read(bytes: &[u8]) -> Scan {
    nifti::read(bytes, &Limits::PAGE).unwrap()
}

/// Lesion where FLAIR is far above the tissue (0; a lesion has 5.5) and T1 is not. A little under half-way: what a scanner and
/// two resamplings blur shrinks at half-way.
struct ClosedForm;

impl Predictor for ClosedForm {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        let (flair, t1) = patch.split_at(side * side * side);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        Ok(flair
            .iter()
            .zip(t1)
            .map(|(f, t)| sigmoid(4.0 * (f - 2.6)) * sigmoid(-6.0 * (t - 1.0)))
            .collect())
    }
}

/// From prepared case to lesions on the native grid.
fn run(prepared: &Prepared) -> (Mask, Vec<f32>) {
    let settings = Settings {
        patch: 24,
        ..Settings::default()
    };
    let fused = block_on(segment(&prepared.head, &ClosedForm, &settings, |_| {
        ControlFlow::Continue(())
    }))
    .unwrap();
    assert_eq!(fused.notes, Vec::<String>::new());
    let native = prepared.restore(fused.probability).unwrap();
    (mask::cut(&native, &Cut::default()), native.data)
}

/// Dimensions, spacing, units, and everything of qform and sform: the header fields that place a voxel.
fn placing_fields(gz: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(gz).read_to_end(&mut raw).unwrap();
    [&raw[40..56], &raw[76..108], &raw[123..124], &raw[252..328]].concat()
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
}

/// Odd scans: code of the voxel axes, grid.
fn odd_grids() -> Vec<(&'static str, Grid)> {
    vec![
        ("RAS", grid([R, A, S], [1.0; 3], [0.0; 2], [52.0, 55.0, 50.0])),
        ("LAS", grid([L, A, S], [1.0; 3], [0.0; 2], [51.0, 54.0, 50.0])),
        (
            "PIR",
            grid([P, I, R], [1.0, 1.2, 2.0], [12.0, -8.0], [56.0, 54.0, 60.0]),
        ),
        (
            "LPS",
            grid([L, P, S], [0.8; 3], [-20.0, 15.0], [52.0, 52.0, 56.0]),
        ),
        (
            "SRA",
            grid([S, R, A], [0.9, 0.9, 2.5], [5.0, 5.0], [50.0, 50.0, 60.0]),
        ),
    ]
}

#[test]
fn a_t1_from_which_the_patient_had_moved_serves_as_well() {
    let flair = read(&file(&odd_grids()[0].1, false));
    let t1_grid = grid([P, S, L], [1.3, 0.9, 0.9], [3.0, -17.0], [60.0, 60.0, 60.0]);
    let mut t1 = read(&file(&t1_grid, true));
    // The file says that all of it lies elsewhere: the vessel, which only the T1 tells from a lesion, has left its place.
    t1.volume.grid.affine = Matrix4::new_translation(&Vector3::new(1.5, -1.0, 2.0)) * t1_grid.affine;
    let prepared = prepare(&flair, Some(&t1)).unwrap();
    let told = prepared
        .notes
        .iter()
        .any(|n| n.contains("had moved between FLAIR and T1 (2."));
    assert!(told, "{:?}", prepared.notes);
    // It is shown where it was before it moved, to the voxel.
    let laid = prepared.t1_laid.unwrap();
    for corner in 0..8 {
        let voxel = [0, 1, 2].map(|axis| f64::from(corner >> axis & 1) * t1_grid.shape[axis] as f64);
        let shown = [0, 1, 2].map(|r| (0..3).map(|c| laid[r][c] * voxel[c]).sum::<f64>() + laid[r][3]);
        assert!(
            distance(shown, t1_grid.world(voxel)) < 0.9,
            "{voxel:?}: {shown:?}"
        );
    }
    let (mask, _) = run(&prepared);
    let [large, small] = &mask.lesions[..] else {
        panic!("{:?}", mask.lesions)
    };
    assert!(distance(large.centre_mm, LARGE) < 0.5 && distance(small.centre_mm, SMALL) < 0.5);

    // What is less than the search can tell stays as the file says.
    t1.volume.grid.affine = Matrix4::new_translation(&Vector3::new(0.3, -0.2, 0.1)) * t1_grid.affine;
    let stays = prepare(&flair, Some(&t1)).unwrap();
    assert!(
        stays.notes.iter().any(|n| n.contains("line up to within")),
        "{:?}",
        stays.notes
    );
    assert_eq!(stays.t1_laid, None);
}

#[test]
fn lesions_come_out_where_they_are_on_the_scans_own_grid() {
    let t1_grid = grid([P, S, L], [1.3, 0.9, 0.9], [3.0, -17.0], [60.0, 60.0, 60.0]);
    let t1 = read(&file(&t1_grid, true));
    for (code, grid) in odd_grids() {
        assert_eq!(Orientation::of(&grid.affine).code(), code);
        let input = file(&grid, false);
        let flair = read(&input);
        let prepared = prepare(&flair, Some(&t1)).unwrap();
        assert!(
            prepared.notes.iter().any(|n| n.contains("another grid")),
            "{:?}",
            prepared.notes
        );
        let (mask, probability) = run(&prepared);

        let [large, small] = &mask.lesions[..] else {
            panic!("{code}: {:?}", mask.lesions)
        };
        for (lesion, truth, radius) in [(large, LARGE, 4.0_f64), (small, SMALL, 3.0)] {
            let off = distance(lesion.centre_mm, truth);
            let volume = 4.0 / 3.0 * std::f64::consts::PI * radius.powi(3);
            let ratio = lesion.volume_mm3 / volume;
            println!("{code}: off {off:.2} mm, volume {ratio:.2} of the truth");
            assert!(off < 0.3, "{code}: the centre is {off} mm off");
            // A layer of a tenth of a voxel around the smaller sphere is a tenth of its volume.
            assert!((ratio - 1.0).abs() < 0.1, "{code}: {ratio} of the volume");
        }

        for (what, file) in [
            ("mask", nifti::write_mask(&prepared.native, &mask.voxels).unwrap()),
            (
                "probability",
                nifti::write_float(&prepared.native, &probability).unwrap(),
            ),
        ] {
            assert_eq!(placing_fields(&file), placing_fields(&input), "{code}: {what}");
            let saved = read(&file);
            assert_eq!(saved.volume.grid, flair.volume.grid, "{code}: {what}");
            let same = match what {
                "mask" => saved
                    .volume
                    .data
                    .iter()
                    .zip(&mask.voxels)
                    .all(|(a, b)| *a == f32::from(*b)),
                _ => saved.volume.data == probability,
            };
            assert!(same, "{code}: the saved {what} is the one shown");
        }
    }
}

#[test]
fn without_a_t1_the_vessel_is_taken_for_a_lesion() {
    for (code, grid) in odd_grids() {
        let prepared = prepare(&read(&file(&grid, false)), None).unwrap();
        assert!(prepared.head.t1().is_none());
        assert!(
            prepared.notes.iter().any(|n| n.contains("No T1")),
            "{code}: {:?}",
            prepared.notes
        );
        let (mask, _) = run(&prepared);
        assert_eq!(mask.lesions.len(), 3, "{code}");
        let nearest = mask
            .lesions
            .iter()
            .map(|l| distance(l.centre_mm, VESSEL))
            .fold(f64::MAX, f64::min);
        assert!(nearest < 0.5, "{code}: {nearest}");
    }
}

/// A reordering without interpolation must not change a single probability.
#[test]
fn orientation_changes_no_probability_of_a_1_mm_scan() {
    let field = |axes| {
        let grid = grid(axes, [1.0; 3], [0.0; 2], [50.0; 3]);
        let prepared = prepare(&read(&file(&grid, false)), Some(&read(&file(&grid, true)))).unwrap();
        let [note] = &prepared.notes[..] else {
            panic!("{:?}", prepared.notes)
        };
        assert!(note.contains("No brain"), "the phantom is no brain: {note}");
        (grid, run(&prepared).1)
    };
    let (ras, expected) = field([R, A, S]);
    for axes in [[L, P, I], [S, L, A], [A, I, R]] {
        let (grid, got) = field(axes);
        let inverse = ras.affine.try_inverse().unwrap();
        for (i, &p) in got.iter().enumerate() {
            let world = grid.world([i % 50, i / 50 % 50, i / 2500].map(|v| v as f64));
            let at = inverse.transform_point(&world.into());
            let [x, y, z] = [at.x, at.y, at.z].map(|v| v.round() as usize);
            assert_eq!(p, expected[x + 50 * (y + 50 * z)], "voxel {i}");
        }
    }
}

#[test]
fn a_t1_of_another_place_is_refused_and_a_partial_one_noted() {
    let base = grid([R, A, S], [1.0; 3], [0.0; 2], [50.0; 3]);
    let flair = read(&file(&base, false));
    let shifted = |by: f64| {
        let mut grid = base.clone();
        grid.affine[(0, 3)] += by;
        read(&file(&grid, true))
    };
    let problem = prepare(&flair, Some(&shifted(48.0))).unwrap_err();
    assert!(matches!(problem, PrepareError::Apart { .. }), "{problem:?}");
    assert!(problem.to_string().contains("go on without the T1"), "{problem}");

    let partial = prepare(&flair, Some(&shifted(14.0))).unwrap();
    assert!(
        partial.notes.iter().any(|n| n.contains("% of the head")),
        "{:?}",
        partial.notes
    );
    // Where there is no T1 the channel is 0, exactly as without any; elsewhere it is scaled by what there is.
    let t1 = partial.head.t1().unwrap();
    assert!(t1.iter().enumerate().all(|(i, &v)| i % 50 >= 14 || v == 0.0));
    let inside = |i: usize| partial.head.foreground()[i] && i % 50 >= 14;
    let mut known: Vec<f32> = (0..t1.len()).filter(|&i| inside(i)).map(|i| t1[i]).collect();
    known.sort_by(f32::total_cmp);
    let (lowest, highest) = (known[0], known[known.len() - 1]);
    assert!(
        (lowest + 5.0).abs() < 1e-4,
        "the darkest lies five units below the tissue: {lowest}"
    );
    assert!(highest > 0.1 && highest <= 5.0, "{highest}");
}

#[test]
fn thick_slices_are_noted() {
    let thick = grid([R, A, S], [1.0, 1.0, 4.0], [0.0; 2], [50.0, 50.0, 52.0]);
    let prepared = prepare(&read(&file(&thick, false)), None).unwrap();
    assert!(
        prepared.notes.iter().any(|n| n.contains("thick slices")),
        "{:?}",
        prepared.notes
    );
    assert!(prepared.restore(vec![0.0; 3]).is_err(), "not one value per voxel");
}

/// Preparing and restoring a whole head: printed, not judged, since machines differ.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn time_of_a_whole_head() {
    let flair = grid([P, I, R], [1.0, 1.0, 1.1], [4.0, 3.0], [256.0, 256.0, 190.0]);
    let t1 = grid([R, A, S], [0.9; 3], [0.0; 2], [200.0, 240.0, 200.0]);
    let (flair, t1) = (read(&file(&flair, false)), read(&file(&t1, true)));
    let time = std::time::Instant::now();
    let prepared = prepare(&flair, Some(&t1)).unwrap();
    let prepare = time.elapsed().as_secs_f64();
    let zeros = vec![0.0; prepared.head.grid().len()];
    let time = std::time::Instant::now();
    prepared.restore(zeros).unwrap();
    println!(
        "{:?} to {:?}: prepare {prepare:.2} s, restore {:.2} s",
        flair.volume.grid.shape,
        prepared.head.grid().shape,
        time.elapsed().as_secs_f64()
    );
}
