//! Address and state: each follows the other.

use gloo_timers::callback::Timeout;
use yew::prelude::*;

use super::{Msg, Page};
use crate::web::app::address::{Address, View};
use crate::web::app::state::{Action, Link};

/// Milliseconds for which the state must be still before it is written to the address: browsers allow only so many
/// changes of it in a while, and a slider makes dozens a second.
const ADDRESS_REST_MS: u32 = 300;

impl Page {
    /// The address of a view as things stand.
    pub(super) fn address(&self, view: View) -> Address {
        match view {
            View::Segment => Address::Segment(self.state.link()),
            View::Finetune => Address::Finetune,
            View::Explore => Address::Explore(self.point),
            View::About => Address::About,
        }
    }

    /// Shows what the address asks for.
    pub(super) fn follow_address(&mut self, ctx: &Context<Self>) {
        let hash = web_sys::window().and_then(|window| window.location().hash().ok());
        let Some(wanted) = Address::read(&hash.unwrap_or_default()) else {
            return;
        };
        let view = wanted.view();
        // What we wrote ourselves, and links that only change the view, say nothing new.
        let news = wanted != self.address(view);
        self.view = view;
        self.finetune |= view == View::Finetune;
        match wanted {
            Address::Segment(link) if news => self.act(ctx, Action::Follow(link), &[]),
            Address::Explore(point) => self.point = point,
            Address::Segment(_) | Address::Finetune | Address::About => {}
        }
    }

    pub(super) fn write_address_soon(&mut self, ctx: &Context<Self>) {
        let link = ctx.link().clone();
        // The timer before, if one runs, is dropped and with it cancelled.
        self.write_address = Some(Timeout::new(ADDRESS_REST_MS, move || {
            link.send_message(Msg::WriteAddress);
        }));
    }
}

/// Puts a hash into the address without a step in the browser's history.
pub(super) fn write_hash(hash: &str) {
    let Some(location) = web_sys::window().map(|window| window.location()) else {
        return;
    };
    let now = location.hash().unwrap_or_default();
    // An address without a hash is that of the first view as it comes.
    let same = now == hash || (now.is_empty() && hash == Address::Segment(Link::default()).hash());
    if !same {
        drop(location.replace(hash));
    }
}
