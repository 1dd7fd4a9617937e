//! What a training run did, step by step.

use crate::Outcome;
use crate::native::{at, read, write};
use equipoise::learn::trainer::{Counts, StepReport};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// Steps the smoothed loss is a mean over, and the training DSC is counted over.
const SMOOTH: usize = 50;

/// The run's log: a CSV file and the curve drawn from it.
pub(super) struct Log {
    file: std::fs::File,
    recent: VecDeque<f32>,
    answers: VecDeque<Option<Counts>>,
    losses: Vec<(f64, f64)>,
    scores: Vec<(f64, f64)>,
}

impl Log {
    /// Opens the log; lines after `step` (from a run that was killed after its last checkpoint) are dropped.
    pub(super) fn open(path: &Path, step: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut text = String::from(
            "step,loss,smoothed_loss,learning_rate,held_out_dsc,held_out_ppv,held_out_tpr,training_dsc\n",
        );
        let mut log = (VecDeque::new(), Vec::new(), Vec::new());
        if step > 0 && path.exists() {
            for line in String::from_utf8_lossy(&read(path)?).lines().skip(1) {
                let cells: Vec<f64> = line.split(',').map(|c| c.parse().unwrap_or(f64::NAN)).collect();
                let [at, loss, smoothed, _, dsc, ..] = cells[..] else {
                    continue;
                };
                if at <= step as f64 {
                    writeln!(text, "{line}")?;
                    push(&mut log.0, loss as f32);
                    log.1.push((at, smoothed));
                    log.2.extend(dsc.is_finite().then_some((at, dsc)));
                }
            }
        }
        write(path, text.as_bytes())?;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(at(path))?;
        Ok(Self {
            file,
            recent: log.0,
            answers: VecDeque::new(),
            losses: log.1,
            scores: log.2,
        })
    }

    pub(super) fn add(&mut self, report: &StepReport, score: Option<Counts>) -> std::io::Result<()> {
        let StepReport {
            step,
            loss,
            counts,
            learning_rate,
        } = *report;
        push(&mut self.recent, loss);
        push(&mut self.answers, counts);
        let smoothed = self.smoothed();
        self.losses.push((step as f64, smoothed));
        let cell = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.4}"));
        let [dsc, ppv, tpr] = score.map_or([None; 3], |s| [s.dsc(), s.ppv(), s.tpr()]);
        self.scores.extend(dsc.map(|d| (step as f64, d)));
        writeln!(
            self.file,
            "{step},{loss:.5},{smoothed:.5},{learning_rate:.3e},{},{},{},{}",
            cell(dsc),
            cell(ppv),
            cell(tpr),
            cell(self.training().dsc())
        )
    }

    /// What the network answered to the last patches it was trained on, as far as that was read.
    pub(super) fn training(&self) -> Counts {
        self.answers.iter().copied().flatten().sum()
    }

    /// Mean loss of the last steps.
    pub(super) fn smoothed(&self) -> f64 {
        self.recent.iter().map(|v| f64::from(*v)).sum::<f64>() / self.recent.len().max(1) as f64
    }

    pub(super) fn draw(&self, path: &Path) -> Outcome {
        use plotters::prelude::*;
        let steps = self.losses.last().map_or(1.0, |p| p.0);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (800, 420)).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption("Training", ("sans-serif", 18))
                .margin(12)
                .x_label_area_size(36)
                .y_label_area_size(44)
                .build_cartesian_2d(0.0..steps, 0.0..1.0)?;
            chart
                .configure_mesh()
                .x_desc("step")
                .y_desc("loss, Dice")
                .draw()?;
            let loss = RGBColor(0, 114, 178);
            let dice = RGBColor(213, 94, 0);
            chart
                .draw_series(LineSeries::new(self.losses.iter().copied(), loss.stroke_width(2)))?
                .label(format!("loss, mean of {SMOOTH} steps"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], loss.stroke_width(2)));
            chart
                .draw_series(LineSeries::new(self.scores.iter().copied(), dice.stroke_width(2)))?
                .label("Dice on held-out patches")
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], dice.stroke_width(2)));
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK)
                .draw()?;
            area.present()?;
        }
        write(path, svg.as_bytes())?;
        Ok(())
    }
}

fn push<T>(recent: &mut VecDeque<T>, value: T) {
    if recent.len() == SMOOTH {
        recent.pop_front();
    }
    recent.push_back(value);
}
