//! "Explore" with a scan, and batches.

use super::*;
use crate::pipeline::fusion::Layer;
use crate::web::studies::{Look, MemberCurves, Seen, Told, What};

fn study(action: StudyAction) -> Action {
    Action::Study(action)
}

fn batch(action: BatchAction) -> Action {
    Action::Batch(action)
}

fn curves(path: &str) -> MemberCurves {
    MemberCurves {
        path: path.into(),
        levels: Vec::new(),
        ranked: None,
    }
}

fn looks(bench: &Bench) -> Vec<Look> {
    let look = |message: &&ToDesk| match message {
        ToDesk::Look(look) => Some(look.clone()),
        _ => None,
    };
    bench.sent().iter().filter_map(look).collect()
}

fn seen(look: &Look) -> FromDesk {
    FromDesk::Seen(Box::new(Seen {
        look: look.clone(),
        pictures: Vec::new(),
        value: None,
        highest: 1.0,
        told: Told::Result,
    }))
}

/// Two networks, the larger beta first, and a family that has run.
fn family() -> Bench {
    let mut bench = Bench::ready();
    bench.state.models.clear();
    let model = |path: &str, beta| Model {
        path: path.into(),
        card: Rc::new(ModelCard {
            beta: Some(beta),
            ..ModelCard::default()
        }),
        ..Model::default()
    };
    bench.step(Action::ModelsFound(vec![
        model("models/b3", 3.0),
        model("models/b1", 1.0),
    ]));
    bench.pick(Slot::Flair, 1);
    bench.opens(Slot::Flair);
    bench.step(study(StudyAction::Show(Some(Drawing::Family))));
    bench.step(study(StudyAction::RunFamily));
    bench
}

#[test]
fn a_family_runs_by_rising_beta_and_is_then_drawn() {
    let mut bench = family();
    let [ToDesk::Family { members, settings }] = bench.sent()[..] else {
        panic!("{:?}", bench.effects)
    };
    let paths: Vec<_> = members.iter().map(|kin| kin.path.as_str()).collect();
    assert_eq!(paths, ["models/b1", "models/b3"]);
    assert!(!settings.compare_windows);
    assert!(!bench.state.can_segment(), "one run at a time");
    bench.says(bench.now(), progress("Segmenting, network 1 of 2"));
    assert_eq!(bench.state.status(), "Segmenting, network 1 of 2");
    bench.says(
        bench.now(),
        FromDesk::Family(vec![curves("models/b1"), curves("models/b3")]),
    );
    assert!(bench.state.can_segment());
    let [
        Look {
            place: None,
            what: What::Family(look),
        },
    ] = &looks(&bench)[..]
    else {
        panic!("{:?}", bench.effects)
    };
    assert_eq!((look.member, look.with), (1, Some(0)));
    // While a drawing is on its way, only the last wish is kept.
    for member in [1, 0, 1] {
        assert!(
            looks(&{
                bench.step(study(StudyAction::Member(member)));
                Bench {
                    state: bench.state.clone(),
                    effects: bench.effects.clone(),
                }
            })
            .is_empty()
        );
    }
    bench.step(Action::Threshold(0.9));
    let first = Look {
        place: None,
        what: What::Result,
    };
    bench.says(bench.now(), seen(&first));
    let next = looks(&bench);
    let [
        Look {
            what: What::Family(look),
            ..
        },
    ] = &next[..]
    else {
        panic!("{:?}", bench.effects)
    };
    assert_eq!((look.member, look.cut.threshold), (1, 0.9));
    bench.says(bench.now(), seen(&next[0]));
    assert!(looks(&bench).is_empty(), "nothing more was wanted");
}

#[test]
fn a_plan_that_a_run_dropped_is_asked_for_again() {
    for end in [
        FromDesk::Family(vec![curves("models/b1"), curves("models/b3")]),
        FromDesk::Cancelled,
    ] {
        let mut bench = family();
        assert_eq!(bench.state.plan, Planning::Asked);
        bench.says(bench.now(), end);
        assert!(
            bench
                .sent()
                .iter()
                .any(|message| matches!(message, ToDesk::Plan(_))),
            "{:?}",
            bench.effects
        );
        // Without it nobody knows the patch, and the tiles cannot be drawn.
        bench.says(bench.now(), FromDesk::Unseen);
        bench.step(study(StudyAction::Show(Some(Drawing::Fusion))));
        assert!(looks(&bench).is_empty());
        bench.says(bench.now(), FromDesk::Planned(plan()));
        assert_eq!(looks(&bench).len(), 1);
    }
}

#[test]
fn a_drawing_that_came_to_nothing_does_not_block_the_next() {
    let mut bench = family();
    bench.says(
        bench.now(),
        FromDesk::Family(vec![curves("models/b1"), curves("models/b3")]),
    );
    bench.says(bench.now(), FromDesk::Unseen);
    assert!(bench.sent().is_empty());
    bench.step(study(StudyAction::Member(1)));
    assert_eq!(looks(&bench).len(), 1);
}

#[test]
fn another_scan_forgets_the_family_and_a_reference_is_compared_with_first() {
    let mut bench = family();
    bench.step(Action::PickedReference(card(9)));
    bench.says(
        bench.now(),
        FromDesk::ReferenceOpened {
            number: 1,
            info: info(),
        },
    );
    bench.says(
        bench.now(),
        FromDesk::Family(vec![curves("models/b1"), curves("models/b3")]),
    );
    assert_eq!(bench.state.study.with, With::Reference);
    bench.pick(Slot::Flair, 2);
    assert!(bench.state.study.members.is_empty());
    assert_eq!(
        bench.state.study.drawing,
        Some(Drawing::Family),
        "the person is still there"
    );
    bench.opens(Slot::Flair);
    assert!(looks(&bench).is_empty(), "there is nothing to draw");
}

#[test]
fn a_family_can_be_stopped_and_can_fail() {
    let mut bench = family();
    bench.step(Action::Cancel);
    assert_eq!(bench.sent(), [&ToDesk::Cancel]);
    assert_eq!(bench.state.status(), "Cancelling");
    bench.says(bench.now(), FromDesk::Cancelled);
    assert!(bench.state.can_segment());
    bench.step(study(StudyAction::RunFamily));
    bench.says(
        bench.now(),
        FromDesk::Failed {
            problem: "no memory".into(),
        },
    );
    assert!(bench.state.can_segment() && bench.notices() == ["no memory"]);
    bench.step(study(StudyAction::RunFamily));
    bench.step(Action::DeskDied("killed".into()));
    assert!(!bench.state.study.is_running());
    assert!(bench.notices()[0].contains("killed"));
}

#[test]
fn tiles_are_drawn_before_a_run_and_disagreement_after_it() {
    let mut bench = Bench::with_flair();
    bench.says(bench.now(), FromDesk::Planned(plan()));
    bench.step(study(StudyAction::Show(Some(Drawing::Fusion))));
    let [
        Look {
            what: What::Fusion(look),
            ..
        },
    ] = &looks(&bench)[..]
    else {
        panic!("{:?}", bench.effects)
    };
    assert_eq!((look.patch, look.layer), (48, Layer::Weights));
    bench.step(study(StudyAction::RunWindows));
    let [ToDesk::Segment(settings)] = bench.sent()[..] else {
        panic!("{:?}", bench.effects)
    };
    assert!(settings.compare_windows);
    assert!(!bench.state.settings.compare_windows, "only this run");
    bench.says(bench.now(), segmented());
    bench.says(bench.now(), FromDesk::Mask(mask(0.4, 3.0)));
    bench.says(bench.now(), FromDesk::Fused);
    assert!(bench.state.study.fused);
    assert_eq!(bench.state.study.layer, Layer::Disagreement);
}

/// Takes the batch through one scan that goes well.
fn goes_well(bench: &mut Bench, load_ml: f64) {
    bench.opens(Slot::Flair);
    assert!(
        matches!(bench.sent().last(), Some(ToDesk::Segment(_))),
        "{:?}",
        bench.effects
    );
    bench.says(bench.now(), segmented());
    bench.says(
        bench.now(),
        FromDesk::Mask(MaskSummary {
            load_ml,
            ..mask(0.4, 3.0)
        }),
    );
    assert!(
        matches!(bench.sent()[..], [ToDesk::Save(Output::Summary)]),
        "{:?}",
        bench.effects
    );
    let name = "scan_desc-lesion_summary.csv".to_owned();
    assert_eq!(
        bench.says(bench.now(), FromDesk::Saved { name }),
        [Effect::CollectLine]
    );
    bench.step(batch(BatchAction::Line(format!(
        "load_ml,lesions\r\n{load_ml},0\r\n"
    ))));
}

#[test]
fn a_batch_goes_on_past_a_scan_that_cannot_be_used() {
    let mut bench = Bench::ready();
    bench.step(batch(BatchAction::Take(vec![card(1), card(2), card(3)])));
    assert_eq!(bench.effects, [Effect::KeepFiles(vec![1, 2, 3])]);
    bench.step(batch(BatchAction::Start));
    goes_well(&mut bench, 1.5);
    let problem = "no \"NIfTI\"".to_owned();
    bench.says(
        bench.now(),
        FromDesk::Refused {
            slot: Slot::Flair,
            problem,
        },
    );
    assert!(matches!(bench.state.batch.items[1].fate, Fate::Failed(_)));
    goes_well(&mut bench, 2.5);
    assert!(!bench.state.batch.is_running());
    assert_eq!(bench.state.batch.finished(), 3);
    let csv = "scan,error,load_ml,lesions\r\n1,,1.5,0\r\n2,\"no \"\"NIfTI\"\"\",,\r\n3,,2.5,0\r\n";
    assert_eq!(bench.state.batch.csv(), csv);
    bench.step(batch(BatchAction::WithNames(true)));
    assert!(bench.state.batch.csv().contains("\r\n3,\"scan3.nii.gz\",,2.5,0"));
    let saved = bench.step(batch(BatchAction::Save));
    assert!(matches!(saved, [Effect::DownloadText(name, _)] if name == "lesions_batch.csv"));
}

#[test]
fn a_batch_pairs_t1s_by_name_and_stops_when_asked() {
    let mut bench = Bench::ready();
    let named = |id, name: &str| FileCard {
        id,
        name: name.into(),
    };
    bench.step(batch(BatchAction::Take(vec![
        named(1, "sub-02_FLAIR.nii.gz"),
        named(2, "sub-01_T1w.nii.gz"),
        named(3, "sub-01_FLAIR.nii.gz"),
        named(4, "sub-01_mask.nii.gz"),
    ])));
    let items: Vec<_> = bench
        .state
        .batch
        .items
        .iter()
        .map(|item| (item.flair.id, item.t1.as_ref().map(|t1| t1.id)))
        .collect();
    assert_eq!(items, [(3, Some(2)), (1, None)]);
    bench.step(batch(BatchAction::Start));
    bench.opens(Slot::Flair);
    bench.step(batch(BatchAction::Stop));
    assert!(!bench.state.batch.is_running());
    assert_eq!(bench.state.batch.items[0].fate, Fate::Waiting);
    // Going on begins with the scan that was stopped; a person who opens another one ends the batch.
    bench.step(batch(BatchAction::Start));
    assert!(bench.state.batch.is_running());
    bench.pick(Slot::Flair, 7);
    assert!(!bench.state.batch.is_running());
}
