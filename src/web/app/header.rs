//! The page's head: its name, the views, light and dark.

use wasm_bindgen::JsCast;
use web_sys::HtmlElement;
use yew::prelude::*;

use super::address::View;
use super::theme::Theme;

#[derive(Properties, PartialEq)]
pub(super) struct HeaderProps {
    /// The view on show.
    pub(super) view: View,
    /// Every view with the address that leads to it as things stand.
    pub(super) addresses: Vec<(View, String)>,
    pub(super) theme: Theme,
    pub(super) next_theme: Callback<MouseEvent>,
}

/// See the module.
#[component]
pub(super) fn Header(props: &HeaderProps) -> Html {
    let controls = props.view == View::Segment;
    let main = if controls { "controls" } else { "content" };
    let skip = Callback::from(move |event: MouseEvent| {
        // The address names the view; following this link would change it.
        event.prevent_default();
        let document = web_sys::window().and_then(|window| window.document());
        let target = document.and_then(|document| document.get_element_by_id(main));
        if let Some(target) = target.and_then(|target| target.dyn_into::<HtmlElement>().ok()) {
            drop(target.focus());
        }
    });
    let theme = props.theme.name();
    html! {
        <header class="top">
            <a class="skip" href={format!("#{main}")} onclick={skip}>
                { if controls { "Skip to the controls" } else { "Skip to the content" } }
            </a>
            <h1>{ "Equipoise" }</h1>
            <p class="tagline">{ "MS lesion segmentation in your browser" }</p>
            <nav aria-label="Views">
                { for props.addresses.iter().map(|(view, address)| {
                    let here = (props.view == *view).then_some("page");
                    html! { <a href={address.clone()} aria-current={here}>{ view.title() }</a> }
                }) }
            </nav>
            <button
                type="button"
                class={classes!("icon", format!("theme-{theme}"))}
                onclick={props.next_theme.clone()}
                aria-label={format!("Colours: {theme}")}
                title={format!("Colours: {theme}")}
            />
        </header>
    }
}
