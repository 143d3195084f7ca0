//! Codes: u8, i8, u16 or i16, of any number of bits from 2 on or of any range around 0.

use core::fmt::Debug;

use bytemuck::Pod;

use crate::error::Error;
use crate::kernel::Vectors;
use crate::sign::Sign;
use crate::simd::LANES;

/// How the generic public functions hand codes to the functions of this crate, which are compiled once and know the types by
/// a [`Sign`] or a variant.
mod erased {
    use super::{LANES, Pod, Sign, Vectors};

    /// Codes of any type.
    #[derive(Clone, Copy, Debug)]
    pub enum Codes<'a> {
        U8(&'a [u8]),
        I8(&'a [i8]),
        /// The bits of u16 or i16.
        Wide(&'a [u16], Sign),
    }

    /// Codes of any type, to be written.
    #[derive(Debug)]
    pub enum CodesMut<'a> {
        U8(&'a mut [u8]),
        I8(&'a mut [i8]),
        /// The bits of u16 or i16.
        Wide(&'a mut [u16], Sign),
    }

    /// A code type whose slices can be erased.
    pub trait Erase: Pod {
        /// The codes with their type as a variant.
        fn erase(codes: &[Self]) -> Codes<'_>;
        /// The codes with their type as a variant, to be written.
        fn erase_mut(codes: &mut [Self]) -> CodesMut<'_>;
    }

    /// A code type of 8 bits.
    pub trait Byte: Erase {
        /// u8 or i8.
        const SIGN: Sign;
        /// [`InterleaveVectors::add_four_u8`](crate::matmul::interleave::InterleaveVectors) or its signed counterpart
        fn add_four<V: Vectors>(v: V, a: V::I32, x: &[Self; 4 * LANES]) -> V::I32;
        /// `x[i] as i32`
        fn load<V: Vectors>(v: V, x: &[Self; LANES]) -> V::I32;
        /// `out[i] = a[i]`, for codes
        fn store<V: Vectors>(v: V, a: V::I32, out: &mut [Self; LANES]);
    }

    macro_rules! erase {
        ($Code:ident: $codes:ident => $erased:expr, $erased_mut:expr) => {
            impl Erase for $Code {
                fn erase($codes: &[Self]) -> Codes<'_> {
                    $erased
                }
                fn erase_mut($codes: &mut [Self]) -> CodesMut<'_> {
                    $erased_mut
                }
            }
        };
    }
    erase!(u8: codes => Codes::U8(codes), CodesMut::U8(codes));
    erase!(i8: codes => Codes::I8(codes), CodesMut::I8(codes));
    erase!(u16: codes => Codes::Wide(codes, Sign::Unsigned), CodesMut::Wide(codes, Sign::Unsigned));
    erase!(i16: codes =>
        Codes::Wide(bytemuck::must_cast_slice(codes), Sign::Signed),
        CodesMut::Wide(bytemuck::must_cast_slice_mut(codes), Sign::Signed)
    );

    macro_rules! byte {
        ($Code:ident, $sign:ident, $add_four:ident, $load:ident, $store:ident) => {
            impl Byte for $Code {
                const SIGN: Sign = Sign::$sign;
                #[inline(always)]
                fn add_four<V: Vectors>(v: V, a: V::I32, x: &[Self; 4 * LANES]) -> V::I32 {
                    v.$add_four(a, x)
                }
                #[inline(always)]
                fn load<V: Vectors>(v: V, x: &[Self; LANES]) -> V::I32 {
                    v.$load(x)
                }
                #[inline(always)]
                fn store<V: Vectors>(v: V, a: V::I32, out: &mut [Self; LANES]) {
                    v.$store(a, out);
                }
            }
        };
    }
    byte!(u8, Unsigned, add_four_u8, load_u8, store_u8);
    byte!(i8, Signed, add_four_i8, load_i8, store_i8);
}
pub(crate) use erased::{Byte, Codes, CodesMut, Erase};

/// A type that stores codes: `u8`, `i8`, `u16` or `i16`.
///
/// All of them are quantized to and dequantized, and have parameters; products and layers take [bytes](ByteCode), but for those of
/// [i16 activations](crate::int16x8).
pub trait Code: Erase + Copy + Default + Ord + Debug + Into<i32> + TryFrom<i32> + Send + Sync + 'static {
    /// The smallest value of the type.
    const MIN: Self;
    /// The largest value of the type.
    const MAX: Self;
}

macro_rules! code {
    ($($Code:ident)+) => { $(
        impl Code for $Code {
            const MIN: $Code = $Code::MIN;
            const MAX: $Code = $Code::MAX;
        }
    )+ };
}
code!(u8 i8 u16 i16);

/// A type of codes of 8 bits, `u8` or `i8`: what matrices, layers and block formats are multiplied in, what packed codes are
/// unpacked to, and what is rescaled.
pub trait ByteCode: Code + Byte {}

impl ByteCode for u8 {}
impl ByteCode for i8 {}

/// The codes that a quantizer may produce: of n bits, or between any two codes around 0.
///
/// | n bits | range | 2 … 8 | 2 … 16 |
/// |---|---|---|---|
/// | unsigned | 0 … 2ⁿ − 1 | u8: [`unsigned`](CodeRange::unsigned) | u16: [`unsigned16`](CodeRange::unsigned16) |
/// | signed | −2ⁿ⁻¹ … 2ⁿ⁻¹ − 1 | i8: [`signed`](CodeRange::signed) | i16: [`signed16`](CodeRange::signed16) |
/// | narrow | −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1 | i8: [`narrow`](CodeRange::narrow) | i16: [`narrow16`](CodeRange::narrow16) |
///
/// [`new`](CodeRange::new) takes `quant_min` and `quant_max` of PyTorch's observers, of any of the types.
///
/// ```
/// use zeropoint::CodeRange;
/// assert_eq!(CodeRange::signed(4)?.min(), -8);
/// assert_eq!(CodeRange::narrow(8)?.min(), -127);
/// assert_eq!(CodeRange::new(-100_i8, 27)?.max(), 27);
/// assert!(CodeRange::unsigned(9).is_err());
/// assert_eq!(CodeRange::unsigned16(9)?.max(), 511_u16);
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

    /// Whether codes less a zero point lie in ±255, whatever the zero point: the fast paths of quantization are exact there.
    #[inline(always)]
    pub fn fit_fast_path(self) -> bool {
        self.steps() <= 255
    }

    /// n of codes of n bits; of any other range, the nearest number of bits to the logarithm of how many codes there are.
    pub fn bits(self) -> u32 {
        // 2ᵇ⁻½ ≤ codes < 2ᵇ⁺½, squared.
        let codes = self.steps() as u64 + 1;
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

impl<C: Code> CodeRange<C> {
    /// Codes of n bits, whose ends are a function of 2ⁿ.
    fn of_bits(bits: u32, ends: impl FnOnce(i32) -> [i32; 2]) -> Result<Self, Error> {
        let most = 8 * size_of::<C>() as u32;
        if !(2..=most).contains(&bits) {
            return Err(Error::Bits { bits, most });
        }
        let [min, max] = ends(1 << bits).map(|end| C::try_from(end).ok().expect("codes of n bits fit their type"));
        Ok(CodeRange { min, max })
    }
}

/// The smallest and the largest code of unsigned codes, of which there are `codes`.
fn unsigned_ends(codes: i32) -> [i32; 2] {
    [0, codes - 1]
}

/// The smallest and the largest code of signed codes, of which there are `codes`.
fn signed_ends(codes: i32) -> [i32; 2] {
    [-codes / 2, codes / 2 - 1]
}

/// The smallest and the largest code of narrow codes: signed ones, of which there are `codes`, without the smallest.
fn narrow_ends(codes: i32) -> [i32; 2] {
    [1 - codes / 2, codes / 2 - 1]
}

impl CodeRange<u8> {
    /// 0 … 2ⁿ − 1.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…8.
    pub fn unsigned(bits: u32) -> Result<Self, Error> {
        Self::of_bits(bits, unsigned_ends)
    }
}

impl CodeRange<i8> {
    /// −2ⁿ⁻¹ … 2ⁿ⁻¹ − 1, also called full.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…8.
    pub fn signed(bits: u32) -> Result<Self, Error> {
        Self::of_bits(bits, signed_ends)
    }

    /// −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1, also called restricted: the usual range of weights.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…8.
    pub fn narrow(bits: u32) -> Result<Self, Error> {
        Self::of_bits(bits, narrow_ends)
    }
}

impl CodeRange<u16> {
    /// 0 … 2ⁿ − 1, in u16.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Exec, QuantParams, Rounding, quantize};
    /// let params = QuantParams::per_tensor(CodeRange::unsigned16(16)?, 0.001, 30_000)?;
    /// let mut codes = [0; 3];
    /// quantize(Exec::best()?, &[1.5, -40.0, f32::NAN], &params, Rounding::Nearest, &mut codes)?;
    /// assert_eq!(codes, [31_500, 0, 30_000]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…16.
    pub fn unsigned16(bits: u32) -> Result<Self, Error> {
        Self::of_bits(bits, unsigned_ends)
    }
}

impl CodeRange<i16> {
    /// −2ⁿ⁻¹ … 2ⁿ⁻¹ − 1, in i16.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…16.
    pub fn signed16(bits: u32) -> Result<Self, Error> {
        Self::of_bits(bits, signed_ends)
    }

    /// −(2ⁿ⁻¹ − 1) … 2ⁿ⁻¹ − 1, in i16.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 2…16.
    pub fn narrow16(bits: u32) -> Result<Self, Error> {
        Self::of_bits(bits, narrow_ends)
    }
}
