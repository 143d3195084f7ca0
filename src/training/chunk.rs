//! The kernels: a chunk of elements, whose gradients are masked and summed in one pass.

use super::backward::Backward;
use super::segments::{Cycles, Segment};
use crate::cache::prefetch_ahead;
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
    /// The rounding of the vector whose first element is `i`.
    fn at<V: Vectors>(self, v: V, i: usize) -> impl Round<V>;
}

impl Roundings for ToNearest {
    #[inline(always)]
    fn at<V: Vectors>(self, _: V, _: usize) -> impl Round<V> {
        self
    }
}

/// A random word for every element of the chunk.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub &'a [i32]);

impl Roundings for Words<'_> {
    #[inline(always)]
    fn at<V: Vectors>(self, v: V, i: usize) -> impl Round<V> {
        ByWords::<V>(v.load_i32(&block(self.0, i)))
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
    /// Whether what is read comes from memory.
    pub prefetch: bool,
}

impl<'a, O> Chunk<'a, O, ()> {
    /// This chunk, rounded in this way.
    pub fn rounding<R: Roundings>(self, roundings: R) -> Chunk<'a, O, R> {
        let Chunk { op, params, roundings: (), first, x, gradient, out, sums, prefetch } = self;
        Chunk { op, params, roundings, first, x, gradient, out, sums, prefetch }
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
        for (i, Run { group, start, end }) in runs.enumerate() {
            let params = groups.one(group).vector((), 0);
            let mut sums = [v.splat_f64(0.0); N];
            for at in (start..end).step_by(LANES) {
                sums = chunk.vector(v, &params, at, end, sums);
            }
            let totals: &mut [[f64; N]] = chunk.sums.as_chunks_mut().0;
            for (total, lanes) in totals[i].iter_mut().zip(sums) {
                *total = v.sum_f64(lanes);
            }
        }
    }
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
            written += chunk.alternating(v, &segment, &mut lanes, &mut copy, written);
        }
    }
}

impl<O, R: Roundings> Chunk<'_, O, R> {
    /// Computes the vector of elements from `at` on, or those before `end`, and adds to the sums.
    #[inline(always)]
    fn vector<V: Vectors, const N: usize>(
        &mut self,
        v: V,
        params: &VecParams<V>,
        at: usize,
        end: usize,
        sums: [V::F64; N],
    ) -> [V::F64; N]
    where
        O: Backward<N>,
    {
        let (x, gradient, out) = (&self.x[at..end], &self.gradient[at..end], &mut self.out[at..end]);
        let round = self.roundings.at(v, at);
        if let (Some(x), Some(gradient), Some(out)) = (x.first_chunk(), gradient.first_chunk(), out.first_chunk_mut()) {
            if self.prefetch {
                prefetch_ahead(x);
                prefetch_ahead(gradient);
            }
            let (kept, sums) = self.op.vector(v, params, round, v.load_f32(x), v.load_f32(gradient), sums);
            v.store_f32(kept, out);
            return sums;
        }
        let (x, gradient, mut padded) = (block(x, 0), block(gradient, 0), [0.0; LANES]);
        let (kept, sums) = self.op.vector(v, params, round, v.load_f32(&x), v.load_f32(&gradient), sums);
        v.store_f32(kept, &mut padded);
        out.copy_from_slice(&padded[..out.len()]);
        sums
    }

    /// Computes a segment of alternating groups, and how many sums it has. The sums before are `written`.
    #[inline(always)]
    fn alternating<V: Vectors, const N: usize>(
        &mut self,
        v: V,
        segment: &Segment,
        lanes: &mut Scratch,
        copy: &mut Scratch,
        written: usize,
    ) -> usize
    where
        O: Backward<N>,
    {
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
            sums = self.vector(v, &params, at, end, sums);
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
                let mut slots = lanes[n * slots..][..slots].iter().skip(i).step_by(segment.cycle);
                let first = slots.next().copied().unwrap_or(0.0);
                *total = slots.fold(first, |sum, slot| sum + slot);
            }
        }
        count
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
