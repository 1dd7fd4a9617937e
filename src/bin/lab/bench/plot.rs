//! `lab bench plot`: the rows of `docs/performance.json` that have a target, as one picture.

use crate::Outcome;
use crate::native::{at, read, write};
use plotters::prelude::*;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The figures.
    #[arg(long, default_value = "docs/performance.json")]
    json: PathBuf,
    /// The picture (SVG).
    #[arg(long, default_value = "docs/performance.svg")]
    out: PathBuf,
}

/// What is read of the figures.
#[derive(Deserialize)]
struct Figures {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    title: String,
    value: f64,
    /// The value and the target in words, with their unit.
    shown: String,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    least: bool,
    value: f64,
    shown: String,
}

impl Row {
    /// How far beyond its target a row is: 2 is twice as good as asked for, 0.5 half as good.
    fn beyond(&self) -> Option<f64> {
        let target = self.target.as_ref()?;
        let share = self.value / target.value;
        Some(if target.least { share } else { share.recip() }).filter(|b| b.is_finite() && *b > 0.0)
    }
}

const WIDTH: i32 = 1000;
const BAR: i32 = 26;
const TOP: i32 = 56;
const LEFT: i32 = 430;
const RIGHT: i32 = 190;
/// Colours that the colour-blind can tell apart (Okabe & Ito).
const REACHED: RGBColor = RGBColor(0, 114, 178);
const MISSED: RGBColor = RGBColor(213, 94, 0);

pub(super) fn run(args: &Args) -> Outcome {
    let figures: Figures = serde_json::from_slice(&read(&args.json)?).map_err(at(&args.json))?;
    write(&args.out, draw(&figures.rows)?.as_bytes())?;
    Ok(())
}

/// Horizontal bars on a logarithmic axis that is 1 at the target.
fn draw(rows: &[Row]) -> Result<String, Box<dyn std::error::Error>> {
    let bars: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((row, row.beyond()?))).collect();
    let exponents = || bars.iter().map(|(_, beyond)| beyond.log2());
    let low = exponents().fold(-1.0, f64::min).floor();
    let high = exponents().fold(2.0, f64::max).ceil();
    let bottom = TOP + BAR * i32::try_from(bars.len())?;
    let at = |beyond: f64| {
        let share = (beyond.log2() - low) / (high - low);
        LEFT + (share * f64::from(WIDTH - LEFT - RIGHT)) as i32
    };
    let mut svg = String::new();
    {
        let height = u32::try_from(bottom + 44)?;
        let area = SVGBackend::with_string(&mut svg, (WIDTH.unsigned_abs(), height)).into_drawing_area();
        area.fill(&WHITE)?;
        let text = |size: i32| ("sans-serif", size).into_font();
        let grey = RGBColor(90, 90, 90);
        let caption = "How far beyond its target each figure is";
        area.draw(&Text::new(caption, (LEFT, 12), text(17)))?;
        for exponent in low as i32..=high as i32 {
            let x = at(2.0_f64.powi(exponent));
            let line = if exponent == 0 {
                BLACK.stroke_width(2)
            } else {
                RGBColor(215, 215, 215).stroke_width(1)
            };
            area.draw(&PathElement::new([(x, TOP - 6), (x, bottom)], line))?;
            let label = match exponent {
                0 => "target".to_owned(),
                e if e > 0 => format!("{}x", 1 << e),
                e => format!("1/{}", 1 << -e),
            };
            let shift = 4 * i32::try_from(label.len())?;
            area.draw(&Text::new(label, (x - shift, bottom + 10), text(13).color(&grey)))?;
        }
        for (index, (row, beyond)) in bars.iter().enumerate() {
            let y = TOP + BAR * i32::try_from(index)?;
            let colour = if *beyond >= 1.0 { REACHED } else { MISSED };
            let (from, to) = (at(1.0).min(at(*beyond)), at(1.0).max(at(*beyond)));
            area.draw(&Rectangle::new(
                [(from, y + 4), (to.max(from + 2), y + BAR - 6)],
                colour.filled(),
            ))?;
            area.draw(&Text::new(row.title.clone(), (10, y + 5), text(13)))?;
            let target = row.target.as_ref().map_or("", |t| &t.shown);
            let words = format!("{} (target {target})", row.shown);
            area.draw(&Text::new(
                words,
                (WIDTH - RIGHT + 12, y + 5),
                text(13).color(&colour),
            ))?;
        }
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f64, least: bool) -> Row {
        Row {
            title: "forward".to_owned(),
            value,
            shown: format!("{value}"),
            target: Some(Target {
                least,
                value: 8.0,
                shown: "8".to_owned(),
            }),
        }
    }

    #[test]
    fn a_row_beyond_its_target_is_above_one_whichever_way_is_better() {
        assert_eq!(row(16.0, true).beyond(), Some(2.0));
        assert_eq!(row(16.0, false).beyond(), Some(0.5));
        assert_eq!(row(4.0, false).beyond(), Some(2.0));
        // What was not measured has no bar.
        assert_eq!(row(f64::NAN, true).beyond(), None);
        assert_eq!(row(0.0, true).beyond(), None);
    }

    #[test]
    fn bars_have_the_colour_of_their_verdict() {
        let svg = draw(&[row(16.0, true), row(16.0, false)]).unwrap();
        assert_eq!(
            svg.matches("#0072B2").count(),
            2,
            "bar and words of the row that reached its target"
        );
        assert_eq!(
            svg.matches("#D55E00").count(),
            2,
            "bar and words of the row that missed it"
        );
        assert!(svg.contains("target 8"));
    }
}
