//! The curves as a picture: SVG, on white, so that it reads on pages of any colour.
//!
//! Colour and marker tell scale and offset; solid lines with filled markers are stochastic, dotted ones with hollow
//! markers are nearest. The four curves of a rounding lie close together, or on each other where their scales are
//! equal: each has its markers at an N of its own.

use std::error::Error;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use zeropoint::{OffsetKind, RoundingKind, ScaleKind, Scheme};

use crate::convergence::Curve;
use crate::types;

const SIZE: (u32, u32) = (1600, 1300);
/// Below the chart.
const LEGEND_HEIGHT: u32 = 260;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const LAW: RGBColor = RGBColor(0x66, 0x66, 0x66);
const GRID: RGBColor = RGBColor(0xcc, 0xcc, 0xcc);
const FINE_GRID: RGBColor = RGBColor(0xea, 0xea, 0xea);

type Canvas<'a, C> = DrawingArea<SVGBackend<'a>, C>;
type Drawn = Result<(), Box<dyn Error>>;

/// What curves of a scale and an offset look like.
struct Look {
    color: RGBColor,
    /// The corners of the marker, in pixels from its middle.
    marker: [(i32, i32); 4],
    /// Which of four neighbouring points has the markers.
    turn: usize,
}

/// Colours of Okabe and Ito, which the colour-blind can tell apart too; the purple is darker than theirs.
fn look(scheme: Scheme) -> Look {
    let (color, marker, turn) = match (scheme.scale, scheme.offset) {
        (ScaleKind::Float, OffsetKind::Integer) => ((0x00, 0x72, 0xb2), [(-9, -9), (9, -9), (9, 9), (-9, 9)], 0),
        (ScaleKind::Float, OffsetKind::Zero | OffsetKind::Middle) => {
            ((0xe6, 0x9f, 0x00), [(0, -13), (13, 0), (0, 13), (-13, 0)], 1)
        }
        (ScaleKind::PowerOfTwo, OffsetKind::Integer) => {
            ((0x00, 0x9e, 0x73), [(0, -12), (0, -12), (12, 9), (-12, 9)], 2)
        }
        (ScaleKind::PowerOfTwo, OffsetKind::Zero | OffsetKind::Middle) => {
            ((0xc4, 0x45, 0x9d), [(12, -9), (0, 12), (0, 12), (-12, -9)], 3)
        }
    };
    Look { color: RGBColor(color.0, color.1, color.2), marker, turn }
}

/// The picture.
pub fn svg(title: &str, curves: &[Curve]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    draw(SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), title, curves)?;
    Ok(svg)
}

fn draw(area: Canvas<'_, Shift>, title: &str, curves: &[Curve]) -> Drawn {
    area.fill(&WHITE)?;
    let (upper, lower) = area.split_vertically(SIZE.1 - LEGEND_HEIGHT);
    chart(&upper, title, curves)?;
    legend(&lower, curves)?;
    Ok(area.present()?)
}

fn chart(area: &Canvas<'_, Shift>, title: &str, curves: &[Curve]) -> Drawn {
    let law @ [_, (last, end)] = law(curves);
    let top = 1.5 * curves.iter().map(|curve| curve.first().error).fold(0.0, f64::max);
    // Far enough down for a power of ten, which has a label.
    let bottom = (end / 1.5).min(10_f64.powf(top.log10().floor()));
    let mut chart = ChartBuilder::on(area)
        .caption(title, text(40))
        .margin(24)
        .margin_right(50)
        .x_label_area_size(84)
        .y_label_area_size(150)
        .build_cartesian_2d((0.8..1.25 * last).log_scale().base(2.0), (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(FINE_GRID)
        .axis_style(INK)
        .label_style(text(28))
        .axis_desc_style(text(32))
        .x_desc("number N of quantizations")
        .y_desc("error of their mean, relative to x: RMS(mean − x) / RMS(x)")
        .x_labels(9)
        .x_max_light_lines(2)
        .x_label_formatter(&|n| format!("{n:.0}"))
        .y_labels(4)
        .y_label_formatter(&|error| format!("{} %", (error * 1e12).round() / 1e10))
        .draw()?;

    draw_law(chart.plotting_area(), law)?;
    draw_curves(chart.plotting_area(), curves)
}

/// The ends of a line of the slope that unbiased means have, below all curves.
fn law(curves: &[Curve]) -> [(f64, f64); 2] {
    let start = curves.iter().map(|curve| curve.first().error).fold(f64::INFINITY, f64::min) / 1.5;
    let last = curves[0].last().n as f64;
    [(1.0, start), (last, start / last.sqrt())]
}

fn draw_law<C: CoordTranslate<From = (f64, f64)>>(area: &Canvas<'_, C>, law: [(f64, f64); 2]) -> Drawn {
    let middle = ((law[0].0 * law[1].0).sqrt(), (law[0].1 * law[1].1).sqrt());
    let name = Text::new("∝ 1/√N", (-14, 8), text(32).pos(Pos::new(HPos::Right, VPos::Top)));
    area.draw(&DashedPathElement::new(law, 18, 12, LAW.stroke_width(3)))?;
    Ok(area.draw(&(EmptyElement::at(middle) + name))?)
}

/// The lines, and above them the markers.
fn draw_curves<C: CoordTranslate<From = (f64, f64)>>(area: &Canvas<'_, C>, curves: &[Curve]) -> Drawn {
    let points = |curve: &Curve| -> Vec<_> { curve.points.iter().map(|point| (point.n as f64, point.error)).collect() };
    for curve in curves {
        draw_line(area, curve.scheme, points(curve))?;
    }
    for curve in curves {
        let turn = look(curve.scheme).turn % curve.points.len();
        for point in points(curve).into_iter().skip(turn).step_by(4) {
            draw_marker(area, curve.scheme, point)?;
        }
    }
    Ok(())
}

/// A row for each scale and offset, a column for each rounding.
fn legend(area: &Canvas<'_, Shift>, curves: &[Curve]) -> Drawn {
    let row = |i: usize| 80 + 46 * i as i32;
    let label = |label: &str, end, at| area.draw_text(label, &text(28).pos(Pos::new(end, VPos::Center)), at);
    let (stochastic, nearest): (Vec<_>, Vec<_>) = curves.iter().partition(|curve| curve.is_stochastic());
    for (i, scheme) in nearest.iter().map(|curve| curve.scheme).enumerate() {
        let name = format!("{} scale, {} offset", types::scale(scheme), types::offset(scheme));
        label(&name, HPos::Right, (800, row(i)))?;
    }
    for (x, column) in [(920, nearest), (1180, stochastic)] {
        label(types::rounding(column[0].scheme), HPos::Center, (x, 34))?;
        for (i, curve) in column.iter().enumerate() {
            draw_line(area, curve.scheme, vec![(x - 80, row(i)), (x + 80, row(i))])?;
            draw_marker(area, curve.scheme, (x, row(i)))?;
        }
    }
    Ok(())
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_text_style(&SIZE).color(&INK)
}

fn draw_line<C: CoordTranslate>(area: &Canvas<'_, C>, scheme: Scheme, line: Vec<C::From>) -> Drawn
where
    C::From: Clone,
{
    let color = look(scheme).color;
    match scheme.rounding {
        RoundingKind::Stochastic => area.draw(&PathElement::new(line, color.stroke_width(3)))?,
        RoundingKind::Nearest => area.draw(&DashedPathElement::new(line, 4, 7, color.stroke_width(4)))?,
    }
    Ok(())
}

fn draw_marker<C: CoordTranslate>(area: &Canvas<'_, C>, scheme: Scheme, at: C::From) -> Drawn
where
    C::From: Clone,
{
    let Look { color, marker, .. } = look(scheme);
    let filling = match scheme.rounding {
        RoundingKind::Stochastic => color,
        RoundingKind::Nearest => WHITE,
    };
    // Once around, and one side more, so that the first corner is joined like the others.
    let outline: Vec<_> = marker.into_iter().cycle().take(marker.len() + 2).collect();
    let outline = PathElement::new(outline, color.stroke_width(3));
    Ok(area.draw(&(EmptyElement::at(at) + Polygon::new(marker, filling) + outline))?)
}
