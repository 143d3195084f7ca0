//! The arguments that elementwise operations read and write: slices, matrices with row strides, packed codes, and reals of
//! 16 bits.
//!
//! [`Source`] and [`Destination`] are sealed. An operation turns its arguments into a [`View`] or a [`ViewMut`] first, which
//! say in which of the four ways the elements lie, and go to functions that are compiled once.

use core::marker::PhantomData;

use crate::codes::{ByteCode, CodeBounds};
use crate::error::{Error, check_length};
use crate::half::{Halves, HalvesMut};
use crate::matrix::{Matrix, MatrixMut};
use crate::sign::Sign;

/// Elements of type `T` that an operation reads: a slice, an array or a `Vec` by reference, a [`Matrix`] with a row stride, or
/// [`PackedCodes`], several in a byte. A source of f32 may also be [`Halves`], f16 or bf16.
///
/// A matrix stands for the tensor `[rows, columns]`, as if its rows lay together: that is what a granularity refers to.
#[diagnostic::on_unimplemented(
    message = "elements of `{T}` cannot be read from `{Self}`",
    note = "pass a slice, an array or a `Vec` of `{T}` by reference (`&x`), a `Matrix`, `PackedCodes`, or for f32 `Halves`"
)]
pub trait Source<T>: sealed::AsView<T> {}

/// Elements of type `T` that an operation writes: a slice, an array or a `Vec` by mutable reference, a [`MatrixMut`] with a row
/// stride, or [`PackedCodesMut`], several in a byte. A destination of f32 may also be [`HalvesMut`], f16 or bf16.
///
/// A matrix stands for the tensor `[rows, columns]`, as if its rows lay together; the memory between its rows is left alone.
#[diagnostic::on_unimplemented(
    message = "elements of `{T}` cannot be written into `{Self}`",
    note = "pass a slice, an array or a `Vec` of `{T}` by mutable reference (`&mut out`), a `MatrixMut`, `PackedCodesMut`, or for \
            f32 `HalvesMut`"
)]
pub trait Destination<T>: sealed::AsViewMut<T> {}

/// Where fake-quantization writes: a [`Destination`] of f32, or a pair of it and a `Destination` of u8 for the mask.
#[diagnostic::on_unimplemented(
    message = "fake-quantization cannot write into `{Self}`",
    note = "pass a slice, an array or a `Vec` of f32 by mutable reference (`&mut out`), a `MatrixMut` or `HalvesMut`, or a pair of \
            one and of a destination of u8 for the mask"
)]
pub trait FakeDestination: sealed::AsViewsMut {}

impl<D: Destination<f32>> AsViewsMut for D {
    #[inline]
    fn views_mut(&mut self) -> (ViewMut<'_, f32>, Option<ViewMut<'_, u8>>) {
        (self.view_mut(), None)
    }
}
impl<D: Destination<f32>> FakeDestination for D {}

impl<D: Destination<f32>, M: Destination<u8>> AsViewsMut for (D, M) {
    #[inline]
    fn views_mut(&mut self) -> (ViewMut<'_, f32>, Option<ViewMut<'_, u8>>) {
        (self.0.view_mut(), Some(self.1.view_mut()))
    }
}
impl<D: Destination<f32>, M: Destination<u8>> FakeDestination for (D, M) {}

/// How the elements of a source lie.
pub enum View<'a, T> {
    Slice(&'a [T]),
    Matrix(Matrix<'a, T>),
    Packed(Packed<'a>),
    /// A tensor of f32.
    Halves(Halves<'a>),
}

/// How the elements of a destination lie.
pub enum ViewMut<'a, T> {
    Slice(&'a mut [T]),
    Matrix(MatrixMut<'a, T>),
    Packed(PackedMut<'a>),
    /// A tensor of f32.
    Halves(HalvesMut<'a>),
}

/// Packed codes of either type.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    pub bytes: &'a [u8],
    pub length: usize,
    pub packing: Packing,
}

/// Packed codes of either type, to be written.
pub struct PackedMut<'a> {
    pub bytes: &'a mut [u8],
    pub length: usize,
    pub packing: Packing,
}

/// How codes are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packing {
    pub width: Width,
    pub sign: Sign,
}

mod sealed {
    use super::{View, ViewMut};

    pub trait AsView<T> {
        fn view(&self) -> View<'_, T>;
    }

    pub trait AsViewMut<T> {
        fn view_mut(&mut self) -> ViewMut<'_, T>;
    }

    pub trait AsViewsMut {
        fn views_mut(&mut self) -> (ViewMut<'_, f32>, Option<ViewMut<'_, u8>>);
    }
}
pub(crate) use sealed::{AsView, AsViewMut, AsViewsMut};

macro_rules! sealed {
    ($([$($generics:tt)*] $Type:ty: $T:ty, |$this:ident| $view:expr;)+) => { $(
        impl<$($generics)*> AsView<$T> for $Type {
            #[inline]
            fn view(&self) -> View<'_, $T> {
                let $this = self;
                $view
            }
        }
        impl<$($generics)*> Source<$T> for $Type {}
    )+ };
}

macro_rules! sealed_mut {
    ($([$($generics:tt)*] $Type:ty: $T:ty, |$this:ident| $view:expr;)+) => { $(
        impl<$($generics)*> AsViewMut<$T> for $Type {
            #[inline]
            fn view_mut(&mut self) -> ViewMut<'_, $T> {
                let $this = self;
                $view
            }
        }
        impl<$($generics)*> Destination<$T> for $Type {}
    )+ };
}

sealed! {
    [T, S: AsRef<[T]> + ?Sized] &S: T, |this| View::Slice((**this).as_ref());
    [T, S: AsRef<[T]> + ?Sized] &mut S: T, |this| View::Slice((**this).as_ref());
    [T] Matrix<'_, T>: T, |this| View::Matrix(*this);
    [C: ByteCode] PackedCodes<'_, C>: C,
        |this| View::Packed(this.erase());
    [] Halves<'_>: f32, |this| View::Halves(*this);
}

sealed_mut! {
    [T, S: AsMut<[T]> + ?Sized] &mut S: T, |this| ViewMut::Slice((**this).as_mut());
    [T] MatrixMut<'_, T>: T, |this| ViewMut::Matrix(this.reborrow());
    [C: ByteCode] PackedCodesMut<'_, C>: C,
        |this| ViewMut::Packed(this.erase());
    [] HalvesMut<'_>: f32, |this| ViewMut::Halves(HalvesMut { bits: &mut *this.bits, kind: this.kind });
}

/// How many bits a packed code has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    Two,
    Four,
}

impl Width {
    /// The codes in a byte.
    pub fn per_byte(self) -> usize {
        match self {
            Width::Two => 4,
            Width::Four => 2,
        }
    }

    /// Why other codes are refused.
    pub fn why(self) -> &'static str {
        match self {
            Width::Two => "packed codes have two bits here",
            Width::Four => "packed codes have four bits here",
        }
    }

    /// The codes of so many bits.
    pub(crate) fn bounds(self, sign: Sign) -> CodeBounds {
        let codes = match self {
            Width::Two => 4,
            Width::Four => 16,
        };
        match sign {
            Sign::Unsigned => CodeBounds { min: 0, max: codes - 1 },
            Sign::Signed => CodeBounds { min: -codes / 2, max: codes / 2 - 1 },
        }
    }
}

/// Codes of up to four bits, two in a byte, or of up to two bits, four in a byte: the first in the lowest bits, the others above
/// it in order (ONNX's layout of its types of 4 and 2 bits). Signed codes are in two's complement. What the last byte has above
/// the last code is not read.
///
/// ```
/// use zeropoint::{CodeRange, Exec, PackedCodes, PackedCodesMut, QuantParams, Rounding, dequantize, quantize};
/// let exec = Exec::best()?;
/// let params = QuantParams::per_tensor(CodeRange::unsigned(4)?, 0.5, 8)?;
/// let mut bytes = [0; 2];
/// quantize(exec, &[0.5, -1.0, 100.0], &params, Rounding::Nearest, PackedCodesMut::four_bits(&mut bytes, 3)?)?;
/// assert_eq!(bytes, [0x69, 0x8f]);
/// let mut real = [0.0; 3];
/// dequantize(exec, PackedCodes::four_bits(&bytes, 3)?, &params, &mut real)?;
/// assert_eq!(real, [0.5, -1.0, 3.5]);
///
/// let params = QuantParams::per_tensor(CodeRange::signed(2)?, 0.5, 0)?;
/// quantize(exec, &[0.5, -1.0, -0.5, 0.0, 9.0], &params, Rounding::Nearest, PackedCodesMut::two_bits(&mut bytes, 5)?)?;
/// assert_eq!(bytes, [0b00_11_10_01, 0b01]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PackedCodes<'a, C> {
    bytes: &'a [u8],
    length: usize,
    width: Width,
    codes: PhantomData<fn() -> C>,
}

impl<'a, C: ByteCode> PackedCodes<'a, C> {
    /// `length` codes in `length.div_ceil(2)` bytes.
    ///
    /// # Errors
    /// [`Error::Length`] of `bytes`.
    pub fn four_bits(bytes: &'a [u8], length: usize) -> Result<Self, Error> {
        Self::of(bytes, length, Width::Four)
    }

    /// `length` codes in `length.div_ceil(4)` bytes.
    ///
    /// # Errors
    /// [`Error::Length`] of `bytes`.
    pub fn two_bits(bytes: &'a [u8], length: usize) -> Result<Self, Error> {
        Self::of(bytes, length, Width::Two)
    }

    pub(crate) fn erase(&self) -> Packed<'a> {
        let PackedCodes { bytes, length, width, .. } = *self;
        Packed { bytes, length, packing: Packing { width, sign: C::SIGN } }
    }

    fn of(bytes: &'a [u8], length: usize, width: Width) -> Result<Self, Error> {
        check_length("the packed codes", length.div_ceil(width.per_byte()), bytes.len())?;
        Ok(PackedCodes { bytes, length, width, codes: PhantomData })
    }
}

/// Codes of up to four bits, two in a byte, or of up to two bits, four in a byte, to be written: the layout is that of
/// [`PackedCodes`]. What the last byte has above the last code becomes the code of 0, the last element's zero point.
#[derive(Debug)]
pub struct PackedCodesMut<'a, C> {
    bytes: &'a mut [u8],
    length: usize,
    width: Width,
    codes: PhantomData<fn() -> C>,
}

impl<'a, C: ByteCode> PackedCodesMut<'a, C> {
    /// `length` codes in `length.div_ceil(2)` bytes.
    ///
    /// # Errors
    /// [`Error::Length`] of `bytes`.
    pub fn four_bits(bytes: &'a mut [u8], length: usize) -> Result<Self, Error> {
        Self::of(bytes, length, Width::Four)
    }

    /// `length` codes in `length.div_ceil(4)` bytes.
    ///
    /// # Errors
    /// [`Error::Length`] of `bytes`.
    pub fn two_bits(bytes: &'a mut [u8], length: usize) -> Result<Self, Error> {
        Self::of(bytes, length, Width::Two)
    }

    pub(crate) fn erase(&mut self) -> PackedMut<'_> {
        PackedMut {
            bytes: &mut *self.bytes,
            length: self.length,
            packing: Packing { width: self.width, sign: C::SIGN },
        }
    }

    fn of(bytes: &'a mut [u8], length: usize, width: Width) -> Result<Self, Error> {
        check_length("the packed codes", length.div_ceil(width.per_byte()), bytes.len())?;
        Ok(PackedCodesMut { bytes, length, width, codes: PhantomData })
    }
}
