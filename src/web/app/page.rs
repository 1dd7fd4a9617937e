//! The page's root: holds the state, draws the views, hears the browser.

mod follow;
mod perform;
mod window;

use std::collections::HashMap;
use std::rc::Rc;

use gloo_events::EventListener;
use gloo_timers::callback::Timeout;
use js_sys::ArrayBuffer;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{File, HtmlCanvasElement};
use yew::prelude::*;

use super::about::About;
use super::address::{Topic, View};
use super::batch::BatchPanel;
use super::comparison::ComparisonPanel;
use super::desk::{DeskLink, Event as DeskEvent};
use super::explore::{Fusion, OnAScan, Paper, Pixels, Point, Topics};
use super::finetune::{Finetune, Handed};
use super::header::Header;
use super::lesions::LesionTable;
use super::notices::NoticeList;
use super::offline::{self, Offline, UpdateNotice};
use super::print::{PrintSheet, Printable};
use super::result::ResultPanel;
use super::run::RunPanel;
use super::scans::ScanPanel;
use super::stage::Stage;
use super::state::{Action, BatchAction, FileCard, Sample, State, Window};
use super::theme::Theme;
use super::view::ViewPanel;
use super::viewer::{Location, OnLocation, OnWindow, Viewer};
use super::{files, guess};
use crate::web::channel::Parcel;
use crate::web::messages::finetune::{FromTuner, KeptModel};
use crate::web::messages::{FromDesk, Slot};
use perform::report_failure;

/// What every panel needs.
#[derive(Properties, PartialEq, Clone)]
pub(super) struct PanelProps {
    /// What the page knows.
    pub(super) state: Rc<State>,
    /// How to tell it something.
    pub(super) act: Callback<Action>,
}

/// What happens to the page.
pub(super) enum Msg {
    Act(Action),
    Chosen(Slot, File),
    ChosenReference(File),
    Dropped(Vec<File>),
    ChosenBatch(Vec<File>),
    Dragging(bool),
    FetchedReference(Result<File, String>),
    Fetched(Sample, Result<Vec<(Slot, File)>, String>),
    Desk(DeskEvent),
    Crosshair(Option<Location>),
    Step(i32, i32, i32),
    /// The point of the drawings moved.
    Drawn(Point),
    /// The address changed, by a person or by us.
    Address,
    /// It is time to write the address.
    WriteAddress,
    NextTheme,
    /// The person corrected the mask: its voxels.
    Corrected(ArrayBuffer),
    /// The models that this browser keeps.
    Kept(Vec<KeptModel>),
    /// How far a fine-tuning run is, for the tab's title.
    Tuning(Option<String>),
    Offline(Offline),
    /// A report is ready to be laid out.
    Print(Printable),
    /// It is laid out.
    PrintNow,
}

/// Milliseconds from the layout of a report to its printing.
const PRINT_AFTER_MS: u32 = 150;

/// The whole page.
pub(super) struct Page {
    state: Rc<State>,
    desk: Option<DeskLink>,
    viewer: Option<Viewer>,
    canvas: NodeRef,
    crosshair: Option<Location>,
    /// The browser's handles of the chosen files, by the numbers that the state machine knows.
    files: HashMap<u32, File>,
    last_file: u32,
    view: View,
    /// The part of "Explore" on show, or shown last.
    topic: Topic,
    /// The newest pictures for it.
    pixels: Option<Rc<Pixels>>,
    /// The report that was printed last.
    printable: Option<Printable>,
    /// Where the drawings of the loss stand.
    point: Point,
    /// Writes the address when the state has been still for a while.
    write_address: Option<Timeout>,
    /// The address's hash as it was last read or written here.
    hash: String,
    theme: Theme,
    offline: Offline,
    dragging: bool,
    /// Fine-tuning was opened, and stays: a run goes on while another view is shown.
    finetune: bool,
    /// The newest case for it from Segment.
    handed: Option<Handed>,
    tuning: Option<String>,
    _listeners: Vec<EventListener>,
    on_location: OnLocation,
    on_window: OnWindow,
}

impl Component for Page {
    type Message = Msg;
    type Properties = ();

    fn create(ctx: &Context<Self>) -> Self {
        let link = ctx.link();
        let crosshair = link.callback(Msg::Crosshair);
        let on_location = Closure::new(move |x, y, z, intensity, overlay: f64| {
            crosshair.emit(Some(Location {
                mm: [x, y, z],
                intensity,
                overlay: (!overlay.is_nan()).then_some(overlay),
            }));
        });
        let windowed = link.callback(Msg::Act);
        let on_window = Closure::new(move |low, high| {
            windowed.emit(Action::ViewerWindowed(Window { low, high }));
        });
        {
            let act = link.callback(Msg::Act);
            spawn_local(async move { act.emit(Action::ModelsFound(files::models().await)) });
        }
        let mut page = Self {
            state: Rc::default(),
            desk: None,
            viewer: None,
            canvas: NodeRef::default(),
            crosshair: None,
            files: HashMap::new(),
            last_file: 0,
            view: View::default(),
            topic: Topic::default(),
            pixels: None,
            printable: None,
            point: Point::default(),
            write_address: None,
            hash: String::new(),
            theme: Theme::remembered(),
            offline: Offline::default(),
            dragging: false,
            finetune: false,
            handed: None,
            tuning: None,
            _listeners: window::listeners(ctx),
            on_location,
            on_window,
        };
        page.start_desk(ctx);
        page.follow_address(ctx);
        offline::start(ctx.link().callback(Msg::Offline));
        page
    }

    fn update(&mut self, ctx: &Context<Self>, msg: Msg) -> bool {
        match msg {
            Msg::Act(action) => self.act(ctx, action, &[]),
            Msg::Chosen(slot, file) => {
                let card = self.keep(file);
                self.act(ctx, Action::Picked(vec![(slot, card)]), &[]);
            }
            Msg::ChosenReference(file) | Msg::FetchedReference(Ok(file)) => {
                let card = self.keep(file);
                self.act(ctx, Action::PickedReference(card), &[]);
            }
            Msg::FetchedReference(Err(problem)) => self.act(ctx, Action::SampleFailed(problem), &[]),
            Msg::Dropped(dropped) => {
                self.dragging = false;
                if self.view != View::Finetune {
                    self.drop_files(ctx, dropped);
                }
            }
            Msg::ChosenBatch(files) => self.take_batch(ctx, files),
            Msg::Dragging(dragging) => {
                // That view takes drops itself.
                let dragging = dragging && self.view != View::Finetune;
                if self.dragging == dragging {
                    return false;
                }
                self.dragging = dragging;
            }
            Msg::Fetched(sample, Ok(fetched)) => {
                let cards = fetched
                    .into_iter()
                    .map(|(slot, file)| (slot, self.keep(file)))
                    .collect();
                self.act(ctx, Action::SampleArrived(sample, cards), &[]);
            }
            Msg::Fetched(_, Err(problem)) => self.act(ctx, Action::SampleFailed(problem), &[]),
            Msg::Desk(DeskEvent::Said(Parcel {
                message: FromDesk::Tune(message),
                ..
            })) => {
                if let FromTuner::Models(models) = *message {
                    self.know_kept(ctx, &models);
                }
            }
            Msg::Corrected(voxels) => self.act(ctx, Action::Corrected, &[voxels]),
            Msg::Kept(models) => self.know_kept(ctx, &models),
            Msg::Tuning(words) => {
                if self.tuning != words {
                    self.tuning = words;
                    self.entitle();
                }
                return false;
            }
            Msg::Desk(DeskEvent::Said(Parcel {
                message,
                buffers,
                case,
                ..
            })) => self.act(ctx, Action::Desk { case, message }, &buffers),
            Msg::Desk(DeskEvent::Died(why)) => self.act(ctx, Action::DeskDied(why), &[]),
            Msg::Desk(DeskEvent::Garbled(error)) => {
                self.act(ctx, Action::ChannelFailed(error.to_string()), &[]);
            }
            Msg::Crosshair(location) => self.crosshair = location,
            Msg::Step(right, front, top) => {
                if let Some(viewer) = &self.viewer {
                    drop(viewer.step(right, front, top));
                }
                return false;
            }
            Msg::Drawn(point) => {
                self.point = point;
                self.write_address_soon(ctx);
            }
            Msg::Address => self.follow_address(ctx),
            Msg::WriteAddress => {
                self.write_address();
                return false;
            }
            Msg::NextTheme => {
                self.theme = self.theme.next();
                self.theme.apply();
            }
            Msg::Offline(offline) => self.offline = offline,
            Msg::Print(printable) => {
                self.printable = Some(printable);
                let link = ctx.link().clone();
                // Canvases are painted and pictures decoded by then.
                Timeout::new(PRINT_AFTER_MS, move || link.send_message(Msg::PrintNow)).forget();
            }
            Msg::PrintNow => {
                // A browser that does not print tells the person itself.
                drop(web_sys::window().map(|window| window.print()));
                return false;
            }
        }
        true
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let link = ctx.link();
        let state = &self.state;
        let act = link.callback(Msg::Act);
        let choose = link.callback(|(slot, file)| Msg::Chosen(slot, file));
        let choose_reference = link.callback(Msg::ChosenReference);
        let step = link.callback(|(right, front, top)| Msg::Step(right, front, top));
        let addresses = View::ALL.map(|view| (view, self.address(view).hash()));
        html! {
            <>
                <Header
                    view={self.view}
                    addresses={addresses.to_vec()}
                    theme={self.theme}
                    next_theme={link.callback(|_| Msg::NextTheme)}
                />
                <main class={classes!("bench", state.flair.file().is_none().then_some("empty"))} hidden={self.view != View::Segment}>
                    <div class="seen">
                        <Stage
                            state={state.clone()}
                            act={act.clone()}
                            canvas={self.canvas.clone()}
                            crosshair={self.crosshair}
                            {step}
                        />
                        <LesionTable state={state.clone()} act={act.clone()} />
                    </div>
                    <section id="controls" class="panel" aria-label="Controls" tabindex="-1">
                        <ScanPanel state={state.clone()} act={act.clone()} {choose} {choose_reference} />
                        <RunPanel state={state.clone()} act={act.clone()} />
                        <ResultPanel state={state.clone()} act={act.clone()} />
                        <ComparisonPanel state={state.clone()} act={act.clone()} />
                        <BatchPanel
                            panel={PanelProps { state: state.clone(), act: act.clone() }}
                            choose={link.callback(Msg::ChosenBatch)}
                        />
                        <ViewPanel state={state.clone()} act={act.clone()} />
                    </section>
                </main>
                if self.finetune {
                    <Finetune
                        shown={self.view == View::Finetune}
                        models={state.models.clone()}
                        handed={self.handed.clone()}
                        kept={link.callback(Msg::Kept)}
                        title={link.callback(Msg::Tuning)}
                    />
                }
                if self.view == View::Explore {
                    { self.explore(ctx, &act) }
                }
                if self.view == View::About {
                    <About models={state.models.clone()} offline={self.offline} />
                }
                if let Some(printable) = &self.printable { <PrintSheet printable={printable.clone()} /> }
                <UpdateNotice offline={self.offline} />
                <NoticeList state={state.clone()} {act} />
                <div class="drop-here" hidden={!self.dragging} aria-hidden="true">
                    <p>{ "Drop a FLAIR, a FLAIR and its T1, or many scans" }</p>
                </div>
            </>
        }
    }

    fn rendered(&mut self, ctx: &Context<Self>, first: bool) {
        if !first {
            return;
        }
        let Some(canvas) = self.canvas.cast::<HtmlCanvasElement>() else {
            return;
        };
        let viewer = Viewer::new(&canvas, &self.on_location, &self.on_window);
        report_failure(ctx, viewer.ready());
        self.viewer = Some(viewer);
    }

    fn destroy(&mut self, _: &Context<Self>) {
        if let Some(viewer) = &self.viewer {
            drop(viewer.dispose());
        }
    }
}

impl Page {
    fn explore(&self, ctx: &Context<Self>, act: &Callback<Action>) -> Html {
        let panel = PanelProps {
            state: self.state.clone(),
            act: act.clone(),
        };
        let addresses = Topic::ALL.map(|topic| (topic, self.explored(topic).hash()));
        html! {
            <main id="content" class="explore" tabindex="-1">
                <Topics topic={self.topic} addresses={addresses.to_vec()} />
                { match self.topic {
                    Topic::Paper => html! { <Paper point={self.point} moved={ctx.link().callback(Msg::Drawn)} /> },
                    Topic::Scan => html! { <OnAScan {panel} pixels={self.pixels.clone()} /> },
                    Topic::Fusion => html! { <Fusion {panel} pixels={self.pixels.clone()} /> },
                } }
            </main>
        }
    }

    /// Takes a step and does what it asks for; `buffers` came with the desk's message, if that is what it was.
    fn act(&mut self, ctx: &Context<Self>, action: Action, buffers: &[ArrayBuffer]) {
        let effects = Rc::make_mut(&mut self.state).step(action);
        for effect in effects {
            self.perform(ctx, effect, buffers);
        }
        self.write_address_soon(ctx);
        self.entitle();
    }

    /// Whoever works in another tab sees there how far it is.
    fn entitle(&self) {
        let Some(document) = web_sys::window().and_then(|window| window.document()) else {
            return;
        };
        match &self.tuning {
            Some(words) if !self.state.is_running() => document.set_title(&format!("{words} · Equipoise")),
            _ => document.set_title(&super::words::title(&self.state.run)),
        }
    }

    /// Takes over the models that this browser keeps.
    fn know_kept(&mut self, ctx: &Context<Self>, models: &[KeptModel]) {
        let kept = models.iter().filter_map(files::kept).collect();
        self.act(ctx, Action::KeptFound(kept), &[]);
    }

    fn start_desk(&mut self, ctx: &Context<Self>) {
        // The old one ends first: two would not fit into memory beside each other.
        self.desk = None;
        match DeskLink::start(ctx.link().callback(Msg::Desk)) {
            Ok(desk) => self.desk = Some(desk),
            Err(why) => ctx.link().send_message(Msg::Desk(DeskEvent::Died(why))),
        }
    }

    fn keep(&mut self, file: File) -> FileCard {
        self.last_file += 1;
        let card = FileCard {
            id: self.last_file,
            name: file.name(),
        };
        self.files.insert(card.id, file);
        card
    }

    fn take_batch(&mut self, ctx: &Context<Self>, files: Vec<File>) {
        let cards = files.into_iter().map(|file| self.keep(file)).collect();
        self.act(ctx, Action::Batch(BatchAction::Take(cards)), &[]);
    }

    fn drop_files(&mut self, ctx: &Context<Self>, dropped: Vec<File>) {
        let names: Vec<String> = dropped.iter().map(File::name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match guess::assign(&names) {
            Some(slots) => {
                let cards = slots
                    .into_iter()
                    .zip(dropped)
                    .map(|(slot, file)| (slot, self.keep(file)))
                    .collect();
                self.act(ctx, Action::Picked(cards), &[]);
            }
            None if dropped.is_empty() => {}
            None => self.take_batch(ctx, dropped),
        }
    }
}
