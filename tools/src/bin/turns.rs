//! Bench server: times elementwise operations on request, for `benches/peers/elementwise.py`, which measures other libraries
//! in between. It reads lines `<isa> <operation> <elements>` and answers each with the seconds per call.

use std::error::Error;
use std::hint::black_box;
use std::io::BufRead;
use std::time::{Duration, Instant};

use clap::Parser;
use zeropoint::{
    CodeRange, Granularity, Isa, QuantParams, Rounding, Scheme, abs_max, dequantize, fake_quantize, min_max, quantize,
};

/// The length of a sample.
const TURN: Duration = Duration::from_millis(3);

/// The elements of a row.
const ROW: usize = 1024;

/// A tensor, and memory for the results of all operations.
struct Tensor {
    x: Vec<f32>,
    codes: Vec<u8>,
    real: Vec<f32>,
    mask: Vec<u8>,
}

impl Tensor {
    fn new(elements: usize) -> Self {
        // From -2 to 2, the same values in every run.
        let real = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0;
        let x = (0..elements as u32).map(real).collect();
        Tensor { x, codes: vec![0; elements], real: vec![0.0; elements], mask: vec![0; elements] }
    }

    /// One call.
    fn call(&mut self, isa: Isa, operation: &str, params: &QuantParams<u8>) -> Result<(), Box<dyn Error>> {
        let Tensor { x, codes, real, mask } = self;
        let by_rows = Granularity::channel(&[x.len() / ROW, ROW], 0);
        let mut dynamic = |granularity| {
            let params = QuantParams::fit(isa, &*x, CodeRange::unsigned(8)?, Scheme::ASYMMETRIC, granularity)?;
            quantize(isa, &*x, &params, Rounding::Nearest, &mut *codes)
        };
        match operation {
            "dynamic" => dynamic(Granularity::Tensor)?,
            "dynamic-rows" => dynamic(by_rows?)?,
            "dynamic-block32" => dynamic(Granularity::block(&[x.len() / ROW, ROW], 32)?)?,
            "min-max" => drop(black_box(min_max(isa, x)?)),
            "abs-max" => drop(black_box(abs_max(isa, x)?)),
            _ if operation.starts_with("quantize") => quantize(isa, x, params, Rounding::Nearest, codes)?,
            _ if operation.starts_with("dequantize") => dequantize(isa, codes, params, real)?,
            _ if operation.starts_with("fake-mask") => fake_quantize(isa, x, params, Rounding::Nearest, (real, mask))?,
            _ if operation.starts_with("fake") => fake_quantize(isa, x, params, Rounding::Nearest, real)?,
            _ => return Err(format!("no operation `{operation}`").into()),
        }
        Ok(())
    }
}

/// Parameters of the granularity at the end of an operation's name.
fn params(operation: &str, elements: usize) -> Result<QuantParams<u8>, Box<dyn Error>> {
    let shape = [elements / ROW, ROW];
    let granularity = match operation.rsplit_once('-').map(|(_, granularity)| granularity) {
        Some("rows") => Granularity::channel(&shape, 0)?,
        Some("columns") => Granularity::channel(&shape, 1)?,
        Some(block) if block.starts_with("block") => Granularity::block(&shape, block["block".len()..].parse()?)?,
        _ => Granularity::Tensor,
    };
    let groups = granularity.groups(elements)?;
    let scales = (0..groups).map(|group| 0.0129 + (group % 100) as f32 * 1e-5).collect();
    Ok(QuantParams::new(CodeRange::unsigned(8)?, granularity, scales, vec![117; groups])?)
}

/// Times a call of every operation that a line of the input asks for: `<isa> <operation> <elements>`.
#[derive(Parser)]
struct Arguments {}

fn main() -> Result<(), Box<dyn Error>> {
    Arguments::parse();
    let mut tensor = Tensor::new(0);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let [isa, operation, elements] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("not a request: {line}").into());
        };
        let (isa, elements) = (Isa::named(isa)?, elements.parse()?);
        if tensor.x.len() != elements {
            tensor = Tensor::new(elements);
        }
        let params = params(operation, elements)?;
        let mut timed = |calls: u32| -> Result<Duration, Box<dyn Error>> {
            let start = Instant::now();
            (0..calls).try_for_each(|_| tensor.call(isa, operation, &params))?;
            Ok(start.elapsed())
        };
        // The first call only warms the caches.
        timed(1)?;
        let calls = (TURN.as_secs_f64() / timed(1)?.as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e6) as u32;
        println!("{}", timed(calls)?.as_secs_f64() / f64::from(calls));
    }
    Ok(())
}
