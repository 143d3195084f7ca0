//! The sums of a report, chunk by chunk.

use bytemuck::{Pod, Zeroable};

use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::{Grouping, Params};
use crate::quantize::vec_params::VecParams;
use crate::reduce::vectors::magnitude_bits;
use crate::simd::LANES;
use crate::simd::walk::block;

/// Elements whose sums are made together. The length is part of the result.
const CHUNK: usize = 16 << 10;

/// Differences that a core squares in a nanosecond at most: an upper bound, so that work is shared only if every core gains by
/// it.
const SQUARED: usize = 16;

/// The sums of some elements.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sums {
    /// `Σ x²`
    pub signal: f64,
    /// `Σ (x − r)²`
    pub noise: f64,
    /// The bits of the largest |x − r|, which order as magnitudes do.
    pub max_error_bits: u64,
    /// Elements whose code is outside the code range.
    pub saturated: u64,
}

// SAFETY: two floats and two integers, for which zeros are a valid value.
unsafe impl Zeroable for Sums {}
// SAFETY: `repr(C)` with four fields of one size: no padding, and every bit pattern is a value.
unsafe impl Pod for Sums {}

impl Sums {
    /// The sums of a tensor that is not empty: of its chunks, in their order, whoever made which.
    pub fn of(exec: Exec<'_>, x: &[f32], reconstruction: Reconstruction<'_>) -> Self {
        let sums_of = |first, chunk: &[f32]| reconstruction.sums(exec.isa(), chunk, first, x.len());
        let sums = exec.fold_chunks(x.len() / SQUARED, x, CHUNK, sums_of, Sums::add);
        sums.expect("a tensor that is not empty has a chunk")
    }

    /// The first element whose difference is not finite, of a tensor that has one, and the difference.
    pub fn first_non_finite_error(exec: Exec<'_>, x: &[f32], reconstruction: Reconstruction<'_>) -> (usize, f32) {
        let of_one = |index: usize| reconstruction.sums(exec.isa(), &x[index..=index], index, x.len());
        let index = (0..x.len()).find(|&index| !of_one(index).noise.is_finite()).expect("a difference is not finite");
        (index, f32::from_bits(of_one(index).max_error_bits as u32))
    }

    fn add(self, next: Sums) -> Sums {
        Sums {
            signal: self.signal + next.signal,
            noise: self.noise + next.noise,
            max_error_bits: self.max_error_bits.max(next.max_error_bits),
            saturated: self.saturated + next.saturated,
        }
    }
}

/// Where the reconstruction of a tensor comes from.
#[derive(Clone, Copy)]
pub(super) enum Reconstruction<'a> {
    /// From memory.
    Given(&'a [f32]),
    /// From codes with these parameters, as they are made.
    Coded(&'a Params),
}

impl Reconstruction<'_> {
    /// The sums of a chunk that begins at element `first` of a tensor of `elements`.
    fn sums(self, isa: Isa, x: &[f32], first: usize, elements: usize) -> Sums {
        match self {
            Reconstruction::Given(r) => isa.run(GivenChunk { x, reconstruction: &r[first..][..x.len()] }),
            Reconstruction::Coded(params) => isa.run(CodedChunk { x, params, first, elements }),
        }
    }
}

/// A chunk of a tensor and its reconstruction.
struct GivenChunk<'a> {
    x: &'a [f32],
    reconstruction: &'a [f32],
}

impl Kernel for GivenChunk<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> Sums {
        let (blocks, tail) = self.x.as_chunks();
        let (r_blocks, r_tail) = self.reconstruction.as_chunks();
        let (mut sums, no_excess) = (SumLanes::none(v), v.splat_i32(0));
        for (x, r) in blocks.iter().zip(r_blocks) {
            sums = sums.observe(v, v.load_f32(x), v.load_f32(r), no_excess);
        }
        if !tail.is_empty() {
            let (x, r) = (v.load_f32(&block(tail, 0)), v.load_f32(&block(r_tail, 0)));
            sums = sums.observe(v, x, r, no_excess);
        }
        sums.add_lanes(v)
    }
}

/// A chunk of a tensor that is coded with these parameters.
struct CodedChunk<'a> {
    x: &'a [f32],
    params: &'a Params,
    /// Where the chunk begins in the tensor.
    first: usize,
    /// Elements of the tensor.
    elements: usize,
}

impl Kernel for CodedChunk<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> Sums {
        let CodedChunk { x, params, first, elements } = self;
        let (mut blocks, tail) = x.as_chunks();
        let (mut sums, mut start) = (SumLanes::none(v), first);
        while !blocks.is_empty() {
            let (lanes, run, row) = params_of_run(v, params, start, elements);
            let (these, others) = blocks.split_at(run.min(blocks.len()));
            if let Some(group) = row {
                for (i, x) in these.iter().enumerate() {
                    let lanes = params_of_row(v, params, group + i * LANES);
                    sums = sums.observe_codes(v, v.load_f32(x), &lanes);
                }
            } else {
                for x in these {
                    sums = sums.observe_codes(v, v.load_f32(x), &lanes);
                }
            }
            start += these.len() * LANES;
            blocks = others;
        }
        if !tail.is_empty() {
            let lanes = params_of_block(v, params, start, elements);
            sums = sums.observe_codes(v, v.load_f32(&block(tail, 0)), &lanes);
        }
        sums.add_lanes(v)
    }
}

/// The parameters of the block from `start` on, and how many blocks they hold for; or, where groups alternate, how many blocks
/// have parameters that follow each other, from those of this group on.
#[inline(always)]
fn params_of_run<V: Vectors>(
    v: V,
    params: &Params,
    start: usize,
    elements: usize,
) -> (VecParams<V>, usize, Option<usize>) {
    let grouping = params.grouping();
    let run = grouping.run_length(start, elements);
    if run < LANES {
        return (params_of_block(v, params, start, elements), 1, None);
    }
    let (all, group) = (params.all(), grouping.group_of(start));
    let (scale, zero_point) = (v.splat_f32(all.scales[group]), v.splat_i32(all.zero_points[group]));
    let lanes = VecParams::new(v, params.bounds(), scale, zero_point);
    (lanes, run / LANES, grouping.alternates().then_some(group))
}

/// The parameters of sixteen groups that follow each other.
#[inline(always)]
fn params_of_row<V: Vectors>(v: V, params: &Params, group: usize) -> VecParams<V> {
    let some = params.all().slice(group, LANES);
    let (Some(scales), Some(zero_points)) = (some.scales.first_chunk(), some.zero_points.first_chunk()) else {
        unreachable!("a slice of sixteen")
    };
    VecParams::new(v, params.bounds(), v.load_f32(scales), v.load_i32(zero_points))
}

/// The parameters of the block from `start` on, whose elements may belong to several groups. Behind the last element they are
/// a scale of 1 and a zero point of 0: padding is 0, which has the code 0.
#[inline(always)]
fn params_of_block<V: Vectors>(v: V, params: &Params, start: usize, elements: usize) -> VecParams<V> {
    let (all, grouping) = (params.all(), params.grouping());
    if let Grouping::Interleaved { .. } = grouping {
        // Parameters of neighbouring channels repeat behind the last channel.
        return params_of_row(v, params, start % params.period());
    }
    let (mut scales, mut zero_points) = ([1.0; LANES], [0; LANES]);
    let lanes = LANES.min(elements - start);
    let mut lane = 0;
    while lane < lanes {
        let end = lanes.min(lane + grouping.run_length(start + lane, elements));
        let group = grouping.group_of(start + lane);
        if grouping.alternates() {
            scales[lane..end].copy_from_slice(&all.scales[group..][..end - lane]);
            zero_points[lane..end].copy_from_slice(&all.zero_points[group..][..end - lane]);
        } else {
            scales[lane..end].fill(all.scales[group]);
            zero_points[lane..end].fill(all.zero_points[group]);
        }
        lane = end;
    }
    VecParams::new(v, params.bounds(), v.load_f32(&scales), v.load_i32(&zero_points))
}

/// [`Sums`] of sixteen lanes.
struct SumLanes<V: Vectors> {
    signal: V::F64,
    noise: V::F64,
    max_error_bits: V::I32,
    saturated: V::I32,
}

impl<V: Vectors> SumLanes<V> {
    #[inline(always)]
    fn none(v: V) -> Self {
        let (sum, count) = (v.splat_f64(0.0), v.splat_i32(0));
        SumLanes { signal: sum, noise: sum, max_error_bits: count, saturated: count }
    }

    /// Adds values and their reconstruction; the excess is ±1 where a value saturates, else 0.
    #[inline(always)]
    fn observe(self, v: V, x: V::F32, r: V::F32, excess: V::I32) -> Self {
        let error = v.sub_f32(x, r);
        SumLanes {
            signal: v.add_product_f64(self.signal, x, x),
            noise: v.add_product_f64(self.noise, error, error),
            max_error_bits: v.max_i32(self.max_error_bits, magnitude_bits(v, error)),
            saturated: v.add_i32(self.saturated, v.and_i32(excess, v.splat_i32(1))),
        }
    }

    /// Adds values and what their codes stand for.
    #[inline(always)]
    fn observe_codes(self, v: V, x: V::F32, params: &VecParams<V>) -> Self {
        let (q, excess) = params.code_and_excess(v, x);
        self.observe(v, x, params.real(v, q), excess)
    }

    /// The sums of all lanes, from the first to the last.
    #[inline(always)]
    fn add_lanes(self, v: V) -> Sums {
        let (mut signals, mut noises) = ([0.0; LANES], [0.0; LANES]);
        v.store_f64(self.signal, &mut signals);
        v.store_f64(self.noise, &mut noises);
        let (mut signal, mut noise) = (0.0, 0.0);
        for lane in 0..LANES {
            signal += signals[lane];
            noise += noises[lane];
        }
        let max_error_bits = v.max_of_i32(self.max_error_bits) as u64;
        Sums { signal, noise, max_error_bits, saturated: v.sum_i32(self.saturated) as u64 }
    }
}
