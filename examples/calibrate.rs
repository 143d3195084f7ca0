//! Ranges for activations, from batches, by several methods: `cargo run --release --example calibrate`.

use zeropoint::calibrate::{Method, Observer};
use zeropoint::report::quantization_error;
use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Scheme};

/// A batch of activations: most are small, a few are outliers.
fn batch(index: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7 + index * 13) as f32 * 0.61).sin().powi(3);
    (0..4096).map(|i| if i == index * 97 { 20.0 } else { value(i) }).collect()
}

fn main() -> Result<(), zeropoint::Error> {
    let exec = Exec::best()?;
    let codes = CodeRange::unsigned(8)?;
    let held_out = batch(99);
    println!("{:<18} {:>20} {:>9}", "method", "range", "SQNR, dB");
    for name in ["minmax", "average", "std:3", "percentile:99.9", "entropy", "mse"] {
        // Names are those of the command line tools; `calibrate` lists them all.
        let method: Method = name.parse()?;
        let mut observer = method.observer(codes, Scheme::ASYMMETRIC, 4096)?;
        // Batches come one by one; an observer keeps a histogram at most.
        for index in 0..16 {
            observer.observe(exec, &batch(index))?;
        }
        let range = observer.range()?;
        let params = QuantParams::from_ranges(codes, Scheme::ASYMMETRIC, Granularity::Tensor, &[range])?;
        // Where clipping outliers costs less than it gains, the error on other data falls.
        let error = quantization_error(exec, &held_out, &params)?;
        println!("{name:<18} {:>9.3} to {:>7.3} {:>9.1}", range.min, range.max, error.sqnr());
    }
    Ok(())
}
