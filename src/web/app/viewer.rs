//! `www/viewer.js` as Rust sees it: NiiVue behind a dozen methods.

use js_sys::{ArrayBuffer, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{File, HtmlCanvasElement};

use super::state::{Display, Layout, Pen, Tool};

/// Where the crosshair is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Location {
    /// World coordinates in mm, RAS+.
    pub mm: [f64; 3],
    /// The scan's value there.
    pub intensity: f64,
    /// The overlay's value there, if one is shown.
    pub overlay: Option<f64>,
}

/// Called with x, y, z in mm, the scan's value and the overlay's (NaN without one).
pub(super) type OnLocation = Closure<dyn FnMut(f64, f64, f64, f64, f64)>;

/// Called with the intensities that are now shown black and white.
pub(super) type OnWindow = Closure<dyn FnMut(f64, f64)>;

#[wasm_bindgen(module = "/www/viewer.js")]
extern "C" {
    /// The viewer on its canvas. Its methods may be called at once; each waits for the one before.
    #[wasm_bindgen(js_name = Viewer)]
    pub type Viewer;

    #[wasm_bindgen(constructor, js_class = Viewer)]
    pub(super) fn new(canvas: &HtmlCanvasElement, on_location: &OnLocation, on_window: &OnWindow) -> Viewer;

    #[wasm_bindgen(method)]
    pub(super) fn ready(this: &Viewer) -> Promise;

    #[wasm_bindgen(method, js_name = showScan)]
    pub(super) fn show_scan(this: &Viewer, file: &File, laid: Option<Box<[f64]>>) -> Promise;

    #[wasm_bindgen(method, js_name = showProbability)]
    pub(super) fn show_probability(this: &Viewer, nifti: &ArrayBuffer) -> Promise;

    #[wasm_bindgen(method, js_name = showMask)]
    pub(super) fn show_mask(this: &Viewer, voxels: &ArrayBuffer) -> Promise;

    #[wasm_bindgen(method, js_name = showComparison)]
    pub(super) fn show_comparison(this: &Viewer, voxels: &ArrayBuffer) -> Promise;

    #[wasm_bindgen(method, js_name = goTo)]
    pub(super) fn go_to(this: &Viewer, x: f64, y: f64, z: f64) -> Promise;

    #[wasm_bindgen(method, js_name = style)]
    fn style_named(this: &Viewer, display: &str, opacity: f64, threshold: f32) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn window(this: &Viewer, low: f64, high: f64) -> Promise;

    #[wasm_bindgen(method, js_name = layout)]
    fn layout_named(this: &Viewer, panes: &str, radiological: bool) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn step(this: &Viewer, right: i32, front: i32, top: i32) -> Promise;

    #[wasm_bindgen(method, js_name = startDrawing)]
    pub(super) fn start_drawing(this: &Viewer) -> Promise;

    #[wasm_bindgen(method, js_name = drawWith)]
    fn draw_with_named(this: &Viewer, tool: &str, size: u32) -> Promise;

    #[wasm_bindgen(method, js_name = undoStroke)]
    pub(super) fn undo_stroke(this: &Viewer) -> Promise;

    #[wasm_bindgen(method, js_name = endDrawing)]
    pub(super) fn end_drawing(this: &Viewer) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn rendering(this: &Viewer) -> Promise;

    #[wasm_bindgen(method, js_name = clearOverlay)]
    pub(super) fn clear_overlay(this: &Viewer) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn clear(this: &Viewer) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn dispose(this: &Viewer) -> Promise;
}

impl Viewer {
    /// Draws the overlay: what, how opaque (0 to 1) and from which probability up.
    pub(super) fn style(&self, display: Display, opacity: f64, threshold: f32) -> Promise {
        let name = match display {
            Display::Mask => "mask",
            Display::Probability => "probability",
            Display::Comparison => "comparison",
            Display::None => "none",
        };
        self.style_named(name, opacity, threshold)
    }

    /// Chooses pen or eraser and its width in voxels.
    pub(super) fn draw_with(&self, pen: Pen) -> Promise {
        let name = match pen.tool {
            Tool::Pen => "pen",
            Tool::Eraser => "eraser",
            Tool::None => "none",
        };
        self.draw_with_named(name, pen.size)
    }

    /// Lays the panes out.
    pub(super) fn layout(&self, layout: Layout, radiological: bool) -> Promise {
        let name = match layout {
            Layout::All => "all",
            Layout::Axial => "axial",
            Layout::Coronal => "coronal",
            Layout::Sagittal => "sagittal",
            Layout::Render => "render",
        };
        self.layout_named(name, radiological)
    }
}

/// Bytes as something `new File` or `new Blob` takes.
pub(super) fn parts(bytes: &ArrayBuffer) -> js_sys::Array {
    js_sys::Array::of1(&Uint8Array::new(bytes))
}
