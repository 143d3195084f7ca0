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

/// What is run.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Bits of weights and activations.
    pub bits: Vec<u32>,
    /// Whether scales are powers of two, or both.
    pub power_of_two: Vec<bool>,
    /// What is rounded in which way.
    pub variants: Vec<Variant>,
    /// The seeds are 1, 2, …
    pub seeds: u64,
    /// How the float network is trained.
    pub first: Schedule,
    /// How it is tuned by a recipe: in float too, which is what the others are compared with.
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
    /// Whether training ended because values grew beyond bounds. Such a network says the first class of everything.
    #[serde(default)]
    pub diverged: bool,
    /// The digest of the network.
    pub digest: String,
    /// How long training took.
    pub seconds: f64,
    /// Of a float network: what quantization makes of it without training.
    pub post: Vec<PostTraining>,
    /// Of a network of seed 1 that is quantized to nearest: how its integers compare.
    pub export: Vec<Equality>,
}

impl Grid {
    /// All recipes, the float one first, whose run has the rows of post-training quantization.
    #[must_use]
    pub fn recipes(&self) -> Vec<Recipe> {
        let mut recipes = vec![Recipe::Float];
        // Few bits last: where time is short, all variants of a width are there or none.
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

    /// What tells the runs of one grid from those of another.
    #[must_use]
    pub fn key(&self, data: &Dataset) -> String {
        format!("{}, {:?}, {:?}", data.name, self.first, self.tuning)
    }
}

/// Networks that are trained from their random weights on, in float and in integers.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// How they are trained.
    pub schedule: Schedule,
    /// The seeds are 1, 2, …
    pub seeds: u64,
}

impl Scratch {
    /// The recipes.
    pub const RECIPES: [Recipe; 3] =
        [Recipe::Float, Recipe::Integer { stochastic: false }, Recipe::Integer { stochastic: true }];

    /// What tells these runs from others.
    #[must_use]
    pub fn key(&self, data: &Dataset) -> String {
        format!("{}, {:?} from random weights", data.name, self.schedule)
    }

    /// Runs whatever the journal has not, on the threads of the current pool. `finished` sees every run.
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
        let all: Vec<(u64, Recipe)> =
            (1..=self.seeds).flat_map(|seed| Self::RECIPES.map(|recipe| (seed, recipe))).collect();
        let mut runs = in_order(&all, |&(seed, recipe)| {
            if let Some(run) = journal.find(recipe, seed) {
                return Ok(run.clone());
            }
            let start = Instant::now();
            let (network, is_finite) =
                tune(&Parameters::random(exec, seed * STREAMS)?, recipe, self.schedule, data, exec, seed)?;
            let seconds = start.elapsed().as_secs_f64();
            let classes = if is_finite { classify(&network, &data.test)? } else { vec![0; data.test.count()] };
            let (correct, diverged) = (correct(&classes, &data.test), !is_finite);
            let digest = network.digest()?;
            let run = Run { recipe, seed, correct, diverged, digest, seconds, post: Vec::new(), export: Vec::new() };
            journal.add(&run)?;
            finished(&run);
            Ok(run)
        })?;
        let place = |run: &Run| all.iter().position(|item| *item == (run.seed, run.recipe));
        runs.sort_by_key(place);
        Ok(runs)
    }
}

/// Runs that were finished, kept in a file as they come: a line of JSON each, behind the key of their grid.
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
    /// The runs with this key that the file has; without a path, none.
    ///
    /// # Errors
    /// A file that cannot be read or written. Lines that are none of runs, as that of a run that was interrupted, are left out.
    pub fn open(path: Option<&Path>, key: String) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Journal { key, runs: Vec::new(), file: Mutex::new(None) }) };
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(failed)?,
        };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let runs = lines.filter(|line| line.grid == key).map(|line| line.run).collect();
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file).map_err(failed)?;
        }
        Ok(Journal { key, runs, file: Mutex::new(Some(file)) })
    }

    /// The runs that the file had.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    fn find(&self, recipe: Recipe, seed: u64) -> Option<&Run> {
        self.runs.iter().find(|run| (run.recipe, run.seed) == (recipe, seed))
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

/// The seed whose networks are turned into integers, too.
const EXPORTED: u64 = 1;

/// Streams of one seed begin this far from those of the next.
const STREAMS: u64 = 1000;

/// The float network that all recipes of a seed begin with.
///
/// # Errors
/// None but candle's.
pub fn first(grid: &Grid, data: &Dataset, exec: Exec<'static>, seed: u64) -> Result<Parameters, Failure> {
    let parameters = Parameters::random(exec, seed * STREAMS)?;
    let network = Network::new(&parameters, Recipe::Float, exec, seed * STREAMS)?;
    if !train(&network, Recipe::Float, &data.train, grid.first, exec, seed * STREAMS + 1)? {
        return Err("the float network diverged".into());
    }
    Ok(network.parameters()?)
}

/// Tunes a network by a recipe; the network, and whether it did not diverge.
///
/// # Errors
/// None but candle's.
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

fn run(
    grid: &Grid,
    first: &Parameters,
    recipe: Recipe,
    data: &Dataset,
    exec: Exec<'static>,
    seed: u64,
) -> Result<Run, Failure> {
    let start = Instant::now();
    let (network, is_finite) = tune(first, recipe, grid.tuning, data, exec, seed)?;
    let seconds = start.elapsed().as_secs_f64();
    let classes = if is_finite { classify(&network, &data.test)? } else { vec![0; data.test.count()] };
    let mut run = Run {
        recipe,
        seed,
        correct: correct(&classes, &data.test),
        diverged: !is_finite,
        digest: network.digest()?,
        seconds,
        post: Vec::new(),
        export: Vec::new(),
    };
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

/// What `run` makes of all items, on the threads of the current pool, which take them in order: whoever stops it half-way has the
/// first half.
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

/// Runs whatever the journal has not, on the threads of the current pool, each run on one of them. `finished` sees every run.
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
    let recipes = grid.recipes();
    // Seed after seed: if time is short, there are fewer seeds, not fewer recipes.
    let all: Vec<(u64, Recipe)> =
        (1..=grid.seeds).flat_map(|seed| recipes.iter().map(move |&recipe| (seed, recipe))).collect();
    let pending: Vec<(u64, Recipe)> =
        all.iter().copied().filter(|&(seed, recipe)| journal.find(recipe, seed).is_none()).collect();
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
        run.or_else(|| journal.find(recipe, seed)).expect("a run of every recipe and seed").clone()
    };
    Ok(all.iter().map(found).collect())
}
