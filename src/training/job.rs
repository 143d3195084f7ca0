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
use crate::params::{Grouping, Params};
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

/// As many sums as are on the stack: those of a tensor with one group, by one thread.
const FEW: usize = 2;

/// How a pass rounds.
pub(super) trait Rounds: Copy + Send + Sync {
    /// Computes a chunk.
    fn run<O: Backward<N>, const N: usize>(self, isa: Isa, chunk: Chunk<'_, O, (), N>);
}

impl Rounds for ToNearest {
    fn run<O: Backward<N>, const N: usize>(self, isa: Isa, chunk: Chunk<'_, O, (), N>) {
        chunk.rounding(self).run(isa);
    }
}

impl Rounds for WordSource {
    /// Computes a chunk, after the random words of all its elements.
    fn run<O: Backward<N>, const N: usize>(self, isa: Isa, chunk: Chunk<'_, O, (), N>) {
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
    /// Computes all elements, and calls `finish(group, sums)` with N sums of all groups from `group` on, or of some, until it had
    /// those of every group.
    ///
    /// # Errors
    /// When the parameters do not go with the elements. Then nothing is computed.
    pub fn run<const N: usize>(self, exec: Exec<'_>, mut finish: impl FnMut(usize, [&[f64]; N])) -> Result<(), Error>
    where
        O: Backward<N>,
    {
        let elements = elements_of(&[self.shape.rows, self.shape.columns]);
        self.params.check_elements(elements)?;
        let (groups, grouping) = (self.params.scales().len(), self.params.grouping());
        // (Groupings divide by lengths, and rows without elements may be of any number.)
        let direct = if elements > 0 { groups_of_chunk(grouping, elements, groups) } else { None };
        let (mut workspace, mut few) = (Scratch::default(), [0.0; FEW]);
        let totals = workspace.elements_or(&mut few, if direct.is_some() { 0 } else { N * groups });
        totals.fill(0.0);
        if elements > 0 {
            let of_chunk = direct.unwrap_or_else(|| most_sums(grouping));
            self.chunks(exec, elements, of_chunk, |first, sums| {
                if direct.is_some() {
                    let group = first / CHUNK * of_chunk;
                    return finish(group, sums.map(|sums| &sums[..of_chunk.min(groups - group)]));
                }
                for (sums, totals) in sums.into_iter().zip(totals.chunks_exact_mut(groups)) {
                    add_sums(segments(grouping, first, CHUNK.min(elements - first)), sums, totals);
                }
            });
        }
        if direct.is_none() {
            finish(0, planes(totals, groups).map(|totals| &*totals));
        }
        Ok(())
    }

    /// Computes all chunks, and calls `take(first, sums)` with the index of the first element of every chunk, in order, and with its
    /// sums, `of_chunk` or fewer.
    fn chunks<const N: usize>(
        self,
        exec: Exec<'_>,
        elements: usize,
        of_chunk: usize,
        mut take: impl FnMut(usize, [&[f64]; N]),
    ) where
        O: Backward<N>,
    {
        let Job { params, op, rounding, x, gradient, out, .. } = self;
        let (isa, team) = (exec.isa(), exec.team(elements / RATE));
        // (No non-temporal stores: chunks begin anywhere in a cache line, and a copy on the way costs more than they save. No
        // prefetching: with three tensors at a time, a Zen 4 is a fifth slower by it.)
        let pass = Pass { isa, params, op, rounding, x, gradient };
        let together = if team.alone() { 1 } else { (SHARED_SUMS / (N * of_chunk)).clamp(2, SHARED_CHUNKS) };
        let (mut workspace, mut few) = (Scratch::default(), [0.0; FEW]);
        let all_sums = workspace.elements_or(&mut few, together * N * of_chunk);
        let mut out = Some(out);
        for first in (0..elements).step_by(together * CHUNK) {
            let firsts = (first..elements).step_by(CHUNK).take(together);
            let count = |first: usize| CHUNK.min(elements - first);
            let mut parts = firsts.clone().zip(all_sums.chunks_exact_mut(N * of_chunk)).map(|(first, sums)| {
                let (chunk, rest) = out.take().expect("the rest of the output").split(count(first));
                out = Some(rest);
                (chunk, first, planes(sums, of_chunk))
            });
            let run = |(chunk, first, sums)| pass.run(chunk, first, count(first), sums);
            if team.alone() {
                parts.for_each(run);
            } else {
                let mut chunks: [_; SHARED_CHUNKS] = array::from_fn(|_| parts.next());
                team.share(chunks.iter_mut().filter_map(Option::take), run);
            }
            for (first, sums) in firsts.zip(all_sums.chunks_exact(N * of_chunk)) {
                take(first, array::from_fn(|n| &sums[n * of_chunk..][..of_chunk]));
            }
        }
    }
}

/// The groups of a chunk, if every group is one segment, in order: then the sums of segments are those of the tensor.
fn groups_of_chunk(grouping: Grouping, elements: usize, groups: usize) -> Option<usize> {
    // A chunk that is all of a tensor has one cycle of interleaved channels, or one a band.
    let all_in_one = grouping.alternates() && elements <= CHUNK;
    let even = grouping.even_length(elements).filter(|&length| CHUNK.is_multiple_of(length));
    if all_in_one { Some(groups) } else { even.map(|length| CHUNK / length) }
}

/// N arrays of this length that lie together.
fn planes<const N: usize>(memory: &mut [f64], length: usize) -> [&mut [f64]; N] {
    let mut rest = memory;
    array::from_fn(|_| rest.split_off_mut(..length).expect("N arrays"))
}

/// Adds the sums of the segments of a chunk to those of the tensor.
fn add_sums(segments: Segments, mut sums: &[f64], totals: &mut [f64]) {
    match segments {
        Segments::Runs(runs) => runs.zip(sums).for_each(|(run, sum)| totals[run.group] += sum),
        Segments::Cycles(cycles) => {
            for segment in cycles {
                let (group, groups) = segment.groups();
                let of_segment;
                (of_segment, sums) = sums.split_at(groups);
                totals[group..][..groups].iter_mut().zip(of_segment).for_each(|(total, sum)| *total += sum);
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
    fn run<const N: usize>(&self, out: OutputChunk<'_>, first: usize, count: usize, sums: [&mut [f64]; N])
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
