//! Codes: u8 or i8, of 2 to 8 bits.

use core::fmt::Debug;

use bytemuck::Pod;

use crate::error::Error;
use crate::kernel::Vectors;
use crate::sign::Sign;
use crate::simd::{LANES, QUAD};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i8 {}
}

/// A type that stores codes: `u8` or `i8`.
pub trait Code:
    sealed::Sealed + Pod + Copy + Default + Ord + Debug + Into<i32> + TryFrom<i32> + Send + Sync + 'static
{
    /// The smallest value of the type.
    const MIN: Self;
    /// The largest value of the type.
    const MAX: Self;

    #[doc(hidden)]
    const SIGN: Sign;
    #[doc(hidden)]
    fn to_byte(self) -> u8;
    #[doc(hidden)]
    fn from_byte(byte: u8) -> Self;
    #[doc(hidden)]
    fn bytes(codes: &[Self]) -> &[u8];
    #[doc(hidden)]
    fn bytes_mut(codes: &mut [Self]) -> &mut [u8];
    #[doc(hidden)]
    fn load<S: Vectors>(simd: S, x: &[Self; LANES]) -> S::I32;
    #[doc(hidden)]
    fn add_four<S: Vectors>(simd: S, a: S::I32, x: &[Self; 4 * LANES]) -> S::I32;
    #[doc(hidden)]
    fn add_four_some<S: Vectors>(simd: S, a: S::I32, x: &[Self]) -> S::I32;
    #[doc(hidden)]
    fn store<S: Vectors>(simd: S, a: S::I32, out: &mut [Self; LANES]);
    #[doc(hidden)]
    fn words<S: Vectors>(simd: S, x: &[Self; QUAD * LANES]) -> [S::I32; 2];
    #[doc(hidden)]
    fn narrow_quad<S: Vectors>(
        simd: S,
        a: [S::F32; QUAD],
        b: [S::I32; 2],
        bounds: [Self; 2],
        out: &mut [[Self; LANES]; QUAD],
        invalid: S::I32,
    ) -> S::I32;
}

macro_rules! code {
    (
        $Code:ty, $sign:expr, $load:ident, $add_four:ident, $add_four_some:ident, $store:ident, $words:ident,
        $narrow_quad:ident
    ) => {
        impl Code for $Code {
            const MIN: Self = <$Code>::MIN;
            const MAX: Self = <$Code>::MAX;
            const SIGN: Sign = $sign;
            #[inline(always)]
            fn to_byte(self) -> u8 {
                self as u8
            }
            #[inline(always)]
            fn from_byte(byte: u8) -> Self {
                byte as $Code
            }
            #[inline(always)]
            fn bytes(codes: &[Self]) -> &[u8] {
                // SAFETY: the same bytes.
                unsafe { core::slice::from_raw_parts(codes.as_ptr().cast(), codes.len()) }
            }
            #[inline(always)]
            fn bytes_mut(codes: &mut [Self]) -> &mut [u8] {
                // SAFETY: the same bytes.
                unsafe { core::slice::from_raw_parts_mut(codes.as_mut_ptr().cast(), codes.len()) }
            }
            #[inline(always)]
            fn load<S: Vectors>(simd: S, x: &[Self; LANES]) -> S::I32 {
                simd.$load(x)
            }
            #[inline(always)]
            fn add_four<S: Vectors>(simd: S, a: S::I32, x: &[Self; 4 * LANES]) -> S::I32 {
                simd.$add_four(a, x)
            }
            #[inline(always)]
            fn add_four_some<S: Vectors>(simd: S, a: S::I32, x: &[Self]) -> S::I32 {
                simd.$add_four_some(a, x)
            }
            #[inline(always)]
            fn store<S: Vectors>(simd: S, a: S::I32, out: &mut [Self; LANES]) {
                simd.$store(a, out);
            }
            #[inline(always)]
            fn words<S: Vectors>(simd: S, x: &[Self; QUAD * LANES]) -> [S::I32; 2] {
                simd.$words(x)
            }
            #[inline(always)]
            fn narrow_quad<S: Vectors>(
                simd: S,
                a: [S::F32; QUAD],
                b: [S::I32; 2],
                bounds: [Self; 2],
                out: &mut [[Self; LANES]; QUAD],
                invalid: S::I32,
            ) -> S::I32 {
                simd.$narrow_quad(a, b, bounds, out, invalid)
            }
        }
    };
}
code!(u8, Sign::Unsigned, load_u8, add_four_u8, add_four_some_u8, store_u8, reorder_u8, narrow_quad_u8);
code!(i8, Sign::Signed, load_i8, add_four_i8, add_four_some_i8, store_i8, reorder_i8, narrow_quad_i8);

/// The codes that a quantizer may produce, of 2 to 8 bits.
///
/// | n bits | range |
/// |---|---|
/// | unsigned | 0 … 2ⁿ − 1 |
/// | signed | −2ⁿ⁻¹ … 2ⁿ⁻¹ − 1 |
/// | narrow | −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1 |
///
/// ```
/// use zeropoint::CodeRange;
/// assert_eq!(CodeRange::signed(4)?.min(), -8);
/// assert_eq!(CodeRange::narrow(8)?.min(), -127);
/// assert!(CodeRange::unsigned(9).is_err());
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct CodeRange<C> {
    min: C,
    max: C,
}

impl<C: Code> CodeRange<C> {
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

    /// `max − min`: 2ⁿ − 1, narrow 2ⁿ − 2.
    pub(crate) fn steps(self) -> i32 {
        self.max.into() - self.min.into()
    }

    /// n.
    pub(crate) fn bits(self) -> u32 {
        // Narrow codes have one step less.
        (self.steps() as u32 + 1).next_power_of_two().trailing_zeros()
    }

    /// The code in the middle: 0 signed, 2ⁿ⁻¹ unsigned.
    pub(crate) fn middle(self) -> i32 {
        if C::SIGN == Sign::Signed { 0 } else { (self.max.into() + 1) / 2 }
    }

    pub(crate) fn check_zero_point(self, zero_point: i32) -> Result<(), Error> {
        let (min, max) = (self.min.into(), self.max.into());
        if (min..=max).contains(&zero_point) { Ok(()) } else { Err(Error::ZeroPoint { zero_point, min, max }) }
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
