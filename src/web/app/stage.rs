//! The viewer's place: canvas, panes, read-out, colour bar.

use std::rc::Rc;

use yew::prelude::*;

use super::controls::{Slider, segmented, select};
use super::state::{Action, Display, Layout, State};
use super::viewer::Location;
use crate::web::messages::Slot;

#[derive(Properties, PartialEq)]
pub(super) struct StageProps {
    pub(super) state: Rc<State>,
    pub(super) act: Callback<Action>,
    /// Where the viewer draws.
    pub(super) canvas: NodeRef,
    /// Where the crosshair is.
    pub(super) crosshair: Option<Location>,
    /// Moves the crosshair by voxels to the right, front and top of the patient.
    pub(super) step: Callback<(i32, i32, i32)>,
}

const LAYOUTS: [(Layout, &str); 5] = [
    (Layout::All, "All"),
    (Layout::Axial, "Axial"),
    (Layout::Coronal, "Coronal"),
    (Layout::Sagittal, "Sagittal"),
    (Layout::Render, "3-D"),
];

/// See the module.
#[component]
pub(super) fn Stage(props: &StageProps) -> Html {
    let look = &props.state.look;
    let radiological = look.radiological;
    let (convention, meaning) = if radiological {
        (
            "Radiological",
            "Radiological convention: the patient’s left is on the right of the screen",
        )
    } else {
        (
            "Neurological",
            "Neurological convention: the patient’s left is on the left of the screen",
        )
    };
    let onkeydown = {
        let step = props.step.clone();
        Callback::from(move |event: KeyboardEvent| {
            if let Some(voxels) = key_step(&event.key(), radiological) {
                event.prevent_default();
                step.emit(voxels);
            }
        })
    };
    html! {
        <section class="stage" aria-label="Viewer">
            <div class="toolbar">
                { segmented("Layout", "layout", look.layout, &LAYOUTS, &props.act.reform(Action::Arrange)) }
                { overlay(&props.state, &props.act) }
                <button
                    type="button"
                    class="quiet"
                    title={meaning}
                    onclick={props.act.reform(move |_| Action::Radiological(!radiological))}
                >{ format!("⇄ {convention}") }</button>
            </div>
            <div class="screen">
                <canvas
                    ref={props.canvas.clone()}
                    tabindex="0"
                    role="application"
                    aria-label="Scan viewer"
                    aria-describedby="viewer-keys"
                    {onkeydown}
                />
                <p id="viewer-keys" class="unseen">
                    { "Arrow keys move the crosshair left, right, front and back; Page Up and Page Down move it up and down. \
                       The wheel turns slices; a box drawn with the right button sets the image window." }
                </p>
                { cover(&props.state) }
            </div>
            <div class="readout">
                { readout(&props.state, props.crosshair) }
                { colour_bar(&props.state) }
            </div>
        </section>
    }
}

/// What lies over the scan, once there is a result.
fn overlay(state: &State, act: &Callback<Action>) -> Html {
    if state.outcome().is_none() {
        return Html::default();
    }
    let compared = state
        .outcome()
        .is_some_and(|outcome| outcome.comparison.is_some());
    let choices = [
        ("mask", "Mask"),
        ("probability", "Probability"),
        ("comparison", "Against reference"),
        ("none", "None"),
    ];
    let choices = choices
        .into_iter()
        .filter(|(key, _)| compared || *key != "comparison")
        .map(|(key, words)| (key.to_owned(), words.to_owned()))
        .collect();
    let display = match state.look.display {
        Display::Mask => "mask",
        Display::Probability => "probability",
        Display::Comparison => "comparison",
        Display::None => "none",
    };
    let show = act.reform(|key: String| {
        Action::Show(match key.as_str() {
            "probability" => Display::Probability,
            "comparison" => Display::Comparison,
            "none" => Display::None,
            _ => Display::Mask,
        })
    });
    html! {
        <div class="overlay">
            { select("Overlay", display, choices, false, show) }
            <Slider
                label="Overlay opacity"
                value={state.look.opacity}
                min={0.0}
                max={1.0}
                step={0.05}
                said={format!("{:.0} %", state.look.opacity * 100.0)}
                moved={act.reform(Action::Opacity)}
            />
        </div>
    }
}

/// What stands on the screen while no scan does.
fn cover(state: &State) -> Html {
    if let Some(problem) = &state.look.broken {
        return html! {
            <div class="cover">
                <p>{ "The scan cannot be shown here: " }{ problem }</p>
                <p>{ "Segmenting and saving still work." }</p>
            </div>
        };
    }
    if state.look.window.is_some() {
        return Html::default();
    }
    if state.flair.file().is_some() {
        return html! { <div class="cover"><p>{ "Opening the scan…" }</p></div> };
    }
    html! {
        <div class="cover">
            <p class="big">{ "Drop a FLAIR here" }</p>
            <p>{ "and its T1, if you have one. NIfTI, .nii or .nii.gz." }</p>
            <p class="private">{ "Nothing leaves this computer. Research use only." }</p>
        </div>
    }
}

fn readout(state: &State, crosshair: Option<Location>) -> Html {
    let Some(Location {
        mm,
        intensity,
        overlay,
    }) = crosshair.filter(|_| state.look.window.is_some())
    else {
        return html! { <p class="where" /> };
    };
    let [x, y, z] = mm.map(|mm| {
        // No "−0.0".
        let tenths = (mm * 10.0).round() / 10.0 + 0.0;
        format!("{tenths:.1}").replace('-', "−")
    });
    let image = if state.look.image == Slot::T1 {
        "T1"
    } else {
        "FLAIR"
    };
    let over = overlay.map(|value| match state.look.display {
        Display::Mask if value > 0.5 => "lesion".to_owned(),
        Display::Mask => "no lesion".to_owned(),
        Display::Comparison => match value.round() as i64 {
            1 => "true positive".to_owned(),
            2 => "false positive".to_owned(),
            3 => "false negative".to_owned(),
            _ => "no lesion in either".to_owned(),
        },
        _ => format!("probability {value:.2}"),
    });
    html! {
        <p class="where">
            <span title="World coordinates (right, anterior, superior)">{ format!("x {x}  y {y}  z {z} mm") }</span>
            <span>{ format!("{image} {}", figures(intensity)) }</span>
            if let Some(over) = over {
                <span>{ over }</span>
            }
        </p>
    }
}

/// A voxel's value with as many digits as its size asks for.
fn figures(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn colour_bar(state: &State) -> Html {
    if state.outcome().is_none() {
        return Html::default();
    }
    match state.look.display {
        Display::None => Html::default(),
        Display::Mask => html! { <p class="legend"><span class="swatch" />{ "Lesion mask" }</p> },
        Display::Comparison => html! {
            <p class="legend">
                <span class="swatch tp" />{ "both" }
                <span class="swatch fp" />{ "mask only" }
                <span class="swatch fn" />{ "reference only" }
            </p>
        },
        Display::Probability => html! {
            <p class="legend">
                { "0" }
                <meter
                    class="plasma"
                    aria-label="Probabilities drawn from the threshold up"
                    min="0"
                    max="1"
                    value={state.cut.threshold.to_string()}
                />
                { "1 probability" }
            </p>
        },
    }
}

/// Voxels to the right, front and top that a key stands for; left and right are those of the screen.
fn key_step(key: &str, radiological: bool) -> Option<(i32, i32, i32)> {
    let right = if radiological { -1 } else { 1 };
    Some(match key {
        "ArrowRight" => (right, 0, 0),
        "ArrowLeft" => (-right, 0, 0),
        "ArrowUp" => (0, 1, 0),
        "ArrowDown" => (0, -1, 0),
        "PageUp" => (0, 0, 1),
        "PageDown" => (0, 0, -1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_arrow_goes_right_on_the_screen() {
        // Radiological: the screen's right is the patient's left, which is negative x.
        assert_eq!(key_step("ArrowRight", true), Some((-1, 0, 0)));
        assert_eq!(key_step("ArrowRight", false), Some((1, 0, 0)));
        assert_eq!(key_step("ArrowLeft", true), Some((1, 0, 0)));
        assert_eq!(key_step("PageUp", true), Some((0, 0, 1)));
        assert_eq!(key_step("Tab", true), None);
    }

    #[test]
    fn figures_follow_the_size() {
        assert_eq!(figures(412.0), "412");
        assert_eq!(figures(12345.678), "12346");
        assert_eq!(figures(0.125), "0.125");
    }
}
