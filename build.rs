//! Says whether the library is compiled without optimisation, as `cfg(unoptimized)`.
//!
//! Optimised, a kernel is one function of its ISA, into which all of its parts are inlined: what is left outside loses the
//! ISA's features, and is sixty times slower. Unoptimised, speed does not count, and the same inlining would copy large parts
//! into hundreds of kernels: a program's debug information and its stack frames become half as large if these parts are calls.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(unoptimized)");
    if std::env::var("OPT_LEVEL").is_ok_and(|level| level == "0") {
        println!("cargo::rustc-cfg=unoptimized");
    }
}
