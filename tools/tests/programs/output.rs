//! Where results go: files that are checked before the work and written whole or not at all; standard output that nobody
//! reads; arguments that are refused.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::{command, refuses, run, temporary};

const PROFILE: &str = env!("CARGO_BIN_EXE_profile");
const REPORT: &str = env!("CARGO_BIN_EXE_report");
const TURNS: &str = env!("CARGO_BIN_EXE_turns");
const UNBIASED: &str = env!("CARGO_BIN_EXE_unbiased");
const WORDS: &str = env!("CARGO_BIN_EXE_words");

#[test]
fn a_closed_standard_output_ends_programs_quietly() {
    let folder = temporary("closed");
    let out = folder.to_str().unwrap();
    let few = ["--op", "words", "--shape", "16", "--isa", "scalar", "--threads", "1", "--rounds", "1"];
    for (program, arguments) in [
        (PROFILE, &["quantize", "16", "--calls", "1"][..]),
        (PROFILE, &["--help"]),
        (REPORT, &few),
        (REPORT, &[&few[..], &["--json"]].concat()),
        (UNBIASED, &["--repetitions", "4", "--out", out]),
        (WORDS, &[]),
        (TURNS, &[]),
        (env!("CARGO_BIN_EXE_compare"), &["--bits", "8", "--methods", "minmax", "--figure", "/dev/null"]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command(program, arguments);
        let mut process =
            command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
        // It may have ended before it reads.
        let _ = process.stdin.take().unwrap().write_all(b"scalar quantize 16\n");
        let output = process.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program} {arguments:?}");
        assert!(output.status.success(), "{program} {arguments:?}");
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Before it measures anything, which would take years.
#[test]
fn report_refuses_an_unwritable_folder_at_once() {
    let folder = temporary("unwritable");
    fs::create_dir_all(folder.join("report.json")).unwrap();
    for out in ["Cargo.toml/results", folder.to_str().unwrap()] {
        let arguments = [
            "--op",
            "words",
            "--shape",
            "16",
            "--isa",
            "scalar",
            "--rounds",
            "4294967295",
            "--threads",
            "1",
            "--out",
            out,
        ];
        let mut command = command(REPORT, &arguments);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let started = Instant::now();
        while process.try_wait().unwrap().is_none() {
            if started.elapsed() > Duration::from_secs(60) {
                process.kill().unwrap();
                panic!("{out}: it measures first");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut stderr = String::new();
        process.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(stderr.starts_with(&format!("error: {out}")) && stderr.lines().count() == 1, "{stderr}");
        assert_eq!(process.wait().unwrap().code(), Some(1));
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Files appear all together, or stay as they were.
#[test]
fn results_are_written_whole_or_not_at_all() {
    let folder = temporary("half");
    let out = folder.to_str().unwrap();
    let files = || {
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let arguments = ["--repetitions", "4", "--out", out];
    let [csv, svg] = ["unbiased.csv", "unbiased.svg"].map(|file| folder.join(file));
    assert!(run(UNBIASED, &arguments).status.success());
    assert_eq!(files(), ["unbiased.csv", "unbiased.svg"]);
    let written = fs::read(&csv).unwrap();
    assert!(written.ends_with(b"\n") && fs::read_to_string(&svg).unwrap().trim_end().ends_with("</svg>"));

    // Its second file is a folder: known before the work.
    fs::remove_file(&svg).unwrap();
    fs::create_dir(&svg).unwrap();
    fs::write(&csv, "from before").unwrap();
    refuses(UNBIASED, &arguments, &format!("error: {}: is a directory", svg.display()));
    assert_eq!(fs::read_to_string(&csv).unwrap(), "from before");
    fs::remove_dir(&svg).unwrap();
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        // Its second file is on a full disk: known only when it is written.
        symlink("/dev/full", &svg).unwrap();
        refuses(UNBIASED, &arguments, &format!("error: {}: no storage space", svg.display()));
        assert_eq!(fs::read_to_string(&csv).unwrap(), "from before");
        assert_eq!(files(), ["unbiased.csv", "unbiased.svg"]);
        fs::remove_file(&svg).unwrap();
        // Files keep their permissions, and links stay links.
        let real = folder.join("real.svg");
        fs::write(&real, "").unwrap();
        symlink(&real, &svg).unwrap();
        fs::set_permissions(&csv, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(run(UNBIASED, &arguments).status.success());
        assert_eq!(fs::read(&csv).unwrap(), written);
        assert_eq!(fs::metadata(&csv).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&svg).unwrap().is_symlink() && fs::metadata(&real).unwrap().len() > 0);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn arguments_that_are_wrong_are_one_line() {
    let side = "268435457";
    for (program, arguments, why) in [
        (PROFILE, &["matmul", "268435456"][..], "more than 268435456 values"),
        (PROFILE, &["matmul", "1x1x65794", "scalar"], "65793"),
        (PROFILE, &["quantize", side], "more than 268435456 values"),
        (PROFILE, &["quantize", "2x3x4"], "quantize takes a number of elements"),
        (PROFILE, &["matmul", "99999999999x99999999999x1"], "more than 268435456 values"),
        (PROFILE, &["quantize"], "<SHAPE>"),
        (PROFILE, &["quantize", "16", "--calls", "0"], "--calls"),
        (UNBIASED, &["--bits", "0"], "0 is not in 2..=8"),
        (UNBIASED, &["--bits", "33"], "33 is not in 2..=8"),
        (UNBIASED, &["--repetitions", "0"], "--repetitions"),
        (UNBIASED, &["--out", "Cargo.toml"], "error: Cargo.toml/unbiased.csv: "),
        (WORDS, &["--isa", "mmx"], "no ISA `mmx`"),
        (WORDS, &["--offset=-1"], "--offset"),
    ] {
        refuses(program, arguments, why);
    }
    for (request, why) in [
        ("scalar quantize", "not a request"),
        ("mmx quantize 16", "no ISA `mmx`"),
        ("scalar quantise 16", "no operation `quantise`"),
        ("scalar quantize-diagonals 2048", "no operation `quantize-diagonals`"),
        ("scalar quantize-block0 2048", "a block has no length"),
        ("scalar min-max-rows 2048", "no operation `min-max-rows`"),
        ("scalar quantize-rows 16", "error: `scalar quantize-rows 16`: "),
        ("scalar quantize 99999999999", "more than 268435456 values"),
    ] {
        let mut command = command(TURNS, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        process.stdin.take().unwrap().write_all(format!("{request}\n").as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(why), "{stderr:?} does not contain {why:?}");
    }
}

/// The bench server answers every operation that `benches/peers/elementwise.py` asks for.
#[test]
fn turns_answers_every_operation() {
    let operations = ["quantize", "dequantize", "fake"]
        .iter()
        .flat_map(|kind| ["", "-rows", "-columns", "-block32"].map(|granularity| format!("{kind}{granularity}")));
    let others = ["fake-mask", "dynamic", "dynamic-rows", "dynamic-block32", "min-max", "abs-max"].map(String::from);
    let requests: Vec<String> =
        operations.chain(others).map(|operation| format!("scalar {operation} 2048\n")).collect();
    let mut command = command(TURNS, &[]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    process.stdin.take().unwrap().write_all(requests.concat().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(
        answers.lines().filter(|line| line.parse::<f64>().is_ok_and(|seconds| seconds > 0.0)).count(),
        requests.len()
    );
}
