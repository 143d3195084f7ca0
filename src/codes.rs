//! Codes: u8 or i8, of 2 to 8 bits or of any range around 0.

use core::fmt::Debug;

use bytemuck::Pod;

use crate::error::Error;
use crate::kernel::Vectors;
use crate::sign::Sign;
use crate::simd::LANES;

/// How the generic public functions hand codes to the functions of this crate, which are compiled once and know both
/// types by a [`Sign`] or a variant.
mod erased {
    use super::{LANES, Pod, Sign, Vectors};

    /// Codes of either type.
    #[derive(Clone, Copy, Debug)]
    pub enum Codes<'a> {
        U8(&'a [u8]),
        I8(&'a [i8]),
    }

    /// Codes of either type, to be written.
    #[derive(Debug)]
    pub enum CodesMut<'a> {
        U8(&'a mut [u8]),
        I8(&'a mut [i8]),
    }

    /// A code type whose slices can be erased.
    pub trait Erase: Pod {
        /// u8 or i8.
        const SIGN: Sign;
        /// The code with these bits.
        fn from_byte(byte: u8) -> Self;
        /// The bits of the code.
        fn to_byte(self) -> u8;
        /// [`InterleaveVectors::add_four_u8`](crate::matmul::interleave::InterleaveVectors) or its signed counterpart
        fn add_four<V: Vectors>(v: V, a: V::I32, x: &[Self; 4 * LANES]) -> V::I32;
        /// `x[i] as i32`
        fn load<V: Vectors>(v: V, x: &[Self; LANES]) -> V::I32;
        /// `out[i] = a[i]`, for codes
        fn store<V: Vectors>(v: V, a: V::I32, out: &mut [Self; LANES]);
        /// The codes with their type as a variant.
        fn erase(codes: &[Self]) -> Codes<'_>;
        /// The codes with their type as a variant, to be written.
        fn erase_mut(codes: &mut [Self]) -> CodesMut<'_>;
    }

    impl Erase for u8 {
        const SIGN: Sign = Sign::Unsigned;
        fn from_byte(byte: u8) -> Self {
            byte
        }
        #[inline(always)]
        fn to_byte(self) -> u8 {
            self
        }
        #[inline(always)]
        fn add_four<V: Vectors>(v: V, a: V::I32, x: &[Self; 4 * LANES]) -> V::I32 {
            v.add_four_u8(a, x)
        }
        #[inline(always)]
        fn load<V: Vectors>(v: V, x: &[Self; LANES]) -> V::I32 {
            v.load_u8(x)
        }
        #[inline(always)]
        fn store<V: Vectors>(v: V, a: V::I32, out: &mut [Self; LANES]) {
            v.store_u8(a, out);
        }
        fn erase(codes: &[Self]) -> Codes<'_> {
            Codes::U8(codes)
        }
        fn erase_mut(codes: &mut [Self]) -> CodesMut<'_> {
            CodesMut::U8(codes)
        }
    }

    impl Erase for i8 {
        const SIGN: Sign = Sign::Signed;
        fn from_byte(byte: u8) -> Self {
            byte.cast_signed()
        }
        #[inline(always)]
        fn to_byte(self) -> u8 {
            self.cast_unsigned()
        }
        #[inline(always)]
        fn add_four<V: Vectors>(v: V, a: V::I32, x: &[Self; 4 * LANES]) -> V::I32 {
            v.add_four_i8(a, x)
        }
        #[inline(always)]
        fn load<V: Vectors>(v: V, x: &[Self; LANES]) -> V::I32 {
            v.load_i8(x)
        }
        #[inline(always)]
        fn store<V: Vectors>(v: V, a: V::I32, out: &mut [Self; LANES]) {
            v.store_i8(a, out);
        }
        fn erase(codes: &[Self]) -> Codes<'_> {
            Codes::I8(codes)
        }
        fn erase_mut(codes: &mut [Self]) -> CodesMut<'_> {
            CodesMut::I8(codes)
        }
    }
}
pub(crate) use erased::{Codes, CodesMut, Erase};

/// A type that stores codes: `u8` or `i8`.
pub trait Code: Erase + Copy + Default + Ord + Debug + Into<i32> + TryFrom<i32> + Send + Sync + 'static {
    /// The smallest value of the type.
    const MIN: Self;
    /// The largest value of the type.
    const MAX: Self;
}

impl Code for u8 {
    const MIN: u8 = u8::MIN;
    const MAX: u8 = u8::MAX;
}

impl Code for i8 {
    const MIN: i8 = i8::MIN;
    const MAX: i8 = i8::MAX;
}

/// The codes that a quantizer may produce: of 2 to 8 bits, or between any two codes around 0.
///
/// | n bits | range |
/// |---|---|
/// | unsigned | 0 … 2ⁿ − 1 |
/// | signed | −2ⁿ⁻¹ … 2ⁿ⁻¹ − 1 |
/// | narrow | −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1 |
/// | [`new`](CodeRange::new) | `quant_min` … `quant_max` of PyTorch's observers |
///
/// ```
/// use zeropoint::CodeRange;
/// assert_eq!(CodeRange::signed(4)?.min(), -8);
/// assert_eq!(CodeRange::narrow(8)?.min(), -127);
/// assert_eq!(CodeRange::new(-100_i8, 27)?.max(), 27);
/// assert!(CodeRange::unsigned(9).is_err());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct CodeRange<C> {
    min: C,
    max: C,
}

impl<C: Code> CodeRange<C> {
    /// The codes `min` … `max`, which need not be those of n bits: `quant_min` and `quant_max` of PyTorch.
    ///
    /// Real 0 needs a code whatever the scheme, so 0 is one of them; and symmetric schemes need codes above it.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Range, Scheme};
    /// let codes = CodeRange::new(0_u8, 100)?;
    /// assert_eq!(Scheme::ASYMMETRIC.parameters(codes, Range { min: -5.0, max: 20.0 })?, (0.25, 20));
    /// assert_eq!(CodeRange::new(-8_i8, 7)?, CodeRange::signed(4)?);
    /// assert!(CodeRange::new(16_u8, 235).is_err());
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Codes`] unless `min` ≤ 0 < `max`, or when there are fewer than three codes.
    pub fn new(min: C, max: C) -> Result<Self, Error> {
        let bounds = CodeBounds { min: min.into(), max: max.into() };
        let why = match bounds {
            CodeBounds { min: 1.., .. } => "0 is not one of them",
            CodeBounds { max: ..=0, .. } => "none is above 0",
            _ if bounds.steps() < 2 => "fewer than three",
            _ => return Ok(CodeRange { min, max }),
        };
        Err(Error::Codes { min: bounds.min, max: bounds.max, why })
    }

    /// The smallest code.
    #[must_use]
    pub fn min(self) -> C {
        self.min
    }

    /// The largest code.
    #[must_use]
    pub fn max(self) -> C {
        self.max
    }

    /// The range as integers of a type that does not depend on the codes'.
    pub(crate) fn bounds(self) -> CodeBounds {
        CodeBounds { min: self.min.into(), max: self.max.into() }
    }
}

/// A [`CodeRange`] as integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CodeBounds {
    /// The smallest code.
    pub min: i32,
    /// The largest code.
    pub max: i32,
}

impl CodeBounds {
    /// `max − min`: 2ⁿ − 1, narrow 2ⁿ − 2.
    pub fn steps(self) -> i32 {
        self.max - self.min
    }

    /// n of codes of n bits; of any other range, the nearest number of bits to the logarithm of how many codes there are.
    pub fn bits(self) -> u32 {
        // 2ᵇ⁻½ ≤ codes < 2ᵇ⁺½, squared.
        let codes = self.steps() as u32 + 1;
        (codes * codes).ilog2().div_ceil(2)
    }

    /// The code in the middle, the upper one of two: 0 signed and narrow, 2ⁿ⁻¹ unsigned.
    pub fn middle(self) -> i32 {
        (self.min + self.max + 1).div_euclid(2)
    }

    /// These codes less a zero point.
    pub fn around(self, zero_point: i32) -> Self {
        CodeBounds { min: self.min - zero_point, max: self.max - zero_point }
    }

    /// Whether there are as many codes below the middle as above: narrow codes, and all other ranges of an odd number.
    pub fn has_centre(self) -> bool {
        self.steps() % 2 == 0
    }

    /// The steps that a symmetric scheme has for the largest magnitude, where 0 has the code 0. Values may be clipped by half a
    /// step, so one more code on one side is half a step; with headroom both neighbours of every value are codes.
    pub fn symmetric_steps(self, headroom: bool) -> f64 {
        if self.min >= 0 {
            return self.max.into();
        }
        let both_signs = self.max.min(-self.min);
        let more = if headroom || self.min == -self.max { 0.0 } else { 0.5 };
        f64::from(both_signs) + more
    }

    /// An error unless this is one of the codes.
    pub fn check_code(self, index: usize, code: i32) -> Result<(), Error> {
        let CodeBounds { min, max } = self;
        if (min..=max).contains(&code) { Ok(()) } else { Err(Error::Code { index, code, min, max }) }
    }

    /// An error unless the zero point is one of these codes.
    pub fn check_zero_point(self, index: usize, zero_point: i32) -> Result<(), Error> {
        let CodeBounds { min, max } = self;
        if (min..=max).contains(&zero_point) { Ok(()) } else { Err(Error::ZeroPoint { index, zero_point, min, max }) }
    }
}

fn check_bits(bits: u32) -> Result<(), Error> {
    if (2..=8).contains(&bits) { Ok(()) } else { Err(Error::Bits { bits }) }
}

impl CodeRange<u8> {
    /// 0 … 2ⁿ − 1.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…8.
    pub fn unsigned(bits: u32) -> Result<Self, Error> {
        check_bits(bits)?;
        Ok(CodeRange { min: 0, max: u8::MAX >> (8 - bits) })
    }
}

impl CodeRange<i8> {
    /// −2ⁿ⁻¹ … 2ⁿ⁻¹ − 1, also called full.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…8.
    pub fn signed(bits: u32) -> Result<Self, Error> {
        check_bits(bits)?;
        Ok(CodeRange { min: i8::MIN >> (8 - bits), max: i8::MAX >> (8 - bits) })
    }

    /// −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1, also called restricted: the usual range of weights.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…8.
    pub fn narrow(bits: u32) -> Result<Self, Error> {
        check_bits(bits)?;
        let max = i8::MAX >> (8 - bits);
        Ok(CodeRange { min: -max, max })
    }
}
