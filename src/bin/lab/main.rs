//! `lab`: Equipoise on the command line, for batch work, training and evidence.

mod bench;
mod card;
mod cohort;
mod conv;
mod evaluate;
mod evidence;
mod finetune;
mod info;
mod interrupt;
mod make;
mod native;
mod pretrain;
mod segment;
mod tune;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What went wrong, in words; commands are the last to handle an error.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Segment multiple-sclerosis lesions, train and evaluate networks. Research use only: not a medical device.
#[derive(Parser)]
#[command(name = "lab", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Segment a scan: writes mask, probability, report and table of lesions under BIDS-derivatives names.
    Segment(segment::Args),
    /// Compare a probability map or mask with a reference mask; prints JSON.
    Evaluate(evaluate::Args),
    /// Score networks on a list of cases: a table, a figure of the curves, every case's figures.
    EvaluateCohort(cohort::Args),
    /// Train what the plan asks for, score it, and write the tables of docs/accuracy.md and the family with its cards.
    Evidence(evidence::Args),
    /// Train from one warm start with one thing changed at a time, and score every run on the same cases.
    Ablation(cohort::ablation::Args),
    /// The bar any network must clear: the best FLAIR threshold with hindsight, then an opening; prints JSON.
    Naive(evaluate::NaiveArgs),
    /// Print the layers of a network: channels, sides, parameters, multiply-adds.
    Info(info::Args),
    /// Train a network; resumes from its last checkpoint.
    Pretrain(pretrain::Args),
    /// Adapt a network to a handful of own cases; resumes from its last checkpoint.
    Finetune(finetune::Args),
    /// Write a contact sheet (PNG) of the patches a network is trained on.
    Preview(make::PreviewArgs),
    /// Make the average brain by which raw scans are outlined.
    Atlas(make::AtlasArgs),
    /// Make the synthetic sample heads from the ICBM152 maps.
    Sample(make::SampleArgs),
    /// Make synthetic heads with lesions, each another; with `--shift` as another scanner would image them.
    Synthetic(make::SyntheticArgs),
    /// Complete a model's card with figures and failures, and write it for people.
    Card(make::CardArgs),
    /// Time the network, ours against burn's stock operators, side by side; prints a table, writes JSON.
    Bench(bench::Args),
    /// Time the GPU kernels by every tile shape and print the best for this adapter.
    Tune(tune::Args),
    /// Write a small random network, for tests of everything around it.
    Toy(make::ToyArgs),
}

fn main() -> ExitCode {
    if std::env::var_os("BURN_DEVICE").is_none() {
        // SAFETY: no other thread runs yet.
        // burn materialises loaded records on its default device; that shall not be a GPU that may be missing.
        unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    }
    let outcome = match Cli::parse().command {
        Command::Segment(args) => segment::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::EvaluateCohort(args) => cohort::run(&args),
        Command::Evidence(args) => evidence::run(&args),
        Command::Ablation(args) => cohort::ablation::run(&args),
        Command::Naive(args) => evaluate::naive(&args),
        Command::Info(args) => info::run(&args),
        Command::Pretrain(args) => pretrain::run(&args),
        Command::Finetune(args) => finetune::run(&args),
        Command::Preview(args) => make::preview(&args),
        Command::Atlas(args) => make::atlas(&args),
        Command::Sample(args) => make::sample(&args),
        Command::Synthetic(args) => make::synthetic(&args),
        Command::Card(args) => make::card(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Toy(args) => make::toy(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            if error.is::<interrupt::Interrupted>() {
                ExitCode::from(interrupt::CODE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
