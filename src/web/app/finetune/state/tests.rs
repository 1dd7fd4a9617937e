use super::*;
use crate::pipeline::cohort::Role;
use crate::web::messages::EngineKind;
use crate::web::messages::ScanInfo;
use crate::web::messages::finetune::{CaseInfo, FromTuner, TunePlan, TuneStep};

fn card(id: u32, name: &str) -> FileCard {
    FileCard {
        id,
        name: name.into(),
    }
}

fn info() -> CaseInfo {
    CaseInfo {
        flair: ScanInfo {
            name: "x".into(),
            shape: [4; 3],
            spacing: [1.0; 3],
            datatype: "int16".into(),
            orientation: "RAS".into(),
            notes: Vec::new(),
        },
        t1: false,
        lesions: 3,
        load_ml: 1.5,
        warnings: Vec::new(),
        pictures: vec![[4, 4]; 3],
    }
}

fn checks(effects: &[Effect]) -> Vec<(u32, u32, Vec<u32>)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(ToTuner::Check { case, revision, .. }, files) => {
                Some((*case, *revision, files.clone()))
            }
            _ => None,
        })
        .collect()
}

/// Two fit cases, a known network and a desk.
fn ready() -> State {
    let mut state = State::default();
    drop(state.step(Action::DeskReady));
    drop(state.step(Action::Models(vec!["models/a".into(), "models/b".into()])));
    drop(state.step(Action::Added(vec![
        card(1, "c/sub-01_FLAIR.nii.gz"),
        card(2, "c/sub-01_desc-lesion_mask.nii.gz"),
        card(3, "c/sub-02_FLAIR.nii.gz"),
        card(4, "c/sub-02_T1w.nii.gz"),
        card(5, "c/sub-02_desc-lesion_mask.nii.gz"),
    ])));
    for case in [1, 2] {
        let info = info();
        drop(state.step(Action::Desk(FromTuner::Checked {
            case,
            revision: 1,
            info,
        })));
    }
    state
}

fn running() -> State {
    let mut state = ready();
    drop(state.step(Action::GoTo(Stage::Plan)));
    drop(state.step(Action::Start));
    let run = state.run.as_ref().unwrap();
    let how = run.how.clone();
    drop(state.step(Action::Desk(FromTuner::Started {
        how,
        names: vec!["sub-01".into(), "sub-02".into()],
        rounds: 1,
        steps: Vec::new(),
        looks: Vec::new(),
    })));
    state
}

fn point(fold: usize, step: u64) -> TuneStep {
    TuneStep {
        step,
        fold,
        loss: 0.5,
        smoothed: 0.5,
    }
}

#[test]
fn files_become_cases_that_are_checked_at_once() {
    let mut state = State::default();
    let effects = state.step(Action::Added(vec![
        card(1, "sub-01_FLAIR.nii.gz"),
        card(2, "sub-01_desc-lesion_mask.nii.gz"),
        card(3, "sub-02_FLAIR.nii.gz"),
        card(4, "notes.txt"),
    ]));
    assert_eq!(checks(&effects), [(1, 1, vec![1, 2])]);
    let standings: Vec<_> = state.cohort.rows().iter().map(|row| &row.standing).collect();
    assert_eq!(standings, [&Standing::Checking, &Standing::Incomplete]);
    assert_eq!(state.cohort.left().count(), 1);
    // The mask that was missing comes later, and the same FLAIR again.
    let effects = state.step(Action::Added(vec![
        card(5, "sub-02_FLAIR.nii.gz"),
        card(6, "sub-02_desc-lesion_mask.nii.gz"),
    ]));
    assert_eq!(checks(&effects).len(), 1);
    assert_eq!(checks(&effects)[0].2, [3, 6]);
    assert_eq!(state.cohort.rows().len(), 2);
}

#[test]
fn a_pairing_is_corrected_by_hand_and_late_answers_are_dropped() {
    let mut state = ready();
    // The T1 of the second case is taken as its mask.
    let effects = state.step(Action::Assign(2, Role::Mask, Some(4)));
    assert_eq!(checks(&effects), [(2, 2, vec![3, 4])]);
    let row = state.cohort.row(2).unwrap();
    assert_eq!((row.flair, row.t1, row.mask), (Some(3), None, Some(4)));
    assert_eq!(state.cohort.left().next().unwrap().0.id, 5);
    let late = FromTuner::Unfit {
        case: 2,
        revision: 1,
        problem: "old".into(),
    };
    drop(state.step(Action::Desk(late)));
    assert_eq!(state.cohort.row(2).unwrap().standing, Standing::Checking);
    let bad = FromTuner::Unfit {
        case: 2,
        revision: 2,
        problem: "no mask".into(),
    };
    drop(state.step(Action::Desk(bad)));
    assert_eq!(
        state.cohort.row(2).unwrap().standing,
        Standing::Unfit("no mask".into())
    );
    // A bad case does not block the other.
    assert!(state.can_go_to(Stage::Plan));
    assert_eq!(state.cohort.fit().len(), 1);
    let effects = state.step(Action::RemoveCase(2));
    assert!(effects.contains(&Effect::Send(ToTuner::Drop { case: 2 }, Vec::new())));
    assert_eq!(state.cohort.rows().len(), 1);
}

#[test]
fn a_plan_is_asked_for_once_and_an_old_answer_is_no_news() {
    let mut state = ready();
    let effects = state.step(Action::GoTo(Stage::Plan));
    let Some(Effect::Send(ToTuner::Plan { number: 1, how }, _)) = effects.first() else {
        panic!("{effects:?}");
    };
    assert_eq!(how.model, "models/a");
    assert_eq!(how.cases, [1, 2]);
    assert_eq!(how.settings.held_out, crate::pipeline::finetune::HeldOut::Case(1));
    assert_eq!(
        state.step(Action::HoldOut(HeldOutCase::Case(1))),
        [Effect::PlanSoon]
    );
    let effects = state.step(Action::AskPlan);
    assert!(matches!(
        &effects[..],
        [Effect::Send(ToTuner::Plan { number: 2, .. }, _)]
    ));
    let plan = |refusal: Option<&str>| TunePlan {
        engine: EngineKind::Cpu,
        why: String::new(),
        engine_bytes: 1,
        desk_bytes: 1,
        refusal: refusal.map(str::to_owned),
        steps: 10,
        step_seconds: None,
        seconds: None,
    };
    let answer = |number, plan| Action::Desk(FromTuner::Planned { number, plan });
    drop(state.step(answer(1, plan(None))));
    assert_eq!(state.plan, Planning::Asked);
    drop(state.step(answer(2, plan(Some("too large")))));
    assert!(!state.can_start());
    assert_eq!(state.step(Action::Start), []);
    drop(state.step(answer(2, plan(None))));
    assert!(state.can_start());
    // Minutes mean nothing before a step was timed.
    drop(state.step(Action::Budget(Budget::Minutes(5.0))));
    assert!(!state.can_start());
    let timed = TunePlan {
        step_seconds: Some(0.5),
        ..plan(None)
    };
    drop(state.step(answer(2, timed)));
    assert!(state.can_start());
}

#[test]
fn pause_go_and_stop_only_when_they_mean_something() {
    let mut state = running();
    assert_eq!(state.stage, Stage::Watch);
    assert_eq!(state.step(Action::Go), []);
    assert_eq!(
        state.step(Action::Pause),
        [Effect::Send(ToTuner::Pause, Vec::new())]
    );
    assert_eq!(state.step(Action::Pause), []);
    drop(state.step(Action::Desk(FromTuner::Paused)));
    assert_eq!(state.run.as_ref().unwrap().pace, Pace::Paused);
    assert_eq!(state.step(Action::Go), [Effect::Send(ToTuner::Go, Vec::new())]);
    assert_eq!(
        state.step(Action::Stop),
        [Effect::Send(ToTuner::Stop, Vec::new())]
    );
    assert_eq!(state.run.as_ref().unwrap().pace, Pace::Stopping);
    // The cohort belongs to the run.
    assert_eq!(state.step(Action::RemoveCase(1)), []);
    assert_eq!(state.cohort.rows().len(), 2);
}

#[test]
fn steps_that_were_lost_are_done_again_and_a_fold_starts_anew() {
    let mut state = running();
    let tell = |points: Vec<TuneStep>| {
        Action::Desk(FromTuner::Steps {
            points,
            seconds_left: None,
        })
    };
    drop(state.step(tell((1..=5).map(|step| point(0, step)).collect())));
    drop(state.step(Action::Desk(FromTuner::Saved { step: 5 })));
    assert_eq!(state.run.as_ref().unwrap().saved, Some(5));
    drop(state.step(tell(vec![point(0, 4), point(0, 5), point(0, 6)])));
    let steps =
        |state: &State| -> Vec<u64> { state.run.as_ref().unwrap().steps.iter().map(|p| p.step).collect() };
    assert_eq!(steps(&state), [1, 2, 3, 4, 5, 6]);
    drop(state.step(tell(vec![point(1, 1)])));
    assert_eq!(steps(&state), [1]);
}

#[test]
fn a_dead_desk_is_replaced_and_the_run_offered_again() {
    let mut state = running();
    let effects = state.step(Action::DeskDied("out of memory".into()));
    assert_eq!(effects, [Effect::RestartDesk]);
    assert_eq!(state.run.as_ref().unwrap().pace, Pace::Broken);
    assert!(state.words.back().unwrap().text.contains("out of memory"));
    assert_eq!(
        state.step(Action::DeskReady),
        [Effect::Send(ToTuner::Recall, Vec::new())]
    );
    let interrupted = Interrupted {
        cases: vec!["sub-01".into(), "sub-02".into()],
        step: 25,
        steps: 300,
    };
    drop(state.step(Action::Desk(FromTuner::Interrupted(Some(interrupted)))));
    let effects = state.step(Action::Resume);
    assert!(effects.contains(&Effect::Send(ToTuner::Resume, Vec::new())));
    assert_eq!(state.run.as_ref().unwrap().pace, Pace::Starting);
    drop(state.step(Action::Desk(FromTuner::Restored {
        case: 1,
        name: "sub-01".into(),
        info: info(),
    })));
    assert_eq!(state.cohort.fit().len(), 1);
    for _ in 0..MOST_DEATHS {
        drop(state.step(Action::DeskDied("again".into())));
    }
    assert_eq!(state.desk, Desk::Gone);
}

#[test]
fn without_a_desk_in_between_the_cases_are_read_again() {
    let mut state = ready();
    let effects = state.step(Action::DeskDied("gone".into()));
    assert_eq!(effects[0], Effect::RestartDesk);
    assert_eq!(checks(&effects).len(), 2);
}

#[test]
fn a_name_is_needed_to_keep_a_network() {
    let mut state = running();
    assert_eq!(state.step(Action::Keep("  ".into())), []);
    assert!(state.words.back().unwrap().bad);
    let effects = state.step(Action::Keep(" Scanner B ".into()));
    let name = "Scanner B".to_owned();
    assert_eq!(effects, [Effect::Send(ToTuner::Keep { name }, Vec::new())]);
}
