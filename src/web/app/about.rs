//! What this is.

use yew::prelude::*;

use super::diagnostics::Diagnostics;
use super::offline::Offline;
use super::state::Model;
use super::words;

#[derive(Properties, PartialEq)]
pub(super) struct AboutProps {
    /// Networks that ship with the page.
    pub(super) models: Vec<Model>,
    pub(super) offline: Offline,
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
            <p>
                { "Do not take our word for it: open the browser’s developer tools at “Network”, segment a scan, and see that \
                   nothing is sent; or cut the connection before you open the scan. The page’s own policy forbids it any other \
                   server." }
            </p>
            <h2>{ "Offline" }</h2>
            <p>{ props.offline.words() }</p>
            <h2>{ "How it was trained, and how far it gets" }</h2>
            { for props.models.iter().map(network) }
            <h2>{ "Licence" }</h2>
            <p>
                { "MIT or Apache-2.0, at your choice; " }
                <a href="licences.html">{ "licences of what is bundled" }</a>
                { "." }
            </p>
            <h2>{ "How to cite" }</h2>
            <ul>
                { for cite(&props.models).into_iter().map(|entry| html! { <li>{ entry }</li> }) }
            </ul>
            <h2>{ "If something does not work" }</h2>
            <p>
                { "These lines say which browser and which machine it was. They hold no file name and nothing of a scan." }
            </p>
            <Diagnostics models={props.models.clone()} />
            <p class="version">{ concat!("Version ", env!("CARGO_PKG_VERSION")) }</p>
        </main>
    }
}

/// A network by its card.
fn network(model: &Model) -> Html {
    let card = &model.card;
    let size = card
        .parameters
        .map(|count| format!("{:.2} million parameters. ", count as f64 / 1e6))
        .unwrap_or_default();
    let patients = card
        .patients
        .map(|n| {
            format!(
                "Trained on the scans of {} (n = {n}), on lesions painted into them and on synthetic heads.",
                words::counted(n, "patient")
            )
        })
        .unwrap_or_default();
    let list = |title: &'static str, entries: &[String]| {
        if entries.is_empty() {
            return Html::default();
        }
        html! { <><h4>{ title }</h4><ul>{ for entries.iter().map(|entry| html! { <li>{ entry }</li> }) }</ul></> }
    };
    html! {
        <section class="network">
            <h3>{ &model.title }</h3>
            if !model.summary.is_empty() { <p>{ &model.summary }</p> }
            <p>{ size }{ patients }</p>
            { list("Figures on data it was not trained on", &card.held_out) }
            { list("Known failures", &card.known_failures) }
            if !card.licence.is_empty() { <p>{ "Licence of the weights: " }{ &card.licence }</p> }
            if !card.sha256.is_empty() { <p class="hash">{ "SHA-256 of the weights: " }<code>{ &card.sha256 }</code></p> }
        </section>
    }
}

/// What the cards ask to be cited, each once.
fn cite(models: &[Model]) -> Vec<&str> {
    let mut entries: Vec<&str> = Vec::new();
    for entry in models.iter().flat_map(|model| &model.card.cite) {
        if !entries.contains(&entry.as_str()) {
            entries.push(entry);
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::web::app::state::ModelCard;

    #[test]
    fn two_networks_are_cited_once() {
        let model = Model {
            card: Rc::new(ModelCard {
                cite: vec!["A paper.".into(), "A data set.".into()],
                ..ModelCard::default()
            }),
            ..Model::default()
        };
        assert_eq!(cite(&[model.clone(), model]), ["A paper.", "A data set."]);
    }
}
