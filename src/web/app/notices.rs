//! Notices that stay until they are dismissed.

use yew::prelude::*;

use super::page::PanelProps;
use super::state::{Action, NoticeKind};

/// All notices, over the page's lower edge.
#[component]
pub(super) fn NoticeList(props: &PanelProps) -> Html {
    html! {
        <div class="notices">
            { for props.state.notices.iter().map(|notice| {
                let id = notice.id;
                let class = match notice.kind {
                    NoticeKind::Warning => "notice warning",
                    NoticeKind::Error => "notice error",
                };
                html! {
                    <div key={id} {class} role="alert">
                        <p>{ &notice.text }</p>
                        <button
                            type="button"
                            class="icon remove"
                            aria-label="Dismiss"
                            title="Dismiss"
                            onclick={props.act.reform(move |_| Action::Dismiss(id))}
                        />
                    </div>
                }
            }) }
        </div>
    }
}
