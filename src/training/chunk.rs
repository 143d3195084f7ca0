//! The kernels: a chunk of elements, whose gradients are masked and summed in one pass.

use core::array;
use core::ops::Range;

use super::backward::Backward;
use super::segments::{Cycles, Segment, Segments, segments};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Scratch;
use crate::params::{Grouping, Params, RowParams, Run, Runs};
use crate::quantize::ops::{ByWords, Round, ToNearest};
use crate::quantize::vec_params::{Groups, ParamSource, VecParams};
use crate::simd::LANES;
use crate::simd::walk::block;

/// Where the vectors of a chunk get their rounding from.
pub(super) trait Roundings: Copy {
    /// Whether it is to nearest.
    const NEAREST: bool = false;

    /// The rounding of the vector whose first element is `i`.
    fn at<V: Vectors>(self, v: V, i: usize) -> impl Round<V>;
}

impl Roundings for ToNearest {
    const NEAREST: bool = true;

    #[inline(always)]
    fn at<V: Vectors>(self, _: V, _: usize) -> impl Round<V> {
        self
    }
}

/// A random word for every element of the chunk, and at least as many more as a vector has.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub &'a [i32]);

impl Roundings for Words<'_> {
    #[inline(always)]
    fn at<V: Vectors>(self, v: V, i: usize) -> impl Round<V> {
        ByWords::<V>(v.load_i32(self.0[i..].first_chunk().expect("a vector behind every element")))
    }
}

/// A chunk of a tensor, or all of a shorter one.
pub(super) struct Chunk<'a, O, R> {
    pub op: O,
    pub params: &'a Params,
    pub roundings: R,
    /// The index in the tensor of the first element.
    pub first: usize,
    pub x: &'a [f32],
    pub gradient: &'a [f32],
    pub out: &'a mut [f32],
    /// N of every group that has elements in a segment, segment after segment.
    pub sums: &'a mut [f64],
}

impl<'a, O> Chunk<'a, O, ()> {
    /// This chunk, rounded in this way.
    pub fn rounding<R: Roundings>(self, roundings: R) -> Chunk<'a, O, R> {
        let Chunk { op, params, roundings: (), first, x, gradient, out, sums } = self;
        Chunk { op, params, roundings, first, x, gradient, out, sums }
    }
}

impl<O, R: Roundings> Chunk<'_, O, R> {
    /// Computes all elements and sums.
    pub fn run<const N: usize>(self, isa: Isa)
    where
        O: Backward<N>,
    {
        match segments(self.params.grouping(), self.first, self.x.len()) {
            Segments::Runs(runs) => isa.run(Consecutive::<_, N>(self, runs)),
            Segments::Cycles(cycles) => isa.run(Alternating::<_, N>(self, cycles)),
        }
    }
}

/// Segments of one group: parameters and sums stay in registers.
struct Consecutive<C, const N: usize>(C, Runs);

impl<O: Backward<N>, R: Roundings, const N: usize> Kernel for Consecutive<Chunk<'_, O, R>, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Consecutive(mut chunk, runs) = self;
        let groups = Groups::new(v, chunk.params, false);
        let (op, fast) = (chunk.op, chunk.is_fast::<V, N>());
        // What follows from the zero point is computed again where it changes.
        let mut zero_point = groups.zero_point(0);
        let mut params = groups.one(0).vector((), 0);
        let mut fast_limits = op.fast().limits(v, &params);
        for (i, Run { group, start, end }) in runs.enumerate() {
            if groups.zero_point(group) != zero_point {
                zero_point = groups.zero_point(group);
                params = groups.one(group).vector((), 0);
                fast_limits = op.fast().limits(v, &params);
            }
            params = groups.with_scale(group, params);
            let mut totals = [f64::NAN; N];
            if const { has_fast::<V, O, R, N>() } && fast {
                totals = chunk.run_of(v, op.fast(), (&params, fast_limits), start, end);
            }
            if !are_finite(&totals) {
                totals = chunk.run_of(v, op, (&params, op.limits(v, &params)), start, end);
            }
            chunk.sums.as_chunks_mut().0[i] = totals;
        }
    }
}

/// Whether there is a fast pass on the ISA.
const fn has_fast<V: Vectors, O: Backward<N>, R: Roundings, const N: usize>() -> bool {
    V::HAS_FAST_DIVISION && O::HAS_FAST && R::NEAREST
}

/// Whether a fast pass was exact.
#[inline(always)]
fn are_finite(sums: &[f64]) -> bool {
    // Bits without the sign are in the order of the numbers, with infinity and NaN behind all others.
    let largest = sums.iter().fold(0, |largest, sum| sum.abs().to_bits().max(largest));
    largest < f64::INFINITY.to_bits()
}

/// Segments of alternating groups: parameters and sums are vectors in memory.
///
/// Where a period is whole vectors, elements that lie a period apart have the same slots. A band of rows, each a period, is
/// computed slots by slots: parameters and sums are read once for all its rows, and every slot has its elements in order.
struct Alternating<C, const N: usize>(C, Cycles);

/// The rows of a band. With more of them, which lie 4 KiB apart in a matrix of 1024 columns, three tensors would need more lines
/// of a set than the level-1 cache has.
const BAND_ROWS: usize = 2;

/// The least elements of a band, of as many short rows as it takes: 32 vectors, for which parameters and sums are read once if all
/// have the same slots.
const BAND: usize = 512;

impl<O: Backward<N>, R: Roundings, const N: usize> Kernel for Alternating<Chunk<'_, O, R>, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Alternating(mut chunk, cycles) = self;
        let (mut memory, mut copy) = (Scratch::default(), Scratch::default());
        let params = chunk.params;
        let mut written = 0;
        for segment in cycles {
            let groups = Groups::of(v, params.bounds(), params_of_cycle(params, &segment, &mut copy), false);
            let lanes = memory.elements::<f64>(N * segment.slots());
            let mut fast = chunk.is_fast::<V, N>();
            loop {
                lanes.fill(0.0);
                chunk.alternating::<V, N>(v, &segment, &groups, fast, lanes);
                if !fast || are_finite(lanes) {
                    break;
                }
                fast = false;
            }
            let (_, count) = segment.groups();
            let totals: &mut [[f64; N]] = chunk.sums.as_chunks_mut().0;
            sum_slots(v, segment.cycle, lanes, &mut totals[written..][..count]);
            written += count;
        }
    }
}

/// The sums of the sixteen slots from `slot` on.
#[inline(always)]
fn load_sums<V: Vectors, const N: usize>(v: V, lanes: &[f64], slot: usize) -> [V::F64; N] {
    let mut sums = [v.splat_f64(0.0); N];
    for n in 0..N {
        sums[n] = v.load_f64(lanes[lanes.len() / N * n + slot..].first_chunk().expect("a vector behind every slot"));
    }
    sums
}

/// Writes what [`load_sums`] reads.
#[inline(always)]
fn store_sums<V: Vectors, const N: usize>(v: V, sums: [V::F64; N], lanes: &mut [f64], slot: usize) {
    let slots = lanes.len() / N;
    for n in 0..N {
        v.store_f64(sums[n], lanes[slots * n + slot..].first_chunk_mut().expect("a vector behind every slot"));
    }
}

/// The sum of every group, whose slots lie a cycle apart, from N times as many `lanes` as there are slots.
#[inline(always)]
fn sum_slots<V: Vectors, const N: usize>(v: V, cycle: usize, lanes: &mut [f64], totals: &mut [[f64; N]]) {
    let slots = lanes.len() / N;
    for lanes in lanes.chunks_exact_mut(slots) {
        if cycle == 1 {
            lanes[0] = v.sum_f64(v.load_f64(lanes.first_chunk().expect("sixteen slots")));
            continue;
        }
        let (sums, mut more) = lanes.split_at_mut(cycle.min(slots));
        while !more.is_empty() {
            let next;
            (next, more) = more.split_at_mut(cycle.min(more.len()));
            sums.iter_mut().zip(next).for_each(|(sum, lane)| *sum += *lane);
        }
    }
    let sums: [&[f64]; N] = array::from_fn(|n| &lanes[n * slots..][..totals.len()]);
    for (i, total) in totals.iter_mut().enumerate() {
        *total = array::from_fn(|n| sums[n][i]);
    }
}

impl<O, R: Roundings> Chunk<'_, O, R> {
    /// Whether there is a fast pass that is exact for the codes.
    #[inline(always)]
    fn is_fast<V: Vectors, const N: usize>(&self) -> bool
    where
        O: Backward<N>,
    {
        let exists = const { has_fast::<V, O, R, N>() };
        exists && self.params.bounds().fit_fast_path()
    }

    /// Computes a run of elements of one group, and its sums.
    #[inline(always)]
    fn run_of<V: Vectors, B: Backward<N>, const N: usize>(
        &mut self,
        v: V,
        op: B,
        params: (&VecParams<V>, B::Limits<V>),
        start: usize,
        end: usize,
    ) -> [f64; N] {
        let whole = start + (end - start) / LANES * LANES;
        let mut lanes = self.vectors(v, op, params, start..whole, [v.splat_f64(0.0); N]);
        if whole < end {
            lanes = self.tail(v, op, params, whole..end, lanes);
        }
        let mut sums = [0.0; N];
        for n in 0..N {
            sums[n] = v.sum_f64(lanes[n]);
        }
        sums
    }

    /// Computes elements that are whole vectors, and adds to the sums.
    #[inline(always)]
    fn vectors<V: Vectors, B: Backward<N>, const N: usize>(
        &mut self,
        v: V,
        op: B,
        (params, limits): (&VecParams<V>, B::Limits<V>),
        elements: Range<usize>,
        mut sums: [V::F64; N],
    ) -> [V::F64; N] {
        let (roundings, start) = (self.roundings, elements.start);
        let (x, gradient) = (&self.x[elements.clone()], &self.gradient[elements.clone()]);
        let (x, gradient) = (x.as_chunks::<LANES>().0, gradient.as_chunks().0);
        let out = self.out[elements].as_chunks_mut().0;
        for i in 0..x.len().min(gradient.len()).min(out.len()) {
            let (x, gradient): (_, &[f32; LANES]) = (v.load_f32(&x[i]), &gradient[i]);
            let round = roundings.at(v, start + i * LANES);
            sums = op.vector(v, (params, limits), round, [x, v.load_f32(gradient)], &mut out[i], sums);
        }
        sums
    }

    /// Computes elements that are fewer than a vector, and adds to the sums.
    #[inline(always)]
    fn tail<V: Vectors, B: Backward<N>, const N: usize>(
        &mut self,
        v: V,
        op: B,
        params: (&VecParams<V>, B::Limits<V>),
        elements: Range<usize>,
        sums: [V::F64; N],
    ) -> [V::F64; N] {
        let (x, gradient) = (block(&self.x[elements.clone()], 0), block(&self.gradient[elements.clone()], 0));
        let round = self.roundings.at(v, elements.start);
        let mut padded = [0.0; LANES];
        let sums = op.vector(v, params, round, [v.load_f32(&x), v.load_f32(&gradient)], &mut padded, sums);
        let out = &mut self.out[elements];
        out.copy_from_slice(&padded[..out.len()]);
        sums
    }

    /// Computes a segment of alternating groups, and adds to the sums of its slots.
    #[inline(always)]
    fn alternating<V: Vectors, const N: usize>(
        &mut self,
        v: V,
        segment: &Segment,
        groups: &Groups<'_, V>,
        fast: bool,
        lanes: &mut [f64],
    ) where
        O: Backward<N>,
    {
        let (op, one_zero_point) = (self.op, self.params.has_one_zero_point());
        let Segment { start, end, place, .. } = *segment;
        let (period, repeats) = (segment.period(), segment.repeats());
        let whole = (end - start) / LANES * LANES;
        // Without rows, all is one.
        let row = if repeats && period.is_multiple_of(LANES) { period } else { whole.max(LANES) };
        let band = row * (BAND / row).max(BAND_ROWS);
        let mut slot = if repeats { place } else { 0 };
        let mut params = groups.neighbours(slot);
        let mut fast_limits = op.fast().limits(v, &params);
        for first in (0..whole).step_by(band) {
            let end = whole.min(first + band);
            for at in (first..whole.min(first + row)).step_by(LANES) {
                if one_zero_point {
                    params = groups.with_scales(slot, params);
                } else {
                    params = groups.neighbours(slot);
                    fast_limits = op.fast().limits(v, &params);
                }
                let mut sums = load_sums(v, lanes, slot);
                // One scale without a reciprocal does not make other slots be computed again.
                if const { has_fast::<V, O, R, N>() } && fast && params.has_reciprocals(v) {
                    sums = self.rows(v, op.fast(), (&params, fast_limits), start, (at..end, row), sums);
                } else {
                    sums = self.rows(v, op, (&params, op.limits(v, &params)), start, (at..end, row), sums);
                }
                store_sums(v, sums, lanes, slot);
                slot += LANES;
                if repeats && slot >= period {
                    slot -= period;
                }
            }
        }
        if start + whole < end {
            let slot = if repeats { (place + whole) % period } else { whole };
            let params = groups.neighbours(slot);
            let sums = load_sums(v, lanes, slot);
            let sums = self.tail(v, op, (&params, op.limits(v, &params)), start + whole..end, sums);
            store_sums(v, sums, lanes, slot);
        }
    }

    /// Computes vectors of a segment from `start` on that begin `row` elements apart, and adds to the sums.
    #[inline(always)]
    fn rows<V: Vectors, B: Backward<N>, const N: usize>(
        &mut self,
        v: V,
        op: B,
        params: (&VecParams<V>, B::Limits<V>),
        start: usize,
        (Range { start: mut at, end }, row): (Range<usize>, usize),
        mut sums: [V::F64; N],
    ) -> [V::F64; N] {
        let roundings = self.roundings;
        let (x, gradient) = (&self.x[start..][..end], &self.gradient[start..][..end]);
        let out = &mut self.out[start..][..end];
        while at < end {
            let (x, gradient) = (x[at..].first_chunk(), gradient[at..].first_chunk());
            let out = out[at..].first_chunk_mut();
            let ((x, gradient), out) = x.zip(gradient).zip(out).expect("whole vectors");
            let round = roundings.at(v, start + at);
            sums = op.vector(v, params, round, [v.load_f32(x), v.load_f32(gradient)], out, sums);
            at += row;
        }
        sums
    }
}

/// The parameters of a segment's slots, from the first one on that has an element.
#[inline(always)]
fn params_of_cycle<'a>(params: &'a Params, segment: &Segment, copy: &'a mut Scratch) -> RowParams<'a> {
    let Segment { group, cycle, place, .. } = *segment;
    if !segment.repeats() {
        let (first, count) = segment.groups();
        debug_assert_eq!(first, group + place);
        return params.row(first, count);
    }
    match params.grouping() {
        // Parameters of channels repeat behind the last one.
        Grouping::Interleaved { .. } => RowParams { groups: params.all(), zero_codes: params.zero_codes() },
        _ => params.repeat(group, cycle, segment.period(), copy),
    }
}
