//! The operands of an elementwise operation, and how they are divided: into rows, and into runs of elements.
//!
//! A divided operand is a value of its own, so that tasks on different threads hold disjoint slices.

use super::kernels::Piece;
use super::ops::{Operation, ToNearest};
use crate::codes::{Codes, CodesMut, Erase};
use crate::error::{Error, check_length, elements_of};
use crate::isa::Isa;
use crate::params::Params;
use crate::random::stream::{CHUNK, Stream};
use crate::rounding::Rounding;
use crate::sign::Sign;
use crate::views::{Packed, PackedMut, Packing, View, ViewMut};

/// The most codes that a byte has: pieces of packed codes are multiples of them.
pub(crate) const MOST_IN_A_BYTE: usize = 4;

/// Where operands are divided.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// Behind this number of elements of a single row; a multiple of [`MOST_IN_A_BYTE`] where an operand is packed.
    Element(usize),
    /// Behind this number of rows.
    Row(usize),
}

impl At {
    /// The elements of memory before the cut, of an operand whose rows are `stride` elements apart.
    fn offset(self, stride: usize, length: usize) -> usize {
        match self {
            At::Element(elements) => elements,
            // The last row may end before its stride does.
            At::Row(rows) => rows.saturating_mul(stride).min(length),
        }
    }
}

/// An operand that can be divided.
pub(crate) trait Divide: Sized {
    /// The elements before the cut, and the others.
    fn divide(self, at: At) -> (Self, Self);
}

impl<T: Divide> Divide for Option<T> {
    fn divide(self, at: At) -> (Self, Self) {
        self.map_or((None, None), |operand| {
            let (before, rest) = operand.divide(at);
            (Some(before), Some(rest))
        })
    }
}

/// The operands of an elementwise operation.
pub(crate) trait Operands: Divide + Send {
    /// How codes are packed, if they are.
    fn packed(&self) -> Option<Packing> {
        None
    }

    /// Whether reals have 16 bits.
    fn halves(&self) -> bool;

    /// Computes `columns` elements that lie together, some reals of which have 16 bits: few, so that the level-1 cache holds
    /// them as f32.
    fn run_halves<R: RoundingMode>(self, context: Context<'_, R>, first: usize, columns: usize);

    /// Whether a row of `columns` elements is more than the caches hold, and is read and written once.
    fn streams(&self, columns: usize) -> bool;

    /// Computes `columns` elements that lie together, from element `first` of the tensor on.
    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize);

    /// Computes rows with gaps whose codes are packed without: all codes go through a workspace, since a row may begin in the
    /// middle of a byte.
    fn run_packed<R: RoundingMode>(self, _context: Context<'_, R>, _first: usize, _shape: Shape) {
        unreachable!("only codes are packed");
    }
}

/// How a job rounds. A type, not a value: so a program that always rounds to nearest has no other kernels in it.
pub(crate) trait RoundingMode: Copy + Send + Sync {
    /// As a value.
    fn rounding(self) -> Rounding;
    /// Computes all elements of a piece.
    fn run<O: Operation>(self, isa: Isa, piece: &mut Piece<'_, O>);
}

impl RoundingMode for ToNearest {
    #[inline(always)]
    fn rounding(self) -> Rounding {
        Rounding::Nearest
    }

    fn run<O: Operation>(self, isa: Isa, piece: &mut Piece<'_, O>) {
        piece.nearest(isa);
    }
}

impl RoundingMode for Stream {
    #[inline(always)]
    fn rounding(self) -> Rounding {
        Rounding::Stochastic(self)
    }

    fn run<O: Operation>(self, isa: Isa, piece: &mut Piece<'_, O>) {
        piece.stochastic(isa, self);
    }
}

/// Elements of a piece that goes through a buffer: both fill half of a level-1 cache at most.
const BUFFERED_PIECE: usize = 2048;

/// What all rows of a job have in common.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a, R> {
    pub isa: Isa,
    pub params: &'a Params,
    pub rounding: R,
    /// Whether the tensor is more than the caches hold.
    pub streams: bool,
}

impl<R: RoundingMode> Context<'_, R> {
    /// Computes rows one by one.
    #[inline(always)]
    pub fn run_rows<O: Operands>(self, first: usize, shape: Shape, operands: O) {
        if shape.rows == 1 {
            self.run_row(first, shape.columns, operands);
        } else {
            self.run_several(first, shape, operands);
        }
    }

    #[inline(always)]
    fn run_row<O: Operands>(self, first: usize, columns: usize, mut operands: O) {
        if operands.halves() {
            self.run_row_of_halves(first, columns, operands);
        } else {
            operands.run(self, first, columns);
        }
    }

    fn run_row_of_halves<O: Operands>(self, first: usize, columns: usize, operands: O) {
        let context = Context { streams: false, ..self };
        self.in_pieces(first, columns, operands, |piece, first, columns| piece.run_halves(context, first, columns));
    }

    /// Calls `run(piece, first, columns)` for pieces of a row that go through a buffer.
    pub fn in_pieces<D: Divide>(self, first: usize, columns: usize, row: D, mut run: impl FnMut(D, usize, usize)) {
        let (head, length) = self.buffered_pieces(first);
        // A byte of packed codes belongs to one piece.
        let (mut rest, mut at, mut count) = (row, 0, head.next_multiple_of(MOST_IN_A_BYTE));
        while columns - at > count {
            let piece;
            (piece, rest) = rest.divide(At::Element(count));
            run(piece, first + at, count);
            at += count;
            count = length;
        }
        run(rest, first + at, columns - at);
    }

    /// The elements of the first piece, and of every other one, of elements from `first` on that go through a buffer: pieces
    /// end where chunks of the stream do.
    pub fn buffered_pieces(&self, first: usize) -> (usize, usize) {
        match self.rounding.rounding() {
            Rounding::Nearest => (BUFFERED_PIECE, BUFFERED_PIECE),
            Rounding::Stochastic(stream) => (stream.at(first).rest_of_chunk(), CHUNK),
        }
    }

    fn run_several<O: Operands>(self, mut first: usize, shape: Shape, operands: O) {
        if operands.packed().is_some() {
            return operands.run_packed(self, first, shape);
        }
        let mut rest = operands;
        for _ in 0..shape.rows {
            let row;
            (row, rest) = rest.divide(At::Row(1));
            self.run_row(first, shape.columns, row);
            first += shape.columns;
        }
    }
}

/// Rows of elements that are read.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
}

/// Rows of elements that are written.
pub(crate) struct RowsMut<'a, T> {
    pub data: &'a mut [T],
    pub stride: usize,
}

impl<T> Divide for Rows<'_, T> {
    fn divide(self, at: At) -> (Self, Self) {
        let (before, rest) = self.data.split_at(at.offset(self.stride, self.data.len()));
        (Rows { data: before, ..self }, Rows { data: rest, ..self })
    }
}

impl<T> Divide for RowsMut<'_, T> {
    fn divide(self, at: At) -> (Self, Self) {
        let RowsMut { data, stride } = self;
        let offset = at.offset(stride, data.len());
        let (before, rest) = data.split_at_mut(offset);
        (RowsMut { data: before, stride }, RowsMut { data: rest, stride })
    }
}

/// Codes that are read.
#[derive(Clone, Copy)]
pub(crate) enum CodeRows<'a> {
    U8(Rows<'a, u8>),
    I8(Rows<'a, i8>),
    /// The bits of u16 or i16.
    Wide(Rows<'a, u16>, Sign),
    Packed(&'a [u8], Packing),
}

/// Codes that are written.
pub(crate) enum CodeRowsMut<'a> {
    U8(RowsMut<'a, u8>),
    I8(RowsMut<'a, i8>),
    /// The bits of u16 or i16.
    Wide(RowsMut<'a, u16>, Sign),
    Packed(&'a mut [u8], Packing),
}

/// Codes are divided by dividing whatever they are.
macro_rules! divide_codes {
    ($Codes:ident, $split_at:ident) => {
        impl Divide for $Codes<'_> {
            fn divide(self, at: At) -> (Self, Self) {
                match self {
                    $Codes::U8(rows) => {
                        let (before, rest) = rows.divide(at);
                        ($Codes::U8(before), $Codes::U8(rest))
                    }
                    $Codes::I8(rows) => {
                        let (before, rest) = rows.divide(at);
                        ($Codes::I8(before), $Codes::I8(rest))
                    }
                    $Codes::Wide(rows, sign) => {
                        let (before, rest) = rows.divide(at);
                        ($Codes::Wide(before, sign), $Codes::Wide(rest, sign))
                    }
                    $Codes::Packed(bytes, packing) => {
                        let (before, rest) = bytes.$split_at(packed_bytes(at, packing));
                        ($Codes::Packed(before, packing), $Codes::Packed(rest, packing))
                    }
                }
            }
        }
    };
}
divide_codes!(CodeRows, split_at);
divide_codes!(CodeRowsMut, split_at_mut);

impl CodeRowsMut<'_> {
    /// A mutable borrow of these rows, as rows of their own.
    pub fn reborrow(&mut self) -> CodeRowsMut<'_> {
        match self {
            CodeRowsMut::U8(RowsMut { data, stride }) => CodeRowsMut::U8(RowsMut { data, stride: *stride }),
            CodeRowsMut::I8(RowsMut { data, stride }) => CodeRowsMut::I8(RowsMut { data, stride: *stride }),
            CodeRowsMut::Wide(RowsMut { data, stride }, sign) => {
                CodeRowsMut::Wide(RowsMut { data, stride: *stride }, *sign)
            }
            CodeRowsMut::Packed(bytes, packing) => CodeRowsMut::Packed(bytes, *packing),
        }
    }
}

/// The bytes before the cut of a single row of packed codes.
fn packed_bytes(at: At, packing: Packing) -> usize {
    match at {
        At::Element(elements) => {
            debug_assert!(elements.is_multiple_of(MOST_IN_A_BYTE), "a byte belongs to one piece");
            elements / packing.width.per_byte()
        }
        At::Row(_) => unreachable!("packed codes are a single row"),
    }
}

/// How the elements of an operand lie, before operands are brought to one shape.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    rows: usize,
    columns: usize,
    /// A slice, which goes with any shape of as many elements.
    flat: bool,
    /// Nothing lies between the rows.
    dense: bool,
}

impl Extent {
    fn flat(length: usize) -> Self {
        Extent { rows: 1, columns: length, flat: true, dense: true }
    }

    /// Rows that begin `stride` elements apart.
    pub fn matrix(rows: usize, columns: usize, stride: usize) -> Self {
        Extent { rows, columns, flat: false, dense: stride == columns || rows <= 1 }
    }

    /// The number of elements.
    pub fn elements(self) -> usize {
        elements_of(&[self.rows, self.columns])
    }
}

impl<T> View<'_, T> {
    pub(crate) fn extent(&self) -> Extent {
        match self {
            View::Slice(x) => Extent::flat(x.len()),
            View::Matrix(x) => Extent::matrix(x.rows(), x.columns(), x.stride()),
            View::Packed(x) => Extent::flat(x.length),
            View::Halves(x) => Extent::flat(x.bits.len()),
        }
    }
}

impl<T> ViewMut<'_, T> {
    pub(crate) fn extent(&self) -> Extent {
        match self {
            ViewMut::Slice(x) => Extent::flat(x.len()),
            ViewMut::Matrix(x) => Extent::matrix(x.rows(), x.columns(), x.stride()),
            ViewMut::Packed(x) => Extent::flat(x.length),
            ViewMut::Halves(x) => Extent::flat(x.bits.len()),
        }
    }
}

/// The common shape of operands.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// 1 where no operand has anything between its rows.
    pub rows: usize,
    pub columns: usize,
}

/// The names of operands in errors: of all elements, of the rows and of the columns.
pub(crate) struct Names(pub &'static str, pub &'static str, pub &'static str);

pub(crate) const OUTPUT: Names = Names("the output", "the rows of the output", "the columns of the output");
pub(crate) const MASK: Names = Names("the mask", "the rows of the mask", "the columns of the mask");
pub(crate) const GRADIENT: Names = Names("the gradient", "the rows of the gradient", "the columns of the gradient");

/// The common shape of a first operand and others, or an error that names the one that does not go with it.
#[inline(always)]
pub(crate) fn common_shape<const N: usize>(x: Extent, others: [(Extent, Names); N]) -> Result<Shape, Error> {
    // Slices of one length, which most operands are, need no more than this.
    if x.flat && others.iter().all(|(other, _)| *other == x) {
        return Ok(Shape { rows: 1, columns: x.columns });
    }
    shape_of_views(x, &others)
}

fn shape_of_views(x: Extent, others: &[(Extent, Names)]) -> Result<Shape, Error> {
    // Slices take any shape of as many elements; matrices have to agree with the first of them.
    let mut matrix = (!x.flat).then_some(x);
    let mut dense = x.dense;
    for (other, Names(all, rows, columns)) in others {
        match matrix {
            Some(first) if !other.flat => {
                check_length(rows, first.rows, other.rows)?;
                check_length(columns, first.columns, other.columns)?;
            }
            _ => check_length(all, x.elements(), other.elements())?,
        }
        matrix = matrix.or((!other.flat).then_some(*other));
        dense &= other.dense;
    }
    match matrix {
        Some(Extent { rows, columns, .. }) if !dense => Ok(Shape { rows, columns }),
        _ => Ok(Shape { rows: 1, columns: x.elements() }),
    }
}

impl Shape {
    /// The operand's rows in this shape.
    pub fn rows<'a, T>(self, view: View<'a, T>) -> Rows<'a, T> {
        match view {
            View::Slice(data) => Rows { data, stride: self.columns },
            View::Matrix(matrix) => {
                let stride = if self.rows == 1 { self.columns } else { matrix.stride() };
                Rows { data: matrix.into_slice(), stride }
            }
            View::Packed(_) | View::Halves(_) => unreachable!("whole elements"),
        }
    }

    /// The operand's rows in this shape, to be written.
    pub fn rows_mut<'a, T>(self, view: ViewMut<'a, T>) -> RowsMut<'a, T> {
        match view {
            ViewMut::Slice(data) => RowsMut { data, stride: self.columns },
            ViewMut::Matrix(matrix) => {
                let stride = if self.rows == 1 { self.columns } else { matrix.stride() };
                RowsMut { data: matrix.into_slice(), stride }
            }
            ViewMut::Packed(_) | ViewMut::Halves(_) => unreachable!("whole elements"),
        }
    }

    /// The codes' rows in this shape.
    pub fn codes<'a, C: Erase>(self, view: View<'a, C>) -> CodeRows<'a> {
        if let View::Packed(Packed { bytes, packing, .. }) = view {
            return CodeRows::Packed(bytes, packing);
        }
        let Rows { data, stride } = self.rows(view);
        match C::erase(data) {
            Codes::U8(data) => CodeRows::U8(Rows { data, stride }),
            Codes::I8(data) => CodeRows::I8(Rows { data, stride }),
            Codes::Wide(data, sign) => CodeRows::Wide(Rows { data, stride }, sign),
        }
    }

    /// The codes' rows in this shape, to be written.
    pub fn codes_mut<'a, C: Erase>(self, view: ViewMut<'a, C>) -> CodeRowsMut<'a> {
        if let ViewMut::Packed(PackedMut { bytes, packing, .. }) = view {
            return CodeRowsMut::Packed(bytes, packing);
        }
        let RowsMut { data, stride } = self.rows_mut(view);
        match C::erase_mut(data) {
            CodesMut::U8(data) => CodeRowsMut::U8(RowsMut { data, stride }),
            CodesMut::I8(data) => CodeRowsMut::I8(RowsMut { data, stride }),
            CodesMut::Wide(data, sign) => CodeRowsMut::Wide(RowsMut { data, stride }, sign),
        }
    }
}
