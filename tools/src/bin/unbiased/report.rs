//! What is reported of the curves: a table, what one sees in it, and all points as CSV.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::convergence::Curve;
use crate::types;

/// A line of the file.
#[derive(Serialize)]
struct Record {
    /// 1 … 8, in the order of `Scheme::ALL`.
    r#type: usize,
    scale: &'static str,
    offset: &'static str,
    rounding: &'static str,
    n: u64,
    error: f64,
}

/// All points of all curves.
pub fn csv(curves: &[Curve]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (i, curve) in curves.iter().enumerate() {
        let scheme = curve.scheme;
        let (scale, offset, rounding) = (types::scale(scheme), types::offset(scheme), types::rounding(scheme));
        for point in &curve.points {
            writer.serialize(Record { r#type: i + 1, scale, offset, rounding, n: point.n, error: point.error })?;
        }
    }
    Ok(writer.into_inner()?)
}

/// A row for every type.
pub fn table(curves: &[Curve]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let errors = [curves[0].first(), curves[0].last()].map(|point| format!("error at N = {}", point.n));
    table.set_header(["type", "scale", "offset", "rounding", "S", "Z", &errors[0], &errors[1], "slope"]);
    for (i, curve) in curves.iter().enumerate() {
        table.add_row([
            (i + 1).to_string(),
            types::scale(curve.scheme).to_owned(),
            types::offset(curve.scheme).to_owned(),
            types::rounding(curve.scheme).to_owned(),
            format!("{:.6}", curve.scale),
            curve.zero_point.to_string(),
            percent(curve.first().error),
            percent(curve.last().error),
            curve.slope().map_or("–".to_owned(), exponent),
        ]);
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What the curves say.
pub fn conclusion(curves: &[Curve]) -> String {
    let (stochastic, nearest): (Vec<_>, Vec<_>) = curves.iter().partition(|curve| curve.is_stochastic());
    let n = curves[0].last().n;
    let (least, most) = extremes(stochastic.iter().map(|curve| curve.first().error / curve.last().error));
    let (best, worst) = extremes(nearest.iter().map(|curve| curve.last().error));
    let ahead = match overtaken(&stochastic, &nearest) {
        Some(n) => format!(
            "From N = {n} on, every stochastic type beats nearest rounding with the same kinds of scale and offset."
        ),
        None => format!("At N = {n}, not every stochastic type beats nearest rounding yet."),
    };
    format!(
        "Stochastic rounding has no bias: the mean of {n} is {least:.1} to {most:.1} times as near to x as one \
         (√N = {:.1}).\n\
         Nearest rounding keeps its error, {} to {} of the RMS of x, however often it is repeated.\n\
         {ahead}",
        (n as f64).sqrt(),
        percent(best),
        percent(worst),
    )
}

/// The N from which on each stochastic curve is below that of the same scale and offset with nearest rounding.
fn overtaken(stochastic: &[&Curve], nearest: &[&Curve]) -> Option<u64> {
    let ahead = |i: usize| {
        stochastic.iter().all(|curve| {
            let twin = nearest.iter().find(|twin| twin.scheme.stochastic() == curve.scheme);
            twin.is_some_and(|twin| curve.points[i].error < twin.points[i].error)
        })
    };
    let points = &stochastic[0].points;
    points.iter().enumerate().rev().take_while(|&(i, _)| ahead(i)).last().map(|(_, point)| point.n)
}

/// The smallest and the largest.
fn extremes(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), x| (min.min(x), max.max(x)))
}

fn exponent(slope: f64) -> String {
    // Sums of logarithms leave a level curve a slope of some 10⁻¹⁷, of either sign: 0.0 takes the sign of its zero.
    format!("{:.3}", (slope * 1000.0).round() / 1000.0 + 0.0)
}

fn percent(x: f64) -> String {
    // Three digits, whatever the size.
    let decimals = (2.0 - (100.0 * x).log10().floor()).clamp(0.0, 9.0);
    format!("{:.*} %", decimals as usize, 100.0 * x)
}
