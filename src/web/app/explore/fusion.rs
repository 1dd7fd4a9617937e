//! How patches become one map: tiles, votes, weights, disagreement and seams, on a scan.

use std::rc::Rc;

use yew::prelude::*;

use super::pictures::{Palette, Pixels};
use super::scan::{opening, planes, running};
use crate::pipeline::fusion::{Layer, WindowNumbers};
use crate::tiling::Window;
use crate::web::app::controls::select;
use crate::web::app::page::PanelProps;
use crate::web::app::plot::{Axis, Frame, Scale, view_box};
use crate::web::app::state::{Action, Drawing, State, StudyAction};
use crate::web::app::words;
use crate::web::studies::{Seen, Told};

#[derive(Properties, PartialEq)]
pub(in crate::web::app) struct FusionProps {
    pub(in crate::web::app) panel: PanelProps,
    pub(in crate::web::app) pixels: Option<Rc<Pixels>>,
}

const LAYERS: [(Layer, &str, &str); 4] = [
    (Layer::Weights, "weights", "Sum of weights"),
    (Layer::Votes, "votes", "Number of votes"),
    (Layer::Probability, "probability", "Fused probability"),
    (Layer::Disagreement, "disagreement", "Disagreement of the votes"),
];

/// A layer's name in addresses and controls.
pub(in crate::web::app) fn layer_key(layer: Layer) -> &'static str {
    LAYERS
        .iter()
        .find(|known| known.0 == layer)
        .map_or("weights", |known| known.1)
}

/// The layer of a name.
pub(in crate::web::app) fn layer_of(key: &str) -> Option<Layer> {
    LAYERS.iter().find(|known| known.1 == key).map(|known| known.0)
}

fn window_words(window: Window) -> &'static str {
    match window {
        Window::Bspline => "B-spline",
        Window::Gaussian => "Gaussian",
        Window::Uniform => "Uniform",
    }
}

/// See the module.
#[component]
pub(in crate::web::app) fn Fusion(props: &FusionProps) -> Html {
    let PanelProps { state, act } = &props.panel;
    html! {
        <>
            <div class="intro">
                <h2>{ "How patches are fused" }</h2>
                <p>
                    { "The network sees patches, not the head. Neighbouring patches overlap, every patch votes on each of its voxels, and a \
                       window gives votes near the patch’s middle more weight: P = Σ W p / Σ W. Where votes disagree, the fused \
                       probability is uncertain; where the window is wrong, patch borders show as seams." }
                </p>
            </div>
            if let Some(opening) = opening(state, act) { { opening } } else { { open(props) } }
            <Profiles />
        </>
    }
}

fn open(props: &FusionProps) -> Html {
    let PanelProps { state, act } = &props.panel;
    let seen = state.study.seen(Drawing::Fusion);
    let told = seen.and_then(|seen| match &seen.told {
        Told::Fusion {
            tiles,
            windows,
            stale,
        } => Some((*tiles, windows, *stale)),
        _ => None,
    });
    let layer = state.study.layer;
    let go = act.reform(|place| Action::Study(StudyAction::Place(place)));
    let highest = seen.map_or(1.0, |seen| seen.highest);
    let palette = Palette::UpTo(if layer == Layer::Probability { 1.0 } else { highest });
    let missing = layer.of_a_run() && told.is_some_and(|(_, windows, _)| windows.is_empty());
    html! {
        <>
            <section class="card sliders" aria-labelledby="layer-title">
                <h3 id="layer-title">{ "What is drawn" }</h3>
                { choose_layer(layer, act) }
                { choose_window(state.study.window, act) }
                if let Some((tiles, ..)) = told {
                    <p class="hint">{ sizes(state, tiles) }</p>
                }
                { compare(state, act, told.map(|(_, windows, stale)| (windows.is_empty(), stale))) }
            </section>
            <section class="card drawn" aria-labelledby="fusion-title">
                <h3 id="fusion-title">{ format!("{}, {}", words_of(layer), window_words(state.study.window)) }</h3>
                { planes(seen, props.pixels.as_ref(), palette, go) }
                if missing {
                    <p class="hint">{ "This layer needs a run with all windows." }</p>
                } else {
                    { bar(layer, palette, seen) }
                }
            </section>
            if let Some((_, windows, _)) = told {
                if !windows.is_empty() { { numbers(windows, state.study.window) } }
            }
        </>
    }
}

fn words_of(layer: Layer) -> &'static str {
    LAYERS
        .iter()
        .find(|known| known.0 == layer)
        .map_or("", |known| known.2)
}

fn choose_layer(layer: Layer, act: &Callback<Action>) -> Html {
    let choices = LAYERS
        .map(|(_, key, words)| (key.to_owned(), words.to_owned()))
        .to_vec();
    let changed =
        act.reform(|key: String| Action::Study(StudyAction::Layer(layer_of(&key).unwrap_or_default())));
    select("Layer", layer_key(layer), choices, false, changed)
}

fn choose_window(window: Window, act: &Callback<Action>) -> Html {
    let choices = Window::ALL
        .map(|window| (window.name().to_owned(), window_words(window).to_owned()))
        .to_vec();
    let changed =
        act.reform(|key: String| Action::Study(StudyAction::Window(key.parse().unwrap_or(Window::Bspline))));
    select("Window drawn", window.name(), choices, false, changed)
}

fn sizes(state: &State, tiles: usize) -> String {
    let rotations = if state.settings.rotations {
        ", four orientations each"
    } else {
        ""
    };
    format!(
        "{} in all, overlap {:.0} %{rotations}; those that the slice cuts are outlined. Patch and overlap are set in Segment.",
        words::counted(tiles, "patch"),
        100.0 * state.settings.overlap
    )
}

/// The run that all layers need; `(none, stale)` says whether its maps are missing, and whether there are older ones.
fn compare(state: &State, act: &Callback<Action>, maps: Option<(bool, bool)>) -> Html {
    if let Some(running) = running(state, act) {
        return running;
    }
    match maps {
        Some((true, stale)) => html! {
            <>
                if stale {
                    <p class="hint">{ "The maps of the last run were cut into other patches." }</p>
                }
                <button
                    type="button"
                    class="primary"
                    disabled={!state.can_segment()}
                    onclick={act.reform(|_| Action::Study(StudyAction::RunWindows))}
                >{ "Segment with all three windows" }</button>
                <p class="hint">{ "One run; its votes are fused by every window side by side." }</p>
            </>
        },
        _ => Html::default(),
    }
}

fn bar(layer: Layer, palette: Palette, seen: Option<&Rc<Seen>>) -> Html {
    let Palette::UpTo(highest) = palette else {
        return Html::default();
    };
    let value = seen.and_then(|seen| seen.value);
    let unit = match layer {
        Layer::Votes => "votes",
        Layer::Weights => "sum of weights (a patch’s voxels weigh 1 on average)",
        Layer::Probability => "probability",
        Layer::Disagreement => "standard deviation of the votes",
    };
    html! {
        <p class="legend">
            { "0" }<span class="plasma ramp" />{ figures(highest) }{ " " }{ unit }
            if let Some(value) = value { <strong>{ format!("{} at the crosshair", figures(value)) }</strong> }
        </p>
    }
}

fn figures(value: f32) -> String {
    if value.fract() == 0.0 || value >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn numbers(windows: &[WindowNumbers], shown: Window) -> Html {
    let four = |value: f64| format!("{value:.4}");
    html! {
        <section class="card" aria-labelledby="seams-title">
            <h3 id="seams-title">{ "Seams and disagreement" }</h3>
            <div class="scroll" role="region" aria-label="Seams and disagreement of every window" tabindex="0">
                <table class="numbers">
                    <thead><tr>
                        <th scope="col">{ "Window" }</th>
                        <th scope="col">{ "Mean jump across patch borders" }</th>
                        <th scope="col">{ "Mean jump elsewhere" }</th>
                        <th scope="col">{ "Ratio" }</th>
                        <th scope="col">{ "Largest jump across" }</th>
                        <th scope="col">{ "Mean disagreement" }</th>
                        <th scope="col">{ "Largest" }</th>
                    </tr></thead>
                    <tbody>{ for windows.iter().map(|of| html! {
                        <tr class={(of.window == shown).then_some("chosen")}>
                            <th scope="row">{ window_words(of.window) }</th>
                            <td>{ four(of.seams.across.mean) }</td>
                            <td>{ four(of.seams.elsewhere.mean) }</td>
                            <td>{ of.seams.ratio().map_or("–".to_owned(), |ratio| format!("{ratio:.2}")) }</td>
                            <td>{ format!("{:.3}", of.seams.across.largest) }</td>
                            <td>{ four(of.mean_disagreement) }</td>
                            <td>{ format!("{:.3}", of.largest_disagreement) }</td>
                        </tr>
                    }) }</tbody>
                </table>
            </div>
            if let Some(first) = windows.first() {
                <p class="hint">
                    { format!("A jump is the difference of the fused probability between neighbouring voxels of the head, {} pairs across \
                       borders and {} elsewhere. Without seams the ratio is near 1, unless the borders happen to run where much changes \
                       (through lesions): then it is raised for every window alike, and what tells a seam is the difference between \
                       windows. Disagreement is the weighted standard deviation of a voxel’s votes.",
                       first.seams.across.pairs, first.seams.elsewhere.pairs) }
                </p>
            }
        </section>
    }
}

/// The three windows along one axis.
#[component]
fn Profiles() -> Html {
    const SIDE: usize = 64;
    const FRAME: Frame = Frame {
        x: Scale::linear(0.0, 63.0),
        y: Scale::linear(0.0, 1.0),
    };
    let across = Axis {
        title: "voxel of a patch of 64".into(),
        ticks: [0.0, 16.0, 32.0, 48.0, 63.0]
            .map(|x| (x, format!("{x}")))
            .to_vec(),
    };
    let classes = ["f-beta", "dice", "focal"];
    html! {
        <section class="card half" aria-labelledby="profiles-title">
            <h3 id="profiles-title">{ "The windows along one axis" }</h3>
            <figure>
                <svg viewBox={view_box()} role="img" aria-label="Weights of the three windows along one axis of a patch">
                    { FRAME.axes(&across, &Axis::tenths("weight (largest 1)", &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0])) }
                    { for Window::ALL.into_iter().zip(classes).map(|(window, class)| {
                        let points = window.profile(SIDE).into_iter().enumerate().map(|(x, w)| [x as f64, w]);
                        html! { <g {class}><path class="line" d={FRAME.line(points)} /></g> }
                    }) }
                </svg>
                <p class="keys">
                    { for Window::ALL.into_iter().zip(classes).map(|(window, class)| html! {
                        <span {class}><span class="key" />{ window_words(window) }</span>
                    }) }
                </p>
                <figcaption class="hint">
                    { "At 50 % overlap neighbouring splines add up to a constant everywhere: a vote fades out exactly as the next one fades \
                       in. The sum of neighbouring Gaussians falls to about a quarter midway between two patches’ middles, which the \
                       division by Σ W makes up for; the uniform window drops from one to nothing at the border." }
                </figcaption>
            </figure>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_about_the_windows_are_true() {
        let sums = |window: Window| -> Vec<f64> {
            let w = window.profile(64);
            (0..32).map(|x| w[x] + w[x + 32]).collect()
        };
        assert!(sums(Window::Bspline).iter().all(|sum| (sum - 1.0).abs() < 1e-12));
        let gaussian = sums(Window::Gaussian);
        let [low, high] = [f64::min, f64::max].map(|f| gaussian.iter().copied().reduce(f).unwrap());
        assert!((0.24..0.30).contains(&(low / high)), "{}", low / high);
    }

    #[test]
    fn layers_have_names() {
        for (layer, key, _) in LAYERS {
            assert_eq!(layer_of(key), Some(layer));
            assert_eq!(layer_key(layer), key);
        }
        assert_eq!(layer_of("x"), None);
        assert_eq!([figures(8.0), figures(0.25)], ["8", "0.250"]);
    }
}
