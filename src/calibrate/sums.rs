//! Sums in f64 over chunks of a fixed length, for mean and deviations.

use bytemuck::{Pod, Zeroable};

use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;

/// Elements of a chunk. The length is part of the result: sums of a chunk are made in sixteen lanes.
const CHUNK: usize = 4 << 10;

/// Differences that a core squares in a nanosecond at most: an upper bound, so that work is shared only if every core gains by
/// it.
const SQUARED: usize = 16;

/// Count, sum, and sum of squared differences from the mean.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Sums {
    pub count: u64,
    pub sum: f64,
    pub squares: f64,
}

// SAFETY: an integer and two floats, for which zeros are a valid value.
unsafe impl Zeroable for Sums {}
// SAFETY: `repr(C)` with three fields of one size: no padding, and every bit pattern is a value.
unsafe impl Pod for Sums {}

impl Sums {
    /// The sums of a slice, chunk by chunk.
    pub fn of(exec: Exec<'_>, x: &[f32]) -> Self {
        let sums = |_, chunk: &[f32]| exec.isa().run(ChunkSums(chunk));
        exec.fold_chunks(x.len() / SQUARED, x, CHUNK, sums, Sums::merge).unwrap_or_default()
    }

    pub fn mean(self) -> f64 {
        self.sum / self.count as f64
    }

    /// The sums of both together, by Chan's formula.
    pub fn merge(self, other: Sums) -> Sums {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let apart = other.mean() - self.mean();
        Sums {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares + apart * apart * (n * m / (n + m)),
        }
    }
}

/// `Σ|x − centre|` of a slice, chunk by chunk.
pub(super) fn deviations(exec: Exec<'_>, x: &[f32], centre: f64) -> f64 {
    let deviations = |_, chunk: &[f32]| exec.isa().run(ChunkDeviations(chunk, centre));
    exec.fold_chunks(x.len() / SQUARED, x, CHUNK, deviations, |sum, chunk| sum + chunk).unwrap_or(0.0)
}

/// The [`Sums`] of a chunk.
struct ChunkSums<'a>(&'a [f32]);

impl Kernel for ChunkSums<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> Sums {
        chunk_sums(self.0)
    }
}

/// `Σ|x − centre|` of a chunk.
struct ChunkDeviations<'a>(&'a [f32], f64);

impl Kernel for ChunkDeviations<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> f64 {
        chunk_deviations(self.0, self.1)
    }
}

// What follows is plain loops over lanes, which become vectors of the ISA that the kernel is compiled for.

#[inline(always)]
fn chunk_sums(x: &[f32]) -> Sums {
    let sum = lane_sum(
        x,
        #[inline(always)]
        |x| x,
    );
    let mean = sum / x.len() as f64;
    let squares = lane_sum(
        x,
        #[inline(always)]
        |x| (x - mean) * (x - mean),
    );
    Sums { count: x.len() as u64, sum, squares }
}

#[inline(always)]
fn chunk_deviations(x: &[f32], centre: f64) -> f64 {
    lane_sum(
        x,
        #[inline(always)]
        |x| (x - centre).abs(),
    )
}

/// `Σ f(x)` of a chunk: lane l has the elements l, l + 16, …; then lane after lane.
#[inline(always)]
fn lane_sum(x: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] += f(block[i].into());
        }
    }
    for i in 0..tail.len() {
        lanes[i] += f(tail[i].into());
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    sum
}
