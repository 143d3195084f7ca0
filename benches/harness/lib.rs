//! The parts that measuring programs share: a clock, this machine's limits, and its description.

pub mod limits;
pub mod machine;
pub mod measure;
