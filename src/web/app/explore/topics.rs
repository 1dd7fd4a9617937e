//! Which part of "Explore" is on show.

use yew::prelude::*;

use crate::web::app::address::Topic;

#[derive(Properties, PartialEq)]
pub(in crate::web::app) struct TopicsProps {
    pub(in crate::web::app) topic: Topic,
    /// Every topic with the address that leads to it as things stand.
    pub(in crate::web::app) addresses: Vec<(Topic, String)>,
}

/// See the module.
#[component]
pub(in crate::web::app) fn Topics(props: &TopicsProps) -> Html {
    html! {
        <nav class="topics" aria-label="Explore">
            { for props.addresses.iter().map(|(topic, address)| {
                let here = (props.topic == *topic).then_some("page");
                html! { <a href={address.clone()} aria-current={here}>{ topic.title() }</a> }
            }) }
        </nav>
    }
}
