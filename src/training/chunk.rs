//! The kernels: a chunk of elements, whose gradients are masked and summed in one pass.

use core::mem::take;
use core::ops::Range;

use super::backward::{Backward, leaves_last};
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
pub(super) struct Chunk<'a, O, R, const N: usize> {
    pub op: O,
    pub params: &'a Params,
    pub roundings: R,
    /// The index in the tensor of the first element.
    pub first: usize,
    pub x: &'a [f32],
    pub gradient: &'a [f32],
    pub out: &'a mut [f32],
    /// N sums of every group that has elements in a segment, segment after segment.
    pub sums: [&'a mut [f64]; N],
}

impl<'a, O, const N: usize> Chunk<'a, O, (), N> {
    /// This chunk, rounded in this way.
    pub fn rounding<R: Roundings>(self, roundings: R) -> Chunk<'a, O, R, N> {
        let Chunk { op, params, roundings: (), first, x, gradient, out, sums } = self;
        Chunk { op, params, roundings, first, x, gradient, out, sums }
    }
}

impl<O: Backward<N>, R: Roundings, const N: usize> Chunk<'_, O, R, N> {
    /// Computes all elements and sums.
    pub fn run(self, isa: Isa) {
        match segments(self.params.grouping(), self.first, self.x.len()) {
            Segments::Runs(runs) => isa.run(Consecutive(self, runs)),
            Segments::Cycles(cycles) => isa.run(Alternating(self, cycles)),
        }
    }
}

/// Segments of one group: parameters and sums stay in registers.
struct Consecutive<C>(C, Runs);

impl<O: Backward<N>, R: Roundings, const N: usize> Kernel for Consecutive<Chunk<'_, O, R, N>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Consecutive(mut chunk, runs) = self;
        let op = chunk.op;
        let is_fast = const { has_fast::<V, O, R, N>() } && chunk.params.bounds().fit_fast_path();
        if is_fast {
            let count = chunk.runs(v, op.fast(), runs.clone(), false);
            if chunk.sums.iter().all(|sums| are_finite(&sums[..count])) {
                return;
            }
        }
        chunk.runs(v, op, runs, is_fast);
    }
}

/// Whether there is a fast pass on the ISA.
const fn has_fast<V: Vectors, O: Backward<N>, R: Roundings, const N: usize>() -> bool {
    V::HAS_FAST_DIVISION && O::HAS_FAST && R::NEAREST
}

/// Whether a fast pass was exact.
#[inline(always)]
fn are_finite(sums: &[f64]) -> bool {
    // Of infinity and NaN all bits of the exponent are set: one more carries into the sign.
    const LOWEST: u64 = 1 << 52;
    let carries = sums.iter().fold(0, |carries, sum| carries | ((sum.to_bits() & f64::INFINITY.to_bits()) + LOWEST));
    carries >> 63 == 0
}

/// Segments of alternating groups: parameters and sums are vectors in memory.
///
/// Where a period is whole vectors, elements that lie a period apart have the same slots. A band of rows, each a period, is
/// computed slots by slots: parameters and sums are read once for all its rows, and every slot has its elements in order.
struct Alternating<C>(C, Cycles);

/// The rows of a band. With more of them, which lie 4 KiB apart in a matrix of 1024 columns, three tensors would need more lines
/// of a set than the level-1 cache has.
const BAND_ROWS: usize = 2;

/// The least elements of a band, of as many short rows as it takes: 32 vectors, for which parameters and sums are read once if all
/// have the same slots.
const BAND: usize = 512;

impl<O: Backward<N>, R: Roundings, const N: usize> Kernel for Alternating<Chunk<'_, O, R, N>> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Alternating(mut chunk, cycles) = self;
        let (mut memory, mut copy) = (Scratch::default(), Scratch::default());
        let (op, params) = (chunk.op, chunk.params);
        let is_fast = const { has_fast::<V, O, R, N>() } && params.bounds().fit_fast_path();
        let mut sums = chunk.sums.each_mut().map(take);
        for segment in cycles {
            let groups = Groups::of(v, params.bounds(), params_of_cycle(params, &segment, &mut copy), false);
            let (slots, (_, count)) = (segment.slots(), segment.groups());
            let mut totals = sums.each_mut().map(|sums| sums.split_off_mut(..count).expect("a sum for every group"));
            // Where vectors of slots are those of groups, their sums are the totals.
            let own = memory.elements::<f64>(if segment.is_aligned() { 0 } else { N * slots });
            let mut lanes = own.chunks_exact_mut(slots);
            let mut lanes = totals.each_mut().map(|totals| lanes.next().unwrap_or(totals));
            let mut done = false;
            if is_fast {
                chunk.alternating(v, op.fast(), &segment, &groups, &mut lanes);
                done = lanes.iter().all(|lanes| are_finite(lanes));
            }
            if !done {
                chunk.alternating(v, op, &segment, &groups, &mut lanes);
            }
            for (lanes, totals) in own.chunks_exact_mut(slots).zip(totals) {
                sum_slots(v, segment.cycle, lanes, totals);
            }
        }
    }
}

/// The sums of the sixteen slots from `slot` on.
#[inline(always)]
fn load_sums<V: Vectors, const N: usize>(v: V, lanes: &[&mut [f64]; N], slot: usize) -> [V::F64; N] {
    let mut sums = [v.splat_f64(0.0); N];
    for n in 0..N {
        sums[n] = v.load_f64(lanes[n][slot..].first_chunk().expect("a vector behind every slot"));
    }
    sums
}

/// Writes what [`load_sums`] reads.
#[inline(always)]
fn store_sums<V: Vectors, const N: usize>(v: V, sums: [V::F64; N], lanes: &mut [&mut [f64]; N], slot: usize) {
    for n in 0..N {
        v.store_f64(sums[n], lanes[n][slot..].first_chunk_mut().expect("a vector behind every slot"));
    }
}

/// The sum of every group, whose slots lie a cycle apart.
#[inline(always)]
fn sum_slots<V: Vectors>(v: V, cycle: usize, slots: &mut [f64], totals: &mut [f64]) {
    if cycle == 1 {
        totals[0] = v.sum_f64(v.load_f64(slots.first_chunk().expect("sixteen slots")));
        return;
    }
    let (sums, mut more) = slots.split_at_mut(cycle.min(slots.len()));
    while !more.is_empty() {
        let next;
        (next, more) = more.split_at_mut(cycle.min(more.len()));
        sums.iter_mut().zip(next).for_each(|(sum, slot)| *sum += *slot);
    }
    totals.copy_from_slice(&sums[..totals.len()]);
}

impl<O, R: Roundings, const N: usize> Chunk<'_, O, R, N> {
    /// Computes all runs, or those again whose sums are not finite, and returns how many there are. (Runs that are computed by
    /// different passes are in different loops, each of which keeps what it needs in registers.)
    #[cfg_attr(not(unoptimized), inline(always))]
    fn runs<V: Vectors, B: Backward<N>>(&mut self, v: V, op: B, runs: Runs, again: bool) -> usize {
        let groups = Groups::new(v, self.params, false);
        // What follows from the zero point is computed again where it changes.
        let mut zero_point = groups.zero_point(0);
        let mut params = groups.one(0).vector((), 0);
        let mut limits = op.limits(v, &params);
        let mut count = 0;
        let one_zero_point = self.params.has_one_zero_point();
        for Run { group, start, end } in runs {
            if !one_zero_point && groups.zero_point(group) != zero_point {
                zero_point = groups.zero_point(group);
                params = groups.one(group).vector((), 0);
                limits = op.limits(v, &params);
            }
            params = groups.with_scale(group, params);
            if !again || !self.sums.iter().all(|sums| are_finite(&sums[count..=count])) {
                let sums = self.run_of(v, op, (&params, limits), start, end);
                for n in 0..N {
                    self.sums[n][count] = sums[n];
                }
            }
            count += 1;
        }
        count
    }

    /// Computes a run of elements of one group, and its sums.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn run_of<V: Vectors, B: Backward<N>>(
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
    #[cfg_attr(not(unoptimized), inline(always))]
    fn vectors<V: Vectors, B: Backward<N>>(
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
        if const { leaves_last::<V, B, N>() } {
            for (gradient, out) in gradient.iter().zip(out) {
                sums[N - 1] = add_last(v, op, [v.load_f32(gradient), v.load_f32(out)], sums[N - 1]);
            }
        }
        sums
    }

    /// Computes elements that are fewer than a vector, and adds to the sums.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn tail<V: Vectors, B: Backward<N>>(
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
        let gradient = v.load_f32(&gradient);
        let mut sums = op.vector(v, params, round, [v.load_f32(&x), gradient], &mut padded, sums);
        if const { leaves_last::<V, B, N>() } {
            sums[N - 1] = add_last(v, op, [gradient, v.load_f32(&padded)], sums[N - 1]);
        }
        let out = &mut self.out[elements];
        out.copy_from_slice(&padded[..out.len()]);
        sums
    }

    /// Computes a segment of alternating groups, and the sums of its slots.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn alternating<V: Vectors, B: Backward<N>>(
        &mut self,
        v: V,
        op: B,
        segment: &Segment,
        groups: &Groups<'_, V>,
        lanes: &mut [&mut [f64]; N],
    ) {
        let one_zero_point = self.params.has_one_zero_point();
        let Segment { start, end, place, .. } = *segment;
        let (period, repeats) = (segment.period(), segment.repeats());
        let whole = (end - start) / LANES * LANES;
        // Without rows, all is one.
        let row = if repeats && period.is_multiple_of(LANES) { period } else { whole.max(LANES) };
        let band = row * (BAND / row).max(BAND_ROWS);
        let mut slot = if repeats { place } else { 0 };
        let mut params = groups.neighbours(slot);
        let mut limits = op.limits(v, &params);
        // Where slots are aligned, the first row has all of them, and no sum needs to be cleared. (A cycle that repeats is whole in
        // its chunk, since tensors are of whole cycles.)
        let begins = segment.is_aligned();
        debug_assert!(!begins || !repeats || whole >= row);
        if !begins {
            lanes.iter_mut().for_each(|lanes| lanes.fill(0.0));
        }
        let (x, gradient) = (&self.x[start..][..whole], &self.gradient[start..][..whole]);
        let roundings = self.roundings;
        let mut elements = Whole { x, gradient, out: &mut self.out[start..][..whole], roundings, start };
        for first in (0..whole).step_by(band) {
            let end = whole.min(first + band);
            for at in (first..whole.min(first + row)).step_by(LANES) {
                if one_zero_point {
                    params = groups.with_scales(slot, params);
                } else {
                    params = groups.neighbours(slot);
                    limits = op.limits(v, &params);
                }
                let none = [v.splat_f64(0.0); N];
                let sums = if begins && first == 0 { none } else { load_sums(v, lanes, slot) };
                let sums = elements.rows(v, op, (&params, limits), (at..end, row), sums);
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
}

/// Elements of a chunk that are whole vectors, from element `start` of the chunk on.
struct Whole<'a, R> {
    x: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
    roundings: R,
    start: usize,
}

impl<R: Roundings> Whole<'_, R> {
    /// Computes vectors that begin `row` elements apart, and adds to the sums.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn rows<V: Vectors, B: Backward<N>, const N: usize>(
        &mut self,
        v: V,
        op: B,
        params: (&VecParams<V>, B::Limits<V>),
        (Range { start: mut at, end }, row): (Range<usize>, usize),
        mut sums: [V::F64; N],
    ) -> [V::F64; N] {
        while at < end {
            let (x, gradient) = (self.x[at..].first_chunk(), self.gradient[at..].first_chunk());
            let ((x, gradient), out) = x.zip(gradient).zip(self.out[at..].first_chunk_mut()).expect("whole vectors");
            let round = self.roundings.at(v, self.start + at);
            let gradient = v.load_f32(gradient);
            sums = op.vector(v, params, round, [v.load_f32(x), gradient], out, sums);
            if const { leaves_last::<V, B, N>() } {
                sums[N - 1] = add_last(v, op, [gradient, v.load_f32(out)], sums[N - 1]);
            }
            at += row;
        }
        sums
    }
}

/// The last sum with what these elements, gradients and what was written for them, add to it.
#[inline(always)]
fn add_last<V: Vectors, B: Backward<N>, const N: usize>(
    v: V,
    op: B,
    [gradient, out]: [V::F32; 2],
    sum: V::F64,
) -> V::F64 {
    v.add_product_f64(sum, op.last_term(v, gradient, out), v.splat_f32(1.0))
}

/// The parameters of a segment's slots, from the first one on that has an element.
#[inline(always)]
fn params_of_cycle<'a>(params: &'a Params, segment: &Segment, copy: &'a mut Scratch) -> RowParams<'a> {
    let Segment { group, cycle, .. } = *segment;
    if !segment.repeats() || segment.is_aligned() {
        let (first, count) = segment.groups();
        return params.row(first, count);
    }
    match params.grouping() {
        // Parameters of channels repeat behind the last one.
        Grouping::Interleaved { .. } => RowParams { groups: params.all(), zero_codes: params.zero_codes() },
        _ => params.repeat(group, cycle, segment.period(), copy),
    }
}
