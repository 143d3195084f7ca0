//! Maxima of integers: the vector operations of reductions.

use crate::simd::{LANES, QUAD, Simd};

/// Order of unsigned integers, and the largest lanes.
pub trait ReduceVectors: Simd {
    /// Whether maxima and minima of integers, signed and unsigned, are instructions.
    const HAS_INTEGER_MIN_MAX: bool = false;

    /// Accumulators of three vectors each that a reduction keeps apart, so that none waits for the last result of another:
    /// 1, 2 or [`QUAD`], as many as the registers hold.
    const UNROLL: usize = 1;

    /// `(a[i] as u32).max(b[i] as u32) as i32`
    #[inline(always)]
    fn max_u32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        let flip = self.splat_i32(i32::MIN);
        self.xor_i32(self.max_i32(self.xor_i32(a, flip), self.xor_i32(b, flip)), flip)
    }
    /// `(a[i] as u32).min(b[i] as u32) as i32`
    #[inline(always)]
    fn min_u32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        let flip = self.splat_i32(i32::MIN);
        self.xor_i32(self.min_i32(self.xor_i32(a, flip), self.xor_i32(b, flip)), flip)
    }
    /// `a[0] < 0 || … || a[15] < 0`
    #[inline(always)]
    fn any_negative(self, a: Self::I32) -> bool {
        self.any(self.less_i32(a, self.splat_i32(0)))
    }
    /// `a[0].max(a[1])….max(a[15])`
    #[inline(always)]
    fn max_of_i32(self, a: Self::I32) -> i32 {
        let mut lanes = [0; LANES];
        self.store_i32(a, &mut lanes);
        lanes.into_iter().fold(i32::MIN, i32::max)
    }
    /// Partial maxima of four vectors, in lanes of the ISA's own choice, for [`join_maxima`](ReduceVectors::join_maxima)
    /// only. (By default lane i is the largest lane of `a[i]`.)
    #[inline(always)]
    fn quad_maxima(self, a: [Self::I32; QUAD]) -> Self::I32 {
        let [a, b, c, d] = a;
        let mut maxima = [0; LANES];
        maxima[0] = self.max_of_i32(a);
        maxima[1] = self.max_of_i32(b);
        maxima[2] = self.max_of_i32(c);
        maxima[3] = self.max_of_i32(d);
        self.load_i32(&maxima)
    }
    /// Lane 4k + i is the largest lane of vector i of the quad whose [`quad_maxima`](ReduceVectors::quad_maxima) `a[k]` are.
    #[inline(always)]
    fn join_maxima(self, a: [Self::I32; QUAD]) -> Self::I32 {
        let [a, b, c, d] = a;
        let mut maxima = [[0; LANES]; QUAD];
        self.store_i32(a, &mut maxima[0]);
        self.store_i32(b, &mut maxima[1]);
        self.store_i32(c, &mut maxima[2]);
        self.store_i32(d, &mut maxima[3]);
        let mut joined = [0; LANES];
        for k in 0..QUAD {
            joined[QUAD * k..][..QUAD].copy_from_slice(&maxima[k][..QUAD]);
        }
        self.load_i32(&joined)
    }
}

/// The bits of `|x[i]|`.
#[inline(always)]
pub(crate) fn magnitude_bits<V: Simd>(v: V, x: V::F32) -> V::I32 {
    v.and_i32(v.to_bits(x), v.splat_i32(i32::MAX))
}

/// Lane i is the largest lane of `vectors[i]`.
#[inline(always)]
pub fn largest_lanes<V: ReduceVectors>(v: V, vectors: &[[i32; LANES]; LANES]) -> V::I32 {
    let quads: &[[[i32; LANES]; QUAD]] = vectors.as_chunks().0;
    let (a, b) = (quad_of_lanes(v, &quads[0]), quad_of_lanes(v, &quads[1]));
    let (c, d) = (quad_of_lanes(v, &quads[2]), quad_of_lanes(v, &quads[3]));
    v.join_maxima([a, b, c, d])
}

#[inline(always)]
fn quad_of_lanes<V: ReduceVectors>(v: V, [a, b, c, d]: &[[i32; LANES]; QUAD]) -> V::I32 {
    v.quad_maxima([v.load_i32(a), v.load_i32(b), v.load_i32(c), v.load_i32(d)])
}
