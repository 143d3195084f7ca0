//! An ISA that brings nothing but what it must: every other operation is the default. And one that watches its non-temporal
//! stores.

use core::cell::RefCell;

use super::super::{LANES, Simd};
use crate::arch::Scalar;
use crate::formats::vectors::FormatVectors;
use crate::groups::vectors::GroupVectors;
use crate::half::vectors::HalfVectors;
use crate::kernel::{Kernel, Outline};
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::packing::PackVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::memory::{Line, StreamVectors};

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

/// Everything but [`QuantizeVectors`] and [`StreamVectors`].
macro_rules! on_arrays {
    ($Arrays:ident) => {
        impl Simd for $Arrays {
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
                fn load_f64(x: &F64) -> F64;
                fn store_f64(a: F64, out: &mut F64);
                fn add_product_f64(a: F64, x: F32, y: F32) -> F64;
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

        impl Outline for $Arrays {
            fn outlined<K: Kernel>(self, kernel: K) -> K::Output {
                kernel.run(self)
            }
        }

        impl FixedPointVectors for $Arrays {}
        impl FormatVectors for $Arrays {}
        impl GroupVectors for $Arrays {}
        impl HalfVectors for $Arrays {}
        impl InterleaveVectors for $Arrays {}
        impl PackVectors for $Arrays {}
        impl RandomVectors for $Arrays {}
        impl ReduceVectors for $Arrays {}
    };
}

on_arrays!(Minimal);
impl QuantizeVectors for Minimal {}
impl StreamVectors for Minimal {}

/// [`Minimal`] with a fast path and non-temporal stores, which remembers the lines that it streamed until it fences.
#[derive(Clone, Copy)]
pub(crate) struct Streaming(Scalar);

thread_local! {
    /// The addresses of lines that were streamed and not yet fenced.
    static UNFENCED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl Streaming {
    pub fn new() -> Self {
        Streaming(Minimal::new().0)
    }

    /// The number of lines that this thread streamed and did not fence, of those that hold a part of `memory`.
    pub fn unfenced<T>(memory: &[T]) -> usize {
        let range = memory.as_ptr_range();
        let inside = |&&line: &&usize| line < range.end as usize && line + size_of::<Line>() > range.start as usize;
        UNFENCED.with_borrow(|lines| lines.iter().filter(inside).count())
    }
}

on_arrays!(Streaming);

impl QuantizeVectors for Streaming {
    const HAS_FAST_DIVISION: bool = true;
}

impl StreamVectors for Streaming {
    const HAS_NON_TEMPORAL_STORES: bool = true;

    unsafe fn stream(self, x: &Line, out: &mut Line) {
        out.0 = x.0;
        UNFENCED.with_borrow_mut(|lines| lines.push(core::ptr::from_ref(out) as usize));
    }
    fn fence(self) {
        UNFENCED.with_borrow_mut(Vec::clear);
    }
}
