//! What the method does, to be tried out. All mathematics is [`crate::loss`]'s; this only draws it.

mod formulas;
mod paper;
mod point;
mod pulls;
mod square;
mod steps;
mod weights;

pub(super) use paper::Paper;
pub use point::{Compared, Point};

use yew::prelude::*;

/// What every drawing needs.
#[derive(Properties, PartialEq, Clone)]
struct DrawingProps {
    point: Point,
    /// How to move it.
    moved: Callback<Point>,
}
