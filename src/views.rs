//! The arguments that elementwise operations read and write: slices, matrices with row strides, packed nibbles, and reals of
//! 16 bits.
//!
//! [`Source`] and [`Destination`] are sealed. An operation turns its arguments into a [`View`] or a [`ViewMut`] first, which
//! say in which of the four ways the elements lie, and go to functions that are compiled once.

use core::marker::PhantomData;

use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::half::{Halves, HalvesMut};
use crate::matrix::{Matrix, MatrixMut};
use crate::sign::Sign;

/// Elements of type `T` that an operation reads: a slice, an array or a `Vec` by reference, a [`Matrix`] with a row stride, or
/// [`Nibbles`], codes of four bits, two in a byte. A source of f32 may also be [`Halves`], f16 or bf16.
///
/// A matrix stands for the tensor `[rows, columns]`, as if its rows lay together: that is what a granularity refers to.
pub trait Source<T>: sealed::AsView<T> {}

/// Elements of type `T` that an operation writes: a slice, an array or a `Vec` by mutable reference, a [`MatrixMut`] with a row
/// stride, or [`NibblesMut`], codes of four bits, two in a byte. A destination of f32 may also be [`HalvesMut`], f16 or bf16.
///
/// A matrix stands for the tensor `[rows, columns]`, as if its rows lay together; the memory between its rows is left alone.
pub trait Destination<T>: sealed::AsViewMut<T> {}

/// Where fake-quantization writes: a [`Destination`] of f32, or a pair of it and a `Destination` of u8 for the mask.
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
    Nibbles(Packed<'a>),
    /// A tensor of f32.
    Halves(Halves<'a>),
}

/// How the elements of a destination lie.
pub enum ViewMut<'a, T> {
    Slice(&'a mut [T]),
    Matrix(MatrixMut<'a, T>),
    Nibbles(PackedMut<'a>),
    /// A tensor of f32.
    Halves(HalvesMut<'a>),
}

/// Packed codes of either type.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    pub bytes: &'a [u8],
    pub length: usize,
    pub sign: Sign,
}

/// Packed codes of either type, to be written.
pub struct PackedMut<'a> {
    pub bytes: &'a mut [u8],
    pub length: usize,
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
    [C: Code] Nibbles<'_, C>: C,
        |this| View::Nibbles(Packed { bytes: this.bytes, length: this.length, sign: C::SIGN });
    [] Halves<'_>: f32, |this| View::Halves(*this);
}

sealed_mut! {
    [T, S: AsMut<[T]> + ?Sized] &mut S: T, |this| ViewMut::Slice((**this).as_mut());
    [T] MatrixMut<'_, T>: T, |this| ViewMut::Matrix(this.reborrow());
    [C: Code] NibblesMut<'_, C>: C,
        |this| ViewMut::Nibbles(PackedMut { bytes: &mut *this.bytes, length: this.length, sign: C::SIGN });
    [] HalvesMut<'_>: f32, |this| ViewMut::Halves(HalvesMut { bits: &mut *this.bits, kind: this.kind });
}

/// Codes of up to four bits, two in a byte: element 0 in the low nibble of byte 0, element 1 in its high nibble (ONNX's
/// order). Signed codes are in two's complement. After an odd number of elements the last high nibble is not read.
///
/// ```
/// use zeropoint::{CodeRange, Exec, Nibbles, NibblesMut, QuantParams, Rounding, dequantize, quantize};
/// let exec = Exec::best()?;
/// let params = QuantParams::per_tensor(CodeRange::unsigned(4)?, 0.5, 8)?;
/// let mut bytes = [0; 2];
/// quantize(exec, &[0.5, -1.0, 100.0], &params, Rounding::Nearest, NibblesMut::new(&mut bytes, 3)?)?;
/// assert_eq!(bytes, [0x69, 0x8f]);
/// let mut real = [0.0; 3];
/// dequantize(exec, Nibbles::new(&bytes, 3)?, &params, &mut real)?;
/// assert_eq!(real, [0.5, -1.0, 3.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Nibbles<'a, C> {
    bytes: &'a [u8],
    length: usize,
    codes: PhantomData<fn() -> C>,
}

impl<'a, C: Code> Nibbles<'a, C> {
    /// `length` codes in `length.div_ceil(2)` bytes.
    ///
    /// # Errors
    /// [`Error::Length`] of `bytes`.
    pub fn new(bytes: &'a [u8], length: usize) -> Result<Self, Error> {
        check_length("the packed codes", length.div_ceil(2), bytes.len())?;
        Ok(Nibbles { bytes, length, codes: PhantomData })
    }
}

/// Codes of up to four bits, two in a byte, to be written: the layout is that of [`Nibbles`]. After an odd number of elements
/// the last high nibble becomes the code of 0, the last element's zero point.
#[derive(Debug)]
pub struct NibblesMut<'a, C> {
    bytes: &'a mut [u8],
    length: usize,
    codes: PhantomData<fn() -> C>,
}

impl<'a, C: Code> NibblesMut<'a, C> {
    /// `length` codes in `length.div_ceil(2)` bytes.
    ///
    /// # Errors
    /// [`Error::Length`] of `bytes`.
    pub fn new(bytes: &'a mut [u8], length: usize) -> Result<Self, Error> {
        check_length("the packed codes", length.div_ceil(2), bytes.len())?;
        Ok(NibblesMut { bytes, length, codes: PhantomData })
    }
}
