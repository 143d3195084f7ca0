//! The wheel's engine, in a process of its own that `wheel.py` runs.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use e5::Embeddings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::pairs::Pairs;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wheel.py");

/// The engine on some threads. It stops when its standard input ends.
pub struct Wheel {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
    tokens: Vec<usize>,
}

impl Wheel {
    /// Starts it, and has it embed queries and passages.
    pub fn start(
        package: &Path,
        model: &Path,
        threads: usize,
        pairs: &Pairs,
    ) -> Result<(Self, Embeddings), Box<dyn Error>> {
        let mut command = Command::new("python3");
        command.arg(PROGRAM).arg(package).arg(model).env("OMP_NUM_THREADS", threads.to_string());
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = started.map_err(|error| format!("python3: {error}"))?;
        let (input, output) = (process.stdin.take(), process.stdout.take().expect("it is piped"));
        let mut wheel = Wheel { process, input, output: BufReader::new(output) };
        let queries: Vec<&str> = pairs.0.iter().map(|pair| &*pair.query).collect();
        let passages: Vec<&str> = pairs.0.iter().map(|pair| &*pair.passage).collect();
        let answer = wheel.ask(&json!({ "queries": queries, "passages": passages }).to_string());
        let Answer { embeddings, tokens } =
            answer.map_err(|error| format!("{}: no answer from its engine: {error}", package.display()))?;
        let width = embeddings.first().map_or(0, Vec::len);
        Ok((wheel, Embeddings { width, values: embeddings.concat(), tokens }))
    }

    /// The seconds that it takes for all texts: `batch` in two calls, `single` in one for each.
    pub fn turn(&mut self, turn: &str) -> Result<f64, Box<dyn Error>> {
        self.ask(turn).map_err(|error| format!("the wheel's engine stopped: {error}").into())
    }

    fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Result<T, Box<dyn Error>> {
        let input = self.input.as_mut().expect("it is open as long as this is");
        writeln!(input, "{line}")?;
        input.flush()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Wheel {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}
