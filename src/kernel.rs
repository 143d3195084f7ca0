//! What a kernel is, and everything it may compute with.

use crate::formats::vectors::FormatVectors;
use crate::groups::vectors::GroupVectors;
use crate::half::vectors::HalfVectors;
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::packing::PackVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::Simd;
use crate::simd::memory::StreamVectors;

/// All vector operations: the core, and what each family of kernels adds to it.
///
/// A new ISA implements [`Simd`] and, at first, nothing of the other traits: `impl ReduceVectors for NewIsa {}` takes the
/// defaults, which are right everywhere. Instructions that make one of them faster are then a matter of measuring.
pub trait Vectors:
    Simd
    + Outline
    + FixedPointVectors
    + FormatVectors
    + GroupVectors
    + HalfVectors
    + InterleaveVectors
    + PackVectors
    + QuantizeVectors
    + RandomVectors
    + ReduceVectors
    + StreamVectors
{
}

impl<V> Vectors for V where
    V: Simd
        + Outline
        + FixedPointVectors
        + FormatVectors
        + GroupVectors
        + HalfVectors
        + InterleaveVectors
        + PackVectors
        + QuantizeVectors
        + RandomVectors
        + ReduceVectors
        + StreamVectors
{
}

/// Calls from one kernel to another, in a function that has the features of the ISA: for a part of the work that many kernels
/// share and none does often. (Where only one kernel calls it, an optimising compiler may put it there all the same.)
pub trait Outline: Copy {
    /// Runs the kernel, in a function of its own.
    fn outlined<K: Kernel>(self, kernel: K) -> K::Output;
}

/// A piece of work that is compiled once for every ISA: its fields are its arguments, and [`Isa::run`](crate::Isa) picks
/// the copy.
pub trait Kernel {
    /// What the kernel returns.
    type Output;
    /// The body. Implementations are `#[inline(always)]`, to be compiled with the features of the ISA that runs them.
    fn run<V: Vectors>(self, v: V) -> Self::Output;
}
