mod studies;

use super::*;
use crate::pipeline::{Comparer, Cut as PipelineCut, Reference, mask::cut as cut_mask};
use crate::volume::{Grid, Volume};
use crate::web::messages::EngineKind;

/// The page with a desk that answers, driven step by step.
struct Bench {
    state: State,
    effects: Vec<Effect>,
}

impl Bench {
    /// A page whose desk runs and that found one network.
    fn ready() -> Self {
        let mut bench = Self {
            state: State::default(),
            effects: Vec::new(),
        };
        bench.step(Action::ModelsFound(vec![Model {
            path: "models/browser".into(),
            title: "Browser".into(),
            summary: String::new(),
            threshold: Some(0.4),
            ..Model::default()
        }]));
        bench.says(None, FromDesk::Ready);
        bench
    }

    /// With an open FLAIR.
    fn with_flair() -> Self {
        let mut bench = Self::ready();
        bench.pick(Slot::Flair, 1);
        bench.opens(Slot::Flair);
        bench
    }

    /// With a result whose first mask has arrived as wanted.
    fn done() -> Self {
        let mut bench = Self::with_flair();
        bench.step(Action::Segment);
        bench.says(bench.now(), segmented());
        bench.says(bench.now(), FromDesk::Mask(mask(0.4, 3.0)));
        bench
    }

    fn step(&mut self, action: Action) -> &[Effect] {
        self.effects = self.state.step(action);
        &self.effects
    }

    fn says(&mut self, case: Option<u32>, message: FromDesk) -> &[Effect] {
        self.step(Action::Desk { case, message })
    }

    fn now(&self) -> Option<u32> {
        Some(self.state.case)
    }

    fn pick(&mut self, slot: Slot, id: u32) -> &[Effect] {
        self.step(Action::Picked(vec![(slot, card(id))]))
    }

    fn opens(&mut self, slot: Slot) -> &[Effect] {
        self.says(self.now(), FromDesk::Opened { slot, info: info() })
    }

    fn sent(&self) -> Vec<&ToDesk> {
        let sent = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message),
            _ => None,
        });
        sent.collect()
    }

    fn notices(&self) -> Vec<&str> {
        self.state
            .notices
            .iter()
            .map(|notice| notice.text.as_str())
            .collect()
    }
}

fn card(id: u32) -> FileCard {
    FileCard {
        id,
        name: format!("scan{id}.nii.gz"),
    }
}

fn info() -> ScanInfo {
    ScanInfo {
        name: "scan.nii.gz".into(),
        shape: [4, 5, 6],
        spacing: [1.0; 3],
        datatype: "int16".into(),
        orientation: "RAS".into(),
        notes: Vec::new(),
    }
}

fn plan() -> Plan {
    Plan {
        engine: EngineKind::Cpu,
        why: "no GPU".into(),
        workers: 2,
        patch: 48,
        tiles: 8,
        seconds: Some(10.0),
        bytes: 1_000_000,
    }
}

fn segmented() -> FromDesk {
    FromDesk::Segmented {
        plan: plan(),
        seconds: 9.0,
        notes: Vec::new(),
        t1_laid: None,
    }
}

fn mask(threshold: f32, min_lesion_mm3: f64) -> MaskSummary {
    MaskSummary {
        threshold,
        min_lesion_mm3,
        connectivity: Connectivity::Eighteen,
        load_ml: 1.0,
        lesions: Vec::new(),
    }
}

fn progress(stage: &str) -> FromDesk {
    FromDesk::Progress(Progress {
        stage: stage.into(),
        done: 1,
        total: 8,
        seconds_left: Some(8.0),
    })
}

fn failed() -> FromDesk {
    FromDesk::Failed {
        problem: "Not enough memory; choose less overlap.".into(),
    }
}

fn refused(slot: Slot) -> FromDesk {
    FromDesk::Refused {
        slot,
        problem: "This is not a NIfTI file.".into(),
    }
}

#[test]
fn the_way_from_a_file_to_done() {
    let mut bench = Bench::ready();
    assert_eq!(bench.state.status(), "Open a FLAIR scan to begin");
    assert!(!bench.state.can_segment());

    bench.pick(Slot::Flair, 7);
    assert_eq!(bench.sent(), [&ToDesk::Open { slot: Slot::Flair }]);
    assert!(matches!(
        bench.effects[0],
        Effect::Send {
            case: 1,
            file: Some(7),
            ..
        }
    ));
    assert_eq!(bench.state.status(), "Reading the scan");
    assert!(!bench.state.can_segment());

    let effects = bench.opens(Slot::Flair).to_vec();
    assert_eq!(effects[0], Effect::ShowScan(7));
    assert_eq!(bench.sent(), [&ToDesk::Plan(bench.state.settings.clone())]);
    assert_eq!(bench.state.status(), "Ready");

    bench.says(bench.now(), FromDesk::Planned(plan()));
    assert_eq!(bench.state.plan, Planning::Known(plan()));

    bench.step(Action::Segment);
    assert_eq!(bench.sent(), [&ToDesk::Segment(bench.state.settings.clone())]);
    assert!(!bench.state.can_segment());
    bench.says(bench.now(), progress("Segmenting"));
    assert_eq!(bench.state.status(), "Segmenting");

    assert_eq!(bench.says(bench.now(), segmented()), [Effect::ShowProbability]);
    assert_eq!(bench.state.status(), "Cutting the mask");
    assert_eq!(
        bench.says(bench.now(), FromDesk::Mask(mask(0.4, 3.0))),
        [Effect::ShowMask]
    );
    assert_eq!(bench.state.status(), "Done");

    bench.step(Action::Save(Output::Mask));
    assert_eq!(bench.sent(), [&ToDesk::Save(Output::Mask)]);
    let name = "sub-1_mask.nii.gz".to_owned();
    assert_eq!(
        bench.says(bench.now(), FromDesk::Saved { name: name.clone() }),
        [Effect::Download(name)]
    );
}

#[test]
fn nothing_can_be_saved_or_cut_before_there_is_a_result() {
    let mut bench = Bench::with_flair();
    assert_eq!(bench.step(Action::Save(Output::Mask)), []);
    assert_eq!(bench.step(Action::Threshold(0.7)), [Effect::Restyle]);
    assert_eq!(bench.step(Action::MinLesion(9.0)), []);
}

#[test]
fn a_refused_file_leaves_the_page_usable() {
    let mut bench = Bench::ready();
    bench.pick(Slot::Flair, 1);
    let effects = bench.says(bench.now(), refused(Slot::Flair)).to_vec();
    assert!(effects.contains(&Effect::KeepFiles(vec![])));
    assert_eq!(bench.state.status(), "This file cannot be used");
    assert!(matches!(&bench.state.flair, Input::Refused { problem, .. } if problem.contains("NIfTI")));

    bench.pick(Slot::Flair, 2);
    bench.opens(Slot::Flair);
    assert!(bench.state.can_segment());
}

#[test]
fn a_refused_t1_does_not_stand_in_the_way() {
    let mut bench = Bench::with_flair();
    bench.pick(Slot::T1, 2);
    assert!(!bench.state.can_segment());
    bench.says(bench.now(), refused(Slot::T1));
    assert!(bench.state.can_segment());
    assert_eq!(bench.sent(), [&ToDesk::Plan(bench.state.settings.clone())]);
}

#[test]
fn answers_of_an_earlier_case_are_dropped() {
    let mut bench = Bench::ready();
    bench.pick(Slot::Flair, 1);
    let old = bench.now();
    bench.pick(Slot::Flair, 2);
    bench.says(
        old,
        FromDesk::Opened {
            slot: Slot::Flair,
            info: info(),
        },
    );
    assert!(bench.state.flair.is_reading());
    bench.says(old, refused(Slot::Flair));
    assert!(bench.state.flair.is_reading());
    bench.opens(Slot::Flair);
    assert!(bench.state.flair.is_open());

    for stale in [
        FromDesk::Planned(plan()),
        progress("Segmenting"),
        segmented(),
        FromDesk::Mask(mask(0.4, 3.0)),
        FromDesk::Saved { name: "x".into() },
        FromDesk::Cancelled,
        failed(),
    ] {
        let before = bench.state.clone();
        assert_eq!(bench.says(old, stale.clone()), [], "{stale:?}");
        assert_eq!(bench.state, before, "{stale:?}");
    }
}

#[test]
fn flair_and_t1_picked_in_one_breath_are_both_heard() {
    let mut bench = Bench::ready();
    bench.step(Action::Picked(vec![(Slot::Flair, card(1)), (Slot::T1, card(2))]));
    let [flair, t1] = [Some(1), Some(2)];
    bench.says(
        flair,
        FromDesk::Opened {
            slot: Slot::Flair,
            info: info(),
        },
    );
    assert!(bench.state.flair.is_open());
    bench.says(
        t1,
        FromDesk::Opened {
            slot: Slot::T1,
            info: info(),
        },
    );
    assert!(bench.state.t1.is_open() && bench.state.can_segment());
}

#[test]
fn a_run_that_lost_its_scan_is_cancelled_and_its_result_ignored() {
    let mut bench = Bench::with_flair();
    bench.step(Action::Segment);
    let old = bench.now();
    bench.pick(Slot::Flair, 2);
    assert_eq!(
        bench.sent(),
        [&ToDesk::Cancel, &ToDesk::Open { slot: Slot::Flair }]
    );
    assert!(matches!(bench.effects[0], Effect::Send { case, .. } if Some(case) == old));
    bench.says(old, segmented());
    assert_eq!(bench.state.run, Run::Idle);
}

#[test]
fn cancel_is_sent_once_and_ends_the_run() {
    let mut bench = Bench::with_flair();
    assert_eq!(bench.step(Action::Cancel), []);
    bench.step(Action::Segment);
    bench.step(Action::Cancel);
    assert_eq!(bench.sent(), [&ToDesk::Cancel]);
    assert_eq!(bench.state.status(), "Cancelling");
    assert_eq!(bench.step(Action::Cancel), []);
    // A tile may still come in before the desk stops.
    bench.says(bench.now(), progress("Segmenting"));
    assert_eq!(bench.state.status(), "Cancelling");
    bench.says(bench.now(), FromDesk::Cancelled);
    assert_eq!(bench.state.status(), "Cancelled");
    assert!(bench.state.can_segment());
}

#[test]
fn a_result_that_overtakes_cancel_is_kept() {
    let mut bench = Bench::with_flair();
    bench.step(Action::Segment);
    bench.step(Action::Cancel);
    bench.says(bench.now(), segmented());
    bench.says(bench.now(), FromDesk::Cancelled);
    assert!(bench.state.outcome().is_some());
}

#[test]
fn only_the_last_threshold_is_asked_for() {
    let mut bench = Bench::done();
    bench.step(Action::Threshold(0.5));
    assert_eq!(bench.effects[0], Effect::Restyle);
    let first = ToDesk::Cut {
        threshold: 0.5,
        min_lesion_mm3: 3.0,
        connectivity: Connectivity::Eighteen,
    };
    assert_eq!(bench.sent(), [&first]);
    // The slider moves on while the desk cuts.
    for threshold in [0.6, 0.7, 0.8] {
        assert_eq!(bench.step(Action::Threshold(threshold)), [Effect::Restyle]);
    }
    assert_eq!(bench.step(Action::MinLesion(9.0)), []);
    bench.says(bench.now(), FromDesk::Mask(mask(0.5, 3.0)));
    let last = ToDesk::Cut {
        threshold: 0.8,
        min_lesion_mm3: 9.0,
        connectivity: Connectivity::Eighteen,
    };
    assert_eq!(bench.sent(), [&last]);
    assert_eq!(
        bench.says(bench.now(), FromDesk::Mask(mask(0.8, 9.0))),
        [Effect::ShowMask]
    );
    // Back and forth to the same place asks for nothing.
    assert_eq!(bench.step(Action::Threshold(0.8)), [Effect::Restyle]);
}

#[test]
fn the_desk_s_own_first_cut_is_corrected() {
    let mut bench = Bench::with_flair();
    bench.step(Action::Segment);
    bench.says(bench.now(), segmented());
    bench.says(bench.now(), FromDesk::Mask(mask(0.5, 0.0)));
    assert_eq!(
        bench.sent(),
        [&ToDesk::Cut {
            threshold: 0.4,
            min_lesion_mm3: 3.0,
            connectivity: Connectivity::Eighteen
        }]
    );
    // Even if the desk rounds what it was asked for, it is not asked again for the same.
    assert_eq!(
        bench.says(bench.now(), FromDesk::Mask(mask(0.4001, 3.0))),
        [Effect::ShowMask]
    );
}

#[test]
fn a_cut_that_fails_does_not_block_the_next() {
    let mut bench = Bench::done();
    bench.step(Action::Threshold(0.5));
    bench.says(bench.now(), failed());
    assert_eq!(bench.notices().len(), 1);
    bench.step(Action::Threshold(0.6));
    assert_eq!(bench.sent().len(), 1);
    assert_eq!(bench.state.status(), "Done");
}

#[test]
fn a_failed_run_says_why_and_can_be_repeated() {
    let mut bench = Bench::with_flair();
    bench.step(Action::Segment);
    bench.says(bench.now(), failed());
    assert_eq!(bench.state.status(), "Failed");
    assert_eq!(bench.notices(), ["Not enough memory; choose less overlap."]);
    assert!(bench.state.can_segment());
    bench.step(Action::Segment);
    assert!(bench.notices().is_empty());
}

#[test]
fn a_new_flair_does_not_meet_the_last_patient_s_t1() {
    let mut bench = Bench::with_flair();
    bench.pick(Slot::T1, 2);
    bench.opens(Slot::T1);
    bench.pick(Slot::Flair, 3);
    assert_eq!(
        bench.sent(),
        [
            &ToDesk::Clear { slot: Slot::T1 },
            &ToDesk::Open { slot: Slot::Flair }
        ]
    );
    assert_eq!(bench.state.t1, Input::Empty);
    assert!(bench.notices()[0].contains("T1"));
    assert!(bench.effects.contains(&Effect::KeepFiles(vec![3])));
}

#[test]
fn a_t1_that_was_opened_first_is_kept() {
    let mut bench = Bench::ready();
    bench.pick(Slot::T1, 1);
    bench.opens(Slot::T1);
    bench.pick(Slot::Flair, 2);
    assert!(bench.state.t1.is_open());
}

#[test]
fn removing_the_flair_empties_the_viewer() {
    let mut bench = Bench::done();
    let effects = bench.step(Action::Remove(Slot::Flair)).to_vec();
    assert!(effects.contains(&Effect::ClearOverlay));
    assert!(effects.contains(&Effect::ClearViewer));
    assert_eq!(bench.sent(), [&ToDesk::Clear { slot: Slot::Flair }]);
    assert_eq!(bench.state.run, Run::Idle);
    assert_eq!(bench.state.status(), "Open a FLAIR scan to begin");
    assert_eq!(bench.step(Action::Remove(Slot::Flair)), []);
}

#[test]
fn removing_the_t1_on_show_brings_the_flair_back() {
    let mut bench = Bench::with_flair();
    bench.pick(Slot::T1, 2);
    bench.opens(Slot::T1);
    assert_eq!(bench.step(Action::ShowImage(Slot::T1)), [Effect::ShowScan(2)]);
    let effects = bench.step(Action::Remove(Slot::T1)).to_vec();
    assert!(effects.contains(&Effect::ShowScan(1)));
    assert_eq!(bench.state.look.image, Slot::Flair);
    assert_eq!(bench.sent().len(), 2, "cleared, and planned anew: {effects:?}");
}

#[test]
fn a_t1_on_show_moves_to_where_it_was_laid() {
    let laid = Some([
        [1.0, 0.0, 0.0, 2.5],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    for image in [Slot::Flair, Slot::T1] {
        let mut bench = Bench::with_flair();
        bench.pick(Slot::T1, 2);
        bench.opens(Slot::T1);
        bench.step(Action::ShowImage(image));
        bench.step(Action::Segment);
        assert_eq!(bench.state.laid(), None);
        let mut answer = segmented();
        if let FromDesk::Segmented { t1_laid, .. } = &mut answer {
            *t1_laid = laid.map(Box::new);
        }
        let effects = bench.says(bench.now(), answer).to_vec();
        if image == Slot::T1 {
            assert_eq!(effects, [Effect::ShowScan(2), Effect::ShowProbability]);
            assert_eq!(bench.state.laid(), laid.as_ref());
        } else {
            assert_eq!(effects, [Effect::ShowProbability]);
            assert_eq!(bench.state.laid(), None, "the FLAIR stays");
        }
    }
}

#[test]
fn settings_are_planned_at_once_but_not_during_a_run() {
    let mut bench = Bench::with_flair();
    bench.step(Action::ChooseOverlap(0.75));
    assert_eq!(bench.sent(), [&ToDesk::Plan(bench.state.settings.clone())]);
    assert_eq!(bench.state.plan, Planning::Asked);
    bench.step(Action::ChooseEngine(EngineChoice::Use(EngineKind::Cpu)));
    assert_eq!(bench.sent(), [&ToDesk::Plan(bench.state.settings.clone())]);
    bench.step(Action::Segment);
    assert_eq!(bench.step(Action::ChooseRotations(true)), []);
}

#[test]
fn the_model_s_threshold_is_the_start() {
    let bench = Bench::ready();
    assert_eq!(bench.state.settings.model, "models/browser");
    assert_eq!(bench.state.cut.threshold, 0.4);
}

#[test]
fn without_a_network_the_page_says_so() {
    let mut bench = Bench {
        state: State::default(),
        effects: Vec::new(),
    };
    bench.says(None, FromDesk::Ready);
    bench.step(Action::ModelsFound(Vec::new()));
    bench.pick(Slot::Flair, 1);
    bench.opens(Slot::Flair);
    assert_eq!(bench.state.status(), "No network is installed");
    assert!(!bench.state.can_segment());
}

#[test]
fn a_sample_that_comes_too_late_is_ignored() {
    let mut bench = Bench::ready();
    assert_eq!(
        bench.step(Action::OpenSample),
        [Effect::FetchSample(Sample::Small)]
    );
    assert_eq!(bench.state.status(), "Fetching the sample");
    bench.pick(Slot::Flair, 1);
    assert_eq!(
        bench.step(Action::SampleArrived(Sample::Small, vec![(Slot::Flair, card(2))])),
        []
    );

    bench.step(Action::OpenSample);
    bench.step(Action::SampleArrived(
        Sample::Small,
        vec![(Slot::Flair, card(3)), (Slot::T1, card(4))],
    ));
    assert_eq!(bench.state.flair.file(), Some(&card(3)));
    assert_eq!(bench.state.t1.file(), Some(&card(4)));

    bench.step(Action::OpenSample);
    bench.step(Action::SampleFailed("the server answers 404".into()));
    assert!(!bench.state.fetching);
    assert_eq!(bench.notices().len(), 1);
}

#[test]
fn a_desk_that_dies_while_running_is_replaced_and_gets_the_scans_again() {
    let mut bench = Bench::with_flair();
    bench.step(Action::Segment);
    let old = bench.now();
    bench.step(Action::DeskDied("unreachable".into()));
    assert_eq!(bench.effects[0], Effect::RestartDesk);
    assert_eq!(bench.sent(), [&ToDesk::Open { slot: Slot::Flair }]);
    assert_eq!(bench.state.status(), "Starting");
    assert!(bench.notices()[0].contains("memory"));
    bench.says(old, segmented());
    assert!(bench.state.outcome().is_none());
    bench.says(None, FromDesk::Ready);
    bench.opens(Slot::Flair);
    assert_eq!(bench.state.status(), "Failed");
    assert!(bench.state.can_segment());
}

#[test]
fn a_file_that_kills_the_desk_is_not_fed_to_it_again() {
    let mut bench = Bench::ready();
    bench.pick(Slot::Flair, 1);
    bench.step(Action::DeskDied("out of memory".into()));
    assert_eq!(bench.sent(), [] as [&ToDesk; 0]);
    assert!(
        matches!(&bench.state.flair, Input::Refused { problem, .. } if problem.contains("out of memory"))
    );
    bench.says(None, FromDesk::Ready);
    assert_eq!(bench.state.status(), "This file cannot be used");
}

#[test]
fn a_lost_result_is_taken_off_the_screen() {
    let mut bench = Bench::done();
    let effects = bench.step(Action::DeskDied("x".into())).to_vec();
    assert!(effects.contains(&Effect::ClearOverlay));
    assert!(bench.notices()[0].contains("lost"));
}

#[test]
fn a_desk_that_cannot_live_is_given_up() {
    let mut bench = Bench::ready();
    for _ in 0..3 {
        bench.step(Action::DeskDied("x".into()));
        assert!(bench.effects.contains(&Effect::RestartDesk));
    }
    bench.step(Action::DeskDied("x".into()));
    assert!(!bench.effects.contains(&Effect::RestartDesk));
    assert_eq!(bench.state.status(), "Stopped: reload the page");
    assert!(!bench.state.can_segment());
}

#[test]
fn useful_work_forgives_earlier_deaths() {
    let mut bench = Bench::ready();
    for id in 0..10 {
        bench.step(Action::DeskDied("x".into()));
        bench.says(None, FromDesk::Ready);
        bench.pick(Slot::Flair, id);
        bench.opens(Slot::Flair);
    }
    assert_eq!(bench.state.desk, Desk::Ready);
}

#[test]
fn an_image_window_must_be_one() {
    let mut bench = Bench::with_flair();
    bench.step(Action::ViewerShows(Window { low: 0.0, high: 9.0 }));
    for (low, high) in [(5.0, 5.0), (9.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        assert_eq!(bench.step(Action::SetWindow(Window { low, high })), []);
    }
    assert_eq!(
        bench.step(Action::SetWindow(Window { low: 1.0, high: 2.0 })),
        [Effect::Rewindow]
    );
}

#[test]
fn notices_stay_until_dismissed_and_do_not_repeat() {
    let mut bench = Bench::done();
    for _ in 0..3 {
        bench.says(bench.now(), failed());
    }
    bench.says(
        bench.now(),
        FromDesk::EngineChanged {
            engine: EngineKind::Cpu,
            why: "the GPU was lost.".into(),
        },
    );
    assert_eq!(bench.notices().len(), 2);
    let first = bench.state.notices.iter().next().map(|notice| notice.id);
    bench.step(Action::Dismiss(first.unwrap()));
    assert_eq!(
        bench.notices(),
        ["The engine was changed to CPU: the GPU was lost."]
    );
}

/// What the page does with a link, up to the moment at which the sample is open.
fn follow(link: Link) -> Bench {
    let mut bench = Bench {
        state: State::default(),
        effects: Vec::new(),
    };
    let fetched = bench.step(Action::Follow(link)).to_vec();
    assert!(
        fetched.contains(&Effect::FetchSample(Sample::Head)),
        "{fetched:?}"
    );
    bench.step(Action::ModelsFound(vec![Model {
        path: "models/browser".into(),
        title: "Browser".into(),
        summary: String::new(),
        threshold: Some(0.4),
        ..Model::default()
    }]));
    bench.says(None, FromDesk::Ready);
    bench.step(Action::SampleArrived(Sample::Head, vec![(Slot::Flair, card(1))]));
    bench.opens(Slot::Flair);
    bench
}

fn linked(result: bool) -> Link {
    Link {
        sample: Some(Sample::Head),
        result,
        overlap: Some(0.75),
        threshold: Some(0.7),
        ..Link::default()
    }
}

#[test]
fn a_link_to_a_result_opens_its_sample_and_segments_it() {
    let bench = follow(linked(true));
    let asked = bench.sent();
    let segments = |sent: &&ToDesk| matches!(sent, ToDesk::Segment(settings) if settings.overlap == 0.75);
    assert!(asked.iter().any(segments), "{asked:?}");
    assert!(bench.state.is_running());
    // The network recommends 0.4, but the link asked for something else.
    assert_eq!(bench.state.cut.threshold, 0.7);
}

#[test]
fn a_link_to_a_sample_alone_waits_for_the_person() {
    let mut bench = follow(linked(false));
    assert!(!bench.state.is_running());
    assert_eq!(bench.state.link(), linked(false));
    // A person's own scan is in no link, and the sample's result is not asked for any more.
    bench.pick(Slot::Flair, 7);
    bench.opens(Slot::Flair);
    assert_eq!(
        (bench.state.link().sample, bench.state.is_running()),
        (None, false)
    );
}

#[test]
fn a_person_who_does_something_else_is_not_overruled_by_a_link() {
    let mut bench = Bench::ready();
    bench.step(Action::Follow(linked(true)));
    bench.pick(Slot::Flair, 3);
    bench.opens(Slot::Flair);
    assert!(
        !bench.state.is_running(),
        "the link meant the sample, not this scan"
    );
}

#[test]
fn a_link_leaves_out_what_is_as_it_comes() {
    assert_eq!(Bench::done().state.link(), Link::default());
    let mut bench = Bench::with_flair();
    bench.step(Action::Follow(Link {
        network: Some("browser".into()),
        window: Some("uniform".into()),
        ..Link::default()
    }));
    assert_eq!(bench.state.settings.window, "uniform");
    assert_eq!(bench.state.settings.model, "models/browser");
    bench.step(Action::Follow(Link {
        network: Some("unknown".into()),
        ..Link::default()
    }));
    assert_eq!(bench.state.settings.model, "models/browser");
}

/// A mask of one voxel of two beside a reference of the other, cut at 0.4 as [`Bench::done`] is.
fn comparison(connectivity: Connectivity) -> Comparison {
    let grid = Grid {
        shape: [3, 1, 1],
        affine: nalgebra::Matrix4::new_scaling(2.0),
    };
    let probability = Volume {
        grid,
        data: vec![0.9, 0.0, 0.1],
    };
    let reference = Reference {
        voxels: vec![false, false, true],
        notes: Vec::new(),
    };
    let cut = PipelineCut {
        threshold: 0.4,
        min_lesion_mm3: 3.0,
        connectivity,
    };
    let mask = cut_mask(&probability, &cut);
    Comparer::new(&probability, &reference)
        .unwrap()
        .compare(&probability, None, &mask, &cut, &reference)
        .unwrap()
}

fn compared() -> FromDesk {
    FromDesk::Compared(Box::new(comparison(Connectivity::Eighteen)))
}

#[test]
fn a_reference_leaves_case_and_result_alone() {
    let mut bench = Bench::done();
    let case = bench.now();
    bench.step(Action::PickedReference(card(9)));
    assert_eq!(bench.sent(), [&ToDesk::Reference { number: 1 }]);
    assert!(
        bench.effects.contains(&Effect::KeepFiles(vec![1, 9])),
        "{:?}",
        bench.effects
    );
    assert_eq!(bench.now(), case);
    // Nothing is compared with a mask that was not accepted yet.
    assert_eq!(bench.says(case, compared()), []);
    bench.says(
        case,
        FromDesk::ReferenceOpened {
            number: 1,
            info: info(),
        },
    );
    assert!(bench.state.reference.is_open() && bench.state.outcome().is_some());
    assert_eq!(
        bench.says(case, compared()),
        [Effect::ShowComparison, Effect::Restyle]
    );
    assert_eq!(bench.state.look.display, Display::Comparison);
    // Another overlay that the person chose stays.
    bench.step(Action::Show(Display::Probability));
    assert_eq!(bench.says(case, compared()), [Effect::ShowComparison]);
    bench.step(Action::RemoveReference);
    assert!(bench.sent().contains(&&ToDesk::ClearReference));
    assert_eq!(bench.state.outcome().unwrap().comparison, None);
}

#[test]
fn of_two_references_only_the_last_counts() {
    let mut bench = Bench::done();
    bench.step(Action::PickedReference(card(9)));
    bench.step(Action::PickedReference(card(10)));
    bench.says(
        bench.now(),
        FromDesk::ReferenceOpened {
            number: 1,
            info: info(),
        },
    );
    assert!(bench.state.reference.is_reading());
    let problem = "This is no mask.".to_owned();
    bench.says(bench.now(), FromDesk::ReferenceRefused { number: 2, problem });
    assert!(matches!(&bench.state.reference, Input::Refused { name, .. } if name == "scan10.nii.gz"));
    assert_eq!(bench.effects, [Effect::KeepFiles(vec![1])]);
}

#[test]
fn another_flair_ends_the_reference_and_a_dead_desk_does_not() {
    let mut bench = Bench::done();
    bench.step(Action::PickedReference(card(9)));
    bench.says(
        bench.now(),
        FromDesk::ReferenceOpened {
            number: 1,
            info: info(),
        },
    );
    bench.step(Action::DeskDied("memory".into()));
    assert!(
        bench.sent().contains(&&ToDesk::Reference { number: 2 }),
        "{:?}",
        bench.sent()
    );
    bench.pick(Slot::Flair, 3);
    assert_eq!(bench.state.reference, Input::Empty);
    // The handle of the new scan must still be there when it is sent.
    let kept = bench.effects.iter().filter_map(|effect| match effect {
        Effect::KeepFiles(ids) => Some(ids),
        _ => None,
    });
    assert!(
        kept.clone().count() == 1 && kept.clone().all(|ids| ids.contains(&3)),
        "{:?}",
        bench.effects
    );
}

#[test]
fn verdicts_are_those_of_the_mask_on_screen() {
    let mut bench = Bench::done();
    bench.step(Action::PickedReference(card(9)));
    bench.says(
        bench.now(),
        FromDesk::ReferenceOpened {
            number: 1,
            info: info(),
        },
    );
    let of = |connectivity| {
        let comparison = comparison(connectivity);
        Outcome {
            plan: plan(),
            seconds: 1.0,
            notes: Vec::new(),
            t1_laid: None,
            mask: Some(Rc::new(MaskSummary {
                lesions: comparison
                    .missed
                    .iter()
                    .cycle()
                    .take(comparison.verdicts.len())
                    .cloned()
                    .collect(),
                ..mask(0.4, 3.0)
            })),
            comparison: Some(Rc::new(comparison)),
            asked: None,
            waiting: false,
        }
    };
    let fresh = of(Connectivity::Eighteen);
    assert_eq!(fresh.verdicts(), fresh.comparison.as_ref().unwrap().verdicts);
    assert!(of(Connectivity::Six).verdicts().is_empty(), "of another cut");
}

#[test]
fn a_mask_is_corrected_under_a_pen_and_taken_over_or_left() {
    let mut bench = Bench::with_flair();
    assert_eq!(bench.step(Action::StartCorrecting), [], "there is no mask yet");
    let mut bench = Bench::done();
    assert_eq!(bench.step(Action::UndoStroke), []);
    assert_eq!(
        bench.step(Action::StartCorrecting),
        [Effect::StartDrawing, Effect::DrawWith]
    );
    let eraser = Pen {
        tool: Tool::Eraser,
        size: 5,
    };
    assert_eq!(bench.step(Action::DrawWith(eraser)), [Effect::DrawWith]);
    assert_eq!(bench.state.correcting, Some(eraser));
    assert_eq!(bench.step(Action::UndoStroke), [Effect::UndoStroke]);
    assert_eq!(
        bench.step(Action::EndCorrecting(true)),
        [Effect::EndDrawing(true)]
    );
    assert_eq!(bench.state.correcting, None);
    let case = bench.now().unwrap();
    assert_eq!(bench.step(Action::Corrected), [Effect::SendDrawn { case }]);
    // Another scan ends it.
    bench.step(Action::StartCorrecting);
    bench.pick(Slot::Flair, 2);
    assert_eq!(bench.state.correcting, None);
    assert_eq!(bench.step(Action::Corrected), []);
}

#[test]
fn a_result_is_handed_to_training_with_its_mask() {
    let mut bench = Bench::with_flair();
    assert_eq!(bench.step(Action::UseForTraining), []);
    let mut bench = Bench::done();
    bench.step(Action::UseForTraining);
    assert_eq!(bench.sent(), [&ToDesk::HandOver]);
    let name = "sub-01_desc-lesion_mask.nii.gz".to_owned();
    let effects = bench.says(bench.now(), FromDesk::HandedOver { name: name.clone() });
    assert_eq!(effects, [Effect::HandToTraining(name)]);
}

#[test]
fn kept_networks_follow_those_that_ship_and_one_that_is_deleted_is_not_used() {
    let mut bench = Bench::ready();
    let kept = || {
        vec![Model {
            path: "kept/abc".into(),
            title: "Scanner B".into(),
            ..Model::default()
        }]
    };
    bench.step(Action::KeptFound(kept()));
    let paths =
        |bench: &Bench| -> Vec<String> { bench.state.models.iter().map(|m| m.path.clone()).collect() };
    assert_eq!(paths(&bench), ["models/browser", "kept/abc"]);
    bench.step(Action::ChooseModel("kept/abc".into()));
    bench.step(Action::KeptFound(kept()));
    assert_eq!(bench.state.settings.model, "kept/abc");
    bench.step(Action::KeptFound(Vec::new()));
    assert_eq!(bench.state.settings.model, "models/browser");
    assert_eq!(paths(&bench), ["models/browser"]);
}
