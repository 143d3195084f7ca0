//! Runs the shipped networks with the bits of all of TensorFlow Lite's kernels, on every ISA of this CPU, on one thread and on two, and
//! compares every tensor: `cargo run --release -p wakeword`. Prints Markdown.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use rayon::ThreadPoolBuilder;
use wakeword::kernels::Kernels;
use wakeword::network::Wrong;
use wakeword::recorded::{Features, Recorded, Run, Shipped, make, shipped};
use zeropoint::{Exec, Isa};

const THREADS: [usize; 2] = [1, 2];

/// A set of kernels with some features, everywhere.
struct Row<'a> {
    shipped: &'a Shipped,
    run: &'a Run,
    /// Codes of all tensors in all steps.
    codes: usize,
    /// Tensors that are not TensorFlow Lite's, on any ISA and number of threads.
    different: usize,
}

impl<'a> Row<'a> {
    fn new(shipped: &'a Shipped, run: &'a Run, isas: &[Isa]) -> Result<Self, Wrong> {
        let (Some(&count), Some(digests)) = (run.steps.last(), run.digests.last()) else {
            return Err("nothing recorded".into());
        };
        let steps = run.features.steps(count)?;
        let mut different = 0;
        for threads in THREADS {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
            for &isa in isas {
                let made = pool.install(|| make(Exec::from(isa).rayon(), shipped, run.kernels, &steps))?;
                different += made.digests.iter().zip(digests).filter(|(made, recorded)| made != recorded).count();
            }
        }
        let elements = |number| shipped.network.graph.tensors[number].elements();
        let codes = count * shipped.recorded.tensors.iter().map(elements).sum::<usize>();
        Ok(Row { shipped, run, codes, different })
    }

    fn cells(&self) -> [String; 8] {
        let Row { shipped: Shipped { name, network, recorded }, run, codes, different } = self;
        [
            (*name).to_owned(),
            network.graph.operators.len().to_string(),
            recorded.tensors.len().to_string(),
            run.kernels.to_string(),
            run.features.to_string(),
            run.steps.last().map_or(0, |&steps| steps).to_string(),
            format!("{:.1}", *codes as f64 / 1e6),
            different.to_string(),
        ]
    }
}

fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    table.add_rows(rows);
    table
}

/// How far sets of kernels are from each other: the tensors that differ between two, in random features; and the largest probability
/// that the network gave to sound.
fn kernels(Shipped { name, recorded: Recorded { tensors, runs, .. }, .. }: &Shipped) -> [String; 5] {
    let last = |kernels| {
        let digests = |run: &&Run| run.kernels == kernels && run.features == Features::Random;
        runs.iter().find(digests).and_then(|run| run.digests.last()).map_or([].as_slice(), Vec::as_slice)
    };
    let apart = |one, other| {
        let count = last(one).iter().zip(last(other)).filter(|(one, other)| one != other).count();
        format!("{count} of {}", tensors.len())
    };
    let most = runs.iter().flat_map(|run| &run.outputs).max().map_or(0, |&code| code);
    [
        (*name).to_owned(),
        apart(Kernels::BuiltIn, Kernels::Xnnpack),
        apart(Kernels::BuiltIn, Kernels::Reference),
        apart(Kernels::Xnnpack, Kernels::Reference),
        format!("{most}/256"),
    ]
}

/// The document, and whether everything is equal.
fn report() -> Result<(String, bool), Wrong> {
    let (shipped, isas) = (shipped()?, Isa::supported());
    let runs = shipped.iter().flat_map(|shipped| shipped.recorded.runs.iter().map(move |run| (shipped, run)));
    let rows = runs.map(|(shipped, run)| Row::new(shipped, run, &isas)).collect::<Result<Vec<_>, Wrong>>()?;
    let names: Vec<&str> = isas.iter().map(|isa| isa.name()).collect();
    let header =
        ["network", "operators", "tensors", "kernels", "features", "steps", "million codes", "tensors that differ"];
    let mut text = format!(
        "# Wake words, tensor by tensor\n\nFour networks of int8 codes on zeropoint's layers, with the bits of each of TensorFlow \
         Lite's sets of kernels. Every tensor of every step was compared, by digests, on one thread and on two, on each ISA of the machine: {}. The last \
         column counts tensors that differ anywhere. `wakeword/README.md` says what was recorded, and how.\n\n{}\n",
        names.join(", "),
        table(header, rows.iter().map(Row::cells)),
    );
    let header =
        ["network", "built-in and XNNPACK", "built-in and reference", "XNNPACK and reference", "largest probability"];
    writeln!(
        text,
        "\nNo set of kernels has the bits of another: tensors that differ between two of them, after all random steps. The probability \
         is the largest in the sound, a voice that says the words of all networks.\n\n{}",
        table(header, shipped.iter().map(kernels))
    )?;
    Ok((text, rows.iter().all(|row| row.different == 0)))
}

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        let _ = writeln!(std::io::stderr(), "error: it takes no arguments: cargo run --release -p wakeword");
        return ExitCode::from(2);
    }
    let equal = report().and_then(|(text, equal)| {
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(equal)
    });
    match equal {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
