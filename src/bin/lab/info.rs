//! `lab info`.

use crate::Outcome;
use equipoise::net::{NetConfig, layer_table, memory};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Network: paper, browser or toy.
    #[arg(long, default_value = "browser")]
    preset: String,
    /// Input channels (FLAIR and T1 are 2).
    #[arg(long, default_value_t = 2)]
    in_channels: usize,
    /// The compact variant: halve the volume before and double it after everything else.
    #[arg(long)]
    compact: bool,
    /// Patch side in voxels.
    #[arg(long, default_value_t = 64)]
    patch: usize,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut config = NetConfig::preset(&args.preset, args.in_channels)?;
    config.compact |= args.compact;
    config.validate()?;
    config.check_side(args.patch)?;
    let rows = layer_table(&config, args.patch);
    println!(
        "{:<26} {:>5} {:>5} {:>6} {:>10} {:>10}",
        "layer", "in", "out", "side", "parameters", "MMAC"
    );
    for row in &rows {
        let (name, side) = (&row.name, row.side);
        let mmac = row.macs as f64 / 1e6;
        println!(
            "{name:<26} {:>5} {:>5} {side:>6} {:>10} {mmac:>10.2}",
            row.input, row.output, row.parameters
        );
    }
    let parameters: usize = rows.iter().map(|r| r.parameters).sum();
    let gmac = rows.iter().map(|r| r.macs).sum::<u64>() as f64 / 1e9;
    println!(
        "{parameters} trainable parameters, {gmac:.2} GMAC per patch of {}^3 voxels",
        args.patch
    );
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "memory beside the weights: {:.0} MB for inference; {:.0} MB for a training step, {:.0} MB if the bottlenecks' maps are made again",
        megabytes(memory::inference(&config, args.patch, 1)?),
        megabytes(memory::training(&config, args.patch, 1, true)?),
        megabytes(memory::training(&config, args.patch, 1, false)?)
    );
    Ok(())
}
