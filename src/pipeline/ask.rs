//! What a run asks of a predictor, and what becomes of the answer.

use super::{Bundle, PredictError, Predictor, check_probabilities};
use crate::tiling::Sums;

/// What is asked.
pub(super) enum Question {
    /// One patch.
    Patch(Vec<f32>),
    /// Several patches, fused.
    Group(Bundle),
}

/// What votes.
#[derive(Debug)]
pub(super) enum Vote {
    /// One patch, turned as it was predicted.
    Patch(Vec<f32>),
    /// Several patches, fused.
    Group { bundle: Bundle, sums: Sums },
}

/// What came back.
pub(super) struct Answer {
    /// The first patch asked for.
    pub(super) job: usize,
    /// How many of the patches have any contrast.
    pub(super) contrast: usize,
    pub(super) vote: Result<Vote, PredictError>,
}

impl Question {
    /// How many are asked for.
    pub(super) fn patches(&self) -> usize {
        match self {
            Self::Patch(_) => 1,
            Self::Group(bundle) => bundle.count(),
        }
    }
}

impl Vote {
    /// How many vote.
    pub(super) fn patches(&self) -> usize {
        match self {
            Self::Patch(_) => 1,
            Self::Group { bundle, .. } => bundle.count(),
        }
    }

    /// True if the answer is one and the same value everywhere.
    pub(super) fn flat(&self) -> bool {
        match self {
            Self::Patch(values) => !varies(values),
            Self::Group { bundle, sums } => bundle.flat(sums),
        }
    }
}

/// A question in flight. One function, so that all futures are of one type and need no box.
pub(super) async fn ask<P: Predictor>(predictor: &P, job: usize, question: Question, side: usize) -> Answer {
    match question {
        Question::Patch(patch) => {
            let contrast = usize::from(varies(&patch));
            let answer = predictor.predict(patch, side).await;
            let checked = answer.and_then(|values| check_probabilities(&values, side).map(|()| values));
            let vote = checked.map(Vote::Patch);
            Answer { job, contrast, vote }
        }
        Question::Group(mut bundle) => {
            let values = bundle.patches();
            let patches = values.chunks_exact(values.len() / bundle.count().max(1));
            let contrast = patches.filter(|p| varies(p)).count();
            let answer = predictor.predict_group(&bundle).await;
            let checked = answer.and_then(|sums| bundle.check(&sums).map(|()| sums));
            bundle.forget_patches();
            let vote = checked.map(|sums| Vote::Group { bundle, sums });
            Answer { job, contrast, vote }
        }
    }
}

/// True unless all values are the same.
fn varies(values: &[f32]) -> bool {
    values.iter().any(|v| *v != values[0])
}
