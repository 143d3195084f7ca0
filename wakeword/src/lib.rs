//! Wake word networks of codes in int8, quantized by TensorFlow Lite, on zeropoint's layers, with the bits of each of TensorFlow
//! Lite's kernels: every tensor of every step. README.md says which networks and kernels.

mod copies;
pub mod executor;
pub mod kernels;
mod layer;
pub mod logistic;
pub mod network;
pub mod recorded;
