//! What the desk says.

use super::{Effect, Pace, Planning, Run, Stage, Standing, State};
use crate::web::messages::finetune::FromTuner;

impl State {
    pub(super) fn hear(&mut self, message: FromTuner) -> Vec<Effect> {
        match message {
            FromTuner::Models(_) => vec![Effect::ModelsChanged],
            FromTuner::Interrupted(run) => {
                if !self.is_running() {
                    self.interrupted = run;
                }
                Vec::new()
            }
            FromTuner::Checked { case, revision, info } => {
                self.deaths = 0;
                if self.cohort.learn(case, revision, Standing::Fit(Box::new(info))) {
                    let mut effects = vec![Effect::ShowCase(case)];
                    if self.stage == Stage::Plan {
                        effects.push(Effect::PlanSoon);
                    }
                    return effects;
                }
                Vec::new()
            }
            FromTuner::Restored { case, name, info } => {
                self.cohort.restore(case, name, info);
                vec![Effect::ShowCase(case)]
            }
            FromTuner::Unfit {
                case,
                revision,
                problem,
            } => {
                self.cohort.learn(case, revision, Standing::Unfit(problem));
                Vec::new()
            }
            FromTuner::Planned { number, plan } if number == self.form_number => {
                self.plan = Planning::Known(plan);
                Vec::new()
            }
            FromTuner::NoPlan { number, problem } if number == self.form_number => {
                self.plan = Planning::Impossible(problem);
                Vec::new()
            }
            FromTuner::Planned { .. } | FromTuner::NoPlan { .. } => Vec::new(),
            FromTuner::NotSaved { problem } => {
                self.with_run(|run| run.not_saved = Some(problem));
                Vec::new()
            }
            FromTuner::EngineChanged { engine, why } => {
                let name = crate::web::app::words::engine(engine);
                self.say(false, format!("The engine was changed to {name}: {why}"))
            }
            FromTuner::Failed { problem } => {
                self.with_run(|run| run.pace = Pace::Broken);
                let mut effects = self.say(true, problem);
                // There may be a checkpoint to go on from.
                effects.extend(self.send(crate::web::messages::finetune::ToTuner::Recall));
                effects
            }
            FromTuner::Refused { problem } => self.say(true, problem),
            FromTuner::Kept { key } => {
                self.kept = Some(key);
                self.interrupted = None;
                Vec::new()
            }
            FromTuner::Discarded => {
                // A desk that was started anew has not read them yet.
                let unread = self.run.take().is_some_and(|run| run.pace == Pace::Broken);
                self.kept = None;
                self.interrupted = None;
                self.stage = Stage::Cohort;
                if unread {
                    self.cohort.check_again()
                } else {
                    Vec::new()
                }
            }
            FromTuner::Forgotten => {
                self.interrupted = None;
                self.say(
                    false,
                    "Everything that this browser kept for this page was deleted.",
                )
            }
            FromTuner::Files { names } => vec![Effect::Download(names)],
            FromTuner::Ended {
                record,
                choices,
                pictures,
            } => {
                self.deaths = 0;
                self.with_run(|run| {
                    run.pace = Pace::Ended;
                    run.record = Some(record);
                    run.choices = choices;
                    run.patches = None;
                });
                if self.run.is_some() {
                    self.stage = Stage::Decide;
                }
                if pictures.is_empty() {
                    Vec::new()
                } else {
                    vec![Effect::ShowOutcome]
                }
            }
            watched => self.watch(watched),
        }
    }

    fn with_run(&mut self, change: impl FnOnce(&mut Run)) {
        if let Some(run) = &mut self.run {
            change(run);
        }
    }

    /// What is said while a run goes on.
    fn watch(&mut self, message: FromTuner) -> Vec<Effect> {
        let Some(run) = &mut self.run else {
            return Vec::new();
        };
        match message {
            FromTuner::Started {
                how,
                names,
                rounds,
                steps,
                looks,
            } => {
                run.how = how;
                run.names = names;
                run.rounds = rounds;
                run.saved = steps.last().map(|point| point.step);
                run.steps = steps;
                run.looks = looks;
                if matches!(run.pace, Pace::Starting | Pace::Broken) {
                    run.pace = Pace::Going;
                }
                Vec::new()
            }
            FromTuner::Stage(words) => {
                run.stage = words;
                run.patches = None;
                Vec::new()
            }
            FromTuner::Patches { done, total } => {
                run.patches = Some((done, total));
                Vec::new()
            }
            FromTuner::Steps { points, seconds_left } => {
                run.patches = None;
                run.seconds_left = seconds_left;
                for point in points {
                    // Another fold starts anew, and steps that were lost are done again.
                    let fold = run.steps.last().map(|last| last.fold);
                    if fold.is_some_and(|fold| fold != point.fold) {
                        run.steps.clear();
                        run.looks.clear();
                    }
                    while run.steps.last().is_some_and(|last| last.step >= point.step) {
                        run.steps.pop();
                    }
                    run.steps.push(point);
                }
                self.deaths = 0;
                Vec::new()
            }
            FromTuner::Looked { look, picture } => {
                run.patches = None;
                run.looks
                    .retain(|known| known.fold == look.fold && known.step < look.step);
                run.looks.push(look);
                picture.map(Effect::ShowLook).into_iter().collect()
            }
            FromTuner::Saved { step } => {
                run.saved = Some(step);
                run.not_saved = None;
                Vec::new()
            }
            FromTuner::Paused => {
                if matches!(run.pace, Pace::Pausing | Pace::Going) {
                    run.pace = Pace::Paused;
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}
