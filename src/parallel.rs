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

use crate::codes::Code;
use crate::error::Error;
use crate::exec::team::Team;
use crate::exec::{CachePadded, PIECE as PIECE_TIME, Role};
use crate::matmul::{BlockActivations, BlocksJob, Job, PackedBlocks, Rhs, Stage};
use crate::matrix::{Matrix, MatrixMut, ZeroPoints};

/// The elements of a piece of a tensor.
pub const PIECE: usize = 16 << 10;

/// No core reads, writes or quantizes more numbers.
const READ: usize = 32;

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
