//! The report: tables in Markdown, and sentences with figures from the data.

use std::fmt::Write;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::bias::Measured;
use crate::data::Dataset;
use crate::export::FLOAT_STAGE;
use crate::grid::{Grid, Run, Scratch};
use crate::mean::Mean;
use crate::recipe::{Quantized, Recipe, Variant};

/// All results.
#[derive(Serialize)]
pub struct Results {
    /// The images.
    pub data: &'static str,
    /// How many images a float network is trained on, a recipe tunes it with, the accuracy is of, and training from random
    /// weights takes.
    pub images: [usize; 4],
    /// How many runs the grid has.
    pub planned: usize,
    /// The runs of the grid that are finished.
    pub runs: Vec<Run>,
    /// The bias of gradients.
    pub bias: Vec<Measured>,
    /// The runs from random weights, in float and in integers.
    pub integer: Vec<Run>,
}

impl Results {
    /// The results of a grid; the fields `bias` and `integer` are still empty.
    #[must_use]
    pub fn new(grid: &Grid, scratch: &Scratch, data: &Dataset, runs: Vec<Run>) -> Self {
        let images = [grid.first.images, grid.tuning.images, data.test.count(), scratch.schedule.images];
        let planned = grid.recipes().len() * grid.seeds as usize;
        Results { data: data.name, images, planned, runs, bias: Vec::new(), integer: Vec::new() }
    }

    fn percent(&self, correct: usize) -> f64 {
        100.0 * correct as f64 / self.images[2] as f64
    }

    /// The accuracy of a recipe with every seed that it was run with.
    #[must_use]
    pub fn accuracies(&self, recipe: Recipe) -> Vec<(u64, f64)> {
        let runs = self.runs.iter().filter(|run| run.recipe == recipe);
        runs.map(|run| (run.seed, self.percent(run.correct))).collect()
    }

    /// The accuracy of quantization after training.
    #[must_use]
    pub fn post(&self, bits: u32, power_of_two: bool, least_error: bool) -> Vec<(u64, f64)> {
        let rows = self.runs.iter().flat_map(|run| run.post.iter().map(move |post| (run.seed, post)));
        rows.filter(|(_, post)| (post.bits, post.power_of_two, post.least_error) == (bits, power_of_two, least_error))
            .map(|(seed, post)| (seed, self.percent(post.correct)))
            .collect()
    }

    /// The combinations of bits and kind of scale, in the order of the runs.
    #[must_use]
    pub fn widths(&self) -> Vec<(u32, bool)> {
        let mut widths: Vec<(u32, bool)> = Vec::new();
        for run in &self.runs {
            if let Recipe::Quantized(Quantized { bits, power_of_two, .. }) = run.recipe
                && !widths.contains(&(bits, power_of_two))
            {
                widths.push((bits, power_of_two));
            }
        }
        widths
    }

    /// The report.
    #[must_use]
    pub fn markdown(&self) -> String {
        let [first, tuning, test, _] = self.images;
        let seeds: std::collections::BTreeSet<u64> = self.runs.iter().map(|run| run.seed).collect();
        let mut text = String::new();
        let mut section = |title: &str, body: &str| {
            let _ = write!(text, "## {title}\n\n{}\n\n", body.trim_end());
        };
        section(
            "Accuracy",
            &format!(
                "{}: a float network is trained on {first} images, then tuned on {tuning} more by every recipe, in float too. Percent \
             right of {test} test images: mean ± standard error over seeds, of which there are {}.{} Weights and activations of all layers, the image \
             included, have so many bits. The first two columns are quantized after training, with ranges of activations from \
             minimum to maximum, or those of the least squared error; the others are trained.\n\n\
             In float: {}.\n\n{}",
                self.data,
                seeds.len(),
                self.part() + &self.diverged(),
                self.cell(&self.accuracies(Recipe::Float)),
                self.accuracy_table(),
            ),
        );
        section(
            "Differences",
            &format!(
                "In points, between two runs with the same seed: mean ± standard error. Bold where 0 lies outside of the 95 % confidence interval (Student's, of as many seeds): of differences that \
                 are none, one in twenty is bold by chance.\n\n{}\n\n{}",
                self.difference_table(),
                self.conclusions()
            ),
        );
        section("Export to integers", &self.export_section());
        if !self.bias.is_empty() {
            section("The bias of gradients", &self.bias_section());
        }
        if !self.integer.is_empty() {
            section("Training in integers", &self.integer_section());
        }
        text
    }

    /// A sentence on the runs that diverged, if there are any.
    fn diverged(&self) -> String {
        match self.runs.iter().filter(|run| run.diverged).count() {
            0 => String::new(),
            count => {
                format!(" ({count} of the runs diverged, and count as networks that see one class in everything.)")
            }
        }
    }

    /// A sentence on a grid that is not finished.
    fn part(&self) -> String {
        if self.runs.len() == self.planned {
            return String::new();
        }
        format!(
            " **{} of the {} runs of the grid are finished**: a cell has the seeds that it has so far, and without ± a single \
             one.",
            self.runs.len(),
            self.planned
        )
    }

    fn cell(&self, values: &[(u64, f64)]) -> String {
        let values: Vec<f64> = values.iter().map(|&(_, value)| value).collect();
        Mean::of(&values).map_or("–".to_owned(), |mean| mean.text(false))
    }

    fn accuracy_table(&self) -> String {
        let mut header =
            vec!["bits".to_owned(), "scale".to_owned(), "after, min–max".to_owned(), "after, MSE".to_owned()];
        header.extend(Variant::ALL.iter().map(|variant| variant.name().to_owned()));
        let rows = self.widths().into_iter().map(|(bits, power_of_two)| {
            let mut row = vec![bits.to_string(), scale(power_of_two).to_owned()];
            row.extend([false, true].map(|least| self.cell(&self.post(bits, power_of_two, least))));
            row.extend(Variant::ALL.map(|variant| {
                self.cell(&self.accuracies(Recipe::Quantized(Quantized { bits, power_of_two, variant })))
            }));
            row
        });
        table(header, rows)
    }

    /// The difference of two lists, seed by seed.
    #[must_use]
    pub fn paired(a: &[(u64, f64)], b: &[(u64, f64)]) -> Option<Mean> {
        let difference = |&(seed, a): &(u64, f64)| Some(a - b.iter().find(|(other, _)| *other == seed)?.1);
        Mean::of(&a.iter().filter_map(difference).collect::<Vec<f64>>())
    }

    /// The columns of the table of differences.
    fn comparisons(&self, bits: u32, power_of_two: bool) -> Vec<(&'static str, Option<Mean>)> {
        let of = |variant| self.accuracies(Recipe::Quantized(Quantized { bits, power_of_two, variant }));
        let (trained, float) = (of(Variant::Nearest), self.accuracies(Recipe::Float));
        let post = |least| self.post(bits, power_of_two, least);
        vec![
            ("trained − float", Self::paired(&trained, &float)),
            ("trained − after, min–max", Self::paired(&trained, &post(false))),
            ("trained − after, MSE", Self::paired(&trained, &post(true))),
            ("forward: stochastic − nearest", Self::paired(&of(Variant::ForwardStochastic), &trained)),
            (
                "gradient: stochastic − nearest",
                Self::paired(&of(Variant::GradientStochastic), &of(Variant::GradientNearest)),
            ),
            ("update: stochastic − nearest", Self::paired(&of(Variant::UpdateStochastic), &of(Variant::UpdateNearest))),
            ("learned − trained", Self::paired(&of(Variant::Learned), &trained)),
            ("learned − after, MSE", Self::paired(&of(Variant::Learned), &post(true))),
        ]
    }

    fn difference_table(&self) -> String {
        let widths = self.widths();
        let Some(&(bits, power_of_two)) = widths.first() else { return String::new() };
        let mut header = vec!["bits".to_owned(), "scale".to_owned()];
        header.extend(self.comparisons(bits, power_of_two).iter().map(|(name, _)| (*name).to_owned()));
        let rows = widths.into_iter().map(|(bits, power_of_two)| {
            let mut row = vec![bits.to_string(), scale(power_of_two).to_owned()];
            row.extend(self.comparisons(bits, power_of_two).into_iter().map(|(_, mean)| match mean {
                None => "–".to_owned(),
                Some(mean) if mean.is_clear() => format!("**{}**", mean.text(true)),
                Some(mean) => mean.text(true),
            }));
            row
        });
        table(header, rows)
    }

    /// Where a comparison is better, worse or open, by its confidence interval.
    fn conclusions(&self) -> String {
        let mut text = String::new();
        let widths = self.widths();
        let names = |comparison: usize, wanted: &dyn Fn(Mean) -> bool| {
            let found = widths.iter().filter(|&&(bits, power_of_two)| {
                self.comparisons(bits, power_of_two)[comparison].1.is_some_and(wanted)
            });
            let names = found.map(|&(bits, power_of_two)| format!("{bits} bits ({})", scale(power_of_two)));
            let names = names.collect::<Vec<_>>().join(", ");
            if names.is_empty() { "nowhere".to_owned() } else { names }
        };
        for (comparison, subject) in SUBJECTS {
            let better = names(comparison, &|mean| mean.is_clear() && mean.mean > 0.0);
            let worse = names(comparison, &|mean| mean.is_clear() && mean.mean < 0.0);
            let open = names(comparison, &|mean| !mean.is_clear());
            let _ = writeln!(
                text,
                "- {subject}: clearly better at {better}; clearly worse at {worse}; not decided at {open}."
            );
        }
        text + "\nThe README of `lixilinx/Flexible_quantization` supposes that stochastic rounding could improve straight-through \
                training, since its gradients have less bias. The third line shows that for the forward pass; the fourth for \
                gradients (quantized so in DoReFa-Net; Zhou et al., 2016), the fifth for stored weights (Gupta et al., 2015).\n"
    }

    fn export_section(&self) -> String {
        let header = [
            "bits",
            "scale",
            "trained",
            "output stage",
            "codes",
            "differ, in the order of the integers",
            "differ, as trained",
            "largest difference",
            "of its bound",
            "other predictions",
            "points",
        ];
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut keys = Vec::new();
        for run in &self.runs {
            if let Recipe::Quantized(quantized) = run.recipe {
                for export in &run.export {
                    if !keys.contains(&(quantized, &export.stage)) {
                        keys.push((quantized, &export.stage));
                    }
                }
            }
        }
        for (quantized, stage) in keys {
            let runs = self.runs.iter().filter(|run| run.recipe == Recipe::Quantized(quantized));
            let pairs = runs.flat_map(|run| run.export.iter().map(move |export| (run, export)));
            let of_stage: Vec<_> = pairs.filter(|(_, export)| export.stage == *stage).collect();
            let sum = |value: &dyn Fn(&crate::export::Equality) -> usize| {
                of_stage.iter().map(|(_, e)| value(e)).sum::<usize>()
            };
            let max = of_stage.iter().map(|(_, export)| export.of_bound).fold(0.0, f64::max);
            let steps = of_stage.iter().map(|(_, export)| export.steps).max().unwrap_or(0);
            let points = of_stage.iter().map(|(run, e)| self.percent(e.correct) - self.percent(run.correct));
            let points =
                Mean::of(&points.collect::<Vec<_>>()).map_or("–".to_owned(), |mean| format!("{:+.3}", mean.mean));
            let in_order = if stage == FLOAT_STAGE { sum(&|e| e.in_order).to_string() } else { "–".to_owned() };
            rows.push(vec![
                quantized.bits.to_string(),
                scale(quantized.power_of_two).to_owned(),
                quantized.variant.name().to_owned(),
                stage.clone(),
                sum(&|e| e.codes).to_string(),
                in_order,
                sum(&|e| e.as_trained).to_string(),
                format!("{steps} steps"),
                format!("{max:.3}"),
                sum(&|e| e.predictions).to_string(),
                points,
            ]);
        }
        format!(
            "Trained networks as pure integers, by the code of `lenet`, on {} images, seed 1. *In the order of the \
             integers*, the fake-quantized network is evaluated with its scales taken out of the sums: the float-multiplier stage \
             has to have each of its codes and logits. *As trained*, sums are of f32 and the bias is not rounded: a code may \
             differ where the value lies at a tie, and the column *of its bound* has the largest distance from the tie as a part of \
             what the roundings explain (`qat/src/export.rs`), which must not be above 1. Predictions are compared through the whole \
             network as trained; points are those by which the integers are better.\n\n{}",
            self.images[2],
            table(header.map(str::to_owned).to_vec(), rows)
        )
    }

    fn bias_section(&self) -> String {
        let draws = self.bias.iter().flat_map(|m| m.errors.last()).map(|&(n, _)| n).max().unwrap_or(0);
        let header =
            ["bits", "scheme", "rounding", "one draw", "mean of N", "without bias", "in the 95 % interval", "cost"];
        let rows = self.bias.iter().map(|m| {
            let last = m.errors.last().map_or(f64::NAN, |&(_, error)| error);
            let known = |text: String| if m.stochastic { text } else { "–".to_owned() };
            vec![
                m.bits.to_string(),
                m.scheme.clone(),
                if m.stochastic { "stochastic" } else { "nearest" }.to_owned(),
                format!("{:.3} %", 100.0 * m.single),
                format!("{:.4} %", 100.0 * last),
                known(format!("{:.4} %", 100.0 * m.expected)),
                format!("{} of {}", m.covered, crate::bias::COEFFICIENTS),
                format!("{:+.4} %", 100.0 * m.cost),
            ]
        });
        let table = table(header.map(str::to_owned).to_vec(), rows);
        let (mut covered, mut all) = (0, 0);
        for m in self.bias.iter().filter(|m| m.stochastic) {
            covered += m.covered;
            all += crate::bias::COEFFICIENTS;
        }
        let nearest: usize = self.bias.iter().filter(|m| !m.stochastic).map(|m| m.covered).sum();
        let percent = 100.0 * covered as f64 / all.max(1) as f64;
        let holds = if percent >= LEAST_COVERED { "holds" } else { "does not hold here" };
        let is_pair =
            |a: &Measured, b: &Measured| a.bits == b.bits && a.scheme == b.scheme && a.stochastic && !b.stochastic;
        let pairs = self.bias.iter().flat_map(|a| self.bias.iter().filter(move |b| is_pair(a, b)).map(move |b| (a, b)));
        let pairs: Vec<_> = pairs.collect();
        let farther = pairs.iter().filter(|(stochastic, nearest)| stochastic.single > nearest.single).count();
        format!(
            "`J(w) = ½·wᵀ·H·w − bᵀ·w` of {} coefficients, whose gradient `H·w − b` is known. Error of the gradient at Q(w), relative \
             to the exact one: of one draw (root mean square), and of the mean of N = {draws} draws, beside the standard error of an \
             unbiased mean. Then, how many components of the exact gradient lie in the 95 % confidence interval of the mean (of \
             nearest rounding, which has no spread: are equal to it); and the mean cost above the exact one.\n\n{table}\n\n\
             Over all stochastic rows {covered} of {all} components, {percent:.1} %, lie in their 95 % interval, where 95 % are \
             expected without a bias; of the nearest rows {nearest} are exact. So the claim that the gradient has no bias {holds}. It does not \
             reach the cost, which is not linear: its mean grows with the variance that rounding gives the coefficients. And no \
             bias is not no error: one stochastic gradient is farther from the exact one than the nearest one is, in {farther} of \
             {} pairs of rows.\n\n![Error of the mean gradient against the number of draws](qat/bias.svg)",
            crate::bias::COEFFICIENTS,
            pairs.len(),
        )
    }

    fn integer_section(&self) -> String {
        let of = |recipe| -> Vec<(u64, f64)> {
            let runs = self.integer.iter().filter(|run| run.recipe == recipe);
            runs.map(|run| (run.seed, self.percent(run.correct))).collect()
        };
        let [float, nearest, stochastic] = Scratch::RECIPES;
        let mean = |mean: Option<Mean>| mean.map_or("–".to_owned(), |mean| mean.text(true));
        let row = |name: &str, recipe| {
            vec![name.to_owned(), self.cell(&of(recipe)), mean(Self::paired(&of(recipe), &of(float)))]
        };
        let rows = [
            row("float", float),
            row("integer products, gradients to nearest", nearest),
            row("integer products, gradients stochastic", stochastic),
        ];
        format!(
            "From random weights, on {} images, seeds: {}. The products of the forward pass, of ∂x and of ∂W are of 8-bit codes with \
             sums in i32. In float are scales, pooling, the cross entropy, the sums of overlapping windows, and the optimizer \
             with the weights that it adds to (`qat/src/integer.rs`).\n\n{}\n\nStochastic − nearest: {} points.",
            self.images[3],
            of(float).len(),
            table(["products", "right, %", "points beside float"].map(str::to_owned).to_vec(), rows),
            mean(Self::paired(&of(stochastic), &of(nearest))),
        )
    }
}

/// The claim about gradients holds if so many percent of the components lie in their 95 % intervals: fewer than 95, since
/// the components of a row are of the same draws and miss together.
const LEAST_COVERED: f64 = 90.0;

/// The comparisons that have a sentence: the index in [`Results::comparisons`], and the beginning of the sentence.
const SUBJECTS: [(usize, &str); 7] = [
    (1, "Training, beside quantization after training with ranges from minimum to maximum"),
    (2, "Training, beside quantization after training with ranges of the least squared error"),
    (3, "Stochastic rounding in the forward pass, beside nearest"),
    (4, "Stochastic rounding of quantized gradients, beside nearest"),
    (5, "Stochastic rounding of weights that are kept as codes, beside nearest"),
    (6, "Learned scales, beside those of ranges"),
    (7, "Learned scales, beside quantization after training with ranges of the least squared error"),
];

/// The name of a kind of scale.
#[must_use]
pub fn scale(power_of_two: bool) -> &'static str {
    if power_of_two { "2ᵏ" } else { "float" }
}

fn table(header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let columns = header.len();
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in (0..columns).skip(2) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}
