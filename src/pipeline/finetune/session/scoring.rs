//! Whole held-out heads, predicted and scored.

use std::ops::ControlFlow;
use std::sync::Arc;

use web_time::Instant;

use super::drive::note;
use super::{Event, Place, Scoring, Session, Stage};
use crate::metrics::Evaluation;
use crate::pipeline::compare::Comparer;
use crate::pipeline::finetune::outcome::Maps;
use crate::pipeline::finetune::{FinetuneError, HeldOut, Learner};
use crate::pipeline::mask::cut;
use crate::pipeline::{self, Cut, PipelineError, Run};
use crate::volume::Volume;

impl Session {
    /// After the end: predicts the held-out cases again whose maps a resumption lost, for a checkpoint holds their scores only.
    /// Does nothing if all maps are there, and in k-fold, where none are kept.
    ///
    /// # Errors
    /// As those of [`Session::advance`].
    pub async fn redraw<L: Learner>(
        &mut self,
        learner: &L,
        mut tell: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        if !self.is_done() || matches!(self.settings.held_out, HeldOut::Folds(_)) {
            return Ok(());
        }
        let scoring = self.settings.scoring();
        for stage in [Stage::Before, Stage::After] {
            let before = stage == Stage::Before;
            let lost: Vec<usize> = self.record().held_out.clone();
            let lost: Vec<usize> = lost
                .into_iter()
                .filter(|case| !self.has_map(*case, before))
                .collect();
            if lost.is_empty() {
                continue;
            }
            let place = Place {
                stage,
                ..self.place()
            };
            self.say(&mut tell, Event::Stage(place))?;
            self.take_up(learner).await?;
            let weights = if before {
                self.base.weights().to_vec()
            } else {
                self.best_weights()
            };
            learner.show(weights).await.map_err(|e| self.failed(e))?;
            for case in lost {
                let probability = self.predict(learner, case, &scoring, stage, &mut tell).await?;
                self.remember(case, probability, before);
            }
        }
        Ok(())
    }

    /// The weights that are best so far.
    pub(super) fn best_weights(&self) -> Vec<u8> {
        let best = self.blobs.best.clone();
        best.unwrap_or_else(|| self.base.weights().to_vec())
    }

    fn has_map(&self, case: usize, before: bool) -> bool {
        let mut maps = self.maps.iter().filter(|maps| maps.case == case);
        maps.any(|maps| {
            if before {
                maps.before.is_some()
            } else {
                maps.after.is_some()
            }
        })
    }

    /// Scores the network on a case as `Segment` would: patches, vote, the scan's own grid, threshold, metrics.
    pub(super) async fn score<L: Learner>(
        &mut self,
        learner: &L,
        case: usize,
        settings: &pipeline::Settings,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(Evaluation, Volume), FinetuneError> {
        let stage = self.state.stage;
        let probability = self.predict(learner, case, settings, stage, tell).await?;
        let of = Arc::clone(&self.cases[case]);
        let unscored = |source| FinetuneError::Score {
            case: of.name().to_owned(),
            source,
        };
        let how = Cut {
            threshold: self.settings.threshold,
            ..Cut::default()
        };
        let mask = cut(&probability, &how);
        let reference = of.reference();
        let comparison = Comparer::new(&probability, reference)
            .and_then(|comparer| comparer.compare(&probability, None, &mask, &how, reference))
            .map_err(unscored)?;
        Ok((comparison.evaluation, probability))
    }

    /// The network's probability on a case, on the FLAIR's own grid.
    async fn predict<L: Learner>(
        &mut self,
        learner: &L,
        case: usize,
        settings: &pipeline::Settings,
        stage: Stage,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Volume, FinetuneError> {
        let of = Arc::clone(&self.cases[case]);
        let wrong = |source: PipelineError| FinetuneError::Segment {
            case: of.name().to_owned(),
            source,
        };
        let step = self.state.step;
        let mut scoring = match self.scoring.take().filter(|s| {
            (s.stage, s.step, s.case, s.overlap.to_bits()) == (stage, step, case, settings.overlap.to_bits())
        }) {
            Some(scoring) => scoring,
            None => Scoring {
                stage,
                step,
                case,
                overlap: settings.overlap,
                run: Run::new(Arc::clone(of.head()), settings).map_err(wrong)?,
            },
        };
        // Kept here while it is awaited, so that a future that is dropped loses no patch.
        let slot = self.scoring.insert(scoring);
        let (mut before, timed) = (Instant::now(), &mut self.timed[1]);
        let advanced = slot
            .run
            .advance(learner, |progress| {
                if progress.done > 0 {
                    note(timed, before.elapsed());
                }
                before = Instant::now();
                tell(Event::Patches {
                    done: progress.done,
                    total: progress.total,
                })
            })
            .await;
        match advanced {
            Ok(()) => {}
            Err(PipelineError::Cancelled { .. }) => return Err(FinetuneError::Paused { step }),
            Err(other) => return Err(wrong(other)),
        }
        scoring = self.scoring.take().ok_or(FinetuneError::Paused { step })?;
        let segmentation = scoring.run.finish().map_err(wrong)?;
        of.restore(segmentation.probability)
            .map_err(|e| FinetuneError::Score {
                case: of.name().to_owned(),
                source: e.into(),
            })
    }

    /// Keeps a map for the outcome; not in k-fold, where there would be too many.
    pub(super) fn remember(&mut self, case: usize, probability: Volume, before: bool) {
        if matches!(self.settings.held_out, HeldOut::Folds(_)) {
            return;
        }
        let at = match self.maps.iter().position(|maps| maps.case == case) {
            Some(at) => at,
            None => {
                self.maps.push(Maps {
                    case,
                    before: None,
                    after: None,
                });
                self.maps.len() - 1
            }
        };
        let maps = &mut self.maps[at];
        *(if before { &mut maps.before } else { &mut maps.after }) = Some(probability);
    }
}
