//! Patch after patch through a predictor and into the vote.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Deref};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use web_time::Instant;

use super::{Head, PipelineError, PredictError, Predictor, Progress, Settings, Stage, TimeLeft};
use crate::tiling::{Fused, Fuser, Plan, TilingError, Window};

/// Answers that may wait for an earlier one, per patch in flight, before no more patches are handed out. Bounds
/// memory when one patch hangs.
const WAITING_PER_FLYING: usize = 4;

/// What a run ends with, on the grid of [`Head`].
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// Lesion probability of every voxel, x fastest; 0 outside the foreground.
    pub probability: Vec<f32>,
    /// Weighted variance of the votes of every voxel, if [`Settings::variance`] asked for it; 0 outside the
    /// foreground.
    pub variance: Option<Vec<f32>>,
    /// The same votes fused by the other windows, if [`Settings::compare_windows`] asked for it.
    pub others: Vec<(Window, Fused)>,
    /// Patches predicted, rotations counted.
    pub patches: usize,
    /// Things a person should know about the result, one sentence each.
    pub notes: Vec<String>,
}

/// A segmentation in progress.
///
/// All progress lives here and not in the future of [`Run::advance`]: when that ends with an error, is cancelled or
/// is simply dropped, every answer received so far is kept, and `advance` may be called again, with another
/// predictor if the first was lost.
///
/// Votes are fused in the order of the plan, whatever the order of the answers, so a result does not depend on how
/// many patches run side by side: it is the same to the last bit.
///
/// The head may be borrowed (`&Head`) or shared (`Arc<Head>`).
#[derive(Debug)]
pub struct Run<H> {
    head: H,
    settings: Settings,
    plan: Plan,
    fuser: Fuser,
    /// Fusers of the other windows, which hear the same votes.
    others: Vec<(Window, Fuser)>,
    /// Patches that have voted: all before this one.
    fused: usize,
    /// Answers that came before that of an earlier patch.
    waiting: BTreeMap<usize, Vec<f32>>,
    /// Answers to patches with any contrast, and how many of them had none.
    judged: usize,
    flat: usize,
}

impl<H: Deref<Target = Head>> Run<H> {
    /// Plans a run over the foreground of `head`.
    ///
    /// # Errors
    /// [`PipelineError::Tiling`] if the settings do not fit.
    pub fn new(head: H, settings: &Settings) -> Result<Self, PipelineError> {
        let shape = head.grid().shape;
        let plan = Plan::new(shape, settings.patch, settings.overlap)?.within(head.foreground())?;
        let fuser = |window: Window| -> Result<Fuser, TilingError> {
            let fuser = Fuser::new(shape, &window.weights(settings.patch))?;
            Ok(if settings.variance {
                fuser.with_variance()
            } else {
                fuser
            })
        };
        let others = settings
            .other_windows()
            .map(|window| Ok((window, fuser(window)?)))
            .collect::<Result<_, TilingError>>()?;
        Ok(Self {
            head,
            settings: settings.clone(),
            plan,
            fuser: fuser(settings.window)?,
            others,
            fused: 0,
            waiting: BTreeMap::new(),
            judged: 0,
            flat: 0,
        })
    }

    /// Patches in all, rotations counted.
    #[must_use]
    pub fn total(&self) -> usize {
        self.plan.len() * self.settings.orientations().len()
    }

    /// Patches answered, rotations counted.
    #[must_use]
    pub fn done(&self) -> usize {
        self.fused + self.waiting.len()
    }

    /// Where the patches lie.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Predicts and fuses what is left, [`Predictor::parallelism`] patches at a time.
    ///
    /// `progress` is called once at the start and after every patch; [`ControlFlow::Break`] cancels. Dropping the
    /// future cancels at once. Patches in flight are then dropped with it and asked for again by the next call.
    ///
    /// # Errors
    /// [`PipelineError::Predict`] if a patch fails, or its answer is not `side^3` numbers in `[0, 1]`;
    /// [`PipelineError::Cancelled`].
    pub async fn advance<P: Predictor>(
        &mut self,
        predictor: &P,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), PipelineError> {
        let total = self.total();
        let side = self.settings.patch;
        let at_once = predictor.parallelism().max(1);
        let start = Instant::now();
        let mut left = TimeLeft::new(at_once, Duration::ZERO);
        let mut flying = FuturesUnordered::new();
        // The first patch not yet handed out by this call.
        let mut next = self.fused;
        self.tell(&left, &mut progress)?;
        loop {
            while flying.len() < at_once
                && (flying.is_empty() || self.waiting.len() < at_once * WAITING_PER_FLYING)
            {
                while self.waiting.contains_key(&next) {
                    next += 1;
                }
                if next >= total {
                    break;
                }
                let patch = self.patch(next)?;
                let has_contrast = varies(&patch);
                flying.push(ask(predictor, next, patch, side, has_contrast));
                next += 1;
            }
            let Some(Answer {
                job,
                has_contrast,
                answer,
            }) = flying.next().await
            else {
                return Ok(());
            };
            let answer =
                answer
                    .and_then(|values| check(values, side))
                    .map_err(|source| PipelineError::Predict {
                        patch: job + 1,
                        total,
                        source,
                    })?;
            if has_contrast {
                self.judged += 1;
                self.flat += usize::from(!varies(&answer));
            }
            self.waiting.insert(job, answer);
            self.fuse_waiting()?;
            left.patch_done(start.elapsed());
            self.tell(&left, &mut progress)?;
        }
    }

    /// Closes the vote.
    ///
    /// # Errors
    /// [`PipelineError::Unfinished`] if not every patch has voted.
    pub fn finish(self) -> Result<Segmentation, PipelineError> {
        let (done, total) = (self.done(), self.total());
        if done < total {
            return Err(PipelineError::Unfinished { done, total });
        }
        let foreground = self.head.foreground();
        let close = |fuser: Fuser| {
            let mut fused = fuser.finish();
            for values in [Some(&mut fused.probability), fused.variance.as_mut()]
                .into_iter()
                .flatten()
            {
                for (value, &inside) in values.iter_mut().zip(foreground) {
                    if !inside {
                        *value = 0.0;
                    }
                }
            }
            fused
        };
        let fused = close(self.fuser);
        let others = self
            .others
            .into_iter()
            .map(|(window, fuser)| (window, close(fuser)))
            .collect();
        let mut notes = Vec::new();
        if self.judged > 0 && self.flat == self.judged {
            notes.push(format!(
                "The network gave one and the same value for every voxel of each of the {} patches with contrast: \
                 the result is not to be trusted. Run it again on the other engine.",
                self.judged
            ));
        }
        Ok(Segmentation {
            probability: fused.probability,
            variance: fused.variance,
            others,
            patches: total,
            notes,
        })
    }

    /// The input of one patch in one orientation.
    fn patch(&self, job: usize) -> Result<Vec<f32>, PipelineError> {
        let turns = self.settings.orientations();
        let mut patch = self
            .head
            .patch(self.plan.origins()[job / turns.len()], self.settings.patch)?;
        turns[job % turns.len()].apply(&mut patch, self.settings.patch);
        Ok(patch)
    }

    /// Lets every answer vote whose turn has come.
    fn fuse_waiting(&mut self) -> Result<(), PipelineError> {
        let turns = self.settings.orientations();
        while let Some(mut answer) = self.waiting.remove(&self.fused) {
            turns[self.fused % turns.len()].apply(&mut answer, self.settings.patch);
            let origin = self.plan.origins()[self.fused / turns.len()];
            self.fuser.add(origin, &answer)?;
            for (_, fuser) in &mut self.others {
                fuser.add(origin, &answer)?;
            }
            self.fused += 1;
        }
        Ok(())
    }

    /// Reports where the run is and hears whether it shall go on.
    fn tell(
        &self,
        left: &TimeLeft,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), PipelineError> {
        let (done, total) = (self.done(), self.total());
        let left = left.estimate(total - done);
        match progress(Progress {
            stage: Stage::Segmenting,
            done,
            total,
            left,
        }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(PipelineError::Cancelled { done, total }),
        }
    }
}

/// Runs a segmentation from end to end with one predictor; [`Run`] is for those who may need to change it.
///
/// # Errors
/// As [`Run::new`] and [`Run::advance`].
pub async fn segment<P: Predictor>(
    head: &Head,
    predictor: &P,
    settings: &Settings,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Segmentation, PipelineError> {
    let mut run = Run::new(head, settings)?;
    run.advance(predictor, progress).await?;
    run.finish()
}

/// What came back for one patch.
struct Answer {
    job: usize,
    has_contrast: bool,
    answer: Result<Vec<f32>, PredictError>,
}

/// A patch in flight. One function, so that all futures are of one type and need no box.
async fn ask<P: Predictor>(
    predictor: &P,
    job: usize,
    patch: Vec<f32>,
    side: usize,
    has_contrast: bool,
) -> Answer {
    let answer = predictor.predict(patch, side).await;
    Answer {
        job,
        has_contrast,
        answer,
    }
}

/// The answer itself if it is one probability per voxel.
fn check(answer: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
    let (expected, got) = (side * side * side, answer.len());
    if got != expected {
        return Err(PredictError::Length { expected, got });
    }
    let count = answer.iter().filter(|p| !(0.0..=1.0).contains(*p)).count();
    if count > 0 {
        return Err(PredictError::NotProbabilities { count });
    }
    Ok(answer)
}

/// True unless all values are the same.
fn varies(values: &[f32]) -> bool {
    values.iter().any(|v| *v != values[0])
}
