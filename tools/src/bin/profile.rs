//! Calls one kernel repeatedly, for a profiler: `cargo run --release -p zeropoint-tools --bin profile -- matmul 512 avx2`.
//!
//! ```sh
//! cargo build --release -p zeropoint-tools --bin profile
//! valgrind --tool=callgrind --dump-instr=yes --collect-jumps=yes --toggle-collect='profile::measured' \
//!     target/release/profile matmul 256 avx2 --calls 3
//! callgrind_annotate callgrind.out.* | head -30
//! perf record target/release/profile quantize 65536 avx512 --calls 100000 && perf report
//! ```
//!
//! Release builds of this project have line tables, and the measured call is in a function of its own. Valgrind lacks AVX-512:
//! there the best ISA is `avx2`.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, value_parser};
use zeropoint::Isa;

use zeropoint_tools::operations::{Operation, Shape};
use zeropoint_tools::program::{self, Outcome};

/// Calls one kernel repeatedly, for a profiler.
#[derive(Parser)]
struct Arguments {
    /// The operation to call
    op: Operation,
    /// MxNxK or the side of a cube, of a multiplication; a number of elements otherwise
    shape: Shape,
    /// The name of an ISA, by default the best that this CPU has
    isa: Option<String>,
    /// The number of calls
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    calls: u64,
}

/// The shape to measure: for a product, a single size is the side of a cube.
fn shape_of(op: Operation, asked: Shape) -> Result<Shape, String> {
    match asked {
        Shape::Elements(side) if op.is_product() => format!("{side}x{side}x{side}").parse(),
        Shape::Product { .. } if !op.is_product() => Err(format!("{} takes a number of elements", op.name())),
        asked => Ok(asked),
    }
}

#[inline(never)]
fn measured(call: &mut dyn FnMut()) {
    call();
}

fn run(arguments: &Arguments) -> Outcome {
    let isa = arguments.isa.as_deref().map_or_else(Isa::best, Isa::named)?;
    let shape = shape_of(arguments.op, arguments.shape).map_err(|why| format!("{}: {why}", arguments.shape))?;
    let mut call = arguments.op.prepare(shape, isa, false)?;
    // Warm up: pages mapped, code and data in the caches.
    call();
    let start = Instant::now();
    for _ in 0..arguments.calls {
        measured(&mut call);
    }
    let seconds = start.elapsed().as_secs_f64() / arguments.calls as f64;
    let (name, rate, unit) = (arguments.op.name(), shape.work() / seconds / 1e9, shape.unit());
    let calls = arguments.calls;
    program::print(format_args!(
        "{name} {shape} on {isa}: {calls} calls, {:.3} µs each, {rate:.2} {unit}\n",
        seconds * 1e6
    ))
}

fn main() -> ExitCode {
    program::main(run)
}
