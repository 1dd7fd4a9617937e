//! Which scan is shown, and in which window.

use yew::prelude::*;

use super::controls::{Number, select};
use super::page::PanelProps;
use super::state::{Action, Window};
use crate::web::messages::Slot;

/// Shown once there is something to look at.
#[component]
pub(super) fn ViewPanel(props: &PanelProps) -> Html {
    let PanelProps { state, act } = props;
    let look = &state.look;
    let Some(Window { low, high }) = look.window else {
        return Html::default();
    };
    let images = vec![("flair".into(), "FLAIR".into()), ("t1".into(), "T1".into())];
    let image = if look.image == Slot::T1 { "t1" } else { "flair" };
    let show_image =
        act.reform(|key: String| Action::ShowImage(if key == "t1" { Slot::T1 } else { Slot::Flair }));
    let reset = look.full_window.filter(|full| Some(*full) != look.window);
    let onreset = {
        let act = act.clone();
        move |_| {
            if let Some(full) = reset {
                act.emit(Action::SetWindow(full));
            }
        }
    };
    html! {
        <section class="card" aria-labelledby="view-title">
            <h2 id="view-title">{ "Image" }</h2>
            if state.t1.is_open() {
                { select("Scan shown", image, images, false, show_image) }
            }
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
                <button type="button" disabled={reset.is_none()} onclick={onreset}>{ "Reset" }</button>
            </div>
        </section>
    }
}

/// Four significant figures: what the viewer computed has more than anybody would type.
fn tidy(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let decimals = 3 - value.abs().log10().floor() as i32;
    let rounded = if decimals > 0 {
        // Through text, so that what is shown has no more digits than this.
        format!("{value:.0$}", decimals.unsigned_abs() as usize).parse()
    } else {
        Ok(value.round())
    };
    rounded.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_shown_with_four_figures() {
        for (value, shown) in [
            (348.200_012_207, "348.2"),
            (0.001_234_56, "0.001235"),
            (12_345.678, "12346"),
            (-0.25, "-0.25"),
            (0.0, "0"),
        ] {
            assert_eq!(tidy(value).to_string(), shown);
        }
    }
}
