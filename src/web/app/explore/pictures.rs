//! Three slices on canvases: the scan in grey, a map in colour, tiles in outline, a crosshair.

use std::rc::Rc;

use js_sys::ArrayBuffer;
use wasm_bindgen::{Clamped, JsCast};
use web_sys::{CanvasRenderingContext2d, Element, HtmlCanvasElement, ImageData};
use yew::prelude::*;

use crate::pipeline::pictures::About;
use crate::volume::slice::Plane;
use crate::web::channel;
use crate::web::studies::Seen;

/// Okabe-Ito yellow, vermillion and sky blue: in both, in the first alone, in the second alone. As in `www/viewer.js`.
const CODES: [[u8; 3]; 3] = [[240, 228, 66], [213, 94, 0], [86, 180, 233]];

/// Plasma (perceptually uniform), as in `www/viewer.js`.
const PLASMA: [[u8; 3]; 9] = [
    [13, 8, 135],
    [84, 2, 163],
    [139, 10, 165],
    [185, 50, 137],
    [219, 92, 104],
    [244, 136, 73],
    [254, 188, 43],
    [253, 231, 37],
    [240, 249, 33],
];

/// How the map's values become colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::web::app) enum Palette {
    /// Codes of agreement.
    Codes,
    /// From 0 to this value.
    UpTo(f32),
}

impl Palette {
    /// Red, green, blue of a value.
    fn colour(self, value: f32) -> [u8; 3] {
        match self {
            Self::Codes => CODES[(value.round() as usize).clamp(1, 3) - 1],
            Self::UpTo(highest) => {
                let along = (value / highest.max(f32::MIN_POSITIVE)).clamp(0.0, 1.0) * 8.0;
                let at = (along.floor() as usize).min(7);
                let share = along - at as f32;
                let mix = |from: u8, to: u8| (f32::from(from) * (1.0 - share) + f32::from(to) * share) as u8;
                [0, 1, 2].map(|i| mix(PLASMA[at][i], PLASMA[at + 1][i]))
            }
        }
    }
}

/// The pixels that came with a [`Seen`].
#[derive(Debug, PartialEq)]
pub(in crate::web::app) struct Pixels {
    /// Scan and map of each picture.
    planes: Vec<(Vec<u8>, Vec<f32>)>,
}

impl Pixels {
    /// Takes the message's buffers; nothing if they are not those of pictures.
    pub(in crate::web::app) fn of(buffers: &[ArrayBuffer]) -> Option<Self> {
        let planes = buffers
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[grey, over]| Some((channel::bytes_in(grey), channel::floats_in(over).ok()?)))
            .collect::<Option<Vec<_>>>()?;
        (planes.len() == Plane::ALL.len()).then_some(Self { planes })
    }
}

/// Red, green, blue and opacity of a picture's pixels.
fn coloured(grey: &[u8], over: &[f32], palette: Palette, opacity: f32) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(4 * grey.len());
    for (at, &grey) in grey.iter().enumerate() {
        let value = over.get(at).copied().filter(|value| value.is_finite());
        let colour = value.map_or([grey; 3], |value| {
            let colour = palette.colour(value);
            colour.map(|c| (f32::from(c) * opacity + f32::from(grey) * (1.0 - opacity)) as u8)
        });
        pixels.extend(colour);
        pixels.push(255);
    }
    pixels
}

#[derive(Properties, PartialEq)]
pub(in crate::web::app) struct PlanesProps {
    pub(in crate::web::app) seen: Rc<Seen>,
    pub(in crate::web::app) pixels: Rc<Pixels>,
    pub(in crate::web::app) palette: Palette,
    /// How opaque the map is, 0 to 1.
    pub(in crate::web::app) opacity: f32,
    /// Called with where a person wants to look, in world millimetres.
    pub(in crate::web::app) go: Callback<[f64; 3]>,
}

/// See the module.
#[component]
pub(in crate::web::app) fn Planes(props: &PlanesProps) -> Html {
    let pictures = props.seen.pictures.iter().enumerate();
    html! {
        <div class="planes">
            { for pictures.map(|(at, _)| html! {
                <OnePlane
                    {at}
                    seen={props.seen.clone()}
                    pixels={props.pixels.clone()}
                    palette={props.palette}
                    opacity={props.opacity}
                    go={props.go.clone()}
                />
            }) }
        </div>
    }
}

#[derive(Properties, PartialEq)]
struct OnePlaneProps {
    at: usize,
    seen: Rc<Seen>,
    pixels: Rc<Pixels>,
    palette: Palette,
    opacity: f32,
    go: Callback<[f64; 3]>,
}

#[component]
fn OnePlane(props: &OnePlaneProps) -> Html {
    let canvas = use_node_ref();
    {
        let (canvas, seen, pixels) = (canvas.clone(), props.seen.clone(), props.pixels.clone());
        let (at, palette, opacity) = (props.at, props.palette, props.opacity);
        use_effect_with(
            (seen, pixels, palette, opacity.to_bits()),
            move |(seen, pixels, ..)| {
                let drawn = canvas
                    .cast::<HtmlCanvasElement>()
                    .zip(pixels.planes.get(at))
                    .zip(seen.pictures.get(at));
                if let Some(((canvas, (grey, over)), about)) = drawn {
                    paint(&canvas, about, &coloured(grey, over, palette, opacity));
                }
            },
        );
    }
    let (Some(about), Some(place)) = (props.seen.pictures.get(props.at), props.seen.look.place) else {
        return Html::default();
    };
    let [width, height] = about.size;
    let [mm_across, mm_down] = about.pixel_mm();
    // The drawing over the canvas gives the frame its shape; a style attribute would break the page's policy.
    let frame = format!(
        "0 0 {:.3} {:.3}",
        width as f64 * mm_across,
        height as f64 * mm_down
    );
    let [x, y] = about.pixel(place).map(|pixel| pixel + 0.5);
    let click = {
        let (go, about) = (props.go.clone(), about.clone());
        Callback::from(move |event: MouseEvent| {
            let part = event
                .target()
                .and_then(|target| target.dyn_into::<Element>().ok());
            let Some(frame) = part.and_then(|part| part.closest(".plane").ok().flatten()) else {
                return;
            };
            let seen = frame.get_bounding_client_rect();
            let share = [
                (f64::from(event.client_x()) - seen.left()) / seen.width(),
                (f64::from(event.client_y()) - seen.top()) / seen.height(),
            ];
            let pixel = [0, 1].map(|i| (share[i] * about.size[i] as f64 - 0.5).round());
            go.emit(moved(&about, place, pixel));
        })
    };
    let onkeydown = {
        let (go, about, seen) = (props.go.clone(), about.clone(), props.seen.clone());
        Callback::from(move |event: KeyboardEvent| {
            let [column, row] = about.pixel(place).map(f64::round);
            let to = match event.key().as_str() {
                "ArrowLeft" => moved(&about, place, [column - 1.0, row]),
                "ArrowRight" => moved(&about, place, [column + 1.0, row]),
                "ArrowUp" => moved(&about, place, [column, row - 1.0]),
                "ArrowDown" => moved(&about, place, [column, row + 1.0]),
                "PageUp" => through(&seen.pictures, about.plane, place, 1.0),
                "PageDown" => through(&seen.pictures, about.plane, place, -1.0),
                _ => return,
            };
            event.prevent_default();
            go.emit(to);
        })
    };
    let (name, axis, value, sides) = match about.plane {
        Plane::Axial => ("Axial", "z", place[2], ["R", "A"]),
        Plane::Coronal => ("Coronal", "y", place[1], ["R", "S"]),
        Plane::Sagittal => ("Sagittal", "x", place[0], ["A", "S"]),
    };
    let said = format!("{name}, {axis} {}", tenths(value));
    html! {
        <figure>
            <div
                class="plane"
                tabindex="0"
                role="application"
                aria-label={format!("{said} mm. Arrow keys, Page Up and Page Down move the crosshair.")}
                onclick={click}
                {onkeydown}
            >
                <canvas ref={canvas} />
                <svg viewBox={frame} aria-hidden="true"><g transform={format!("scale({mm_across} {mm_down})")}>
                    { for about.boxes.iter().map(|[left, top, wide, high]| html! {
                        <rect class="tile" x={left.to_string()} y={top.to_string()} width={wide.to_string()} height={high.to_string()} />
                    }) }
                    <path class="cross" d={format!("M{x:.2} 0V{height}M0 {y:.2}H{width}")} />
                </g></svg>
                <span class="mark at-left" aria-hidden="true">{ sides[0] }</span>
                <span class="mark at-top" aria-hidden="true">{ sides[1] }</span>
            </div>
            <figcaption>{ said }{ " mm" }</figcaption>
        </figure>
    }
}

/// The place of a pixel, kept inside the picture, at the depth of the present place.
fn moved(about: &About, place: [f64; 3], pixel: [f64; 2]) -> [f64; 3] {
    let now = about.pixel(place).map(f64::round);
    let to = [0, 1].map(|i| pixel[i].clamp(0.0, about.size[i].saturating_sub(1) as f64));
    [0, 1, 2].map(|i| {
        place[i]
            + (0..2)
                .map(|axis| (to[axis] - now[axis]) * about.steps[axis][i])
                .sum::<f64>()
    })
}

/// One slice further towards top, front or right, by the steps of a picture that shows this direction.
fn through(pictures: &[About], plane: Plane, place: [f64; 3], by: f64) -> [f64; 3] {
    // Up in a coronal picture is up; left in an axial one is right, and up in it is front.
    let (shows, axis, sign) = match plane {
        Plane::Axial => (Plane::Coronal, 1, -1.0),
        Plane::Coronal => (Plane::Axial, 1, -1.0),
        Plane::Sagittal => (Plane::Axial, 0, -1.0),
    };
    let Some(about) = pictures.iter().find(|about| about.plane == shows) else {
        return place;
    };
    let mut pixel = about.pixel(place).map(f64::round);
    pixel[axis] += by * sign;
    moved(about, place, pixel)
}

fn paint(canvas: &HtmlCanvasElement, about: &About, pixels: &[u8]) {
    let [width, height] = about.size.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    canvas.set_width(width);
    canvas.set_height(height);
    let context = canvas
        .get_context("2d")
        .ok()
        .flatten()
        .and_then(|context| context.dyn_into::<CanvasRenderingContext2d>().ok());
    let image = ImageData::new_with_u8_clamped_array_and_sh(Clamped(pixels), width, height);
    if let (Some(context), Ok(image)) = (context, image) {
        // A canvas that cannot be drawn on stays black; the numbers beside it are all the same.
        drop(context.put_image_data(&image, 0.0, 0.0));
    }
}

/// A coordinate with one decimal, a true minus and no negative zero.
pub(in crate::web::app) fn tenths(value: f64) -> String {
    format!("{:.1}", (value * 10.0).round() / 10.0 + 0.0).replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(plane: Plane, steps: [[f64; 3]; 2]) -> About {
        About {
            plane,
            size: [4, 6],
            origin: [10.0, 20.0, 30.0],
            steps,
            boxes: Vec::new(),
        }
    }

    #[test]
    fn a_map_is_drawn_where_it_has_values() {
        let pixels = coloured(&[100, 50], &[f32::NAN, 1.0], Palette::Codes, 1.0);
        assert_eq!(pixels, [100, 100, 100, 255, 240, 228, 66, 255]);
        assert_eq!(
            coloured(&[7], &[], Palette::UpTo(1.0), 1.0),
            [7, 7, 7, 255],
            "no map"
        );
        assert_eq!(Palette::UpTo(2.0).colour(0.0), PLASMA[0]);
        assert_eq!(Palette::UpTo(2.0).colour(2.0), PLASMA[8]);
        assert_eq!(Palette::UpTo(2.0).colour(1.0), PLASMA[4]);
    }

    #[test]
    fn keys_move_by_voxels_and_stay_inside() {
        let axial = about(Plane::Axial, [[-1.0, 0.0, 0.0], [0.0, -2.0, 0.0]]);
        let place = [9.0, 18.0, 30.0];
        assert_eq!(axial.pixel(place), [1.0, 1.0]);
        assert_eq!(moved(&axial, place, [2.0, 1.0]), [8.0, 18.0, 30.0]);
        assert_eq!(moved(&axial, place, [9.0, -3.0]), [7.0, 20.0, 30.0]);
        let coronal = about(Plane::Coronal, [[-1.0, 0.0, 0.0], [0.0, 0.0, -3.0]]);
        let up = through(
            &[axial.clone(), coronal.clone()],
            Plane::Axial,
            [9.0, 18.0, 24.0],
            1.0,
        );
        assert_eq!(up, [9.0, 18.0, 27.0]);
        let front = through(&[axial, coronal], Plane::Coronal, [9.0, 16.0, 24.0], 1.0);
        assert_eq!(front, [9.0, 18.0, 24.0]);
        assert_eq!(tenths(-0.04), "0.0");
    }
}
