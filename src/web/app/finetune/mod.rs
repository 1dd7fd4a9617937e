//! The view "Fine-tune": cases in, a run, a verdict, a network of one's own.
//!
//! It has a desk of its own (the same program as Segment's), so that training and segmenting do not disturb each other.

mod chart;
mod cohort;
mod decide;
mod models;
mod picture;
mod plan;
pub mod state;
mod watch;

use std::collections::HashMap;
use std::rc::Rc;

use gloo_timers::callback::Timeout;
use js_sys::{Array, ArrayBuffer, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{DragEvent, File};
use yew::prelude::*;

use super::desk::{DeskLink, Event as DeskEvent};
use super::files;
use super::state::{FileCard, Model};
use crate::web::channel::Parcel;
use crate::web::messages::finetune::{FromTuner, KeptModel};
use crate::web::messages::{FromDesk, ToDesk};
use picture::Pixels;
use state::{Action, Effect, Pace, Stage, State};

/// A case from Segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Handed {
    /// Counted up with every case.
    pub(super) number: u32,
    pub(super) flair: File,
    pub(super) t1: Option<File>,
    pub(super) mask: File,
}

#[derive(Properties, PartialEq)]
pub(super) struct FinetuneProps {
    /// Whether this view is shown.
    pub(super) shown: bool,
    /// The networks that a run can start from.
    pub(super) models: Vec<Model>,
    /// The newest case from Segment.
    pub(super) handed: Option<Handed>,
    /// The kept models changed.
    pub(super) kept: Callback<Vec<KeptModel>>,
    /// A run goes on, or not any more: a word for the tab's title.
    pub(super) title: Callback<Option<String>>,
}

/// What every stage needs.
#[derive(Properties, PartialEq, Clone)]
struct StageProps {
    /// What the page knows.
    state: Rc<State>,
    /// Pictures of cases and results.
    pixels: Rc<Pictures>,
    /// Networks to start from.
    models: Vec<Model>,
    /// How to tell it something.
    act: Callback<Action>,
    /// Files were chosen.
    choose: Callback<(Purpose, Vec<File>)>,
}

/// What chosen files are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The cohort.
    Cohort,
    /// A network.
    Import,
}

/// The pictures on show.
#[derive(Clone, Debug, PartialEq, Default)]
struct Pictures {
    /// Of the cases: axial, coronal, sagittal.
    cases: HashMap<u32, Vec<Pixels>>,
    /// The held-out case at the last look.
    look: Option<Pixels>,
    /// The held-out case before and after.
    outcome: Vec<Pixels>,
}

pub(super) enum Msg {
    Act(Action),
    Chosen(Purpose, Vec<(String, File)>),
    Dragging(bool),
    Desk(DeskEvent),
}

/// The whole view.
pub(super) struct Finetune {
    state: Rc<State>,
    desk: Option<DeskLink>,
    pictures: Rc<Pictures>,
    /// The browser's handles of the chosen files.
    files: HashMap<u32, File>,
    last_file: u32,
    plan_soon: Option<Timeout>,
    dragging: bool,
    handed: u32,
}

/// Milliseconds for which the plan must be still before its cost is asked for.
const PLAN_REST_MS: u32 = 400;

#[wasm_bindgen(module = "/www/dropped.js")]
extern "C" {
    /// The files of a drop, folders and all: `[path, File]` pairs.
    #[wasm_bindgen(js_name = droppedFiles)]
    fn dropped_files(event: &DragEvent) -> Promise;
}

impl Component for Finetune {
    type Message = Msg;
    type Properties = FinetuneProps;

    fn create(ctx: &Context<Self>) -> Self {
        let mut view = Self {
            state: Rc::default(),
            desk: None,
            pictures: Rc::default(),
            files: HashMap::new(),
            last_file: 0,
            plan_soon: None,
            dragging: false,
            handed: 0,
        };
        view.start_desk(ctx);
        view.know(ctx);
        view
    }

    fn changed(&mut self, ctx: &Context<Self>, _: &FinetuneProps) -> bool {
        self.know(ctx);
        true
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Act(action) => self.act(ctx, action, &[], None),
            Msg::Chosen(purpose, files) => {
                let cards: Vec<FileCard> = files
                    .into_iter()
                    .map(|(path, file)| self.keep(path, file))
                    .collect();
                if !cards.is_empty() {
                    let action = match purpose {
                        Purpose::Cohort => Action::Added(cards),
                        Purpose::Import => Action::Import(cards),
                    };
                    self.act(ctx, action, &[], None);
                }
            }
            Msg::Dragging(dragging) => {
                if self.dragging == dragging {
                    return false;
                }
                self.dragging = dragging;
            }
            Msg::Desk(DeskEvent::Said(Parcel { message, buffers, .. })) => match message {
                FromDesk::Ready => self.act(ctx, Action::DeskReady, &[], None),
                FromDesk::Tune(message) => {
                    let copy = (*message).clone();
                    self.act(ctx, Action::Desk(*message), &buffers, Some(&copy));
                }
                _ => return false,
            },
            Msg::Desk(DeskEvent::Died(why)) => self.act(ctx, Action::DeskDied(why), &[], None),
            Msg::Desk(DeskEvent::Garbled(error)) => {
                self.act(ctx, Action::ChannelFailed(error.to_string()), &[], None);
            }
        }
        true
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let props = ctx.props();
        let link = ctx.link();
        let state = &self.state;
        let act = link.callback(Msg::Act);
        let choose = link.callback(|(purpose, files): (Purpose, Vec<File>)| {
            Msg::Chosen(
                purpose,
                files.into_iter().map(|file| (path_of(&file), file)).collect(),
            )
        });
        let stage = StageProps {
            state: state.clone(),
            pixels: self.pictures.clone(),
            models: props.models.clone(),
            act: act.clone(),
            choose,
        };
        // The page's own listener keeps the browser from opening the file.
        let over = link.callback(|_: DragEvent| Msg::Dragging(true));
        let leave = link.batch_callback(|event: DragEvent| {
            event.related_target().is_none().then_some(Msg::Dragging(false))
        });
        let drop = {
            let (dragging, chosen) = (
                link.callback(Msg::Dragging),
                link.callback(|files| Msg::Chosen(Purpose::Cohort, files)),
            );
            Callback::from(move |event: DragEvent| {
                dragging.emit(false);
                // At once: the browser empties the list when this handler returns.
                let listing = JsFuture::from(dropped_files(&event));
                let chosen = chosen.clone();
                spawn_local(async move {
                    // What cannot be listed was no file.
                    let listed = listing.await.unwrap_or_default();
                    chosen.emit(
                        Array::from(&listed)
                            .iter()
                            .filter_map(|pair| path_and_file(&pair))
                            .collect(),
                    );
                });
            })
        };
        html! {
            <main
                id="content"
                class="finetune"
                tabindex="-1"
                hidden={!props.shown}
                ondragover={over}
                ondragleave={leave}
                ondrop={drop}
            >
                <header>
                    <h2>{ "Fine-tune on your own cases" }</h2>
                    <p class="hint">
                        { "Three to ten annotated scans of your scanner adapt a network to it. Everything happens in this \
                           browser; no scan leaves the computer. Research use only." }
                    </p>
                    { steps(state, &act) }
                </header>
                { words(state, &act) }
                { resume(state, &act) }
                { match state.stage {
                    Stage::Cohort => html! { <cohort::CohortStage ..stage.clone() /> },
                    Stage::Plan => html! { <plan::PlanStage ..stage.clone() /> },
                    Stage::Watch => html! { <watch::WatchStage ..stage.clone() /> },
                    Stage::Decide => html! { <decide::DecideStage ..stage.clone() /> },
                } }
                if matches!(state.stage, Stage::Cohort | Stage::Decide) {
                    <models::KeptModels ..stage />
                }
                <div class="drop-here" hidden={!self.dragging} aria-hidden="true">
                    <p>{ "Drop scans and their masks, or a folder of them" }</p>
                </div>
            </main>
        }
    }
}

impl Finetune {
    /// Takes over what the rest of the page says.
    fn know(&mut self, ctx: &Context<Self>) {
        let props = ctx.props();
        let models: Vec<String> = props.models.iter().map(|model| model.path.clone()).collect();
        self.act(ctx, Action::Models(models), &[], None);
        if let Some(handed) = props.handed.clone().filter(|handed| handed.number != self.handed) {
            self.handed = handed.number;
            let name = format!("from Segment {}", handed.number);
            let flair = self.keep(handed.flair.name(), handed.flair);
            let t1 = handed.t1.map(|file| self.keep(file.name(), file));
            let mask = self.keep(handed.mask.name(), handed.mask);
            self.act(ctx, Action::Handed(name, flair, t1, mask), &[], None);
        }
    }

    fn act(
        &mut self,
        ctx: &Context<Self>,
        action: Action,
        buffers: &[ArrayBuffer],
        said: Option<&FromTuner>,
    ) {
        let effects = Rc::make_mut(&mut self.state).step(action);
        for effect in effects {
            self.perform(ctx, effect, buffers, said);
        }
        let run = self.state.run.as_ref().filter(|run| run.is_live());
        ctx.props().title.emit(run.map(|run| match run.pace {
            Pace::Paused => "Paused".to_owned(),
            _ => format!("Step {} of {}", run.step(), run.how.settings.steps),
        }));
    }

    fn perform(
        &mut self,
        ctx: &Context<Self>,
        effect: Effect,
        buffers: &[ArrayBuffer],
        said: Option<&FromTuner>,
    ) {
        match effect {
            Effect::Send(message, ids) => {
                let mut parcel = Parcel::new(ToDesk::Tune(message));
                for id in ids {
                    if let Some(file) = self.files.get(&id) {
                        parcel = parcel.with_file(file.clone());
                    }
                }
                if let Some(Err(error)) = self.desk.as_ref().map(|desk| desk.send(parcel)) {
                    ctx.link().send_message(Msg::Desk(DeskEvent::Garbled(error)));
                }
            }
            Effect::RestartDesk => self.start_desk(ctx),
            Effect::KeepFiles(ids) => {
                self.files.retain(|id, _| ids.contains(id));
                let rows = self.state.cohort.rows();
                let pictures = Rc::make_mut(&mut self.pictures);
                pictures
                    .cases
                    .retain(|id, _| rows.iter().any(|row| row.id == *id));
            }
            Effect::PlanSoon => {
                let link = ctx.link().clone();
                self.plan_soon = Some(Timeout::new(PLAN_REST_MS, move || {
                    link.send_message(Msg::Act(Action::AskPlan));
                }));
            }
            Effect::ShowCase(case) => {
                let sizes = self.state.cohort.row(case).and_then(|row| row.info());
                let sizes = sizes.map(|info| info.pictures.clone()).unwrap_or_default();
                let drawn = Pixels::all(&sizes, buffers);
                Rc::make_mut(&mut self.pictures).cases.insert(case, drawn);
            }
            Effect::ShowLook(size) => {
                Rc::make_mut(&mut self.pictures).look = Pixels::all(&[size], buffers).pop();
            }
            Effect::ShowOutcome => {
                if let Some(FromTuner::Ended { pictures, .. }) = said {
                    Rc::make_mut(&mut self.pictures).outcome = Pixels::all(pictures, buffers);
                }
            }
            Effect::Download(names) => {
                for (name, bytes) in names.iter().zip(buffers) {
                    if let Err(problem) = files::download(name, bytes) {
                        ctx.link().send_message(Msg::Act(Action::ChannelFailed(problem)));
                    }
                }
            }
            Effect::ModelsChanged => {
                if let Some(FromTuner::Models(models)) = said {
                    ctx.props().kept.emit(models.clone());
                }
            }
        }
    }

    fn start_desk(&mut self, ctx: &Context<Self>) {
        // The old one ends first: two would not fit into memory beside each other.
        self.desk = None;
        match DeskLink::start_named("tuning desk", ctx.link().callback(Msg::Desk)) {
            Ok(desk) => self.desk = Some(desk),
            Err(why) => ctx.link().send_message(Msg::Desk(DeskEvent::Died(why))),
        }
    }

    fn keep(&mut self, name: String, file: File) -> FileCard {
        self.last_file += 1;
        let card = FileCard {
            id: self.last_file,
            name,
        };
        self.files.insert(card.id, file);
        card
    }
}

/// The path below the chosen folder, or the name alone.
fn path_of(file: &File) -> String {
    js_sys::Reflect::get(file, &"webkitRelativePath".into())
        .ok()
        .and_then(|path| path.as_string())
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| file.name())
}

fn path_and_file(pair: &JsValue) -> Option<(String, File)> {
    let pair: &Array = pair.dyn_ref()?;
    Some((pair.get(0).as_string()?, pair.get(1).dyn_into().ok()?))
}

/// Where a person is, and where they can go.
fn steps(state: &State, act: &Callback<Action>) -> Html {
    html! {
        <ol class="stages" aria-label="Stages">
            { for Stage::ALL.into_iter().enumerate().map(|(number, stage)| {
                let here = (state.stage == stage).then_some("step");
                html! {
                    <li>
                        <button
                            type="button"
                            aria-current={here}
                            disabled={!state.can_go_to(stage)}
                            onclick={act.reform(move |_| Action::GoTo(stage))}
                        >
                            <span class="number" aria-hidden="true">{ number + 1 }</span>
                            { stage.name() }
                        </button>
                    </li>
                }
            }) }
        </ol>
    }
}

fn words(state: &State, act: &Callback<Action>) -> Html {
    html! {
        <>
            { for state.words.iter().enumerate().map(|(number, word)| html! {
                <div class={classes!("said-here", word.bad.then_some("bad"))} role={if word.bad { "alert" } else { "status" }}>
                    <p>{ &word.text }</p>
                    if number == 0 {
                        <button
                            type="button"
                            class="icon remove"
                            aria-label="Dismiss"
                            title="Dismiss"
                            onclick={act.reform(|_| Action::Dismiss)}
                        />
                    }
                </div>
            }) }
        </>
    }
}

/// The offer to go on with a run that was interrupted.
fn resume(state: &State, act: &Callback<Action>) -> Html {
    let Some(run) = state.interrupted.as_ref().filter(|_| !state.is_running()) else {
        return Html::default();
    };
    html! {
        <section class="card resume" aria-label="Interrupted run">
            <p>
                { format!(
                    "A run on {} was interrupted at step {} of {}. Its checkpoint and its scans are in this browser's \
                     own storage.",
                    super::words::counted(run.cases.len(), "case"),
                    run.step,
                    run.steps,
                ) }
            </p>
            <div class="row">
                <button type="button" class="primary" onclick={act.reform(|_| Action::Resume)}>{ "Go on with it" }</button>
                <button type="button" onclick={act.reform(|_| Action::Discard)}>{ "Discard it" }</button>
            </div>
        </section>
    }
}
