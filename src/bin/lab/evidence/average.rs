//! The mean of several runs as a network of its own.

use crate::Outcome;
use crate::card::Card;
use crate::native::{at, read, write};
use burn::tensor::Device;
use equipoise::learn::trainer::soup;
use equipoise::net::weights;
use std::path::Path;

/// Writes card and weights of the mean of the runs `of` into the folder `name` of `runs`. Its card has the training of the first.
pub(super) fn make(name: &str, of: &[String], runs: &Path) -> Outcome {
    let mut nets = Vec::new();
    let mut first: Option<Card> = None;
    for run in of {
        let folder = runs.join(run);
        let path = folder.join("card.json");
        let card = Card::read(&path)?;
        let bytes = read(&folder.join(&card.weights.file))?;
        nets.push(weights::from_bytes(&card.config, bytes, &Device::flex())?);
        first.get_or_insert(card);
    }
    let (Some(card), Some(net)) = (first, pollster::block_on(soup(&nets))?) else {
        return Err(format!("{name} is the mean of no run").into());
    };
    let bytes = weights::to_bytes(&net)?;
    let card = Card {
        summary: format!(
            "The mean of the weights of {}, which differ by their seed.",
            of.join(", ")
        ),
        ..Card::new(name, &card.config, card.patch, &bytes, card.training)
    };
    let folder = runs.join(name);
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    write(&folder.join("weights.safetensors"), &bytes)?;
    write(
        &folder.join("card.json"),
        serde_json::to_string_pretty(&card)?.as_bytes(),
    )?;
    Ok(())
}
