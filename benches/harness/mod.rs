//! What measuring programs share: a clock, this machine's limits, and its description.

#![allow(dead_code, reason = "every program uses a part")]

pub mod limits;
pub mod machine;
pub mod measure;
