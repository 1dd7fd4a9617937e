//! F_beta over precision and recall.

use yew::prelude::*;

use super::DrawingProps;
use crate::loss::closed::point::{f_beta_of, iso_least_precision, iso_recall};
use crate::web::app::plot::{Axis, Frame, Scale, num, view_box};

const FRAME: Frame = Frame {
    x: Scale::linear(0.0, 1.0),
    y: Scale::linear(0.0, 1.0),
};
const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Points of an iso-line.
const FINENESS: u32 = 60;

/// See the module: iso-lines, the point, and the score under the pointer.
#[component]
pub(super) fn Square(props: &DrawingProps) -> Html {
    let point = props.point;
    let hovered = use_state_eq(|| None::<[f64; 2]>);
    let onpointermove = {
        let hovered = hovered.clone();
        Callback::from(move |event: PointerEvent| hovered.set(FRAME.under(&event)))
    };
    let onpointerleave = {
        let hovered = hovered.clone();
        Callback::from(move |_: PointerEvent| hovered.set(None))
    };
    let ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    let counts = point.counts();
    let mark = counts.recall().zip(counts.precision());
    let [recall, precision] =
        (*hovered).unwrap_or(mark.map_or([0.0; 2], |(recall, precision)| [recall, precision]));
    let place = if hovered.is_some() {
        "Under the pointer"
    } else {
        "The mask"
    };
    let score =
        |beta| f_beta_of(precision, recall, beta).map_or("no score".to_owned(), |f| format!("{f:.3}"));
    let (f, dice) = (score(point.beta), score(1.0));
    let at = format!("{place}: recall {recall:.2}, precision {precision:.2}");
    html! {
        <figure class="card square" aria-labelledby="square-title">
            <h3 id="square-title">{ "The score over precision and recall" }</h3>
            <svg
                viewBox={view_box()}
                role="img"
                aria-label={format!("Iso-lines of F at beta {:.1}. {at}: F {f}, Dice {dice}", point.beta)}
                {onpointermove}
                {onpointerleave}
            >
                { for LEVELS.iter().map(|&level| html! { <path class="band" d={region(level, point.beta)} /> }) }
                { FRAME.axes(&Axis::tenths("recall", &ticks), &Axis::tenths("precision", &ticks)) }
                { for LEVELS.iter().map(|&level| iso_line(level, point.beta)) }
                if let Some((recall, precision)) = mark {
                    { dot([recall, precision], "point") }
                }
                if let Some(under) = *hovered {
                    { dot(under, "ghost") }
                }
            </svg>
            <figcaption>
                { at }{ ", F" }<sub>{ format!("{:.1}", point.beta) }</sub>{ format!(" {f}, Dice {dice}") }
            </figcaption>
        </figure>
    }
}

/// Points of the iso-line of a level from a recall of 1 to a precision of 1.
fn points(level: f64, beta: f64) -> impl Iterator<Item = [f64; 2]> {
    let least = iso_least_precision(level, beta);
    let between = (1..=FINENESS).filter_map(move |step| {
        // Squared, since the line bends most where it starts.
        let along = (f64::from(step) / f64::from(FINENESS)).powi(2);
        let precision = least + (1.0 - least) * along;
        Some([iso_recall(level, precision, beta)?, precision])
    });
    std::iter::once([1.0, least]).chain(between)
}

/// All that scores at least a level.
fn region(level: f64, beta: f64) -> String {
    FRAME.line(points(level, beta).chain([[1.0, 1.0]])) + "Z"
}

fn iso_line(level: f64, beta: f64) -> Html {
    // The number stands where the line crosses the diagonal: precision and recall are both the score there.
    let [x, y] = FRAME.place([level, level]);
    html! {
        <>
            <path class="iso" d={FRAME.line(points(level, beta))} />
            <text class="level" x={num(x)} y={num(y + 4.0)} text-anchor="middle">{ format!("{level}") }</text>
        </>
    }
}

fn dot(at: [f64; 2], class: &'static str) -> Html {
    let [x, y] = FRAME.place(at);
    html! { <circle {class} cx={num(x)} cy={num(y)} r="6" /> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_of_an_iso_line_has_its_score() {
        for beta in [0.5, 1.0, 1.5, 4.0] {
            for level in LEVELS {
                let line: Vec<_> = points(level, beta).collect();
                assert_eq!(line.len(), FINENESS as usize + 1, "beta {beta}, level {level}");
                for [recall, precision] in line {
                    let f = f_beta_of(precision, recall, beta).unwrap();
                    assert!((f - level).abs() < 1e-9, "{f} at {precision}, {recall}");
                }
            }
        }
    }
}
