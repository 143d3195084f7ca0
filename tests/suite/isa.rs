//! The list of ISAs: what the CPU has is covered, every ISA runs a kernel of its own.

use std::collections::BTreeSet;
use zeropoint::Isa;

/// Comma-separated names of the ISAs that have to be there, no more and no less: for CPUs that `/proc/cpuinfo` does not
/// describe, because they are emulated.
const REQUIRED: &str = "ZEROPOINT_REQUIRE_ISA";

fn promised() -> Option<BTreeSet<String>> {
    if let Ok(names) = std::env::var(REQUIRED) {
        return Some(names.split(',').map(str::to_owned).collect());
    }
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let flags: BTreeSet<&str> = cpuinfo.lines().find(|line| line.starts_with("flags"))?.split_whitespace().collect();
    let tiers: &[(&str, &[&str])] = &[
        ("avx2", &["avx2"]),
        ("avxvnni", &["avx2", "avx_vnni"]),
        ("avx512", &["avx512f", "avx512bw", "avx512vl", "avx512dq"]),
        ("avx512vnni", &["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"]),
    ];
    let vectors = tiers.iter().filter(|(_, needs)| needs.iter().all(|need| flags.contains(need)));
    Some(["scalar", "portable"].into_iter().chain(vectors.map(|(name, _)| *name)).map(str::to_owned).collect())
}

#[test]
fn every_isa_that_the_cpu_promises_is_covered() {
    let supported: BTreeSet<String> = Isa::supported().into_iter().map(|isa| isa.name().to_owned()).collect();
    println!("covered: {supported:?}");
    if let Some(promised) = promised() {
        assert_eq!(
            supported, promised,
            "what is detected, and what /proc/cpuinfo or {REQUIRED} promises by `promised`"
        );
    }
}

#[test]
fn the_readme_lists_every_isa() {
    let readme = include_str!("../../README.md");
    for isa in Isa::supported() {
        assert!(readme.contains(&format!("| `{isa}` |")), "{isa}");
    }
}

#[test]
fn names_lead_back() {
    for isa in Isa::supported() {
        assert_eq!(Isa::named(isa.name()), Ok(isa));
        assert_eq!(isa.to_string(), isa.name());
    }
}

/// A detected ISA whose kernel is another's is a dead path.
#[test]
fn every_isa_runs_its_own_kernel() {
    let kernels: BTreeSet<&str> = Isa::supported().into_iter().map(Isa::kernel).collect();
    assert_eq!(kernels.len(), Isa::supported().len(), "{kernels:?}");
    for isa in Isa::supported() {
        assert!(isa.kernel().ends_with(&format!("-{isa}")), "{isa} runs {}", isa.kernel());
    }
}
