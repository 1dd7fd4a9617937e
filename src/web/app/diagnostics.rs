//! What to send along when asking for help.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use yew::prelude::*;

use super::state::Model;

#[wasm_bindgen(module = "/www/diagnostics.js")]
extern "C" {
    fn diagnostics() -> Promise;
    fn copy(text: &str) -> Promise;
}

#[derive(Properties, PartialEq)]
pub(super) struct DiagnosticsProps {
    /// Networks that ship with the page.
    pub(super) models: Vec<Model>,
}

/// A button that gathers versions, browser and machine, shows the lines and copies them.
#[component]
pub(super) fn Diagnostics(props: &DiagnosticsProps) -> Html {
    let found = use_state_eq(|| None::<(String, bool)>);
    let onclick = {
        let (found, own) = (found.clone(), own_lines(&props.models));
        Callback::from(move |_: MouseEvent| {
            let (found, own) = (found.clone(), own.clone());
            spawn_local(async move {
                let browser = JsFuture::from(diagnostics()).await.ok();
                let browser = browser.and_then(|text| text.as_string()).unwrap_or_default();
                let text = format!("{own}\n{browser}\n");
                let copied = JsFuture::from(copy(&text)).await;
                let copied = copied.is_ok_and(|copied| copied.is_truthy());
                found.set(Some((text, copied)));
            });
        })
    };
    html! {
        <>
            <button type="button" {onclick}>{ "Copy diagnostics" }</button>
            if let Some((text, copied)) = &*found {
                <p class="hint" aria-live="polite">
                    { if *copied { "Copied. This is what is on the clipboard:" } else { "Copy these lines:" } }
                </p>
                <pre class="diagnostics" tabindex="0" aria-label="Diagnostics">{ text }</pre>
            }
        </>
    }
}

/// Versions of the program and of its networks.
fn own_lines(models: &[Model]) -> String {
    let mut lines = vec![concat!("Equipoise ", env!("CARGO_PKG_VERSION")).to_owned()];
    lines.extend(
        models
            .iter()
            .map(|model| format!("Network: {} {}", model.path, model.card.sha256)),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_first() {
        let lines = own_lines(&[Model {
            path: "models/toy".into(),
            ..Model::default()
        }]);
        assert!(
            lines.starts_with("Equipoise ") && lines.contains("Network: models/toy"),
            "{lines}"
        );
    }
}
