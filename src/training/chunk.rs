//! The kernels: a chunk of elements, whose gradients are masked and summed in one pass.

use core::ops::Range;

use super::backward::Backward;
use super::segments::{Cycles, Segment};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Scratch;
use crate::params::{Grouping, Params, RowParams, Run};
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
        match self.params.grouping() {
            Grouping::Interleaved { channels } => {
                let cycles = Cycles::new(self.first, self.x.len(), usize::MAX, usize::MAX, channels);
                isa.run(Alternating::<_, N>(self, cycles));
            }
            Grouping::Bands { length, rows, inner } => {
                let cycles = Cycles::new(self.first, self.x.len(), length, rows, inner);
                isa.run(Alternating::<_, N>(self, cycles));
            }
            _ => isa.run(Consecutive::<_, N>(self)),
        }
    }
}

/// Segments of one group: parameters and sums stay in registers.
struct Consecutive<C, const N: usize>(C);

impl<O: Backward<N>, R: Roundings, const N: usize> Kernel for Consecutive<Chunk<'_, O, R>, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Consecutive(mut chunk) = self;
        let groups = Groups::new(v, chunk.params, false);
        let runs = chunk.params.grouping().runs(chunk.first, chunk.x.len());
        let (op, fast) = (chunk.op, chunk.is_fast::<V, N>());
        for (i, Run { group, start, end }) in runs.enumerate() {
            let params = groups.one(group).vector((), 0);
            let mut totals = [f64::NAN; N];
            if const { V::HAS_FAST_DIVISION && O::HAS_FAST && R::NEAREST } && fast {
                totals = chunk.run_of(v, op.fast(), &params, start, end);
            }
            if !are_finite(&totals) {
                totals = chunk.run_of(v, op, &params, start, end);
            }
            chunk.sums.as_chunks_mut().0[i] = totals;
        }
    }
}

/// Whether a fast pass was exact.
#[inline(always)]
fn are_finite<const N: usize>(sums: &[f64; N]) -> bool {
    sums.iter().all(|sum| sum.is_finite())
}

/// Segments of alternating groups: parameters and sums are vectors in memory.
struct Alternating<C, const N: usize>(C, Cycles);

impl<O: Backward<N>, R: Roundings, const N: usize> Kernel for Alternating<Chunk<'_, O, R>, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Alternating(mut chunk, cycles) = self;
        let (mut lanes, mut copy) = (Scratch::default(), Scratch::default());
        let mut written = 0;
        for segment in cycles {
            // Exactly: one scale without a reciprocal would make all of it be computed again.
            chunk.alternating(v, &segment, &mut lanes, &mut copy, written);
            written += segment.groups().1;
        }
    }
}

impl<O, R: Roundings> Chunk<'_, O, R> {
    /// Whether there is a fast pass that is exact for the codes.
    #[inline(always)]
    fn is_fast<V: Vectors, const N: usize>(&self) -> bool
    where
        O: Backward<N>,
    {
        let exists = const { V::HAS_FAST_DIVISION && O::HAS_FAST && R::NEAREST };
        exists && self.params.bounds().fit_fast_path()
    }

    /// Computes a run of elements of one group, and its sums.
    #[inline(always)]
    fn run_of<V: Vectors, B: Backward<N>, const N: usize>(
        &mut self,
        v: V,
        op: B,
        params: &VecParams<V>,
        start: usize,
        end: usize,
    ) -> [f64; N] {
        let params = (params, op.limits(v, params));
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
            let (kept, more) = op.vector(v, (params, limits), round, x, v.load_f32(gradient), sums);
            v.store_f32(kept, &mut out[i]);
            sums = more;
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
        let (kept, sums) = op.vector(v, params, round, v.load_f32(&x), v.load_f32(&gradient), sums);
        let mut padded = [0.0; LANES];
        v.store_f32(kept, &mut padded);
        let out = &mut self.out[elements];
        out.copy_from_slice(&padded[..out.len()]);
        sums
    }

    /// Computes a segment of alternating groups, and its sums, behind as many that are `written`.
    #[inline(always)]
    fn alternating<V: Vectors, const N: usize>(
        &mut self,
        v: V,
        segment: &Segment,
        lanes: &mut Scratch,
        copy: &mut Scratch,
        written: usize,
    ) where
        O: Backward<N>,
    {
        let op = self.op;
        let Segment { start, end, place, .. } = *segment;
        let (period, repeats) = (segment.period(), segment.repeats());
        let row = params_of_cycle(self.params, segment, copy);
        let groups = Groups::of(v, self.params.bounds(), row, false);
        // Slots from the first one of the segment on, or of the whole period.
        let slots = if repeats { period + LANES } else { (end - start).next_multiple_of(LANES) };
        let lanes = &mut lanes.elements::<f64>(N * slots)[..N * slots];
        lanes.fill(0.0);
        let mut slot = if repeats { place } else { 0 };
        for at in (start..end).step_by(LANES) {
            let params = groups.neighbours(slot);
            let mut sums = [v.splat_f64(0.0); N];
            for n in 0..N {
                sums[n] = v.load_f64(lanes[n * slots + slot..].first_chunk().expect("a vector behind every slot"));
            }
            let params = (&params, op.limits(v, &params));
            sums = match end - at {
                LANES.. => self.vectors(v, op, params, at..at + LANES, sums),
                _ => self.tail(v, op, params, at..end, sums),
            };
            for n in 0..N {
                v.store_f64(sums[n], lanes[n * slots + slot..].first_chunk_mut().expect("a vector behind every slot"));
            }
            slot += LANES;
            if repeats && slot >= period {
                slot -= period;
            }
        }
        let (_, count) = segment.groups();
        let totals: &mut [[f64; N]] = self.sums.as_chunks_mut().0;
        for (i, total) in totals[written..][..count].iter_mut().enumerate() {
            for (n, total) in total.iter_mut().enumerate() {
                if segment.cycle == 1 {
                    *total = v.sum_f64(v.load_f64(lanes[n * slots..].first_chunk().expect("sixteen slots")));
                    continue;
                }
                *total = lanes[n * slots + i];
                let mut slot = i + segment.cycle;
                while slot < slots {
                    *total += lanes[n * slots + slot];
                    slot += segment.cycle;
                }
            }
        }
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
