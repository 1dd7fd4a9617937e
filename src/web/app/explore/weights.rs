//! What a false and a missed voxel weigh as beta moves.

use yew::prelude::*;

use super::{DrawingProps, Point};
use crate::loss::closed::TverskyWeights;
use crate::web::app::plot::{Axis, Frame, Scale, num, view_box};

const FRAME: Frame = Frame {
    x: Scale::linear(Point::BETA.0, Point::BETA.1),
    y: Scale::linear(0.0, 1.0),
};
const FINENESS: u32 = 70;

/// See the module.
#[component]
pub(super) fn Weights(props: &DrawingProps) -> Html {
    let hovered = use_state_eq(|| None::<f64>);
    let onpointermove = {
        let hovered = hovered.clone();
        Callback::from(move |event: PointerEvent| hovered.set(FRAME.under(&event).map(|[beta, _]| beta)))
    };
    let onpointerleave = {
        let hovered = hovered.clone();
        Callback::from(move |_: PointerEvent| hovered.set(None))
    };
    let beta = hovered.unwrap_or(props.point.beta);
    let TverskyWeights {
        false_positive,
        false_negative,
    } = TverskyWeights::of_beta(beta);
    let line = |weight: fn(TverskyWeights) -> f64| {
        FRAME.line((0..=FINENESS).map(|step| {
            let beta = FRAME.x.value(f64::from(step) / f64::from(FINENESS));
            [beta, weight(TverskyWeights::of_beta(beta))]
        }))
    };
    let said = format!(
        "At β {beta:.2} a false positive weighs {false_positive:.3} and a false negative {false_negative:.3}: {:.2} times \
         as much.",
        false_negative / false_positive
    );
    let [x, low] = FRAME.place([beta, 0.0]);
    let [_, high] = FRAME.place([beta, 1.0]);
    let dot = |weight: f64, class: &'static str| {
        let [x, y] = FRAME.place([beta, weight]);
        html! { <circle {class} cx={num(x)} cy={num(y)} r="5" /> }
    };
    html! {
        <figure class="card weights" aria-labelledby="weights-title">
            <h3 id="weights-title">{ "What an error weighs" }</h3>
            <svg viewBox={view_box()} role="img" aria-label={said.clone()} {onpointermove} {onpointerleave}>
                { FRAME.axes(
                    &Axis::tenths("beta", &[0.5, 1.0, 1.5, 2.0, 3.0, 4.0]),
                    &Axis::tenths("weight", &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
                ) }
                <line class="cursor" x1={num(x)} x2={num(x)} y1={num(low)} y2={num(high)} />
                <path class="line missed" d={line(|weights| weights.false_negative)} />
                <path class="line marked" d={line(|weights| weights.false_positive)} />
                { dot(false_negative, "missed") }
                { dot(false_positive, "marked") }
                { name("false negative", 3.25, 0.84) }
                { name("false positive", 3.25, 0.15) }
            </svg>
            <figcaption>{ said }</figcaption>
        </figure>
    }
}

fn name(words: &'static str, beta: f64, weight: f64) -> Html {
    let [x, y] = FRAME.place([beta, weight]);
    html! { <text class="label" x={num(x)} y={num(y)} text-anchor="middle">{ words }</text> }
}
