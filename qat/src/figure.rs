//! Pictures: SVG, on white, so that they read on pages of any colour.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Failure;
use crate::bias::Measured;
use crate::mean::Mean;
use crate::recipe::{Quantized, Recipe, Variant};
use crate::report::Results;

/// Width and height of a picture, in pixels.
const SIZE: (u32, u32) = (1500, 1000);

/// Colours of Okabe and Ito, which the colour-blind can tell apart too.
const COLORS: [RGBColor; 8] = [
    RGBColor(0x33, 0x33, 0x33),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xc4, 0x45, 0x9d),
    RGBColor(0x99, 0x99, 0x99),
];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The error of the mean gradient against the number of draws, with float scales and the symmetric scheme: stochastic
/// solid, nearest with hollow circles.
///
/// # Errors
/// A picture that the backend cannot draw.
pub fn bias(measured: &[Measured]) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let area: Canvas<'_> = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let chosen: Vec<&Measured> = measured.iter().filter(|m| m.scheme == "float scale, symmetric").collect();
        let all = || chosen.iter().flat_map(|m| &m.errors);
        let last = all().map(|&(n, _)| n as f64).fold(1.0, f64::max);
        let top = all().map(|&(_, error)| error).fold(0.0, f64::max) * 2.0;
        let bottom = all().map(|&(_, error)| error).fold(f64::INFINITY, f64::min) / 2.0;
        let mut chart = ChartBuilder::on(&area)
            .caption(
                "Gradient of a quadratic cost at quantized coefficients, float scale, symmetric",
                ("sans-serif", 30),
            )
            .margin(20)
            .x_label_area_size(70)
            .y_label_area_size(110)
            .build_cartesian_2d((1.0..last).log_scale().base(2.0), (bottom..top).log_scale())?;
        chart
            .configure_mesh()
            .label_style(("sans-serif", 24))
            .axis_desc_style(("sans-serif", 26))
            .x_desc("number N of draws")
            .y_desc("‖mean − exact‖ / ‖exact‖")
            .x_label_formatter(&|n| format!("{n:.0}"))
            .y_label_formatter(&|error| format!("{} %", (error * 1e12).round() / 1e10))
            .draw()?;
        let mut bits: Vec<u32> = chosen.iter().map(|m| m.bits).collect();
        bits.dedup();
        for m in chosen {
            let color = COLORS[1 + bits.iter().position(|&b| b == m.bits).unwrap_or(0) % 7];
            let points = m.errors.iter().map(|&(n, error)| (n as f64, error));
            let name = format!("{} bits, {}", m.bits, if m.stochastic { "stochastic" } else { "nearest" });
            let style = if m.stochastic { color.stroke_width(4) } else { color.stroke_width(1) };
            chart
                .draw_series(LineSeries::new(points.clone(), style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 40, y)], style));
            if !m.stochastic {
                chart.draw_series(points.map(|point| Circle::new(point, 6, color)))?;
            }
        }
        legend(&mut chart, SeriesLabelPosition::LowerLeft)?;
        area.present()?;
    }
    Ok(svg)
}

/// Draws the names of the lines into a corner.
fn legend<'a, X: plotters::coord::ranged1d::Ranged, Y: plotters::coord::ranged1d::Ranged>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    corner: SeriesLabelPosition,
) -> Result<(), Failure> {
    chart
        .configure_series_labels()
        .position(corner)
        .legend_area_size(50)
        .margin(14)
        .label_font(("sans-serif", 24))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

/// A line's name and colour, and the mean at every place.
type Line = (String, RGBColor, Vec<(usize, Mean)>);

/// Accuracy by bits, a line for every variant with float scales, with standard errors.
///
/// # Errors
/// A picture that the backend cannot draw.
pub fn accuracy(results: &Results) -> Result<String, Failure> {
    let mut bits: Vec<u32> = results.widths().into_iter().map(|(bits, _)| bits).collect();
    bits.sort_unstable();
    bits.dedup();
    let mean = |values: Vec<(u64, f64)>| Mean::of(&values.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
    let mut lines: Vec<Line> = Vec::new();
    let mut line = |name: &str, of: &dyn Fn(u32) -> Vec<(u64, f64)>| {
        let points = bits.iter().enumerate().filter_map(|(i, &bits)| Some((i, mean(of(bits))?)));
        let points: Vec<(usize, Mean)> = points.collect();
        lines.push((name.to_owned(), COLORS[lines.len() % COLORS.len()], points));
    };
    line("after training, MSE", &|bits| results.post(bits, false, true));
    for variant in Variant::ALL {
        line(variant.name(), &|bits| {
            results.accuracies(Recipe::Quantized(Quantized { bits, power_of_two: false, variant }))
        });
    }
    let all = || lines.iter().flat_map(|(_, _, points)| points).map(|(_, mean)| mean.mean);
    let (low, high) = (all().fold(100.0, f64::min), all().fold(0.0, f64::max));
    let mut svg = String::new();
    {
        let area: Canvas<'_> = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("{}: accuracy by bits, float scales", results.data), ("sans-serif", 30))
            .margin(20)
            .x_label_area_size(70)
            .y_label_area_size(110)
            .build_cartesian_2d(-0.3..bits.len() as f64 - 0.7, (low - 3.0).max(0.0)..(high + 3.0).min(100.0))?;
        let names = bits.clone();
        chart
            .configure_mesh()
            .disable_x_mesh()
            .label_style(("sans-serif", 24))
            .axis_desc_style(("sans-serif", 26))
            .x_desc("bits of weights and activations")
            .y_desc("right, of the test images, %")
            .x_labels(bits.len() * 2)
            .x_label_formatter(&|x| {
                let near = (x - x.round()).abs() < 0.01 && *x > -0.01;
                if near { names.get(x.round() as usize).map_or(String::new(), u32::to_string) } else { String::new() }
            })
            .draw()?;
        for (k, (name, color, points)) in lines.iter().enumerate() {
            // Beside each other, so that error bars at the same bits do not hide each other.
            let at = |i: usize| i as f64 + (k as f64 - 3.5) * 0.025;
            let (color, style) = (*color, color.stroke_width(3));
            chart
                .draw_series(LineSeries::new(points.iter().map(|(i, mean)| (at(*i), mean.mean)), style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 40, y)], style));
            chart.draw_series(points.iter().map(|(i, mean)| {
                let error = mean.error.unwrap_or(0.0);
                PathElement::new([(at(*i), mean.mean - error), (at(*i), mean.mean + error)], color.stroke_width(6))
            }))?;
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight)?;
        area.present()?;
    }
    Ok(svg)
}
