//! A process that may not start the threads of the global rayon pool: its parallel calls go on alone.
#![cfg(all(target_os = "linux", feature = "rayon"))]

use std::process::Command;

use zeropoint::{CodeRange, Exec, QuantParams, Rounding, quantize};

/// Set in the process without threads.
const INSIDE: &str = "ZEROPOINT_TEST_NO_THREADS";

#[test]
fn parallel_calls_go_on_alone() {
    if std::env::var_os(INSIDE).is_some() {
        return parallel_call();
    }
    // Some stacks of 1 GiB exceed the address space that the process may have, and leave enough for everything else.
    let limited = r#"ulimit -v 4000000 && exec "$0" --exact parallel_calls_go_on_alone --nocapture"#;
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .envs([(INSIDE, "1"), ("RAYON_NUM_THREADS", "400"), ("RUST_MIN_STACK", "1073741824")])
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && messages.is_empty(), "{}: {messages}", output.status);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

fn parallel_call() {
    let x: Vec<f32> = (0..4 << 20).map(|i| (i % 1013) as f32).collect();
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 4.0, 0).unwrap();
    let exec = Exec::best().unwrap();
    let (mut serial, mut parallel) = (vec![0_u8; x.len()], vec![0; x.len()]);
    quantize(exec, &x, &params, Rounding::Nearest, &mut serial).unwrap();
    quantize(exec.rayon(), &x, &params, Rounding::Nearest, &mut parallel).unwrap();
    assert_eq!(exec.rayon().threads(), 1);
    assert!(serial == parallel);
}
