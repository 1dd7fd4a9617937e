//! The result: cut, load, count, files.

use web_sys::{Element, ScrollIntoViewOptions, ScrollLogicalPosition};
use yew::prelude::*;

use super::controls::{Number, Slider, select};
use super::page::PanelProps;
use super::state::{Action, Pen, State, Tool};
use super::words;
use crate::pipeline::names::Output;
use crate::volume::components::Connectivity;

/// Shown once there is a result.
#[component]
pub(super) fn ResultPanel(props: &PanelProps) -> Html {
    let PanelProps { state, act } = props;
    let section = use_node_ref();
    {
        let section = section.clone();
        use_effect_with(state.outcome().is_some(), move |_| {
            // A result below the fold would be missed.
            if let Some(section) = section.cast::<Element>() {
                let how = ScrollIntoViewOptions::new();
                how.set_block(ScrollLogicalPosition::Nearest);
                section.scroll_into_view_with_scroll_into_view_options(&how);
            }
        });
    }
    let Some(outcome) = state.outcome() else {
        return Html::default();
    };
    let threshold = state.cut.threshold;
    let mut notes = outcome.notes.clone();
    notes.push(format!(
        "{} in {} on {}.",
        words::counted(outcome.plan.tiles, "patch"),
        words::duration(outcome.seconds),
        words::engine(outcome.plan.engine),
    ));
    html! {
        <section ref={section} class="card result" aria-labelledby="result-title">
            <h2 id="result-title">{ "Result" }</h2>
            <dl class="figures">
                <div>
                    <dt>{ "Lesion load" }</dt>
                    <dd>{ outcome.mask.as_ref().map_or("…".into(), |mask| words::millilitres(mask.load_ml)) }</dd>
                </div>
                <div>
                    <dt>{ "Lesions" }</dt>
                    <dd>{ outcome.mask.as_ref().map_or("…".into(), |mask| mask.lesions.len().to_string()) }</dd>
                </div>
            </dl>
            <Slider
                label="Threshold"
                value={f64::from(threshold)}
                min={0.01}
                max={0.99}
                step={0.01}
                said={format!("{threshold:.2}")}
                moved={act.reform(|value| Action::Threshold(value as f32))}
            />
            <Number
                label="Smallest lesion"
                unit="mm³"
                value={state.cut.min_lesion_mm3}
                min={0.0}
                step={1.0}
                changed={act.reform(Action::MinLesion)}
            />
            { connectivity(state.cut.connectivity, act) }
            <div class="row actions saves">
                <button type="button" onclick={act.reform(|_| Action::Save(Output::Mask))}>{ "Save mask" }</button>
                <button type="button" onclick={act.reform(|_| Action::Save(Output::Probability))}>
                    { "Save probability map" }
                </button>
                <button type="button" onclick={act.reform(|_| Action::Save(Output::Report))}>
                    { "Save report (JSON)" }
                </button>
                <button type="button" onclick={act.reform(|_| Action::Save(Output::Lesions))}>
                    { "Save lesions (CSV)" }
                </button>
                <button type="button" onclick={act.reform(|_| Action::Save(Output::Archive))}>
                    { "Save all (BIDS, zip)" }
                </button>
                <button type="button" onclick={act.reform(|_| Action::Print)}>{ "Print report" }</button>
            </div>
            { correction(state, act) }
            <ul class="notes">{ for notes.iter().map(|note| html! { <li>{ note }</li> }) }</ul>
            <p class="research"><strong>{ "Research use only." }</strong>{ " Not for diagnosis or treatment." }</p>
        </section>
    }
}

/// The mask under a pen, and its way into training.
fn correction(state: &State, act: &Callback<Action>) -> Html {
    let Some(pen) = state.correcting else {
        return html! {
            <div class="row actions">
                <button
                    type="button"
                    disabled={state.look.broken.is_some()}
                    onclick={act.reform(|_| Action::StartCorrecting)}
                >{ "Correct the mask" }</button>
                <button type="button" onclick={act.reform(|_| Action::UseForTraining)}>{ "Use as training case" }</button>
            </div>
        };
    };
    let tools = [
        (Tool::Pen, "pen", "Pen"),
        (Tool::Eraser, "eraser", "Eraser"),
        (Tool::None, "none", "Look around"),
    ];
    let value = tools
        .iter()
        .find(|tool| tool.0 == pen.tool)
        .map_or("pen", |tool| tool.1);
    let chosen = act.reform(move |key: String| {
        let tool = tools
            .iter()
            .find(|tool| tool.1 == key)
            .map_or(Tool::None, |tool| tool.0);
        Action::DrawWith(Pen { tool, ..pen })
    });
    let words = tools.map(|(_, key, words)| (key.to_owned(), words.to_owned()));
    html! {
        <fieldset class="correcting">
            <legend>{ "Correcting the mask" }</legend>
            { select("Draw with", value, words.to_vec(), false, chosen) }
            <Slider
                label="Width"
                value={f64::from(pen.size)}
                min={1.0}
                max={9.0}
                step={1.0}
                said={format!("{} voxels", pen.size)}
                moved={act.reform(move |size| Action::DrawWith(Pen { size: size as u32, ..pen }))}
            />
            <div class="row actions">
                <button type="button" onclick={act.reform(|_| Action::UndoStroke)}>{ "Undo" }</button>
                <button type="button" onclick={act.reform(|_| Action::EndCorrecting(false))}>{ "Leave it as it was" }</button>
                <button type="button" class="primary" onclick={act.reform(|_| Action::EndCorrecting(true))}>
                    { "Use this mask" }
                </button>
            </div>
            <p class="hint">{ "Draw in a plane. A new threshold cuts the mask anew and drops the correction." }</p>
        </fieldset>
    }
}

/// What one lesion is.
fn connectivity(now: Connectivity, act: &Callback<Action>) -> Html {
    let choices = [
        (Connectivity::Six, "6", "6 neighbours (faces)"),
        (Connectivity::Eighteen, "18", "18 neighbours (faces, edges)"),
        (Connectivity::TwentySix, "26", "26 neighbours (and corners)"),
    ];
    let value = choices
        .iter()
        .find(|choice| choice.0 == now)
        .map_or("18", |choice| choice.1);
    let changed = act.reform(move |key: String| {
        let chosen = choices.iter().find(|choice| choice.1 == key);
        Action::Connect(chosen.map_or(Connectivity::Eighteen, |choice| choice.0))
    });
    let words = choices.map(|(_, key, words)| (key.to_owned(), words.to_owned()));
    select("Lesion connectivity", value, words.to_vec(), false, changed)
}
