//! A linear layer in integers, y = relu(x · wᵀ + bias), from floats to u8 codes: `cargo run --release --example multiply`.

use zeropoint::{
    CodeRange, Exec, Granularity, Matrix, MatrixMut, PackedMatrix, QuantParams, Quantized, Requantize, Rounding, Rule,
    Scheme, dequantize, matmul, quantize,
};

const ROWS: usize = 4;
const DEPTH: usize = 64;
const OUTPUTS: usize = 8;

fn main() -> Result<(), zeropoint::Error> {
    let exec = Exec::best()?;
    let isa = exec.isa();
    let x: Vec<f32> = (0..ROWS * DEPTH).map(|i| (i as f32 * 0.7).sin()).collect();
    let w: Vec<f32> = (0..OUTPUTS * DEPTH).map(|i| (i as f32 * 1.3).cos()).collect();
    let bias: Vec<f32> = (0..OUTPUTS).map(|j| j as f32 * 0.25 - 1.0).collect();

    // In floats, to compare with.
    let dot = |i: usize, j: usize| (0..DEPTH).map(|k| x[i * DEPTH + k] * w[j * DEPTH + k]).sum::<f32>();
    let y: Vec<f32> =
        (0..ROWS * OUTPUTS).map(|at| (dot(at / OUTPUTS, at % OUTPUTS) + bias[at % OUTPUTS]).max(0.0)).collect();

    // Activations: u8 with a zero point. Weights: symmetric i8, a scale for every output.
    let codes = CodeRange::unsigned(8)?;
    let per_tensor = |x: &[f32]| QuantParams::fit(isa, x, codes, Scheme::ASYMMETRIC, Granularity::Tensor);
    let (px, py) = (per_tensor(&x)?, per_tensor(&y)?);
    let rows = Granularity::channel(&[OUTPUTS, DEPTH], 0)?;
    let pw = QuantParams::fit(isa, &w, CodeRange::narrow(8)?, Scheme::SYMMETRIC, rows)?;
    let (mut qx, mut qw) = (vec![0_u8; x.len()], vec![0_i8; w.len()]);
    quantize(isa, &x, &px, Rounding::Nearest, &mut qx)?;
    quantize(isa, &w, &pw, Rounding::Nearest, &mut qw)?;

    // The layer in integers: packed weights with their scales, and a bias at the scale of their products with x. The stage makes
    // codes of y; those below its zero point stand for negative values: ReLU is a bound.
    let weights = Quantized::new(Matrix::new(&qw, OUTPUTS, DEPTH)?, &pw)?;
    let weights = PackedMatrix::pack(exec, weights)?.with_bias(&bias, &px)?;
    let stage = Requantize::new(&weights, &px, &py, Rule::Float)?.relu();
    let mut qy = vec![0_u8; y.len()];
    let x = Quantized::new(Matrix::new(&qx, ROWS, DEPTH)?, &px)?;
    matmul(exec, x, &weights, &stage, MatrixMut::new(&mut qy, ROWS, OUTPUTS)?)?;

    let mut back = vec![0.0; y.len()];
    dequantize(isa, &qy, &py, &mut back)?;
    let error = y.iter().zip(&back).map(|(y, back)| (y - back).abs()).fold(0.0, f32::max);
    println!("codes of the first row: {:?}", &qy[..OUTPUTS]);
    println!("largest error {error:.3}, of values up to {:.3}", y.iter().copied().fold(0.0, f32::max));
    Ok(())
}
