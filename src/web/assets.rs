//! Where the files of this build are.
//!
//! `xtask` puts a content hash into every file name of `dist/`, so that a host may let browsers keep them for ever.
//! A program asks here for a name it knows (`desk.js`, `models/NAME/card.json`) and gets the file's URL; the table
//! is part of the bundle, so asking costs no request and cannot fail.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/www/assets.js")]
extern "C" {
    #[wasm_bindgen(js_name = asset_url)]
    fn js_asset_url(name: &str) -> String;
    #[wasm_bindgen(js_name = asset_list)]
    fn js_asset_list(prefix: &str) -> Vec<String>;
}

/// Absolute URL of a file by its logical name: a program's start-up file (`desk.js`, `engine-cpu.js`,
/// `engine-gpu.js`), or a file under `www/models` or `www/samples` named relative to `www`.
///
/// A name unknown to the build comes back as a URL beside the page, so that fetching it says what is missing.
#[must_use]
pub fn url(name: &str) -> String {
    js_asset_url(name)
}

/// Logical names that start with `prefix` (for example `models/`), sorted.
#[must_use]
pub fn list(prefix: &str) -> Vec<String> {
    js_asset_list(prefix)
}
