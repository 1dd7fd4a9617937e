//! Patch after patch through a predictor and into the vote.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Deref};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use web_time::Instant;

use super::ask::{Answer, Question, Vote, ask};
use super::{Bundle, Head, PipelineError, Predictor, Progress, Settings, Stage, TimeLeft, keep_deep};
use crate::tiling::{Fused, Fuser, Group, Plan, Rotation, TilingError, Window};
use crate::volume::intensity::weigh;

/// Answers that may wait for an earlier one, per question in flight, before no more are asked. Bounds memory when one
/// patch hangs.
const WAITING_PER_FLYING: usize = 4;

/// What a run ends with, on the grid of [`Head`].
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// Lesion probability of every voxel, x fastest; 0 outside the foreground and [at its surface](Head::depth). Weighed by brightness if
    /// [`Settings::hyperintensity`] asked for it, and [`Segmentation::variance`] with it.
    pub probability: Vec<f32>,
    /// Weighted variance of the votes of every voxel, if [`Settings::variance`] asked for it; 0 outside the
    /// foreground.
    pub variance: Option<Vec<f32>>,
    /// The votes fused by every window, the run's own among them and none weighed, if [`Settings::compare_windows`] asked for it.
    pub windows: Vec<(Window, Fused)>,
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
/// many patches run side by side: it is the same to the last bit. Where the predictor takes groups of patches
/// ([`Predictor::group`]) consecutive ones are handed over together, and the groups vote in the order of the plan.
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
    /// Answers that came before that of an earlier patch, by their first patch.
    waiting: BTreeMap<usize, Vote>,
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
        self.fused + self.waiting.values().map(Vote::patches).sum::<usize>()
    }

    /// Where the patches lie.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Predicts and fuses what is left, [`Predictor::parallelism`] patches, or groups of them, at a time.
    ///
    /// `progress` is called once at the start and after every answer; [`ControlFlow::Break`] cancels. Dropping the
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
        // Other windows need every vote by itself.
        let group = predictor.group(side).filter(|_| self.others.is_empty());
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
                // Votes that waited for the one that just came are fused by now.
                next = next.max(self.fused);
                while let Some(vote) = self.waiting.get(&next) {
                    next += vote.patches();
                }
                if next >= total {
                    break;
                }
                let question = match group {
                    None => Question::Patch(self.patch(next)?),
                    Some(most) => Question::Group(self.bundle(next, most)?),
                };
                let patches = question.patches();
                flying.push(ask(predictor, next, question, side));
                next += patches;
            }
            let Some(Answer { job, contrast, vote }) = flying.next().await else {
                return Ok(());
            };
            let vote = vote.map_err(|source| PipelineError::Predict {
                patch: job + 1,
                total,
                source,
            })?;
            if contrast > 0 {
                self.judged += contrast;
                self.flat += if vote.flat() { contrast } else { 0 };
            }
            left.patches_done(vote.patches(), start.elapsed());
            self.waiting.insert(job, vote);
            self.fuse_waiting()?;
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
        let depth = self.head.depth();
        let close = |fuser: Fuser| {
            let mut fused = fuser.finish();
            for values in [Some(&mut fused.probability), fused.variance.as_mut()]
                .into_iter()
                .flatten()
            {
                keep_deep(values, &depth);
            }
            fused
        };
        let mut fused = close(self.fuser);
        let others = self.others.into_iter();
        let mut windows: Vec<_> = others.map(|(window, fuser)| (window, close(fuser))).collect();
        if self.settings.compare_windows {
            windows.push((self.settings.window, fused.clone()));
        }
        if self.settings.hyperintensity {
            let flair = self.head.flair();
            weigh(flair, &mut fused.probability, fused.variance.as_deref_mut());
        }
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
            windows,
            patches: total,
            notes,
        })
    }

    /// Where the patch of a job lies, and how it is turned.
    fn place(&self, job: usize) -> ([isize; 3], Rotation) {
        let turns = self.settings.orientations();
        (self.plan.origins()[job / turns.len()], turns[job % turns.len()])
    }

    /// The input of one patch in one orientation.
    fn patch(&self, job: usize) -> Result<Vec<f32>, PipelineError> {
        let (origin, turn) = self.place(job);
        let mut patch = self.head.patch(origin, self.settings.patch)?;
        turn.apply(&mut patch, self.settings.patch);
        Ok(patch)
    }

    /// The next patches, `most` of them unless some were answered before or they lie far apart.
    fn bundle(&self, first: usize, most: usize) -> Result<Bundle, PipelineError> {
        let answered = self.waiting.range(first..).next().map(|(&job, _)| job);
        let end = answered.unwrap_or(self.total()).min(first + most.max(1));
        let jobs = first..end;
        let group = Group::gather(self.settings.patch, jobs.clone().map(|job| self.place(job)));
        let mut patches = Vec::new();
        for job in jobs.take(group.patches().len()) {
            patches.extend(self.patch(job)?);
        }
        Ok(Bundle::new(
            group,
            patches,
            self.settings.window,
            self.settings.variance,
        ))
    }

    /// Lets every answer vote whose turn has come.
    fn fuse_waiting(&mut self) -> Result<(), PipelineError> {
        while let Some(vote) = self.waiting.remove(&self.fused) {
            self.fused += vote.patches();
            match vote {
                Vote::Patch(mut answer) => {
                    let (origin, turn) = self.place(self.fused - 1);
                    turn.apply(&mut answer, self.settings.patch);
                    self.fuser.add(origin, &answer)?;
                    for (_, fuser) in &mut self.others {
                        fuser.add(origin, &answer)?;
                    }
                }
                Vote::Group { bundle, sums } => {
                    self.fuser.merge(bundle.group(), &sums, bundle.weight())?;
                }
            }
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
