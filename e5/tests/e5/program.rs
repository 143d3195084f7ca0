//! The program `e5` from end to end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e5::{Encoder, ModelFile, Scales, Text, Tokenizer, embed};
use serde_json::Value;
use zeropoint::Isa;

use crate::synthetic::model;

/// The program; where it needs an emulator, `ZEROPOINT_TEST_RUNNER` is the command that runs it, words separated by
/// spaces.
fn command(arguments: &[&str]) -> Command {
    let runner = std::env::var("ZEROPOINT_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([env!("CARGO_BIN_EXE_e5")]);
    let mut command = Command::new(words.next().expect("at least the program"));
    command.args(words).args(arguments);
    command
}

fn e5(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts; does it need ZEROPOINT_TEST_RUNNER?")
}

/// What it prints.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = e5(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A file with these bytes.
fn temporary(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e5-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).expect("the directory for such files is writable");
    path
}

/// The program refuses these arguments with one line on standard error, and prints nothing.
#[track_caller]
fn refuses(arguments: &[&str], code: i32, why: &str) {
    let output = e5(arguments);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.ends_with('\n') && stderr.contains(why), "{stderr:?}: no {why:?}");
    assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
}

#[test]
fn it_embeds_texts() {
    let (bytes, _) = model();
    let path = temporary("embed.bin", &bytes);
    let path = path.to_str().expect("UTF-8");
    let file = ModelFile::parse(&bytes).unwrap();
    let tokenizer = Tokenizer::new(&file).unwrap();
    for (flag, scales) in [("groups", Scales::Groups), ("rows", Scales::Rows)] {
        let encoder = Encoder::new(Isa::best().unwrap(), &file, scales).unwrap();
        let expected = embed(&tokenizer, &encoder, &[Text::Query("the abc"), Text::Query("日本")]).unwrap();
        let flags = ["--model", path, "--role", "query", "--scales", flag, "--isa", "scalar", "--threads", "3"];
        let json = printed(&[&["embed", "--json", "the abc", "日本"], &flags[..]].concat());
        let json: Value = serde_json::from_str(&json).expect("one JSON object");
        for (i, text) in ["the abc", "日本"].into_iter().enumerate() {
            let of_text = &json["embeddings"][i];
            assert_eq!((&of_text["text"], &of_text["tokens"]), (&text.into(), &expected.tokens[i].into()));
            let values: Vec<f32> = serde_json::from_value(of_text["embedding"].clone()).expect("numbers");
            assert_eq!(values, expected.of(i), "{flag}");
        }
    }
    let table = printed(&["embed", "the abc", "--model", path]);
    assert!(table.contains("the abc") && table.contains("digest"), "{table}");
}

#[test]
fn it_ranks_passages() {
    let path = temporary("search.bin", &model().0);
    let path = path.to_str().expect("UTF-8");
    let passages = ["the abc", "für 日本", "a rest"];
    let json = printed(&[&["search", "the abcd", "--json", "--model", path], &passages[..]].concat());
    let json: Value = serde_json::from_str(&json).expect("one JSON object");
    let ranked = json["passages"].as_array().expect("a list");
    let mut cosines: Vec<f64> = ranked.iter().map(|passage| passage["cosine"].as_f64().expect("a number")).collect();
    let mut names: Vec<&str> = ranked.iter().map(|passage| passage["passage"].as_str().expect("a text")).collect();
    assert_eq!(names[0], "the abc");
    names.sort_unstable();
    assert_eq!(names, ["a rest", "für 日本", "the abc"]);
    assert!(cosines.is_sorted_by(|a, b| a >= b));
    cosines.dedup();
    assert_eq!(cosines.len(), 3);
    let table = printed(&[&["search", "the abcd", "--model", path], &passages[..]].concat());
    assert!(table.find("the abc").expect("the first") < table.find("für").expect("a later one"), "{table}");
}

#[test]
fn what_is_wrong_is_one_line() {
    let (good, tensors) = model();
    for (name, bytes, why) in [
        ("magic", &b"PK\x03\x04"[..], "no model: it does not begin with E5S1"),
        ("header", &good[..tensors / 2], "the file ends inside"),
        ("tensors", &good[..good.len() - 1], "tensor `l1.oln.b` is not within the file"),
    ] {
        let path = temporary(name, bytes);
        let path = path.to_str().expect("UTF-8");
        refuses(&["embed", "a", "--model", path], 1, &format!("error: {path}: {why}"));
    }
    let path = temporary("good.bin", &good);
    let path = path.to_str().expect("UTF-8");
    refuses(&["embed", "a", "--model", "no/such.bin"], 1, "error: no/such.bin: ");
    refuses(&[], 2, "error: a command is missing; choose one of: ");
    refuses(&["embed", "a", "--model", path, "--isa", "mmx"], 1, "no ISA `mmx` on this CPU");
    let pairs = temporary("pairs.tsv", b"en\tone\ttwo\n");
    let pairs = pairs.to_str().expect("UTF-8");
    refuses(&["report", "--model", path, "--pairs", pairs], 1, &format!("{pairs}: line 1 has not four fields"));
    let pairs = temporary("empty.tsv", b"");
    let pairs = pairs.to_str().expect("UTF-8");
    refuses(&["report", "--model", path, "--pairs", pairs], 1, &format!("{pairs}: no pairs"));
    refuses(&["report", "--package", "no/such", "--rounds", "1"], 1, "error: no/such/e5-small-q4.bin: ");
    for (arguments, why) in [
        (&["embed"][..], "<TEXTS>"),
        (&["search", "a"], "<PASSAGES>"),
        (&["embed", "a", "--threads", "0"], "--threads"),
        (&["embed", "a", "--scales", "few"], "--scales"),
        (&["report", "--rounds", "0"], "--rounds"),
        (&["nonsense"], "nonsense"),
    ] {
        refuses(arguments, 2, why);
    }
}

/// A program in place of python3 that answers as the wheel's engine does: with these embeddings, and a time for every
/// turn.
fn stand_in(name: &str, embeddings: &[&[f32]], tokens: &[usize]) -> PathBuf {
    let answer = serde_json::json!({ "embeddings": embeddings, "tokens": tokens });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e5-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the directory for such folders is writable");
    let script = format!("#!/bin/sh\nread -r texts\necho '{answer}'\nwhile read -r turn; do echo 0.5; done\n");
    std::fs::write(folder.join("python3"), script).expect("it is new");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.join("python3"), permissions).expect("it is there");
    }
    folder
}

#[test]
fn it_compares_itself_with_another_engine() {
    let (bytes, _) = model();
    let path = temporary("report.bin", &bytes);
    let pairs = temporary("two.tsv", "en\tthe abc\tde\tfür die abc\nja\t日本\ten\tthe rest\n".as_bytes());
    let file = ModelFile::parse(&bytes).unwrap();
    let encoder = Encoder::new(Isa::best().unwrap(), &file, Scales::Groups).unwrap();
    let texts = [Text::Query("the abc"), Text::Query("日本"), Text::Passage("für die abc"), Text::Passage("the rest")];
    let embeddings = embed(&Tokenizer::new(&file).unwrap(), &encoder, &texts).unwrap();
    let right: Vec<&[f32]> = (0..4).map(|i| embeddings.of(i)).collect();
    let wrong = [right[1], right[1], right[2], right[3]];
    let few = [embeddings.tokens[0], 1, 1, 1];
    let markdown = temporary("report.md", b"");
    for (name, embeddings, tokens, why) in [
        ("right", &right[..], &embeddings.tokens[..], None),
        ("other-embeddings", &wrong[..], &embeddings.tokens[..], Some("error: a cosine to the wheel's embeddings is ")),
        ("other-tokens", &right[..], &few[..], Some("error: the wheel's engine cuts a text into another number")),
        ("few", &right[..3], &few[..3], Some("its engine gives other embeddings")),
    ] {
        let mut program = command(&["report", "--rounds", "2", "--threads", "1,3", "--json"]);
        program.arg("--model").arg(&path).arg("--pairs").arg(&pairs).arg("--markdown").arg(&markdown);
        let system = std::env::var("PATH").expect("there is one");
        program.env("PATH", format!("{}:{system}", stand_in(name, embeddings, tokens).display()));
        let output = program.output().expect("it starts");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.success(), why.is_none(), "{name}: {stderr}");
        assert!(why.is_none_or(|why| stderr.contains(why) && stderr.lines().count() == 1), "{name}: {stderr}");
        if name == "right" {
            let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
            assert_eq!(report["isas"].as_array().map(Vec::len), Some(2 * Isa::supported().len()));
            assert_eq!(report["speeds"][3]["wheel"].as_f64(), Some(8.0));
            let text = std::fs::read_to_string(&markdown).expect("it was written");
            for title in ["# multilingual", "## Agreement", "## Bytes", "## Retrieval", "## Speed"] {
                assert!(text.contains(title), "{text}");
            }
        }
    }
}

/// Nobody reads what it prints.
#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let path = temporary("closed.bin", &model().0);
    let path = path.to_str().expect("UTF-8");
    for arguments in
        [&["--help"][..], &["embed", "a", "--model", path], &["search", "a", "b", "--json", "--model", path]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert!(output.status.success(), "{arguments:?}");
    }
}
