//! The parts that the programs of this package share. Its programs: `report`, `compare`, `unbiased`, `words`, `turns`
//! and `profile`, in `src/bin/`.

pub mod arguments;
pub mod files;
pub mod operations;
pub mod program;
pub mod tensors;
