//! Elementwise operations from checked operands to kernels: one division into rows and pieces, for all of them.
//!
//! ```text
//! Job::run            pieces of one row each, on the threads of `Exec`
//!   Job::run_row        by operation and type of codes:
//!     Piece             a kernel, chosen by granularity and rounding
//! ```
//!
//! Kernels read and write different memory, since the fast path may compute elements twice. So an operation in place copies a
//! piece to workspace memory and writes back from there; and packed codes come and go through a workspace, too.

use core::cell::Cell;
use core::marker::PhantomData;

use super::kernels::{Piece, past_caches};
use super::operands::{At, CodeRows, CodeRowsMut, Divide, Rows, RowsMut, Shape};
use super::ops::{self, CodeVectors, Operation};
use super::packed;
use crate::codes::CodeBounds;
use crate::error::{Error, elements_of};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::memory::Workspace;
use crate::params::Params;
use crate::random::stream::CHUNK;
use crate::rounding::Rounding;
use crate::sign::Sign;

/// Elements of a piece for one thread: a chunk of the random stream, since entering a chunk in its middle costs steps.
const THREAD_PIECE: usize = CHUNK;

/// Elements of a piece in place: with its copy, it fills half of a level-1 cache at most.
const IN_PLACE_PIECE: usize = 2048;

/// Codes between their packed form and a kernel: even, and at home in the level-1 cache.
const NIBBLE_PIECE: usize = 4096;

/// Elements that no core quantizes in less than a nanosecond, to nearest.
const NEAREST_RATE: usize = 32;

/// Elements that no core quantizes in less than a nanosecond, stochastically.
const STOCHASTIC_RATE: usize = 16;

/// The operands of an elementwise operation.
pub(crate) enum Operands<'a> {
    Quantize {
        x: Rows<'a, f32>,
        codes: CodeRowsMut<'a>,
    },
    Dequantize {
        codes: CodeRows<'a>,
        out: RowsMut<'a, f32>,
    },
    /// Without `x`, in place.
    FakeQuantize {
        x: Option<Rows<'a, f32>>,
        out: RowsMut<'a, f32>,
        mask: Option<RowsMut<'a, u8>>,
    },
    /// Without `gradient`, in place.
    StraightThrough {
        x: Rows<'a, f32>,
        gradient: Option<Rows<'a, f32>>,
        out: RowsMut<'a, f32>,
    },
}

impl Divide for Operands<'_> {
    fn divide(self, at: At) -> (Self, Self) {
        match self {
            Operands::Quantize { x, codes } => {
                let ((x, rest_x), (codes, rest_codes)) = (x.divide(at), codes.divide(at));
                (Operands::Quantize { x, codes }, Operands::Quantize { x: rest_x, codes: rest_codes })
            }
            Operands::Dequantize { codes, out } => {
                let ((codes, rest_codes), (out, rest_out)) = (codes.divide(at), out.divide(at));
                (Operands::Dequantize { codes, out }, Operands::Dequantize { codes: rest_codes, out: rest_out })
            }
            Operands::FakeQuantize { x, out, mask } => {
                let ((x, rest_x), (out, rest_out), (mask, rest_mask)) = (x.divide(at), out.divide(at), mask.divide(at));
                let rest = Operands::FakeQuantize { x: rest_x, out: rest_out, mask: rest_mask };
                (Operands::FakeQuantize { x, out, mask }, rest)
            }
            Operands::StraightThrough { x, gradient, out } => {
                let ((x, rest_x), (out, rest_out)) = (x.divide(at), out.divide(at));
                let (gradient, rest_gradient) = gradient.divide(at);
                let rest = Operands::StraightThrough { x: rest_x, gradient: rest_gradient, out: rest_out };
                (Operands::StraightThrough { x, gradient, out }, rest)
            }
        }
    }
}

impl Operands<'_> {
    /// The packed codes among the operands, as a type of codes.
    fn packed(&self) -> Option<Sign> {
        match *self {
            Operands::Quantize { codes: CodeRowsMut::Nibbles(_, sign), .. }
            | Operands::Dequantize { codes: CodeRows::Nibbles(_, sign), .. } => Some(sign),
            _ => None,
        }
    }
}

/// A checked elementwise operation.
pub(crate) struct Job<'a> {
    pub params: &'a Params,
    pub rounding: Rounding,
    pub shape: Shape,
    pub operands: Operands<'a>,
}

/// Some rows of a job, or a part of its only row.
struct Part<'a> {
    /// The index in the tensor of the first element.
    first: usize,
    shape: Shape,
    /// Whether the job has several rows, so that its parts are whole rows.
    by_rows: bool,
    operands: Operands<'a>,
}

/// The parts of a job, from both ends.
struct Parts<'a> {
    rest: Option<Part<'a>>,
    /// The length of the first part and of all others but the last: in elements of a single row, else in rows.
    head: usize,
    length: usize,
}

impl<'a> Part<'a> {
    /// The units in which the part is divided: rows, or elements of a single row.
    fn units(&self) -> usize {
        if self.by_rows { self.shape.rows } else { self.shape.columns }
    }

    /// The first `count` units, and the rest.
    fn divide(self, count: usize) -> (Part<'a>, Part<'a>) {
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

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
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

impl DoubleEndedIterator for Parts<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let part = self.rest.take()?;
        let Some(behind_head) = part.units().checked_sub(self.head + 1) else { return Some(part) };
        let (rest, part) = part.divide(self.head + behind_head / self.length * self.length);
        self.rest = Some(rest);
        Some(part)
    }
}

impl Job<'_> {
    /// The job itself, or an error unless parameters, rounding and packed codes go with the elements.
    pub fn check(self) -> Result<Self, Error> {
        let elements = elements_of(&[self.shape.rows, self.shape.columns]);
        self.params.check_elements(elements)?;
        self.rounding.check(elements, self.params)?;
        if let Some(sign) = self.operands.packed() {
            let (CodeBounds { min, max }, nibbles) = (self.params.bounds(), packed::bounds(sign));
            for code in [min, max] {
                nibbles.check_code(code)?;
            }
        }
        Ok(self)
    }

    /// Computes all elements, on the threads of `exec` where that is faster.
    pub fn run(self, exec: Exec<'_>) {
        let Job { params, rounding, shape, operands } = self;
        let rate = if rounding == Rounding::Nearest { NEAREST_RATE } else { STOCHASTIC_RATE };
        let (isa, team) = (exec.isa(), exec.team(shape.rows * shape.columns / rate));
        let part = Part { first: 0, shape, by_rows: shape.rows > 1, operands };
        let streams = shape.rows == 1 && part.operands.streams(shape.columns);
        let run = |part: Part<'_>| part.run(isa, params, rounding, streams);
        if team.alone() {
            return run(part);
        }
        let (head, length) = match (shape.rows, rounding) {
            (1, Rounding::Stochastic(stream)) => (stream.rest_of_chunk(), THREAD_PIECE),
            (1, Rounding::Nearest) => (THREAD_PIECE, THREAD_PIECE),
            _ => {
                let rows = THREAD_PIECE.div_ceil(shape.columns.max(1));
                (rows, rows)
            }
        };
        // A byte of two codes belongs to one part.
        if part.operands.packed().is_some() && (shape.rows > 1 || !head.is_multiple_of(2)) {
            return run(part);
        }
        team.share(Parts { rest: Some(part), head, length }, run);
    }
}

impl Operands<'_> {
    /// Whether `elements` elements are more than the caches hold, and are read and written once.
    fn streams(&self, elements: usize) -> bool {
        let element_bytes = match self {
            Operands::Quantize { codes: CodeRowsMut::U8(_) | CodeRowsMut::I8(_), .. }
            | Operands::Dequantize { codes: CodeRows::U8(_) | CodeRows::I8(_), .. } => 5,
            Operands::FakeQuantize { x: Some(_), .. } | Operands::StraightThrough { gradient: Some(_), .. } => 8,
            _ => return false,
        };
        past_caches(elements.saturating_mul(element_bytes))
    }
}

impl Part<'_> {
    fn run(mut self, isa: Isa, params: &Params, rounding: Rounding, streams: bool) {
        let context = Context { isa, params, rounding, streams };
        if !self.by_rows {
            return context.run_row(self.first, self.shape.columns, self.operands);
        }
        if self.operands.packed().is_some() {
            return context.run_packed_rows(self);
        }
        while self.shape.rows > 0 {
            let (row, rest) = self.divide(1);
            context.run_row(row.first, row.shape.columns, row.operands);
            self = rest;
        }
    }
}

/// What all parts of a job have in common.
#[derive(Clone, Copy)]
struct Context<'a> {
    isa: Isa,
    params: &'a Params,
    rounding: Rounding,
    streams: bool,
}

impl Context<'_> {
    /// Computes `columns` elements that lie together, from element `first` of the tensor on.
    fn run_row(self, first: usize, columns: usize, operands: Operands<'_>) {
        match operands {
            Operands::Quantize { x, codes } => {
                let x = &x.data[..columns];
                match codes {
                    CodeRowsMut::U8(codes) => self.quantize(first, x, &mut codes.data[..columns]),
                    CodeRowsMut::I8(codes) => self.quantize(first, x, &mut codes.data[..columns]),
                    CodeRowsMut::Nibbles(bytes, Sign::Unsigned) => self.quantize_packed::<u8>(first, x, bytes),
                    CodeRowsMut::Nibbles(bytes, Sign::Signed) => self.quantize_packed::<i8>(first, x, bytes),
                }
            }
            Operands::Dequantize { codes, out } => {
                let out = &mut out.data[..columns];
                match codes {
                    CodeRows::U8(codes) => self.dequantize(first, &codes.data[..columns], out),
                    CodeRows::I8(codes) => self.dequantize(first, &codes.data[..columns], out),
                    CodeRows::Nibbles(bytes, Sign::Unsigned) => self.dequantize_packed::<u8>(first, bytes, out),
                    CodeRows::Nibbles(bytes, Sign::Signed) => self.dequantize_packed::<i8>(first, bytes, out),
                }
            }
            Operands::FakeQuantize { x: Some(x), out, mask } => {
                let mask = mask.map(|mask| &mut mask.data[..columns]);
                self.fake_quantize(first, &x.data[..columns], &mut out.data[..columns], mask);
            }
            Operands::FakeQuantize { x: None, out, mask } => {
                let mut mask = mask.map(|mask| &mut mask.data[..columns]);
                // Pieces end where chunks of the stream do.
                let (head, length) = match self.rounding {
                    Rounding::Nearest => (IN_PLACE_PIECE, IN_PLACE_PIECE),
                    Rounding::Stochastic(stream) => (stream.at(first).rest_of_chunk(), CHUNK),
                };
                in_place(&mut out.data[..columns], head, length, |at, x, out| {
                    let mask = mask.as_deref_mut().map(|mask| &mut mask[at..at + x.len()]);
                    self.fake_quantize(first + at, x, out, mask);
                });
            }
            Operands::StraightThrough { x, gradient: Some(gradient), out } => {
                self.straight_through(first, &x.data[..columns], &gradient.data[..columns], &mut out.data[..columns]);
            }
            Operands::StraightThrough { x, gradient: None, out } => {
                in_place(&mut out.data[..columns], IN_PLACE_PIECE, IN_PLACE_PIECE, |at, gradient, out| {
                    self.straight_through(first + at, &x.data[at..at + out.len()], gradient, out);
                });
            }
        }
    }

    fn piece<'a, O: Operation>(&'a self, op: O, first: usize, x: &'a [O::In], out: &'a mut [O::Out]) -> Piece<'a, O> {
        Piece { params: self.params, op, first, x, out, past_caches: self.streams }
    }

    fn quantize<C: CodeVectors>(self, first: usize, x: &[f32], codes: &mut [C]) {
        let piece = self.piece(ops::Quantize::<C>::new(self.params.bounds()), first, x, codes);
        match (self.rounding, C::SIGN) {
            (Rounding::Nearest, Sign::Unsigned) => piece.nearest::<false>(self.isa),
            (Rounding::Nearest, Sign::Signed) => piece.nearest::<true>(self.isa),
            (Rounding::Stochastic(stream), _) => piece.stochastic(self.isa, stream),
        }
    }

    fn dequantize<C: CodeVectors>(self, first: usize, codes: &[C], out: &mut [f32]) {
        self.piece(ops::Dequantize::<C>(PhantomData), first, codes, out).nearest::<false>(self.isa);
    }

    fn fake_quantize(self, first: usize, x: &[f32], out: &mut [f32], mask: Option<&mut [u8]>) {
        match (mask, self.rounding) {
            (None, Rounding::Nearest) => {
                self.piece(ops::FakeQuantize, first, x, out).nearest::<false>(self.isa);
            }
            (None, Rounding::Stochastic(stream)) => {
                self.piece(ops::FakeQuantize, first, x, out).stochastic(self.isa, stream);
            }
            (Some(mask), rounding) => {
                let op = ops::FakeQuantizeWithMask { mask: Cell::from_mut(mask).as_slice_of_cells() };
                let piece = self.piece(op, first, x, out);
                match rounding {
                    Rounding::Nearest => piece.nearest::<false>(self.isa),
                    Rounding::Stochastic(stream) => piece.stochastic(self.isa, stream),
                }
            }
        }
    }

    fn straight_through(self, first: usize, x: &[f32], gradient: &[f32], out: &mut [f32]) {
        self.piece(ops::StraightThrough { gradient }, first, x, out).nearest::<false>(self.isa);
    }

    fn quantize_packed<C: CodeVectors>(self, first: usize, x: &[f32], bytes: &mut [u8]) {
        let mut workspace = Workspace::default();
        let codes = workspace.elements::<C>(x.len().min(NIBBLE_PIECE));
        for (i, (x, bytes)) in x.chunks(NIBBLE_PIECE).zip(bytes.chunks_mut(NIBBLE_PIECE / 2)).enumerate() {
            let (codes, first) = (&mut codes[..x.len()], first + i * NIBBLE_PIECE);
            self.quantize(first, x, codes);
            packed::pack(self.isa, bytemuck::cast_slice(codes), self.pad(first + x.len() - 1), bytes);
        }
    }

    /// The byte of the zero point of element `i`, which fills the last high nibble of an odd number of codes.
    fn pad(self, i: usize) -> u8 {
        self.params.zero_points()[self.params.grouping().group_of(i)] as u8
    }

    fn dequantize_packed<C: CodeVectors>(self, first: usize, bytes: &[u8], out: &mut [f32]) {
        let mut workspace = Workspace::default();
        let codes = workspace.elements::<C>(out.len().min(NIBBLE_PIECE));
        for (i, (bytes, out)) in bytes.chunks(NIBBLE_PIECE / 2).zip(out.chunks_mut(NIBBLE_PIECE)).enumerate() {
            let codes = &mut codes[..out.len()];
            packed::unpack(self.isa, bytes, C::SIGN, bytemuck::cast_slice_mut(codes));
            self.dequantize(first + i * NIBBLE_PIECE, codes, out);
        }
    }

    /// Rows with gaps, of which codes are packed without: all codes go through a workspace, since a row may begin in the
    /// middle of a byte.
    fn run_packed_rows(self, part: Part<'_>) {
        let Part { first, shape: shape @ Shape { rows, columns }, by_rows, operands } = part;
        let mut workspace = Workspace::default();
        let bytes = workspace.elements::<u8>(rows * columns);
        match operands {
            Operands::Quantize { x, codes: CodeRowsMut::Nibbles(packed, sign) } => {
                let codes = match sign {
                    Sign::Unsigned => shape.codes_mut::<u8>(crate::views::ViewMut::Slice(bytes)),
                    Sign::Signed => {
                        shape.codes_mut::<i8>(crate::views::ViewMut::Slice(bytemuck::cast_slice_mut(bytes)))
                    }
                };
                let part = Part { first, shape, by_rows, operands: Operands::Quantize { x, codes } };
                part.run(self.isa, self.params, self.rounding, false);
                if let Some(last) = bytes.len().checked_sub(1) {
                    packed::pack(self.isa, bytes, self.pad(first + last), packed);
                }
            }
            Operands::Dequantize { codes: CodeRows::Nibbles(packed, sign), out } => {
                packed::unpack(self.isa, packed, sign, bytes);
                let codes = match sign {
                    Sign::Unsigned => shape.codes::<u8>(crate::views::View::Slice(bytes)),
                    Sign::Signed => shape.codes::<i8>(crate::views::View::Slice(bytemuck::cast_slice(bytes))),
                };
                let part = Part { first, shape, by_rows, operands: Operands::Dequantize { codes, out } };
                part.run(self.isa, self.params, self.rounding, false);
            }
            _ => unreachable!("only codes are packed"),
        }
    }
}

/// Calls `f(at, copy, piece)` for pieces of `x`, the first of `head` elements and the others of `length`.
fn in_place(x: &mut [f32], head: usize, length: usize, mut f: impl FnMut(usize, &[f32], &mut [f32])) {
    let mut workspace = Workspace::default();
    let (mut at, mut end) = (0, head.min(x.len()));
    while at < x.len() {
        let piece = &mut x[at..end];
        let copy = workspace.elements(piece.len());
        copy.copy_from_slice(piece);
        f(at, copy, piece);
        (at, end) = (end, x.len().min(end + length));
    }
}
