//! The operations on many threads: the caller's current rayon pool, and the same bytes for any number of threads.
//!
//! Tensors are divided into pieces of [`PIECE`] elements, matrices into blocks of whole tiles. The calling thread begins at
//! once, and threads of the pool take pieces of what is left when they come: outside of a pool, those of the global one.
//! Work that is too small to gain by that runs on the calling thread alone. What is worth a thread that has to be woken is
//! ten times what is worth one that helped less than 50 µs ago, and waits for so long whether there is more to do, or the
//! pool has something else for it. A call allocates a job for every thread that it wakes, and nothing for others.
//!
//! An engine with a pool of its own needs none of this: it may call the serial operations on rows of A, images of a batch,
//! or slices of a tensor with one scale, and gets the same bytes as well, if it moves a [`Stream`] on to the first element
//! of the slice, or to the first row times the columns of the result.

mod cells;

use std::sync::Mutex;

use crate::calibrate::{self, ChunkDeviations, ChunkMoments, Count, Observer, Threads};
use crate::codes::Code;
use crate::error::Error;
use crate::exec::team::Team;
use crate::exec::{CachePadded, PIECE as PIECE_TIME, Role};
use crate::isa::Isa;
use crate::matmul::{BlockActivations, BlocksJob, Job, PackedBlocks, Rhs, Stage};
use crate::matrix::{Matrix, MatrixMut, ZeroPoints};
use crate::params::{QuantParams, Range};
use crate::random::{CHUNK, Fill, Stream, Word};
use crate::reduce::Extremes;
use crate::report::{self, Codes, ErrorReport, Given, Reconstruction, Sums, chunks, report};

/// The elements of a piece of a tensor.
pub const PIECE: usize = 16 << 10;

/// No core makes more random words a nanosecond, or squares more differences.
const DIVIDED: usize = 16;

/// No core reads, writes or quantizes more numbers.
const READ: usize = 32;

/// No core counts more of them.
const COUNTED: usize = 4;

/// For what takes so many nanoseconds at least.
fn gather(nanoseconds: usize) -> Team {
    Team::gather(nanoseconds, PIECE_TIME)
}

/// Runs the pieces of some work on several threads: from both ends, since what lies together is best kept in one cache.
fn share<K: Send>(crew: &Team, pieces: impl DoubleEndedIterator<Item = K> + Send, run: impl Fn(K) + Sync) {
    let pieces = CachePadded(Mutex::new(pieces));
    let next = |who| {
        let mut pieces = pieces.0.lock().expect("slices are divided without panic");
        if who == Role::Caller { pieces.next() } else { pieces.next_back() }
    };
    crew.share(&|who| {
        while let Some(piece) = next(who) {
            run(piece);
        }
    });
}

/// [`fill_words`](crate::fill_words()).
///
/// # Errors
/// The same.
pub fn fill_words(isa: Isa, stream: Stream, out: &mut [u32]) -> Result<(), Error> {
    fill(isa, stream, out)
}

/// [`fill_uniform`](crate::fill_uniform()).
///
/// # Errors
/// The same.
pub fn fill_uniform(isa: Isa, stream: Stream, out: &mut [f32]) -> Result<(), Error> {
    fill(isa, stream, out)
}

fn fill<W: Word>(isa: Isa, stream: Stream, out: &mut [W]) -> Result<(), Error> {
    stream.check(out.len())?;
    let crew = gather(out.len() / DIVIDED);
    if crew.alone() {
        isa.run(Fill { stream, out });
        return Ok(());
    }
    let (head, rest) = out.split_at_mut(stream.rest_of_chunk());
    let behind = stream.offset.wrapping_add(head.len() as u64);
    let chunks = rest.chunks_mut(CHUNK).enumerate().map(|(i, out)| {
        let offset = behind.wrapping_add((i * CHUNK) as u64);
        Fill { stream: Stream { offset, ..stream }, out }
    });
    share(&crew, core::iter::once(Fill { stream, out: head }).chain(chunks), |piece| isa.run(piece));
    Ok(())
}

/// [`min_max`](crate::min_max()).
///
/// # Errors
/// The same.
pub fn min_max(isa: Isa, x: &[f32]) -> Result<Range, Error> {
    let crew = gather(x.len() / READ);
    if crew.alone() {
        return crate::min_max(isa, x);
    }
    let all = Mutex::new(Extremes::NONE);
    share(&crew, x.chunks(PIECE), |piece| {
        let extremes = Extremes::of(isa, piece);
        let mut all = all.lock().expect("numbers are compared without panic");
        *all = all.merge(extremes);
    });
    let all = all.into_inner().expect("as above");
    all.range(x)
}

/// [`quantization_error`](crate::quantization_error()).
///
/// # Errors
/// The same.
pub fn quantization_error<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>) -> Result<ErrorReport, Error> {
    report_chunks(isa, x.len() / DIVIDED, x, Codes::new(x, params.inner())?)
}

/// [`reconstruction_error`](crate::reconstruction_error()).
///
/// # Errors
/// The same.
pub fn reconstruction_error(isa: Isa, x: &[f32], reconstruction: &[f32]) -> Result<ErrorReport, Error> {
    report_chunks(isa, x.len() / DIVIDED, x, Given::new(x, reconstruction)?)
}

/// The sums of chunks are made in any order, and added in theirs.
fn report_chunks(isa: Isa, nanoseconds: usize, x: &[f32], how: impl Reconstruction) -> Result<ErrorReport, Error> {
    let crew = gather(nanoseconds);
    if crew.alone() {
        return report(x, chunks(x, how).map(|chunk| isa.run(chunk)));
    }
    let mut sums = vec![Sums::NONE; x.len().div_ceil(report::CHUNK)];
    share(&crew, chunks(x, how).zip(&mut sums), |(chunk, sums)| *sums = isa.run(chunk));
    report(x, sums.into_iter())
}

/// [`matmul_blocks`](crate::matmul_blocks()).
///
/// # Errors
/// The same.
pub fn matmul_blocks<A: Code>(
    a: &BlockActivations<'_, A>,
    weights: &PackedBlocks<A>,
    mut out: MatrixMut<'_, f32>,
) -> Result<(), Error> {
    /// No core multiplies more codes a nanosecond.
    const MULTIPLIED: usize = 512;
    /// Columns are divided in so many pieces.
    const PIECES: usize = 16;
    let rows = out.rows();
    let job = BlocksJob::new(a, weights, &mut out)?;
    let products = rows.saturating_mul(weights.outputs()).saturating_mul(weights.depth());
    // What few rows multiply has to be read.
    let read = weights.outputs() * weights.depth() / READ / 4;
    let crew = gather((products / MULTIPLIED).max(read));
    let panels = job.panels();
    if crew.alone() {
        job.run(0..panels);
    } else {
        let piece = |i: usize| i * panels / PIECES..(i + 1) * panels / PIECES;
        share(&crew, (0..PIECES).map(piece), |panels| job.run(panels));
    }
    Ok(())
}

/// [`matmul`](crate::matmul()).
///
/// ```
/// use zeropoint::{Accumulators, Isa, Matrix, MatrixMut, PackedMatrix, parallel};
/// let (a, b) = ([1_u8, 2, 3, 4], [5_i8, 6, 7, 8]);
/// let packed = PackedMatrix::pack(Isa::best()?, Matrix::new(&b, 2, 2)?, 0.into())?;
/// let mut c = [0; 4];
/// parallel::matmul(Matrix::new(&a, 2, 2)?, 0.into(), &packed, &Accumulators, MatrixMut::new(&mut c, 2, 2)?)?;
/// assert_eq!(c, [19, 22, 43, 50]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// The same.
pub fn matmul<A: Code, S: Stage>(
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    b: &impl Rhs<A>,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    cells::run(a.rows(), &Job::whole(&a, a_zero_points, b.erase(), stage, &mut out)?);
    Ok(())
}

/// [`Observer::observe`]: histograms, sums, and the range of a whole tensor are made on many threads.
///
/// # Errors
/// The same.
pub fn observe(observer: &mut impl Observer, batch: &[f32]) -> Result<(), Error> {
    observer.observe_on(Threads::Pool, batch)
}

/// Adds counts to those of a histogram.
pub(crate) fn count(isa: Isa, count: Count<'_>, counts: &mut [u64]) {
    let crew = gather(count.elements() / COUNTED);
    if crew.alone() {
        return isa.run(count.into(counts));
    }
    let all = Mutex::new(counts);
    share(&crew, count.pieces(), |piece| {
        let some = piece.counts(isa);
        let mut all = all.lock().expect("integers are added without panic");
        all.iter_mut().zip(some).for_each(|(sum, count)| *sum += count);
    });
}

/// Sums of every chunk.
pub(crate) fn chunk_moments(isa: Isa, x: &[f32]) -> Vec<calibrate::Sums> {
    of_chunks(x, |x| isa.run(ChunkMoments { x }))
}

/// Deviations of every chunk.
pub(crate) fn chunk_deviations(isa: Isa, x: &[f32], centre: f64) -> Vec<f64> {
    of_chunks(x, |x| isa.run(ChunkDeviations { x, centre }))
}

/// What `run` gives for each chunk of a piece of some.
fn of_chunks<T: Copy + Default + Send>(x: &[f32], run: impl Fn(&[f32]) -> Vec<T> + Sync) -> Vec<T> {
    let mut out = vec![T::default(); x.len().div_ceil(calibrate::CHUNK)];
    let crew = gather(x.len() / DIVIDED);
    let pieces = x.chunks(PIECE).zip(out.chunks_mut(PIECE / calibrate::CHUNK));
    share(&crew, pieces, |(x, out)| out.copy_from_slice(&run(x)));
    out
}
