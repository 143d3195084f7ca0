//! A linear layer in integers, y = relu(x · wᵀ + bias), from floats to u8 codes: `cargo run --release --example multiply`.

use zeropoint::{
    CodeRange, FloatMultiplier, Granularity, Isa, Linear, Matrix, MatrixMut, QuantParams, Requantize, Rounding, Scheme,
    dequantize, min_max, multipliers, quantize, quantize_bias, ranges,
};

const ROWS: usize = 4;
const DEPTH: usize = 64;
const OUTPUTS: usize = 8;

fn main() -> Result<(), zeropoint::Error> {
    let isa = Isa::best()?;
    let x: Vec<f32> = (0..ROWS * DEPTH).map(|i| (i as f32 * 0.7).sin()).collect();
    let w: Vec<f32> = (0..OUTPUTS * DEPTH).map(|i| (i as f32 * 1.3).cos()).collect();
    let bias: Vec<f32> = (0..OUTPUTS).map(|j| j as f32 * 0.25 - 1.0).collect();

    // In floats, to compare with.
    let dot = |i: usize, j: usize| (0..DEPTH).map(|k| x[i * DEPTH + k] * w[j * DEPTH + k]).sum::<f32>();
    let y: Vec<f32> =
        (0..ROWS * OUTPUTS).map(|at| (dot(at / OUTPUTS, at % OUTPUTS) + bias[at % OUTPUTS]).max(0.0)).collect();

    // Activations: u8 with a zero point. Weights: symmetric i8, a scale for every output.
    let codes = CodeRange::unsigned(8)?;
    let per_tensor =
        |x: &[f32]| QuantParams::from_ranges(codes, Scheme::ASYMMETRIC, Granularity::Tensor, &[min_max(isa, x)?]);
    let (px, py) = (per_tensor(&x)?, per_tensor(&y)?);
    let rows = Granularity::channel(&[OUTPUTS, DEPTH], 0)?;
    let pw = QuantParams::from_ranges(CodeRange::narrow(8)?, Scheme::SYMMETRIC, rows, &ranges(isa, &w, rows)?)?;
    let (mut qx, mut qw) = (vec![0_u8; x.len()], vec![0_i8; w.len()]);
    quantize(isa, &x, &px, Rounding::Nearest, &mut qx)?;
    quantize(isa, &w, &pw, Rounding::Nearest, &mut qw)?;

    // The layer in integers: packed weights, i32 bias, and a multiplier for every output that leads to codes of y. Codes
    // below y's zero point are those of negative values: ReLU is a bound.
    let x_scale = px.scales()[0];
    let layer = Linear::<u8, i8>::new(isa, Matrix::new(&qw, OUTPUTS, DEPTH)?, 0.into())?.with_bias(&quantize_bias(
        &bias,
        x_scale,
        pw.scales(),
    )?)?;
    let multipliers = FloatMultiplier::new(&multipliers(x_scale, pw.scales(), py.scales()[0]))?;
    let zero = py.zero_points()[0];
    let stage = Requantize::new(multipliers, zero, zero as u8..=u8::MAX)?;
    let mut qy = vec![0_u8; y.len()];
    layer.forward(
        Matrix::new(&qx, ROWS, DEPTH)?,
        px.zero_points().into(),
        &stage,
        MatrixMut::new(&mut qy, ROWS, OUTPUTS)?,
    )?;

    let mut back = vec![0.0; y.len()];
    dequantize(isa, &qy, &py, &mut back)?;
    let error = y.iter().zip(&back).map(|(y, back)| (y - back).abs()).fold(0.0, f32::max);
    println!("codes of the first row: {:?}", &qy[..OUTPUTS]);
    println!("largest error {error:.3}, of values up to {:.3}", y.iter().copied().fold(0.0, f32::max));
    Ok(())
}
