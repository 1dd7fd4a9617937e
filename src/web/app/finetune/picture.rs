//! Pictures that the desk drew.

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{Clamped, JsCast};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};
use yew::prelude::*;

/// A picture's pixels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pixels {
    width: usize,
    height: usize,
    /// Four bytes a pixel, in the browser's memory.
    rgba: ArrayBuffer,
}

impl Pixels {
    /// The pictures of a message.
    pub(super) fn all(sizes: &[[usize; 2]], buffers: &[ArrayBuffer]) -> Vec<Self> {
        sizes
            .iter()
            .zip(buffers)
            .map(|([width, height], rgba)| Self {
                width: *width,
                height: *height,
                rgba: rgba.clone(),
            })
            .collect()
    }
}

#[derive(Properties, PartialEq)]
pub(super) struct PictureProps {
    pub(super) pixels: Pixels,
    /// What it shows, for those who do not see it.
    pub(super) about: AttrValue,
}

/// A picture, drawn once for its pixels.
#[component]
pub(super) fn Picture(props: &PictureProps) -> Html {
    let node = use_node_ref();
    {
        let node = node.clone();
        use_effect_with(props.pixels.clone(), move |pixels| draw(&node, pixels));
    }
    html! {
        <canvas
            ref={node}
            class="picture"
            role="img"
            aria-label={&props.about}
            width={props.pixels.width.to_string()}
            height={props.pixels.height.to_string()}
        />
    }
}

/// Draws; a browser that cannot leaves the canvas empty.
fn draw(node: &NodeRef, pixels: &Pixels) {
    let Some(canvas) = node.cast::<HtmlCanvasElement>() else {
        return;
    };
    let bytes = Uint8Array::new(&pixels.rgba).to_vec();
    let data = ImageData::new_with_u8_clamped_array_and_sh(
        Clamped(&bytes),
        pixels.width as u32,
        pixels.height as u32,
    );
    let context = canvas
        .get_context("2d")
        .ok()
        .flatten()
        .and_then(|context| context.dyn_into::<CanvasRenderingContext2d>().ok());
    if let (Ok(data), Some(context)) = (data, context) {
        // It fails only for places that are no numbers.
        drop(context.put_image_data(&data, 0.0, 0.0));
    }
}
