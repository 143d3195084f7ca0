//! The program `report` from end to end: its flags choose what is measured, and every number has what it is held against.

use serde_json::Value;
use zeropoint::Isa;

fn report(arguments: &[&str]) -> Value {
    let rounds: &[&str] = if arguments.contains(&"--rounds") { &[] } else { &["--rounds", "1"] };
    let output = crate::run(env!("CARGO_BIN_EXE_report"), &[&["--json"], rounds, arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}

/// Operation, shape, ISA and threads of every entry.
fn measured(report: &Value) -> Vec<(&str, &str, &str, u64)> {
    fn of(entry: &Value) -> (&str, &str, &str, u64) {
        let text = |key| entry[key].as_str().expect("text");
        (text("op"), text("shape"), text("isa"), entry["threads"].as_u64().expect("a number"))
    }
    report["entries"].as_array().expect("a list").iter().map(of).collect()
}

#[test]
fn flags_choose_what_is_measured() {
    let shapes = ["--shape", "17x33x65", "--shape", "1024"];
    let isas = ["--isa", "scalar", "--isa", "portable"];
    let one = report(&[&shapes[..], &isas, &["--op", "matmul", "--op", "dequantize", "--threads", "1"]].concat());
    let all = [("matmul", "17x33x65"), ("dequantize", "1 Ki")];
    let expected: Vec<_> =
        all.iter().flat_map(|&(op, shape)| [(op, shape, "scalar", 1), (op, shape, "portable", 1)]).collect();
    assert_eq!(measured(&one), expected);
    for entry in one["entries"].as_array().expect("a list") {
        assert!(entry["value"].as_f64().is_some_and(|value| value > 0.0), "{entry}");
        let times_scalar = entry["times_scalar"].as_f64().expect("the scalar ISA was measured");
        assert_eq!(entry["isa"] == "scalar", times_scalar == 1.0, "{entry}");
    }

    let threads = report(&["--op", "words", "--shape", "4096", "--isa", "portable", "--threads", "2"]);
    assert_eq!(measured(&threads), [("words", "4 Ki", "portable", 1), ("words", "4 Ki", "portable", 2)]);
}

/// Every round in a process of its own; a program in an emulator cannot start itself.
#[test]
fn rounds_are_processes() {
    if std::env::var_os("ZEROPOINT_TEST_RUNNER").is_some() {
        return;
    }
    let report = report(&[
        "--quick", "--rounds", "6", "--op", "matmul", "--shape", "16x16x16", "--isa", "scalar", "--isa", "portable",
    ]);
    // As many as are asked for, not the five of a quick report.
    assert_eq!(report["rounds"], 6);
    let isas: Vec<&str> = measured(&report).into_iter().filter(|entry| entry.3 == 1).map(|entry| entry.2).collect();
    assert_eq!(isas, ["scalar", "portable"]);
}

#[test]
fn vector_isas_are_held_against_limits() {
    let report = report(&["--op", "matmul", "--shape", "16x16x16", "--threads", "1"]);
    let isas: Vec<&str> = measured(&report).into_iter().map(|(_, _, isa, _)| isa).collect();
    assert_eq!(isas, Isa::supported().iter().map(|isa| isa.name()).collect::<Vec<_>>());
    for entry in report["entries"].as_array().expect("a list") {
        let multiplies_by_hand = ["avx2", "avxvnni", "avx512", "avx512vnni"].contains(&entry["isa"].as_str().unwrap());
        assert_eq!(entry["limit_fraction"].is_number(), multiplies_by_hand, "{entry}");
    }
}

#[test]
fn pictures_and_tables_are_written() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    let out = folder.to_str().expect("a path of letters");
    let shapes = ["--shape", "16x16x16", "--shape", "32x32x32", "--shape", "256", "--shape", "512"];
    report(&[&shapes[..], &["--op", "matmul", "--op", "quantize", "--out", out]].concat());
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_else(|_| panic!("{file} is missing"));
    let document = read("report.md");
    for (picture, word) in [("matmul.svg", "scalar"), ("elementwise.svg", "quantize"), ("speedup.svg", "portable")] {
        assert!(document.contains(&format!("]({picture})")), "{picture} is not in the document");
        assert!(read(picture).contains(word), "{picture} does not name {word}");
    }
    for text in ["32x32x32", "matmul: ", "quantize: "] {
        assert!(document.contains(text), "{text} is not in the document");
    }
    serde_json::from_str::<Value>(&read("report.json")).expect("JSON");
}

#[test]
fn arguments_that_do_not_go_together_are_one_line() {
    for (arguments, why) in [
        (["--op", "quantize", "--shape", "2x3x4"], "no operation that is to be measured takes the shape 2x3x4"),
        (["--op", "matmul", "--shape", "1024"], "no operation that is to be measured takes the shape 1 Ki"),
    ] {
        let output = crate::run(env!("CARGO_BIN_EXE_report"), &arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("error: {why}\n"));
    }
    let output = crate::run(env!("CARGO_BIN_EXE_report"), &["--op", "matmul", "--op", "words", "--shape", "2x3x4"]);
    let why = "error: words takes a number of elements, which no --shape is\n";
    assert_eq!((output.status.success(), &*String::from_utf8_lossy(&output.stderr)), (false, why));
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    for arguments in [["--isa", "mmx"], ["--shape", "1x2"], ["--op", "divide"], ["--threads", "0"], ["--rounds", "0"]] {
        crate::refuses(env!("CARGO_BIN_EXE_report"), &arguments, arguments[1]);
    }
}
