//! The numbers as pictures: SVG, on white, so that they read on pages of any colour.

use std::error::Error;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::entries::{Entry, Report};
use zeropoint_tools::operations::{Operation, Shape};

/// A picture of the report.
pub struct Picture {
    pub file: &'static str,
    pub title: String,
    pub svg: String,
}

const SIZE: (u32, u32) = (1600, 1000);
/// Right of the chart.
const LEGEND_WIDTH: u32 = 360;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xcc, 0xcc, 0xcc);
const FINE_GRID: RGBColor = RGBColor(0xf0, 0xf0, 0xf0);

/// Colours of Okabe and Ito, which the colour-blind can tell apart too; the yellow and the purple are darker than theirs.
const COLORS: [RGBColor; 10] = [
    RGBColor(0x88, 0x88, 0x88),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0xc4, 0x45, 0x9d),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x33, 0x33, 0x33),
    RGBColor(0x8a, 0x8a, 0x2a),
    RGBColor(0x8c, 0x4a, 0x2f),
];

type Canvas<'a, C> = DrawingArea<SVGBackend<'a>, C>;
type Drawn = Result<(), Box<dyn Error>>;

/// Draws with a title.
type Draw<'a> = &'a dyn Fn(&Canvas<'_, Shift>, &str) -> Drawn;

/// The files of all pictures.
pub const FILES: [&str; 5] = ["matmul.svg", "roofline.svg", "elementwise.svg", "speedup.svg", "threads.svg"];

/// Those that the measured operations are enough for.
pub fn all(report: &Report) -> Result<Vec<Picture>, Box<dyn Error>> {
    let best = report.isas().last().copied().unwrap_or_default();
    let on = report.machine.line();
    let pictures: [(String, Draw<'_>, bool); 5] = [
        (
            "Integer matmul of cubes, one thread".into(),
            &|area, title| matmul(area, title, report),
            cubes(report, best).len() > 1,
        ),
        (
            format!("Integer matmul under the roofs of {best}, one thread"),
            &|area, title| roofline(area, title, report, best),
            report.of(Operation::Matmul).next().is_some() && report.limits.iter().any(|limit| limit.isa == Some(best)),
        ),
        (
            format!("Elementwise operations on {best}, one thread"),
            &|area, title| elementwise(area, title, report, best),
            elementwise_lines(report, best).iter().any(|(_, points)| points.len() > 1),
        ),
        (
            "Times the scalar ISA, one thread".into(),
            &|area, title| speedup(area, title, report),
            report.isas().len() > 1 && report.isas()[0] == "scalar",
        ),
        (format!("Threads on {best}"), &|area, title| threads(area, title, report, best), report.threads().len() > 1),
    ];
    let mut drawn = Vec::new();
    for (file, (title, draw, possible)) in FILES.into_iter().zip(pictures) {
        if !possible {
            continue;
        }
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            area.draw_text(&on, &text(22), (30, SIZE.1 as i32 - 36))?;
            let (chart, _) = area.split_vertically(SIZE.1 - 44);
            draw(&chart, &title)?;
            area.present()?;
        }
        drawn.push(Picture { file, title, svg });
    }
    Ok(drawn)
}

/// GMAC/s of cubes, with each ISA's limit.
fn matmul(area: &Canvas<'_, Shift>, title: &str, report: &Report) -> Drawn {
    let isas = report.isas();
    let lines: Vec<Vec<(f64, f64)>> = isas.iter().map(|isa| cubes(report, isa)).collect();
    let values = || lines.iter().flatten();
    let (first, last) = ends(values().map(|point| point.0));
    let limit = |isa: &str| report.limits.iter().find(|limit| limit.isa == Some(isa)).map(|limit| limit.value);
    let (bottom, top) = ends(values().map(|point| point.1).chain(isas.iter().filter_map(|isa| limit(isa))));
    let (area, legend) = area.split_horizontally(SIZE.0 - LEGEND_WIDTH);
    let x = (first / 1.1..last * 1.1).log_scale().base(2.0);
    let y = (decade(bottom)..top * 1.3).log_scale();
    let mut chart = chart(&area, title, x, y)?;
    mesh(&mut chart, "M = N = K", "GMAC/s", &|x| format!("{x:.0}"), &|y| format!("{y}"))?;
    for ((isa, line), color) in isas.iter().zip(&lines).zip(COLORS) {
        if let Some(limit) = limit(isa) {
            let ends = [(first / 1.1, limit), (last * 1.1, limit)];
            chart.plotting_area().draw(&DashedPathElement::new(ends, 12, 10, color.stroke_width(3)))?;
        }
        draw_line(chart.plotting_area(), line, color)?;
    }
    let names: Vec<String> = isas.iter().map(|&isa| isa.into()).collect();
    draw_legend(&legend, &names, Some("the ISA's products from registers"))
}

/// The cubes of an ISA, by size.
fn cubes(report: &Report, isa: &str) -> Vec<(f64, f64)> {
    let of_isa = report.of(Operation::Matmul).filter(|entry| entry.isa == isa && entry.threads == 1);
    of_isa.filter_map(|entry| Some((entry.shape.cube()? as f64, entry.value))).collect()
}

/// GMAC/s against products for a byte of the operands and the result.
fn roofline(area: &Canvas<'_, Shift>, title: &str, report: &Report, isa: &str) -> Drawn {
    let intensity = |shape: Shape| match shape {
        Shape::Product { m, n, k } => (m * n * k) as f64 / (m * k + k * n + 4 * m * n) as f64,
        Shape::Elements(_) => f64::NAN,
    };
    let entries: Vec<&Entry> =
        report.of(Operation::Matmul).filter(|entry| entry.isa == isa && entry.threads == 1).collect();
    let peak = report.limits.iter().find(|limit| limit.isa == Some(isa)).map_or(f64::NAN, |limit| limit.value);
    let (left, right) = ends(entries.iter().map(|entry| intensity(entry.shape)));
    let (left, right) = (left / 1.6, right * 2.0);
    let (bottom, _) = ends(entries.iter().map(|entry| entry.value));
    let mut chart = chart(area, title, (left..right).log_scale(), (decade(bottom)..peak * 1.6).log_scale())?;
    mesh(&mut chart, "multiply-accumulates for a byte of A, B and C", "GMAC/s", &|x| format!("{x}"), &|y| {
        format!("{y}")
    })?;
    let area = chart.plotting_area();
    let reading = report.limits.iter().filter(|limit| limit.what.starts_with("reading"));
    for (limit, color) in reading.zip(COLORS.iter().skip(1)) {
        let corner = peak / limit.value;
        let roof = [(left, left * limit.value), (corner, peak)];
        area.draw(&PathElement::new(roof.to_vec(), color.stroke_width(4)))?;
        // Above the roof, where the slope ends.
        let name = format!("{}, {:.0} GB/s", limit.what.trim_start_matches("reading, "), limit.value);
        area.draw(&(EmptyElement::at((corner, peak)) + Text::new(name, (4, -28), text(20).color(color))))?;
    }
    area.draw(&PathElement::new(vec![(left, peak), (right, peak)], INK.stroke_width(4)))?;
    let label = Text::new(
        format!("{peak:.0} GMAC/s from registers"),
        (-10, -30),
        text(24).pos(Pos::new(HPos::Right, VPos::Top)),
    );
    area.draw(&(EmptyElement::at((right, peak)) + label))?;
    let points = entries.iter().map(|entry| ((intensity(entry.shape), entry.value), name(entry.shape)));
    let mut points: Vec<_> = points.collect();
    points.sort_by(|(a, _), (b, _)| a.0.total_cmp(&b.0));
    // Names hang below their points, each as far down as keeps it off those before.
    let mut taken: Vec<[i32; 4]> = Vec::new();
    for (point, name) in points {
        let ((x, y), half_width) = (area.map_coordinate(&point), 6 * name.chars().count() as i32);
        let rows = (0..8).map(|row| 14 + 24 * row);
        let is_free = |down: &i32| {
            let apart = |&[left, right, top, bottom]: &[i32; 4]| {
                x + half_width < left || right < x - half_width || y + down + 24 < top || bottom < y + down
            };
            taken.iter().all(apart)
        };
        let down = rows.clone().find(is_free).unwrap_or(14);
        taken.push([x - half_width, x + half_width, y + down, y + down + 24]);
        taken.push([x - 8, x + 8, y - 8, y + 8]);
        let stem = PathElement::new(vec![(0, 0), (0, down)], GRID.stroke_width(2));
        let label = Text::new(name, (0, down), text(20).pos(Pos::new(HPos::Center, VPos::Top)));
        area.draw(&(EmptyElement::at(point) + stem + Circle::new((0, 0), 8, COLORS[5].filled()) + label))?;
    }
    Ok(())
}

/// Elements in a second against their number, with the caches.
fn elementwise(area: &Canvas<'_, Shift>, title: &str, report: &Report, isa: &str) -> Drawn {
    let lines = elementwise_lines(report, isa);
    let values = || lines.iter().flat_map(|(_, points)| points);
    let (first, last) = ends(values().map(|point| point.0));
    let (bottom, top) = ends(values().map(|point| point.1));
    let (area, legend) = area.split_horizontally(SIZE.0 - LEGEND_WIDTH);
    let x = (first / 1.2..last * 1.2).log_scale().base(2.0);
    let mut chart = chart(&area, title, x, (decade(bottom)..top * 1.6).log_scale())?;
    let size = |x: &f64| Shape::Elements(x.round() as usize).to_string();
    mesh(&mut chart, "elements", "G elements/s", &size, &|y| format!("{y}"))?;
    for cache in &report.machine.caches {
        // Of the four bytes of a real number.
        let at = cache.bytes as f64 / 4.0;
        let line = [(at, decade(bottom)), (at, top * 1.6)];
        chart.plotting_area().draw(&DashedPathElement::new(line, 6, 8, INK.stroke_width(2)))?;
        let style = text(22).pos(Pos::new(HPos::Right, VPos::Top));
        let label = Text::new(format!("L{} of f32", cache.level), (-8, 6), style);
        chart.plotting_area().draw(&(EmptyElement::at((at, top * 1.6)) + label))?;
    }
    for ((_, points), color) in lines.iter().zip(COLORS.iter().skip(1)) {
        draw_line(chart.plotting_area(), points, *color)?;
    }
    let names: Vec<String> = [String::new()].into_iter().chain(lines.iter().map(|(name, _)| name.clone())).collect();
    draw_legend(&legend, &names, None)
}

fn elementwise_lines(report: &Report, isa: &str) -> Vec<(String, Vec<(f64, f64)>)> {
    let operations = report.operations().into_iter().filter(|operation| !operation.is_product());
    let line = |operation: Operation| {
        let entries = report.of(operation).filter(|entry| entry.isa == isa && entry.threads == 1);
        (operation.name(), entries.map(|entry| (entry.shape.work(), entry.value)).collect())
    };
    operations.map(line).collect()
}

/// Bars of every ISA, for the shape of every operation that lies in the middle.
fn speedup(area: &Canvas<'_, Shift>, title: &str, report: &Report) -> Drawn {
    let isas = report.isas();
    let group = |operation: Operation| {
        let shape = report.typical_shape(operation);
        let times = |isa: &&str| {
            let entry = report.find(operation, shape, isa, 1);
            entry.and_then(|entry| entry.times_scalar).unwrap_or(f64::NAN)
        };
        let label = format!("{}\n{}", operation.name().replace('-', "-\n"), name(shape));
        (label, isas.iter().map(times).collect())
    };
    let groups: Vec<(String, Vec<f64>)> = report.operations().into_iter().map(group).collect();
    let top = groups.iter().flat_map(|(_, times)| times).copied().fold(1.0, f64::max) * 1.3;
    let (area, legend) = area.split_horizontally(SIZE.0 - LEGEND_WIDTH);
    let mut chart = chart(&area, title, 0.0..groups.len() as f64, (0.5..top).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .bold_line_style(GRID)
        .light_line_style(FINE_GRID)
        .axis_style(INK)
        .label_style(text(24))
        .axis_desc_style(text(28))
        .y_desc("times scalar")
        .y_label_formatter(&|y| format!("{y}×"))
        .draw()?;
    let width = 0.84 / isas.len() as f64;
    for (g, (name, times)) in groups.iter().enumerate() {
        for (i, (&times, color)) in times.iter().zip(COLORS).enumerate() {
            let left = g as f64 + 0.08 + width * i as f64;
            chart.plotting_area().draw(&Rectangle::new([(left, 0.5), (left + width * 0.9, times)], color.filled()))?;
        }
        for (line, part) in name.lines().enumerate() {
            let style = text(18).pos(Pos::new(HPos::Center, VPos::Top));
            let label = Text::new(part.to_owned(), (0, 8 + 22 * line as i32), style);
            chart.plotting_area().draw(&(EmptyElement::at((g as f64 + 0.5, 0.5)) + label))?;
        }
    }
    let names: Vec<String> = isas.iter().map(|&isa| isa.into()).collect();
    draw_legend(&legend, &names, None)
}

/// Times one thread, of the largest cubes and numbers of elements.
fn threads(area: &Canvas<'_, Shift>, title: &str, report: &Report, isa: &str) -> Drawn {
    let threads = report.threads();
    let most = *threads.last().expect("more than one") as f64;
    let line = |operation: Operation| {
        let of_kind = |shape: &Shape| !operation.is_product() || shape.cube().is_some();
        let shapes = report.shapes(operation).into_iter().filter(of_kind);
        let shape = shapes.max_by(|a, b| a.work().total_cmp(&b.work()))?;
        let value = |threads| report.find(operation, shape, isa, threads).map(|entry| entry.value);
        let one = value(1)?;
        let points = threads.iter().filter_map(|&threads| Some((threads as f64, value(threads)? / one))).collect();
        Some((format!("{} {}", operation.name(), name(shape)), points))
    };
    let lines: Vec<(String, Vec<(f64, f64)>)> = report.operations().into_iter().filter_map(line).collect();
    let (area, legend) = area.split_horizontally(SIZE.0 - LEGEND_WIDTH);
    let mut chart = chart(&area, title, 0.9..most * 1.05, 0.0..most * 1.1)?;
    let whole = |x: &f64| if x.fract().abs() < 1e-9 { format!("{x:.0}") } else { String::new() };
    mesh(&mut chart, "threads", "times one thread", &whole, &|y| format!("{y:.1}"))?;
    let ideal = [(1.0, 1.0), (most, most)];
    chart.plotting_area().draw(&DashedPathElement::new(ideal, 12, 10, INK.stroke_width(2)))?;
    for ((_, points), color) in lines.iter().zip(COLORS.iter().cycle().skip(1)) {
        draw_line(chart.plotting_area(), points, *color)?;
    }
    let names: Vec<String> = [String::new()].into_iter().chain(lines.into_iter().map(|(name, _)| name)).collect();
    draw_legend(&legend, &names, Some("as many times"))
}

/// The power of ten below: scales that begin elsewhere have no labels up to the next.
fn decade(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

/// Cubes by their side.
fn name(shape: Shape) -> String {
    shape.cube().map_or(shape.to_string(), |side| format!("{side}³"))
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(least, most), value| (least.min(value), value.max(most)))
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

fn chart<'a, 'b, X: AsRangedCoord, Y: AsRangedCoord>(
    area: &'a Canvas<'b, Shift>,
    title: &str,
    x: X,
    y: Y,
) -> Result<Chart<'a, 'b, X::CoordDescType, Y::CoordDescType>, Box<dyn Error>> {
    let builder = &mut ChartBuilder::on(area);
    builder.caption(title, text(36)).margin(24).x_label_area_size(80).y_label_area_size(120);
    Ok(builder.build_cartesian_2d(x, y)?)
}

fn mesh<X, Y>(
    chart: &mut Chart<'_, '_, X, Y>,
    x: &str,
    y: &str,
    x_label: &dyn Fn(&f64) -> String,
    y_label: &dyn Fn(&f64) -> String,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(FINE_GRID)
        .axis_style(INK)
        .label_style(text(24))
        .axis_desc_style(text(28))
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|value| x_label(value))
        .y_label_formatter(&|value| y_label(value))
        .draw()?;
    Ok(())
}

fn draw_line<X: Ranged<ValueType = f64>, Y: Ranged<ValueType = f64>>(
    area: &Canvas<'_, Cartesian2d<X, Y>>,
    points: &[(f64, f64)],
    color: RGBColor,
) -> Drawn {
    area.draw(&PathElement::new(points.to_vec(), color.stroke_width(4)))?;
    for &point in points {
        area.draw(&(EmptyElement::at(point) + Circle::new((0, 0), 7, color.filled())))?;
    }
    Ok(())
}

/// Names in the order of the colours, an empty one skips its colour; and what dashes mean.
fn draw_legend(area: &Canvas<'_, Shift>, names: &[String], dashes: Option<&str>) -> Drawn {
    let centered = |size| text(size).pos(Pos::new(HPos::Left, VPos::Center));
    let mut y = 120;
    for (name, color) in names.iter().zip(COLORS.iter().cycle()).filter(|(name, _)| !name.is_empty()) {
        area.draw(&PathElement::new(vec![(10, y), (60, y)], color.stroke_width(5)))?;
        area.draw(&Circle::new((35, y), 7, color.filled()))?;
        area.draw_text(name, &centered(22), (74, y))?;
        y += 40;
    }
    if let Some(dashes) = dashes {
        area.draw(&DashedPathElement::new([(10, y), (60, y)], 12, 10, INK.stroke_width(3)))?;
        area.draw_text(dashes, &centered(18), (74, y))?;
    }
    Ok(())
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_text_style(&SIZE).color(&INK)
}
