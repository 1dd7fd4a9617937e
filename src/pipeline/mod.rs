//! From a scan to a mask, free of any user interface.

mod predictor;

pub use predictor::{PredictError, Predictor};
