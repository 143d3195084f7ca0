//! An elementwise operation from checked operands to rows: one division into rows and pieces, for all operations.
//!
//! ```text
//! Job::run             whole, or in parts on the threads of `Exec`
//!   Context::run_rows    row by row, where something lies between rows
//!     Operands::run        a kernel, chosen by operation, type of codes, granularity and rounding
//! ```

use super::operands::{At, Context, Divide, MOST_IN_A_BYTE, Operands, RoundingMode, Shape};
use crate::codes::CodeBounds;
use crate::error::{Error, elements_of};
use crate::exec::{Exec, Team};
use crate::params::Params;
use crate::random::stream::CHUNK;
use crate::rounding::Rounding;

/// Elements of a piece for one thread: a chunk of the random stream, since entering a chunk in its middle costs steps.
const THREAD_PIECE: usize = CHUNK;

/// Elements that a core quantizes in a nanosecond at most, to nearest: an upper bound, so that work is shared only if every
/// core gains by it.
const NEAREST_RATE: usize = 32;

/// Elements that a core quantizes in a nanosecond at most, stochastically.
const STOCHASTIC_RATE: usize = 16;

/// A checked elementwise operation.
pub(crate) struct Job<'a, O, R> {
    pub params: &'a Params,
    pub rounding: R,
    pub shape: Shape,
    pub operands: O,
}

impl<O: Operands, R: RoundingMode> Job<'_, O, R> {
    /// Computes all elements, on the threads of `exec` where that is faster.
    ///
    /// # Errors
    /// When parameters, rounding or packed codes do not go with the elements. Then nothing is computed.
    #[inline(always)]
    pub fn run(mut self, exec: Exec<'_>) -> Result<(), Error> {
        self.check()?;
        // (Groupings divide by lengths, and rows without elements may be of any number.)
        if self.shape.rows == 0 || self.shape.columns == 0 {
            return Ok(());
        }
        let Job { params, rounding, shape, .. } = self;
        let rate = if rounding.rounding() == Rounding::Nearest { NEAREST_RATE } else { STOCHASTIC_RATE };
        let team = exec.team(shape.rows * shape.columns / rate);
        let streams = shape.rows == 1 && self.operands.streams(shape.columns);
        let context = Context { isa: exec.isa(), params, rounding, streams };
        if !team.alone() {
            share(&team, context, shape, self.operands);
        } else if shape.rows == 1 && !self.operands.halves() {
            // (Operands are not moved here: a copy of what was just stored takes as long as a kernel does for a hundred elements.)
            self.operands.run(context, 0, shape.columns);
        } else {
            context.run_rows(0, shape, self.operands);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        let elements = elements_of(&[self.shape.rows, self.shape.columns]);
        self.params.check_elements(elements)?;
        self.rounding.rounding().check(elements, self.params)?;
        if let Some(packing) = self.operands.packed() {
            let (CodeBounds { min, max }, packed) = (self.params.bounds(), packing.width.bounds(packing.sign));
            if min < packed.min || max > packed.max {
                return Err(Error::Codes { min, max, why: packing.width.why() });
            }
        }
        Ok(())
    }
}

/// Computes all elements on the threads of a team.
fn share<O: Operands, R: RoundingMode>(team: &Team<'_>, context: Context<'_, R>, shape: Shape, operands: O) {
    let by_rows = shape.rows > 1;
    let (head, length) = match context.rounding.rounding() {
        _ if by_rows => {
            let rows = THREAD_PIECE.div_ceil(shape.columns.max(1));
            (rows, rows)
        }
        Rounding::Stochastic(stream) => (stream.rest_of_chunk(), THREAD_PIECE),
        Rounding::Nearest => (THREAD_PIECE, THREAD_PIECE),
    };
    // A byte of packed codes belongs to one part.
    if operands.packed().is_some() && (by_rows || !head.is_multiple_of(MOST_IN_A_BYTE)) {
        return context.run_rows(0, shape, operands);
    }
    let rest = Some(Part { first: 0, shape, by_rows, operands });
    team.share(Parts { rest, head, length }, |part| context.run_rows(part.first, part.shape, part.operands));
}

/// Some rows of a job, or a part of its only row.
struct Part<O> {
    /// The index in the tensor of the first element.
    first: usize,
    shape: Shape,
    /// Whether the job has several rows, so that its parts are whole rows.
    by_rows: bool,
    operands: O,
}

/// The parts of a job, from both ends.
struct Parts<O> {
    rest: Option<Part<O>>,
    /// The length of the first part and of all others but the last: in elements of a single row, else in rows.
    head: usize,
    length: usize,
}

impl<O: Divide> Part<O> {
    /// The units in which the part is divided: rows, or elements of a single row.
    fn units(&self) -> usize {
        if self.by_rows { self.shape.rows } else { self.shape.columns }
    }

    /// The first `count` units, and the rest.
    fn divide(self, count: usize) -> (Self, Self) {
        let Part { first, shape: Shape { rows, columns }, by_rows, operands } = self;
        let (at, elements, shape, rest_shape) = if by_rows {
            let (shape, rest) = (Shape { rows: count, columns }, Shape { rows: rows - count, columns });
            (At::Row(count), count * columns, shape, rest)
        } else {
            let (shape, rest) = (Shape { rows, columns: count }, Shape { rows, columns: columns - count });
            (At::Element(count), count, shape, rest)
        };
        let (operands, rest) = operands.divide(at);
        (
            Part { first, shape, by_rows, operands },
            Part { first: first + elements, shape: rest_shape, by_rows, operands: rest },
        )
    }
}

impl<O: Divide> Iterator for Parts<O> {
    type Item = Part<O>;

    fn next(&mut self) -> Option<Part<O>> {
        let part = self.rest.take()?;
        let count = core::mem::replace(&mut self.head, self.length);
        if count >= part.units() {
            return Some(part);
        }
        let (part, rest) = part.divide(count);
        self.rest = Some(rest);
        Some(part)
    }
}

impl<O: Divide> DoubleEndedIterator for Parts<O> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let part = self.rest.take()?;
        let Some(behind_head) = part.units().checked_sub(self.head + 1) else { return Some(part) };
        let (rest, part) = part.divide(self.head + behind_head / self.length * self.length);
        self.rest = Some(rest);
        Some(part)
    }
}
