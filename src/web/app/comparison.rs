//! A result beside the reference: every score with its definition, and the precision-recall curve.

use std::rc::Rc;

use yew::prelude::*;

use super::page::PanelProps;
use super::plot::{Axis, Frame, Scale, num, view_box};
use super::state::Action;
use crate::metrics::{Evaluation, PrPoint};
use crate::pipeline::Comparison;

const FRAME: Frame = Frame {
    x: Scale::linear(0.0, 1.0),
    y: Scale::linear(0.0, 1.0),
};

/// A score: name, value, unit, and what it is. The page shows what `lab evaluate` prints.
struct Score {
    name: &'static str,
    value: Option<f64>,
    definition: String,
}

fn voxel_scores(of: &Evaluation) -> [Score; 8] {
    let score = |name, value, definition: &str| Score {
        name,
        value,
        definition: definition.to_owned(),
    };
    [
        score(
            "DSC",
            of.dsc,
            "Dice similarity coefficient of voxels, 2 TP / (2 TP + FP + FN). The same as F1.",
        ),
        score(
            "PPV",
            of.ppv,
            "Precision: share of the marked voxels that is lesion, TP / (TP + FP).",
        ),
        score(
            "TPR",
            of.tpr,
            "Recall: share of the lesion voxels that is marked, TP / (TP + FN).",
        ),
        score(
            "Specificity",
            of.specificity,
            "Share of the voxels without lesion that is not marked, TN / (TN + FP). Near 1 for any method, since most of a scan is no lesion.",
        ),
        score(
            "F2",
            of.f2,
            "F score with beta 2, 5 TP / (5 TP + 4 FN + FP): missing counts four times as much as marking wrongly.",
        ),
        score(
            "APR",
            of.apr,
            "Area under the precision-recall curve over all thresholds, as average precision (a sum of rectangles, not interpolated).",
        ),
        score(
            "VD",
            of.vd,
            "Absolute difference of the lesion volumes, relative to the reference's.",
        ),
        score(
            "ACE",
            of.calibration.average_error,
            "Average calibration error: how far probabilities are from frequencies, the mean over ten bins of probability.",
        ),
    ]
}

fn lesion_scores(of: &Evaluation) -> [Score; 5] {
    let neighbours = u8::from(of.settings.connectivity);
    let smallest = of.settings.min_lesion_mm3;
    let isbi = format!(
        "Lesions are {neighbours}-connected, those of the mask below {smallest} mm³ are dropped; one common voxel is a meeting (ISBI 2015)."
    );
    let rule = &of.settings.msseg;
    let msseg = format!(
        "Lesions are {}-connected and larger than {} mm³; detected if more than {:.0} % is covered by lesions of the other mask that \
         lie at most {:.0} % outside, visited until {:.0} % of the overlap (MSSEG 2016, Anima).",
        u8::from(rule.connectivity),
        rule.min_volume_mm3,
        100.0 * rule.alpha,
        100.0 * rule.beta,
        100.0 * rule.gamma,
    );
    let score = |name, value, definition| Score {
        name,
        value,
        definition,
    };
    [
        score(
            "LTPR",
            of.ltpr,
            format!(
                "Share of the reference's lesions that the mask meets: {} of {}. {isbi}",
                of.isbi.detected, of.isbi.reference
            ),
        ),
        score(
            "LFPR",
            of.lfpr,
            format!(
                "Share of the mask's lesions that meet no lesion of the reference: {} of {}. {isbi}",
                of.isbi.spurious, of.isbi.automatic
            ),
        ),
        score(
            "SensL",
            of.sens_l,
            format!(
                "Share of the reference's lesions that is detected: {} of {}. {msseg}",
                of.msseg.detected, of.msseg.reference
            ),
        ),
        score(
            "PPVL",
            of.ppv_l,
            format!(
                "Share of the mask's lesions that the reference confirms by the same rule: {} of {}. {msseg}",
                of.msseg.confirmed, of.msseg.automatic
            ),
        ),
        score(
            "Lesion F1",
            of.lesion_f1,
            format!("Harmonic mean of SensL and PPVL. {msseg}"),
        ),
    ]
}

/// Shown once a result was compared with a reference.
#[component]
pub(super) fn ComparisonPanel(props: &PanelProps) -> Html {
    let PanelProps { state, act } = props;
    let Some((outcome, comparison)) = state
        .outcome()
        .and_then(|outcome| Some((outcome, outcome.comparison.as_ref()?)))
    else {
        return Html::default();
    };
    let of = &comparison.evaluation;
    let mask = outcome.mask.as_ref();
    let stale = mask.is_some_and(|mask| mask.threshold != of.settings.threshold);
    let table = |caption: &'static str, scores: &[Score]| {
        html! {
            <table class="numbers">
                <caption>{ caption }</caption>
                <tbody>{ for scores.iter().map(row) }</tbody>
            </table>
        }
    };
    let counts = &of.voxels;
    html! {
        <section class={classes!("card", "comparison", stale.then_some("stale"))} aria-labelledby="comparison-title">
            <h2 id="comparison-title">{ "Against the reference" }</h2>
            <p class="hint">
                { format!("Reference {:.2} mL, mask {:.2} mL; voxels: TP {}, FP {}, FN {}.", of.reference_ml,
                    of.automatic_ml, counts.true_positives, counts.false_positives, counts.false_negatives) }
            </p>
            { table("Voxels", &voxel_scores(of)) }
            { table("Lesions", &lesion_scores(of)) }
            <Curve comparison={comparison.clone()} act={act.clone()} />
        </section>
    }
}

fn row(score: &Score) -> Html {
    let id = format!("about-{}", score.name.to_lowercase().replace(' ', "-"));
    let value = score
        .value
        .map_or_else(|| "no value".to_owned(), |value| format!("{value:.3}"));
    html! {
        <tr>
            <th scope="row">
                <span class="term" tabindex="0" aria-describedby={id.clone()}>
                    { score.name }
                    <span role="tooltip" {id}>{ &score.definition }</span>
                </span>
            </th>
            <td>{ value }</td>
        </tr>
    }
}

#[derive(Properties, PartialEq)]
struct CurveProps {
    comparison: Rc<Comparison>,
    act: Callback<Action>,
}

/// The curve with the present threshold on it, which can be dragged along.
#[component]
fn Curve(props: &CurveProps) -> Html {
    let CurveProps { comparison, act } = props;
    let of = &comparison.evaluation;
    if of.curve.is_empty() {
        return html! { <p class="hint">{ "Without lesions in the reference there is no precision-recall curve." }</p> };
    }
    let drag = {
        let (curve, act) = (of.curve.clone(), act.clone());
        Callback::from(move |event: PointerEvent| {
            // Hovering moves nothing: a button is down, or a finger.
            if event.buttons() & 1 == 0 {
                return;
            }
            if let Some(point) = FRAME.under(&event).and_then(|at| nearest(&curve, at)) {
                act.emit(Action::Threshold(point.threshold.clamp(0.01, 0.99)));
            }
        })
    };
    let ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    let now = of.settings.threshold;
    let here = of
        .tpr
        .zip(of.ppv)
        .map(|(recall, precision)| FRAME.place([recall, precision]));
    let said = format!(
        "At the threshold {now:.2}: recall {}, precision {}.",
        three(of.tpr),
        three(of.ppv)
    );
    html! {
        <figure>
            <svg
                class="drag"
                viewBox={view_box()}
                role="img"
                aria-label={format!("Precision-recall curve, area {}. {said}", three(of.apr))}
                onpointerdown={drag.clone()}
                onpointermove={drag}
            >
                { FRAME.axes(&Axis::tenths("recall", &ticks), &Axis::tenths("precision", &ticks)) }
                <path class="line" d={FRAME.line(of.curve.iter().map(|point| [point.recall, point.precision]))} />
                { for of.best_thresholds.iter().filter_map(|best| {
                    let point = at_threshold(&of.curve, best.threshold)?;
                    let [x, y] = FRAME.place([point.recall, point.precision]);
                    Some(html! {
                        <>
                            <circle class="ghost" cx={num(x)} cy={num(y)} r="4.5" />
                            <text class="label" x={num(x + 7.0)} y={num(y - 5.0)}>{ format!("F{}", best.beta) }</text>
                        </>
                    })
                }) }
                if let Some([x, y]) = here {
                    <circle class="point" cx={num(x)} cy={num(y)} r="6" />
                }
            </svg>
            <figcaption class="hint">
                { said }{ " Drag the point to move the threshold (the point counts after small lesions are dropped, the curve before)." }
            </figcaption>
            <table class="numbers">
                <caption>{ "Best thresholds, with hindsight" }</caption>
                <tbody>{ for of.best_thresholds.iter().map(|best| {
                    let threshold = best.threshold;
                    html! {
                        <tr>
                            <th scope="row">{ format!("F{}", best.beta) }</th>
                            <td>{ format!("{:.3} at {threshold:.2}", best.f_beta) }</td>
                        </tr>
                    }
                }) }</tbody>
            </table>
        </figure>
    }
}

fn three(value: Option<f64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"))
}

/// The point of a curve nearest to a place.
pub(super) fn nearest(curve: &[PrPoint], [recall, precision]: [f64; 2]) -> Option<PrPoint> {
    let away = |point: &PrPoint| (point.recall - recall).powi(2) + (point.precision - precision).powi(2);
    curve.iter().copied().min_by(|a, b| away(a).total_cmp(&away(b)))
}

/// The point of a curve whose threshold is nearest.
pub(super) fn at_threshold(curve: &[PrPoint], threshold: f32) -> Option<PrPoint> {
    let away = |point: &PrPoint| (point.threshold - threshold).abs();
    curve.iter().copied().min_by(|a, b| away(a).total_cmp(&away(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_on_the_drawing_finds_its_point() {
        let point = |threshold, recall, precision| PrPoint {
            threshold,
            recall,
            precision,
        };
        let curve = [point(0.9, 0.1, 1.0), point(0.5, 0.6, 0.7), point(0.1, 0.9, 0.2)];
        assert_eq!(nearest(&curve, [0.55, 0.8]), Some(curve[1]));
        assert_eq!(at_threshold(&curve, 0.2), Some(curve[2]));
        assert_eq!(nearest(&[], [0.0, 0.0]), None);
    }
}
