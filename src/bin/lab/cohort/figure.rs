//! Lines in the unit square, with a legend beside it.

use crate::Outcome;
use crate::native::write;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use std::path::Path;

/// Colours that people with any colour vision can tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// Stroke and gap of a line in pixels for each time that the colours were used up.
const DASHES: [Option<(u32, u32)>; 4] = [None, Some((8, 4)), Some((2, 3)), Some((16, 4))];

/// Width and height of the axes in pixels, and what a line of the legend takes.
const AXES: (u32, u32) = (600, 560);
const LEGEND_LINE: u32 = 18;

/// One line and its name.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// What is around the lines.
#[derive(Default)]
pub(super) struct Figure {
    pub(super) title: &'static str,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    /// Names of the places 0, 1, ... of x; without any, x goes from 0 to 1.
    pub(super) places: Vec<String>,
    /// Draw where x and y are the same.
    pub(super) diagonal: bool,
    /// Mark the points.
    pub(super) markers: bool,
}

impl Figure {
    /// Writes the figure as SVG.
    pub(super) fn write(&self, path: &Path, lines: &[Line]) -> Outcome {
        let longest = lines.iter().map(|line| line.label.chars().count()).max();
        let legend = 7 * longest.unwrap_or(0) as u32 + 50;
        let height = AXES.1.max(LEGEND_LINE * (lines.len() as u32 + 4));
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (AXES.0 + legend, height)).into_drawing_area();
            area.fill(&WHITE)?;
            let (left, right) = area.split_horizontally(AXES.0);
            let (axes, _) = left.split_vertically(AXES.1);
            self.axes(&axes, lines)?;
            for (index, line) in lines.iter().enumerate() {
                let y = 44 + (LEGEND_LINE as usize * index) as i32;
                stroke(&right, vec![(4, y + 4), (32, y + 4)], index)?;
                right.draw(&Text::new(line.label.clone(), (40, y), ("sans-serif", 12)))?;
            }
            area.present()?;
        }
        write(path, svg.as_bytes())?;
        Ok(())
    }

    fn axes(&self, area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, lines: &[Line]) -> Outcome {
        let places = self.places.len();
        let x_range = if places == 0 {
            0.0..1.0
        } else {
            -0.5..places as f64 - 0.5
        };
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(x_range, 0.0..1.0)?;
        let place = |x: &f64| {
            if places == 0 {
                return format!("{x:.1}");
            }
            let whole = (x - x.round()).abs() < 1e-6 && *x > -0.25;
            let name = whole.then(|| self.places.get(x.round() as usize)).flatten();
            name.cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .max_light_lines(0)
            .x_labels(if places == 0 { 11 } else { places })
            .x_label_formatter(&place)
            .draw()?;
        if self.diagonal {
            let grey = RGBColor(120, 120, 120).stroke_width(1);
            chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], grey))?;
        }
        let plot = chart.plotting_area();
        let pixels = |line: &Line| line.points.iter().map(|at| plot.map_coordinate(at)).collect();
        let mapped: Vec<Vec<(i32, i32)>> = lines.iter().map(pixels).collect();
        for (index, (line, pixels)) in lines.iter().zip(mapped).enumerate() {
            // The plotting area's pixels are those of the whole figure.
            stroke(area, pixels, index)?;
            if self.markers {
                let filled = COLOURS[index % COLOURS.len()].filled();
                chart.draw_series(line.points.iter().map(|at| Circle::new(*at, 3, filled)))?;
            }
        }
        Ok(())
    }
}

/// Draws the line of one case through pixels: first the colours go round, then the dashes.
fn stroke(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    pixels: Vec<(i32, i32)>,
    index: usize,
) -> Outcome {
    let style = COLOURS[index % COLOURS.len()].stroke_width(2);
    match DASHES[index / COLOURS.len() % DASHES.len()] {
        None => area.draw(&PathElement::new(pixels, style))?,
        Some((dash, gap)) => area.draw(&DashedPathElement::new(pixels, dash, gap, style))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_name_in_the_figure() {
        let lines: Vec<Line> = (0..16)
            .map(|index| Line {
                label: format!("case {index:02}"),
                points: vec![(0.0, 0.1), (0.5, f64::from(index) / 16.0), (1.0, 0.9)],
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figure.svg");
        for places in [vec![], vec!["small".to_owned(), "large".to_owned()]] {
            let figure = Figure {
                title: "A title",
                places,
                diagonal: true,
                markers: true,
                ..Figure::default()
            };
            figure.write(&path, &lines).unwrap();
            let svg = std::fs::read_to_string(&path).unwrap();
            assert!(lines.iter().all(|line| svg.contains(&line.label)));
            assert!(
                figure.places.iter().all(|name| svg.contains(name.as_str())),
                "{svg}"
            );
        }
        Figure::default().write(&path, &[]).unwrap();
    }
}
