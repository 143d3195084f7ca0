//! What is reported of the outcomes: tables with sentences, JSON, CSV.

use std::error::Error;
use std::fmt::Write;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use zeropoint::{OffsetKind, Range, RoundingKind, ScaleKind, Scheme};

use crate::grid::{Outcome, Results, Sharing};
use crate::stored::{Stored, Way};
use zeropoint_tools::tensors::Tensor;

/// All that is known of an outcome.
#[derive(Serialize)]
struct Record<'a> {
    tensor: &'a str,
    granularity: &'static str,
    /// How ranges are chosen, or the name of a format.
    method: String,
    /// None of block formats.
    scale: Option<&'static str>,
    /// None of formats.
    offset: Option<&'static str>,
    rounding: &'static str,
    /// None of block formats.
    bits: Option<u32>,
    bits_per_number: f64,
    sse: f64,
    mse: f64,
    /// None without any error.
    sqnr_db: Option<f64>,
    effective_bits: Option<f64>,
    max_error: f32,
    /// None where rounding is stochastic, and of stored weights.
    saturated: Option<u64>,
    /// The weights of a group or a block.
    group_length: Option<usize>,
    /// The best of its tensor and bits; of stored weights, none with as few bits a number is better.
    best: bool,
}

fn records<'a>(compared: &'a [(&'a Tensor, Results)]) -> impl Iterator<Item = Record<'a>> {
    compared.iter().flat_map(|(tensor, results)| {
        let schemes = results.outcomes.iter().map(|outcome| Record {
            tensor: &tensor.name,
            granularity: outcome.sharing.name(),
            method: outcome.method.to_string(),
            scale: Some(scale(outcome.scheme)),
            offset: Some(offset(outcome.scheme)),
            rounding: rounding(outcome.scheme),
            bits: Some(outcome.bits),
            bits_per_number: outcome.bits_per_number,
            sse: outcome.error.sse(),
            mse: outcome.error.mse(),
            sqnr_db: Some(outcome.error.sqnr()).filter(|sqnr| sqnr.is_finite()),
            effective_bits: Some(outcome.error.effective_bits()).filter(|bits| bits.is_finite()),
            max_error: outcome.error.max_error(),
            saturated: outcome.error.saturated(),
            group_length: None,
            best: best(results, |other| other.bits == outcome.bits).is_some_and(|best| std::ptr::eq(best, outcome)),
        });
        schemes.chain(results.stored.iter().map(|stored| stored_record(&tensor.name, stored)))
    })
}

fn stored_record<'a>(tensor: &'a str, stored: &Stored) -> Record<'a> {
    let name = stored.way.format().unwrap_or_default();
    let (granularity, method, scale, offset) = match stored.way {
        Way::Groups { zero_points, least_error, .. } => {
            let offset = if zero_points { "asymmetric" } else { "symmetric" };
            ("group", range(least_error).to_owned(), Some("f16"), Some(offset))
        }
        Way::Blocks(_) => ("format", name, None, None),
        Way::Fp8(..) => ("format", name, Some("float"), None),
    };
    Record {
        tensor,
        granularity,
        method,
        scale,
        offset,
        rounding: "nearest",
        bits: stored.way.bits(),
        bits_per_number: stored.bits_per_weight,
        sse: stored.error.sse(),
        mse: stored.error.mse(),
        sqnr_db: Some(stored.error.sqnr()).filter(|sqnr| sqnr.is_finite()),
        effective_bits: Some(stored.error.effective_bits()).filter(|bits| bits.is_finite()),
        max_error: stored.error.max_error(),
        saturated: None,
        group_length: stored.way.length(),
        best: stored.best,
    }
}

/// How the ranges of groups are chosen.
fn range(least_error: bool) -> &'static str {
    if least_error { "mse" } else { "minmax" }
}

pub fn json(compared: &[(&Tensor, Results)]) -> Result<String, Box<dyn Error>> {
    #[derive(Serialize)]
    struct Report<'a> {
        outcomes: Vec<Record<'a>>,
    }
    Ok(serde_json::to_string(&Report { outcomes: records(compared).collect() })? + "\n")
}

pub fn csv(compared: &[(&Tensor, Results)]) -> Result<String, Box<dyn Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    records(compared).try_for_each(|record| writer.serialize(record))?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

pub fn scale(scheme: Scheme) -> &'static str {
    if scheme.scale == ScaleKind::Float { "float" } else { "power of two" }
}

pub fn offset(scheme: Scheme) -> &'static str {
    if scheme.offset == OffsetKind::Integer { "asymmetric" } else { "symmetric" }
}

fn rounding(scheme: Scheme) -> &'static str {
    if scheme.rounding == RoundingKind::Nearest { "nearest" } else { "stochastic" }
}

/// The first outcome with the least noise among some, unless it rounds stochastically: that is for means without bias, and
/// the noise of a single one is larger but for luck.
pub fn best(results: &Results, among: impl Fn(&Outcome) -> bool) -> Option<&Outcome> {
    least(results, |outcome| outcome.scheme.rounding == RoundingKind::Nearest && among(outcome))
}

fn least(results: &Results, among: impl Fn(&Outcome) -> bool) -> Option<&Outcome> {
    let some = results.outcomes.iter().filter(|outcome| among(outcome));
    some.reduce(|best, outcome| if outcome.error.sse() < best.error.sse() { outcome } else { best })
}

/// The tables of a tensor: of schemes, of groups and of formats.
pub fn tables(tensor: &Tensor, results: &Results) -> String {
    let Range { min, max } = results.range;
    let mut text = format!("{} {:?}: {min} … {max}. Signal to quantization noise in dB.\n", tensor.name, tensor.shape);
    if !results.outcomes.is_empty() {
        text += &schemes(tensor, results);
    }
    text + &stored_tables(&results.stored)
}

/// Rows of groups, with a column for every number of bits, and of formats.
fn stored_tables(stored: &[Stored]) -> String {
    let cell = |stored: &Stored| {
        let mark = if stored.best { "★ " } else { "" };
        format!("{mark}{} at {:.2}", decibels(stored.error.sqnr()), stored.bits_per_weight)
    };
    let groups: Vec<&Stored> = stored.iter().filter(|stored| matches!(stored.way, Way::Groups { .. })).collect();
    let mut text = String::new();
    if !groups.is_empty() {
        let mut bits: Vec<u32> = groups.iter().filter_map(|stored| stored.way.bits()).collect();
        bits.sort_unstable();
        bits.dedup();
        let mut header = vec!["groups of".to_owned(), "offset, range".to_owned()];
        header.extend(bits.iter().map(|bits| format!("{bits} bits")));
        let mut rows = table(header);
        let mut keys: Vec<(usize, bool, bool)> = groups.iter().map(|stored| key(stored)).collect();
        keys.dedup();
        for (length, zero_points, least_error) in keys {
            let offset = if zero_points { "zero point" } else { "symmetric" };
            let mut row = vec![length.to_string(), format!("{offset}, {}", range(least_error))];
            row.extend(bits.iter().map(|&bits| {
                let is = |stored: &&&Stored| {
                    (key(stored), stored.way.bits()) == ((length, zero_points, least_error), Some(bits))
                };
                groups.iter().find(is).map_or_else(String::new, |stored| cell(stored))
            }));
            rows.add_row(row);
        }
        let counted = "at their bits a weight, with scales of f16 and zero points";
        write!(text, "Of weights in groups, {counted}:\n{rows}\n").expect("a string takes all");
    }
    let mut formats =
        table(["format", "", "dB at bits a weight", "effective bits", "largest error"].map(str::to_owned).to_vec());
    for stored in stored {
        if let Some(name) = stored.way.format() {
            let length = stored.way.length().map_or_else(String::new, |length| format!("blocks of {length}"));
            let (bits, largest) = (stored.error.effective_bits(), stored.error.max_error());
            formats.add_row([name, length, cell(stored), format!("{bits:.2}"), format!("{largest:.3e}")]);
        }
    }
    if formats.row_count() > 0 {
        write!(text, "Of formats:\n{formats}\n").expect("a string takes all");
    }
    if text.is_empty() { text } else { text + "★ None with as few bits a weight has less noise.\n\n" }
}

/// What all groups of a row of the table have in common.
fn key(stored: &Stored) -> (usize, bool, bool) {
    match stored.way {
        Way::Groups { length, zero_points, least_error, .. } => (length, zero_points, least_error),
        Way::Blocks(_) | Way::Fp8(..) => unreachable!("groups"),
    }
}

/// A row for every granularity and method, one for every type, and a sentence for every number of bits.
fn schemes(tensor: &Tensor, results: &Results) -> String {
    let mut bits: Vec<u32> = results.outcomes.iter().map(|outcome| outcome.bits).collect();
    bits.sort_unstable();
    bits.dedup();
    let mut keys: Vec<_> = results.outcomes.iter().map(|outcome| (outcome.sharing, outcome.method)).collect();
    keys.dedup();
    let cell = |outcome: Option<&Outcome>| match outcome {
        None => String::new(),
        Some(outcome) => {
            let winner = best(results, |other| other.bits == outcome.bits);
            let mark = if winner.is_some_and(|winner| std::ptr::eq(winner, outcome)) { "★ " } else { "" };
            format!("{mark}{}", decibels(outcome.error.sqnr()))
        }
    };
    let header = |first: [&str; 2]| {
        let mut header = first.map(str::to_owned).to_vec();
        header.extend(bits.iter().map(|bits| format!("{bits} bits")));
        header
    };
    let mut methods = table(header(["granularity", "range"]));
    for (sharing, method) in keys {
        let mut row = vec![sharing.name().to_owned(), method.to_string()];
        let of = |outcome: &Outcome, bits| (outcome.sharing, outcome.method, outcome.bits) == (sharing, method, bits);
        row.extend(bits.iter().map(|&bits| cell(best(results, |outcome| of(outcome, bits)))));
        methods.add_row(row);
    }
    let mut types = table(header(["scale, offset", "rounding"]));
    for scheme in Scheme::ALL {
        let mut row = vec![format!("{}, {}", scale(scheme), offset(scheme)), rounding(scheme).to_owned()];
        let of = |outcome: &Outcome, bits| outcome.scheme == scheme && outcome.bits == bits;
        row.extend(bits.iter().map(|&bits| cell(least(results, |outcome| of(outcome, bits)))));
        types.add_row(row);
    }
    let mut text = format!(
        "Of the best type for each range, rounded to nearest:\n{methods}\n\
         Of the best granularity and range for each type:\n{types}\n"
    );
    for bits in bits {
        let sentence = best(results, |outcome| outcome.bits == bits).map(|best| why(best, results, tensor));
        writeln!(text, "★ {}", sentence.expect("an outcome for every number of bits")).expect("a string takes all");
    }
    text + "\n"
}

fn table(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn decibels(sqnr: f64) -> String {
    if sqnr.is_finite() { format!("{sqnr:.2}") } else { "exact".to_owned() }
}

/// What the best one gains by each of its choices: over the best of those that choose otherwise.
fn why(winner: &Outcome, results: &Results, tensor: &Tensor) -> String {
    let shares = match winner.sharing {
        Sharing::Tensor => "one scale",
        Sharing::Channel => "a scale for every channel",
        Sharing::Block => "a scale for every block",
    };
    let mut text = format!(
        "{} bits: {shares}, {}, {} scale, range by {}: {} dB, {:.2} bits a number with its parameters",
        winner.bits,
        offset(winner.scheme),
        scale(winner.scheme),
        winner.method,
        decibels(winner.error.sqnr()),
        winner.bits_per_number,
    );
    let gain = |otherwise: &dyn Fn(&Outcome) -> bool| {
        let other = best(results, |other| other.bits == winner.bits && otherwise(other))?;
        let gain = winner.error.sqnr() - other.error.sqnr();
        (gain.is_finite() && gain >= 0.05).then_some((gain, other))
    };
    let mut reasons = Vec::new();
    if winner.sharing != Sharing::Tensor
        && let Some((gain, _)) = gain(&|other| other.sharing == Sharing::Tensor)
    {
        let spread = results.channel_spread.map_or_else(String::new, |spread| {
            format!(", since the largest magnitudes of its channels differ by a factor of {spread:.1}")
        });
        reasons.push(format!("{gain:.2} dB over one scale for all{spread}"));
    }
    if winner.sharing == Sharing::Block
        && let Some((gain, other)) = gain(&|other| other.sharing == Sharing::Channel)
    {
        let less = winner.bits_per_number - other.bits_per_number;
        reasons.push(format!("{gain:.2} dB over scales by channel, for {less:.2} bits a number more"));
    }
    if let Some((gain, other)) = gain(&|other| other.sharing == winner.sharing && other.method != winner.method) {
        let clips = match winner.error.saturated() {
            Some(0) | None => String::new(),
            Some(count) => format!(", clipping {:.2} % of the numbers", 100.0 * count as f64 / tensor.x.len() as f64),
        };
        reasons.push(format!("{gain:.2} dB over {}{clips}", other.method));
    }
    if let Some((gain, _)) = gain(&|other| other.scheme.offset != winner.scheme.offset) {
        let because = if winner.scheme.offset == OffsetKind::Integer {
            "ranges fit on both sides of 0"
        } else {
            "0 lies amid the codes"
        };
        reasons.push(format!("{gain:.2} dB by being {}, since {because}", offset(winner.scheme)));
    }
    if let Some((gain, _)) = gain(&|other| other.scheme.scale != winner.scheme.scale) {
        reasons.push(format!(
            "{gain:.2} dB over {}",
            if winner.scheme.scale == ScaleKind::Float {
                "scales that are powers of two, which are up to twice as coarse"
            } else {
                "float scales"
            }
        ));
    }
    if !reasons.is_empty() {
        write!(text, "; it gains {}", reasons.join("; ")).expect("a string takes all");
    }
    text + "."
}
