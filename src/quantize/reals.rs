//! Quantization of real numbers that are made of codes when they are needed, a buffer at a time: what
//! [`rescale`](crate::rescale) consists of.

use core::marker::PhantomData;

use super::job::Job;
use super::operands::{At, CodeRowsMut, Context, Divide, Extent, OUTPUT, Operands, RoundingMode, Shape, common_shape};
use super::ops::{self, ToNearest};
use super::rows::{QuantizeRows, RealRows};
use crate::codes::ByteCode;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::matrix::Matrix;
use crate::memory::Scratch;
use crate::params::Params;
use crate::quantized::Quantized;
use crate::random::stream::Stream;
use crate::sign::Sign;
use crate::simd::LANES;
use crate::views::{Packing, ViewMut};

/// A matrix of real numbers, which are made of codes.
pub(crate) trait Reals: Sync {
    /// Rows and columns.
    fn shape(&self) -> [usize; 2];

    /// Writes the numbers of elements from `first` on, counted row by row.
    fn write(&self, isa: Isa, first: usize, out: &mut [f32]);
}

/// The codes that a matrix of numbers is quantized to.
pub(crate) struct ComputedRows<'a> {
    reals: &'a dyn Reals,
    codes: CodeRowsMut<'a>,
}

impl<'a> ComputedRows<'a> {
    /// The numbers and their codes, with their common shape.
    pub fn new<C: ByteCode>(reals: &'a dyn Reals, codes: ViewMut<'a, C>) -> Result<(Shape, Self), Error> {
        let [rows, columns] = reals.shape();
        let shape = common_shape(Extent::matrix(rows, columns, columns), [(codes.extent(), OUTPUT)])?;
        Ok((shape, ComputedRows { reals, codes: shape.codes_mut(codes) }))
    }
}

// Not generic: compiled in this crate, and linked only into programs that call them.
pub(crate) fn run_nearest(
    exec: Exec<'_>,
    (shape, operands): (Shape, ComputedRows<'_>),
    params: &Params,
) -> Result<(), Error> {
    Job { params, rounding: ToNearest, shape, operands }.run(exec)
}

pub(crate) fn run_stochastically(
    exec: Exec<'_>,
    (shape, operands): (Shape, ComputedRows<'_>),
    params: &Params,
    rounding: Stream,
) -> Result<(), Error> {
    Job { params, rounding, shape, operands }.run(exec)
}

impl Divide for ComputedRows<'_> {
    fn divide(self, at: At) -> (Self, Self) {
        let ComputedRows { reals, codes } = self;
        let (before, rest) = codes.divide(at);
        (ComputedRows { reals, codes: before }, ComputedRows { reals, codes: rest })
    }
}

impl Operands for ComputedRows<'_> {
    fn packed(&self) -> Option<Packing> {
        if let CodeRowsMut::Packed(_, packing) = self.codes { Some(packing) } else { None }
    }

    fn halves(&self) -> bool {
        false
    }

    fn run_halves<R: RoundingMode>(self, _: Context<'_, R>, _: usize, _: usize) {
        unreachable!("the numbers are f32");
    }

    fn streams(&self, _: usize) -> bool {
        // The numbers come from a buffer in the caches.
        false
    }

    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize) {
        let ComputedRows { reals, codes } = self;
        let mut workspace = Scratch::default();
        context.in_pieces(first, columns, codes.reborrow(), |codes, first, count| {
            let numbers = workspace.elements::<f32>(count);
            reals.write(context.isa, first, numbers);
            QuantizeRows { x: RealRows::row(numbers), codes }.run(context, first, count);
        });
    }
}

/// The numbers that a matrix of codes stands for.
#[derive(Clone, Copy)]
pub(crate) struct Dequantized<'a> {
    codes: Matrix<'a, u8>,
    sign: Sign,
    params: &'a Params,
}

impl<'a> Dequantized<'a> {
    pub fn new<C: ByteCode>(x: Quantized<'a, C>) -> Self {
        Dequantized { codes: x.codes().bytes(), sign: C::SIGN, params: x.params().inner() }
    }
}

impl Reals for Dequantized<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.codes.rows(), self.codes.columns()]
    }

    fn write(&self, isa: Isa, first: usize, out: &mut [f32]) {
        let Dequantized { codes, sign, params } = *self;
        let columns = codes.columns();
        let dense = codes.stride() == columns;
        let mut at = 0;
        while at < out.len() {
            let (row, column) = ((first + at) / columns, (first + at) % columns);
            let count = if dense { out.len() } else { (columns - column).min(out.len() - at) };
            let (codes, out) = (&codes.tail_from(row)[column..][..count], &mut out[at..at + count]);
            let context = Context { isa, params, rounding: ToNearest, streams: false };
            match sign {
                Sign::Unsigned => {
                    context.piece(ops::Dequantize::<u8>(PhantomData), first + at, codes, out).nearest(isa);
                }
                Sign::Signed => {
                    let codes = bytemuck::cast_slice(codes);
                    context.piece(ops::Dequantize::<i8>(PhantomData), first + at, codes, out).nearest(isa);
                }
            }
            at += count;
        }
    }
}

/// The sums of the numbers of two matrices of one shape.
pub(crate) struct Sum<'a> {
    terms: [Dequantized<'a>; 2],
}

impl<'a> Sum<'a> {
    pub fn new(a: Dequantized<'a>, b: Dequantized<'a>) -> Result<Self, Error> {
        let ([rows, columns], [b_rows, b_columns]) = (a.shape(), b.shape());
        check_length("the rows of the second term", rows, b_rows)?;
        check_length("the columns of the second term", columns, b_columns)?;
        Ok(Sum { terms: [a, b] })
    }
}

impl Reals for Sum<'_> {
    fn shape(&self) -> [usize; 2] {
        self.terms[0].shape()
    }

    fn write(&self, isa: Isa, first: usize, out: &mut [f32]) {
        let mut workspace = Scratch::default();
        let more = workspace.elements::<f32>(out.len());
        self.terms[0].write(isa, first, out);
        self.terms[1].write(isa, first, more);
        isa.run(AddTo { out, more });
    }
}

/// `out[i] = out[i] + more[i]`
struct AddTo<'a> {
    out: &'a mut [f32],
    more: &'a [f32],
}

impl Kernel for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let (vectors, rest) = self.out.as_chunks_mut::<LANES>();
        let (more, more_rest) = self.more.as_chunks::<LANES>();
        for (out, more) in vectors.iter_mut().zip(more) {
            v.store_f32(v.add_f32(v.load_f32(out), v.load_f32(more)), out);
        }
        for (out, more) in rest.iter_mut().zip(more_rest) {
            *out += more;
        }
    }
}

/// The numbers of matrices beside each other, of as many rows.
pub(crate) struct Beside<'a> {
    /// With the column where each begins.
    parts: Vec<(usize, Dequantized<'a>)>,
    rows: usize,
    columns: usize,
}

impl<'a> Beside<'a> {
    pub fn new(matrices: &mut dyn Iterator<Item = Dequantized<'a>>) -> Result<Self, Error> {
        let (mut parts, mut columns) = (Vec::new(), 0_usize);
        let mut common_rows = None;
        for matrix in matrices {
            let [rows, width] = matrix.shape();
            check_length("the rows of a part", *common_rows.get_or_insert(rows), rows)?;
            let end = columns.checked_add(width);
            if width > 0 {
                parts.push((columns, matrix));
            }
            let why = "the parts have too many columns";
            columns = end.ok_or(Error::Shape { why, found: width })?;
        }
        let rows = common_rows.ok_or(Error::Empty { what: "the list of parts", group: None })?;
        Ok(Beside { parts, rows, columns })
    }
}

impl Reals for Beside<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    fn write(&self, isa: Isa, first: usize, out: &mut [f32]) {
        let (mut row, mut column) = (first / self.columns, first % self.columns);
        let mut part = self.parts.partition_point(|&(start, _)| start <= column) - 1;
        let mut rest = out;
        while !rest.is_empty() {
            let (start, matrix) = self.parts[part];
            let width = matrix.codes.columns();
            let count = (start + width - column).min(rest.len());
            let (out, behind) = rest.split_at_mut(count);
            matrix.write(isa, row * width + column - start, out);
            rest = behind;
            column += count;
            part += 1;
            if part == self.parts.len() {
                (row, column, part) = (row + 1, 0, 0);
            }
        }
    }
}
