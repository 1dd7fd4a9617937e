//! The desk: owns the scans and runs the pipeline in a worker of its own.

pub mod choice;
pub mod estimate;
pub mod limits;
pub mod pool;
