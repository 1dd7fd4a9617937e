//! The 3-D densely connected network.
