//! Counting values in bins of equal width on both sides of 0.

use core::mem::take;
use std::sync::Mutex;

use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Scratch;
use crate::simd::LANES;
use crate::simd::walk::block;

/// The bins on each side of 0, of which more than half are in use on the side of the largest magnitude.
pub const BINS: usize = 1 << 12;

/// The bins on both sides.
pub(super) const SIDES: usize = 2 * BINS;

/// Values that a core counts in a nanosecond at most: an upper bound, so that work is shared only if every core gains by it.
const COUNTED: usize = 4;

/// Elements of a piece that a thread takes: counting them takes much longer than adding up their counts.
const PIECE: usize = 64 << 10;

/// Tables that neighbouring lanes count in: an increment has to wait for the last one of the same bin. Equal values are usual,
/// zeros behind a ReLU.
const TABLES: usize = 4;

/// Elements between two additions of the tables: no count exceeds 16 bits.
const MOST: usize = TABLES * u16::MAX as usize / LANES * LANES;

/// Fewer elements are counted without the tables, which take longer to add up.
const FEW: usize = 4 << 10;

/// `2ᵉ`
pub(super) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// Adds the counts of `x` in bins of width `2^exponent`, of which [`BINS`] reach every magnitude.
pub(super) fn count(exec: Exec<'_>, x: &[f32], exponent: i32, counts: &mut [u64]) {
    // x · 2⁻ᵏ is exact where it is 1 or more, whatever becomes of it below.
    let first = (-exponent).clamp(-126, 127);
    let factors = [power_of_two(first) as f32, power_of_two(-exponent - first) as f32];
    let (isa, team) = (exec.isa(), exec.team(x.len() / COUNTED));
    let counts: &mut [u64; SIDES] = counts.try_into().expect("bins on both sides");
    if team.alone() {
        return count_piece(isa, x, factors, counts);
    }
    let all = Mutex::new(counts);
    team.share(x.chunks(PIECE), |x| {
        let mut workspace = Scratch::default();
        let counts: &mut [u64; SIDES] = workspace.elements(SIDES).try_into().expect("bins on both sides");
        counts.fill(0);
        count_piece(isa, x, factors, counts);
        let mut all = all.lock().expect("integers are added without panic");
        for (sum, count) in all.iter_mut().zip(counts) {
            *sum += *count;
        }
    });
}

fn count_piece(isa: Isa, x: &[f32], factors: [f32; 2], counts: &mut [u64; SIDES]) {
    let mut workspace = Scratch::default();
    let mut tables: &mut [u16] = &mut [];
    if x.len() >= FEW {
        tables = workspace.elements(TABLES * SIDES);
        tables.fill(0);
    }
    isa.run(Counting { x, factors, counts, tables });
}

struct Counting<'a> {
    x: &'a [f32],
    /// Factors whose product is one over the width, which may be beyond f32.
    factors: [f32; 2],
    counts: &'a mut [u64; SIDES],
    /// [`TABLES`] of zeros, or nothing for a few elements.
    tables: &'a mut [u16],
}

impl Kernel for Counting<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Counting { x, factors, counts, tables } = self;
        let factors = [v.splat_f32(factors[0]), v.splat_f32(factors[1])];
        let Ok(tables) = <&mut [u16; TABLES * SIDES]>::try_from(tables) else {
            for start in (0..x.len()).step_by(LANES) {
                let bins = bins_of(v, &block(x, start), factors);
                for lane in 0..LANES.min(x.len() - start) {
                    counts[bins[lane] as usize % SIDES] += 1;
                }
            }
            return;
        };
        for piece in x.chunks(MOST) {
            let (blocks, tail) = piece.as_chunks();
            for x in blocks {
                let bins = bins_of(v, x, factors);
                for lane in 0..LANES {
                    tables[lane % TABLES * SIDES + bins[lane] as usize % SIDES] += 1;
                }
            }
            if !tail.is_empty() {
                let bins = bins_of(v, &block(tail, 0), factors);
                for lane in 0..tail.len() {
                    tables[lane % TABLES * SIDES + bins[lane] as usize % SIDES] += 1;
                }
            }
            add_tables(tables, counts);
        }
    }
}

/// Moves the counts of the tables.
#[inline(always)]
fn add_tables(tables: &mut [u16; TABLES * SIDES], counts: &mut [u64; SIDES]) {
    for table in tables.as_chunks_mut::<SIDES>().0 {
        for i in 0..SIDES {
            counts[i] += u64::from(take(&mut table[i]));
        }
    }
}

/// `floor(|x| / width)`, [`BINS`] more if x is below 0.
#[inline(always)]
fn bins_of<V: Vectors>(v: V, x: &[f32; LANES], factors: [V::F32; 2]) -> [i32; LANES] {
    let x = v.load_f32(x);
    let zero = v.splat_f32(0.0);
    let scaled = v.mul_f32(v.mul_f32(x, factors[0]), factors[1]);
    let magnitude = v.max_f32(scaled, v.sub_f32(zero, scaled));
    let negative = v.shift_left::<12>(v.add_if_less(v.splat_i32(0), x, zero));
    let mut bins = [0; LANES];
    v.store_i32(v.add_i32(v.floor_to_i32(magnitude), negative), &mut bins);
    bins
}
