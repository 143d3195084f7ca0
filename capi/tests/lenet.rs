//! LeNet in C and C++: the digests of the Rust program `lenet`, on every ISA of the machine.
#![allow(dead_code, reason = "parts of the program `lenet`")]

#[path = "../../lenet/src/data.rs"]
mod data;
#[path = "../../lenet/src/float.rs"]
mod float;
#[path = "../../lenet/src/network.rs"]
mod network;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use support::{AS_CPP, C, SANITIZED, compile, folder, run, valgrind};
use zeropoint::Isa;

/// Writes what the C program reads: how many digits calibrate and how many are classified, weights and biases, the inputs of every layer
/// for the digits that calibrate, the digits.
fn write_data() -> PathBuf {
    let file = |name: &str| folder().join("../lenet/data").join(name);
    let weights = data::weights(&file("lenet-mnist.safetensors")).expect("it is shipped");
    let calibration = data::images(&file("mnist-calibration-images.idx3-ubyte")).expect("it is shipped");
    let images = data::images(&file("mnist-test-images.idx3-ubyte")).expect("it is shipped");
    let activations = float::FloatNetwork::new(&weights).activations(&calibration);
    let data::Weights { conv1, conv2, fc1, fc2 } = &weights;
    let layers = [conv1, conv2, fc1, fc2].map(|layer| [&layer.weights[..], &layer.bias]);
    let float::Activations { conv1, conv2, fc1, fc2, .. } = &activations;
    let inputs = [&conv1[..], conv2, fc1, fc2, &images];
    let counts = [&calibration, &images].map(|digits| (digits.len() / network::PIXELS) as u32);
    let mut bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_ne_bytes()).collect();
    bytes.extend(layers.as_flattened().iter().chain(&inputs).copied().flatten().flat_map(|x| x.to_ne_bytes()));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi-lenet.bin");
    fs::write(&path, bytes).expect("the folder is writable");
    path
}

/// The digest that the Rust program's test has for a scheme.
fn digest_of(scheme: &str) -> String {
    let test = fs::read_to_string(folder().join("../lenet/tests/lenet.rs")).expect("the test");
    let line = test.lines().find(|line| line.trim_start().starts_with(&format!("(\"{scheme}\", "))).expect("a scheme");
    line.split('"').nth(3).expect("its digest").to_owned()
}

#[test]
fn digests_are_those_of_rust() {
    let data = write_data();
    let programs = C.iter().chain(&AS_CPP).map(|&build| compile("tests/c/lenet.c", build));
    let programs: Vec<PathBuf> = programs.collect();
    let sanitized = compile("tests/c/lenet.c", SANITIZED);
    let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capi-lenet-results.bin");
    let arguments = |isa: &str, scheme: &str, images: &str| {
        let paths = [&data, &results].map(|path| path.to_str().expect("UTF-8").to_owned());
        [isa, scheme, &paths[0], images, &paths[1]].map(str::to_owned)
    };
    for scheme in ["static", "dynamic", "shift"] {
        let mut all = Vec::new();
        for (isa, program) in Isa::supported().iter().zip(programs.iter().cycle()) {
            run(Command::new(program).args(arguments(isa.name(), scheme, "1000")));
            all = fs::read(&results).expect("the program wrote it");
            let digest: String = Sha256::digest(&all).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, digest_of(scheme), "{scheme} on {isa}");
        }
        // A batch, checked.
        let few = arguments("avx2", scheme, "40").map(Into::into);
        valgrind(&programs[0], &few.each_ref().map(|argument: &std::ffi::OsString| argument.as_os_str()));
        assert!(all.starts_with(&fs::read(&results).expect("the program wrote it")));
        run(Command::new(&sanitized).args(&few));
        assert!(all.starts_with(&fs::read(&results).expect("the program wrote it")));
    }
}
