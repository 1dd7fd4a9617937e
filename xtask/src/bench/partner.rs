//! Contests between native programs: ours, burn's stock operators, PyTorch; one process each, alternated.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::figures::Series;
use super::setup::Tools;
use crate::shell;

/// Largest difference of a probability between two programs that run the same network.
const AGREEMENT: f32 = 1e-4;
/// Largest difference of the losses of two programs after the same steps of training: gradients differ by rounding.
const LOSS_AGREEMENT: f64 = 1e-3;
/// Between two turns: threads of the one before may spin on for a while.
const PAUSE: Duration = Duration::from_millis(100);

/// One contestant, waiting for its turn (`src/bin/lab/bench/partner.rs`).
pub(super) struct Partner {
    pub(super) name: String,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Timed passes it takes part in.
    repeat: usize,
    seconds: Vec<f64>,
    /// Loss or mean probability of each pass.
    values: Vec<f64>,
}

impl Partner {
    pub(super) fn start(name: &str, command: &mut Command, repeat: usize) -> Result<Self> {
        let line = shell::shown(command);
        println!("  $ {line}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start `{line}`"))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("`{line}` has no pipes");
        };
        let mut partner = Self {
            name: name.to_owned(),
            child,
            to,
            from: BufReader::new(from),
            repeat,
            seconds: Vec::new(),
            values: Vec::new(),
        };
        let ready = partner.hear()?;
        let word = |key: &str| ready["ready"][key].as_str().unwrap_or_default().to_owned();
        partner.name = match name {
            "" => word("version"),
            name => name.to_owned(),
        };
        if let Some(threads) = ready["ready"]["threads"]
            .as_u64()
            .filter(|_| word("device") == "CPU")
        {
            partner.name += &format!(", {threads} threads");
        }
        Ok(partner)
    }

    fn ask(&mut self, words: &str) -> Result<Value> {
        writeln!(self.to, "{words}")?;
        self.to.flush()?;
        self.hear()
    }

    fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("{} ended or said `{}`", self.name, line.trim()))
    }

    pub(super) fn series(&self) -> Series {
        Series::new(self.name.clone(), "s", self.seconds.clone())
    }

    /// Peak resident memory in millions of bytes.
    pub(super) fn memory(&mut self) -> Result<f64> {
        let answer = self.ask("memory")?;
        let bytes = answer["peak"]
            .as_u64()
            .context("this system does not tell the peak of memory")?;
        Ok(bytes as f64 / 1e6)
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It holds no files that matter, and a pass in progress is of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets all take turns; the first round warms up and is not counted.
pub(super) fn alternate(partners: &mut [Partner]) -> Result<()> {
    let rounds = partners.iter().map(|p| p.repeat).max().unwrap_or(0);
    for round in 0..=rounds {
        for partner in partners.iter_mut().filter(|p| round <= p.repeat) {
            thread::sleep(PAUSE);
            let answer = partner.ask("run")?;
            let number = |key: &str| {
                answer[key]
                    .as_f64()
                    .with_context(|| format!("no {key} in {answer}"))
            };
            partner.values.push(number("value")?);
            if round > 0 {
                partner.seconds.push(number("seconds")?);
            }
        }
    }
    for partner in partners {
        println!("  {}: {}", partner.name, partner.series().words());
    }
    Ok(())
}

/// Fails unless all compute the same: probabilities of a forward pass, losses of the steps of training.
pub(super) fn agree(tools: &Tools, partners: &mut [Partner], work: &str) -> Result<String> {
    let mut worst = 0.0_f64;
    if work == "step" {
        let (ours, others) = partners.split_first().context("nobody takes part")?;
        for other in others {
            for (step, (a, b)) in ours.values.iter().zip(&other.values).enumerate().take(4) {
                let difference = (a - b).abs();
                if difference.is_nan() || difference > LOSS_AGREEMENT {
                    bail!("{}: the loss of step {} is {b}, ours {a}", other.name, step + 1);
                }
                worst = worst.max(difference);
            }
        }
        return Ok(format!(
            "Losses of the first steps differ by at most {worst:.0e}."
        ));
    }
    let file = tools.folder.join("probabilities.f32");
    let mut ours: Option<Vec<f32>> = None;
    for partner in partners {
        partner.ask(&format!("write {}", file.display()))?;
        let found = floats(&file)?;
        match &ours {
            None => ours = Some(found),
            Some(ours) => {
                let difference = difference(ours, &found);
                if difference.is_nan() || difference > AGREEMENT {
                    bail!("{}: probabilities differ from ours by {difference}", partner.name);
                }
                worst = worst.max(f64::from(difference));
            }
        }
    }
    Ok(format!("Probabilities differ by at most {worst:.0e}."))
}

fn floats(file: &Path) -> Result<Vec<f32>> {
    let bytes = fs::read(file)?;
    let (values, _) = bytes.as_chunks::<4>();
    Ok(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// Largest difference; NaN if there are not as many, or one is NaN.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() || a.is_empty() {
        return f32::NAN;
    }
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |worst, d| if d.is_nan() || d > worst { d } else { worst })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(name: &str, seconds: f64, repeat: usize) -> Result<Partner> {
        let script = format!(
            "echo '{{\"ready\": {{\"device\": \"CPU\", \"threads\": 2, \"version\": \"{name} 1.0\"}}}}'; \
             while read word rest; do echo '{{\"seconds\": {seconds}, \"value\": 0.5, \"peak\": 3000000}}'; done"
        );
        let mut sh = Command::new("sh");
        sh.args(["-c", &script]);
        Partner::start("", &mut sh, repeat)
    }

    #[test]
    fn partners_take_turns_and_the_first_round_is_not_counted() -> Result<()> {
        let mut partners = [echo("a", 1.5, 3)?, echo("b", 3.0, 1)?];
        alternate(&mut partners)?;
        assert_eq!(partners[0].seconds, [1.5; 3]);
        assert_eq!(partners[1].seconds, [3.0]);
        assert_eq!(partners[0].values.len(), 4);
        assert_eq!(partners[0].name, "a 1.0, 2 threads");
        assert_eq!(partners[0].memory()?, 3.0);
        Ok(())
    }

    #[test]
    fn a_partner_that_ends_is_an_error() -> Result<()> {
        let mut sh = Command::new("sh");
        sh.args(["-c", "echo '{\"ready\": {}}'"]);
        let mut partner = Partner::start("short", &mut sh, 1)?;
        thread::sleep(Duration::from_millis(50));
        assert!(partner.ask("run").is_err());
        Ok(())
    }

    #[test]
    fn answers_that_differ_or_are_missing_are_seen() {
        assert_eq!(difference(&[0.5, 0.25], &[0.5, 0.5]), 0.25);
        assert!(difference(&[0.5], &[0.5, 0.5]).is_nan());
        assert!(difference(&[0.5, f32::NAN, 0.1], &[0.5, 0.5, 0.1]).is_nan());
    }
}
