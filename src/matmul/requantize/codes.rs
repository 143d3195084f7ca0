//! The codes of a requantized result: zero point and bounds, as integers and in lanes.

use core::ops::RangeInclusive;

use crate::codes::{ByteCode, Code};
use crate::error::Error;
use crate::kernel::Vectors;
use crate::sign::Sign;
use crate::simd::LANES;

/// The codes of a result: their zero point and the activation bounds.
#[derive(Clone, Copy, Debug)]
pub struct CodeBounds {
    pub sign: Sign,
    pub zero_point: i32,
    pub min: i32,
    pub max: i32,
}

impl CodeBounds {
    pub fn new<C: ByteCode>(zero_point: i32, bounds: RangeInclusive<C>) -> Result<Self, Error> {
        let [min, max] = check_bounds(zero_point, &bounds)?;
        Ok(CodeBounds { sign: C::SIGN, zero_point, min, max })
    }

    /// The smallest code of the type.
    #[inline(always)]
    pub fn least_code(&self) -> i32 {
        match self.sign {
            Sign::Unsigned => 0,
            Sign::Signed => -128,
        }
    }

    /// The bounds of products: those of codes less the zero point.
    pub fn product_bounds(&self) -> (i32, i32) {
        (self.min - self.zero_point, self.max - self.zero_point)
    }
}

/// Activation bounds that are not empty, if the zero point is a value of their type.
pub(crate) fn check_bounds<C: Code>(zero_point: i32, bounds: &RangeInclusive<C>) -> Result<[i32; 2], Error> {
    let (min, max) = (C::MIN.into(), C::MAX.into());
    if !(min..=max).contains(&zero_point) {
        return Err(Error::ZeroPoint { index: 0, zero_point, min, max });
    }
    let (min, max) = ((*bounds.start()).into(), (*bounds.end()).into());
    if min > max { Err(Error::Bounds { min, max }) } else { Ok([min, max]) }
}

/// The codes of a result, in lanes.
#[derive(Clone, Copy)]
pub struct CodeLanes<V: Vectors> {
    /// The bounds of products.
    min: V::I32,
    max: V::I32,
    pub zero_point: V::I32,
    /// The smallest code of the type.
    pub least_code: V::I32,
    /// The type of the codes.
    pub sign: Sign,
}

impl<V: Vectors> CodeLanes<V> {
    #[inline(always)]
    pub fn new(simd: V, codes: &CodeBounds) -> Self {
        let (min, max) = codes.product_bounds();
        CodeLanes {
            min: simd.splat_i32(min),
            max: simd.splat_i32(max),
            zero_point: simd.splat_i32(codes.zero_point),
            least_code: simd.splat_i32(codes.least_code()),
            sign: codes.sign,
        }
    }

    /// The codes of products.
    #[inline(always)]
    pub fn of(&self, simd: V, product: V::I32) -> V::I32 {
        simd.add_i32(clamp(simd, product, self.min, self.max), self.zero_point)
    }

    /// `clamp(acc as f32 · M)`
    #[inline(always)]
    fn clamped_product(&self, simd: V, multiplier: V::F32, acc: V::I32) -> V::F32 {
        let product = simd.mul_f32(simd.to_f32(acc), multiplier);
        simd.min_f32(simd.max_f32(product, simd.to_f32(self.min)), simd.to_f32(self.max))
    }

    /// The codes of accumulators times float multipliers.
    #[inline(always)]
    pub fn round(&self, simd: V, multiplier: V::F32, acc: V::I32) -> V::I32 {
        simd.add_i32(simd.round_to_i32(self.clamped_product(simd, multiplier, acc)), self.zero_point)
    }

    /// The codes of accumulators times float multipliers, rounded stochastically.
    #[inline(always)]
    pub fn round_stochastically(&self, simd: V, multiplier: V::F32, acc: V::I32, words: V::I32) -> V::I32 {
        let product = self.clamped_product(simd, multiplier, acc);
        simd.add_i32(simd.round_stochastically(product, words), self.zero_point)
    }
}

/// `min.max(a).min(max)`
#[inline(always)]
pub fn clamp<V: Vectors>(simd: V, a: V::I32, min: V::I32, max: V::I32) -> V::I32 {
    simd.min_i32(simd.max_i32(a, min), max)
}

/// Stores a vector of codes of this sign.
///
/// # Safety
/// [`LANES`] bytes may be written at `out`.
#[inline(always)]
pub unsafe fn store_codes<V: Vectors>(simd: V, codes: V::I32, sign: Sign, out: *mut u8) {
    // SAFETY: the caller vouches for the bytes, and an array of bytes has no alignment.
    unsafe {
        match sign {
            Sign::Unsigned => simd.store_u8(codes, &mut *out.cast::<[u8; LANES]>()),
            Sign::Signed => simd.store_i8(codes, &mut *out.cast::<[i8; LANES]>()),
        }
    }
}
