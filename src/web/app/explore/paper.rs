//! The loss on paper: sliders, drawings, formulas.

use yew::prelude::*;

use super::formulas::Formulas;
use super::pulls::Pulls;
use super::square::Square;
use super::steps::Steps;
use super::weights::Weights;
use super::{DrawingProps, Point};
use crate::web::app::controls::Slider;

#[derive(Properties, PartialEq)]
pub(in crate::web::app) struct PaperProps {
    pub(in crate::web::app) point: Point,
    /// How to move it.
    pub(in crate::web::app) moved: Callback<Point>,
}

/// See the module.
#[component]
pub(in crate::web::app) fn Paper(props: &PaperProps) -> Html {
    let PaperProps { point, moved } = props;
    let drawing = DrawingProps {
        point: *point,
        moved: moved.clone(),
    };
    html! {
        <>
            <div class="intro">
                <h2>{ "The loss on paper" }</h2>
                <p>
                    { "The network is trained with 1 − F" }<sub>{ "β" }</sub>{ ". What does β do? Move the sliders; nothing here \
                       needs a scan. Counts are soft numbers of voxels (sums of probabilities)." }
                </p>
            </div>
            <Steps ..drawing.clone() />
            <section class="card sliders" aria-labelledby="point-title">
                <h3 id="point-title">{ "A mask in counts" }</h3>
                { sliders(*point, moved) }
                { scores(*point) }
            </section>
            <Square ..drawing.clone() />
            <Weights ..drawing.clone() />
            <Pulls ..drawing />
            <Formulas />
        </>
    }
}

fn sliders(point: Point, moved: &Callback<Point>) -> Html {
    let count = |label: &'static str, value: f64, (min, max): (f64, f64), put: fn(&mut Point, f64)| {
        let moved = moved.reform(move |value| {
            let mut point = Point { step: None, ..point };
            put(&mut point, value);
            point
        });
        html! { <Slider {label} {value} {min} {max} step=1.0 said={format!("{value:.0}")} {moved} /> }
    };
    let beta = moved.reform(move |beta| Point {
        beta,
        step: None,
        ..point
    });
    let ratio = moved.reform(move |power: f64| Point {
        // Three figures are as many as anybody reads, and keep the address short.
        ratio: figures(10_f64.powf(power)),
        step: None,
        ..point
    });
    let (min, max) = Point::BETA;
    html! {
        <>
            <Slider label="Beta" value={point.beta} {min} {max} step=0.1 said={format!("{:.1}", point.beta)} moved={beta} />
            { count("True positives", point.tp, Point::TP, |point, value| point.tp = value) }
            { count("False positives", point.fp, Point::COUNT, |point, value| point.fp = value) }
            { count("False negatives", point.fn_, Point::COUNT, |point, value| point.fn_ = value) }
            <Slider
                label="Lesion fraction"
                value={point.ratio.log10()}
                min={Point::RATIO.0.log10()}
                max={Point::RATIO.1.log10()}
                step=0.05
                said={format!("1 : {} ({})", words(point.ratio), percent(point.lesion_fraction()))}
                moved={ratio}
            />
        </>
    }
}

fn scores(point: Point) -> Html {
    let counts = point.counts();
    let score = |name: Html, value: Option<f64>| {
        let value = value.map_or("none".to_owned(), |value| format!("{value:.3}"));
        html! { <div><dt>{ name }</dt><dd>{ value }</dd></div> }
    };
    html! {
        <>
            <dl class="scores">
                { score("Precision".into(), counts.precision()) }
                { score("Recall".into(), counts.recall()) }
                { score("Dice".into(), counts.f_beta(1.0)) }
                { score(html! { <>{ "F" }<sub>{ format!("{:.1}", point.beta) }</sub></> }, counts.f_beta(point.beta)) }
            </dl>
            <p class="hint">
                { format!("{} voxels in all, of which {} lesion.", words(point.voxels()), words(point.tp + point.fn_)) }
                if counts.fp < point.fp {
                    { format!(" There is background for {} false positives only.", words(counts.fp)) }
                }
            </p>
        </>
    }
}

/// Three significant figures, as a number.
fn figures(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powi(value.log10().floor() as i32 - 2);
    // Dividing by a whole number is exact where multiplying by a fraction is not.
    if unit < 1.0 {
        (value / unit).round() / unit.recip().round()
    } else {
        (value / unit).round() * unit
    }
}

/// A count in at most three figures, with thin spaces between thousands.
fn words(value: f64) -> String {
    let value = figures(value);
    if value < 100.0 {
        return format!("{value}");
    }
    let digits = format!("{value:.0}");
    let mut words = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            words.push('\u{202f}');
        }
        words.push(digit);
    }
    words
}

/// A share in percent, in two figures.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    let decimals = (1 - percent.log10().floor() as i32).clamp(0, 6).unsigned_abs() as usize;
    let digits = format!("{percent:.decimals$}");
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        &digits
    };
    format!("{digits} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, said) in [
            (1.0, "1"),
            (3.981_071, "3.98"),
            (14.125_375, "14.1"),
            (100.0, "100"),
            (10_000.0, "10\u{202f}000"),
            (1_000_100.0, "1\u{202f}000\u{202f}000"),
            (0.0, "0"),
        ] {
            assert_eq!(words(value), said);
        }
        for (share, said) in [
            (0.5, "50 %"),
            (1.0 / 101.0, "0.99 %"),
            (1.0 / 10_001.0, "0.01 %"),
            (0.2, "20 %"),
        ] {
            assert_eq!(percent(share), said);
        }
    }
}
