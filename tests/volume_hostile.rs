//! Files that are damaged, are something else, or mean harm: each is refused with a sentence, nothing panics, and
//! nothing is allocated that the file cannot fill.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::path::PathBuf;

use equipoise::volume::nifti::{self, Header, Limits};
use equipoise::volume::{Grid, VolumeError};
use flate2::Compression;
use flate2::write::GzEncoder;
use nalgebra::Matrix4;
use proptest::prelude::*;

/// The system's allocator, with the bytes that the current thread holds and the most that it held.
struct Counting;

thread_local! {
    static USED: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    USED.set(USED.get() + bytes);
    PEAK.set(PEAK.get().max(USED.get()));
}

// SAFETY: every call is passed on to the system's allocator; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What reading gives, and the most bytes it held at any time.
fn read(bytes: &[u8]) -> (Result<nifti::Scan, VolumeError>, usize) {
    let before = USED.get();
    PEAK.set(before);
    let result = nifti::read(bytes, &Limits::PAGE);
    (result, (PEAK.get() - before) as usize)
}

/// The refusal of a file, which took no memory to speak of.
#[track_caller]
fn refusal(bytes: &[u8]) -> VolumeError {
    let (result, held) = read(bytes);
    assert!(held < 400_000, "{held} bytes were held");
    result.expect_err("accepted")
}

/// A valid int16 file of 5 x 4 x 3 voxels.
fn plain() -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nifti/int16_le.nii")).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// `plain` with other bytes from `at`.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = plain();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn with_dims(dims: [i16; 8]) -> Vec<u8> {
    patched(40, &dims.map(i16::to_le_bytes).concat())
}

#[test]
fn empty() {
    assert_eq!(refusal(b""), VolumeError::Empty);
    assert_eq!(
        refusal(b"").to_string(),
        "The file is empty (0 bytes). Copy or download it again."
    );
}

#[test]
fn other_kinds_of_files_are_named() {
    let mut dicom = vec![0; 400];
    dicom[128..132].copy_from_slice(b"DICM");
    let mut tar = vec![b'x'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let mut analyze = plain();
    analyze[344..348].fill(0);
    for (bytes, name) in [
        (dicom, "a DICOM file"),
        (
            patched(344, b"ni1\0"),
            "the header half of a NIfTI pair (.hdr and .img)",
        ),
        (analyze, "an ANALYZE 7.5 header, the forerunner of NIfTI"),
        (b"PK\x03\x04 and so on".to_vec(), "a ZIP archive"),
        (tar, "a TAR archive"),
        (
            b"\x89PNG\r\n".to_vec(),
            "a picture, which does not hold the scan itself",
        ),
        (b"NRRD0004".to_vec(), "an NRRD file"),
        (vec![0, 0, 0, 1, 0, 0, 1, 0], "a FreeSurfer MGH file"),
        (b"<!DOCTYPE html><title>Not found</title>".to_vec(), "a text file"),
        (vec![0; 1000], "a file of zeros, perhaps a download that failed"),
        (vec![0xa7; 1000], "something else"),
    ] {
        for file in [gzip(&bytes), bytes] {
            match refusal(&file) {
                VolumeError::NotNifti { looks_like, .. } => assert_eq!(looks_like, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let file = plain();
    for length in 1..file.len() {
        let error = refusal(&file[..length]);
        match length {
            ..348 => assert!(
                matches!(
                    error,
                    VolumeError::TruncatedHeader { .. } | VolumeError::NotNifti { .. }
                ),
                "{length}: {error:?}"
            ),
            _ => {
                let got = length.saturating_sub(352) as u64;
                assert_eq!(error, VolumeError::TruncatedVoxels { expected: 120, got });
            }
        }
    }
    let file = gzip(&file);
    for length in 3..file.len() {
        let error = refusal(&file[..length]);
        assert!(
            matches!(error, VolumeError::TruncatedGzip { .. }),
            "{length}: {error:?}"
        );
    }
}

#[test]
fn a_flipped_bit_in_a_compressed_file_is_noticed_or_meaningless() {
    let file = gzip(&plain());
    let whole = read(&file).0.unwrap();
    let mut noticed = 0;
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (result, held) = read(&damaged);
        assert!(held < 400_000);
        match result {
            // Date, system and padding in the gzip format hold no data.
            Ok(scan) => assert_eq!(scan, whole, "bit {bit}"),
            Err(_) => noticed += 1,
        }
    }
    assert!(noticed > file.len() * 7, "{noticed} of {}", file.len() * 8);
}

#[test]
fn series_and_impossible_dimensions() {
    let error = refusal(&with_dims([4, 5, 4, 1, 3, 1, 1, 1]));
    assert_eq!(
        error,
        VolumeError::Series {
            dims: vec![5, 4, 1, 3]
        }
    );
    assert!(
        error
            .to_string()
            .starts_with("This is a series of 3 volumes (5 x 4 x 1 x 3)."),
        "{error}"
    );
    for dims in [
        [3, 0, 4, 3, 1, 1, 1, 1],
        [3, 5, -4, 3, 1, 1, 1, 1],
        [4, 5, 4, 3, 0, 1, 1, 1],
        [0, 5, 4, 3, 1, 1, 1, 1],
        [8, 5, 4, 3, 1, 1, 1, 1],
        [-1, 5, 4, 3, 1, 1, 1, 1],
    ] {
        assert!(
            matches!(refusal(&with_dims(dims)), VolumeError::BadDims { .. }),
            "{dims:?}"
        );
    }
    // NIfTI-2 dimensions whose product overflows 128 bits.
    let mut huge = vec![0; 600];
    huge[..4].copy_from_slice(&540i32.to_le_bytes());
    huge[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
    let dims = [7, i64::MAX, i64::MAX, i64::MAX, 1, 1, 1, 1];
    huge[16..80].copy_from_slice(&dims.map(i64::to_le_bytes).concat());
    assert!(matches!(refusal(&huge), VolumeError::TooManyVoxels { .. }));
}

#[test]
fn voxels_that_are_no_grey_scale_are_named() {
    for (code, name) in [
        (128, "colours (RGB)"),
        (32, "complex numbers"),
        (1536, "128-bit floating point"),
        (7, "an unknown type"),
    ] {
        let error = refusal(&patched(70, &i16::to_le_bytes(code)));
        assert_eq!(error, VolumeError::UnsupportedDatatype { code, name });
    }
}

#[test]
fn voxel_offsets_are_checked() {
    for offset in [-1.0f32, 4.0, 351.0, 1e9, f32::NAN, f32::INFINITY] {
        assert!(
            matches!(
                refusal(&patched(108, &offset.to_le_bytes())),
                VolumeError::BadOffset { .. }
            ),
            "{offset}"
        );
    }
    let beyond = refusal(&patched(108, &5000f32.to_le_bytes()));
    assert_eq!(
        beyond,
        VolumeError::TruncatedVoxels {
            expected: 120,
            got: 0
        }
    );
    // Left at 0 it means the first place there is.
    let (scan, _) = read(&patched(108, &0f32.to_le_bytes()));
    assert_eq!(scan.unwrap().volume, read(&plain()).0.unwrap().volume);
}

#[test]
fn sizes_that_the_file_cannot_fill_take_no_memory() {
    // 500^3 voxels of 16 bits, within the limit, in a file of 472 bytes.
    let promise = with_dims([3, 500, 500, 500, 1, 1, 1, 1]);
    assert_eq!(
        refusal(&promise),
        VolumeError::TruncatedVoxels {
            expected: 250_000_000,
            got: 120
        }
    );
    let file = gzip(&promise);
    assert_eq!(
        refusal(&file),
        VolumeError::TooSmallForVoxels {
            expected: 250_000_000,
            file: file.len() as u64
        }
    );
    assert!(matches!(
        refusal(&with_dims([3, 600, 600, 600, 1, 1, 1, 1])),
        VolumeError::TooManyVoxels { .. }
    ));
}

#[test]
fn a_gzip_bomb_is_not_unpacked() {
    // 200 MB of zeros behind a scan of 60 voxels.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&plain()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        bomb.write_all(&zeros).unwrap();
    }
    drop(zeros);
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 300_000);
    assert!(matches!(
        refusal(&bomb),
        VolumeError::TrailingData { expected: 120, .. }
    ));
    // The same with no scan in it.
    let nothing = gzip(&vec![0; 50 << 20]);
    assert!(matches!(refusal(&nothing), VolumeError::NotNifti { .. }));
}

#[test]
fn bytes_after_the_voxels_are_ignored_up_to_a_point() {
    let mut file = plain();
    file.extend([7; 100]);
    let (scan, _) = read(&file);
    assert_eq!(
        scan.unwrap().notes,
        ["The file has bytes after the last voxel; they were ignored."]
    );
    let mut padded = gzip(&plain());
    padded.extend([0; 512]);
    assert!(
        read(&padded).0.unwrap().notes.is_empty(),
        "zeros after gzip are padding"
    );
    file.resize(2 << 20, 1);
    assert!(matches!(refusal(&file), VolumeError::TrailingData { .. }));
}

#[test]
fn a_file_of_nothing_but_nan_is_refused() {
    let grid = Grid {
        shape: [4, 4, 4],
        affine: Matrix4::identity(),
    };
    let file = nifti::write_float(&Header::from_grid(&grid).unwrap(), &[f32::NAN; 64]).unwrap();
    assert_eq!(refusal(&file), VolumeError::NoFiniteValue { voxels: 64 });
}

#[test]
fn broken_positions_fall_back_and_say_so() {
    // sform_code 2 with rows of zeros.
    let mut flat = plain();
    flat[280..328].fill(0);
    let scan = read(&flat).0.unwrap();
    assert_eq!(scan.header.affine_source(), nifti::AffineSource::Pixdim);
    assert!(scan.notes[0].contains("sform is not usable"), "{:?}", scan.notes);
    // And no voxel size either.
    flat[80..92].fill(0);
    let scan = read(&flat).0.unwrap();
    assert_eq!(scan.header.spacing(), [1.0; 3]);
    assert_eq!(scan.notes.len(), 3, "{:?}", scan.notes);
}

#[test]
fn metres_are_converted_where_only_they_make_a_head() {
    let mut file = plain();
    // Units (byte 123) in metres: 5 x 4 x 3 voxels of 0.04 m, straight.
    file[123] = 1;
    let rows = [0.04f32, 0.0, 0.0, 1.0, 0.0, 0.04, 0.0, 2.0, 0.0, 0.0, 0.04, 3.0];
    file[280..328].copy_from_slice(&rows.map(f32::to_le_bytes).concat());
    let scan = read(&file).0.unwrap();
    assert!((scan.header.spacing()[2] - 40.0).abs() < 1e-4);
    assert!((scan.header.grid().affine[(2, 3)] - 3000.0).abs() < 1e-2);
    assert_eq!(scan.notes.len(), 1);
    // Millimetres that are called metres stay millimetres.
    file[280..328].copy_from_slice(&rows.map(|v| (v * 1000.0).to_le_bytes()).concat());
    assert!((read(&file).0.unwrap().header.spacing()[2] - 40.0).abs() < 1e-4);
}

/// Any golden file's bytes.
fn golden() -> impl Strategy<Value = Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nifti");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    prop::sample::select(files)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever is changed in a file, reading ends in a scan or a sentence, and takes no more memory than a file of
    /// that size can fill (compressed: 1032 times its size in `u8`, each 4 bytes as `f32`).
    #[test]
    fn damaged_files_never_panic(
        mut file in golden(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let (result, held) = read(&file);
        let ratio = if file.starts_with(&[0x1f, 0x8b]) { 1032 } else { 1 };
        prop_assert!(held <= 400_000 + 4 * ratio * file.len(), "{held}");
        match result {
            Ok(scan) => {
                prop_assert_eq!(scan.volume.data.len(), scan.header.grid().len());
                prop_assert!(scan.volume.data.iter().all(|v| v.is_finite()));
                prop_assert!(scan.header.grid().affine.try_inverse().is_some());
                // Its results can be written and read again.
                let mask = vec![0; scan.volume.data.len()];
                let back = nifti::read(&nifti::write_mask(&scan.header, &mask).unwrap(), &Limits::PAGE).unwrap();
                prop_assert_eq!(back.header.grid(), scan.header.grid());
            }
            Err(error) => prop_assert!(error.to_string().ends_with('.')),
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), compress in any::<bool>()) {
        let bytes = if compress { gzip(&bytes) } else { bytes };
        prop_assert!(read(&bytes).0.is_err());
    }
}
