//! Curves over training steps, and precision over recall.

use yew::prelude::*;

use crate::web::app::plot::{Axis, Frame, Scale, num, view_box};

/// A line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// What it is, for the key.
    pub(super) name: &'static str,
    /// Class of its colour: `s1` to `s4`, or `faint`.
    pub(super) class: &'static str,
    /// Points in order.
    pub(super) points: Vec<[f64; 2]>,
}

/// Most points of a line: more than there are pixels, and few enough to draw in a frame's time.
const MOST_POINTS: usize = 400;

#[derive(Properties, PartialEq)]
pub(super) struct ChartProps {
    /// What it shows, for those who do not see it.
    pub(super) about: AttrValue,
    /// Title of the axis to the right.
    pub(super) across: &'static str,
    /// Title of the axis upwards.
    pub(super) up: &'static str,
    /// Range to the right.
    pub(super) x: (f64, f64),
    /// Range upwards.
    pub(super) y: (f64, f64),
    /// The lines.
    pub(super) series: Vec<Series>,
    /// Points to mark: a class and the place.
    #[prop_or_default]
    pub(super) marks: Vec<(&'static str, [f64; 2])>,
}

/// A chart with its key.
#[component]
pub(super) fn Chart(props: &ChartProps) -> Html {
    let frame = Frame {
        x: Scale::linear(props.x.0, props.x.1),
        y: Scale::linear(props.y.0, props.y.1),
    };
    let axis = |title: &'static str, (low, high)| Axis {
        title: title.into(),
        ticks: ticks(low, high),
    };
    html! {
        <figure class="chart">
            <svg viewBox={view_box()} role="img" aria-label={&props.about}>
                { frame.axes(&axis(props.across, props.x), &axis(props.up, props.y)) }
                { for props.series.iter().map(|series| html! {
                    <path class={classes!("line", series.class)} d={frame.line(thinned(&series.points))} />
                }) }
                { for props.marks.iter().map(|(class, place)| {
                    let [x, y] = frame.place(*place);
                    html! { <circle class={classes!("mark", *class)} cx={num(x)} cy={num(y)} r="5" /> }
                }) }
            </svg>
            <figcaption class="keys">
                { for props.series.iter().map(|series| html! {
                    <span><span class={classes!("key", series.class)} />{ series.name }</span>
                }) }
            </figcaption>
        </figure>
    }
}

/// At most [`MOST_POINTS`] of the points, the last among them.
fn thinned(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let mut thin: Vec<[f64; 2]> = points.iter().step_by(every).copied().collect();
    if let Some(last) = points.last().filter(|last| thin.last() != Some(last)) {
        thin.push(*last);
    }
    thin
}

/// About five round values from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 5.0;
    if rough.is_nan() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last)
        .map(|n| {
            let value = n as f64 * step;
            (value, format!("{value:.decimals$}"))
        })
        .collect()
}

/// A range that holds all values, from zero, with some room above.
pub(super) fn from_zero(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let most = values.into_iter().filter(|v| v.is_finite()).fold(0.0, f64::max);
    (0.0, if most > 0.0 { most * 1.05 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let said =
            |low, high| -> Vec<String> { ticks(low, high).into_iter().map(|(_, words)| words).collect() };
        assert_eq!(said(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(said(0.0, 300.0), ["0", "100", "200", "300"]);
        assert_eq!(said(0.0, 0.0), [""; 0]);
        assert_eq!(said(0.0, f64::NAN), [""; 0]);
    }

    #[test]
    fn a_long_line_is_thinned_and_ends_where_it_ends() {
        let points: Vec<[f64; 2]> = (0..1001).map(|i| [f64::from(i), 0.0]).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS + 1, "{}", thin.len());
        assert_eq!((thin[0], thin[thin.len() - 1]), ([0.0; 2], [1000.0, 0.0]));
        assert_eq!(thinned(&points[..3]).len(), 3);
        assert_eq!(from_zero([]), (0.0, 1.0));
        assert_eq!(from_zero([f64::NAN, 2.0]), (0.0, 2.1));
    }
}
