//! What is known about a fine-tuning when it is over, and while it runs.

use serde::{Deserialize, Serialize};

use super::{HeldOut, Settings};
use crate::metrics::{Evaluation, PrPoint};

/// Steps that the smoothed loss is a mean over.
const SMOOTH: usize = 20;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPoint {
    /// Run it belongs to, from 0.
    pub fold: usize,
    /// Steps done, this one included.
    pub step: u64,
    /// Loss of its patch before the step.
    pub loss: f32,
    /// Mean loss of the last 20 steps.
    pub smoothed: f64,
    /// Learning rate used.
    pub learning_rate: f64,
}

/// How well a network does on one held-out case at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookScores {
    /// Number of the case.
    pub case: usize,
    /// Dice similarity coefficient.
    pub dsc: Option<f64>,
    /// Positive predictive value of voxels.
    pub precision: Option<f64>,
    /// True positive rate of voxels.
    pub recall: Option<f64>,
    /// F_2 of voxels.
    pub f2: Option<f64>,
    /// F_beta of voxels with the beta of the loss: what the best weights are chosen by.
    pub f_beta: Option<f64>,
    /// Area under the precision-recall curve.
    pub apr: Option<f64>,
    /// The precision-recall curve in few points.
    pub curve: Vec<PrPoint>,
}

/// A look at the held-out cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Run it belongs to, from 0.
    pub fold: usize,
    /// Steps done; 0 is the base network.
    pub step: u64,
    /// The held-out cases of this run.
    pub scores: Vec<LookScores>,
    /// Mean F_beta of those that have one.
    pub score: f64,
    /// True if it was the best so far.
    pub best: bool,
}

/// Every score of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// Number of the case.
    pub case: usize,
    /// Its scores, at the threshold and with the overlap of the settings.
    pub evaluation: Evaluation,
}

/// Why a run took no more steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// All steps were done.
    Steps,
    /// The score did not get better for as many looks as the settings allow.
    Early,
    /// The person stopped it.
    Stopped,
}

/// One run: which cases it trained on, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FoldRecord {
    /// Numbers of the cases trained on.
    pub train: Vec<usize>,
    /// Numbers of the cases held out; empty in the last run of k-fold.
    pub held_out: Vec<usize>,
    /// The base network on the held-out cases.
    pub before: Vec<Scored>,
    /// The best weights on the held-out cases.
    pub after: Vec<Scored>,
    /// Steps planned.
    pub planned: u64,
    /// Step of the weights that are kept; 0 is the base network.
    pub best_step: u64,
    /// Loss of every step.
    pub losses: Vec<f32>,
    /// The looks.
    pub looks: Vec<Look>,
    /// Why it ended; nothing while it runs.
    pub ended: Option<Ended>,
}

impl FoldRecord {
    /// Mean loss of the last steps; 0 before the first.
    #[must_use]
    pub fn smoothed(&self) -> f64 {
        let recent = &self.losses[self.losses.len().saturating_sub(SMOOTH)..];
        recent.iter().map(|v| f64::from(*v)).sum::<f64>() / recent.len().max(1) as f64
    }
}

/// Mean and spread of a figure over cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Cases that have the figure.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (n - 1); nothing with fewer than two.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of some figures; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let sum: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Some(Self {
            n,
            mean,
            sd: (n > 1).then(|| (sum / (n - 1) as f64).sqrt()),
        })
    }
}

/// One figure before and after, over all held-out cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// `DSC`, `precision`, `recall`, `F2`, `area under PR`.
    pub figure: String,
    /// Before.
    pub before: Option<Spread>,
    /// After.
    pub after: Option<Spread>,
    /// After minus before, case by case.
    pub change: Option<Spread>,
    /// Cases that got better.
    pub better: usize,
}

/// A case without its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseEntry {
    /// SHA-256 of what was trained on and scored.
    pub fingerprint: String,
    /// Lesion load in millilitres.
    pub load_ml: f64,
    /// Number of lesions.
    pub lesions: usize,
}

/// A fine-tuning from beginning to end. It names no file and no person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the base model.
    pub base: String,
    /// SHA-256 of its weights.
    pub base_sha256: String,
    /// Number of cases.
    pub n: usize,
    /// The cases, in their order.
    pub cases: Vec<CaseEntry>,
    /// The settings, seed included.
    pub settings: Settings,
    /// The runs.
    pub folds: Vec<FoldRecord>,
    /// Before and after, over all held-out cases.
    pub summary: Vec<Change>,
    /// What it comes to, in words.
    pub verdict: String,
}

/// Before and after over the held-out cases of all runs.
#[must_use]
pub(super) fn summary(folds: &[FoldRecord]) -> Vec<Change> {
    type Figure = (&'static str, fn(&Evaluation) -> Option<f64>);
    let figures: [Figure; 5] = [
        ("DSC", |e| e.dsc),
        ("precision", |e| e.ppv),
        ("recall", |e| e.tpr),
        ("F2", |e| e.f2),
        ("area under PR", |e| e.apr),
    ];
    let pairs: Vec<(&Evaluation, &Evaluation)> = folds
        .iter()
        .flat_map(|fold| fold.before.iter().zip(&fold.after))
        .filter(|(before, after)| before.case == after.case)
        .map(|(before, after)| (&before.evaluation, &after.evaluation))
        .collect();
    if pairs.is_empty() {
        return Vec::new();
    }
    figures
        .into_iter()
        .map(|(figure, of)| {
            let before: Vec<f64> = pairs.iter().filter_map(|(b, _)| of(b)).collect();
            let after: Vec<f64> = pairs.iter().filter_map(|(_, a)| of(a)).collect();
            let change: Vec<f64> = pairs.iter().filter_map(|(b, a)| Some(of(a)? - of(b)?)).collect();
            Change {
                figure: figure.to_owned(),
                before: Spread::of(&before),
                after: Spread::of(&after),
                better: change.iter().filter(|c| **c > 0.0).count(),
                change: Spread::of(&change),
            }
        })
        .collect()
}

/// A change of DSC smaller than this is called none.
const HARDLY: f64 = 0.01;

/// What a fine-tuning comes to, with its weakness.
#[must_use]
pub(super) fn verdict(settings: &Settings, folds: &[FoldRecord], summary: &[Change]) -> String {
    let Some(dsc) = summary.iter().find(|c| c.figure == "DSC") else {
        return "Nothing was held out: whether the network got better is not known.".to_owned();
    };
    let (Some(before), Some(after), Some(change)) = (dsc.before, dsc.after, dsc.change) else {
        return "DSC has no value on the held-out cases: whether the network got better is not known."
            .to_owned();
    };
    let word = |figure: &str| {
        let found = summary.iter().find(|c| c.figure == figure);
        let part = |s: Option<Spread>| s.map_or("-".to_owned(), |s| format!("{:.3}", s.mean));
        found.map_or(String::new(), |c| {
            format!("{figure} {} to {}", part(c.before), part(c.after))
        })
    };
    let kind = if change.mean > HARDLY {
        "better"
    } else if change.mean < -HARDLY {
        "worse"
    } else {
        "hardly different"
    };
    let figures = format!(
        "DSC {:.3} to {:.3} ({:+.3}), {}, {}",
        before.mean,
        after.mean,
        change.mean,
        word("precision"),
        word("recall")
    );
    if let HeldOut::Folds(_) = settings.held_out {
        let spread = change
            .sd
            .map_or(String::new(), |sd| format!(", SD of the change {sd:.3}"));
        let unfinished = if folds.iter().any(|f| f.held_out.is_empty() && f.ended.is_some()) {
            "The network that is kept was trained on all cases and was itself not scored."
        } else {
            "The runs were ended before a network was trained on all cases."
        };
        return format!(
            "On the held-out cases {kind}: mean {figures}; better in {} of n = {}{spread}. {} {unfinished}",
            dsc.better,
            change.n,
            weakness(change.n)
        );
    }
    if folds.first().is_some_and(|fold| fold.best_step == 0) {
        return format!(
            "No step scored better on the held-out case than the base network (DSC {:.3}), which is what is kept. Try more \
             steps, another part or another learning rate, or add cases.",
            before.mean
        );
    }
    format!(
        "On the held-out case {kind}: {figures}. {} The step was chosen on the same case, which flatters it.",
        weakness(change.n)
    )
}

fn weakness(n: usize) -> String {
    match n {
        1 => "One case is weak evidence.".to_owned(),
        2..=5 => format!("{n} cases are weak evidence."),
        _ => format!("{n} cases of one origin say little about scans of another."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{self, evaluate};

    fn scored(case: usize, found: usize) -> Scored {
        let reference: Vec<bool> = (0..40).map(|i| i < 20).collect();
        let probability: Vec<f32> = (0..40).map(|i| if i < found { 0.9 } else { 0.1 }).collect();
        let settings = metrics::Settings::default();
        Scored {
            case,
            evaluation: evaluate(&reference, &probability, [40, 1, 1], 1.0, &settings).unwrap(),
        }
    }

    #[test]
    fn a_verdict_says_how_much_on_how_many() {
        let fold = |case, before, after| FoldRecord {
            held_out: vec![case],
            before: vec![scored(case, before)],
            after: vec![scored(case, after)],
            best_step: 50,
            ..FoldRecord::default()
        };
        let settings = Settings::default();
        let one = [fold(0, 5, 20)];
        let text = verdict(&settings, &one, &summary(&one));
        // 5 of 20 found: DSC 10 / 25; all found: 1.
        assert!(text.contains("better: DSC 0.400 to 1.000 (+0.600)"), "{text}");
        assert!(text.contains("One case is weak evidence"), "{text}");
        let none = [FoldRecord {
            best_step: 0,
            ..fold(0, 5, 5)
        }];
        let text = verdict(&settings, &none, &summary(&none));
        assert!(text.contains("No step scored better"), "{text}");
        assert!(verdict(&settings, &[], &[]).contains("Nothing was held out"));

        let folds = [fold(0, 5, 20), fold(1, 20, 20), fold(2, 20, 5)];
        let all = summary(&folds);
        let change = all[0].change.unwrap();
        assert_eq!(change.n, 3);
        assert!(change.mean.abs() < 1e-12);
        assert!((change.sd.unwrap() - 0.6).abs() < 1e-12, "{change:?}");
        assert_eq!(all[0].better, 1);
        let settings = Settings {
            held_out: HeldOut::Folds(3),
            ..settings
        };
        let text = verdict(&settings, &folds, &all);
        assert!(
            text.contains("hardly different") && text.contains("better in 1 of n = 3"),
            "{text}"
        );
        assert!(text.contains("3 cases are weak evidence"), "{text}");
    }

    #[test]
    fn spread_is_that_of_a_sample() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[2.0]).unwrap().sd, None);
        let spread = Spread::of(&[1.0, 3.0]).unwrap();
        assert!((spread.mean - 2.0).abs() < 1e-12 && (spread.sd.unwrap() - 2.0_f64.sqrt()).abs() < 1e-12);
    }
}
