//! What is reported of the runs: a table, or the same as JSON.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde_core::ser::{Serialize, SerializeStruct, Serializer};
use zeropoint::Isa;

use crate::evaluate::Run;
use lenet::network::top;

/// All runs.
pub struct Report {
    pub images: usize,
    pub float_correct: usize,
    pub results: Vec<Row>,
}

/// One scheme on one ISA.
pub struct Row {
    pub scheme: &'static str,
    pub isa: &'static str,
    pub kernel: &'static str,
    /// Digits recognized.
    pub correct: usize,
    /// Digits taken for what the float network takes them for.
    pub agree: usize,
    /// Signal to quantization noise of the logits; none where there is no noise.
    pub sqnr_db: Option<f64>,
    pub images_per_second: f64,
    pub digest: String,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut report = serializer.serialize_struct("Report", 3)?;
        report.serialize_field("images", &self.images)?;
        report.serialize_field("float_correct", &self.float_correct)?;
        report.serialize_field("results", &self.results)?;
        report.end()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Row", 8)?;
        row.serialize_field("scheme", self.scheme)?;
        row.serialize_field("isa", self.isa)?;
        row.serialize_field("kernel", self.kernel)?;
        row.serialize_field("correct", &self.correct)?;
        row.serialize_field("agree", &self.agree)?;
        row.serialize_field("sqnr_db", &self.sqnr_db)?;
        row.serialize_field("images_per_second", &self.images_per_second)?;
        row.serialize_field("digest", &self.digest)?;
        row.end()
    }
}

impl Row {
    /// `reference` is the run of the float network, which has no ISA.
    pub fn new(scheme: &'static str, isa: Option<Isa>, run: &Run, reference: &Run, labels: &[u8]) -> Self {
        let (classes, reference_classes) = (top(&run.logits), top(&reference.logits));
        Row {
            scheme,
            isa: isa.map_or("none", Isa::name),
            kernel: isa.map_or("plain f32 loops", Isa::kernel),
            correct: classes.iter().zip(labels).filter(|&(&class, &label)| class == usize::from(label)).count(),
            agree: classes.iter().zip(&reference_classes).filter(|(class, reference)| class == reference).count(),
            sqnr_db: sqnr(&reference.logits, &run.logits),
            images_per_second: run.images_per_second,
            digest: run.digest.clone(),
        }
    }
}

/// The power of `signal` over that of its difference from `quantized`, in dB.
fn sqnr(signal: &[f32], quantized: &[f32]) -> Option<f64> {
    let power = |x: f64| x * x;
    let signal_power: f64 = signal.iter().map(|&x| power(x.into())).sum();
    let noise_power: f64 = signal.iter().zip(quantized).map(|(&x, &y)| power(f64::from(x) - f64::from(y))).sum();
    (noise_power > 0.0).then(|| 10.0 * (signal_power / noise_power).log10())
}

impl Report {
    /// `Ok` when no scheme has two digests.
    pub fn check_digests(&self) -> Result<(), String> {
        for row in &self.results {
            let first = self.results.iter().find(|first| first.scheme == row.scheme).expect("itself, if no other");
            if first.digest != row.digest {
                return Err(format!("{}: {} and {} gave different bytes", row.scheme, first.isa, row.isa));
            }
        }
        Ok(())
    }

    /// What the digests say.
    fn conclusion(&self) -> String {
        let last = self.results.last().map(|row| row.scheme);
        let isas = self.results.iter().filter(|row| Some(row.scheme) == last).count();
        match self.check_digests() {
            Err(difference) => difference,
            Ok(()) if isas > 1 => format!("Every quantized scheme gave the same bytes on all {isas} ISAs."),
            Ok(()) => "One ISA at most: nothing to compare the bytes with.".to_owned(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let correct = format!("correct of {}", self.images);
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["scheme", "ISA", "kernel", &correct, "as float", "SQNR", "images/s", "digest"]);
        for row in &self.results {
            table.add_row([
                row.scheme.to_owned(),
                row.isa.to_owned(),
                row.kernel.to_owned(),
                row.correct.to_string(),
                row.agree.to_string(),
                row.sqnr_db.map_or("–".to_owned(), |sqnr| format!("{sqnr:.2} dB")),
                format!("{:.0}", row.images_per_second),
                row.digest.clone(),
            ]);
        }
        for column in table.column_iter_mut().skip(3).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}\n{}", self.conclusion())
    }
}
