//! The operations on many threads: the caller's current rayon pool, and the same bytes for any number of threads.
//!
//! Tensors are divided into pieces of [`PIECE`] elements, matrices into blocks of whole tiles. Work that is too small
//! to gain runs on the calling thread. An engine with a pool of its own needs none of this: it may call the serial
//! operations on rows of A, images of a batch, or slices of a tensor with one scale, and gets the same bytes as well, if
//! it moves a [`Stream`] on to the first element of the slice, or to the first row times the columns of the result.

use crate::codes::Code;
use crate::error::Error;
use crate::isa::Isa;
use crate::matmul::{Job, RightOperand, Stage};
use crate::matrix::{Matrix, MatrixMut, ZeroPoints};
use crate::params::{QuantParams, Range};
use crate::quantize::{Dequantize, Elementwise, FakeQuantize, Groups, Nearest, Quantize};
use crate::random::{CHUNK, Fill, Stream, Word};
use crate::reduce::min_max_of_pieces;
use rayon::prelude::*;

/// The elements of a piece of a tensor.
pub const PIECE: usize = 16 << 10;

/// Fewer pieces than this are not worth a second thread.
const FEW_PIECES: usize = 4;

/// Fewer multiply-accumulates than this are not worth a second thread.
const FEW_PRODUCTS: usize = 1 << 20;

fn few(elements: usize) -> bool {
    elements < FEW_PIECES * PIECE || rayon::current_num_threads() == 1
}

fn run_pieces<C: Code, Op: Elementwise<C>>(isa: Isa, elements: usize, work: Groups<'_, C, Op, Nearest>) {
    if few(elements) { isa.run(work) } else { work.pieces(PIECE, PIECE).for_each(|piece| isa.run(piece)) }
}

/// Pieces end where chunks of the stream do: entering a chunk in its middle takes steps.
fn run_chunks<C: Code, Op: Elementwise<C>>(
    isa: Isa,
    elements: usize,
    work: Groups<'_, C, Op, Nearest>,
    stream: Stream,
) -> Result<(), Error> {
    let work = work.stochastic(stream)?;
    if few(elements) {
        isa.run(work);
    } else {
        work.pieces(stream.rest_of_chunk(), CHUNK).for_each(|piece| isa.run(piece));
    }
    Ok(())
}

/// [`quantize`](crate::quantize()).
///
/// # Errors
/// The same.
pub fn quantize<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>, codes: &mut [C]) -> Result<(), Error> {
    run_pieces(isa, x.len(), Groups::new(params, x, codes, Quantize)?);
    Ok(())
}

/// [`quantize_stochastic`](crate::quantize_stochastic()).
///
/// # Errors
/// The same.
pub fn quantize_stochastic<C: Code>(
    isa: Isa,
    x: &[f32],
    params: &QuantParams<C>,
    stream: Stream,
    codes: &mut [C],
) -> Result<(), Error> {
    run_chunks(isa, x.len(), Groups::new(params, x, codes, Quantize)?, stream)
}

/// [`dequantize`](crate::dequantize()).
///
/// # Errors
/// The same.
pub fn dequantize<C: Code>(isa: Isa, codes: &[C], params: &QuantParams<C>, out: &mut [f32]) -> Result<(), Error> {
    run_pieces(isa, codes.len(), Groups::new(params, codes, out, Dequantize)?);
    Ok(())
}

/// [`fake_quantize`](crate::fake_quantize()).
///
/// # Errors
/// The same.
pub fn fake_quantize<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>, out: &mut [f32]) -> Result<(), Error> {
    run_pieces(isa, x.len(), Groups::new(params, x, out, FakeQuantize)?);
    Ok(())
}

/// [`fake_quantize_stochastic`](crate::fake_quantize_stochastic()).
///
/// # Errors
/// The same.
pub fn fake_quantize_stochastic<C: Code>(
    isa: Isa,
    x: &[f32],
    params: &QuantParams<C>,
    stream: Stream,
    out: &mut [f32],
) -> Result<(), Error> {
    run_chunks(isa, x.len(), Groups::new(params, x, out, FakeQuantize)?, stream)
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
    if few(out.len()) {
        isa.run(Fill { stream, out });
        return Ok(());
    }
    let (head, rest) = out.split_at_mut(stream.rest_of_chunk());
    let behind = stream.offset.wrapping_add(head.len() as u64);
    let chunks = rest.par_chunks_mut(CHUNK).enumerate().map(|(i, out)| {
        let offset = behind.wrapping_add((i * CHUNK) as u64);
        Fill { stream: Stream { offset, ..stream }, out }
    });
    rayon::iter::once(Fill { stream, out: head }).chain(chunks).for_each(|piece| isa.run(piece));
    Ok(())
}

/// [`min_max`](crate::min_max()).
///
/// # Errors
/// The same.
pub fn min_max(isa: Isa, x: &[f32]) -> Result<Range, Error> {
    if x.len() < FEW_PIECES * PIECE { crate::min_max(isa, x) } else { min_max_of_pieces(isa, x, PIECE) }
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
    b: &impl RightOperand<A>,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    let job = Job::whole(&a, a_zero_points, b, stage, &mut out)?;
    let products = a.rows().saturating_mul(b.shape().columns).saturating_mul(b.shape().depth);
    let threads = if products < FEW_PRODUCTS { 1 } else { rayon::current_num_threads() };
    if threads == 1 {
        job.run(0..a.rows(), 0..job.panels());
        return Ok(());
    }
    // Rows first: a thread then packs its rows of A once. Panels when there are too few rows.
    let tiles = a.rows().div_ceil(job.tile_rows());
    let row_parts = threads.min(tiles);
    let panel_parts = threads.div_ceil(row_parts).min(job.panels());
    (0..row_parts * panel_parts).into_par_iter().for_each(|part| {
        let (row_part, panel_part) = (part / panel_parts, part % panel_parts);
        let row = |part: usize| (tiles * part / row_parts * job.tile_rows()).min(a.rows());
        let panel = |part: usize| job.panels() * part / panel_parts;
        job.run(row(row_part)..row(row_part + 1), panel(panel_part)..panel(panel_part + 1));
    });
    Ok(())
}
