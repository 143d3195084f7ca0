//! The program `compare` from end to end: the numbers of the notebook's tensor, files of every kind, and one line for what is
//! wrong.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use npyz::WriterBuilder;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;
use zeropoint::formats::BlockFormat;
use zeropoint::groups::{GroupScheme, StoredWeights};
use zeropoint::report::reconstruction_error;
use zeropoint::{Exec, Matrix};

use crate::temporary;

const COMPARE: &str = env!("CARGO_BIN_EXE_compare");

/// What it prints, having left nothing out; its picture goes to a file of its own.
#[track_caller]
fn compare(arguments: &[&str]) -> String {
    let (stdout, stderr) = compare_some(arguments);
    assert_eq!(stderr, "");
    stdout
}

/// What it prints to standard output and standard error.
#[track_caller]
fn compare_some(arguments: &[&str]) -> (String, String) {
    // Tests run beside each other.
    static FIGURES: AtomicUsize = AtomicUsize::new(0);
    let figure = temporary(&format!("figure{}.svg", FIGURES.fetch_add(1, Ordering::Relaxed)));
    let output = crate::run(COMPARE, &[&["--figure", figure.to_str().unwrap()], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let svg = std::fs::read_to_string(&figure).expect("it is drawn");
    assert!(svg.contains("signal to quantization noise, dB") && svg.contains("bits a number"));
    std::fs::remove_file(figure).expect("it is there");
    (String::from_utf8(output.stdout).expect("UTF-8"), String::from_utf8(output.stderr).expect("UTF-8"))
}

/// Lines of CSV, without that of names and without the names of tensors.
fn lines(csv: &str) -> Vec<String> {
    csv.lines().skip(1).map(|line| line.split_once(',').unwrap().1.to_owned()).collect()
}

/// Writes a safetensors file.
fn save(path: &Path, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
    let views = tensors
        .iter()
        .map(|&(name, dtype, shape, bytes)| (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A `.npy` file with such a header, which NumPy pads with spaces.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).expect("a short one");
    [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn the_shipped_tensors() {
    let text = compare(&["--bits", "8", "--methods", "minmax"]);
    for number in ["1.636e-4", "2.139e-4", "2.884e-4", "1.4099", "0.3277", "-176"] {
        assert!(text.contains(number), "{number} is not in\n{text}");
    }
    for tensor in ["notebook [3, 4]", "conv1.weight [10, 1, 5, 5]", "fc2.weight [10, 50]"] {
        assert!(text.contains(tensor), "{tensor}");
    }
    assert_eq!(text.matches("\n★ 8 bits: ").count(), 5, "a sentence for every tensor");
    let report: Value =
        serde_json::from_str(&compare(&["--bits", "8", "--methods", "minmax", "--json", "--rows", "schemes"])).unwrap();
    let outcomes = report["outcomes"].as_array().unwrap();
    let asymmetric = outcomes.iter().find(|outcome| {
        let is = |key: &str, value: &str| outcome[key] == value;
        is("tensor", "notebook") && is("granularity", "tensor") && is("offset", "asymmetric") && is("scale", "float")
    });
    let sse = asymmetric.unwrap()["sse"].as_f64().unwrap();
    assert!((sse / 1.636_178_8e-4 - 1.0).abs() < 1e-5, "{sse}");
    // Types × granularities × tensors, and one best of each tensor.
    assert_eq!(outcomes.len(), 8 * 3 * 5);
    let (best, others): (Vec<&Value>, Vec<&Value>) = outcomes.iter().partition(|outcome| outcome["best"] == true);
    assert_eq!(best.len(), 5);
    let sse = |outcome: &Value| outcome["sse"].as_f64().expect("a number");
    for best in best {
        let beaten = |other: &&Value| other["tensor"] != best["tensor"] || sse(best) <= sse(other);
        assert!(others.iter().all(beaten), "{best}");
    }
}

#[test]
fn files_of_every_kind_hold_the_same_tensor() {
    let x: Vec<f32> = (0..60).map(|i| (i as f32 - 20.0) * 0.37).collect();
    let columns: Vec<f64> = (0..60).map(|i| f64::from(x[i % 6 * 10 + i / 6])).collect();
    let [npy, fortran, npz, tensors] = ["x.npy", "fortran.npy", "x.npz", "x.safetensors"].map(temporary);
    npyz::to_file_1d(&npy, x.iter().copied()).unwrap();
    let options = npyz::WriteOptions::new().default_dtype().order(npyz::Order::Fortran).shape(&[6, 10]);
    let mut writer = options.writer(std::fs::File::create(&fortran).unwrap()).begin_nd().unwrap();
    writer.extend(columns).unwrap();
    writer.finish().unwrap();
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&npz).unwrap());
    archive.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut archive, &std::fs::read(&fortran).unwrap()).unwrap();
    archive.finish().unwrap();
    let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    save(&tensors, &[("x", Dtype::F32, &[6, 10], &bytes)]);

    let lines = |path: &Path| {
        lines(&compare(&[path.to_str().unwrap(), "--rows", "schemes", "--bits", "4,8", "--block", "5", "--csv"]))
    };
    let want = lines(&tensors);
    assert_eq!(want.len(), 8 * 2 * (8 + 8 + 1));
    assert_eq!(lines(&fortran), want);
    assert_eq!(lines(&npz), want);
    // A single axis has no channels, and other blocks at the ends of its rows.
    assert_eq!(lines(&npy).len(), 8 * 2 * (8 + 1));
    assert_eq!(lines(&npy)[..8 * 2 * 8], want[..8 * 2 * 8]);
    // A block as long as the first axis is a column.
    let along = |axis, block| {
        let whole =
            ["--bits", "4", "--methods", "minmax", "--axis", "1", "--block-axis", axis, "--block", block, "--csv"];
        compare(&[&[tensors.to_str().unwrap()], &whole[..]].concat())
    };
    // (Without which one is the best.)
    let of = |text: &str, sharing: &str| -> Vec<String> {
        let all = self::lines(text);
        let some = all.iter().filter_map(|line| line.strip_prefix(sharing)?.rsplit_once(','));
        some.map(|(line, _)| line.to_owned()).collect()
    };
    let (columns, parts) = (along("0", "6"), along("0", "3"));
    assert_eq!(of(&columns, "block").len(), 8);
    assert_eq!(of(&columns, "block"), of(&columns, "channel"));
    assert_ne!(of(&parts, "block"), of(&parts, "channel"));
    [npy, fortran, npz, tensors].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

/// Groups and formats: their true sizes, the errors that the library has, and a mark on those that no smaller one beats.
#[test]
fn weights_as_they_are_stored() {
    let (outputs, depth) = (4, 256);
    let x: Vec<f32> = (0..outputs * depth).map(|i| (i as f32 * 0.37).sin().powi(3) + (i % 7) as f32 * 0.02).collect();
    let path = temporary("weights.safetensors");
    let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    save(&path, &[("w", Dtype::F32, &[4, 8, 32], &bytes), ("bias", Dtype::F32, &[8], &bytes[..32])]);
    let file = path.to_str().unwrap();
    let arguments = [file, "--rows", "groups,formats", "--bits", "2,3,4,5,6,8"];
    let report: Value = serde_json::from_str(&compare(&[&arguments[..], &["--json"]].concat())).unwrap();
    let all = report["outcomes"].as_array().unwrap();
    assert_eq!(all.len(), 3 * 6 * 2 * 2 + BlockFormat::ALL.len() + 4);
    let size = |outcome: &Value| outcome["bits_per_number"].as_f64().unwrap();
    let sse = |outcome: &Value| outcome["sse"].as_f64().unwrap();
    let group = |length: usize, bits: u32, offset: &str, range: &str| {
        let is = |outcome: &&Value| {
            let fixed = outcome["granularity"] == "group" && outcome["offset"] == offset && outcome["method"] == range;
            fixed && outcome["group_length"] == length && outcome["bits"] == bits
        };
        all.iter().find(is).expect("it is there")
    };
    let exec = Exec::best().unwrap();
    for bits in [2, 3, 4, 5, 6, 8] {
        for length in [32, 64, 128] {
            let beside = |offset: &str| if offset == "asymmetric" { 16 + bits } else { 16 };
            for (offset, scheme) in [
                ("symmetric", GroupScheme::symmetric(bits, length)),
                ("asymmetric", GroupScheme::with_zero_points(bits, length)),
            ] {
                let scheme = scheme.unwrap().f16_scales();
                let [minmax, mse] = ["minmax", "mse"].map(|range| group(length, bits, offset, range));
                assert_eq!(size(minmax), f64::from(bits) + f64::from(beside(offset)) / length as f64);
                assert_eq!(size(mse), size(minmax));
                for (outcome, scheme) in [(minmax, scheme), (mse, scheme.least_error())] {
                    let stored =
                        StoredWeights::quantize(exec, Matrix::new(&x, outputs, depth).unwrap(), scheme).unwrap();
                    let want = reconstruction_error(exec, &x, &stored.values()).unwrap().sse();
                    assert!((sse(outcome) / want - 1.0).abs() < 1e-14, "{scheme:?}: {}, {want}", sse(outcome));
                }
                assert!(sse(mse) < sse(minmax) || bits == 8, "{offset} {bits} {length}");
            }
        }
    }
    let format = |name: &str| all.iter().find(|outcome| outcome["method"] == name).map(size);
    let [q4_0, mxint8] = ["Q4_0", "MxInt8"].map(format);
    assert_eq!((q4_0, mxint8), (Some(4.5), Some(8.25)));
    let e4m3 = ["E4M3 per tensor", "E5M2 per channel"].map(format);
    assert_eq!(e4m3, [Some(8.0 + 32.0 / 1024.0), Some(8.0 + 4.0 * 32.0 / 1024.0)]);
    for outcome in all {
        let beaten = all.iter().any(|other| size(other) <= size(outcome) && sse(other) < sse(outcome));
        let smaller = all.iter().any(|other| size(other) < size(outcome) && sse(other) <= sse(outcome));
        assert_eq!(outcome["best"], !(beaten || smaller), "{outcome}");
    }

    let text = compare(&arguments);
    assert!(
        text.contains("zero point, mse") && text.contains("E4M3 per channel") && text.contains(" at 4.50"),
        "{text}"
    );
    assert!(!text.contains("granularity"), "no schemes");
    let some = [file, "--rows", "groups", "--groups", "64,512,1024", "--bits", "4", "--csv"];
    // The two that are longer than a row are one.
    assert_eq!(compare(&some).lines().count(), 1 + 2 * 2 * 2);

    // A picture is drawn where it is asked for, and nowhere else.
    let folder = temporary("nothing");
    std::fs::create_dir_all(&folder).unwrap();
    let output = crate::command(COMPARE, &arguments).current_dir(&folder).output().unwrap();
    assert!(output.status.success() && !String::from_utf8(output.stdout).unwrap().contains("Drawn"));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir(folder).unwrap();
    std::fs::remove_file(path).unwrap();
}

/// Of 16 bits in three formats: numbers that all of them hold.
#[test]
fn halves_are_read() {
    let x = [1.0_f32, -2.0, 0.5, 65280.0, -0.25, 0.0];
    let halves: Vec<u8> = x.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
    let brains: Vec<u8> = x.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect();
    let singles: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let [npy_path, big_path, tensors] = ["half.npy", "big.npy", "half.safetensors"].map(temporary);
    // As NumPy writes it, in both orders of bytes.
    let header = |order| format!("{{'descr': '{order}f2', 'fortran_order': False, 'shape': (2, 3), }}\n");
    let big: Vec<u8> = halves.chunks(2).flat_map(|half| [half[1], half[0]]).collect();
    std::fs::write(&npy_path, npy(&header('<'), &halves)).unwrap();
    std::fs::write(&big_path, npy(&header('>'), &big)).unwrap();
    let all = [("b", Dtype::BF16, &brains), ("h", Dtype::F16, &halves), ("s", Dtype::F32, &singles)];
    save(&tensors, &all.map(|(name, dtype, bytes)| (name, dtype, &[2, 3][..], &bytes[..])));

    let csv = |path: &Path| {
        compare(&[path.to_str().unwrap(), "--rows", "schemes", "--bits", "4", "--methods", "minmax", "--csv"])
    };
    let one = lines(&csv(&npy_path));
    assert_eq!(one.len(), 8 * 3);
    assert_eq!(lines(&csv(&big_path)), one);
    assert_eq!(lines(&csv(&tensors)), [&one[..], &one, &one].concat());
    [npy_path, big_path, tensors].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn what_is_left_out_is_named_with_its_reason() {
    let [tensors, npz, empty] = ["some.safetensors", "some.npz", "empty.npy"].map(temporary);
    let floats = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let huge = 1e300_f64.to_le_bytes();
    save(
        &tensors,
        &[
            ("ids", Dtype::I64, &[1], &[0; 8]),
            ("mask", Dtype::F32, &[2], &floats(&[0.0, f32::NEG_INFINITY])),
            ("none", Dtype::F32, &[3, 0], &[]),
            ("w", Dtype::F32, &[3], &floats(&[1.0, -2.0, 0.5])),
            ("wide", Dtype::F64, &[1], &huge),
        ],
    );
    let header =
        |dtype: &str, shape: &str| format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
    std::fs::write(&empty, npy(&header("<f4", "(0, 3)"), &[])).unwrap();
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&npz).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    let short = npy(&header("<f4", "(4,)"), &floats(&[1.0]));
    for (name, bytes) in [
        ("notes.txt", b"of no interest".to_vec()),
        ("ids.npy", npy(&header("|u1", "(1,)"), &[7])),
        ("w.npy", npy(&header("<f4", "(3,)"), &floats(&[1.0, -2.0, 0.5]))),
        ("short.npy", short),
        ("axes.npy", npy(&header("<f4", "(4294967296, 4294967296)"), &[])),
        ("strides.npy", npy(&header("<f4", "(0, 4294967296, 4294967296)"), &[])),
    ] {
        archive.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut archive, &bytes).unwrap();
    }
    archive.add_directory("folder", options).unwrap();
    archive.finish().unwrap();

    let paths = [&tensors, &npz, &empty].map(|path| path.to_str().unwrap());
    let (csv, stderr) = compare_some(&[&paths[..], &["--bits", "4", "--methods", "minmax", "--csv"]].concat());
    assert!(csv.lines().skip(1).all(|line| line.starts_with("w,")), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 2 * 8 * 2);
    let reasons = [
        (0, "ids", "its elements are I64, not F16, BF16, F32 or F64"),
        (0, "mask", "element 1 is -inf as f32"),
        (0, "none", "its shape [3, 0] is empty"),
        (0, "wide", "element 0 is inf as f32"),
        (1, "notes.txt", "no array of NumPy's"),
        (1, "ids", "its elements are `|u1`, not floats of 16, 32 or 64 bits"),
        (1, "short", "its 4 elements cannot be read: failed to fill whole buffer"),
        (1, "axes", "no memory holds its shape [4294967296, 4294967296]"),
        (1, "strides", "no memory holds its shape [0, 4294967296, 4294967296]"),
        (1, "folder/", "a folder, no array"),
        (2, "", "its shape [0, 3] is empty"),
    ];
    let stem = empty.file_stem().unwrap().to_str().unwrap();
    let line = |(i, name, why): (usize, &'static str, &str)| {
        format!("{}: `{}` is left out: {why}", paths[i], if name.is_empty() { stem } else { name })
    };
    assert_eq!(stderr.lines().collect::<Vec<_>>(), reasons.map(line));

    // Nothing remains.
    let line = line(reasons[10]);
    crate::refuses(COMPARE, &[paths[2]], &format!("error: {line}"));
    crate::refuses(COMPARE, &[paths[2], paths[2]], &format!("error: {line}, and 1 others too"));
    [tensors, npz, empty].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn an_axis_that_a_tensor_lacks_leaves_it_out() {
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/../lenet/data/lenet-mnist.safetensors");
    let arguments = [weights, "--bits", "8", "--methods", "minmax", "--csv", "--axis"];
    let (csv, stderr) = compare_some(&[&arguments[..], &["3"]].concat());
    assert!(csv.contains("conv2.weight,channel,") && csv.contains("fc1.bias,tensor,") && !csv.contains("fc1.weight"));
    let why = "is left out: its shape [50, 320] has no axis 3";
    assert_eq!(stderr.lines().filter(|line| line.ends_with(why)).count(), 1, "{stderr}");
    crate::refuses(
        COMPARE,
        &["--axis", "7"],
        "`notebook` is left out: its shape [3, 4] has no axis 7, and 4 others too",
    );
    crate::refuses(COMPARE, &["--block-axis", "7"], "`notebook` is left out: its shape [3, 4] has no axis 7");
}

#[test]
fn what_is_wrong_is_one_line() {
    for (arguments, why) in [
        (&["no/such.npy"][..], "error: no/such.npy: "),
        (&["Cargo.toml"], "error: Cargo.toml: not a .npy, .npz or .safetensors file"),
        (&["--bits", "9"], "9 is not in 2..=8"),
        (&["--bits", "0"], "0 is not in 2..=8"),
        (&["--bits", "4,33"], "33 is not in 2..=8"),
        (&["--block", "0"], "invalid value '0' for '--block <N>'"),
        (&["--methods", "mean"], "invalid value 'mean' for '--methods <NAME>'"),
        (&["--methods", "percentile:101"], "invalid value 'percentile:101' for '--methods <NAME>'"),
        (&["--isa", "mmx"], "no ISA `mmx` on this CPU"),
        (&["--groups", "24"], "invalid value '24' for '--groups <N>'"),
        (&["--groups", "0"], "invalid value '0' for '--groups <N>'"),
        (&["--rows", "blocks"], "invalid value 'blocks' for '--rows <KIND>'"),
        (&["--json", "--csv"], "cannot be used with"),
        (&["--figure", "Cargo.toml/x.svg"], "error: Cargo.toml/x.svg: "),
        (&["--figure", "src"], "error: src: is a directory"),
    ] {
        crate::refuses(COMPARE, arguments, why);
    }
}

/// Whatever a file holds: results, or lines that say what is wrong, within a GiB of memory.
#[test]
fn malformed_files_are_named() {
    let x: Vec<u8> = (0..12).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n";
    let good = npy(header, &x);
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    files.extend(crate::malformed::of_bytes(&good).into_iter().map(|file| ("npy", file)));
    files.extend(crate::malformed::of_text(header).into_iter().map(|header| ("npy", npy(&header, &x))));
    // A header of four gigabytes.
    files.push(("npy", [b"\x93NUMPY\x02\x00", &[0xff; 4][..], header.as_bytes()].concat()));

    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut archive, &good).unwrap();
    let archive = archive.finish().unwrap().into_inner();
    files.extend(crate::malformed::of_bytes(&archive).into_iter().map(|file| ("npz", file)));

    let view = TensorView::new(Dtype::F32, vec![3, 4], &x).unwrap();
    let tensors = safetensors::serialize([("x", view)], None).unwrap();
    files.extend(crate::malformed::of_bytes(&tensors).into_iter().map(|file| ("safetensors", file)));
    let header = std::str::from_utf8(&tensors[8..tensors.len() - x.len()]).unwrap();
    let with = |header: String| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &x].concat();
    files.extend(crate::malformed::of_text(header).into_iter().map(|header| ("safetensors", with(header))));

    let mut refused = 0;
    let files = crate::malformed::sample(files);
    for (kind, bytes) in &files {
        let path = temporary(&format!("malformed.{kind}"));
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let arguments = [path, "--bits", "8", "--methods", "minmax", "--csv", "--figure", "/dev/null"];
        let output = crate::within_a_gibibyte(crate::command(COMPARE, &arguments));
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let is_right = match output.status.code() {
            Some(0) => stderr.is_empty(),
            Some(1) => stderr.lines().count() == 1 && stderr.contains(path),
            _ => false,
        };
        assert!(is_right && stderr.len() < 1000, "{kind} {bytes:?}: {} {stderr}", output.status);
        refused += usize::from(!output.status.success());
    }
    assert!(refused > files.len() / 2 && refused < files.len(), "{refused} of {} are refused", files.len());
}
