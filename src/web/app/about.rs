//! What this is.

use yew::prelude::*;

use super::state::Model;

#[derive(Properties, PartialEq)]
pub(super) struct AboutProps {
    /// Networks that ship with the page.
    pub(super) models: Vec<Model>,
}

/// See the module.
#[component]
pub(super) fn About(props: &AboutProps) -> Html {
    html! {
        <main id="content" class="about" tabindex="-1">
            <h2>{ "What it does" }</h2>
            <p>
                { "Equipoise finds multiple-sclerosis lesions in a FLAIR scan of the brain, with a T1 scan beside it if \
                   there is one. A 3-D densely connected network looks at overlapping patches; their answers are fused by \
                   B-spline-weighted soft voting into a probability for every voxel of your scan, in your scan’s own grid." }
            </p>
            <h2>{ "What it is not" }</h2>
            <p>
                <strong>{ "Research use only." }</strong>
                { " It is no medical device, was never assessed as one, and must not be used for diagnosis or treatment. \
                   Look at every mask before you use its numbers." }
            </p>
            <h2>{ "Your data" }</h2>
            <p>
                { "Everything is computed in this browser. No scan, no file name and no result leaves your computer; \
                   there is no tracking, and the page talks to no server but the one that it was loaded from." }
            </p>
            if !props.models.is_empty() {
                <h2>{ "Networks" }</h2>
                <dl>
                    { for props.models.iter().map(|model| html! {
                        <><dt>{ &model.title }</dt><dd>{ &model.summary }</dd></>
                    }) }
                </dl>
            }
            <h2>{ "Licence" }</h2>
            <p>
                { "MIT or Apache-2.0, at your choice; " }
                <a href="licences.html">{ "licences of what is bundled" }</a>
                { "." }
            </p>
            <p class="version">{ concat!("Version ", env!("CARGO_PKG_VERSION")) }</p>
        </main>
    }
}
