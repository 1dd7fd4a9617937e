//! Address and state: each follows the other.

use gloo_timers::callback::Timeout;
use yew::prelude::*;

use super::{Msg, Page};
use crate::web::app::address::{Address, Topic, View};
use crate::web::app::state::{Action, Drawing, Link, StudyAction};

/// Milliseconds for which the state must be still before it is written to the address: browsers allow only so many
/// changes of it in a while, and a slider makes dozens a second.
const ADDRESS_REST_MS: u32 = 300;

impl Page {
    /// The address of a view as things stand.
    pub(super) fn address(&self, view: View) -> Address {
        match view {
            View::Segment => Address::Segment(self.state.link()),
            View::Finetune => Address::Finetune,
            View::Explore => self.explored(self.topic),
            View::About => Address::About,
        }
    }

    /// Shows what the address asks for.
    /// The address of a part of "Explore" as things stand.
    pub(super) fn explored(&self, topic: Topic) -> Address {
        match drawing(topic) {
            Some(drawing) => Address::Study(topic, self.state.study_link(drawing)),
            None => Address::Explore(self.point),
        }
    }

    /// Tells the state which drawing is on the screen.
    fn show_drawing(&mut self, ctx: &Context<Self>) {
        let drawing = drawing(self.topic).filter(|_| self.view == View::Explore);
        self.act(ctx, Action::Study(StudyAction::Show(drawing)), &[]);
    }

    pub(super) fn follow_address(&mut self, ctx: &Context<Self>) {
        self.hash = hash();
        let Some(wanted) = Address::read(&self.hash) else {
            return;
        };
        let view = wanted.view();
        match &wanted {
            Address::Explore(_) => self.topic = Topic::Paper,
            Address::Study(topic, _) => self.topic = *topic,
            _ => {}
        }
        // What we wrote ourselves, and links that only change the view, say nothing new.
        let news = wanted != self.address(view);
        self.view = view;
        self.finetune |= view == View::Finetune;
        match wanted {
            Address::Segment(link) if news => self.act(ctx, Action::Follow(link), &[]),
            Address::Explore(point) => self.point = point,
            Address::Study(topic, link) if news => {
                if let Some(drawing) = drawing(topic) {
                    self.act(ctx, Action::FollowStudy(drawing, link), &[]);
                }
            }
            Address::Segment(_) | Address::Finetune | Address::Study(..) | Address::About => {}
        }
        self.show_drawing(ctx);
    }

    pub(super) fn write_address_soon(&mut self, ctx: &Context<Self>) {
        let link = ctx.link().clone();
        // The timer before, if one runs, is dropped and with it cancelled.
        self.write_address = Some(Timeout::new(ADDRESS_REST_MS, move || {
            link.send_message(Msg::WriteAddress);
        }));
    }

    /// Puts the state into the address, without a step in the browser's history.
    pub(super) fn write_address(&mut self) {
        self.write_address = None;
        let now = hash();
        // Somebody has just asked for another address, and the event that says so is on its way.
        if now != self.hash {
            return;
        }
        let new = self.address(self.view).hash();
        // An address without a hash is that of the first view as it comes.
        if new == now || (now.is_empty() && new == Address::Segment(Link::default()).hash()) {
            return;
        }
        if let Some(window) = web_sys::window() {
            drop(window.location().replace(&new));
            self.hash = new;
        }
    }
}

/// What a part of "Explore" has the desk draw.
fn drawing(topic: Topic) -> Option<Drawing> {
    match topic {
        Topic::Paper => None,
        Topic::Scan => Some(Drawing::Family),
        Topic::Fusion => Some(Drawing::Fusion),
    }
}

/// The address's hash, with its `#`; empty if it has none.
fn hash() -> String {
    let location = web_sys::window().map(|window| window.location());
    location
        .and_then(|location| location.hash().ok())
        .unwrap_or_default()
}
