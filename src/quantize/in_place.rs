//! Real numbers that are replaced by what they become.
//!
//! Kernels read and write different memory, since what is in doubt is done again. So a piece is copied to memory that stays
//! in the caches, and written back from there.

use super::rounding::{Nearest, Rounding};
use super::{Elementwise, FakeQuantize, Groups, StraightThrough};
use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::memory::Workspace;
use crate::params::QuantParams;
use crate::random::{CHUNK, Stream};

/// The elements of a piece: with their copy, they fill half of a level-1 cache at most.
const PIECE: usize = 2048;

/// [`fake_quantize`](crate::fake_quantize()) of `x` into itself.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, fake_quantize_in_place};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut x = [0.3, -1.6, 100.0];
/// fake_quantize_in_place(Isa::best()?, &mut x, &params)?;
/// assert_eq!(x, [0.5, -1.5, 3.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`fake_quantize`](crate::fake_quantize()).
pub fn fake_quantize_in_place<C: Code>(isa: Isa, x: &mut [f32], params: &QuantParams<C>) -> Result<(), Error> {
    params.check_elements(x.len())?;
    each_piece(x, PIECE, PIECE, |first, x, out| run(isa, params, FakeQuantize, Nearest, first, x, out));
    Ok(())
}

/// [`fake_quantize_stochastic`](crate::fake_quantize_stochastic()) of `x` into itself.
///
/// # Errors
/// As [`fake_quantize_stochastic`](crate::fake_quantize_stochastic()).
pub fn fake_quantize_stochastic_in_place<C: Code>(
    isa: Isa,
    x: &mut [f32],
    params: &QuantParams<C>,
    stream: Stream,
) -> Result<(), Error> {
    params.check_elements(x.len())?;
    stream.check(x.len())?;
    // Where chunks of the stream end: entering one in its middle takes steps.
    each_piece(x, stream.rest_of_chunk(), CHUNK, |first, x, out| run(isa, params, FakeQuantize, stream, first, x, out));
    Ok(())
}

/// [`straight_through`](crate::straight_through()) of a gradient into itself.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, straight_through_in_place};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// let mut gradient = [2.0, 3.0, 4.0];
/// straight_through_in_place(Isa::best()?, &[0.3, -1.6, 100.0], &mut gradient, &params)?;
/// assert_eq!(gradient, [2.0, 3.0, 0.0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`straight_through`](crate::straight_through()).
pub fn straight_through_in_place<C: Code>(
    isa: Isa,
    x: &[f32],
    gradient: &mut [f32],
    params: &QuantParams<C>,
) -> Result<(), Error> {
    params.check_elements(x.len())?;
    check_length("the gradient", x.len(), gradient.len())?;
    each_piece(gradient, PIECE, PIECE, |first, gradient, out| {
        run(isa, params, StraightThrough { gradient, first }, Nearest, first, &x[first..][..out.len()], out);
    });
    Ok(())
}

/// Calls `f(first, copy, piece)` for the pieces of `x`, the first of `first_length` elements and the others of `length`.
fn each_piece(x: &mut [f32], first_length: usize, length: usize, mut f: impl FnMut(usize, &[f32], &mut [f32])) {
    let (first_piece, more) = x.split_at_mut(first_length.min(x.len()));
    let behind = first_piece.len();
    let mut workspace = Workspace::default();
    for (i, piece) in core::iter::once(first_piece).chain(more.chunks_mut(length)).enumerate() {
        let first = if i == 0 { 0 } else { behind + (i - 1) * length };
        let copy = workspace.elements(piece.len());
        copy.copy_from_slice(piece);
        f(first, copy, piece);
    }
}

/// A piece that begins at element `first` of its tensor.
fn run<C: Code, Op: Elementwise<C, In = f32, Out = f32>>(
    isa: Isa,
    params: &QuantParams<C>,
    op: Op,
    rounding: impl Rounding,
    first: usize,
    x: &[f32],
    out: &mut [f32],
) {
    Groups { params, x, out, op, rounding, first, past_caches: false }.run(isa);
}
