//! The program `lenet` from end to end: accuracy, one digest for every scheme on all ISAs and all architectures, and
//! one line for whatever is wrong with a file.

mod malformed;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};
use zeropoint::Isa;

/// Every scheme, the digits it has to recognize, and its digest on any CPU.
const SCHEMES: [(&str, u64, &str); 4] = [
    ("float", 987, "1209e8623f9d4e7c"),
    ("static", 985, "904a059731f2131a"),
    ("dynamic", 985, "dbc73e72a33320c3"),
    ("shift", 983, "96206a291a673db9"),
];

/// The program; where it needs an emulator, `ZEROPOINT_TEST_RUNNER` is the command that runs it, words separated by spaces.
fn command(arguments: &[&str]) -> Command {
    let runner = std::env::var("ZEROPOINT_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([env!("CARGO_BIN_EXE_lenet")]);
    let mut command = Command::new(words.next().expect("at least the program"));
    command.args(words).args(arguments);
    command
}

fn lenet(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts; does it need ZEROPOINT_TEST_RUNNER?")
}

fn report(arguments: &[&str]) -> Value {
    let output = lenet(&[&["--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}

#[test]
fn schemes_are_accurate_and_the_same_on_every_isa() {
    let (reports, expected): (Vec<Value>, Vec<_>) = match std::env::var("ZEROPOINT_TEST_ISAS") {
        // In an emulator, where the plain f32 loops alone take a minute: one scheme on the ISAs that are tested there.
        Ok(isas) => {
            let (scheme, correct, digest) = SCHEMES[1];
            let isas = isas.split(',').map(|isa| Isa::named(isa).expect("the CPU has what is tested").name());
            isas.map(|isa| (report(&["--scheme", scheme, "--isa", isa]), (scheme, isa, correct, digest))).unzip()
        }
        Err(_) => {
            let isas = |scheme: &str| match scheme {
                "float" => vec!["none"],
                _ => Isa::supported().iter().map(|isa| isa.name()).collect(),
            };
            let all = SCHEMES.into_iter().flat_map(|(scheme, correct, digest)| {
                isas(scheme).into_iter().map(move |isa| (scheme, isa, correct, digest))
            });
            (vec![report(&[])], all.collect())
        }
    };
    for report in &reports {
        assert_eq!((&report["images"], &report["float_correct"]), (&1000.into(), &987.into()));
    }
    let results: Vec<&Value> =
        reports.iter().flat_map(|report| report["results"].as_array().expect("a list")).collect();
    assert_eq!(results.len(), expected.len());
    for (result, (scheme, isa, correct, digest)) in results.into_iter().zip(expected) {
        assert_eq!((&result["scheme"], &result["isa"]), (&scheme.into(), &isa.into()));
        assert!(result["correct"].as_u64() >= Some(correct), "{result}");
        assert!(result["agree"].as_u64() >= Some(correct), "{result}");
        assert_eq!(result["digest"], digest, "{result}");
        assert!(result["images_per_second"].as_f64() > Some(0.0), "{result}");
        assert_eq!(result["sqnr_db"].is_null(), scheme == "float", "{result}");
        if let Some(sqnr) = result["sqnr_db"].as_f64() {
            assert!(sqnr > 35.0, "{result}");
        }
    }
}

#[test]
fn flags_choose_a_scheme_and_an_isa() {
    let report = report(&["--scheme", "shift", "--isa", "scalar"]);
    let results = report["results"].as_array().expect("a list");
    let [result] = results.as_slice() else { panic!("one scheme on one ISA, not {results:?}") };
    assert_eq!((&result["scheme"], &result["isa"]), (&"shift".into(), &"scalar".into()));
    assert_eq!(result["digest"], SCHEMES[3].2);
    assert_eq!(report["float_correct"], 987);
}

/// Calibration gives the same bits on any CPU too.
#[test]
fn static_ranges_are_chosen_by_any_method() {
    let report = report(&["--scheme", "static", "--isa", "scalar", "--range", "percentile:99.9", "--bits", "4"]);
    let result = &report["results"][0];
    assert!(result["correct"].as_u64() >= Some(980), "{result}");
    assert_eq!(result["digest"], "7727720203cfe9d7", "{result}");
}

#[test]
fn the_table_ends_with_what_the_digests_say() {
    let output = lenet(&["--scheme", "float"]);
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success());
    assert!(table.contains("plain f32 loops") && table.contains(SCHEMES[0].2), "{table}");
    assert!(table.trim_end().lines().last().is_some_and(|line| line.contains("bytes")), "{table}");
}

/// The program refuses these arguments with one line on stderr that contains `why`, and prints nothing.
#[track_caller]
fn refuses(arguments: &[&str], why: &str) {
    let output = lenet(arguments);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.ends_with('\n'), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(why), "{stderr:?} does not contain {why:?}");
    assert!(output.stdout.is_empty());
}

/// A file with these bytes.
fn temporary(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lenet-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).expect("the directory for such files is writable");
    path
}

/// The program refuses a file with these bytes: the line has its path and `why`.
#[track_caller]
fn refuses_file(flag: &str, name: &str, bytes: &[u8], why: &str) {
    let path = temporary(name, bytes);
    let path_text = path.to_str().expect("UTF-8");
    refuses(&[flag, path_text], &format!("error: {path_text}: {why}"));
    std::fs::remove_file(&path).expect("it is there");
}

fn shipped(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    std::fs::read(path).expect("the file is shipped")
}

#[test]
fn arguments_that_do_not_fit_are_one_line() {
    refuses(&["--isa", "mmx"], "no ISA `mmx` on this CPU; choose one of: scalar, portable");
    refuses(&["--weights", "no/such.safetensors"], "error: no/such.safetensors: ");
    refuses(&["--images", "no\nsuch file"], "error: no such file: ");
}

#[test]
fn usage_errors_are_one_line_and_exit_code_2() {
    for (arguments, why) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["digits.idx"], "digits.idx"),
        (&["--isa"], "--isa"),
        (&["--bits", "many"], "--bits many: choose 2 to 8"),
        (&["--bits", "0"], "--bits 0: choose 2 to 8"),
        (&["--bits", "33"], "--bits 33: choose 2 to 8"),
        (&["--range", "percentile:101"], "--range percentile:101: "),
        (&["--scheme", "float", "--isa", "scalar"], "--scheme float and --isa exclude each other"),
        (&["--bits", "4", "--scheme", "dynamic"], "--scheme dynamic and --bits exclude each other"),
        (&["--scheme=none"], "--scheme none: choose one of: float, static, dynamic, shift, all"),
        (&["--range", "middle"], "--range middle: "),
        (&["--json", "--json"], "--json is given twice"),
        (&["--ranges", "--bits", "4"], "--ranges and --bits exclude each other"),
    ] {
        let output = lenet(arguments);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(why), "{stderr:?} does not contain {why:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_names_every_option() {
    let output = lenet(&["--help"]);
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success() && output.stderr.is_empty());
    for option in ["weights", "calibration", "images", "labels", "scheme", "isa", "range", "bits", "ranges", "json"] {
        assert!(help.contains(&format!("--{option} ")), "--{option} is not in\n{help}");
    }
}

#[test]
fn wrong_images_are_one_line() {
    let images = shipped("mnist-test-images.idx3-ubyte");
    let header = |magic: u32, shape: [u32; 3]| [magic, shape[0], shape[1], shape[2]].map(u32::to_be_bytes).concat();
    for flag in ["--images", "--calibration"] {
        let refuses = |bytes: &[u8], why: &str| refuses_file(flag, "images", bytes, why);
        refuses(&[], "0 bytes are no IDX file");
        refuses(&images[..15], "the IDX header is truncated");
        refuses(&images[..images.len() - 1], "783999 bytes behind an IDX header that announces [1000, 28, 28]");
        refuses(&[&images[..], &[0]].concat(), "784001 bytes behind");
        refuses(&shipped("mnist-test-labels.idx1-ubyte"), "the IDX magic number is 0x00000801, not 0x00000803");
        refuses(&header(0x803, [u32::MAX; 3]), "0 bytes behind");
        refuses(&header(0x803, [0, 28, 28]), "no images");
        refuses(&[header(0x803, [1, 27, 28]), vec![0; 27 * 28]].concat(), "images of 27×28, not 28×28");
    }
}

#[test]
fn wrong_labels_are_one_line() {
    let labels = shipped("mnist-test-labels.idx1-ubyte");
    let refuses = |bytes: &[u8], why: &str| refuses_file("--labels", "labels", bytes, why);
    refuses(&labels[..500], "492 bytes behind an IDX header that announces [1000]");
    refuses(&[&0x801_u32.to_be_bytes(), &2_u32.to_be_bytes()[..], &[1, 2]].concat(), "2 labels for 1000 images");
    refuses(&[&labels[..1007], &[10]].concat(), "label 999 is 10, not a digit");
}

#[test]
fn wrong_weights_are_one_line() {
    let weights = shipped("lenet-mnist.safetensors");
    let (header, values) = weights[8..].split_at(u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize);
    let file: Map<String, Value> = serde_json::from_slice(header).expect("JSON");
    // The file with another tensor, or none, in the place of `name`.
    let with = |name: &str, tensor: Option<(&str, &[usize], &[u8])>| {
        let others =
            file.iter().filter(|(other, _)| *other != name && *other != "__metadata__").map(|(name, entry)| {
                let range = [0, 1].map(|end| entry["data_offsets"][end].as_u64().unwrap() as usize);
                (name.as_str(), (entry["dtype"].clone(), entry["shape"].clone(), &values[range[0]..range[1]]))
            });
        let other = tensor.map(|(dtype, shape, bytes)| (name, (dtype.into(), shape.into(), bytes)));
        let (mut entries, mut data) = (Map::new(), Vec::new());
        for (name, (dtype, shape, bytes)) in others.chain(other) {
            let offsets = [data.len(), data.len() + bytes.len()];
            entries.insert(name.to_owned(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
            data.extend_from_slice(bytes);
        }
        let header = Value::Object(entries).to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    };
    let refuses = |bytes: &[u8], why: &str| refuses_file("--weights", "weights", bytes, why);
    refuses(&with("fc1.weight", None), "no tensor `fc1.weight`");
    let wrong_shape = ("F32", &[4, 5][..], &[0; 80][..]);
    refuses(&with("conv2.bias", Some(wrong_shape)), "tensor `conv2.bias` is F32 [4, 5], not F32 [20]");
    let wrong_type = ("F64", &[20][..], &[0; 160][..]);
    refuses(&with("conv2.bias", Some(wrong_type)), "tensor `conv2.bias` is F64 [20], not F32 [20]");
    let too_few = ("F32", &[20][..], &[0; 76][..]);
    refuses(&with("conv2.bias", Some(too_few)), "tensor `conv2.bias` has 76 bytes, not those of F32 [20]");
    let infinity = f32::INFINITY.to_le_bytes().repeat(20);
    refuses(&with("conv2.bias", Some(("F32", &[20], &infinity))), "tensor `conv2.bias` contains inf");

    refuses(&weights[..7], "too short for a safetensors file");
    refuses(&weights[..300], "the safetensors header is truncated");
    refuses(&[&[0xff; 8], &weights[8..]].concat(), "the safetensors header is truncated");
    refuses(&weights[..weights.len() - 4], "87356 bytes behind a safetensors header that announces 87360");
    let header = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
    refuses(&header("{\"a\nb\":"), "the safetensors header: ");
    refuses(&header("{\"fc1.bias\":7}"), "the safetensors header: `fc1.bias` is no tensor");
    let gap = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}";
    refuses(&[&header(gap)[..], &[0; 2]].concat(), "the safetensors header: `a` begins at byte 1, not 0");
    let long = format!("{{\"{}\":7}}", "n".repeat(30_000));
    refuses(&header(&long), &format!("the safetensors header: `{}", "n".repeat(200)));
    let reversed = "{\"fc1.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}";
    refuses(&header(reversed), "the safetensors header: `fc1.bias` is no tensor");
    // Tensors whose lengths add up to almost 2⁶⁴ bytes.
    let length = usize::MAX / 8;
    let tensor = |i| {
        let (start, end) = (i * length, (i + 1) * length);
        format!("\"t{i}\":{{\"dtype\":\"U8\",\"shape\":[{length}],\"data_offsets\":[{start},{end}]}}")
    };
    let tensors: Vec<String> = (0..8).map(tensor).collect();
    refuses(&header(&format!("{{{}}}", tensors.join(","))), "0 bytes behind a safetensors header that announces");
}

/// Whatever a file holds, the program classifies digits or says in one line what is wrong, within a GiB of memory.
#[test]
fn malformed_files_are_one_line() {
    let images = shipped("mnist-test-images.idx3-ubyte");
    let image = [&images[..4], &1_u32.to_be_bytes(), &images[8..16 + 28 * 28]].concat();
    let label = [&0x801_u32.to_be_bytes(), &1_u32.to_be_bytes()[..], &[7]].concat();
    let weights = shipped("lenet-mnist.safetensors");
    let (header, values) = weights[8..].split_at(u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize);
    let of_header = |header: String| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat();
    let headers = malformed::of_text(std::str::from_utf8(header).unwrap()).into_iter().map(of_header);

    let good = [("--images", &image), ("--labels", &label), ("--weights", &weights)];
    let paths = good.map(|(flag, bytes)| temporary(&format!("good{flag}"), bytes));
    let path = |i: usize| paths[i].to_str().expect("UTF-8");
    let mut fed = [0, 0];
    for (i, (flag, bytes)) in good.into_iter().enumerate() {
        let mut files = malformed::of_bytes(bytes);
        if flag == "--weights" {
            files.extend(headers.clone());
        }
        for file in malformed::sample(files) {
            let file = temporary(&format!("malformed{flag}"), &file);
            let file = file.to_str().expect("UTF-8");
            let [images, labels, weights] = [0, 1, 2].map(|other| if other == i { file } else { path(other) });
            let arguments = ["--scheme", "float", "--images", images, "--labels", labels, "--weights", weights];
            let output = within_a_gibibyte(command(&arguments));
            let stderr = String::from_utf8(output.stderr).expect("UTF-8");
            let is_right = match output.status.code() {
                Some(0) => stderr.is_empty(),
                Some(1) => stderr.lines().count() == 1 && stderr.len() < 1000 && stderr.contains(flag),
                _ => false,
            };
            assert!(is_right, "{flag} {:?}: {} {stderr}", std::fs::read(file), output.status);
            fed[usize::from(!output.status.success())] += 1;
        }
    }
    assert!(fed[1] > fed[0] && fed[0] > 0, "few are malformed: {fed:?}");
}

/// Runs a program that can have no more memory than that; an emulator needs more for itself.
fn within_a_gibibyte(program: Command) -> Output {
    let mut command = Command::new("sh");
    let limit = if std::env::var_os("ZEROPOINT_TEST_RUNNER").is_some() { "" } else { "ulimit -v 1048576; " };
    command.args(["-c", &format!("{limit}exec \"$0\" \"$@\"")]).arg(program.get_program()).args(program.get_args());
    command.output().expect("a shell")
}

/// Nobody reads what it prints.
#[test]
fn a_closed_standard_output_ends_it_quietly() {
    for arguments in [&["--help"][..], &["--scheme", "float"], &["--scheme", "float", "--json"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert!(output.status.success(), "{arguments:?}");
    }
}
