//! The frame of a drawing: where a value lies on it, axes, and the value under the pointer.

use wasm_bindgen::JsCast;
use web_sys::{Element, PointerEvent};
use yew::prelude::*;

/// Size of a drawing in its own units, which are about CSS pixels at a normal width.
pub(super) const SIZE: [f64; 2] = [420.0, 300.0];
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// A range of values along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// Equal steps.
    pub(super) const fn linear(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            logarithmic: false,
        }
    }

    /// Equal factors; both ends are above 0.
    pub(super) const fn logarithmic(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            logarithmic: true,
        }
    }

    /// How far along the axis a value lies: 0 at its low end, 1 at its high one.
    pub(super) fn fraction(self, value: f64) -> f64 {
        let along = |value: f64| if self.logarithmic { value.ln() } else { value };
        (along(value) - along(self.low)) / (along(self.high) - along(self.low))
    }

    /// The value so far along the axis.
    pub(super) fn value(self, fraction: f64) -> f64 {
        if self.logarithmic {
            self.low * (self.high / self.low).powf(fraction)
        } else {
            self.low + (self.high - self.low) * fraction
        }
    }
}

/// An axis in words.
pub(super) struct Axis {
    /// What is measured, with its unit.
    pub(super) title: AttrValue,
    /// Values with a tick, and what stands at it.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Ticks with one decimal.
    pub(super) fn tenths(title: &'static str, ticks: &[f64]) -> Self {
        Self {
            title: title.into(),
            ticks: ticks.iter().map(|&tick| (tick, format!("{tick}"))).collect(),
        }
    }
}

/// The two axes of a drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    /// To the right.
    pub(super) x: Scale,
    /// Upwards.
    pub(super) y: Scale,
}

impl Frame {
    /// Where a point lies, in the drawing's units.
    pub(super) fn place(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [width, height] = SIZE;
        [
            LEFT + self.x.fraction(x) * (width - LEFT - RIGHT),
            height - BOTTOM - self.y.fraction(y) * (height - TOP - BOTTOM),
        ]
    }

    /// The point at a place given as fractions of the drawing's width and height; `None` outside the axes.
    fn point(self, [right, down]: [f64; 2]) -> Option<[f64; 2]> {
        let [width, height] = SIZE;
        let across = (right * width - LEFT) / (width - LEFT - RIGHT);
        let up = (height - BOTTOM - down * height) / (height - TOP - BOTTOM);
        // A little beyond the ends still means the end.
        let inside = |fraction: f64| (-0.04..=1.04).contains(&fraction);
        (inside(across) && inside(up)).then(|| {
            [
                self.x.value(across.clamp(0.0, 1.0)),
                self.y.value(up.clamp(0.0, 1.0)),
            ]
        })
    }

    /// The point under the pointer; `None` outside the axes.
    pub(super) fn under(self, event: &PointerEvent) -> Option<[f64; 2]> {
        // Events are heard at the page's root, so `current_target` is not the drawing.
        let part: Element = event.target()?.dyn_into().ok()?;
        let drawing = part.closest("svg").ok()??;
        let seen = drawing.get_bounding_client_rect();
        let right = (f64::from(event.client_x()) - seen.left()) / seen.width();
        let down = (f64::from(event.client_y()) - seen.top()) / seen.height();
        self.point([right, down])
    }

    /// The `d` of a line through points.
    pub(super) fn line(self, points: impl IntoIterator<Item = [f64; 2]>) -> String {
        let mut path = String::new();
        for point in points {
            let [x, y] = self.place(point);
            path.push_str(if path.is_empty() { "M" } else { "L" });
            path.push_str(&format!("{x:.1} {y:.1}"));
        }
        path
    }

    /// Axes with ticks, grid and titles.
    pub(super) fn axes(self, across: &Axis, up: &Axis) -> Html {
        let [width, height] = SIZE;
        let (bottom, right) = (height - BOTTOM, width - RIGHT);
        let middle = f64::midpoint(TOP, bottom);
        html! {
            <g class="axes">
                { for across.ticks.iter().map(|(tick, words)| {
                    let [x, _] = self.place([*tick, self.y.low]);
                    html! {
                        <>
                            <line class="grid" x1={num(x)} x2={num(x)} y1={num(TOP)} y2={num(bottom)} />
                            <text x={num(x)} y={num(bottom + 16.0)} text-anchor="middle">{ words }</text>
                        </>
                    }
                }) }
                { for up.ticks.iter().map(|(tick, words)| {
                    let [_, y] = self.place([self.x.low, *tick]);
                    html! {
                        <>
                            <line class="grid" x1={num(LEFT)} x2={num(right)} y1={num(y)} y2={num(y)} />
                            <text x={num(LEFT - 6.0)} y={num(y + 4.0)} text-anchor="end">{ words }</text>
                        </>
                    }
                }) }
                <path class="frame" d={format!("M{LEFT} {TOP}V{bottom}H{right}")} />
                <text class="title" x={num(f64::midpoint(LEFT, right))} y={num(height - 8.0)} text-anchor="middle">
                    { &across.title }
                </text>
                <text
                    class="title"
                    x="14"
                    y={num(middle)}
                    text-anchor="middle"
                    transform={format!("rotate(-90 14 {middle})")}
                >{ &up.title }</text>
            </g>
        }
    }
}

/// A coordinate for an attribute.
pub(super) fn num(value: f64) -> String {
    format!("{value:.1}")
}

/// The `viewBox` of every drawing.
pub(super) fn view_box() -> String {
    format!("0 0 {} {}", SIZE[0], SIZE[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_back_to_its_point() {
        let frame = Frame {
            x: Scale::logarithmic(1.0, 1e4),
            y: Scale::linear(-1.0, 3.0),
        };
        for point in [[1.0, -1.0], [100.0, 0.5], [1e4, 3.0]] {
            let [x, y] = frame.place(point);
            let [back_x, back_y] = frame.point([x / SIZE[0], y / SIZE[1]]).unwrap();
            assert!((back_x / point[0] - 1.0).abs() < 1e-9 && (back_y - point[1]).abs() < 1e-9);
        }
        assert_eq!(frame.point([0.0, 0.0]), None);
        assert_eq!(frame.line([[1.0, -1.0], [1e4, 3.0]]), "M58.0 254.0L406.0 12.0");
    }
}
