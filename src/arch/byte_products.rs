//! Micro-kernels of weights of few bits by `vpmaddubsw`: sums of two products of u8 and i8, which saturate at 16 bits.
//!
//! With weights of up to six bits none does: `2 · 63 · 128 < 2¹⁵`. Nor do sums of several steps, of which there may be as many
//! as the weights have bits to spare: eight of four bits, `8 · 2 · 15 · 128 < 2¹⁵`. They are widened together.

use crate::groups::dot::GroupDot;
use crate::groups::tile::{E2M1, PanelCodes};
use crate::matmul::dot::{Accs, Accumulate, Depth, Dot, Layout, load_step};
use crate::matmul::tile::{MAX_ROWS, MAX_VECTORS};

/// The token of a CPU with `vpmaddubsw` on vectors of some width.
pub trait ByteProducts: Copy {
    /// The vectors.
    type Vectors: Accumulate;
    /// The bytes of a vector.
    type Bytes;

    /// The token of the vectors.
    fn vectors(self) -> Self::Vectors;
    /// A vector of bytes.
    fn load(self, bytes: &Self::Bytes) -> Vector<Self>;
    /// `u[2j]·i[2j] + u[2j+1]·i[2j+1]` in 16 bits, of u without sign, of i with sign; the sum has to fit
    fn multiply(self, u: Vector<Self>, i: Vector<Self>) -> Vector<Self>;
    /// `a[j] + b[j]` in 16 bits
    fn add_16(self, a: Vector<Self>, b: Vector<Self>) -> Vector<Self>;
    /// `acc[j] + sums[2j] + sums[2j+1]`
    fn add_pairs(self, acc: Vector<Self>, sums: Vector<Self>) -> Vector<Self>;
    /// `(b[j] >> shift) & (2ᵇⁱᵗˢ − 1)` for each byte
    fn extract(self, b: Vector<Self>, shift: u32, bits: u32) -> Vector<Self>;
    /// `table[b[j]]` for each byte, which is less than 16
    fn look_up(self, table: &[u8; 16], b: Vector<Self>) -> Vector<Self>;
}

/// A vector of i32, of i16 or of bytes.
type Vector<T> = <<T as ByteProducts>::Vectors as Accumulate>::Acc;

/// Four k at a time. W has `BITS` bits a code at most, no sign, and A is signed.
#[derive(Clone, Copy)]
pub struct SmallQuads<T, const BITS: u32>(pub T);

impl<T, const BITS: u32> SmallQuads<T, BITS> {
    /// Steps whose sums of two products fit 16 bits together.
    const STEPS: usize = (i16::MAX as usize) / (2 * 128 * ((1 << BITS) - 1));
}

impl<T: ByteProducts, const BITS: u32> Dot for SmallQuads<T, BITS> {
    type Vectors = T::Vectors;
    type StepA = [u8; 4];
    type StepB = T::Bytes;
    type A = Vector<T>;
    type B = Vector<T>;
    const DEPTH: usize = 4;

    #[inline(always)]
    fn vectors(self) -> T::Vectors {
        self.0.vectors()
    }
    #[inline(always)]
    fn broadcast(self, a: &[u8; 4]) -> Vector<T> {
        self.vectors().splat(i32::from_ne_bytes(*a))
    }
    #[inline(always)]
    fn load(self, b: &T::Bytes) -> Vector<T> {
        self.0.load(b)
    }
    #[inline(always)]
    fn dot(self, acc: Vector<T>, a: Vector<T>, b: Vector<T>) -> Vector<T> {
        self.0.add_pairs(acc, self.0.multiply(b, a))
    }
}

impl<T: ByteProducts<Vectors: crate::groups::dot::Totals>, const BITS: u32> GroupDot for SmallQuads<T, BITS> {
    #[inline(always)]
    fn extract(self, b: Vector<T>, shift: u32, bits: u32) -> Vector<T> {
        self.0.extract(b, shift, bits)
    }
    #[inline(always)]
    fn look_up(self, b: Vector<T>) -> Vector<T> {
        self.0.look_up(&E2M1, b)
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    unsafe fn add_steps(self, acc: &mut Accs<Self>, [rows, vectors]: [usize; 2], depth: Depth, codes: PanelCodes) {
        let Depth { steps, mut a, a_stride, b: mut w } = depth;
        let sharing = 8 / codes.bits() as usize;
        let mut left = steps / sharing;
        while left > 0 {
            let loads = left.min((Self::STEPS / sharing).max(1));
            let mut sums = [[self.vectors().splat(0); MAX_VECTORS]; MAX_ROWS];
            for _ in 0..loads {
                // SAFETY: W has the bytes of `sharing` steps more, of `vectors` vectors.
                let bytes = unsafe { load_step(self, &mut w, Layout::Panel { prefetch: false }, vectors) };
                for s in 0..sharing as u32 {
                    let mut codes_w = bytes;
                    for v in 0..vectors {
                        codes_w[v] = self.unpack(bytes[v], s, codes);
                    }
                    for r in 0..rows {
                        // SAFETY: row r of A has a step more; StepA is an array of bytes.
                        let codes_a = self.broadcast(unsafe { &*a.add(r * a_stride).cast::<[u8; 4]>() });
                        for v in 0..vectors {
                            sums[r][v] = self.0.add_16(sums[r][v], self.0.multiply(codes_w[v], codes_a));
                        }
                    }
                    a = a.wrapping_add(4);
                }
            }
            for r in 0..rows {
                for v in 0..vectors {
                    acc[r][v] = self.0.add_pairs(acc[r][v], sums[r][v]);
                }
            }
            left -= loads;
        }
    }
}
