//! Bench server: times elementwise operations on request, for `benches/peers/elementwise.py`, which measures other libraries
//! in between. It reads lines `<isa> <operation> <elements>` and answers each with the seconds per call.

use std::error::Error;
use std::hint::black_box;
use std::io::BufRead;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use zeropoint::{
    CodeRange, Granularity, Isa, QuantParams, Rounding, Scheme, abs_max, dequantize, fake_quantize, min_max, quantize,
};
use zeropoint_tools::operations::Shape;
use zeropoint_tools::program::{self, Outcome};

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
    fn call(&mut self, isa: Isa, request: &Request, params: &QuantParams<u8>) -> Result<(), zeropoint::Error> {
        let Tensor { x, codes, real, mask } = self;
        match request.kind {
            Kind::Quantize => quantize(isa, x, params, Rounding::Nearest, codes),
            Kind::Dequantize => dequantize(isa, codes, params, real),
            Kind::Fake => fake_quantize(isa, x, params, Rounding::Nearest, real),
            Kind::FakeMask => fake_quantize(isa, x, params, Rounding::Nearest, (real, mask)),
            Kind::Dynamic => {
                let codes_of = CodeRange::unsigned(8)?;
                let params = QuantParams::fit(isa, &*x, codes_of, Scheme::ASYMMETRIC, request.granularity)?;
                quantize(isa, &*x, &params, Rounding::Nearest, &mut *codes)
            }
            Kind::MinMax => min_max(isa, x).map(|range| _ = black_box(range)),
            Kind::AbsMax => abs_max(isa, x).map(|amax| _ = black_box(amax)),
        }
    }
}

/// What is timed.
#[derive(Clone, Copy)]
enum Kind {
    Quantize,
    Dequantize,
    Fake,
    FakeMask,
    Dynamic,
    MinMax,
    AbsMax,
}

/// Operations by name; all but the last two have granularities.
const KINDS: [(&str, Kind); 7] = [
    ("quantize", Kind::Quantize),
    ("dequantize", Kind::Dequantize),
    ("fake", Kind::Fake),
    ("fake-mask", Kind::FakeMask),
    ("dynamic", Kind::Dynamic),
    ("min-max", Kind::MinMax),
    ("abs-max", Kind::AbsMax),
];

/// An operation and its granularity, which its name ends with: `quantize`, `quantize-rows`, `quantize-columns`,
/// `quantize-block32`.
struct Request {
    kind: Kind,
    granularity: Granularity,
}

impl Request {
    fn new(operation: &str, elements: usize) -> Result<Self, Box<dyn Error>> {
        let unknown = || format!("no operation `{operation}`");
        let kind = |name: &str| KINDS.iter().find(|(other, _)| *other == name).map(|&(_, kind)| kind);
        if let Some(kind) = kind(operation) {
            return Ok(Request { kind, granularity: Granularity::Tensor });
        }
        let (name, granularity) = operation.rsplit_once('-').ok_or_else(unknown)?;
        let kind = kind(name).filter(|kind| !matches!(kind, Kind::MinMax | Kind::AbsMax)).ok_or_else(unknown)?;
        let shape = [elements / ROW, ROW];
        let granularity = match (granularity, granularity.strip_prefix("block")) {
            ("rows", _) => Granularity::channel(&shape, 0)?,
            ("columns", _) => Granularity::channel(&shape, 1)?,
            (_, Some(length)) => Granularity::block(&shape, length.parse().map_err(|_| unknown())?)?,
            _ => return Err(unknown().into()),
        };
        Ok(Request { kind, granularity })
    }

    /// Parameters of its granularity.
    fn params(&self, elements: usize) -> Result<QuantParams<u8>, zeropoint::Error> {
        let groups = self.granularity.groups(elements)?;
        let scales = (0..groups).map(|group| 0.0129 + (group % 100) as f32 * 1e-5).collect();
        QuantParams::new(CodeRange::unsigned(8)?, self.granularity, scales, vec![117; groups])
    }
}

/// Times a call of every operation that a line of the input asks for: `<isa> <operation> <elements>`.
#[derive(Parser)]
struct Arguments {}

fn run(_: &Arguments) -> Outcome {
    let mut tensor = Tensor::new(0);
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("standard input: {error}"))?;
        let seconds = answer(&line, &mut tensor).map_err(|error| format!("`{line}`: {error}"))?;
        program::print(format_args!("{seconds}\n"))?;
    }
    Ok(())
}

/// The seconds per call of what a line asks for.
fn answer(line: &str, tensor: &mut Tensor) -> Result<f64, Box<dyn Error>> {
    let [isa, operation, elements] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err("not a request: <isa> <operation> <elements>".into());
    };
    let (isa, Shape::Elements(elements)) = (Isa::named(isa)?, elements.parse()?) else {
        return Err(format!("{elements} is no number of elements").into());
    };
    if tensor.x.len() != elements {
        *tensor = Tensor::new(elements);
    }
    let request = Request::new(operation, elements)?;
    let params = request.params(elements)?;
    let mut timed = |calls: u32| -> Result<Duration, zeropoint::Error> {
        let start = Instant::now();
        (0..calls).try_for_each(|_| tensor.call(isa, &request, &params))?;
        Ok(start.elapsed())
    };
    // The first call only warms the caches.
    timed(1)?;
    let calls = (TURN.as_secs_f64() / timed(1)?.as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e6) as u32;
    Ok(timed(calls)?.as_secs_f64() / f64::from(calls))
}

fn main() -> ExitCode {
    program::main(run)
}
