//! Chunks of operands: slices of f32 where elements lie together, else copies of them in a workspace.

use crate::half::{HalfKind, Halves, HalvesMut, narrow_piece, widen_piece};
use crate::isa::Isa;
use crate::memory::Scratch;
use crate::quantize::operands::{Rows, RowsMut, Shape};
use crate::quantize::rows::{RealRows, RealRowsMut};

/// Where the elements of a tensor of rows lie in memory.
#[derive(Clone, Copy)]
struct Layout {
    columns: usize,
    stride: usize,
}

impl Layout {
    fn new(shape: Shape, stride: usize) -> Self {
        Layout { columns: shape.columns, stride: if shape.rows == 1 { shape.columns } else { stride } }
    }

    fn is_dense(self) -> bool {
        self.columns == self.stride
    }

    /// The place of element `i`.
    fn offset(self, i: usize) -> usize {
        i / self.columns * self.stride + i % self.columns
    }

    /// Calls `f(at, offset, length)` for the parts of rows that elements `first .. first + count` are: `at` counts these
    /// elements, `offset` is a place in memory behind that of the first.
    fn parts(self, first: usize, count: usize, mut f: impl FnMut(usize, usize, usize)) {
        let mut at = 0;
        while at < count {
            let length = (self.columns - (first + at) % self.columns).min(count - at);
            f(at, self.offset(first + at) - self.offset(first), length);
            at += length;
        }
    }

    /// Copies elements `first .. first + out.len()`, of which the first is the first of `data`.
    fn gather(self, data: &[f32], first: usize, out: &mut [f32]) {
        self.parts(first, out.len(), |at, offset, length| {
            out[at..][..length].copy_from_slice(&data[offset..][..length])
        });
    }
}

/// An operand that is read.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    rows: RealRows<'a>,
    shape: Shape,
}

impl<'a> Input<'a> {
    pub fn new(rows: RealRows<'a>, shape: Shape) -> Self {
        Input { rows, shape }
    }

    /// Elements `first .. first + count`.
    pub fn read<'w>(&self, isa: Isa, first: usize, count: usize, workspace: &'w mut Scratch) -> &'w [f32]
    where
        'a: 'w,
    {
        match self.rows {
            RealRows::Halves(Rows { data, .. }, kind) => {
                let x = workspace.elements(count);
                widen_piece(isa, Halves { bits: &data[first..][..count], kind }, x);
                x
            }
            RealRows::F32(Rows { data, stride }) => {
                let layout = Layout::new(self.shape, stride);
                if layout.is_dense() {
                    return &data[first..][..count];
                }
                let x = workspace.elements(count);
                layout.gather(&data[layout.offset(first)..], first, x);
                x
            }
        }
    }
}

/// The rest of an operand that is written, chunk after chunk.
pub(super) struct Output<'a> {
    rows: RealRowsMut<'a>,
    shape: Shape,
    /// The index of the first element of the rest.
    first: usize,
}

impl<'a> Output<'a> {
    pub fn new(rows: RealRowsMut<'a>, shape: Shape) -> Self {
        Output { rows, shape, first: 0 }
    }

    /// The next `count` elements, and the rest.
    pub fn split(self, count: usize) -> (OutputChunk<'a>, Self) {
        let Output { rows, shape, first } = self;
        let (elements, rows) = match rows {
            RealRowsMut::Halves(RowsMut { data, stride }, kind) => {
                let (bits, data) = data.split_at_mut(count);
                (Elements::Halves(bits, kind), RealRowsMut::Halves(RowsMut { data, stride }, kind))
            }
            RealRowsMut::F32(RowsMut { data, stride }) => {
                let layout = Layout::new(shape, stride);
                // The last row may end before its stride does.
                let length = (layout.offset(first + count) - layout.offset(first)).min(data.len());
                let (chunk, data) = data.split_at_mut(length);
                let elements = if layout.is_dense() { Elements::Dense(chunk) } else { Elements::Apart(chunk, layout) };
                (elements, RealRowsMut::F32(RowsMut { data, stride }))
            }
        };
        (OutputChunk { elements, first, count }, Output { rows, shape, first: first + count })
    }
}

/// A chunk of an operand that is written.
pub(super) struct OutputChunk<'a> {
    elements: Elements<'a>,
    first: usize,
    count: usize,
}

/// How the elements of a chunk lie in memory.
enum Elements<'a> {
    Dense(&'a mut [f32]),
    /// Rows with something between them: from the first element to the last.
    Apart(&'a mut [f32], Layout),
    Halves(&'a mut [u16], HalfKind),
}

impl OutputChunk<'_> {
    /// What the elements are, copied, before they are written.
    pub fn read<'w>(&self, isa: Isa, workspace: &'w mut Scratch) -> &'w [f32] {
        let x = workspace.elements(self.count);
        match &self.elements {
            Elements::Dense(data) => x.copy_from_slice(data),
            Elements::Apart(data, layout) => layout.gather(data, self.first, x),
            Elements::Halves(bits, kind) => widen_piece(isa, Halves { bits, kind: *kind }, x),
        }
        x
    }

    /// Lets `write` write all elements: where they lie, or to a workspace, from where they are copied.
    pub fn write(self, isa: Isa, write: impl FnOnce(&mut [f32])) {
        let mut workspace = Scratch::default();
        match self.elements {
            Elements::Dense(data) => write(data),
            Elements::Apart(data, layout) => {
                let x = workspace.elements(self.count);
                write(x);
                layout.parts(self.first, self.count, |at, offset, length| {
                    data[offset..][..length].copy_from_slice(&x[at..][..length]);
                });
            }
            Elements::Halves(bits, kind) => {
                let x = workspace.elements(self.count);
                write(x);
                narrow_piece(isa, x, HalvesMut { bits, kind });
            }
        }
    }
}
