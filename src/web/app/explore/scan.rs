//! A family of networks on a scan: one slider through their betas, and what each adds and drops.

use std::rc::Rc;

use yew::prelude::*;

use super::curves::{LevelCurves, PrCurves};
use super::pictures::{Palette, Pixels, Planes};
use crate::pipeline::family::{AtCut, Split};
use crate::web::app::controls::{Slider, select};
use crate::web::app::page::PanelProps;
use crate::web::app::state::{Action, Drawing, Planning, State, StudyAction, StudyRun, With};
use crate::web::app::words;
use crate::web::messages::finetune::KEPT;
use crate::web::studies::{Kin, Seen, Told};

#[derive(Properties, PartialEq)]
pub(in crate::web::app) struct ScanProps {
    pub(in crate::web::app) panel: PanelProps,
    pub(in crate::web::app) pixels: Option<Rc<Pixels>>,
}

/// See the module.
#[component]
pub(in crate::web::app) fn OnAScan(props: &ScanProps) -> Html {
    let PanelProps { state, act } = &props.panel;
    let kin = state.kin();
    html! {
        <>
            <div class="intro">
                <h2>{ "Beta on a scan" }</h2>
                <p>
                    { "The same network, trained with one β after another, looks at the same scan. A larger β makes a missed lesion \
                       dearer than a false one, so the mask should grow. Threshold and smallest lesion are those of Segment." }
                </p>
                { shipped(state, &kin) }
            </div>
            if state.study.members.is_empty() {
                { start(state, act, &kin) }
            } else {
                { explored(props, &kin) }
            }
        </>
    }
}

/// How many networks there are, said plainly.
fn shipped(state: &State, kin: &[Kin]) -> Html {
    let (kept, shipped): (Vec<_>, Vec<_>) = kin.iter().partition(|kin| kin.path.starts_with(KEPT));
    let names: Vec<String> = shipped.into_iter().map(|kin| name(state, kin)).collect();
    let mut said = match names.as_slice() {
        [] => "This page ships no network.".to_owned(),
        [one] => format!(
            "This page ships one network, {one}. There is nothing to compare it with yet but a reference mask; with more \
             networks the slider below goes through them."
        ),
        many => format!("This page ships {} networks: {}.", many.len(), many.join(", ")),
    };
    if !kept.is_empty() {
        said.push_str(&format!(
            " This browser keeps {} of your own, which takes part too.",
            words::counted(kept.len(), "network")
        ));
    }
    html! { <p>{ said }</p> }
}

/// A network's name: its beta, if that tells it from the others.
fn name(state: &State, kin: &Kin) -> String {
    let title = || {
        let model = state.models.iter().find(|model| model.path == kin.path);
        model.map_or_else(|| kin.path.clone(), |model| model.title.clone())
    };
    let alike = state.kin().iter().filter(|other| other.beta == kin.beta).count();
    match kin.beta {
        Some(beta) if alike == 1 => format!("β {beta}"),
        Some(beta) => format!("β {beta} ({})", title()),
        None => title(),
    }
}

/// What is to be done before there is anything to see.
pub(super) fn opening(state: &State, act: &Callback<Action>) -> Option<Html> {
    if state.flair.is_open() {
        return None;
    }
    Some(html! {
        <section class="card" aria-label="Scan">
            <p>{ "Open a scan in Segment, or take the sample." }</p>
            <div class="row">
                <button type="button" onclick={act.reform(|_| Action::OpenSample)} disabled={state.fetching || state.flair.is_reading()}>
                    { "Open the sample" }
                </button>
            </div>
        </section>
    })
}

/// How far a run is, with a way to end it.
pub(super) fn running(state: &State, act: &Callback<Action>) -> Option<Html> {
    let (progress, cancelling) = match (&state.run, &state.study.run) {
        (_, StudyRun::Running { progress, cancelling })
        | (crate::web::app::state::Run::Running { progress, cancelling }, _) => (progress, *cancelling),
        _ => return None,
    };
    let (done, total) = progress
        .as_ref()
        .map_or((0, 0), |progress| (progress.done, progress.total));
    Some(html! {
        <div class="working">
            <p class="status">{ state.status() }</p>
            <progress
                aria-label="Patches done"
                max={(total > 0).then(|| total.to_string())}
                value={(total > 0).then(|| done.to_string())}
            />
            <p class="progress-words">{ progress.as_ref().map(words::progress).unwrap_or_default() }</p>
            <button type="button" disabled={cancelling} onclick={act.reform(|_| Action::Cancel)}>{ "Stop" }</button>
        </div>
    })
}

fn start(state: &Rc<State>, act: &Callback<Action>, kin: &[Kin]) -> Html {
    if let Some(opening) = opening(state, act) {
        return opening;
    }
    let cost = match &state.plan {
        Planning::Known(plan) => format!("{} for each.", words::plan(plan)),
        _ => String::new(),
    };
    html! {
        <section class="card" aria-label="Run">
            if let Some(running) = running(state, act) {
                { running }
            } else {
                <p>{ format!("{} will run on the open scan, prepared once. {cost}", words::counted(kin.len(), "network")) }</p>
                <div class="row">
                    <button
                        type="button"
                        class="primary"
                        disabled={!state.can_segment() || kin.is_empty()}
                        onclick={act.reform(|_| Action::Study(StudyAction::RunFamily))}
                    >{ if kin.len() == 1 { "Run the network".to_owned() } else { format!("Run all {}", kin.len()) } }</button>
                </div>
            }
        </section>
    }
}

fn explored(props: &ScanProps, kin: &[Kin]) -> Html {
    let PanelProps { state, act } = &props.panel;
    let study = &state.study;
    let last = study.members.len() - 1;
    let member = study.member.min(last);
    let names: Vec<String> = kin.iter().map(|kin| name(state, kin)).collect();
    let own = names.get(member).cloned().unwrap_or_default();
    let seen = study.seen(Drawing::Family);
    let told = seen.and_then(|seen| match &seen.told {
        Told::Family { members, split } => Some((members, split)),
        _ => None,
    });
    let other = match study.with {
        With::Reference if state.has_reference() => "the reference".to_owned(),
        With::Reference => names.first().cloned().unwrap_or_default(),
        With::Member(at) => names.get(at.min(last)).cloned().unwrap_or_default(),
    };
    let go = act.reform(|place| Action::Study(StudyAction::Place(place)));
    html! {
        <>
            <section class="card sliders" aria-labelledby="member-title">
                <h3 id="member-title">{ "Which mask" }</h3>
                <Slider
                    label="Shown network"
                    value={member as f64}
                    min={0.0}
                    max={last.max(1) as f64}
                    step={1.0}
                    said={own.clone()}
                    disabled={last == 0}
                    moved={act.reform(|at: f64| Action::Study(StudyAction::Member(at.round() as usize)))}
                />
                { compared_with(state, act, &names) }
                <Slider
                    label="Cut at"
                    value={f64::from(state.cut.threshold)}
                    min={0.01}
                    max={0.99}
                    step={0.01}
                    said={format!("{:.2}", state.cut.threshold)}
                    moved={act.reform(|value| Action::Threshold(value as f32))}
                />
                if let Some((_, split)) = told { { shares(split, &own, &other) } }
            </section>
            <section class="card drawn" aria-labelledby="drawn-title">
                <h3 id="drawn-title">{ format!("{own} against {other}") }</h3>
                { planes(seen, props.pixels.as_ref(), Palette::Codes, go) }
                <p class="legend">
                    <span class="swatch tp" />{ "both" }
                    <span class="swatch fp" />{ format!("only {own}") }
                    <span class="swatch fn" />{ format!("only {other}") }
                </p>
            </section>
            if let Some((members, _)) = told {
                <section class="card" aria-labelledby="members-title">
                    <h3 id="members-title">{ format!("Every network at {:.2}", state.cut.threshold) }</h3>
                    { table(state, &names, members, member) }
                </section>
            }
            if state.has_reference() {
                <PrCurves names={names.clone()} members={study.members.clone()} at={told.map(|(at, _)| at.clone()).unwrap_or_default()} {member} act={act.clone()} />
            }
            <LevelCurves {names} members={study.members.clone()} threshold={state.cut.threshold} {member} />
        </>
    }
}

/// The pictures, as soon as they are there.
pub(super) fn planes(
    seen: Option<&Rc<Seen>>,
    pixels: Option<&Rc<Pixels>>,
    palette: Palette,
    go: Callback<[f64; 3]>,
) -> Html {
    match seen.zip(pixels) {
        Some((seen, pixels)) => html! {
            <Planes seen={seen.clone()} pixels={pixels.clone()} {palette} opacity={0.75} {go} />
        },
        None => html! { <p class="hint">{ "Drawing…" }</p> },
    }
}

fn compared_with(state: &State, act: &Callback<Action>, names: &[String]) -> Html {
    let mut choices: Vec<(String, String)> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (at.to_string(), name.clone()))
        .collect();
    if state.has_reference() {
        choices.push(("reference".to_owned(), "the reference mask".to_owned()));
    }
    let value = match state.study.with {
        With::Reference if state.has_reference() => "reference".to_owned(),
        With::Reference => "0".to_owned(),
        With::Member(at) => at.to_string(),
    };
    let changed = act.reform(|key: String| {
        let with = key.parse().map_or(With::Reference, With::Member);
        Action::Study(StudyAction::With(with))
    });
    let alone = choices.len() < 2;
    html! {
        <>
            { select("Compared with", &value, choices, alone, changed) }
            if !state.has_reference() {
                <p class="hint">
                    { "A reference mask, opened in Segment, adds true and false positives, misses and scores. " }
                    if state.shown_sample.is_some() {
                        <button type="button" class="inline" onclick={act.reform(|_| Action::OpenSampleReference)}>
                            { "Take the sample’s" }
                        </button>
                    }
                </p>
            }
        </>
    }
}

fn shares(split: &Split, own: &str, other: &str) -> Html {
    let share =
        |name: String, ml: f64| html! { <div><dt>{ name }</dt><dd>{ words::millilitres(ml) }</dd></div> };
    html! {
        <dl class="scores three">
            { share("In both".to_owned(), split.both_ml) }
            { share(format!("Only {own}"), split.first_ml) }
            { share(format!("Only {other}"), split.second_ml) }
        </dl>
    }
}

fn table(state: &State, names: &[String], members: &[AtCut], shown: usize) -> Html {
    let scored = members.iter().any(|member| member.voxels.is_some());
    let three = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
    html! {
        <div class="scroll" role="region" aria-label="Every network in numbers" tabindex="0">
            <table class="numbers">
                <thead><tr>
                    <th scope="col">{ "Network" }</th>
                    <th scope="col">{ "Load, mL" }</th>
                    <th scope="col">{ "Lesions" }</th>
                    if scored {
                        <th scope="col">{ "Precision" }</th>
                        <th scope="col">{ "Recall" }</th>
                        <th scope="col"><abbr title="Dice, of voxels">{ "F1" }</abbr></th>
                        <th scope="col">{ "F2" }</th>
                        <th scope="col"><abbr title="Area under the precision-recall curve, average precision">{ "APR" }</abbr></th>
                        <th scope="col">{ "Best of its own Fβ, with hindsight" }</th>
                    }
                </tr></thead>
                <tbody>{ for members.iter().zip(names).enumerate().map(|(at, (member, name))| {
                    let ranked = state.study.members.get(at).and_then(|curves| curves.ranked.as_ref());
                    let best = ranked.and_then(|ranked| ranked.best.first());
                    html! {
                        <tr class={(at == shown).then_some("chosen")}>
                            <th scope="row">{ name }</th>
                            <td>{ format!("{:.2}", member.load_ml) }</td>
                            <td>{ member.lesions }</td>
                            if let Some(voxels) = &member.voxels {
                                <td>{ three(voxels.ppv()) }</td>
                                <td>{ three(voxels.tpr()) }</td>
                                <td>{ three(voxels.f_beta(1.0)) }</td>
                                <td>{ three(voxels.f_beta(2.0)) }</td>
                                <td>{ three(ranked.and_then(|ranked| ranked.apr)) }</td>
                                <td>{ best.map_or("–".to_owned(), |best| format!("{:.3} at {}", best.f_beta, words::threshold(best.threshold))) }</td>
                            }
                        </tr>
                    }
                }) }</tbody>
            </table>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::app::state::{Model, ModelCard};

    #[test]
    fn networks_are_named_by_their_beta_if_that_tells_them_apart() {
        let model = |title: &str, beta| Model {
            path: format!("models/{title}"),
            title: title.to_owned(),
            card: Rc::new(ModelCard {
                beta,
                ..ModelCard::default()
            }),
            ..Model::default()
        };
        let mut state = State::default();
        state.models = vec![
            model("c", None),
            model("b", Some(3.0)),
            model("a", Some(1.5)),
            model("d", Some(3.0)),
        ];
        let names: Vec<_> = state.kin().iter().map(|kin| name(&state, kin)).collect();
        assert_eq!(names, ["β 1.5", "β 3 (b)", "β 3 (d)", "c"]);
    }
}
