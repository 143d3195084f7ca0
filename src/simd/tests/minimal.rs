//! An ISA that brings nothing but what it must: every other operation is the default.

use super::super::{LANES, Simd};
use crate::arch::Scalar;
use crate::formats::vectors::FormatVectors;
use crate::half::vectors::HalfVectors;
use crate::kernel::{Kernel, Outline};
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::nibbles::NibbleVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::memory::StreamVectors;

/// The required operations of [`Simd`] on arrays.
#[derive(Clone, Copy)]
pub(super) struct Minimal(Scalar);

impl Minimal {
    pub fn new() -> Self {
        Minimal(Scalar::detect().expect("every CPU has it"))
    }
}

type F32 = [f32; LANES];
type I32 = [i32; LANES];
type F64 = [f64; LANES];
type Mask = [bool; LANES];

macro_rules! required {
    ($( fn $name:ident $([$N:ident])? ($($a:ident: $A:ty),*) $(-> $Out:ty)?; )*) => { $(
        #[inline(always)]
        fn $name $(<const $N: i32>)? (self, $($a: $A),*) $(-> $Out)? {
            Simd::$name $(::<$N>)? (self.0, $($a),*)
        }
    )* };
}

impl Simd for Minimal {
    type F32 = F32;
    type I32 = I32;
    type F64 = F64;
    type Mask = Mask;

    required! {
        fn splat_f32(x: f32) -> F32;
        fn load_f32(x: &F32) -> F32;
        fn store_f32(a: F32, out: &mut F32);
        fn add_f32(a: F32, b: F32) -> F32;
        fn sub_f32(a: F32, b: F32) -> F32;
        fn mul_f32(a: F32, b: F32) -> F32;
        fn div_f32(a: F32, b: F32) -> F32;
        fn max_f32(a: F32, b: F32) -> F32;
        fn min_f32(a: F32, b: F32) -> F32;
        fn round_to_i32(a: F32) -> I32;
        fn floor_to_i32(a: F32) -> I32;
        fn trunc_to_i32(a: F32) -> I32;
        fn to_f32(a: I32) -> F32;
        fn to_bits(a: F32) -> I32;
        fn of_bits(a: I32) -> F32;
        fn is_nan(a: F32) -> Mask;
        fn less_f32(a: F32, b: F32) -> Mask;
        fn equal_f32(a: F32, b: F32) -> Mask;
        fn less_i32(a: I32, b: I32) -> Mask;
        fn select_f32(mask: Mask, a: F32, b: F32) -> F32;
        fn select_i32(mask: Mask, a: I32, b: I32) -> I32;
        fn any(mask: Mask) -> bool;
        fn splat_f64(x: f64) -> F64;
        fn store_f64(a: F64, out: &mut F64);
        fn add_square(a: F64, x: F32) -> F64;
        fn splat_i32(x: i32) -> I32;
        fn load_i32(x: &I32) -> I32;
        fn store_i32(a: I32, out: &mut I32);
        fn load_u8(x: &[u8; LANES]) -> I32;
        fn load_i8(x: &[i8; LANES]) -> I32;
        fn store_u8(a: I32, out: &mut [u8; LANES]);
        fn store_i8(a: I32, out: &mut [i8; LANES]);
        fn add_i32(a: I32, b: I32) -> I32;
        fn sub_i32(a: I32, b: I32) -> I32;
        fn mul_i32(a: I32, b: I32) -> I32;
        fn max_i32(a: I32, b: I32) -> I32;
        fn min_i32(a: I32, b: I32) -> I32;
        fn and_i32(a: I32, b: I32) -> I32;
        fn xor_i32(a: I32, b: I32) -> I32;
        fn shift_left[N](a: I32) -> I32;
        fn shift_right(a: I32, shift: I32) -> I32;
        fn shift_right_logical(a: I32, shift: I32) -> I32;
    }
}

impl Outline for Minimal {
    fn outlined<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

impl FixedPointVectors for Minimal {}
impl FormatVectors for Minimal {}
impl HalfVectors for Minimal {}
impl InterleaveVectors for Minimal {}
impl NibbleVectors for Minimal {}
impl QuantizeVectors for Minimal {}
impl RandomVectors for Minimal {}
impl ReduceVectors for Minimal {}
impl StreamVectors for Minimal {}
