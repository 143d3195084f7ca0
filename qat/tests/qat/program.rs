//! The program as one runs it.

use std::process::{Command, Output};

fn qat(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qat")).args(arguments).output().expect("the program runs")
}

#[test]
fn a_small_grid_has_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let [markdown, journal] = ["qat.md", "runs.jsonl"].map(|name| folder.path().join(name).display().to_string());
    let common = ["--quick", "--seeds", "1", "--bits", "3", "--images", "64", "--threads", "2", "--journal", &journal];
    let json = qat(&[&common[..], &["--json"]].concat());
    assert!(json.status.success(), "{json:?}");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    // Float, seven variants of float scales and six of powers of two.
    assert_eq!(json["runs"].as_array().unwrap().len(), 14);
    assert_eq!(json["runs"][0]["post"].as_array().unwrap().len(), 4);
    assert_eq!(json["integer"].as_array().unwrap().len(), 3);
    assert_eq!(json["bias"].as_array().unwrap().len(), 8);

    let tables = qat(&[&common[..], &["--markdown", &markdown, "--isa", "scalar"]].concat());
    assert!(tables.status.success(), "{tables:?}");
    let (printed, written) = (String::from_utf8(tables.stdout).unwrap(), std::fs::read_to_string(&markdown).unwrap());
    assert!(written.starts_with("# Quantization-aware training") && written.ends_with(&printed));
    for head in [
        "## Accuracy",
        "## Differences",
        "## Export to integers",
        "## The bias of gradients",
        "## Training in integers",
    ] {
        assert!(printed.contains(head), "{printed}");
    }
    for picture in ["accuracy.svg", "bias.svg"] {
        assert!(std::fs::read_to_string(folder.path().join("qat").join(picture)).unwrap().starts_with("<svg"));
    }
}

#[test]
fn what_is_wrong_is_one_line() {
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--bits", "9"], 2, "9"),
        (&["--quick", "--data", "x"], 2, "--data"),
        (&["--seeds", "0"], 2, "0"),
        (&["--nothing"], 2, "--nothing"),
        (&["--isa", "no"], 1, "no"),
        (&["--data", "/nowhere"], 1, "/nowhere/train-images-idx3-ubyte.gz"),
    ];
    for (arguments, code, text) in cases {
        let output = qat(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("error: ") && error.contains(text) && error.lines().count() == 1, "{error}");
        assert!(output.stdout.is_empty());
    }
    assert!(qat(&["--help"]).status.success());
}
