//! How to segment, and how far it is.

use yew::prelude::*;

use super::controls::{self, check, owned, select, side_key, sides};
use super::page::PanelProps;
use super::state::{Action, Planning, Run, State};
use super::words;
use crate::web::messages::Progress;

/// Patch sides that can be asked for, in voxels.
const PATCHES: [usize; 5] = [32, 48, 64, 80, 96];

/// Where a run is set up, started and watched.
#[component]
pub(super) fn RunPanel(props: &PanelProps) -> Html {
    let PanelProps { state, act } = props;
    let running = state.is_running();
    html! {
        <section class="card" aria-labelledby="run-title">
            <h2 id="run-title">{ "Segmentation" }</h2>
            { engine(state, act, running) }
            <details>
                <summary>{ "Settings" }</summary>
                { settings(state, act, running) }
            </details>
            if !running {
                { plan(&state.plan) }
            }
            <div class="row actions">
                <button
                    type="button"
                    class="primary"
                    disabled={!state.can_segment()}
                    onclick={act.reform(|_| Action::Segment)}
                >{ "Segment" }</button>
                <button type="button" disabled={!running} onclick={act.reform(|_| Action::Cancel)}>
                    { "Cancel" }
                </button>
            </div>
            <p class="status" role="status">{ state.status().to_owned() }</p>
            if let Run::Running { progress, .. } = &state.run {
                { bar(progress.as_ref()) }
            }
        </section>
    }
}

fn engine(state: &State, act: &Callback<Action>, disabled: bool) -> Html {
    let models: Vec<_> = state
        .models
        .iter()
        .map(|model| (model.path.clone(), model.title.clone()))
        .collect();
    html! {
        <div class="row two">
            { select("Network", &state.settings.model, models, disabled, act.reform(Action::ChooseModel)) }
            { controls::engine("Engine", state.settings.engine, disabled, &act.reform(Action::ChooseEngine)) }
        </div>
    }
}

fn settings(state: &State, act: &Callback<Action>, disabled: bool) -> Html {
    let settings = &state.settings;
    let overlaps = [("0", "0 %"), ("0.5", "50 %"), ("0.75", "75 %")];
    let windows = [
        ("bspline", "B-spline"),
        ("gaussian", "Gaussian"),
        ("uniform", "Uniform"),
    ];
    let overlap = act.reform(|key: String| Action::ChooseOverlap(key.parse().unwrap_or(0.5)));
    let patch = act.reform(|key: String| Action::ChoosePatch(key.parse().ok()));
    html! {
        <>
            <div class="row two">
                { select("Patch overlap", &settings.overlap.to_string(), owned(&overlaps), disabled, overlap) }
                { select("Voting window", &settings.window, owned(&windows), disabled,
                    act.reform(Action::ChooseVoting)) }
            </div>
            { select("Patch size", &side_key(settings.patch), sides("Automatic", &PATCHES), disabled, patch) }
            { check("Average over four rotations (4 × the time)", settings.rotations, disabled,
                act.reform(Action::ChooseRotations)) }
            { check("Mark only what is brighter than the brain in FLAIR", settings.hyperintensity, disabled,
                act.reform(Action::ChooseHyperintensity)) }
        </>
    }
}

fn plan(plan: &Planning) -> Html {
    match plan {
        Planning::None => Html::default(),
        Planning::Asked => html! { <p class="plan">{ "Estimating…" }</p> },
        Planning::Known(plan) => html! {
            <p class="plan">{ words::plan(plan) }<br /><span class="why">{ &plan.why }</span></p>
        },
    }
}

fn bar(progress: Option<&Progress>) -> Html {
    let Some(progress) = progress.filter(|progress| progress.total > 0) else {
        return html! { <progress aria-label="Progress" /> };
    };
    let said = words::progress(progress);
    html! {
        <>
            <progress
                aria-label="Progress"
                aria-valuetext={said.clone()}
                max={progress.total.to_string()}
                value={progress.done.to_string()}
            />
            <p class="progress-words">{ said }</p>
        </>
    }
}
