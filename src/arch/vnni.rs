//! The micro-kernels of `vpdpbusd`: four exact products of u8 and i8 a column and instruction, added to an i32 that wraps.

use bytemuck::Pod;

use crate::distance::codes::Encoding;
use crate::distance::vectors::{Products, Vectors, factor_of_flipped, flip};
use crate::groups::dot::{GroupDot, Totals};
use crate::groups::tile::E2M1;
use crate::matmul::dot::{Accumulate, Dot};
use crate::sign::Sign;

/// The token of a CPU with `vpdpbusd` on vectors of some width.
pub trait Vnni: Copy {
    /// The vectors.
    type Vectors: Accumulate;
    /// The bytes of a vector.
    type Bytes: Pod;

    /// The token of the vectors.
    fn vectors(self) -> Self::Vectors;
    /// A vector of bytes.
    fn load(self, bytes: &Self::Bytes) -> Vector<Self>;
    /// `acc[j] + Σ u[j][k]·i[j][k]` over the four bytes of every column, of u without sign, of i with sign
    fn dpbusd(self, acc: Vector<Self>, u: Vector<Self>, i: Vector<Self>) -> Vector<Self>;
    /// `a[j] & b[j]`
    fn and(self, a: Vector<Self>, b: Vector<Self>) -> Vector<Self>;
    /// `a[j] ^ b[j]`
    fn xor(self, a: Vector<Self>, b: Vector<Self>) -> Vector<Self>;
    /// `(b[j] >> shift) & (2ᵇⁱᵗˢ − 1)` for each byte
    fn extract(self, b: Vector<Self>, shift: u32, bits: u32) -> Vector<Self>;
    /// `table[b[j]]` for each byte, which is less than 16
    fn look_up(self, table: &[u8; 16], b: Vector<Self>) -> Vector<Self>;
    /// Makes a vector of four unpacked rows of B ([`Dot::load_rows`]).
    ///
    /// # Safety
    /// At `b`, and at every multiple of `stride` bytes further for four rows, a byte for every column of a vector may be read.
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> Vector<Self>;
}

/// A vector of i32 or of bytes.
pub type Vector<T> = <<T as Vnni>::Vectors as Accumulate>::Acc;

/// Four k at a time. B is packed with the sign that A has not.
#[derive(Clone, Copy)]
pub struct Quads<T> {
    pub token: T,
    pub a_signed: bool,
}

impl<T: Vnni> Dot for Quads<T> {
    type Vectors = T::Vectors;
    type StepA = [u8; 4];
    type StepB = T::Bytes;
    type A = Vector<T>;
    type B = Vector<T>;
    const DEPTH: usize = 4;

    #[inline(always)]
    fn vectors(self) -> T::Vectors {
        self.token.vectors()
    }
    #[inline(always)]
    fn broadcast(self, a: &[u8; 4]) -> Vector<T> {
        self.vectors().splat(i32::from_ne_bytes(*a))
    }
    #[inline(always)]
    fn load(self, b: &T::Bytes) -> Vector<T> {
        self.token.load(b)
    }
    #[inline(always)]
    fn dot(self, acc: Vector<T>, a: Vector<T>, b: Vector<T>) -> Vector<T> {
        let (u, i) = if self.a_signed { (b, a) } else { (a, b) };
        self.token.dpbusd(acc, u, i)
    }
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> Vector<T> {
        // SAFETY: DEPTH rows, which are four, have a byte for every column.
        unsafe { self.token.load_rows(b, stride, flip) }
    }
}

impl<T: Vnni<Vectors: Totals>> GroupDot for Quads<T> {
    #[inline(always)]
    fn extract(self, b: Vector<T>, shift: u32, bits: u32) -> Vector<T> {
        self.token.extract(b, shift, bits)
    }
    #[inline(always)]
    fn look_up(self, b: Vector<T>) -> Vector<T> {
        self.token.look_up(&E2M1, b)
    }
}

impl<T: Vnni<Vectors: Vectors<Sums = Vector<T>>>> Vectors for Quads<T> {
    type Bytes = T::Bytes;
    type Codes = Vector<T>;
    type Sums = Vector<T>;
    type Decoding = u8;

    #[inline(always)]
    fn decodings(self, [_, rows]: [Encoding; 2]) -> [u8; 2] {
        [0, flip(rows.sign, self.row_sign())]
    }
    #[inline(always)]
    fn load(self, bytes: &T::Bytes, flip: u8) -> Vector<T> {
        self.token.xor(self.token.load(bytes), self.vectors().splat(i32::from_ne_bytes([flip; 4])))
    }
    #[inline(always)]
    fn keep(self, codes: Vector<T>, mask: &T::Bytes) -> Vector<T> {
        self.token.and(codes, self.token.load(mask))
    }
    #[inline(always)]
    fn zero(self) -> Vector<T> {
        self.vectors().splat(0)
    }
    #[inline(always)]
    fn merge(self, a: Vector<T>, b: Vector<T>) -> Vector<T> {
        self.vectors().merge(a, b)
    }
    #[inline(always)]
    fn sum(self, sums: Vector<T>) -> i32 {
        Vectors::sum(self.vectors(), sums)
    }
}

impl<T: Vnni<Vectors: Vectors<Sums = Vector<T>>>> Products for Quads<T> {
    #[inline(always)]
    fn factor(self, [_, rows]: [Encoding; 2]) -> i32 {
        factor_of_flipped(rows, self.row_sign())
    }
    #[inline(always)]
    fn ones(self) -> Vector<T> {
        self.vectors().splat(i32::from_ne_bytes([1; 4]))
    }
    #[inline(always)]
    fn add_products(self, sums: Vector<T>, query: Vector<T>, row: Vector<T>) -> Vector<T> {
        self.dot(sums, query, row)
    }
}

impl<T: Vnni> Quads<T> {
    /// The sign of the other operand: one is signed, and the other one is not.
    #[inline(always)]
    fn row_sign(self) -> Sign {
        if self.a_signed { Sign::Unsigned } else { Sign::Signed }
    }
}
