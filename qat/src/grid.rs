//! Every recipe with every seed: a float network is trained first, then tuned by every recipe.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use zeropoint::Exec;

use crate::Failure;
use crate::data::Dataset;
use crate::export::{self, Equality};
use crate::network::{Network, Parameters};
use crate::post::{self, PostTraining};
use crate::recipe::{Quantized, Recipe, Variant};
use crate::train::{Schedule, classify, correct, train};

/// The recipes and seeds to run, and the schedules.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Bits of weights and activations.
    pub bits: Vec<u32>,
    /// Whether scales are powers of two, or both.
    pub power_of_two: Vec<bool>,
    /// The variants of quantized training.
    pub variants: Vec<Variant>,
    /// The seeds are 1, 2, …
    pub seeds: u64,
    /// How the float network is trained.
    pub first: Schedule,
    /// How it is tuned by a recipe. One recipe is float, for comparison.
    pub tuning: Schedule,
}

/// One recipe with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The recipe.
    pub recipe: Recipe,
    /// The seed.
    pub seed: u64,
    /// Test images whose class is right.
    pub correct: usize,
    /// Whether training ended because values grew beyond bounds. The predictions of such a network count as class 0.
    #[serde(default)]
    pub diverged: bool,
    /// The digest of the network.
    pub digest: String,
    /// The time that training took, in seconds.
    pub seconds: f64,
    /// Of a float network: its accuracy when it is quantized after training.
    pub post: Vec<PostTraining>,
    /// Of seed 1, with nearest rounding or learned scales: the integer network compared with the fake-quantized one.
    pub export: Vec<Equality>,
}

impl Grid {
    /// All recipes, the float one first.
    #[must_use]
    pub fn recipes(&self) -> Vec<Recipe> {
        let mut recipes = vec![Recipe::Float];
        // Width after width: an interrupted grid has all variants of a width or none.
        for &bits in &self.bits {
            for &power_of_two in &self.power_of_two {
                for &variant in &self.variants {
                    // A scale that is learned is any float.
                    if !(power_of_two && variant == Variant::Learned) {
                        recipes.push(Recipe::Quantized(Quantized { bits, power_of_two, variant }));
                    }
                }
            }
        }
        recipes
    }

    /// Every seed with every recipe. Seed after seed: if time is short, there are fewer seeds, not fewer recipes.
    fn items(&self) -> Vec<(u64, Recipe)> {
        let recipes = self.recipes();
        (1..=self.seeds).flat_map(|seed| recipes.iter().map(move |&recipe| (seed, recipe))).collect()
    }

    /// The finished run in the journal. A float run of a grid with other bits may lack quantization after training to these.
    fn find<'a>(&self, journal: &'a Journal, (seed, recipe): (u64, Recipe)) -> Option<&'a Run> {
        let has_post = |run: &Run, bits: u32| run.post.iter().any(|post| post.bits == bits);
        journal.find(recipe, seed, |run| {
            recipe != Recipe::Float || run.diverged || self.bits.iter().all(|&bits| has_post(run, bits))
        })
    }

    /// The runs of the grid that the journal has.
    #[must_use]
    pub fn finished(&self, journal: &Journal) -> Vec<Run> {
        self.items().into_iter().filter_map(|item| self.find(journal, item)).cloned().collect()
    }

    /// The data and the schedules, by which a journal tells the runs of one grid from those of another.
    #[must_use]
    pub fn key(&self, data: &Dataset) -> String {
        format!("{}, {:?}, {:?}", data.name, self.first, self.tuning)
    }
}

/// Training from random weights, in float and in integers.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// How they are trained.
    pub schedule: Schedule,
    /// The seeds are 1, 2, …
    pub seeds: u64,
}

impl Scratch {
    /// Float; integers with gradients to nearest; integers with stochastic gradients.
    pub const RECIPES: [Recipe; 3] =
        [Recipe::Float, Recipe::Integer { stochastic: false }, Recipe::Integer { stochastic: true }];

    /// The data and the schedule, by which a journal tells these runs from others.
    #[must_use]
    pub fn key(&self, data: &Dataset) -> String {
        format!("{}, {:?} from random weights", data.name, self.schedule)
    }

    fn items(&self) -> Vec<(u64, Recipe)> {
        (1..=self.seeds).flat_map(|seed| Self::RECIPES.map(|recipe| (seed, recipe))).collect()
    }

    /// The runs that the journal has.
    #[must_use]
    pub fn finished(&self, journal: &Journal) -> Vec<Run> {
        let found = self.items().into_iter().filter_map(|(seed, recipe)| journal.find(recipe, seed, |_| true));
        found.cloned().collect()
    }

    /// Runs whatever the journal lacks, on the threads of the current pool. `finished` is called with every new run.
    ///
    /// # Errors
    /// The first error of a run.
    pub fn run(
        &self,
        data: &Dataset,
        exec: Exec<'static>,
        journal: &Journal,
        finished: impl Fn(&Run) + Sync,
    ) -> Result<Vec<Run>, Failure> {
        let all = self.items();
        let mut runs = in_order(&all, |&(seed, recipe)| {
            if let Some(run) = journal.find(recipe, seed, |_| true) {
                return Ok(run.clone());
            }
            let parameters = Parameters::random(exec, seed * STREAMS)?;
            let Trained { run, .. } = trained(&parameters, recipe, self.schedule, data, exec, seed)?;
            journal.add(&run)?;
            finished(&run);
            Ok(run)
        })?;
        let place = |run: &Run| all.iter().position(|item| *item == (run.seed, run.recipe));
        runs.sort_by_key(place);
        Ok(runs)
    }
}

/// A file of finished runs, to which every run is added as it ends: a line of JSON each, with the key of its grid.
pub struct Journal {
    key: String,
    runs: Vec<Run>,
    file: Mutex<Option<File>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    grid: String,
    run: Run,
}

impl Journal {
    /// The runs with this key that the file has; without a path, none. A line that was cut by an interruption is left out.
    ///
    /// # Errors
    /// A file that cannot be read or written; a file with lines, but no run among them: it is none of this program's.
    pub fn open(path: Option<&Path>, key: String) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Journal { key, runs: Vec::new(), file: Mutex::new(None) }) };
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(failed)?,
        };
        let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.is_empty() && !text.is_empty() {
            return Err(format!("{}: not a journal of runs", path.display()).into());
        }
        let runs = lines.into_iter().filter(|line| line.grid == key).map(|line| line.run).collect();
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file).map_err(failed)?;
        }
        Ok(Journal { key, runs, file: Mutex::new(Some(file)) })
    }

    fn find(&self, recipe: Recipe, seed: u64, is_whole: impl Fn(&Run) -> bool) -> Option<&Run> {
        self.runs.iter().find(|run| (run.recipe, run.seed) == (recipe, seed) && is_whole(run))
    }

    fn add(&self, run: &Run) -> Result<(), Failure> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut *file {
            let line = serde_json::to_string(&Line { grid: self.key.clone(), run: run.clone() })?;
            writeln!(file, "{line}")?;
            file.flush()?;
        }
        Ok(())
    }
}

/// The seed whose quantized networks are compared with integer networks.
const EXPORTED: u64 = 1;

/// The distance between the seeds of the streams of two runs. Within a run they are below 300 apart.
const STREAMS: u64 = 1000;

/// The float network that all recipes of a seed begin with.
///
/// # Errors
/// A float network that diverged.
pub fn first(grid: &Grid, data: &Dataset, exec: Exec<'static>, seed: u64) -> Result<Parameters, Failure> {
    let parameters = Parameters::random(exec, seed * STREAMS)?;
    let network = Network::new(&parameters, Recipe::Float, exec, seed * STREAMS)?;
    if !train(&network, Recipe::Float, &data.train, grid.first, exec, seed * STREAMS + 1)? {
        return Err("the float network diverged".into());
    }
    Ok(network.parameters()?)
}

/// Trains a network by a recipe, from these parameters on. Returns the network, and `false` if it diverged.
///
/// # Errors
/// Bits that no code has.
pub fn tune(
    first: &Parameters,
    recipe: Recipe,
    schedule: Schedule,
    data: &Dataset,
    exec: Exec<'static>,
    seed: u64,
) -> Result<(Network, bool), Failure> {
    let network = Network::new(first, recipe, exec, seed * STREAMS + 100)?;
    let is_finite = train(&network, recipe, &data.train, schedule, exec, seed * STREAMS + 200)?;
    Ok((network, is_finite))
}

/// A trained network, the classes that it predicts for the test images, and its run.
struct Trained {
    network: Network,
    classes: Vec<usize>,
    run: Run,
}

fn trained(
    parameters: &Parameters,
    recipe: Recipe,
    schedule: Schedule,
    data: &Dataset,
    exec: Exec<'static>,
    seed: u64,
) -> Result<Trained, Failure> {
    let start = Instant::now();
    let (network, is_finite) = tune(parameters, recipe, schedule, data, exec, seed)?;
    let seconds = start.elapsed().as_secs_f64();
    let classes = if is_finite { classify(&network, &data.test)? } else { vec![0; data.test.count()] };
    let run = Run {
        recipe,
        seed,
        correct: correct(&classes, &data.test),
        diverged: !is_finite,
        digest: network.digest()?,
        seconds,
        post: Vec::new(),
        export: Vec::new(),
    };
    Ok(Trained { network, classes, run })
}

fn run(
    grid: &Grid,
    first: &Parameters,
    recipe: Recipe,
    data: &Dataset,
    exec: Exec<'static>,
    seed: u64,
) -> Result<Run, Failure> {
    let Trained { network, classes, mut run } = trained(first, recipe, grid.tuning, data, exec, seed)?;
    match recipe {
        _ if run.diverged => {}
        Recipe::Float => run.post = post::quantize(&network.parameters()?, &grid.bits, data, exec)?,
        Recipe::Quantized(quantized)
            if seed == EXPORTED && matches!(quantized.variant, Variant::Nearest | Variant::Learned) =>
        {
            run.export = export::compare(&network, quantized, &classes, &data.test, exec)?;
        }
        Recipe::Quantized(_) | Recipe::Integer { .. } => {}
    }
    Ok(run)
}

/// The results of `run` on all items, in any order. The threads of the current pool take the items one by one, from the
/// first on, so that an interruption leaves the first ones done.
fn in_order<T: Sync, R: Send>(items: &[T], run: impl Fn(&T) -> Result<R, Failure> + Sync) -> Result<Vec<R>, Failure> {
    let next = AtomicUsize::new(0);
    let parts = rayon::broadcast(|_| -> Result<Vec<R>, Failure> {
        let mut all = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            all.push(run(item)?);
        }
        Ok(all)
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

/// Runs whatever the journal lacks, on the threads of the current pool, each run on one of them. `finished` is called with
/// every new run.
///
/// # Errors
/// The first error of a run.
pub fn all(
    grid: &Grid,
    data: &Dataset,
    exec: Exec<'static>,
    journal: &Journal,
    progress: &ProgressBar,
    finished: impl Fn(&Run) + Sync,
) -> Result<Vec<Run>, Failure> {
    let all = grid.items();
    let pending: Vec<(u64, Recipe)> = all.iter().copied().filter(|&item| grid.find(journal, item).is_none()).collect();
    progress.set_length(all.len() as u64);
    progress.set_position((all.len() - pending.len()) as u64);

    let mut seeds: Vec<u64> = pending.iter().map(|&(seed, _)| seed).collect();
    seeds.dedup();
    let networks = seeds.into_par_iter().map(|seed| Ok((seed, first(grid, data, exec, seed)?)));
    let networks: HashMap<u64, Parameters> = networks.collect::<Result<_, Failure>>()?;
    let new = in_order(&pending, |&(seed, recipe)| {
        let run = run(grid, &networks[&seed], recipe, data, exec, seed)?;
        journal.add(&run)?;
        finished(&run);
        progress.inc(1);
        Ok(run)
    })?;
    let found = |&(seed, recipe): &(u64, Recipe)| {
        let run = new.iter().find(|run| (run.recipe, run.seed) == (recipe, seed));
        run.or_else(|| grid.find(journal, (seed, recipe))).expect("a run of every recipe and seed").clone()
    };
    Ok(all.iter().map(found).collect())
}
