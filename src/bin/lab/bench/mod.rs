//! `lab bench`: what the network costs. The native half of `./dev bench`.

mod head;
mod partner;
mod pass;
mod peak;
mod plot;
mod step;
mod table;

use crate::Outcome;
use crate::card::Card;
use crate::native::{DeviceChoice, at, read, write};
use burn::tensor::Device;
use clap::Subcommand;
use equipoise::net::{DenseNet, Engine, NetConfig, weights};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    table: table::Args,
}

/// Pieces of `./dev bench`.
#[derive(Subcommand)]
enum Command {
    /// Be a contestant: run a pass whenever a line on standard input says so.
    Partner(partner::Args),
    /// Write a network with random weights, for benchmarks of a preset.
    Network(NetworkArgs),
    /// The multiply-adds a second that a device can do, and those of the network's 3x3x3 layers; prints JSON.
    Peak(peak::Args),
    /// Whole heads of several sizes through the pipeline; prints JSON.
    Head(head::Args),
    /// A step of fine-tuning, by the part that learns: time and planned memory; prints JSON.
    Step(step::Args),
    /// Draw the ratios of `docs/performance.json`.
    Plot(plot::Args),
}

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.command {
        None => table::run(&args.table),
        Some(Command::Partner(args)) => partner::run(args),
        Some(Command::Network(args)) => network(args),
        Some(Command::Peak(args)) => peak::run(args),
        Some(Command::Head(args)) => head::run(args),
        Some(Command::Step(args)) => step::run(args),
        Some(Command::Plot(args)) => plot::run(args),
    }
}

/// Which network on which patch.
#[derive(clap::Args)]
struct Target {
    /// Folder of a model; its patch is that of its card.
    #[arg(long, default_value = "www/models/browser-b1.5")]
    model: PathBuf,
}

impl Target {
    fn load(&self) -> Result<Model, Box<dyn std::error::Error>> {
        let path = self.model.join("card.json");
        let card = Card::read(&path)?;
        let file = read(&self.model.join(&card.weights.file))?;
        Ok(Model {
            config: card.config,
            side: card.patch,
            file,
        })
    }
}

/// A model from its folder.
struct Model {
    config: NetConfig,
    /// Side of its patch in voxels.
    side: usize,
    /// Its weights.
    file: Vec<u8>,
}

/// A device and what it is called; it must be able to store maps in half precision if asked.
fn open(choice: DeviceChoice, half: bool) -> Result<(Device, String), Box<dyn std::error::Error>> {
    let mut engine = opened(choice)?;
    engine.set_half(half)?;
    Ok((engine.device().clone(), engine.describe()))
}

fn opened(choice: DeviceChoice) -> Result<Engine, Box<dyn std::error::Error>> {
    Ok(match choice {
        DeviceChoice::Cpu => Engine::cpu(),
        DeviceChoice::Gpu => pollster::block_on(Engine::gpu())?,
    })
}

#[derive(clap::Args)]
struct NetworkArgs {
    /// Preset and patch side in voxels, as PRESET@SIDE. `blocks` is the paper's preset with two levels: its blocks
    /// (k = 16, L = 5, stem 48) at a cost that software adapters can bear.
    #[arg(long, default_value = "browser@64")]
    net: String,
    /// Folder for `weights.safetensors` and `card.json`.
    #[arg(long)]
    out: PathBuf,
}

fn network(args: &NetworkArgs) -> Outcome {
    let (config, side) = preset_at(&args.net)?;
    let bytes = weights::to_bytes(&DenseNet::new(&config, 1, &Device::flex())?)?;
    let card = Card::new(&args.net, &config, side, &bytes, None);
    std::fs::create_dir_all(&args.out).map_err(at(&args.out))?;
    write(&args.out.join(&card.weights.file), &bytes)?;
    let text = serde_json::to_string_pretty(&card)?;
    write(&args.out.join("card.json"), text.as_bytes())?;
    Ok(())
}

/// `PRESET@SIDE` as a configuration with two input channels and a side that fits it.
fn preset_at(words: &str) -> Result<(NetConfig, usize), Box<dyn std::error::Error>> {
    let (preset, side) = words
        .split_once('@')
        .and_then(|(p, s)| Some((p, s.parse::<usize>().ok()?)))
        .ok_or_else(|| format!("`{words}` is not PRESET@SIDE"))?;
    let config = match preset {
        "blocks" => NetConfig {
            blocks: 2,
            ..NetConfig::preset("paper", 2)?
        },
        _ => NetConfig::preset(preset, 2)?,
    };
    config.check_side(side)?;
    Ok((config, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_named_by_preset_and_side() {
        let (config, side) = preset_at("blocks@16").unwrap();
        assert_eq!(
            (config.growth, config.layers, config.blocks, side),
            (16, 5, 2, 16)
        );
        for wrong in ["light", "light@", "light@50", "heavy@48"] {
            assert!(preset_at(wrong).is_err(), "{wrong}");
        }
    }
}
