//! Light and dark.

use web_sys::Storage;

/// Colours of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Theme {
    /// As the system says.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

const KEY: &str = "equipoise-theme";

impl Theme {
    /// The person's last choice.
    pub(super) fn remembered() -> Self {
        match storage()
            .and_then(|storage| storage.get_item(KEY).ok().flatten())
            .as_deref()
        {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::System,
        }
    }

    /// The next one of the toggle.
    pub(super) fn next(self) -> Self {
        match self {
            Self::System => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::System,
        }
    }

    /// Its name for a person.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Colours the page with it and remembers it. A browser that keeps nothing (private window) is no error.
    pub(super) fn apply(self) {
        let Some(root) = web_sys::window()
            .and_then(|w| w.document())
            .and_then(|d| d.document_element())
        else {
            return;
        };
        let stored = storage();
        if self == Self::System {
            drop(root.remove_attribute("data-theme"));
            stored.map(|storage| storage.remove_item(KEY));
        } else {
            drop(root.set_attribute("data-theme", self.name()));
            stored.map(|storage| storage.set_item(KEY, self.name()));
        }
    }
}

fn storage() -> Option<Storage> {
    web_sys::window()?.local_storage().ok().flatten()
}
