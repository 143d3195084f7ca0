//! `scalar`: arrays of sixteen, compiled for the target's baseline. Not the oracle ([`crate::reference`] is): it goes
//! through the same kernels as every other ISA, and shows what they cost without hand-written vectors.

mod distance;

use crate::formats::vectors::FormatVectors;
use crate::groups::dot::{GroupDot, Totals, add_shared_steps};
use crate::groups::tile::{E2M1, PanelCodes};
use crate::groups::vectors::GroupVectors;
use crate::half::f16::from_half;
use crate::half::vectors::HalfVectors;
use crate::kernel::{Kernel, Outline};
use crate::matmul::dot::{Accs, Accumulate, Depth, Dot, Layout, load_step};
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::packing::PackVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::memory::StreamVectors;
use crate::simd::{LANES, Simd};

/// The token of an ISA that every CPU has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scalar(());

impl Scalar {
    /// The token, which proves nothing.
    #[inline(always)]
    pub(super) const fn witness() -> Self {
        Scalar(())
    }

    /// The token: every CPU runs this ISA.
    #[allow(clippy::unnecessary_wraps, reason = "every token has this signature")]
    pub fn detect() -> Option<Self> {
        Some(Scalar(()))
    }

    /// Runs a kernel on arrays. (Not inlined, so that the kernel has all registers.)
    #[inline(never)]
    pub fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// Sixteen values of one type.
type Array<T> = [T; LANES];

/// Adding and subtracting it rounds `|x| < 2²²` to the nearest integer, ties to even: baseline x86-64 has no rounding
/// instruction, and `round_ties_even` would be a call for every element.
const ROUNDER: f32 = 1.5 * (1u32 << 23) as f32;

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "one index for both arrays")]
fn map<T: Copy, U: Copy + Default>(a: Array<T>, f: impl Fn(T) -> U) -> Array<U> {
    let mut out = [U::default(); LANES];
    for i in 0..LANES {
        out[i] = f(a[i]);
    }
    out
}

#[inline(always)]
fn zip<T: Copy, U: Copy, V: Copy + Default>(a: Array<T>, b: Array<U>, f: impl Fn(T, U) -> V) -> Array<V> {
    let mut out = [V::default(); LANES];
    for i in 0..LANES {
        out[i] = f(a[i], b[i]);
    }
    out
}

/// Operations that are one scalar expression for every lane.
macro_rules! lanes {
    ($( fn $name:ident $([$N:ident])? ($($a:ident: $A:ty),*) -> $Out:ty = $expression:expr; )*) => { $(
        #[inline(always)]
        #[allow(clippy::needless_range_loop, reason = "one index for all operands")]
        fn $name $(<const $N: i32>)? (self, $($a: Array<$A>),*) -> Array<$Out> {
            let mut out = [<$Out>::default(); LANES];
            for i in 0..LANES {
                $( let $a = $a[i]; )*
                out[i] = $expression;
            }
            out
        }
    )* };
}

impl Outline for Scalar {
    #[inline(always)]
    fn outlined<K: Kernel>(self, kernel: K) -> K::Output {
        self.enter(kernel)
    }
}

impl Simd for Scalar {
    type F32 = Array<f32>;
    type I32 = Array<i32>;
    type F64 = Array<f64>;
    type Mask = Array<bool>;

    lanes! {
        fn add_f32(a: f32, b: f32) -> f32 = a + b;
        fn sub_f32(a: f32, b: f32) -> f32 = a - b;
        fn mul_f32(a: f32, b: f32) -> f32 = a * b;
        fn div_f32(a: f32, b: f32) -> f32 = a / b;
        fn max_f32(a: f32, b: f32) -> f32 = if a > b { a } else { b };
        fn min_f32(a: f32, b: f32) -> f32 = if a < b { a } else { b };
        fn round_to_i32(a: f32) -> i32 = (a + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i32;
        fn floor_to_i32(a: f32) -> i32 = {
            let nearest = (a + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i32;
            nearest - i32::from(nearest as f32 > a)
        };
        fn trunc_to_i32(a: f32) -> i32 = a as i32;
        fn to_f32(a: i32) -> f32 = a as f32;
        fn to_bits(a: f32) -> i32 = a.to_bits() as i32;
        fn of_bits(a: i32) -> f32 = f32::from_bits(a as u32);
        fn is_nan(a: f32) -> bool = a.is_nan();
        fn less_f32(a: f32, b: f32) -> bool = a < b;
        fn equal_f32(a: f32, b: f32) -> bool = a == b;
        fn less_i32(a: i32, b: i32) -> bool = a < b;
        fn select_f32(mask: bool, a: f32, b: f32) -> f32 = if mask { a } else { b };
        fn select_i32(mask: bool, a: i32, b: i32) -> i32 = if mask { a } else { b };
        fn add_product_f64(a: f64, x: f32, y: f32) -> f64 = a + f64::from(x) * f64::from(y);
        fn add_i32(a: i32, b: i32) -> i32 = a.wrapping_add(b);
        fn sub_i32(a: i32, b: i32) -> i32 = a.wrapping_sub(b);
        fn mul_i32(a: i32, b: i32) -> i32 = a.wrapping_mul(b);
        fn max_i32(a: i32, b: i32) -> i32 = a.max(b);
        fn min_i32(a: i32, b: i32) -> i32 = a.min(b);
        fn and_i32(a: i32, b: i32) -> i32 = a & b;
        fn xor_i32(a: i32, b: i32) -> i32 = a ^ b;
        fn shift_left[N](a: i32) -> i32 = a << N;
        fn shift_right(a: i32, shift: i32) -> i32 = a >> shift;
        fn shift_right_logical(a: i32, shift: i32) -> i32 = (a as u32 >> shift) as i32;
    }

    #[inline(always)]
    fn any(self, mask: Array<bool>) -> bool {
        let mut any = false;
        for lane in mask {
            any |= lane;
        }
        any
    }
    #[inline(always)]
    fn splat_f32(self, x: f32) -> Array<f32> {
        [x; LANES]
    }
    #[inline(always)]
    fn load_f32(self, x: &Array<f32>) -> Array<f32> {
        *x
    }
    #[inline(always)]
    fn store_f32(self, a: Array<f32>, out: &mut Array<f32>) {
        *out = a;
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Array<i32> {
        [x; LANES]
    }
    #[inline(always)]
    fn load_i32(self, x: &Array<i32>) -> Array<i32> {
        *x
    }
    #[inline(always)]
    fn store_i32(self, a: Array<i32>, out: &mut Array<i32>) {
        *out = a;
    }
    #[inline(always)]
    fn splat_f64(self, x: f64) -> Array<f64> {
        [x; LANES]
    }
    #[inline(always)]
    fn load_f64(self, x: &Array<f64>) -> Array<f64> {
        *x
    }
    #[inline(always)]
    fn store_f64(self, a: Array<f64>, out: &mut Array<f64>) {
        *out = a;
    }
    #[inline(always)]
    fn load_u8(self, x: &Array<u8>) -> Array<i32> {
        let mut lanes = [0; LANES];
        for i in 0..LANES {
            lanes[i] = i32::from(x[i]);
        }
        lanes
    }
    #[inline(always)]
    fn load_i8(self, x: &Array<i8>) -> Array<i32> {
        let mut lanes = [0; LANES];
        for i in 0..LANES {
            lanes[i] = i32::from(x[i]);
        }
        lanes
    }
    #[inline(always)]
    fn store_u8(self, a: Array<i32>, out: &mut Array<u8>) {
        let mut codes = [0; LANES];
        for i in 0..LANES {
            codes[i] = a[i] as u8;
        }
        *out = codes;
    }
    #[inline(always)]
    fn store_i8(self, a: Array<i32>, out: &mut Array<i8>) {
        let mut codes = [0; LANES];
        for i in 0..LANES {
            codes[i] = a[i] as i8;
        }
        *out = codes;
    }
}

impl FixedPointVectors for Scalar {}
impl FormatVectors for Scalar {}
impl GroupVectors for Scalar {}
impl HalfVectors for Scalar {}

impl InterleaveVectors for Scalar {}
impl PackVectors for Scalar {}
impl QuantizeVectors for Scalar {}
impl ReduceVectors for Scalar {
    lanes! {
        fn max_u32(a: i32, b: i32) -> i32 = (a as u32).max(b as u32) as i32;
        fn min_u32(a: i32, b: i32) -> i32 = (a as u32).min(b as u32) as i32;
    }
}
impl RandomVectors for Scalar {
    lanes! {
        fn rotate_left[N](a: i32) -> i32 = a.rotate_left(N as u32);
        fn add_if_less(a: i32, x: f32, y: f32) -> i32 = a.wrapping_add(i32::from(x < y));
    }
}
impl StreamVectors for Scalar {}

impl Accumulate for Scalar {
    type Acc = Array<i32>;
    type Columns = Array<i32>;

    #[inline(always)]
    fn read(self, x: &Array<i32>) -> Array<i32> {
        *x
    }
    #[inline(always)]
    fn splat(self, x: i32) -> Array<i32> {
        [x; LANES]
    }
    #[inline(always)]
    fn add(self, a: Array<i32>, b: Array<i32>) -> Array<i32> {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn add_product(self, acc: Array<i32>, factor: i32, columns: Array<i32>) -> Array<i32> {
        zip(acc, columns, |acc, column| acc.wrapping_add(factor.wrapping_mul(column)))
    }
    #[inline(always)]
    fn store(self, acc: Array<i32>, out: &mut Array<i32>) {
        *out = acc;
    }
}

/// Rows of a full tile.
const ROWS: usize = 4;

/// Sixteen columns, one k at a time: A of either sign, B as i8.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub a_signed: bool,
}

impl Dot for Product {
    type Vectors = Scalar;
    type StepA = [u8; 1];
    type StepB = Array<u8>;
    type A = i32;
    type B = Array<i32>;
    const DEPTH: usize = 1;

    #[inline(always)]
    fn vectors(self) -> Scalar {
        Scalar::witness()
    }
    #[inline(always)]
    fn broadcast(self, &[a]: &[u8; 1]) -> i32 {
        if self.a_signed { i32::from(a as i8) } else { i32::from(a) }
    }
    #[inline(always)]
    fn load(self, b: &Array<u8>) -> Array<i32> {
        map(*b, |b| i32::from(b as i8))
    }
    #[inline(always)]
    fn dot(self, acc: Array<i32>, a: i32, b: Array<i32>) -> Array<i32> {
        zip(acc, b, |acc, b| acc.wrapping_add(a * b))
    }
    /// The compiler makes vectors of a loop over columns that has all rows of a full tile in its body, or of one row at a
    /// time; of anything between, it makes none.
    #[inline(always)]
    unsafe fn add_products(self, acc: &mut Accs<Self>, [rows, vectors]: [usize; 2], depth: Depth, layout: Layout) {
        let together = if rows == ROWS { ROWS } else { 1 };
        for first in (0..rows).step_by(together) {
            let Depth { steps, a, a_stride, mut b } = depth;
            let mut a = a.wrapping_add(first * a_stride);
            let mut sums = [[0; LANES]; ROWS];
            for _ in 0..steps {
                // SAFETY: B has a step more, of one vector.
                let [b, ..] = unsafe { load_step(self, &mut b, layout, vectors) };
                let mut factors = [0; ROWS];
                for r in 0..together {
                    // SAFETY: every row of A has a step more.
                    factors[r] = self.broadcast(unsafe { &*a.wrapping_add(r * a_stride).cast() });
                }
                for j in 0..LANES {
                    for r in 0..together {
                        sums[r][j] = factors[r].wrapping_mul(b[j]).wrapping_add(sums[r][j]);
                    }
                }
                a = a.wrapping_add(1);
            }
            for r in 0..together {
                acc[first + r][0] = self.vectors().add(acc[first + r][0], sums[r]);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, _: usize, flip: u8) -> Array<i32> {
        // SAFETY: sixteen bytes, one for every column, may be read.
        let row = unsafe { *b.cast::<Array<u8>>() };
        self.load(&map(row, |b| b ^ flip))
    }
}

/// [`Product`] with left operands of i16, a row at a time: of several, the compiler makes no vectors.
#[derive(Clone, Copy)]
pub(super) struct WideProduct;

impl Dot for WideProduct {
    type Vectors = Scalar;
    type StepA = [u8; 2];
    type StepB = Array<u8>;
    type A = i32;
    type B = Array<i32>;
    const DEPTH: usize = 1;

    #[inline(always)]
    fn vectors(self) -> Scalar {
        Scalar::witness()
    }
    #[inline(always)]
    fn broadcast(self, a: &[u8; 2]) -> i32 {
        i16::from_ne_bytes(*a).into()
    }
    #[inline(always)]
    fn load(self, b: &Array<u8>) -> Array<i32> {
        Product { a_signed: true }.load(b)
    }
    #[inline(always)]
    fn dot(self, acc: Array<i32>, a: i32, b: Array<i32>) -> Array<i32> {
        Product { a_signed: true }.dot(acc, a, b)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> Array<i32> {
        // SAFETY: the requirements are those of this function.
        unsafe { Product { a_signed: true }.load_rows(b, stride, flip) }
    }
}

impl Totals for Scalar {
    type Reals = Array<f32>;
    type RealColumns = Array<f32>;
    type HalfColumns = Array<u16>;
    const WIDENS_HALVES: bool = false;

    #[inline(always)]
    fn splat_real(self, x: f32) -> Array<f32> {
        [x; LANES]
    }
    #[inline(always)]
    fn read_reals(self, x: &Array<f32>) -> Array<f32> {
        *x
    }
    #[inline(always)]
    fn read_halves(self, x: &Array<u16>) -> Array<f32> {
        map(*x, from_half)
    }
    #[inline(always)]
    fn to_reals(self, acc: Array<i32>) -> Array<f32> {
        map(acc, |x| x as f32)
    }
    #[inline(always)]
    fn add_reals(self, a: Array<f32>, b: Array<f32>) -> Array<f32> {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn multiply_reals(self, a: Array<f32>, b: Array<f32>) -> Array<f32> {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn store_reals(self, a: Array<f32>, out: &mut Array<f32>) {
        *out = a;
    }
}

impl GroupDot for Product {
    #[inline(always)]
    fn extract(self, b: Array<i32>, shift: u32, bits: u32) -> Array<i32> {
        map(b, |b| b >> shift & ((1 << bits) - 1))
    }

    #[inline(always)]
    fn look_up(self, b: Array<i32>) -> Array<i32> {
        map(b, |b| E2M1[b as usize & 15].into())
    }

    #[inline(always)]
    unsafe fn add_steps(self, acc: &mut Accs<Self>, size: [usize; 2], depth: Depth, codes: PanelCodes) {
        if codes == PanelCodes::Bits(8) {
            // SAFETY: the requirements are those of a panel.
            return unsafe { self.add_products(acc, size, depth, Layout::Panel { prefetch: false }) };
        }
        // SAFETY: the requirements are those of this function.
        unsafe { add_shared_steps(self, acc, size, depth, codes) }
    }
}

scalar_kernels! { Scalar = "scalar" }
