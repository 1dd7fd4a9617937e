//! Working without a network: what `www/offline.js` says about it, and what a person sees of that.

use wasm_bindgen::prelude::*;
use yew::prelude::*;

#[wasm_bindgen(module = "/www/offline.js")]
extern "C" {
    fn keep(tell: &Closure<dyn FnMut(String)>);
    #[wasm_bindgen(catch)]
    fn update() -> Result<(), JsValue>;
}

/// Whether the page is kept in the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Offline {
    /// Not known yet.
    #[default]
    Unknown,
    /// Its files are being kept.
    Keeping,
    /// They are.
    Ready,
    /// They are, and a new version waits.
    Update,
    /// The page was not served securely, so the browser does not let it.
    Insecure,
    /// The browser cannot.
    Unsupported,
    /// It did not work.
    Failed,
}

impl Offline {
    fn of(word: &str) -> Self {
        match word {
            "keeping" => Self::Keeping,
            "ready" => Self::Ready,
            "update" => Self::Update,
            "insecure" => Self::Insecure,
            "unsupported" => Self::Unsupported,
            _ => Self::Failed,
        }
    }

    /// For the person.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Unknown | Self::Keeping => {
                "The page’s files are being kept in this browser, so that it will open without a network."
            }
            Self::Ready | Self::Update => {
                "Works offline: the page’s files are kept in this browser. It opens and segments without a network, and can be \
                 installed from the browser’s menu."
            }
            Self::Insecure => {
                "Works online only: browsers keep a page for offline use only if it is served by https (or from this computer)."
            }
            Self::Unsupported => {
                "Works online only: this browser cannot keep pages, or not in a private window."
            }
            Self::Failed => {
                "Works online only: this browser did not keep the page’s files. There may be too little room on its disk."
            }
        }
    }
}

/// Starts keeping the page; `heard` is told how that goes. To be called once.
pub(super) fn start(heard: Callback<Offline>) {
    let tell = Closure::new(move |word: String| heard.emit(Offline::of(&word)));
    keep(&tell);
    // It is called as long as the page is open.
    tell.forget();
}

#[derive(Properties, PartialEq)]
pub(super) struct UpdateProps {
    pub(super) offline: Offline,
}

/// Says that there is a new version, and lets the person choose when to take it.
#[component]
pub(super) fn UpdateNotice(props: &UpdateProps) -> Html {
    let later = use_state_eq(|| false);
    if props.offline != Offline::Update || *later {
        return Html::default();
    }
    html! {
        <aside class="update" aria-label="Update">
            <p>{ "There is a new version of this page. Scans and results that are open must be opened again after reloading." }</p>
            <button type="button" class="primary" onclick={|_: MouseEvent| drop(update())}>{ "Reload now" }</button>
            <button type="button" onclick={move |_: MouseEvent| later.set(true)}>{ "Later" }</button>
        </aside>
    }
}
