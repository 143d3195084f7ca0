//! The C interface of [zeropoint](../zeropoint/index.html). `include/zeropoint.h` is generated from these sources, with the comments;
//! `README.md` is the way in for C programmers.
//!
//! Every function goes through [`boundary::call`], which turns errors and panics into numbers and messages, and gives the body a
//! [`Caller`](boundary::Caller): the one who may read the caller's pointers, after it has checked them. So a function is a list of
//! checked arguments and a call of the library.
//!
//! # Safety
//!
//! The contract of every function is that of the header: a pointer that is not null points to as many elements as its view or its
//! count says, initialized if they are read; a handle is one that a function of this library returned and that was not freed; no
//! other thread writes what a call reads, or touches what it writes. Values of enums may be any number: they are checked.
#![allow(non_camel_case_types, reason = "the names of C")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all functions, above")]
#![allow(clippy::too_many_arguments, reason = "C has no named arguments and no default ones")]

mod archive;
mod boundary;
mod conv;
mod element;
mod error;
mod exec;
mod failure;
mod formats;
mod fp8;
mod groups;
mod handle;
mod matmul;
mod observer;
mod params;
mod pool;
mod quantize;
mod random;
mod report;
mod scheme;
mod shared_call;
mod stage;
mod stored;
mod version;
mod view;
mod weights;
mod workspace;

pub use archive::*;
pub use boundary::zp_message;
pub use conv::*;
pub use element::zp_type;
pub use error::*;
pub use exec::*;
pub use formats::*;
pub use fp8::*;
pub use groups::*;
pub use matmul::*;
pub use observer::*;
pub use params::*;
pub use pool::*;
pub use quantize::*;
pub use random::*;
pub use report::*;
pub use scheme::*;
pub use shared_call::*;
pub use stage::*;
pub use stored::*;
pub use version::*;
pub use view::{zp_view, zp_view_mut};
pub use weights::*;
pub use workspace::*;
