//! The parts of the program `qat`: a LeNet that is trained with quantization on candle, in many ways, and compared.

pub mod bias;
pub mod data;
pub mod export;
pub mod figure;
pub mod grid;
pub mod integer;
pub mod network;
pub mod ops;
pub mod post;
pub mod products;
pub mod recipe;
pub mod report;
pub mod train;

/// Whatever goes wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
