//! Which cases are trained on and which are held out, run by run.

use super::record::FoldRecord;
use super::{HeldOut, Settings};

/// The runs of a fine-tuning. The last run of k-fold trains on all cases; how long is planned when the others are over.
pub(super) fn folds(cases: usize, settings: &Settings) -> Vec<FoldRecord> {
    let fold = |held_out: Vec<usize>| FoldRecord {
        train: (0..cases).filter(|case| !held_out.contains(case)).collect(),
        held_out,
        planned: settings.steps,
        ..FoldRecord::default()
    };
    match settings.held_out {
        HeldOut::Nothing => vec![fold(Vec::new())],
        HeldOut::Case(case) => vec![fold(vec![case])],
        HeldOut::Folds(k) => {
            let mut runs: Vec<FoldRecord> = (0..k)
                .map(|i| fold((0..cases).filter(|case| case % k == i).collect()))
                .collect();
            runs.push(fold(Vec::new()));
            runs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_case_is_held_out_once_and_never_trained_on_then(cases in 2_usize..12, k in 2_usize..12) {
            let k = k.min(cases);
            let settings = Settings { held_out: HeldOut::Folds(k), ..Settings::default() };
            let runs = folds(cases, &settings);
            prop_assert_eq!(runs.len(), k + 1);
            let mut out: Vec<usize> = runs.iter().flat_map(|run| run.held_out.clone()).collect();
            out.sort_unstable();
            prop_assert_eq!(out, (0..cases).collect::<Vec<_>>());
            for run in &runs {
                prop_assert_eq!(run.train.len() + run.held_out.len(), cases);
                prop_assert!(run.train.iter().all(|case| !run.held_out.contains(case)));
                prop_assert!(!run.train.is_empty());
            }
            prop_assert_eq!(runs[k].train.len(), cases);
        }
    }
}
