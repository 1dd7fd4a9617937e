//! The page's root: carries out what the state machine asks for.

use std::collections::HashMap;
use std::rc::Rc;

use gloo_events::{EventListener, EventListenerOptions};
use gloo_timers::callback::Timeout;
use js_sys::{Array, ArrayBuffer, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{DragEvent, File, HtmlCanvasElement, HtmlElement};
use yew::prelude::*;

use super::about::About;
use super::address::{Address, View};
use super::comparison::ComparisonPanel;
use super::desk::{DeskLink, Event as DeskEvent};
use super::explore::{Paper, Point};
use super::lesions::LesionTable;
use super::notices::NoticeList;
use super::result::ResultPanel;
use super::run::RunPanel;
use super::scans::ScanPanel;
use super::stage::Stage;
use super::state::{Action, Effect, FileCard, Sample, State, Window};
use super::theme::Theme;
use super::view::ViewPanel;
use super::viewer::{Location, OnLocation, OnWindow, Viewer};
use super::{files, guess};
use crate::web::channel::{Parcel, words};
use crate::web::messages::Slot;

/// What every panel needs.
#[derive(Properties, PartialEq, Clone)]
pub(super) struct PanelProps {
    /// What the page knows.
    pub(super) state: Rc<State>,
    /// How to tell it something.
    pub(super) act: Callback<Action>,
}

/// Milliseconds for which the state must be still before it is written to the address: browsers allow only so many
/// changes of it in a while, and a slider makes dozens a second.
const ADDRESS_REST_MS: u32 = 300;

/// What happens to the page.
pub(super) enum Msg {
    Act(Action),
    Chosen(Slot, File),
    ChosenReference(File),
    Dropped(Vec<File>),
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
}

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
    /// Where the drawings of the loss stand.
    point: Point,
    /// Writes the address when the state has been still for a while.
    write_address: Option<Timeout>,
    theme: Theme,
    dragging: bool,
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
            point: Point::default(),
            write_address: None,
            theme: Theme::remembered(),
            dragging: false,
            _listeners: listeners(ctx),
            on_location,
            on_window,
        };
        page.start_desk(ctx);
        page.follow_address(ctx);
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
                self.drop_files(ctx, dropped);
            }
            Msg::Dragging(dragging) => {
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
                self.write_address = None;
                write_hash(&self.address(self.view).hash());
                return false;
            }
            Msg::NextTheme => {
                self.theme = self.theme.next();
                self.theme.apply();
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
        let tab = |view: View, words: &'static str| {
            let here = (self.view == view).then_some("page");
            html! { <a href={self.address(view).hash()} aria-current={here}>{ words }</a> }
        };
        let main = if self.view == View::Segment {
            "controls"
        } else {
            "content"
        };
        let skip = Callback::from(move |event: MouseEvent| {
            // The address names the view; following this link would change it.
            event.prevent_default();
            let document = web_sys::window().and_then(|window| window.document());
            let target = document.and_then(|document| document.get_element_by_id(main));
            if let Some(target) = target.and_then(|target| target.dyn_into::<HtmlElement>().ok()) {
                drop(target.focus());
            }
        });
        let theme = self.theme.name();
        html! {
            <>
                <header class="top">
                    <a class="skip" href={format!("#{main}")} onclick={skip}>
                        { if self.view == View::Segment { "Skip to the controls" } else { "Skip to the content" } }
                    </a>
                    <h1>{ "Equipoise" }</h1>
                    <p class="tagline">{ "MS lesion segmentation in your browser" }</p>
                    <nav aria-label="Views">
                        { tab(View::Segment, "Segment") }
                        { tab(View::Explore, "Explore") }
                        { tab(View::About, "About") }
                    </nav>
                    <button
                        type="button"
                        class={classes!("icon", format!("theme-{theme}"))}
                        onclick={link.callback(|_| Msg::NextTheme)}
                        aria-label={format!("Colours: {theme}")}
                        title={format!("Colours: {theme}")}
                    />
                </header>
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
                        <ViewPanel state={state.clone()} act={act.clone()} />
                    </section>
                </main>
                if self.view == View::Explore {
                    <Paper point={self.point} moved={link.callback(Msg::Drawn)} />
                }
                if self.view == View::About {
                    <About models={state.models.clone()} />
                }
                <NoticeList state={state.clone()} {act} />
                <div class="drop-here" hidden={!self.dragging} aria-hidden="true">
                    <p>{ "Drop a FLAIR, or a FLAIR and its T1" }</p>
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
    /// Takes a step and does what it asks for; `buffers` came with the desk's message, if that is what it was.
    fn act(&mut self, ctx: &Context<Self>, action: Action, buffers: &[ArrayBuffer]) {
        let effects = Rc::make_mut(&mut self.state).step(action);
        for effect in effects {
            self.perform(ctx, effect, buffers);
        }
        self.write_address_soon(ctx);
        // Whoever works in another tab sees there how far it is.
        if let Some(document) = web_sys::window().and_then(|window| window.document()) {
            document.set_title(&super::words::title(&self.state.run));
        }
    }

    fn perform(&mut self, ctx: &Context<Self>, effect: Effect, buffers: &[ArrayBuffer]) {
        match effect {
            Effect::Send { case, message, file } => {
                let mut parcel = Parcel::new(message).for_case(Some(case));
                if let Some(file) = file.and_then(|id| self.files.get(&id)) {
                    parcel = parcel.with_file(file.clone());
                }
                if let Some(Err(error)) = self.desk.as_ref().map(|desk| desk.send(parcel)) {
                    ctx.link().send_message(Msg::Desk(DeskEvent::Garbled(error)));
                }
            }
            Effect::RestartDesk => self.start_desk(ctx),
            Effect::KeepFiles(ids) => self.files.retain(|id, _| ids.contains(id)),
            Effect::FetchSample(sample) => {
                let done = ctx.link().callback(move |files| Msg::Fetched(sample, files));
                spawn_local(async move { done.emit(files::sample(sample).await) });
            }
            Effect::FetchReference(sample) => {
                let done = ctx.link().callback(Msg::FetchedReference);
                spawn_local(async move { done.emit(files::sample_reference(sample).await) });
            }
            Effect::Download(name) => {
                let saved = buffers
                    .first()
                    .ok_or_else(|| "it came without its bytes".to_owned())
                    .and_then(|bytes| files::download(&name, bytes));
                if let Err(problem) = saved {
                    ctx.link().send_message(Msg::Act(Action::ChannelFailed(problem)));
                }
            }
            drawing => self.draw(ctx, drawing, buffers),
        }
    }

    /// Carries out what concerns the viewer.
    fn draw(&mut self, ctx: &Context<Self>, effect: Effect, buffers: &[ArrayBuffer]) {
        let Some(viewer) = &self.viewer else {
            return;
        };
        let look = &self.state.look;
        match (effect, buffers.first()) {
            (Effect::ShowScan(id), _) => {
                if let Some(file) = self.files.get(&id) {
                    report_window(ctx, viewer.show_scan(file));
                }
            }
            (Effect::ShowProbability, Some(bytes)) => report_failure(ctx, viewer.show_probability(bytes)),
            (Effect::ShowMask, Some(bytes)) => report_failure(ctx, viewer.show_mask(bytes)),
            (Effect::ShowComparison, Some(bytes)) => report_failure(ctx, viewer.show_comparison(bytes)),
            (Effect::GoTo([x, y, z]), _) => drop(viewer.go_to(x, y, z)),
            (Effect::Restyle, _) => {
                drop(viewer.style(look.display, look.opacity, self.state.cut.threshold));
            }
            (Effect::Rewindow, _) => {
                if let Some(Window { low, high }) = look.window {
                    drop(viewer.window(low, high));
                }
            }
            (Effect::Rearrange, _) => drop(viewer.layout(look.layout, look.radiological)),
            (Effect::ClearOverlay, _) => drop(viewer.clear_overlay()),
            (Effect::ClearViewer, _) => {
                drop(viewer.clear());
                self.crosshair = None;
            }
            _ => {}
        }
    }

    /// The address of a view as things stand.
    fn address(&self, view: View) -> Address {
        match view {
            View::Segment => Address::Segment(self.state.link()),
            View::Explore => Address::Explore(self.point),
            View::About => Address::About,
        }
    }

    /// Shows what the address asks for.
    fn follow_address(&mut self, ctx: &Context<Self>) {
        let hash = web_sys::window().and_then(|window| window.location().hash().ok());
        let Some(wanted) = Address::read(&hash.unwrap_or_default()) else {
            return;
        };
        let view = wanted.view();
        // What we wrote ourselves, and links that only change the view, say nothing new.
        let news = wanted != self.address(view);
        self.view = view;
        match wanted {
            Address::Segment(link) if news => self.act(ctx, Action::Follow(link), &[]),
            Address::Explore(point) => self.point = point,
            Address::Segment(_) | Address::About => {}
        }
    }

    fn write_address_soon(&mut self, ctx: &Context<Self>) {
        let link = ctx.link().clone();
        // The timer before, if one runs, is dropped and with it cancelled.
        self.write_address = Some(Timeout::new(ADDRESS_REST_MS, move || {
            link.send_message(Msg::WriteAddress);
        }));
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
            None => self.act(ctx, Action::DroppedTooMany(dropped.len()), &[]),
        }
    }
}

/// Files can be dropped anywhere; the address chooses the view.
fn listeners(ctx: &Context<Page>) -> Vec<EventListener> {
    let Some(window) = web_sys::window() else {
        return Vec::new();
    };
    let link = ctx.link();
    let on = |kind: &'static str, handle: Callback<DragEvent>| {
        // Not passive: without `preventDefault` the browser would leave the page and open the file.
        EventListener::new_with_options(
            &window,
            kind,
            EventListenerOptions::enable_prevent_default(),
            move |event| {
                if let Some(event) = event.dyn_ref::<DragEvent>() {
                    event.prevent_default();
                    handle.emit(event.clone());
                }
            },
        )
    };
    let address = link.callback(|()| Msg::Address);
    vec![
        on(
            "dragover",
            link.callback(|event| Msg::Dragging(has_files(&event))),
        ),
        // Leaving the window, not merely an element of it.
        on(
            "dragleave",
            link.batch_callback(|event: DragEvent| {
                event.related_target().is_none().then_some(Msg::Dragging(false))
            }),
        ),
        on(
            "drop",
            link.callback(|event: DragEvent| Msg::Dropped(dropped_files(&event))),
        ),
        EventListener::new(&window, "hashchange", move |_| address.emit(())),
    ]
}

/// Puts a hash into the address without a step in the browser's history.
fn write_hash(hash: &str) {
    let Some(location) = web_sys::window().map(|window| window.location()) else {
        return;
    };
    let now = location.hash().unwrap_or_default();
    // An address without a hash is that of the first view as it comes.
    let same =
        now == hash || (now.is_empty() && hash == Address::Segment(super::state::Link::default()).hash());
    if !same {
        drop(location.replace(hash));
    }
}

fn has_files(event: &DragEvent) -> bool {
    event
        .data_transfer()
        .is_some_and(|data| data.types().includes(&"Files".into(), 0))
}

fn dropped_files(event: &DragEvent) -> Vec<File> {
    let list = event.data_transfer().and_then(|data| data.files());
    list.map(|list| (0..list.length()).filter_map(|i| list.get(i)).collect())
        .unwrap_or_default()
}

/// Tells the state machine when the viewer fails.
fn report_failure(ctx: &Context<Page>, task: Promise) {
    let act = ctx.link().callback(Msg::Act);
    spawn_local(async move {
        if let Err(error) = JsFuture::from(task).await {
            act.emit(Action::ViewerFailed(words(&error)));
        }
    });
}

/// Tells the state machine which window the viewer chose for a scan.
fn report_window(ctx: &Context<Page>, task: Promise) {
    let act = ctx.link().callback(Msg::Act);
    spawn_local(async move {
        act.emit(match JsFuture::from(task).await {
            Ok(window) => {
                let window = Array::from(&window);
                let [low, high] = [0, 1].map(|i| window.get(i).as_f64().unwrap_or(f64::NAN));
                Action::ViewerShows(Window { low, high })
            }
            Err(error) => Action::ViewerFailed(words(&error)),
        });
    });
}
