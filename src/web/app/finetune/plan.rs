//! Stage 2: how to train, and what it costs.

use yew::prelude::*;

use super::StageProps;
use super::state::{Action, Budget, HeldOutCase, Planning, Stage, State};
use crate::learn::tune::{Part, Statistics};
use crate::pipeline::finetune::Settings;
use crate::web::app::controls::{self, Number, Slider, check, owned, select, side_key, sides};
use crate::web::app::words;
use crate::web::messages::finetune::TunePlan;

/// Patch sides that can be asked for, in voxels.
const PATCHES: [usize; 6] = [16, 24, 32, 48, 64, 80];

/// See the module.
#[component]
pub(super) fn PlanStage(props: &StageProps) -> Html {
    let StageProps { state, act, .. } = props;
    let locked = state.is_running();
    html! {
        <div class="beside">
            <section class="card" aria-labelledby="plan-title">
                <h3 id="plan-title">{ "How to train" }</h3>
                { network(props, locked) }
                { beta(state, act, locked) }
                { what_learns(state, act, locked) }
                { how_long(state, act, locked) }
                { held_out(state, act, locked) }
                <details>
                    <summary>{ "More settings" }</summary>
                    { more(state, act, locked) }
                </details>
            </section>
            <section class="card" aria-labelledby="cost-title">
                <h3 id="cost-title">{ "What it takes" }</h3>
                { cost(&state.plan) }
                <p class="hint">
                    { "Until you keep or discard the result, the scans of this run and its checkpoints lie in this browser’s own \
                       storage on this computer, so that nothing is lost when the tab closes." }
                </p>
                <div class="row actions">
                    <button
                        type="button"
                        class="primary"
                        disabled={!state.can_start()}
                        onclick={act.reform(|_| Action::Start)}
                    >{ "Start training" }</button>
                    <button type="button" onclick={act.reform(|_| Action::GoTo(Stage::Cohort))}>{ "Back" }</button>
                </div>
            </section>
        </div>
    }
}

/// A change of one of the settings.
fn set<T>(state: &State, act: &Callback<Action>, change: impl Fn(&mut Settings, T) + 'static) -> Callback<T>
where
    T: 'static,
{
    let settings = state.form.settings.clone();
    act.reform(move |value| {
        let mut settings = settings.clone();
        change(&mut settings, value);
        Action::Set(Box::new(settings))
    })
}

fn network(props: &StageProps, locked: bool) -> Html {
    let StageProps {
        state, act, models, ..
    } = props;
    let models: Vec<_> = models
        .iter()
        .map(|model| (model.path.clone(), model.title.clone()))
        .collect();
    html! {
        <div class="row two">
            { select("Start from", &state.form.model, models, locked, act.reform(Action::ChooseModel)) }
            { controls::engine("Train on", state.form.engine, locked, &act.reform(Action::ChooseEngine)) }
        </div>
    }
}

fn beta(state: &State, act: &Callback<Action>, locked: bool) -> Html {
    let beta = state.form.settings.beta;
    let weights = state.form.settings.weights();
    html! {
        <>
            <Slider
                label="Beta of the loss"
                value={beta}
                min={1.0}
                max={3.0}
                step={0.1}
                said={format!("{beta:.1}")}
                disabled={locked}
                moved={set(state, act, |settings, beta| settings.beta = beta)}
            />
            <p class="hint">
                { format!(
                    "A false positive weighs {:.2}, a missed voxel {:.2}: {:.1} times as much. A larger beta finds more \
                     lesions and marks more that are none.",
                    weights.false_positive,
                    weights.false_negative,
                    weights.false_negative / weights.false_positive,
                ) }
            </p>
        </>
    }
}

fn what_learns(state: &State, act: &Callback<Action>, locked: bool) -> Html {
    let part = match state.form.settings.part {
        Part::Head => "head",
        Part::Decoder => "decoder",
        Part::Everything => "everything",
    };
    let parts = owned(&[
        ("head", "The last layers only"),
        ("decoder", "The decoder (recommended)"),
        ("everything", "Everything"),
    ]);
    let changed = set(state, act, |settings, key: String| {
        settings.part = match key.as_str() {
            "head" => Part::Head,
            "everything" => Part::Everything,
            _ => Part::Decoder,
        };
    });
    html! {
        <>
            { select("What learns", part, parts, locked, changed) }
            if state.form.settings.part == Part::Everything {
                <p class="hint">{ "With a handful of cases a network that may change everywhere learns them by heart." }</p>
            }
        </>
    }
}

fn how_long(state: &State, act: &Callback<Action>, locked: bool) -> Html {
    let (kind, value, unit) = match state.form.budget {
        Budget::Steps(steps) => ("steps", steps as f64, "steps"),
        Budget::Minutes(minutes) => ("minutes", minutes, "min"),
    };
    let by = owned(&[("steps", "Steps"), ("minutes", "Minutes")]);
    let seconds = match &state.plan {
        Planning::Known(plan) => plan.step_seconds,
        _ => None,
    };
    let now = state.form.budget;
    let changed_kind = act.reform(move |key: String| {
        Action::Budget(match (key.as_str(), now) {
            ("minutes", Budget::Steps(steps)) => {
                // About the same time, if it is known.
                let minutes = seconds.map_or(10.0, |seconds| (steps as f64 * seconds / 60.0).ceil());
                Budget::Minutes(minutes.clamp(1.0, 1440.0))
            }
            ("steps", Budget::Minutes(minutes)) => {
                let steps = seconds.map_or(300.0, |seconds| minutes * 60.0 / seconds.max(1e-3));
                Budget::Steps(steps.round().clamp(1.0, 1e6) as u64)
            }
            _ => now,
        })
    });
    let changed = act.reform(move |value: f64| {
        Action::Budget(match now {
            Budget::Steps(_) => Budget::Steps(value.round().clamp(1.0, 1e6) as u64),
            Budget::Minutes(_) => Budget::Minutes(value.clamp(0.1, 10_080.0)),
        })
    });
    let label = if kind == "steps" { "Steps" } else { "Minutes" };
    html! {
        <div class="row two">
            { select("Train for", kind, by, locked, changed_kind) }
            <Number {label} {unit} {value} min={1.0} disabled={locked} {changed} />
        </div>
    }
}

fn held_out(state: &State, act: &Callback<Action>, locked: bool) -> Html {
    let fit = state.cohort.fit();
    let mut choices: Vec<(String, String)> = Vec::new();
    if fit.len() > 1 {
        choices.extend(
            fit.iter()
                .map(|row| (format!("case {}", row.id), row.name.clone())),
        );
        let n = fit.len();
        if n > 2 {
            choices.push((
                format!("folds {n}"),
                format!("Each case in turn ({n} runs and a last one)"),
            ));
        }
        choices.extend((2..n.min(6)).map(|k| {
            (
                format!("folds {k}"),
                format!("{k} folds ({k} runs and a last one)"),
            )
        }));
    }
    choices.push((
        "nothing".into(),
        "None: nothing will be known about the result".into(),
    ));
    let value = match state.form.held_out {
        _ if fit.len() < 2 => "nothing".to_owned(),
        HeldOutCase::Nothing => "nothing".into(),
        HeldOutCase::Folds(k) => format!("folds {}", k.min(fit.len())),
        HeldOutCase::Case(id) if fit.iter().any(|row| row.id == id) => format!("case {id}"),
        HeldOutCase::Case(_) | HeldOutCase::Last => fit
            .last()
            .map_or_else(String::new, |row| format!("case {}", row.id)),
    };
    let changed = act.reform(|key: String| {
        let (kind, number) = key.split_once(' ').unwrap_or((&key, ""));
        Action::HoldOut(match (kind, number.parse::<u32>()) {
            ("case", Ok(id)) => HeldOutCase::Case(id),
            ("folds", Ok(folds)) => HeldOutCase::Folds(folds as usize),
            _ => HeldOutCase::Nothing,
        })
    });
    html! {
        <>
            { select("Held-out case", &value, choices, locked, changed) }
            if fit.len() < 2 {
                <p class="warn">
                    { "With one case nothing can be held out, so nothing will say whether training helped. Add a second case." }
                </p>
            }
        </>
    }
}

fn more(state: &State, act: &Callback<Action>, locked: bool) -> Html {
    let settings = &state.form.settings;
    let frozen = settings.statistics == Statistics::Frozen;
    html! {
        <>
            <Number
                label="Learning rate"
                unit=""
                value={settings.learning_rate}
                disabled={locked}
                changed={set(state, act, |settings, rate| settings.learning_rate = rate)}
            />
            { select("Training patch", &side_key(state.form.patch), sides("The network’s own", &PATCHES), locked,
                act.reform(|key: String| Action::Patch(key.parse().ok()))) }
            { count("Look at the held-out case every", "steps", settings.look_every, 1, locked,
                &set(state, act, |settings, every| settings.look_every = every)) }
            { count("Stop after looks without gain", "(0: never)", settings.patience, 0, locked,
                &set(state, act, |settings, looks| settings.patience = looks)) }
            { count("Checkpoint every", "steps", settings.checkpoint_every, 1, locked,
                &set(state, act, |settings, every| settings.checkpoint_every = every)) }
            { count("Seed", "", settings.seed, 0, locked, &set(state, act, |settings, seed| settings.seed = seed)) }
            { check("Vary the patches (pose, mirror image, intensities)", settings.augment, locked,
                set(state, act, |settings, augment| settings.augment = augment)) }
            { check("Keep the normalisation of the network it starts from", frozen, locked,
                set(state, act, |settings, keep| {
                    settings.statistics = if keep { Statistics::Frozen } else { Statistics::Adapted };
                })) }
        </>
    }
}

/// A whole number, at least `least`.
fn count(
    label: &'static str,
    unit: &'static str,
    value: u64,
    least: u64,
    disabled: bool,
    changed: &Callback<u64>,
) -> Html {
    let changed = changed.reform(move |value: f64| (value.round().max(0.0) as u64).max(least));
    html! { <Number {label} {unit} value={value as f64} min={least as f64} step={1.0} {disabled} {changed} /> }
}

fn cost(planning: &Planning) -> Html {
    match planning {
        Planning::None => html! { <p class="hint">{ "Choose how to train." }</p> },
        Planning::Asked => html! { <p class="hint" role="status">{ "Counting…" }</p> },
        Planning::Impossible(problem) => html! { <p class="problem" role="alert">{ problem }</p> },
        Planning::Known(plan) => known(plan),
    }
}

fn known(plan: &TunePlan) -> Html {
    let seconds = |seconds: f64| {
        if seconds < 10.0 {
            format!("{seconds:.2} s")
        } else {
            words::duration(seconds)
        }
    };
    html! {
        <>
            <dl class="figures">
                <div>
                    <dt>{ "Total time" }</dt>
                    <dd>{ plan.seconds.map_or_else(|| "measuring…".to_owned(), words::duration) }</dd>
                </div>
                <div>
                    <dt>{ "One step" }</dt>
                    <dd>{ plan.step_seconds.map_or_else(|| "measuring…".to_owned(), seconds) }</dd>
                </div>
                <div>
                    <dt>{ "Memory of the engine" }</dt>
                    <dd>{ words::bytes(plan.engine_bytes) }</dd>
                </div>
                <div>
                    <dt>{ "Memory of the scans" }</dt>
                    <dd>{ words::bytes(plan.desk_bytes) }</dd>
                </div>
            </dl>
            <p class="plan">
                { format!("{} on {}. ", words::counted(usize::try_from(plan.steps).unwrap_or(0), "step"), words::engine(plan.engine)) }
                <span class="why">{ &plan.why }</span>
            </p>
            if let Some(refusal) = &plan.refusal {
                <p class="problem" role="alert">{ refusal }</p>
            } else if plan.step_seconds.is_none() {
                <p class="hint" role="status">{ "A dry step is timed; you can start without waiting for it." }</p>
            }
        </>
    }
}
