//! The inputs: FLAIR, T1 and the samples.

use std::rc::Rc;

use web_sys::{File, HtmlInputElement};
use yew::prelude::*;

use super::controls::{select, target};
use super::state::{Action, Input, Sample, State};
use super::words;
use crate::web::messages::Slot;

#[derive(Properties, PartialEq)]
pub(super) struct ScanProps {
    pub(super) state: Rc<State>,
    pub(super) act: Callback<Action>,
    /// A file was chosen for an input.
    pub(super) choose: Callback<(Slot, File)>,
    /// A reference mask was chosen.
    pub(super) choose_reference: Callback<File>,
}

/// Where scans are opened.
#[component]
pub(super) fn ScanPanel(props: &ScanProps) -> Html {
    let state = &props.state;
    let chosen = props.act.reform(|key: String| {
        Action::ChooseSample(if key == "head" {
            Sample::Head
        } else {
            Sample::Small
        })
    });
    let samples = vec![
        ("small".into(), "Small block".into()),
        ("head".into(), "Whole head".into()),
    ];
    let sample = match state.sample {
        Sample::Small => "small",
        Sample::Head => "head",
    };
    html! {
        <section class="card" aria-labelledby="scans-title">
            <h2 id="scans-title">{ "Scans" }</h2>
            { scan(props, Slot::Flair, "FLAIR", "flair") }
            { scan(props, Slot::T1, "T1 (optional)", "t1") }
            if state.flair.is_open() {
                { input(
                    &state.reference,
                    "Reference mask (optional)",
                    "reference",
                    &props.choose_reference,
                    props.act.reform(|_| Action::RemoveReference),
                ) }
                if state.shown_sample.is_some() && state.reference.file().is_none() {
                    <button type="button" onclick={props.act.reform(|_| Action::OpenSampleReference)}>
                        { "Compare with the sample’s own lesions" }
                    </button>
                }
            }
            <div class="row sample">
                { select("Sample", sample, samples, false, chosen) }
                <button type="button" onclick={props.act.reform(|_| Action::OpenSample)} disabled={state.fetching}>
                    { "Open sample" }
                </button>
            </div>
        </section>
    }
}

fn scan(props: &ScanProps, slot: Slot, label: &'static str, id: &'static str) -> Html {
    let choose = props.choose.reform(move |file| (slot, file));
    let remove = props.act.reform(move |_| Action::Remove(slot));
    input(props.state.input(slot), label, id, &choose, remove)
}

fn input(
    state: &Input,
    label: &'static str,
    id: &'static str,
    choose: &Callback<File>,
    remove: Callback<MouseEvent>,
) -> Html {
    let onchange = {
        let choose = choose.clone();
        Callback::from(move |event: Event| {
            let Some(input) = target::<HtmlInputElement>(&event) else {
                return;
            };
            if let Some(file) = input.files().and_then(|files| files.get(0)) {
                choose.emit(file);
            }
            // Choosing the same file again must be heard too.
            input.set_value("");
        })
    };
    let (class, name) = match state {
        Input::Empty => ("scan empty", None),
        Input::Refused { name, .. } => ("scan refused", Some(name)),
        Input::Reading { file, .. } => ("scan reading", Some(&file.name)),
        Input::Open { file, .. } => ("scan open", Some(&file.name)),
    };
    let about = format!("{id}-about");
    html! {
        <div {class}>
            <div class="pick">
                <label for={id}>{ label }</label>
                if let Some(name) = name {
                    <span id={format!("{id}-name")} class="name" title={name.clone()}>{ name }</span>
                } else {
                    <span class="hint">{ "Choose or drop .nii or .nii.gz" }</span>
                }
                <input type="file" {id} accept=".nii,.gz,.nii.gz" aria-describedby={about.clone()} {onchange} />
            </div>
            if name.is_some() {
                <button
                    type="button"
                    class="icon remove"
                    aria-label="Remove"
                    aria-describedby={format!("{id}-name")}
                    title="Remove"
                    onclick={remove}
                />
            }
            <div id={about} class="about-scan">{ details(state) }</div>
        </div>
    }
}

fn details(state: &Input) -> Html {
    match state {
        Input::Empty => Html::default(),
        Input::Reading { .. } => html! { <p>{ "Reading…" }</p> },
        Input::Refused { problem, .. } => html! { <p class="problem" role="alert">{ problem }</p> },
        Input::Open { info, .. } => html! {
            <>
                <p>{ words::grid(info) }</p>
                <p>{ format!("{}, axes {}", info.datatype, info.orientation) }</p>
                if !info.notes.is_empty() {
                    <ul class="notes">{ for info.notes.iter().map(|note| html! { <li>{ note }</li> }) }</ul>
                }
            </>
        },
    }
}
