//! A backward pass from checked operands to sums: chunk after chunk, or several chunks at a time on the threads of `Exec`.

use core::array;

use super::backward::Backward;
use super::chunk::{Chunk, Words};
use super::operands::{Input, Output, OutputChunk};
use super::segments::{CHUNK, Segments, most_sums, segments};
use crate::error::{Error, elements_of};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::memory::Scratch;
use crate::params::Params;
use crate::quantize::operands::Shape;
use crate::quantize::ops::ToNearest;
use crate::random::fill::WordSource;
use crate::simd::LANES;

/// Elements that a core computes in a nanosecond at most: an upper bound, so that work is shared only if every core gains by it.
const RATE: usize = 8;

/// The most chunks that threads share before the sums of these are added to the totals. With more of them threads wait less often
/// for each other at the end of a share.
const SHARED_CHUNKS: usize = 64;

/// The most f64 that the sums of shared chunks take: 4 MiB. (Two chunks are shared in any case.)
const SHARED_SUMS: usize = 512 << 10;

/// How a pass rounds.
pub(super) trait Rounds: Copy + Send + Sync {
    /// Computes a chunk.
    fn run<O: Backward<N>, const N: usize>(self, isa: Isa, chunk: Chunk<'_, O, ()>);
}

impl Rounds for ToNearest {
    fn run<O: Backward<N>, const N: usize>(self, isa: Isa, chunk: Chunk<'_, O, ()>) {
        chunk.rounding(self).run(isa);
    }
}

impl Rounds for WordSource {
    /// Computes a chunk, after the random words of all its elements.
    fn run<O: Backward<N>, const N: usize>(self, isa: Isa, chunk: Chunk<'_, O, ()>) {
        let mut workspace = Scratch::default();
        let words = workspace.elements(chunk.x.len() + LANES);
        self.fill(isa, self.stream.at(chunk.first).offset, &mut words[..chunk.x.len()]);
        chunk.rounding(Words(words)).run(isa);
    }
}

/// A checked backward pass.
pub(super) struct Job<'a, O, R> {
    pub params: &'a Params,
    pub op: O,
    pub rounding: R,
    pub shape: Shape,
    pub x: Input<'a>,
    /// In place if there is none.
    pub gradient: Option<Input<'a>>,
    pub out: Output<'a>,
}

impl<O, R: Rounds> Job<'_, O, R> {
    /// Computes all elements, and calls `sums(group, [sum; N])` for every group.
    ///
    /// # Errors
    /// When the parameters do not go with the elements. Then nothing is computed.
    pub fn run<const N: usize>(self, exec: Exec<'_>, mut sums: impl FnMut(usize, [f64; N])) -> Result<(), Error>
    where
        O: Backward<N>,
    {
        let elements = elements_of(&[self.shape.rows, self.shape.columns]);
        self.params.check_elements(elements)?;
        let groups = self.params.scales().len();
        let mut workspace = Scratch::default();
        let totals: &mut [[f64; N]] = workspace.elements::<f64>(groups * N).as_chunks_mut().0;
        totals.fill([0.0; N]);
        // (Groupings divide by lengths, and rows without elements may be of any number.)
        if elements > 0 {
            self.add(exec, elements, totals);
        }
        totals.iter().enumerate().for_each(|(group, total)| sums(group, *total));
        Ok(())
    }

    fn add<const N: usize>(self, exec: Exec<'_>, elements: usize, totals: &mut [[f64; N]])
    where
        O: Backward<N>,
    {
        let Job { params, op, rounding, x, gradient, mut out, .. } = self;
        let (isa, team) = (exec.isa(), exec.team(elements / RATE));
        // (No non-temporal stores: chunks begin anywhere in a cache line, and a copy on the way costs more than they save. No
        // prefetching: with three tensors at a time, a Zen 4 is a fifth slower by it.)
        let pass = Pass { isa, params, op, rounding, x, gradient };
        let grouping = params.grouping();
        // Where every group is one segment, its sum is the total.
        let even = grouping.even_length(elements).filter(|&length| CHUNK.is_multiple_of(length));
        let of_chunk = N * even.map_or_else(|| most_sums(grouping), |length| CHUNK / length);
        let together = if team.alone() { 1 } else { (SHARED_SUMS / of_chunk).clamp(2, SHARED_CHUNKS) };
        let mut workspace = Scratch::default();
        let own = workspace.elements::<f64>(if even.is_some() { 0 } else { together * of_chunk });
        for first in (0..elements).step_by(together * CHUNK) {
            let firsts = (first..elements).step_by(CHUNK).take(together);
            let count = |first: usize| CHUNK.min(elements - first);
            let sums = match even {
                Some(length) => totals[first / length..].as_flattened_mut(),
                None => &mut *own,
            };
            if team.alone() {
                let chunk;
                (chunk, out) = out.split(count(first));
                pass.run(chunk, first, count(first), sums);
            } else {
                let mut chunks = [const { None }; SHARED_CHUNKS];
                for (place, (first, sums)) in chunks.iter_mut().zip(firsts.clone().zip(sums.chunks_mut(of_chunk))) {
                    let chunk;
                    (chunk, out) = out.split(count(first));
                    *place = Some((chunk, first, sums));
                }
                let chunks = chunks.iter_mut().filter_map(Option::take);
                team.share(chunks, |(chunk, first, sums)| pass.run(chunk, first, count(first), sums));
            }
            if even.is_none() {
                for (first, sums) in firsts.zip(own.chunks(of_chunk)) {
                    add_sums(segments(grouping, first, count(first)), sums.as_chunks().0, totals);
                }
            }
        }
    }
}

/// Adds the sums of the segments of a chunk to those of the tensor.
fn add_sums<const N: usize>(segments: Segments, mut sums: &[[f64; N]], totals: &mut [[f64; N]]) {
    let add = |total: &mut [f64; N], sum: &[f64; N]| *total = array::from_fn(|n| total[n] + sum[n]);
    match segments {
        Segments::Runs(runs) => runs.zip(sums).for_each(|(run, sum)| add(&mut totals[run.group], sum)),
        Segments::Cycles(cycles) => {
            for segment in cycles {
                let (group, groups) = segment.groups();
                let of_segment;
                (of_segment, sums) = sums.split_at(groups);
                totals[group..][..groups].iter_mut().zip(of_segment).for_each(|(total, sum)| add(total, sum));
            }
        }
    }
}

/// What all chunks of a job have in common.
struct Pass<'a, O, R> {
    isa: Isa,
    params: &'a Params,
    op: O,
    rounding: R,
    x: Input<'a>,
    gradient: Option<Input<'a>>,
}

impl<O, R: Rounds> Pass<'_, O, R> {
    fn run<const N: usize>(&self, out: OutputChunk<'_>, first: usize, count: usize, sums: &mut [f64])
    where
        O: Backward<N>,
    {
        let Pass { isa, params, op, rounding, x, gradient } = *self;
        let (mut of_x, mut of_gradient) = (Scratch::default(), Scratch::default());
        let x = x.read(isa, first, count, &mut of_x);
        let gradient = match gradient {
            Some(gradient) => gradient.read(isa, first, count, &mut of_gradient),
            None => out.read(isa, &mut of_gradient),
        };
        out.write(isa, |out| {
            rounding.run(isa, Chunk { op, params, roundings: (), first, x, gradient, out, sums });
        });
    }
}
