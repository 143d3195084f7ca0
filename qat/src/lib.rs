//! The parts of the program `qat`, which trains a LeNet with quantization on candle, in many ways, and compares the results.

pub mod bias;
pub mod data;
pub mod export;
pub mod figure;
pub mod grid;
pub mod integer;
pub mod mean;
pub mod network;
pub mod ops;
pub mod post;
pub mod products;
pub mod random;
pub mod recipe;
pub mod report;
pub mod train;

/// Any error of the program.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
