//! The picture: for each tensor the signal to quantization noise against the bits a number, scales and zero points counted: the
//! best of each granularity and of the two scales at every number of bits, the best of weights in groups, and formats by name.
//! SVG, on white, so that it reads on pages of any colour.

use std::error::Error;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use zeropoint::{ScaleKind, Scheme};

use crate::grid::{Results, Sharing};
use crate::report::best;
use crate::stored::Way;
use zeropoint_tools::tensors::Tensor;

/// Of the chart of a tensor.
const SIZE: (u32, u32) = (900, 620);
/// More tensors than this are not drawn.
pub const MOST: usize = 12;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xcc, 0xcc, 0xcc);
const FINE_GRID: RGBColor = RGBColor(0xea, 0xea, 0xea);

/// Bits a number that are drawn beyond the fewest, which are many of a few numbers: each has a large part of their scale.
const SPAN: f64 = 8.0;

/// Colours of Okabe and Ito, which the colour-blind can tell apart.
const LOOKS: [(Sharing, RGBColor); 3] = [
    (Sharing::Tensor, RGBColor(0xd5, 0x5e, 0x00)),
    (Sharing::Channel, RGBColor(0x00, 0x72, 0xb2)),
    (Sharing::Block, RGBColor(0x00, 0x9e, 0x73)),
];

const GROUPS: RGBColor = RGBColor(0xcc, 0x79, 0xa7);

type Drawn = Result<(), Box<dyn Error>>;

/// The picture.
pub fn svg(compared: &[(&Tensor, Results)]) -> Result<String, Box<dyn Error>> {
    let drawn = &compared[..compared.len().min(MOST)];
    let columns = drawn.len().min(2);
    let rows = drawn.len().div_ceil(columns);
    let mut svg = String::new();
    {
        let size = (SIZE.0 * columns as u32, SIZE.1 * rows as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        for (area, (tensor, results)) in area.split_evenly((rows, columns)).iter().zip(drawn) {
            chart(area, tensor, results)?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn chart(area: &DrawingArea<SVGBackend<'_>, Shift>, tensor: &Tensor, results: &Results) -> Drawn {
    // The best of a granularity and a kind of scale at every number of bits.
    let curve = |sharing: Sharing, scale: ScaleKind| -> Vec<(f64, f64)> {
        let mut bits: Vec<u32> = results.outcomes.iter().map(|outcome| outcome.bits).collect();
        bits.sort_unstable();
        bits.dedup();
        let of = |bits| {
            best(results, |outcome| {
                let Scheme { scale: its, .. } = outcome.scheme;
                (outcome.sharing, its, outcome.bits) == (sharing, scale, bits)
            })
        };
        let points = bits.into_iter().filter_map(|bits| of(bits).map(|best| (best.bits_per_number, best.error.sqnr())));
        points.filter(|(_, sqnr)| sqnr.is_finite()).collect()
    };
    let stored = results.stored.iter().map(|stored| (stored, (stored.bits_per_weight, stored.error.sqnr())));
    let stored: Vec<_> = stored.filter(|(_, (_, sqnr))| sqnr.is_finite()).collect();
    let groups = stored.iter().filter(|(stored, _)| stored.best && stored.way.format().is_none());
    let mut groups: Vec<(f64, f64)> = groups.map(|&(_, point)| point).collect();
    groups.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // (FP8 is about as good with a scale for every channel.)
    let name = |way: Way| match way {
        Way::Blocks(format) => Some(format!("{format:?}")),
        Way::Fp8(format, Sharing::Tensor) => Some(format!("{format:?}")),
        Way::Fp8(..) | Way::Groups { .. } => None,
    };
    let mut formats: Vec<(String, (f64, f64))> =
        stored.iter().filter_map(|(stored, point)| Some((name(stored.way)?, *point))).collect();
    let mut curves =
        LOOKS.map(|(sharing, _)| [ScaleKind::Float, ScaleKind::PowerOfTwo].map(|scale| curve(sharing, scale)));
    let first = curves.iter().flatten().flatten().chain(&groups).chain(formats.iter().map(|(_, point)| point));
    let last = first.fold(f64::INFINITY, |first, (bits, _)| first.min(*bits)) + SPAN;
    curves.iter_mut().flatten().for_each(|curve| curve.retain(|(bits, _)| *bits <= last));
    groups.retain(|(bits, _)| *bits <= last);
    formats.retain(|(_, (bits, _))| *bits <= last);
    let points = || curves.iter().flatten().flatten().chain(&groups).chain(formats.iter().map(|(_, point)| point));
    let ends = |f: fn(&(f64, f64)) -> f64| {
        points().map(f).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)))
    };
    let ((few, many), (least, most)) = (ends(|point| point.0), ends(|point| point.1));
    if few > many {
        return Ok(()); // nothing but exact results
    }
    let title = format!("{} {:?}", tensor.name, tensor.shape);
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(30))
        .margin(20)
        .margin_right(40)
        .x_label_area_size(64)
        .y_label_area_size(90)
        .build_cartesian_2d(few - 0.3..many + 0.3, (least - 3.0).min(0.0)..most + 3.0)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(FINE_GRID)
        .axis_style(INK)
        .label_style(text(22))
        .axis_desc_style(text(24))
        .x_desc("bits a number, with its part of scales and zero points")
        .y_desc("signal to quantization noise, dB")
        .x_labels((many - few) as usize + 2)
        .x_max_light_lines(0)
        .x_label_formatter(&|bits| format!("{bits:.0}"))
        .y_max_light_lines(1)
        .y_label_formatter(&|sqnr| format!("{sqnr:.0}"))
        .draw()?;
    for ((sharing, color), curves) in LOOKS.into_iter().zip(&curves) {
        let [float, shift] = curves;
        let name = match sharing {
            Sharing::Tensor => "one scale",
            Sharing::Channel => "one a channel",
            Sharing::Block => "one a block",
        };
        if float.is_empty() && shift.is_empty() {
            continue;
        }
        let line = LineSeries::new(float.iter().copied(), color.stroke_width(3));
        chart
            .draw_series(line)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 40, y)], color.stroke_width(3)));
        chart.draw_series(float.iter().map(|&point| Circle::new(point, 6, color.filled())))?;
        let line = DashedLineSeries::new(shift.iter().copied(), 4, 7, color.stroke_width(3));
        chart.draw_series(line)?;
        chart.draw_series(shift.iter().map(|&point| Circle::new(point, 6, color.stroke_width(3))))?;
    }
    if !groups.is_empty() {
        chart
            .draw_series(LineSeries::new(groups.iter().copied(), GROUPS.stroke_width(3)))?
            .label("groups, f16 scales")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 40, y)], GROUPS.stroke_width(3)));
        chart.draw_series(groups.iter().map(|&point| Circle::new(point, 4, GROUPS.filled())))?;
    }
    chart.draw_series(formats.iter().map(|(name, point)| {
        let cross = Cross::new((0, 0), 7, INK.stroke_width(2));
        EmptyElement::at(*point) + cross + Text::new(name.clone(), (11, -9), text(18))
    }))?;
    // A series of nothing, for the legend.
    let dotted = |(x, y)| DashedPathElement::new([(x, y), (x + 40, y)], 4, 7, INK.stroke_width(3));
    chart.draw_series(LineSeries::new([], INK))?.label("powers of two").legend(dotted);
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .legend_area_size(56)
        .margin(14)
        .background_style(WHITE.filled())
        .border_style(GRID)
        .label_font(text(20))
        .draw()?;
    Ok(())
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_text_style(&SIZE).color(&INK)
}
