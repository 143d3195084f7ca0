//! Codes from codes: other parameters, sums and concatenations, of matrices of every granularity with gaps between their rows.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use zeropoint::{ByteCode, Granularity, Isa, Matrix, MatrixMut, QuantParams, Quantized, Rounding, reference, rescale};
use zeropoint_fuzz::{
    CodeTexture, Data, IsaInput, RangeInput, ScaleTexture, StreamInput, groups_scales, of_signs, zero_points,
};

#[derive(Arbitrary, Debug)]
struct Input {
    isa: IsaInput,
    signs: [bool; 2],
    rows: u8,
    columns: [u8; 2],
    operands: [OperandInput; 2],
    y: OperandInput,
    what: What,
    stochastic: Option<StreamInput>,
}

#[derive(Arbitrary, Debug)]
enum What {
    Requantize,
    Add,
    Concat,
}

#[derive(Arbitrary, Debug)]
struct OperandInput {
    range: RangeInput,
    granularity: u8,
    length: u8,
    scales: (u32, ScaleTexture),
    zero_points: Data<CodeTexture>,
    codes: Data<CodeTexture>,
    gap: u8,
}

fuzz_target!(|input: Input| of_signs!(input.signs, run(&input)));

impl OperandInput {
    fn params<C: ByteCode>(&self, rows: usize, columns: usize) -> QuantParams<C> {
        let (shape, length) = ([rows, columns], usize::from(self.length) % 40 + 1);
        let granularity = match self.granularity % 5 {
            _ if rows * columns == 0 => Granularity::Tensor,
            0 => Granularity::Tensor,
            1 => Granularity::channel(&shape, 0).unwrap(),
            2 => Granularity::channel(&shape, 1).unwrap(),
            3 => Granularity::block(&shape, length).unwrap(),
            _ => Granularity::block_along(&shape, 0, length).unwrap(),
        };
        let (groups, codes) = (granularity.groups(rows * columns).unwrap(), self.range.range::<C>());
        let scales = groups_scales(&self.scales, groups);
        QuantParams::new(codes, granularity, scales, zero_points(&self.zero_points, groups, codes)).unwrap()
    }
}

/// A matrix with parameters, and the reals it stands for.
struct Operand<C: ByteCode> {
    codes: Vec<C>,
    shape: [usize; 3],
    params: QuantParams<C>,
    reals: Vec<f32>,
}

impl<C: ByteCode> Operand<C> {
    fn new(input: &OperandInput, rows: usize, columns: usize) -> Self {
        let stride = columns + usize::from(input.gap % 20);
        let codes: Vec<C> = input.codes.codes(if rows == 0 { 0 } else { (rows - 1) * stride + columns });
        let params = input.params(rows, columns);
        let matrix = Matrix::with_stride(&codes, rows, columns, stride).unwrap();
        let dense: Vec<C> = (0..rows).flat_map(|row| matrix.row(row).to_vec()).collect();
        let reals = reference::dequantize(&dense, &params);
        Operand { codes, shape: [rows, columns, stride], params, reals }
    }

    fn quantized(&self) -> Quantized<'_, C> {
        let [rows, columns, stride] = self.shape;
        Quantized::new(Matrix::with_stride(&self.codes, rows, columns, stride).unwrap(), &self.params).unwrap()
    }
}

fn run<A: ByteCode, C: ByteCode>(input: &Input) {
    let (rows, [columns, more]) = (usize::from(input.rows % 7), input.columns.map(|n| usize::from(n) % 180));
    let a = Operand::<A>::new(&input.operands[0], rows, columns);
    match input.what {
        What::Requantize => {
            check::<C>(input, [rows, columns], &a.reals, |isa, y, rounding, out| {
                rescale::requantize(isa, a.quantized(), y, rounding, out).unwrap();
            });
        }
        What::Add => {
            let b = Operand::<C>::new(&input.operands[1], rows, columns);
            let sums: Vec<f32> = a.reals.iter().zip(&b.reals).map(|(a, b)| a + b).collect();
            check::<C>(input, [rows, columns], &sums, |isa, y, rounding, out| {
                rescale::add(isa, a.quantized(), b.quantized(), y, rounding, out).unwrap();
            });
        }
        What::Concat => {
            let b = Operand::<A>::new(&input.operands[1], rows, more);
            let mut together = Vec::new();
            for row in 0..rows {
                together.extend_from_slice(&a.reals[row * columns..][..columns]);
                together.extend_from_slice(&b.reals[row * more..][..more]);
            }
            check::<C>(input, [rows, columns + more], &together, |isa, y, rounding, out| {
                rescale::concat(isa, &[a.quantized(), b.quantized()], y, rounding, out).unwrap();
            });
        }
    }
}

/// Checks that `write` makes the codes that the reference makes of reals, in rows with gaps, and leaves the gaps alone.
fn check<C: ByteCode>(
    input: &Input,
    [rows, columns]: [usize; 2],
    reals: &[f32],
    write: impl Fn(Isa, &QuantParams<C>, Rounding, MatrixMut<'_, C>),
) {
    let y = input.y.params::<C>(rows, columns);
    let (rounding, want) = match input.stochastic.map(|stream| stream.stream(reals.len())) {
        None => (Rounding::Nearest, reference::quantize(reals, &y)),
        Some(stream) => (stream.into(), reference::quantize_stochastic(reals, &y, stream)),
    };
    let (isa, stride) = (input.isa.isa(), columns + usize::from(input.y.gap % 20));
    let mut out = vec![C::MAX; if rows == 0 { 0 } else { (rows - 1) * stride + columns }].into_boxed_slice();
    write(isa, &y, rounding, MatrixMut::with_stride(&mut out, rows, columns, stride).unwrap());
    for row in 0..rows {
        assert_eq!(out[row * stride..][..columns], want[row * columns..][..columns], "{isa} {rounding:?}");
        let between = &out[row * stride + columns..((row + 1) * stride).min(out.len()).max(row * stride + columns)];
        assert!(between.iter().all(|&code| code == C::MAX), "{isa}: wrote between the rows");
    }
}
