//! How the scan and the overlay are drawn.

use yew::prelude::*;

use super::controls::{Number, Slider, select};
use super::page::PanelProps;
use super::state::{Action, Display, Window};
use crate::web::messages::Slot;

/// Shown once there is something to look at.
#[component]
pub(super) fn ViewPanel(props: &PanelProps) -> Html {
    let PanelProps { state, act } = props;
    let look = &state.look;
    let Some(Window { low, high }) = look.window else {
        return Html::default();
    };
    let has_result = state.outcome().is_some();
    let images = vec![("flair".into(), "FLAIR".into()), ("t1".into(), "T1".into())];
    let image = if look.image == Slot::T1 { "t1" } else { "flair" };
    let show_image =
        act.reform(|key: String| Action::ShowImage(if key == "t1" { Slot::T1 } else { Slot::Flair }));
    let displays = [("mask", "Mask"), ("probability", "Probability"), ("none", "None")];
    let displays = displays
        .map(|(key, words)| (key.to_owned(), words.to_owned()))
        .to_vec();
    let display = match look.display {
        Display::Mask => "mask",
        Display::Probability => "probability",
        Display::None => "none",
    };
    let show = act.reform(|key: String| {
        Action::Show(match key.as_str() {
            "probability" => Display::Probability,
            "none" => Display::None,
            _ => Display::Mask,
        })
    });
    let reset = look.full_window.filter(|full| Some(*full) != look.window);
    html! {
        <section class="card" aria-labelledby="view-title">
            <h2 id="view-title">{ "View" }</h2>
            <div class="row two">
                if state.t1.is_open() {
                    { select("Image", image, images, false, show_image) }
                }
                { select("Overlay", display, displays, !has_result, show) }
            </div>
            <Slider
                label="Overlay opacity"
                value={look.opacity}
                min={0.0}
                max={1.0}
                step={0.05}
                said={format!("{:.0} %", look.opacity * 100.0)}
                moved={act.reform(Action::Opacity)}
                disabled={!has_result}
            />
            <div class="row window">
                <Number
                    label="Black at"
                    unit=""
                    value={tidy(low)}
                    changed={act.reform(move |low| Action::SetWindow(Window { low, high }))}
                />
                <Number
                    label="White at"
                    unit=""
                    value={tidy(high)}
                    changed={act.reform(move |high| Action::SetWindow(Window { low, high }))}
                />
                <button
                    type="button"
                    disabled={reset.is_none()}
                    onclick={{
                        let act = act.clone();
                        move |_| if let Some(full) = reset { act.emit(Action::SetWindow(full)); }
                    }}
                >{ "Reset" }</button>
            </div>
        </section>
    }
}

/// Four significant figures: what the viewer computed has more than anybody would type.
fn tidy(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let unit = 10f64.powi(value.abs().log10().floor() as i32 - 3);
    (value / unit).round() * unit
}
