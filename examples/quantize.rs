//! From floats to 8-bit codes and back, and the error of it: `cargo run --release --example quantize`.

use zeropoint::report::reconstruction_error;
use zeropoint::{CodeRange, Granularity, Isa, QuantParams, Rounding, Scheme, Stream, dequantize, quantize, ranges};

fn main() -> Result<(), zeropoint::Error> {
    // The fastest ISA of this CPU; every other one gives the same bytes.
    let isa = Isa::best()?;

    // Two channels, one with values a hundred times smaller.
    let shape = [2, 1000];
    let x: Vec<f32> = (0..2000).map(|i| (i as f32 * 0.37).sin() * if i < 1000 { 1.0 } else { 0.01 }).collect();
    let (codes_of, mut codes, mut back) = (CodeRange::signed(8)?, vec![0_i8; x.len()], vec![0.0_f32; x.len()]);

    // One scale and zero point for the whole tensor, or for every channel.
    for granularity in [Granularity::Tensor, Granularity::channel(&shape, 0)?] {
        let ranges = ranges(isa, &x, granularity)?;
        let params = QuantParams::from_ranges(codes_of, Scheme::ASYMMETRIC, granularity, &ranges)?;
        quantize(isa, &x, &params, Rounding::Nearest, &mut codes)?;
        dequantize(isa, &codes, &params, &mut back)?;
        let [large, small] = [0..1000, 1000..2000].map(|channel| (&x[channel.clone()], &back[channel]));
        println!("scales {:?}, zero points {:?}", params.scales(), params.zero_points());
        for (name, (x, back)) in [("large", large), ("small", small)] {
            let error = reconstruction_error(isa, x, back)?;
            println!("  {name} channel: {:.1} dB, at most {:.1e} off", error.sqnr(), error.max_error());
        }
    }

    // Nearest rounding loses a value far below half a scale; the mean of stochastic rounding keeps it.
    let params = QuantParams::per_tensor(codes_of, 1.0, 0)?;
    let tenths = vec![0.1_f32; 10_000];
    let mut codes = vec![0_i8; tenths.len()];
    let mean = |codes: &[i8]| codes.iter().map(|&code| f64::from(code)).sum::<f64>() / codes.len() as f64;
    quantize(isa, &tenths, &params, Rounding::Nearest, &mut codes)?;
    println!("mean of 10,000 times 0.1 at scale 1: {} to nearest", mean(&codes));
    // Element i takes word i of the stream of this seed, on every machine.
    quantize(isa, &tenths, &params, Stream::new(42), &mut codes)?;
    println!("mean of 10,000 times 0.1 at scale 1: {} stochastic", mean(&codes));
    Ok(())
}
