//! Stage 3: the run as it goes.

use yew::prelude::*;

use super::StageProps;
use super::chart::{Chart, Series, from_zero};
use super::picture::Picture;
use super::state::{Action, Pace, Run, Stage, scores};
use crate::pipeline::finetune::HeldOut;
use crate::web::app::words;

/// See the module.
#[component]
pub(super) fn WatchStage(props: &StageProps) -> Html {
    let StageProps {
        state, act, pixels, ..
    } = props;
    let Some(run) = &state.run else {
        return Html::default();
    };
    html! {
        <>
            <section class="card" aria-labelledby="watch-title">
                <h3 id="watch-title">{ "Training" }</h3>
                <p class="status" role="status">{ status(run) }</p>
                { bar(run) }
                <div class="row">
                    { controls(run, act) }
                </div>
                if let Some(problem) = &run.not_saved {
                    <p class="problem" role="alert">{ problem }</p>
                } else if let Some(step) = run.saved {
                    <p class="hint">{ format!("Stored up to step {step}: if this tab closes, the run can go on from there.") }</p>
                }
            </section>
            <div class="watched">
                { loss(run) }
                { held_out(run) }
                { balance(run) }
                <section class="card" aria-labelledby="look-title">
                    <h3 id="look-title">{ "The held-out case" }</h3>
                    if let Some(pixels) = &pixels.look {
                        <Picture
                            pixels={pixels.clone()}
                            about="Slice of the held-out case: where network and mask agree and differ"
                        />
                        { key() }
                    } else {
                        <p class="hint">
                            { if run.how.settings.held_out == HeldOut::Nothing {
                                "No case is held out."
                            } else {
                                "A slice is shown here at the next look."
                            } }
                        </p>
                    }
                </section>
            </div>
        </>
    }
}

/// What the colours of a comparison mean.
pub(super) fn key() -> Html {
    html! {
        <p class="keys">
            <span><span class="swatch tp" />{ "in both" }</span>
            <span><span class="swatch fp" />{ "marked by the network only" }</span>
            <span><span class="swatch fn" />{ "missed" }</span>
        </p>
    }
}

fn status(run: &Run) -> String {
    let step = format!("step {} of {}", run.step(), run.how.settings.steps);
    match run.pace {
        Pace::Starting => "Starting…".into(),
        Pace::Pausing => format!("Pausing at {step}…"),
        Pace::Paused => format!("Paused at {step}."),
        Pace::Stopping => format!("Stopping at {step}: the best so far is evaluated…"),
        Pace::Ended => format!("Finished at {step}."),
        Pace::Broken => format!("Interrupted at {step}."),
        Pace::Going => {
            let stage = match run.stage.as_str() {
                "" => "Training",
                stage => stage,
            };
            let mut said = format!("{stage}, {step}");
            if let Some((done, total)) = run.patches {
                said.push_str(&format!(", patch {done} of {total}"));
            }
            if let Some(seconds) = run.seconds_left {
                said.push_str(&format!(", about {} left", words::duration(seconds)));
            }
            said.push('.');
            said
        }
    }
}

fn bar(run: &Run) -> Html {
    if !run.is_live() {
        return Html::default();
    }
    let (value, max) = match run.patches {
        Some((done, total)) if run.steps.is_empty() => (done as u64, total as u64),
        _ => (run.step(), run.how.settings.steps),
    };
    html! { <progress aria-label="Progress of the training" value={value.to_string()} max={max.max(1).to_string()} /> }
}

fn controls(run: &Run, act: &Callback<Action>) -> Html {
    let button = |label: &'static str, enabled: bool, action: Action| {
        html! {
            <button type="button" disabled={!enabled} onclick={act.reform(move |_| action.clone())}>{ label }</button>
        }
    };
    html! {
        <>
            if run.pace == Pace::Paused {
                { button("Go on", true, Action::Go) }
            } else {
                { button("Pause", run.pace == Pace::Going, Action::Pause) }
            }
            { button("Stop and evaluate", matches!(run.pace, Pace::Going | Pace::Paused), Action::Stop) }
            if run.pace == Pace::Ended {
                { button("See the result", true, Action::GoTo(Stage::Decide)) }
            } else {
                { button("Discard", run.pace != Pace::Starting, Action::Discard) }
            }
        </>
    }
}

fn loss(run: &Run) -> Html {
    let all = run
        .steps
        .iter()
        .map(|point| [point.step as f64, f64::from(point.loss)]);
    let smoothed = run.steps.iter().map(|point| [point.step as f64, point.smoothed]);
    let about = match run.steps.last() {
        Some(last) => format!(
            "Loss at step {}: {:.3}, smoothed {:.3}",
            last.step, last.loss, last.smoothed
        ),
        None => "No step yet".into(),
    };
    html! {
        <section class="card" aria-labelledby="loss-title">
            <h3 id="loss-title">{ "Loss on the training patches" }</h3>
            <Chart
                {about}
                across="step"
                up="loss"
                x={(0.0, run.how.settings.steps.max(1) as f64)}
                y={from_zero(run.steps.iter().map(|point| f64::from(point.loss)))}
                series={vec![
                    Series { name: "each step", class: "faint", points: all.collect() },
                    Series { name: "smoothed", class: "s1", points: smoothed.collect() },
                ]}
            />
        </section>
    }
}

/// Names and classes of the scores of a look.
const SCORES: [(&str, &str); 4] = [("DSC", "s1"), ("precision", "s2"), ("recall", "s3"), ("F2", "s4")];

fn held_out(run: &Run) -> Html {
    let series: Vec<Series> = SCORES
        .iter()
        .enumerate()
        .map(|(number, &(name, class))| Series {
            name,
            class,
            points: run
                .looks
                .iter()
                .filter_map(|look| Some([look.step as f64, scores(look)[number]?]))
                .collect(),
        })
        .collect();
    let marks = SCORES
        .iter()
        .zip(&series)
        .filter_map(|((_, class), series)| Some((*class, *series.points.last()?)))
        .collect::<Vec<_>>();
    let said = run.looks.last().map(|look| {
        let said =
            |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"));
        let [dsc, precision, recall, f2] = scores(look).map(said);
        format!(
            "At step {}: DSC {dsc}, precision {precision}, recall {recall}, F2 {f2}",
            look.step
        )
    });
    html! {
        <section class="card" aria-labelledby="scores-title">
            <h3 id="scores-title">{ "Scores on the held-out case" }</h3>
            <Chart
                about={said.clone().unwrap_or_else(|| "No look yet".into())}
                across="step"
                up="score"
                x={(0.0, run.how.settings.steps.max(1) as f64)}
                y={(0.0, 1.0)}
                {series}
                {marks}
            />
            <p class="hint">{ said.unwrap_or_else(|| "The first look comes before the first step.".into()) }</p>
        </section>
    }
}

fn balance(run: &Run) -> Html {
    let points: Vec<[f64; 2]> = run
        .looks
        .iter()
        .filter_map(|look| {
            let [_, precision, recall, _] = scores(look);
            Some([recall?, precision?])
        })
        .collect();
    let mut marks = Vec::new();
    if let [first, .., last] = points[..] {
        marks.push(("s2", first));
        marks.push(("s1", last));
    } else if let [only] = points[..] {
        marks.push(("s1", only));
    }
    html! {
        <section class="card" aria-labelledby="balance-title">
            <h3 id="balance-title">{ "Precision and recall" }</h3>
            <Chart
                about={points.last().map_or_else(
                    || "No look yet".to_owned(),
                    |[recall, precision]| format!("Recall {recall:.3}, precision {precision:.3}"),
                )}
                across="recall"
                up="precision"
                x={(0.0, 1.0)}
                y={(0.0, 1.0)}
                series={vec![Series { name: "from the first look to the newest", class: "s1", points }]}
                {marks}
            />
        </section>
    }
}
