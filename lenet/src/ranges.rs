//! How many digits the static network recognizes, by the method that chose its ranges and the bits of its codes.

use std::error::Error;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use zeropoint::calibrate::Method;
use zeropoint::{Isa, Rule, ScaleKind};

use lenet::data::Weights;
use lenet::float::Activations;
use lenet::network::{Network, top};
use lenet::static_range::{Calibration, StaticNetwork};

const BITS: [u32; 4] = [8, 6, 4, 3];

const METHODS: [Method; 12] = [
    Method::MinMax,
    Method::AbsMax,
    Method::Average,
    Method::Ema(0.9),
    Method::Std(3.0),
    Method::Gauss,
    Method::Laplace,
    Method::Percentile(99.99),
    Method::Percentile(99.9),
    Method::Percentiles(99.9),
    Method::Entropy,
    Method::Mse,
];

/// A row for every method, a column for every number of bits, of weights and activations both.
pub fn table(
    isa: Isa,
    weights: &Weights,
    activations: &Activations,
    images: &[f32],
    labels: &[u8],
) -> Result<String, Box<dyn Error>> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let mut header = vec!["range".to_owned()];
    header.extend(BITS.map(|bits| format!("{bits} bits")));
    table.set_header(header);
    for method in METHODS {
        let mut row = vec![method.to_string()];
        for bits in BITS {
            let calibration = Calibration { bits, method };
            let scale = ScaleKind::Float;
            let network = StaticNetwork::new(isa, weights, activations, calibration, scale, Rule::FixedPoint)
                .map_err(|error| format!("{method}, {bits} bits: {error}"))?;
            let classes = top(&network.forward(images)?.logits);
            let correct = classes.iter().zip(labels).filter(|&(&class, &label)| class == usize::from(label)).count();
            row.push(correct.to_string());
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Ok(format!(
        "Digits recognized of {}, by static networks with weights and activations of so many bits:\n{table}",
        labels.len()
    ))
}
