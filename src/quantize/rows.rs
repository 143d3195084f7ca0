//! The operands of each elementwise operation, and how a row of them is computed: by a kernel, or several of these.
//!
//! Kernels read and write different memory, since the fast path may compute elements twice. So an operation in place copies a
//! piece to workspace memory and writes back from there; packed codes and reals of 16 bits come and go through a workspace, too.

use core::cell::Cell;
use core::marker::PhantomData;

use super::kernels::{Piece, past_caches};
use super::operands::{At, CodeRows, CodeRowsMut, Context, Divide, Operands, RoundingMode, Rows, RowsMut, Shape};
use super::ops::{self, CodeVectors, Operation};
use super::packed;
use crate::half::{self, HalfKind, Halves, HalvesMut};
use crate::isa::Isa;
use crate::memory::Scratch;
use crate::sign::Sign;
use crate::views::{Packing, View, ViewMut, Width};

/// Codes between their packed form and a kernel: whole bytes of them, and at home in the level-1 cache.
const PACKED_PIECE: usize = 4096;

impl<R: RoundingMode> Context<'_, R> {
    pub fn piece<'a, O: Operation>(
        &'a self,
        op: O,
        first: usize,
        x: &'a [O::In],
        out: &'a mut [O::Out],
    ) -> Piece<'a, O> {
        Piece { params: self.params, op, first, x, out, past_caches: self.streams }
    }

    /// The byte of the zero point of element `i`, which fills what a last byte has above the last code.
    fn pad(&self, i: usize) -> u8 {
        self.params.zero_points()[self.params.grouping().group_of(i)] as u8
    }
}

/// Operands are divided by dividing each of them.
macro_rules! divide {
    ($( $Rows:ident { $($operand:ident),+ } )+) => { $(
        impl Divide for $Rows<'_> {
            fn divide(self, at: At) -> (Self, Self) {
                $( let $operand = self.$operand.divide(at); )+
                ($Rows { $($operand: $operand.0),+ }, $Rows { $($operand: $operand.1),+ })
            }
        }
    )+ };
}
divide! {
    QuantizeRows { x, codes }
    DequantizeRows { codes, out }
    FakeQuantizeRows { x, out, mask }
    StraightThroughRows { x, gradient, out }
}

/// The operands of [`quantize`](crate::quantize()).
pub(crate) struct QuantizeRows<'a> {
    pub x: RealRows<'a>,
    pub codes: CodeRowsMut<'a>,
}

impl Operands for QuantizeRows<'_> {
    fn packed(&self) -> Option<Packing> {
        if let CodeRowsMut::Packed(_, packing) = self.codes { Some(packing) } else { None }
    }

    fn halves(&self) -> bool {
        self.x.are_halves()
    }

    fn streams(&self, columns: usize) -> bool {
        let code = if let CodeRowsMut::Wide(..) = self.codes { 2 } else { 1 };
        self.packed().is_none() && past_caches(columns.saturating_mul(4 + code))
    }

    fn run_halves<R: RoundingMode>(self, context: Context<'_, R>, first: usize, columns: usize) {
        let mut workspace = Scratch::default();
        let x = self.x.widened(context.isa, columns, &mut workspace);
        QuantizeRows { x, codes: self.codes }.run(context, first, columns);
    }

    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize) {
        let x = self.x.f32(columns);
        match &mut self.codes {
            CodeRowsMut::U8(codes) => context.quantize(first, x, &mut codes.data[..columns]),
            CodeRowsMut::I8(codes) => context.quantize(first, x, &mut codes.data[..columns]),
            CodeRowsMut::Wide(codes, _) => {
                let mut piece = context.piece(ops::QuantizeWide, first, x, &mut codes.data[..columns]);
                context.rounding.run(context.isa, &mut piece);
            }
            CodeRowsMut::Packed(bytes, packing) => match packing.sign {
                Sign::Unsigned => context.quantize_packed::<u8>(first, x, packing.width, bytes),
                Sign::Signed => context.quantize_packed::<i8>(first, x, packing.width, bytes),
            },
        }
    }

    fn run_packed<R: RoundingMode>(self, context: Context<'_, R>, first: usize, shape: Shape) {
        let CodeRowsMut::Packed(packed, packing) = self.codes else { unreachable!("the codes are packed") };
        let mut workspace = Scratch::default();
        let bytes = workspace.elements::<u8>(shape.rows * shape.columns);
        let codes = match packing.sign {
            Sign::Unsigned => shape.codes_mut::<u8>(ViewMut::Slice(bytes)),
            Sign::Signed => shape.codes_mut::<i8>(ViewMut::Slice(bytemuck::cast_slice_mut(bytes))),
        };
        context.run_rows(first, shape, QuantizeRows { x: self.x, codes });
        if let Some(last) = bytes.len().checked_sub(1) {
            packed::pack(context.isa, bytes, context.pad(first + last), packing.width, packed);
        }
    }
}

impl<R: RoundingMode> Context<'_, R> {
    fn quantize<C: CodeVectors>(&self, first: usize, x: &[f32], codes: &mut [C]) {
        let op = ops::Quantize::<C>::new(self.params.bounds());
        self.rounding.run(self.isa, &mut self.piece(op, first, x, codes));
    }

    fn quantize_packed<C: CodeVectors>(&self, first: usize, x: &[f32], width: Width, bytes: &mut [u8]) {
        let mut workspace = Scratch::default();
        let codes = workspace.elements::<C>(x.len().min(PACKED_PIECE));
        let pieces = x.chunks(PACKED_PIECE).zip(bytes.chunks_mut(PACKED_PIECE / width.per_byte()));
        for (i, (x, bytes)) in pieces.enumerate() {
            let (codes, first) = (&mut codes[..x.len()], first + i * PACKED_PIECE);
            self.quantize(first, x, codes);
            packed::pack(self.isa, bytemuck::cast_slice(codes), self.pad(first + x.len() - 1), width, bytes);
        }
    }
}

/// The operands of [`dequantize`](crate::dequantize()).
pub(crate) struct DequantizeRows<'a> {
    pub codes: CodeRows<'a>,
    pub out: RealRowsMut<'a>,
}

impl Operands for DequantizeRows<'_> {
    fn packed(&self) -> Option<Packing> {
        if let CodeRows::Packed(_, packing) = self.codes { Some(packing) } else { None }
    }

    fn halves(&self) -> bool {
        self.out.are_halves()
    }

    fn streams(&self, columns: usize) -> bool {
        let code = if let CodeRows::Wide(..) = self.codes { 2 } else { 1 };
        self.packed().is_none() && past_caches(columns.saturating_mul(4 + code))
    }

    fn run_halves<R: RoundingMode>(self, context: Context<'_, R>, first: usize, columns: usize) {
        let codes = self.codes;
        self.out.narrowed(context.isa, columns, |out| {
            DequantizeRows { codes, out: RealRowsMut::row(out) }.run(context, first, columns);
        });
    }

    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize) {
        let out = self.out.f32(columns);
        match self.codes {
            CodeRows::U8(codes) => context.dequantize(first, &codes.data[..columns], out),
            CodeRows::I8(codes) => context.dequantize(first, &codes.data[..columns], out),
            CodeRows::Wide(codes, sign) => {
                let op = ops::DequantizeWide { sign };
                context.piece(op, first, &codes.data[..columns], out).nearest(context.isa);
            }
            CodeRows::Packed(bytes, packing) => match packing.sign {
                Sign::Unsigned => context.dequantize_packed::<u8>(first, bytes, packing, out),
                Sign::Signed => context.dequantize_packed::<i8>(first, bytes, packing, out),
            },
        }
    }

    fn run_packed<R: RoundingMode>(self, context: Context<'_, R>, first: usize, shape: Shape) {
        let CodeRows::Packed(packed, packing) = self.codes else { unreachable!("the codes are packed") };
        let mut workspace = Scratch::default();
        let bytes = workspace.elements::<u8>(shape.rows * shape.columns);
        packed::unpack(context.isa, packed, packing, bytes);
        let codes = match packing.sign {
            Sign::Unsigned => shape.codes::<u8>(View::Slice(bytes)),
            Sign::Signed => shape.codes::<i8>(View::Slice(bytemuck::cast_slice(bytes))),
        };
        context.run_rows(first, shape, DequantizeRows { codes, out: self.out });
    }
}

impl<R: RoundingMode> Context<'_, R> {
    fn dequantize<C: CodeVectors>(&self, first: usize, codes: &[C], out: &mut [f32]) {
        self.piece(ops::Dequantize::<C>(PhantomData), first, codes, out).nearest(self.isa);
    }

    fn dequantize_packed<C: CodeVectors>(&self, first: usize, bytes: &[u8], packing: Packing, out: &mut [f32]) {
        let mut workspace = Scratch::default();
        let codes = workspace.elements::<C>(out.len().min(PACKED_PIECE));
        let pieces = bytes.chunks(PACKED_PIECE / packing.width.per_byte()).zip(out.chunks_mut(PACKED_PIECE));
        for (i, (bytes, out)) in pieces.enumerate() {
            let codes = &mut codes[..out.len()];
            packed::unpack(self.isa, bytes, packing, bytemuck::cast_slice_mut(codes));
            self.dequantize(first + i * PACKED_PIECE, codes, out);
        }
    }
}

/// The operands of [`fake_quantize`](crate::fake_quantize()); without `x`, in place.
pub(crate) struct FakeQuantizeRows<'a> {
    pub x: Option<RealRows<'a>>,
    pub out: RealRowsMut<'a>,
    pub mask: Option<RowsMut<'a, u8>>,
}

impl Operands for FakeQuantizeRows<'_> {
    fn halves(&self) -> bool {
        self.out.are_halves() || self.x.is_some_and(|x| x.are_halves())
    }

    fn streams(&self, columns: usize) -> bool {
        self.x.is_some() && past_caches(columns.saturating_mul(8))
    }

    fn run_halves<R: RoundingMode>(self, context: Context<'_, R>, first: usize, columns: usize) {
        let FakeQuantizeRows { x, out, mask } = self;
        let mut workspace = Scratch::default();
        let x = match x {
            Some(x) => Some(x.widened(context.isa, columns, &mut workspace)),
            None => out.widened(context.isa, columns, &mut workspace),
        };
        out.narrowed(context.isa, columns, |out| {
            FakeQuantizeRows { x, out: RealRowsMut::row(out), mask }.run(context, first, columns);
        });
    }

    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize) {
        let FakeQuantizeRows { x, out, mask } = self;
        let (out, mut mask) = (out.f32(columns), mask.as_mut().map(|mask| &mut mask.data[..columns]));
        if let Some(x) = x {
            return context.fake_quantize(first, x.f32(columns), out, mask);
        }
        let (head, length) = context.buffered_pieces(first);
        in_place(out, head, length, |at, x, out| {
            let mask = mask.as_deref_mut().map(|mask| &mut mask[at..at + x.len()]);
            context.fake_quantize(first + at, x, out, mask);
        });
    }
}

impl<R: RoundingMode> Context<'_, R> {
    fn fake_quantize(&self, first: usize, x: &[f32], out: &mut [f32], mask: Option<&mut [u8]>) {
        let plain = ops::FakeQuantize::new(self.params.bounds());
        if let Some(mask) = mask {
            let op = ops::FakeQuantizeWithMask { plain, mask: Cell::from_mut(mask).as_slice_of_cells() };
            return self.rounding.run(self.isa, &mut self.piece(op, first, x, out));
        }
        self.rounding.run(self.isa, &mut self.piece(plain, first, x, out));
    }
}

/// The operands of [`straight_through`](crate::straight_through()); without `gradient`, in place.
pub(crate) struct StraightThroughRows<'a> {
    pub x: RealRows<'a>,
    pub gradient: Option<RealRows<'a>>,
    pub out: RealRowsMut<'a>,
}

impl Operands for StraightThroughRows<'_> {
    fn halves(&self) -> bool {
        self.x.are_halves() || self.out.are_halves() || self.gradient.is_some_and(|gradient| gradient.are_halves())
    }

    fn streams(&self, columns: usize) -> bool {
        self.gradient.is_some() && past_caches(columns.saturating_mul(8))
    }

    fn run_halves<R: RoundingMode>(self, context: Context<'_, R>, first: usize, columns: usize) {
        let StraightThroughRows { x, gradient, out } = self;
        let (mut of_x, mut of_gradient) = (Scratch::default(), Scratch::default());
        let x = x.widened(context.isa, columns, &mut of_x);
        let gradient = match gradient {
            Some(gradient) => Some(gradient.widened(context.isa, columns, &mut of_gradient)),
            None => out.widened(context.isa, columns, &mut of_gradient),
        };
        out.narrowed(context.isa, columns, |out| {
            StraightThroughRows { x, gradient, out: RealRowsMut::row(out) }.run(context, first, columns);
        });
    }

    fn run<R: RoundingMode>(&mut self, context: Context<'_, R>, first: usize, columns: usize) {
        let StraightThroughRows { x, gradient, out } = self;
        let (x, out) = (x.f32(columns), out.f32(columns));
        let run = |first: usize, x: &[f32], gradient: &[f32], out: &mut [f32]| {
            context.piece(ops::StraightThrough { gradient }, first, x, out).nearest(context.isa);
        };
        if let Some(gradient) = gradient {
            return run(first, x, gradient.f32(columns), out);
        }
        let (head, length) = context.buffered_pieces(first);
        in_place(out, head, length, |at, gradient, out| {
            run(first + at, &x[at..at + out.len()], gradient, out);
        });
    }
}

/// Calls `f(at, copy, piece)` for pieces of `x`, the first of `head` elements and the others of `length`.
fn in_place(x: &mut [f32], head: usize, length: usize, mut f: impl FnMut(usize, &[f32], &mut [f32])) {
    let mut workspace = Scratch::default();
    let (mut at, mut end) = (0, head.min(x.len()));
    while at < x.len() {
        let piece = &mut x[at..end];
        let copy = workspace.elements(piece.len());
        copy.copy_from_slice(piece);
        f(at, copy, piece);
        (at, end) = (end, x.len().min(end + length));
    }
}

/// Reals that are read.
#[derive(Clone, Copy)]
pub(crate) enum RealRows<'a> {
    F32(Rows<'a, f32>),
    Halves(Rows<'a, u16>, HalfKind),
}

/// Reals that are written.
pub(crate) enum RealRowsMut<'a> {
    F32(RowsMut<'a, f32>),
    Halves(RowsMut<'a, u16>, HalfKind),
}

impl<'a> RealRows<'a> {
    /// A row of f32.
    pub fn row(data: &'a [f32]) -> Self {
        RealRows::F32(Rows { data, stride: data.len() })
    }

    pub fn are_halves(&self) -> bool {
        matches!(self, RealRows::Halves(..))
    }

    /// The first `columns` elements of f32 rows.
    pub fn f32(self, columns: usize) -> &'a [f32] {
        match self {
            RealRows::F32(rows) => &rows.data[..columns],
            RealRows::Halves(..) => unreachable!("widened before"),
        }
    }

    /// The first `columns` elements, widened in a workspace unless they are f32.
    pub fn widened<'w>(self, isa: Isa, columns: usize, workspace: &'w mut Scratch) -> RealRows<'w>
    where
        'a: 'w,
    {
        let RealRows::Halves(rows, kind) = self else { return self };
        let x = workspace.elements(columns);
        half::widen_piece(isa, Halves { bits: &rows.data[..columns], kind }, x);
        RealRows::row(x)
    }
}

impl<'a> RealRowsMut<'a> {
    /// A row of f32.
    pub fn row(data: &'a mut [f32]) -> Self {
        RealRowsMut::F32(RowsMut { stride: data.len(), data })
    }

    pub fn are_halves(&self) -> bool {
        matches!(self, RealRowsMut::Halves(..))
    }

    /// The first `columns` elements of f32 rows.
    pub fn f32(&mut self, columns: usize) -> &mut [f32] {
        match self {
            RealRowsMut::F32(rows) => &mut rows.data[..columns],
            RealRowsMut::Halves(..) => unreachable!("narrowed behind"),
        }
    }

    /// What the first `columns` elements are before an operation in place, widened in a workspace; none if they are f32, which
    /// are copied piece by piece.
    pub fn widened<'w>(&self, isa: Isa, columns: usize, workspace: &'w mut Scratch) -> Option<RealRows<'w>> {
        let RealRowsMut::Halves(rows, kind) = self else { return None };
        let x = workspace.elements(columns);
        half::widen_piece(isa, Halves { bits: &rows.data[..columns], kind: *kind }, x);
        Some(RealRows::row(x))
    }

    /// Lets `write` write the first `columns` elements: in a workspace, from where they are narrowed, unless they are f32.
    pub fn narrowed(self, isa: Isa, columns: usize, write: impl FnOnce(&mut [f32])) {
        match self {
            RealRowsMut::F32(rows) => write(&mut rows.data[..columns]),
            RealRowsMut::Halves(rows, kind) => {
                let mut workspace = Scratch::default();
                let x = workspace.elements(columns);
                write(x);
                half::narrow_piece(isa, x, HalvesMut { bits: &mut rows.data[..columns], kind });
            }
        }
    }
}

/// Reals are divided by dividing whatever they are.
macro_rules! divide_reals {
    ($Reals:ident) => {
        impl Divide for $Reals<'_> {
            fn divide(self, at: At) -> (Self, Self) {
                match self {
                    $Reals::F32(rows) => {
                        let (before, rest) = rows.divide(at);
                        ($Reals::F32(before), $Reals::F32(rest))
                    }
                    $Reals::Halves(rows, kind) => {
                        let (before, rest) = rows.divide(at);
                        ($Reals::Halves(before, kind), $Reals::Halves(rest, kind))
                    }
                }
            }
        }
    };
}
divide_reals!(RealRows);
divide_reals!(RealRowsMut);

impl Shape {
    /// The reals' rows in this shape.
    #[inline]
    pub fn reals<'a>(self, view: View<'a, f32>) -> RealRows<'a> {
        match view {
            View::Halves(Halves { bits, kind }) => RealRows::Halves(Rows { data: bits, stride: self.columns }, kind),
            view => RealRows::F32(self.rows(view)),
        }
    }

    /// The reals' rows in this shape, to be written.
    #[inline]
    pub fn reals_mut<'a>(self, view: ViewMut<'a, f32>) -> RealRowsMut<'a> {
        match view {
            ViewMut::Halves(HalvesMut { bits, kind }) => {
                RealRowsMut::Halves(RowsMut { data: bits, stride: self.columns }, kind)
            }
            view => RealRowsMut::F32(self.rows_mut(view)),
        }
    }
}
