//! Training: the same bits everywhere; its exports; the file of its runs.

use indicatif::ProgressBar;
use qat::data::{Dataset, Images, digits};
use qat::export::compare;
use qat::grid::{Grid, Journal, Run, Scratch, all, first, tune};
use qat::mean::Mean;
use qat::recipe::{Quantized, Recipe, Variant};
use qat::report::Results;
use qat::train::{Schedule, classify, correct};
use qat::{Failure, bias};
use zeropoint::{Exec, Isa};

const BATCH: Schedule = Schedule { images: 0, batch: 32, rate: 0.02 };

/// The digits, with few to test.
fn data() -> Dataset {
    let all = digits().unwrap();
    let test = Images { pixels: all.test.pixels[..300 * 784].to_vec(), classes: all.test.classes[..300].to_vec() };
    Dataset { test, ..all }
}

fn grid(variants: &[Variant]) -> Grid {
    Grid {
        bits: vec![4],
        power_of_two: vec![false, true],
        variants: variants.to_vec(),
        seeds: 2,
        first: Schedule { images: 320, ..BATCH },
        tuning: Schedule { images: 96, ..BATCH },
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
}

#[test]
fn a_seed_gives_one_network_on_every_isa_and_number_of_threads() -> Result<(), Failure> {
    let grid = Grid { power_of_two: vec![false], tuning: Schedule { images: 64, ..BATCH }, ..grid(&Variant::ALL) };
    let data = data();
    let mut digests = Vec::new();
    for isa in Isa::supported() {
        for threads in [1, 2] {
            let exec = if threads == 1 { Exec::from(isa) } else { Exec::from(isa).rayon() };
            let networks: Vec<String> = pool(threads).install(|| -> Result<_, Failure> {
                let first = first(&grid, &data, exec, 1)?;
                let recipes = grid.recipes().into_iter().chain(Scratch::RECIPES[1..].iter().copied());
                recipes.map(|recipe| Ok(tune(&first, recipe, grid.tuning, &data, exec, 1)?.0.digest()?)).collect()
            })?;
            digests.push(networks);
        }
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    // Whatever is rounded otherwise, leads to another network.
    let mut distinct = digests[0].clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), digests[0].len());
    Ok(())
}

fn run(grid: &Grid, data: &Dataset, journal: Option<&std::path::Path>, threads: usize) -> Result<Vec<Run>, Failure> {
    let exec = Exec::best()?;
    let journal = Journal::open(journal, grid.key(data))?;
    pool(threads).install(|| all(grid, data, exec, &journal, &ProgressBar::hidden(), |_| ()))
}

fn digests(runs: &[Run]) -> Vec<(Recipe, u64, usize, String)> {
    runs.iter().map(|run| (run.recipe, run.seed, run.correct, run.digest.clone())).collect()
}

#[test]
fn a_grid_goes_on_where_its_journal_ends() -> Result<(), Failure> {
    let (data, grid) = (data(), grid(&[Variant::Nearest, Variant::UpdateStochastic]));
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("runs.jsonl");
    let whole = run(&grid, &data, Some(&path), 2)?;
    assert_eq!(whole.len(), 10);
    assert_eq!(digests(&run(&grid, &data, None, 1)?), digests(&whole));

    // The last line is cut, as by an interruption, and another one is gone.
    let text = std::fs::read_to_string(&path)?;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 10);
    std::fs::write(&path, [&lines[1..9].join("\n"), "\n", &lines[9][..40]].concat())?;
    let resumed = run(&grid, &data, Some(&path), 2)?;
    assert_eq!(digests(&resumed), digests(&whole));
    assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 11);
    // Runs that it has are not run again: they took as long as they took.
    let again = run(&grid, &data, Some(&path), 2)?;
    assert_eq!(again, resumed);
    // A report of fewer seeds or bits has the runs of these alone, once each.
    let journal = Journal::open(Some(&path), grid.key(&data))?;
    assert_eq!(digests(&grid.finished(&journal)), digests(&whole));
    let one = Grid { seeds: 1, power_of_two: vec![true], ..grid.clone() };
    assert_eq!(digests(&one.finished(&journal)), [0, 3, 4].map(|i| digests(&whole)[i].clone()));
    // With other bits, the float network is quantized after training once more.
    let wider = Grid { bits: vec![3], variants: Vec::new(), ..grid.clone() };
    assert!(wider.finished(&journal).is_empty());
    let wider = run(&wider, &data, Some(&path), 2)?;
    assert!(wider.len() == 2 && wider.iter().all(|run| run.post.iter().all(|post| post.bits == 3)));
    // A file of something else is left as it is.
    let other = folder.path().join("other.toml");
    std::fs::write(&other, "[package]\n")?;
    let refused = Journal::open(Some(&other), grid.key(&data)).err().expect("an error").to_string();
    assert!(refused.ends_with("other.toml: not a journal of runs"), "{refused}");
    assert_eq!(std::fs::read_to_string(&other)?, "[package]\n");
    // Another grid has none of these runs.
    let other = Grid { tuning: Schedule { images: 64, ..BATCH }, seeds: 1, ..grid.clone() };
    assert_ne!(digests(&run(&other, &data, Some(&path), 2)?)[0], digests(&whole)[0]);
    Ok(())
}

#[test]
fn integers_are_the_fake_quantized_network() -> Result<(), Failure> {
    let (data, exec) = (data(), Exec::best()?);
    let grid = grid(&[Variant::Nearest]);
    let float = first(&grid, &data, exec, 1)?;
    let mut as_trained = 0;
    for bits in [8, 4, 2] {
        for (power_of_two, variant) in [(false, Variant::Nearest), (true, Variant::Nearest), (false, Variant::Learned)]
        {
            let quantized = Quantized { bits, power_of_two, variant };
            let (network, _) = tune(&float, Recipe::Quantized(quantized), grid.tuning, &data, exec, 1)?;
            let classes = classify(&network, &data.test)?;
            let rows = compare(&network, quantized, &classes, &data.test, exec)?;
            let stages: Vec<&str> = rows.iter().map(|row| &*row.stage).collect();
            assert_eq!(stages[..2], ["float multiplier", "fixed point"]);
            for row in &rows {
                assert_eq!(row.codes, 300 * (5760 + 1280 + 50 + 10), "{quantized:?} {row:?}");
                assert_eq!(row.in_order, 0, "{quantized:?} {row:?}");
                assert!(row.of_bound <= 1.0 && row.steps <= 1, "{quantized:?} {row:?}");
                as_trained += row.as_trained;
                let apart = correct(&classes, &data.test).abs_diff(row.correct);
                assert!(apart <= row.predictions, "{quantized:?} {row:?}");
            }
        }
    }
    assert!(as_trained > 0, "no code differs, and the bound was not put to the test");
    Ok(())
}

#[test]
fn training_teaches_and_eight_bits_cost_little() -> Result<(), Failure> {
    let (data, exec) = (digits()?, Exec::best()?);
    let grid = Grid {
        first: Schedule { images: 6400, batch: 32, rate: 0.05 },
        tuning: Schedule { images: 1600, batch: 32, rate: 0.01 },
        ..grid(&[Variant::Nearest])
    };
    let float = first(&grid, &data, exec, 1)?;
    let right = |recipe| -> Result<usize, Failure> {
        let (network, _) = tune(&float, recipe, grid.tuning, &data, exec, 1)?;
        Ok(correct(&classify(&network, &data.test)?, &data.test))
    };
    let exact = right(Recipe::Float)?;
    assert!(exact > 930, "{exact}");
    for variant in [Variant::Nearest, Variant::ForwardStochastic, Variant::GradientStochastic, Variant::Learned] {
        let quantized = right(Recipe::Quantized(Quantized { bits: 8, power_of_two: false, variant }))?;
        assert!(quantized + 10 > exact, "{variant:?}: {quantized}, float {exact}");
    }
    Ok(())
}

#[test]
fn stochastic_gradients_have_no_bias_and_nearest_ones_have() -> Result<(), Failure> {
    let exec = Exec::best()?;
    let measured = bias::measure(exec, &[8, 4, 3, 2], 1 << 11, 7)?;
    let stochastic: Vec<_> = measured.iter().filter(|m| m.stochastic).collect();
    let covered: usize = stochastic.iter().map(|m| m.covered).sum();
    let all = stochastic.len() * bias::COEFFICIENTS;
    // 95 % in the mean; the components of a row depend on each other.
    assert!(covered * 100 > all * 90 && covered < all, "{covered} of {all}");
    for m in &measured {
        let last = m.errors.last().expect("draws").1;
        if m.stochastic {
            assert!(last < 2.0 * m.expected && last < m.single / 20.0, "{m:?}");
        } else {
            assert!(m.covered == 0 && (last - m.single).abs() < 1e-12, "{m:?}");
        }
    }
    let other = bias::measure(Isa::named("scalar")?.into(), &[8, 4, 3, 2], 1 << 11, 7)?;
    assert_eq!(format!("{other:?}"), format!("{measured:?}"));
    Ok(())
}

/// A learning rate beyond reason ends a run, not the program.
#[test]
fn a_network_that_diverges_is_a_result() -> Result<(), Failure> {
    let (data, exec) = (data(), Exec::best()?);
    let grid = grid(&[]);
    let float = first(&grid, &data, exec, 1)?;
    let wild = Schedule { images: 640, batch: 32, rate: 1e6 };
    for variant in [Variant::Nearest, Variant::GradientStochastic] {
        let recipe = Recipe::Quantized(Quantized { bits: 4, power_of_two: false, variant });
        assert!(!tune(&float, recipe, wild, &data, exec, 1)?.1);
    }
    assert!(!tune(&float, Recipe::Float, wild, &data, exec, 1)?.1);
    Ok(())
}

#[test]
fn means_and_paired_differences() {
    assert_eq!(Mean::of(&[]), None);
    assert_eq!(Mean::of(&[3.0]), Some(Mean { mean: 3.0, error: None, count: 1 }));
    let three = Mean::of(&[1.0, 2.0, 3.0]).unwrap();
    assert_eq!((three.mean, three.error), (2.0, Some((1.0_f64 / 3.0).sqrt())));
    // The 97.5 % points of Student's distribution: 4.3027 with two degrees of freedom, 3.1824 with three.
    let mean = |mean: f64, count| Mean { mean, error: Some(1.0), count };
    assert!(mean(-4.303, 3).is_clear() && !mean(4.302, 3).is_clear());
    assert!(mean(3.183, 4).is_clear() && !mean(-3.182, 4).is_clear());
    assert!(!three.is_clear() && !Mean::of(&[3.0]).unwrap().is_clear());
    let paired = Results::paired(&[(1, 10.0), (2, 30.0), (3, 99.0)], &[(2, 29.0), (1, 7.0)]).unwrap();
    assert_eq!((paired.mean, paired.error), (2.0, Some(1.0)));
}
