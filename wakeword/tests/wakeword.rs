//! Every tensor is TensorFlow Lite's, with each set of its kernels, on every ISA that is tested, on one thread and on two.

use rayon::ThreadPoolBuilder;
use wakeword::logistic;
use wakeword::network::Operator;
use wakeword::recorded::{Features, Run, make, shipped};
use zeropoint::{Exec, Isa};

/// The random steps that are compared: the most that were recorded take a minute.
const STEPS: usize = 500;

/// The ISAs that are tested: in an emulator those that the environment names.
fn isas() -> Vec<Isa> {
    match std::env::var("ZEROPOINT_TEST_ISAS") {
        Ok(names) => names.split(',').map(|name| Isa::named(name).expect("the CPU has what is tested")).collect(),
        Err(_) => Isa::supported(),
    }
}

/// The digests after as many steps as are compared.
fn recorded(run: &Run) -> (usize, &[String]) {
    let emulated = std::env::var_os("ZEROPOINT_TEST_RUNNER").is_some();
    let most = if emulated && run.features == Features::Random { run.steps[0] } else { STEPS };
    let last = run.steps.iter().rposition(|&steps| steps <= most).expect("steps that are compared");
    (run.steps[last], &run.digests[last])
}

#[test]
fn every_tensor() {
    let pools = [1, 2].map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for shipped in &shipped().unwrap() {
        let tensors = &shipped.recorded.tensors;
        assert_eq!(shipped.recorded.runs.len(), 6, "three sets of kernels, two kinds of features");
        for run in &shipped.recorded.runs {
            let (count, digests) = recorded(run);
            let steps = run.features.steps(count).unwrap();
            assert_eq!((steps.len(), digests.len()), (count, tensors.len()));
            for (isa, pool) in isas().into_iter().flat_map(|isa| pools.iter().map(move |pool| (isa, pool))) {
                let made = pool.install(|| make(Exec::from(isa).rayon(), shipped, run.kernels, &steps)).unwrap();
                let wrong = (0..tensors.len()).find(|&i| made.digests[i] != digests[i]).map(|i| tensors[i]);
                let case =
                    format!("{} {} {} {isa} {}", shipped.name, run.kernels, run.features, pool.current_num_threads());
                assert_eq!(wrong, None, "the first tensor of another program: {case}");
                assert!(run.features == Features::Random || made.outputs == run.outputs, "{case}");
            }
        }
    }
}

#[test]
fn every_code_of_the_logistic_functions() {
    for shipped in shipped().unwrap() {
        let tensors = &shipped.network.graph.tensors;
        let mut found = 0;
        for operator in &shipped.network.graph.operators {
            if let Operator::Logistic { input, output } = operator {
                let [x, y] = [input, output].map(|number| tensors[number].params().unwrap());
                assert_eq!(logistic::table(&x, &y).as_slice(), shipped.recorded.logistic, "{}", shipped.name);
                found += 1;
            }
        }
        assert_eq!(found, 1, "{}", shipped.name);
    }
}
