//! Cases for training: which files belong together, and whether a case is fit for use.

mod check;
mod names;
mod pairs;

pub use check::{CaseProblem, Checked, check};
pub use names::{Role, role};
pub use pairs::{Left, Paired, Pairing, pair};
