//! `lab preview`, `lab sample`, `lab toy`: things made rather than measured.

use crate::Outcome;
use crate::card::Card;
use crate::native::{at, read, write};
use equipoise::learn::material::{Fold, Material};
use equipoise::learn::preview;
use equipoise::learn::sampler::Sampler;
use equipoise::learn::trainer::TrainConfig;
use equipoise::net::{DenseNet, NetConfig, weights};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct PreviewArgs {
    /// Training configuration (JSON); every field has a default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder with `open_ms` and `lesion_shapes`.
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// Number of patches.
    #[arg(long, default_value_t = 24)]
    patches: u64,
    /// First patch of the sequence.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Show so many whole heads, three planes each, in place of patches.
    #[arg(long)]
    heads: Option<u64>,
    /// The PNG file.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn preview(args: &PreviewArgs) -> Outcome {
    let config: TrainConfig = match &args.config {
        Some(path) => serde_json::from_slice(&read(path)?).map_err(at(path))?,
        None => TrainConfig::default(),
    };
    let fold = Fold { held_out: None };
    let material = Arc::new(Material::for_mix(&args.data, fold, &config.data.mix)?);
    let sampler = Sampler::new(material, config.data, fold, config.seed)?;
    let sheet = if let Some(heads) = args.heads {
        let heads = (args.first..args.first + heads)
            .map(|i| sampler.case(i))
            .collect::<Result<Vec<_>, _>>()?;
        preview::cases(&heads.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    } else {
        let patches = (args.first..args.first + args.patches)
            .map(|i| sampler.next_patch(i))
            .collect::<Result<Vec<_>, _>>()?;
        preview::patches(&patches, 6)
    };
    let mut png = Vec::new();
    sheet.write(&mut png)?;
    write(&args.out, &png)?;
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct AtlasArgs {
    /// Folder with `lesion_shapes`.
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// The file.
    #[arg(long, default_value = "src/volume/intensity/atlas.bin")]
    out: PathBuf,
}

pub(crate) fn atlas(args: &AtlasArgs) -> Outcome {
    write(&args.out, &equipoise::learn::average::average_brain(&args.data)?)?;
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct ToyArgs {
    /// Folder for `weights.safetensors` and `card.json`.
    #[arg(long)]
    out: PathBuf,
    /// Seed of the random weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn toy(args: &ToyArgs) -> Outcome {
    let device = burn::tensor::Device::flex();
    let config = NetConfig::preset("toy", 2)?;
    let bytes = weights::to_bytes(&DenseNet::new(&config, args.seed, &device)?)?;
    let card = Card::new("toy", &config, 4 * config.side_multiple(), &bytes, None);
    std::fs::create_dir_all(&args.out).map_err(at(&args.out))?;
    write(&args.out.join("weights.safetensors"), &bytes)?;
    write(
        &args.out.join("card.json"),
        serde_json::to_string_pretty(&card)?.as_bytes(),
    )?;
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct CardArgs {
    /// Folder of the model; its `card.json` is read, completed, and written with `CARD.md`.
    #[arg(long)]
    model: PathBuf,
    /// A figure on held-out data, a sentence with n in it; may be repeated.
    #[arg(long)]
    figure: Vec<String>,
    /// A known failure, one sentence; may be repeated.
    #[arg(long)]
    failure: Vec<String>,
    /// What sets the model apart from its family, in a sentence.
    #[arg(long)]
    summary: Option<String>,
    /// The page uses this model unless told otherwise.
    #[arg(long)]
    recommended: bool,
}

pub(crate) fn card(args: &CardArgs) -> Outcome {
    let path = args.model.join("card.json");
    let mut card = Card::read(&path)?;
    card.held_out
        .extend(args.figure.iter().map(|text| serde_json::json!({ "text": text })));
    card.known_failures.extend(args.failure.iter().cloned());
    if let Some(summary) = &args.summary {
        card.summary.clone_from(summary);
    }
    card.default |= args.recommended;
    write(&path, serde_json::to_string_pretty(&card)?.as_bytes())?;
    write(&args.model.join("CARD.md"), card.markdown().as_bytes())?;
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct SampleArgs {
    /// Folder with the ICBM152 2009a T1, grey matter and white matter maps (in the Python package nilearn).
    #[arg(long)]
    maps: PathBuf,
    /// Lesion shapes (`lesions_compact.npz`).
    #[arg(long, default_value = "../shared/data/lesion_shapes/lesions_compact.npz")]
    shapes: PathBuf,
    /// Seed.
    #[arg(long, default_value_t = 152)]
    seed: u64,
    /// Folder for the samples.
    #[arg(long, default_value = "www/samples")]
    out: PathBuf,
}

pub(crate) fn sample(args: &SampleArgs) -> Outcome {
    equipoise::learn::sample::write_samples(&args.maps, &args.shapes, &args.out, args.seed)?;
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct SyntheticArgs {
    /// Folder with the ICBM152 2009a T1, grey matter and white matter maps (in the Python package nilearn).
    #[arg(long)]
    maps: PathBuf,
    /// Lesion shapes (`lesions_compact.npz`).
    #[arg(long, default_value = "../shared/data/lesion_shapes/lesions_compact.npz")]
    shapes: PathBuf,
    /// Number of heads.
    #[arg(long, default_value_t = 5)]
    count: u64,
    /// Number of the first; each number is another head. 0 and 1 are the shipped samples.
    #[arg(long, default_value_t = 2)]
    first: u64,
    /// Only the block of 64 x 72 x 64 mm of each that holds most lesion, as the sample `small`: quick to train on.
    #[arg(long)]
    small: bool,
    /// By another scanner: new contrast, stronger bias field, more noise, 4 mm axial slices.
    #[arg(long)]
    shift: bool,
    /// Seed.
    #[arg(long, default_value_t = 152)]
    seed: u64,
    /// Folder for `sub-NN_FLAIR.nii.gz`, `sub-NN_T1w.nii.gz` and `sub-NN_mask.nii.gz`.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn synthetic(args: &SyntheticArgs) -> Outcome {
    use equipoise::learn::sample::{Atlas, load_shapes, make_head, make_small};
    let atlas = Atlas::load(&args.maps)?;
    let shapes = load_shapes(&args.shapes)?;
    std::fs::create_dir_all(&args.out).map_err(at(&args.out))?;
    for number in args.first..args.first + args.count {
        let mut head = make_head(&atlas, &shapes, args.seed, number);
        if args.small {
            head = make_small(&head);
        }
        if args.shift {
            head = head.shifted(args.seed, number);
        }
        head.write(&args.out, &format!("sub-{number:02}"))?;
        eprintln!("sub-{number:02}");
    }
    Ok(())
}
