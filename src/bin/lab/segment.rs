//! `lab segment`.

use crate::Outcome;
use crate::card::Card;
use crate::native::{DeviceChoice, Native, at, read, write};
use clap::ValueEnum;
use equipoise::pipeline::names::Output;
use equipoise::pipeline::report::{Input, Model, RESEARCH_ONLY, Timings, sha256};
use equipoise::pipeline::{
    Comparer, Cut, Finished, Inputs, Progress, Record, Reference, Settings, prepare, segment,
};
use equipoise::tiling::Window;
use equipoise::volume::components::Connectivity;
use equipoise::volume::nifti::{self, Limits, Scan};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Voting window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WindowChoice {
    /// The B-spline of the paper's fusion.
    Bspline,
    /// MONAI's Gaussian.
    Gaussian,
    /// Every vote counts the same.
    Uniform,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// FLAIR, NIfTI (.nii or .nii.gz).
    #[arg(long)]
    flair: PathBuf,
    /// T1 in the same space; another grid is resampled.
    #[arg(long)]
    t1: Option<PathBuf>,
    /// Folder of the model: `card.json` and `weights.safetensors`.
    #[arg(long, default_value = "www/models/browser-b1.5")]
    weights: PathBuf,
    /// Share of the patch side that neighbouring patches have in common, from 0 to below 1.
    #[arg(long, default_value_t = 0.5)]
    overlap: f64,
    /// Weight of a vote by its place in the patch.
    #[arg(long, default_value = "bspline")]
    window: WindowChoice,
    /// Average over the identity and three 180-degree rotations (four times the work).
    #[arg(long)]
    tta: bool,
    /// Do not weigh the fused probability by how bright a voxel is in FLAIR.
    #[arg(long)]
    any_brightness: bool,
    /// Patch side in voxels of 1 mm; the model's own by default.
    #[arg(long)]
    patch: Option<usize>,
    /// Probability at and above which a voxel is lesion.
    #[arg(long)]
    threshold: Option<f32>,
    /// Lesions smaller than this are dropped, in mm3.
    #[arg(long, default_value_t = 0.0)]
    min_lesion: f64,
    /// Neighbours that make voxels one lesion: 6, 18 or 26.
    #[arg(long, default_value_t = 18)]
    connectivity: u8,
    /// Reference mask to compare the result with; every value above 0 is lesion, another grid is resampled.
    #[arg(long)]
    reference: Option<PathBuf>,
    /// Where the network runs.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Store the network's maps in half precision, on a GPU that can: less memory, and probabilities that differ a little.
    #[arg(long)]
    half: bool,
    /// Also write everything as a BIDS-derivatives dataset in a zip file.
    #[arg(long)]
    bids: bool,
    /// Folder for the results.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let start = Instant::now();
    let (card, engine) = model(&args.weights, args.device, args.half)?;
    let (flair, flair_input) = scan(&args.flair)?;
    let t1 = args.t1.as_deref().map(scan).transpose()?;
    let prepared = prepare(&flair, t1.as_ref().map(|(scan, _)| scan))?;
    let mut notes = flair.notes.clone();
    notes.extend(t1.iter().flat_map(|(scan, _)| scan.notes.clone()));
    notes.extend(prepared.notes.clone());
    let prepared_in = start.elapsed();

    let settings = Settings {
        patch: args.patch.unwrap_or(card.patch),
        overlap: args.overlap,
        window: match args.window {
            WindowChoice::Bspline => Window::Bspline,
            WindowChoice::Gaussian => Window::Gaussian,
            WindowChoice::Uniform => Window::Uniform,
        },
        rotations: args.tta,
        variance: true,
        compare_windows: false,
        hyperintensity: !args.any_brightness,
    };
    card.config.check_side(settings.patch)?;
    let result = pollster::block_on(segment(&prepared.head, &engine, &settings, tell))?;
    eprintln!();
    notes.extend(result.notes.clone());
    let segmented_in = start.elapsed() - prepared_in;

    let inputs = Inputs {
        name: args
            .flair
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default(),
        flair: flair_input,
        t1: t1.map(|(_, input)| input),
    };
    let record = Record {
        model: Model {
            name: card.name,
            sha256: card.weights.sha256,
        },
        engine: engine.describe(),
        settings,
        notes,
        timings: Timings {
            prepare: prepared_in.as_secs_f64(),
            segment: segmented_in.as_secs_f64(),
            finish: (start.elapsed() - prepared_in - segmented_in).as_secs_f64(),
        },
    };
    let mut finished = Finished::new(&prepared, result, inputs, record)?;
    finished.cut(&Cut {
        threshold: args.threshold.unwrap_or(card.threshold as f32),
        min_lesion_mm3: args.min_lesion,
        connectivity: Connectivity::try_from(args.connectivity)?,
    });
    if let Some(path) = &args.reference {
        compare(path, &mut finished)?;
    }
    std::fs::create_dir_all(&args.out).map_err(at(&args.out))?;
    let outputs = [Output::Mask, Output::Probability, Output::Report, Output::Lesions];
    let archive = args.bids.then_some(Output::Archive);
    for output in outputs.into_iter().chain(archive) {
        let (name, bytes) = finished.file(output)?;
        write(&args.out.join(name), &bytes)?;
    }
    let report = finished.report();
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    println!(
        "{} lesions, {:.2} mL. {RESEARCH_ONLY}",
        report.result.lesions, report.result.load_ml
    );
    Ok(())
}

/// A model's card, and an engine that has it loaded.
pub(crate) fn model(
    folder: &Path,
    device: DeviceChoice,
    half: bool,
) -> Result<(Card, Native), Box<dyn std::error::Error>> {
    let path = folder.join("card.json");
    let card = Card::read(&path)?;
    let path = folder.join(&card.weights.file);
    let bytes = read(&path)?;
    let hash = sha256(&bytes);
    if hash != card.weights.sha256 {
        let expected = &card.weights.sha256;
        return Err(at(&path)(format!("the SHA-256 is {hash}, the card says {expected}")).into());
    }
    let mut engine = Native::open_as(device, half)?;
    engine
        .0
        .load(&serde_json::to_string(&card.config)?, bytes)
        .map_err(at(&path))?;
    Ok((card, engine))
}

/// A scan and its line in the report.
pub(crate) fn scan(path: &Path) -> Result<(Scan, Input), Box<dyn std::error::Error>> {
    let bytes = read(path)?;
    let scan = nifti::read(&bytes, &Limits::default()).map_err(at(path))?;
    let input = Input::of(&bytes, &scan.header);
    Ok((scan, input))
}

/// Puts a result beside the reference in a file.
fn compare(path: &Path, finished: &mut Finished) -> Outcome {
    let (scan, input) = scan(path)?;
    let mut reference = Reference::on(&finished.probability().grid, &scan.volume).map_err(at(path))?;
    reference.notes.splice(0..0, scan.notes);
    let comparer = Comparer::new(finished.probability(), &reference)?;
    finished.compare(&comparer, &reference, &input)?;
    Ok(())
}

pub(crate) fn tell(progress: Progress) -> ControlFlow<()> {
    let left = progress.left.map_or(String::new(), |left| {
        format!(", {:.0} s left", left.as_secs_f64())
    });
    eprint!("\rpatch {} of {}{left}      ", progress.done, progress.total);
    ControlFlow::Continue(())
}
