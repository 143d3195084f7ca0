//! The notebook: a tensor of 3×4 in 8 bits, asymmetric, symmetric, and by percentile. Its printed errors of 1.4099, 0.0002 and
//! 0.0002 cannot be compared. Here its own arithmetic stands beside the right one.

use std::error::Error;
use std::fmt::Write;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use zeropoint::calibrate::percentile;
use zeropoint::report::quantization_error;
use zeropoint::{Code, CodeRange, Granularity, Isa, QuantParams, Range, Scheme, min_max};

use zeropoint_tools::tensors::Tensor;

const X: [f32; 12] =
    [-2.1104, 1.0370, -0.1524, 1.5283, -0.5803, 0.4747, -0.0349, -0.4250, 1.0839, 0.2665, -0.3881, 1.3272];

pub fn tensor() -> Tensor {
    Tensor { path: "its source".into(), name: "notebook".to_owned(), shape: vec![3, 4], x: X.to_vec() }
}

/// `x ≈ scale · q` for codes that `clamp` leaves, as the notebook multiplies and adds up.
fn error(scale: f32, clamp: impl Fn(f32) -> f32) -> f64 {
    let error = |x: f32| f64::from(x) - f64::from(clamp((x / scale).round_ties_even()) * scale);
    X.iter().map(|&x| error(x) * error(x)).sum()
}

fn right<C: Code>(isa: Isa, codes: CodeRange<C>, scheme: Scheme, range: Range) -> Result<f64, zeropoint::Error> {
    let params = QuantParams::from_ranges(codes, scheme, Granularity::Tensor, &[range])?;
    Ok(quantization_error(isa, &X, &params)?.sse())
}

pub fn report(isa: Isa) -> Result<String, Box<dyn Error>> {
    let range = min_max(isa, &X)?;
    let magnitudes = X.map(f32::abs);
    let amax = magnitudes.into_iter().fold(0.0, f32::max);
    let (signed, narrow) = (CodeRange::signed(8)?, CodeRange::narrow(8)?);
    let (signed_percentile, percentile) = (percentile(&X, 99.9)?, percentile(&magnitudes, 99.9)?);

    let asymmetric = right(isa, CodeRange::unsigned(8)?, Scheme::ASYMMETRIC, range)?;
    let symmetric = right(isa, narrow, Scheme::SYMMETRIC, range)?;
    let by_percentile = right(isa, narrow, Scheme::SYMMETRIC, Range::symmetric(percentile))?;
    let kept = |q: f32| q.clamp(signed.min().into(), signed.max().into());
    let unkept = (range.min / (signed_percentile / 127.0)).round_ties_even();
    let clamped = error(signed_percentile / 127.0, kept);

    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["scheme", "the notebook prints", "which is", "right"]);
    let mut sentences = String::new();
    let number = |x: f64| if x < 0.01 { format!("{x:.3e}") } else { format!("{x:.4}") };
    let saturated = X.iter().filter(|&&x| kept((x / (amax / 255.0)).round()) != (x / (amax / 255.0)).round()).count();
    let rows = [
        (
            "asymmetric, u8",
            "1.4099",
            error(amax / 255.0, kept),
            asymmetric,
            format!(
                "It takes 0 … max|x| for the range instead of min … max, and never adds the zero point, so {saturated} of 12 \
                 numbers saturate in codes from −128 to 127."
            ),
        ),
        (
            "symmetric, narrow i8",
            "0.0002",
            error(amax / 127.0, |q| q),
            symmetric,
            "Four digits hide the order: it is worse than asymmetric done right, not seven thousand times better; and \
             without a clamp, any smaller range would leave i8."
                .to_owned(),
        ),
        (
            "percentile 99.9, narrow i8",
            "0.0002",
            error(signed_percentile / 127.0, |q| q),
            by_percentile,
            format!(
                "It takes the percentile of the numbers instead of their magnitudes, which misses {}, and does not clamp: the \
                 code {unkept} is no i8; clamped, the error is {clamped:.4}.",
                range.min
            ),
        ),
    ];
    for (scheme, printed, computed, right, why) in rows {
        table.add_row([scheme, printed, &number(computed), &number(right)]);
        writeln!(sentences, "{scheme}: {why}")?;
    }
    Ok(format!("The notebook's tensor in 8 bits, sums of squared errors:\n{table}\n{sentences}\n"))
}
