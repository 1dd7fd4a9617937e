//! What the method does, to be tried out: the loss on paper (drawn from [`crate::loss`]), a family of networks on a scan, and how
//! patches are fused (both drawn from what the desk answers).

mod curves;
mod formulas;
mod fusion;
mod paper;
mod pictures;
mod point;
mod pulls;
mod scan;
mod square;
mod steps;
mod topics;
mod weights;

pub(super) use fusion::{Fusion, layer_key, layer_of};
pub(super) use paper::Paper;
pub(super) use pictures::{Palette, Pixels, Planes};
pub use point::{Compared, Point};
pub(super) use scan::OnAScan;
pub(super) use topics::Topics;

use yew::prelude::*;

/// What every drawing needs.
#[derive(Properties, PartialEq, Clone)]
struct DrawingProps {
    point: Point,
    /// How to move it.
    moved: Callback<Point>,
}
