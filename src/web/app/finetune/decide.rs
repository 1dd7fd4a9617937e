//! Stage 4: did it help, and what becomes of it.

use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::chart::{Chart, Series};
use super::picture::Picture;
use super::state::{Action, Pace, Run, State, scores};
use super::watch::key;
use super::{Pictures, StageProps};
use crate::metrics::PrPoint;
use crate::pipeline::finetune::{Change, HeldOut, Record, Scored, Spread};
use crate::web::app::controls::{select, target};

/// See the module.
#[component]
pub(super) fn DecideStage(props: &StageProps) -> Html {
    let StageProps {
        state, act, pixels, ..
    } = props;
    let run = state.run.as_ref();
    let Some((run, record)) = run.and_then(|run| Some((run, run.record.as_deref()?))) else {
        return Html::default();
    };
    html! {
        <>
            <section class="card" aria-labelledby="verdict-title">
                <h3 id="verdict-title">{ "Did it help?" }</h3>
                <p class="verdict-words" role="status">{ &record.verdict }</p>
                <p class="research"><strong>{ "Research use only." }</strong>{ " Not for diagnosis or treatment." }</p>
                { table(record) }
                { cases(run, record) }
            </section>
            { pictures(pixels) }
            <div class="watched">
                { curves(run, record) }
            </div>
            { choice(state, run, record, act) }
        </>
    }
}

/// Three decimals, or a dash.
fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

fn spread(spread: Option<Spread>) -> String {
    match spread {
        None => "–".to_owned(),
        Some(Spread { mean, sd: None, .. }) => format!("{mean:.3}"),
        Some(Spread {
            mean, sd: Some(sd), ..
        }) => format!("{mean:.3} ± {sd:.3}"),
    }
}

/// Before and after, over all held-out cases.
fn table(record: &Record) -> Html {
    let Some(first) = record.summary.first() else {
        return Html::default();
    };
    let n = first.change.map_or(0, |change| change.n);
    let caption = if n == 1 {
        "The held-out case (n = 1)".to_owned()
    } else {
        format!("Held-out cases (n = {n}): mean ± standard deviation")
    };
    html! {
        <div class="scroll-x" tabindex="0" role="region" aria-label="Scores before and after">
            <table class="numbers">
                <caption>{ caption }</caption>
                <thead>
                    <tr>
                        <th scope="col">{ "Score" }</th>
                        <th scope="col">{ "before" }</th>
                        <th scope="col">{ "after" }</th>
                        <th scope="col">{ "change" }</th>
                    </tr>
                </thead>
                <tbody>
                    { for record.summary.iter().map(|Change { figure, before, after, change, .. }| html! {
                        <tr>
                            <th scope="row">{ figure }</th>
                            <td>{ spread(*before) }</td>
                            <td>{ spread(*after) }</td>
                            <td>{ change.map_or_else(|| "–".to_owned(), |change| format!("{:+.3}", change.mean)) }</td>
                        </tr>
                    }) }
                </tbody>
            </table>
        </div>
    }
}

/// All held-out cases, with what they scored before and after.
fn held_out(record: &Record) -> impl Iterator<Item = (&Scored, &Scored)> {
    record
        .folds
        .iter()
        .flat_map(|fold| fold.before.iter().zip(&fold.after))
}

/// Case by case, if there are several.
fn cases(run: &Run, record: &Record) -> Html {
    if held_out(record).count() < 2 {
        return Html::default();
    }
    html! {
        <div class="scroll-x" tabindex="0" role="region" aria-label="Scores of each case">
            <table class="numbers">
                <caption>{ "Each held-out case" }</caption>
                <thead>
                    <tr>
                        <th scope="col">{ "Case" }</th>
                        <th scope="col">{ "DSC before" }</th>
                        <th scope="col">{ "after" }</th>
                        <th scope="col">{ "recall before" }</th>
                        <th scope="col">{ "after" }</th>
                    </tr>
                </thead>
                <tbody>
                    { for held_out(record).map(|(before, after)| html! {
                        <tr>
                            <th scope="row">{ name(run, before.case) }</th>
                            <td>{ figure(before.evaluation.dsc) }</td>
                            <td>{ figure(after.evaluation.dsc) }</td>
                            <td>{ figure(before.evaluation.tpr) }</td>
                            <td>{ figure(after.evaluation.tpr) }</td>
                        </tr>
                    }) }
                </tbody>
            </table>
        </div>
    }
}

fn name(run: &Run, case: usize) -> String {
    run.names
        .get(case)
        .cloned()
        .unwrap_or_else(|| format!("case {}", case + 1))
}

fn pictures(pictures: &Pictures) -> Html {
    if pictures.outcome.is_empty() {
        return Html::default();
    }
    html! {
        <section class="card" aria-labelledby="pictures-title">
            <h3 id="pictures-title">{ "The slice with most lesion" }</h3>
            <div class="compared">
                { for pictures.outcome.iter().zip(["before", "after"]).map(|(pixels, when)| html! {
                    <figure>
                        <Picture
                            pixels={pixels.clone()}
                            about={format!("Slice of the held-out case {when} fine-tuning: where network and mask agree and differ")}
                        />
                        <figcaption>{ when }</figcaption>
                    </figure>
                }) }
            </div>
            { key() }
        </section>
    }
}

/// The precision-recall curves of each held-out case, before and after.
fn curves(run: &Run, record: &Record) -> Html {
    let line = |name, class, curve: &[PrPoint]| Series {
        name,
        class,
        points: curve
            .iter()
            .map(|point| [point.recall, point.precision])
            .collect(),
    };
    html! {
        { for held_out(record).map(|(before, after)| {
            let name = name(run, before.case);
            let id = format!("curve-{}", before.case);
            let place = |scored: &Scored| Some([scored.evaluation.tpr?, scored.evaluation.ppv?]);
            let marks = [("s2", place(before)), ("s1", place(after))];
            html! {
                <section class="card" aria-labelledby={id.clone()}>
                    <h3 {id}>{ format!("Precision and recall: {name}") }</h3>
                    <Chart
                        about={format!(
                            "Precision over recall of {name}: area before {}, after {}",
                            figure(before.evaluation.apr),
                            figure(after.evaluation.apr),
                        )}
                        across="recall"
                        up="precision"
                        x={(0.0, 1.0)}
                        y={(0.0, 1.0)}
                        series={vec![
                            line("before", "s2", &before.evaluation.curve),
                            line("after", "s1", &after.evaluation.curve),
                        ]}
                        marks={marks.into_iter().filter_map(|(class, place)| Some((class, place?))).collect::<Vec<_>>()}
                    />
                    <p class="hint">{ "The dots are at the threshold of the network’s card." }</p>
                </section>
            }
        }) }
    }
}

/// Keep, discard, or go back.
fn choice(state: &State, run: &Run, record: &Record, act: &Callback<Action>) -> Html {
    if state.kept.is_some() {
        return html! {
            <section class="card" aria-labelledby="choice-title">
                <h3 id="choice-title">{ "Kept" }</h3>
                <p role="status">
                    { "The network is kept in this browser: choose it under Network in Segment, or save its files below. The \
                       run’s scans and checkpoints were deleted from storage." }
                </p>
                { maps(record, act) }
            </section>
        };
    }
    html! {
        <section class="card" aria-labelledby="choice-title">
            <h3 id="choice-title">{ "What becomes of it" }</h3>
            <Keep ended={run.pace == Pace::Ended} base={record.base.clone()} act={act.clone()} />
            { back(run, record, act) }
            { maps(record, act) }
        </section>
    }
}

#[derive(Properties, PartialEq)]
struct KeepProps {
    ended: bool,
    base: String,
    act: Callback<Action>,
}

/// A name, and two ways to go.
#[component]
fn Keep(props: &KeepProps) -> Html {
    let name = use_state(|| format!("{} fine-tuned", props.base));
    let oninput = {
        let name = name.clone();
        Callback::from(move |event: InputEvent| {
            if let Some(input) = target::<HtmlInputElement>(&event) {
                name.set(input.value());
            }
        })
    };
    let keep = {
        let (name, act) = (name.clone(), props.act.clone());
        Callback::from(move |_: MouseEvent| act.emit(Action::Keep((*name).clone())))
    };
    html! {
        <>
            <div class="field">
                <label for="network-name">{ "Name of the network" }</label>
                <input id="network-name" type="text" maxlength="80" value={(*name).clone()} {oninput} />
            </div>
            <div class="row">
                <button type="button" class="primary" disabled={!props.ended} onclick={keep}>{ "Keep" }</button>
                <button type="button" onclick={props.act.reform(|_| Action::Discard)}>{ "Discard" }</button>
            </div>
        </>
    }
}

/// Another step's weights.
fn back(run: &Run, record: &Record, act: &Callback<Action>) -> Html {
    let best = record.folds.last().map_or(0, |fold| fold.best_step);
    if run.choices.len() < 2 {
        return Html::default();
    }
    let choices: Vec<(String, String)> = run
        .choices
        .iter()
        .map(|&step| {
            let look = run.looks.iter().find(|look| look.step == step);
            let dsc = look.and_then(|look| scores(look)[0]);
            let what = if step == 0 {
                "the network it started from".to_owned()
            } else {
                format!("step {step}")
            };
            let scored = dsc.map_or_else(String::new, |dsc| format!(", DSC {dsc:.3} at that look"));
            (step.to_string(), format!("{what}{scored}"))
        })
        .collect();
    let chosen = act.reform(|key: String| Action::Choose(key.parse().unwrap_or(0)));
    html! {
        <>
            { select("Weights of", &best.to_string(), choices, run.pace != Pace::Ended, chosen) }
            <p class="hint">{ "Another choice is evaluated before it can be kept." }</p>
        </>
    }
}

/// The maps behind the scores; of k-fold none are kept.
fn maps(record: &Record, act: &Callback<Action>) -> Html {
    if !matches!(record.settings.held_out, HeldOut::Case(_)) {
        return Html::default();
    }
    let save = |after| act.reform(move |_: MouseEvent| Action::SaveMap(0, after));
    html! {
        <div class="row">
            <button type="button" onclick={save(false)}>{ "Save probability map before" }</button>
            <button type="button" onclick={save(true)}>{ "Save probability map after" }</button>
        </div>
    }
}
