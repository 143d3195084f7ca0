//! The program `compare` from end to end: the numbers of the notebook's tensor, files of every kind, and one line for what is
//! wrong.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use npyz::WriterBuilder;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compare-{}-{name}", std::process::id()))
}

/// What it prints; its picture goes to a file of its own.
#[track_caller]
fn compare(arguments: &[&str]) -> String {
    // Tests run beside each other.
    static FIGURES: AtomicUsize = AtomicUsize::new(0);
    let figure = temporary(&format!("figure{}.svg", FIGURES.fetch_add(1, Ordering::Relaxed)));
    let output =
        crate::run(env!("CARGO_BIN_EXE_compare"), &[&["--figure", figure.to_str().unwrap()], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let svg = std::fs::read_to_string(&figure).expect("it is drawn");
    assert!(svg.contains("signal to quantization noise, dB") && svg.contains("bits of a code"));
    std::fs::remove_file(figure).expect("it is there");
    String::from_utf8(output.stdout).expect("UTF-8")
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
    let report: Value = serde_json::from_str(&compare(&["--bits", "8", "--methods", "minmax", "--json"])).unwrap();
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
    let view = TensorView::new(Dtype::F32, vec![6, 10], &bytes).unwrap();
    std::fs::write(&tensors, safetensors::serialize([("x", view)], None).unwrap()).unwrap();

    let lines = |path: &Path| -> Vec<String> {
        let csv = compare(&[path.to_str().unwrap(), "--bits", "4,8", "--block", "5", "--csv"]);
        csv.lines().skip(1).map(|line| line.split_once(',').unwrap().1.to_owned()).collect()
    };
    let want = lines(&tensors);
    assert_eq!(want.len(), 8 * 2 * (8 + 8 + 1));
    assert_eq!(lines(&fortran), want);
    assert_eq!(lines(&npz), want);
    // A single axis has no channels, and other blocks at the ends of its rows.
    assert_eq!(lines(&npy).len(), 8 * 2 * (8 + 1));
    assert_eq!(lines(&npy)[..8 * 2 * 8], want[..8 * 2 * 8]);
    [npy, fortran, npz, tensors].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn what_is_wrong_is_one_line() {
    for (arguments, why) in [
        (&["no/such.npy"][..], "error: no/such.npy: "),
        (&["Cargo.toml"], "error: Cargo.toml: not a .npy, .npz or .safetensors file"),
        (&["--bits", "9"], "9 bits; codes have 2 to 8"),
        (&["--isa", "mmx"], "no ISA `mmx` on this CPU"),
    ] {
        let output = crate::run(env!("CARGO_BIN_EXE_compare"), arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(why), "{stderr:?} does not contain {why:?}");
        assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
    }
}
