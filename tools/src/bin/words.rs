//! PRNG dump: writes a stream of random words to standard output, for test batteries:
//!
//! ```sh
//! cargo run --release -p zeropoint-tools --bin words -- --seed 42 | dieharder -a -g 200
//! ```

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Parser;
use zeropoint::random::fill_words;
use zeropoint::{Isa, Stream};
use zeropoint_tools::program::{self, Outcome};

/// Writes random words, 32-bit little-endian, until the reader has enough or the stream ends.
#[derive(Parser)]
struct Arguments {
    /// The seed of the stream.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The index of the first word.
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// The ISA, by default the best.
    #[arg(long)]
    isa: Option<String>,
}

fn run(arguments: &Arguments) -> Outcome {
    let isa = arguments.isa.as_deref().map_or_else(Isa::best, Isa::named)?;
    let mut stream = Stream { seed: arguments.seed, offset: arguments.offset };
    let mut words = vec![0_u32; 64 << 10];
    let mut out = stdout().lock();
    loop {
        // The stream may end inside the buffer.
        let left = (u64::MAX - stream.offset).saturating_add(1);
        words.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        fill_words(isa, stream, &mut words)?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        program::written(out.write_all(&bytes))?;
        match stream.skip(words.len() as u64) {
            Ok(next) => stream = next,
            Err(_) => return Ok(()),
        }
    }
}

fn main() -> ExitCode {
    program::main(run)
}
