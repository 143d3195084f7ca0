//! Runs a model on every ISA, and beside the wheel's engine.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use e5::reference::Reference;
use e5::{Embeddings, Encoder, ModelFile, Scales, Text, Tokenizer, embed, sequences};
use harness::machine::Machine;
use harness::measure::Times;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::ThreadPool;
use rayon::prelude::*;
use zeropoint::Isa;

use crate::pairs::Pairs;
use crate::report::{Agreement, IsaRow, PairRow, Report, SpeedRow, digest};
use crate::wheel::Wheel;
use crate::{at, pool};

/// The two ways to embed all texts: queries in one call and passages in another, or a call for each.
const TURNS: [&str; 2] = ["batch", "single"];

/// What is compared.
pub struct Settings<'a> {
    pub package: &'a Path,
    pub path: &'a Path,
    /// Numbers of threads.
    pub threads: &'a [usize],
    pub rounds: u32,
}

/// A model for all its runs.
struct Model<'a> {
    file: ModelFile<'a>,
    tokenizer: Tokenizer,
    texts: Vec<Text<'a>>,
}

/// Runs everything.
pub fn run(settings: &Settings<'_>, bytes: &[u8], pairs: &Pairs) -> Result<Report, Box<dyn Error>> {
    let wrong = |error: e5::Error| at(settings.path, error);
    let file = ModelFile::parse(bytes).map_err(wrong)?;
    let tokenizer = Tokenizer::new(&file).map_err(wrong)?;
    let model = Model { file, tokenizer, texts: pairs.texts() };
    let pools = settings.threads.iter().map(|&threads| pool(threads)).collect::<Result<Vec<_>, _>>()?;

    let bar = ProgressBar::new(settings.rounds.into());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} rounds, {msg}")?);
    bar.set_message("starting the wheel's engine");
    let mut wheels = Vec::new();
    for &threads in settings.threads {
        wheels.push(Wheel::start(settings.package, settings.path, threads, pairs)?);
    }
    let theirs = &wheels.first().ok_or("no number of threads")?.1;
    let (width, count) = (model.file.sizes().width, model.texts.len());
    if [theirs.width, theirs.values.len(), theirs.tokens.len()] != [width, width * count, count] {
        return Err(format!("{}: its engine gives other embeddings", settings.package.display()).into());
    }
    bar.set_message("agreement");
    let best = Encoder::new(Isa::best()?, &model.file, Scales::Groups).map_err(wrong)?;
    let ours = model.embed(&best).map_err(wrong)?;
    let by_rows =
        Encoder::new(Isa::best()?, &model.file, Scales::Rows).and_then(|rows| model.embed(&rows)).map_err(wrong)?;
    let exact = model.exact().map_err(wrong)?;
    let agreements = vec![
        Agreement::new("zeropoint, i8, a scale for 32", &ours, theirs, &exact),
        Agreement::new("zeropoint, i8, a scale for a token", &by_rows, theirs, &exact),
        Agreement::new("the wheel", theirs, theirs, &exact),
    ];
    let mut isas = Vec::new();
    for isa in Isa::supported() {
        bar.set_message(isa.name());
        isas.extend(model.on(isa, &pools).map_err(wrong)?);
    }
    bar.set_message("speed");
    let speeds = model.speeds(settings, &pools, &best, &mut wheels, &bar)?;
    bar.finish_and_clear();
    let theirs = &wheels[0].1;
    Ok(Report {
        machine: Machine::here(),
        model: settings.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        isa: Isa::best()?.name(),
        rounds: settings.rounds,
        texts: model.texts.len(),
        tokens: ours.tokens.iter().sum(),
        tokens_agree: ours.tokens == theirs.tokens,
        agreements,
        isas,
        pairs: PairRow::all(pairs, &ours, theirs),
        speeds,
    })
}

impl Model<'_> {
    fn embed(&self, encoder: &Encoder) -> Result<Embeddings, e5::Error> {
        embed(&self.tokenizer, encoder, &self.texts)
    }

    /// Embeddings by plain loops.
    fn exact(&self) -> Result<Embeddings, e5::Error> {
        let reference = Reference::new(&self.file)?;
        let sizes = self.file.sizes();
        let (sequences, _) = sequences(&self.tokenizer, sizes.positions, &self.texts);
        let means: Vec<Vec<f64>> = sequences.par_iter().map(|sequence| reference.encode(sequence)).collect();
        let values = means.concat().into_iter().map(|value| value as f32).collect();
        Ok(Embeddings { width: sizes.width, values, tokens: Vec::new() })
    }

    /// What an ISA makes of all texts on every pool.
    fn on(&self, isa: Isa, pools: &[ThreadPool]) -> Result<Vec<IsaRow>, e5::Error> {
        let encoder = Encoder::new(isa, &self.file, Scales::Groups)?;
        let row = |pool: &ThreadPool| {
            let embeddings = pool.install(|| self.embed(&encoder))?;
            let start = Instant::now();
            pool.install(|| self.embed(&encoder))?;
            Ok(IsaRow {
                isa: isa.name(),
                threads: pool.current_num_threads(),
                digest: digest(&embeddings.values),
                sentences_per_second: self.texts.len() as f64 / start.elapsed().as_secs_f64(),
            })
        };
        pools.iter().map(row).collect()
    }

    /// Sentences per second beside the wheel's engine, in rounds in which everyone has a turn.
    fn speeds(
        &self,
        settings: &Settings<'_>,
        pools: &[ThreadPool],
        encoder: &Encoder,
        wheels: &mut [(Wheel, Embeddings)],
        bar: &ProgressBar,
    ) -> Result<Vec<SpeedRow>, Box<dyn Error>> {
        let mut times = vec![[Times::default(), Times::default()]; TURNS.len() * pools.len()];
        // The first round warms up.
        for round in 0..=settings.rounds {
            for (i, [ours, theirs]) in times.iter_mut().enumerate() {
                let (turn, threads) = (TURNS[i / pools.len()], i % pools.len());
                let (our_time, their_time) =
                    (self.turn(&pools[threads], encoder, turn)?, wheels[threads].0.turn(turn)?);
                if round > 0 {
                    ours.push(our_time);
                    theirs.push(their_time);
                }
            }
            bar.set_position(round.into());
        }
        let rate = |times: &Times| self.texts.len() as f64 / times.middle();
        let row = |(i, [ours, theirs]): (usize, &[Times; 2])| SpeedRow {
            turn: TURNS[i / pools.len()],
            threads: settings.threads[i % pools.len()],
            ours: rate(ours),
            wheel: rate(theirs),
            ratio: ours.ratio(theirs),
            spread: ours.spread().max(theirs.spread()),
        };
        Ok(times.iter().enumerate().map(row).collect())
    }

    /// The seconds that all texts take, as the wheel's engine has them.
    fn turn(&self, pool: &ThreadPool, encoder: &Encoder, turn: &str) -> Result<f64, e5::Error> {
        let length = if turn == "batch" { self.texts.len() / 2 } else { 1 };
        pool.install(|| {
            let start = Instant::now();
            for texts in self.texts.chunks(length) {
                embed(&self.tokenizer, encoder, texts)?;
            }
            Ok(start.elapsed().as_secs_f64())
        })
    }
}
