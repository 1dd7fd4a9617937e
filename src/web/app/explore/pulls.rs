//! How the losses pull at a missed and at a falsely marked voxel, from balanced classes to one in ten thousand.

use yew::prelude::*;

use super::{Compared, DrawingProps, Point};
use crate::web::app::controls::Slider;
use crate::web::app::plot::{Axis, Frame, Scale, num, view_box};

const FRAME: Frame = Frame {
    x: Scale::logarithmic(Point::RATIO.0, Point::RATIO.1),
    y: Scale::logarithmic(1e-8, 1e1),
};
const FINENESS: u32 = 80;

fn name(loss: Compared, beta: f64) -> Html {
    match loss {
        Compared::FBeta => html! { <>{ "1 − F" }<sub>{ format!("{beta:.1}") }</sub></> },
        Compared::Dice => "Dice".into(),
        Compared::CrossEntropy => "Cross-entropy".into(),
        Compared::Focal => "Focal".into(),
    }
}

fn class(loss: Compared) -> &'static str {
    match loss {
        Compared::FBeta => "f-beta",
        Compared::Dice => "dice",
        Compared::CrossEntropy => "cross-entropy",
        Compared::Focal => "focal",
    }
}

/// See the module.
#[component]
pub(super) fn Pulls(props: &DrawingProps) -> Html {
    let point = props.point;
    let hovered = use_state_eq(|| None::<f64>);
    let onpointermove = {
        let hovered = hovered.clone();
        Callback::from(move |event: PointerEvent| hovered.set(FRAME.under(&event).map(|[ratio, _]| ratio)))
    };
    let onpointerleave = {
        let hovered = hovered.clone();
        Callback::from(move |_: PointerEvent| hovered.set(None))
    };
    let ratio = hovered.unwrap_or(point.ratio);
    let wrong = props.moved.reform(move |wrong| Point {
        wrong,
        step: None,
        ..point
    });
    let [x, low] = FRAME.place([ratio, 1e-8]);
    let [_, high] = FRAME.place([ratio, 10.0]);
    let across = Axis {
        title: "background voxels for each lesion voxel".into(),
        ticks: [1.0, 10.0, 100.0, 1000.0, 10_000.0]
            .map(|ratio| (ratio, format!("{ratio}")))
            .to_vec(),
    };
    let up = Axis {
        title: "|dL/dp|".into(),
        ticks: [-8, -6, -4, -2, 0]
            .map(|power: i32| (10_f64.powi(power), format!("1e{power}")))
            .to_vec(),
    };
    html! {
        <figure class="card pulls" aria-labelledby="pulls-title">
            <h3 id="pulls-title">{ "How hard a loss pulls at one voxel" }</h3>
            <div class="beside">
                <svg
                    viewBox={view_box()}
                    role="img"
                    aria-label="Gradient of four losses over the imbalance of the classes; the table has the numbers"
                    {onpointermove}
                    {onpointerleave}
                >
                    { FRAME.axes(&across, &up) }
                    <line class="cursor" x1={num(x)} x2={num(x)} y1={num(low)} y2={num(high)} />
                    { for Compared::ALL.iter().rev().map(|&loss| html! {
                        <g class={class(loss)}>
                            <path class="line" d={line(point, loss, |pull| -pull.missed)} />
                            <path class="line dashed" d={line(point, loss, |pull| pull.falsely_marked)} />
                        </g>
                    }) }
                </svg>
                <div>
                    <table class="numbers">
                        <caption>{ format!("At 1 : {ratio:.0}") }</caption>
                        <thead><tr>
                            <th scope="col">{ "Loss" }</th>
                            <th scope="col">{ "Missed ━" }</th>
                            <th scope="col">{ "Falsely marked ╍" }</th>
                            <th scope="col">{ "Ratio" }</th>
                        </tr></thead>
                        <tbody>{ for Compared::ALL.iter().map(|&loss| row(point, loss, ratio)) }</tbody>
                    </table>
                    <Slider
                        label="Probability given to the truth"
                        value={point.wrong}
                        min={Point::WRONG.0}
                        max={Point::WRONG.1}
                        step=0.01
                        said={format!("{:.2}", point.wrong)}
                        moved={wrong}
                    />
                    <p class="hint">
                        { format!(
                            "The missed lesion voxel has p = {:.2}, the falsely marked one p = {:.2}. Cross-entropy and focal \
                             are means over all voxels, so background weakens them; 1 − Fβ and Dice do not know how much \
                             of it there is. A line starts where there is background enough for the false positives.",
                            point.wrong, 1.0 - point.wrong
                        ) }
                    </p>
                </div>
            </div>
        </figure>
    }
}

fn line(point: Point, loss: Compared, strength: fn(crate::loss::closed::point::Pull) -> f64) -> String {
    FRAME.line((0..=FINENESS).filter_map(|step| {
        let ratio = FRAME.x.value(f64::from(step) / f64::from(FINENESS));
        Some([ratio, strength(point.pull(loss, ratio)?).max(1e-8)])
    }))
}

fn row(point: Point, loss: Compared, ratio: f64) -> Html {
    let cells = point.pull(loss, ratio).map_or_else(
        || ["–".to_owned(), "–".to_owned(), "–".to_owned()],
        |pull| {
            [
                format!("{:.2e}", pull.missed).replace('-', "−"),
                format!("{:.2e}", pull.falsely_marked).replace('-', "−"),
                format!("{:.2}", -pull.missed / pull.falsely_marked),
            ]
        },
    );
    html! {
        <tr>
            <th scope="row"><span class={classes!("key", class(loss))} aria-hidden="true" />{ name(loss, point.beta) }</th>
            { for cells.into_iter().map(|cell| html! { <td>{ cell }</td> }) }
        </tr>
    }
}
