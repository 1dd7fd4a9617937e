//! The family's curves: precision and recall, volume and count over the threshold.

use yew::prelude::*;

use crate::metrics::PrPoint;
use crate::pipeline::family::{AtCut, Level};
use crate::web::app::comparison::{at_threshold, nearest};
use crate::web::app::plot::{Axis, Frame, Scale, num, view_box};
use crate::web::app::state::Action;
use crate::web::studies::MemberCurves;

/// Classes of lines, told apart by every kind of colour vision.
const LINES: [&str; 4] = ["f-beta", "dice", "cross-entropy", "focal"];

fn line_class(at: usize) -> &'static str {
    LINES[at % LINES.len()]
}

const SQUARE: Frame = Frame {
    x: Scale::linear(0.0, 1.0),
    y: Scale::linear(0.0, 1.0),
};
const TENTHS: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];

fn key(names: &[String]) -> Html {
    html! {
        <p class="keys">
            { for names.iter().enumerate().map(|(at, name)| html! {
                <span class={line_class(at)}><span class="key" />{ name }</span>
            }) }
        </p>
    }
}

#[derive(Properties, PartialEq)]
pub(super) struct PrProps {
    pub(super) names: Vec<String>,
    pub(super) members: Vec<MemberCurves>,
    /// Every member at the present cut.
    pub(super) at: Vec<AtCut>,
    /// The member on show, whose point can be dragged.
    pub(super) member: usize,
    pub(super) act: Callback<Action>,
}

/// The precision-recall curves of all members with their present points.
#[component]
pub(super) fn PrCurves(props: &PrProps) -> Html {
    let PrProps {
        names,
        members,
        at,
        member,
        act,
    } = props;
    let curve: Vec<PrPoint> = members
        .get(*member)
        .and_then(|member| member.ranked.as_ref())
        .map(|ranked| ranked.curve.clone())
        .unwrap_or_default();
    if curve.is_empty() {
        return Html::default();
    }
    let drag = {
        let (act, curve) = (act.clone(), curve);
        Callback::from(move |event: PointerEvent| {
            // Hovering moves nothing: a button is down, or a finger.
            if event.buttons() & 1 == 0 {
                return;
            }
            if let Some(point) = SQUARE.under(&event).and_then(|at| nearest(&curve, at)) {
                act.emit(Action::Threshold(point.threshold.clamp(0.01, 0.99)));
            }
        })
    };
    html! {
        <section class="card half" aria-labelledby="pr-title">
            <h3 id="pr-title">{ "Precision and recall" }</h3>
            <figure>
                <svg class="drag" viewBox={view_box()} role="img" aria-label="Precision-recall curves of all networks"
                    onpointerdown={drag.clone()} onpointermove={drag}>
                    { SQUARE.axes(&Axis::tenths("recall", &TENTHS), &Axis::tenths("precision", &TENTHS)) }
                    { for members.iter().enumerate().filter_map(|(i, of)| {
                        let ranked = of.ranked.as_ref()?;
                        let point = at.get(i).and_then(|at| at.voxels.as_ref()).and_then(|v| v.tpr().zip(v.ppv()));
                        let best = ranked.best.first().and_then(|best| at_threshold(&ranked.curve, best.threshold));
                        Some(html! {
                            <g class={line_class(i)}>
                                <path class="line" d={SQUARE.line(ranked.curve.iter().map(|p| [p.recall, p.precision]))} />
                                if let Some([x, y]) = best.map(|p| SQUARE.place([p.recall, p.precision])) {
                                    <circle class="ghost" cx={num(x)} cy={num(y)} r="4.5" />
                                }
                                if let Some([x, y]) = point.map(|(recall, precision)| SQUARE.place([recall, precision])) {
                                    <circle class="here" cx={num(x)} cy={num(y)} r={if i == *member { "6.5" } else { "4" }} />
                                }
                            </g>
                        })
                    }) }
                </svg>
                { key(names) }
                <figcaption class="hint">
                    { "Dots: the present threshold, after small lesions are dropped; drag the large one. Rings: where each network’s own \
                       Fβ is largest, with hindsight." }
                </figcaption>
            </figure>
        </section>
    }
}

#[derive(Properties, PartialEq)]
pub(super) struct LevelProps {
    pub(super) names: Vec<String>,
    pub(super) members: Vec<MemberCurves>,
    pub(super) threshold: f32,
    pub(super) member: usize,
}

/// Volume and number of lesions over the threshold.
#[component]
pub(super) fn LevelCurves(props: &LevelProps) -> Html {
    let counted = props.members.iter().all(|member| !member.levels.is_empty());
    if !counted {
        return html! {
            <section class="card half" aria-label="Volume and count">
                <p class="hint">{ "Counting lesions at every threshold…" }</p>
            </section>
        };
    }
    let chart = |title: &'static str, of: fn(&Level) -> f64| {
        let values = props
            .members
            .iter()
            .flat_map(|member| member.levels.iter().map(of));
        let top = nice(values.fold(0.0, f64::max));
        let frame = Frame {
            x: Scale::linear(0.0, 1.0),
            y: Scale::linear(0.0, top),
        };
        let up = Axis {
            title: title.into(),
            ticks: (0..=4_u8)
                .map(|i| (top * f64::from(i) / 4.0, short(top * f64::from(i) / 4.0)))
                .collect(),
        };
        let [x, bottom] = frame.place([f64::from(props.threshold), 0.0]);
        let [_, ceiling] = frame.place([0.0, top]);
        html! {
            <figure>
                <svg viewBox={view_box()} role="img" aria-label={format!("{title} over the threshold, for every network")}>
                    { frame.axes(&Axis::tenths("threshold", &TENTHS), &up) }
                    <path class="cursor" d={format!("M{x:.1} {bottom:.1}V{ceiling:.1}")} />
                    { for props.members.iter().enumerate().map(|(i, member)| html! {
                        <g class={classes!(line_class(i), (i == props.member).then_some("chosen"))}>
                            <path class="line" d={frame.line(member.levels.iter().map(|level| [f64::from(level.threshold), of(level)]))} />
                        </g>
                    }) }
                </svg>
            </figure>
        }
    };
    html! {
        <section class="card half" aria-labelledby="levels-title">
            <h3 id="levels-title">{ "What the threshold does" }</h3>
            { chart("lesion load, mL", |level| level.load_ml) }
            { chart("lesions", |level| level.lesions as f64) }
            { key(&props.names) }
        </section>
    }
}

/// The next value that four ticks divide well: 1, 2, 4 or 8 times a power of ten.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powi(value.log10().floor() as i32);
    let fits = [1.0, 2.0, 4.0, 8.0, 10.0]
        .into_iter()
        .find(|step| step * unit >= value);
    fits.unwrap_or(10.0) * unit
}

/// A tick without trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        for (value, top) in [
            (0.0, 1.0),
            (0.03, 0.04),
            (1.0, 1.0),
            (3.2, 4.0),
            (37.0, 40.0),
            (81.0, 100.0),
        ] {
            assert!(
                (nice(value) / top - 1.0).abs() < 1e-12,
                "{value}: {}",
                nice(value)
            );
        }
        assert_eq!([short(0.5), short(20.0), short(0.0)], ["0.5", "20", "0"]);
    }
}
