//! The LeNet of the program `lenet`, for other programs of this repository: its files, its weights, and its networks in float and
//! in integers.

pub mod data;
pub mod float;
pub mod network;
pub mod static_range;
