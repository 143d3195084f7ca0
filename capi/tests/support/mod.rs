//! Compiles C and C++ programs against the libraries that the test was built with, and runs them. (Debian:
//! `apt-get install gcc g++ clang valgrind`.)
#![allow(dead_code, reason = "each test uses a part")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What rustc says a program needs that links the static library (`--print native-static-libs`).
const SYSTEM_LIBRARIES: [&str; 5] = ["-lpthread", "-ldl", "-lm", "-lrt", "-lgcc_s"];

const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-g"];

/// Where the libraries are: beside this program.
fn libraries() -> PathBuf {
    std::env::current_exe().expect("this program").parent().expect("its folder").to_owned()
}

pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// How a program is built.
#[derive(Clone, Copy)]
pub struct Build {
    pub compiler: &'static str,
    flags: &'static [&'static str],
    /// Against libzeropoint.a, or else libzeropoint.so.
    is_static: bool,
}

pub const C: [Build; 2] = [
    Build { compiler: "gcc", flags: &["-std=c99", "-D_DEFAULT_SOURCE", "-O2"], is_static: true },
    Build { compiler: "clang", flags: &["-std=c99", "-D_DEFAULT_SOURCE", "-O1"], is_static: false },
];

pub const CPP: [Build; 2] = [
    Build { compiler: "g++", flags: &["-std=c++11", "-O2"], is_static: false },
    Build { compiler: "clang++", flags: &["-std=c++11", "-O1"], is_static: true },
];

/// C that is C++, too.
pub const AS_CPP: [Build; 2] = [
    Build { compiler: "g++", flags: &["-x", "c++", "-std=c++11", "-O2"], is_static: false },
    Build { compiler: "clang++", flags: &["-x", "c++", "-std=c++11", "-O1"], is_static: false },
];

/// A program that ends at the first access to memory that is not its own, and at leaks. (gcc's own runtime of UBSan, too.)
pub const SANITIZED: Build = Build {
    compiler: "gcc",
    flags: &["-std=c99", "-D_DEFAULT_SOURCE", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    is_static: true,
};

/// Succeeds, or says what the program printed.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

/// Compiles a source of this folder; returns the program.
#[track_caller]
pub fn compile(source: &str, build: Build) -> PathBuf {
    let name = source.replace(['/', '.'], "-");
    let sanitized = if build.flags.contains(&SANITIZED.flags[3]) { "-sanitized" } else { "" };
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}{sanitized}", build.compiler));
    let libraries = libraries();
    let mut command = Command::new(build.compiler);
    command.args(build.flags).args(WARNINGS).arg("-I").arg(folder().join("include"));
    command.arg("-I").arg(folder().join("tests/c")).arg(folder().join(source)).arg("-o").arg(&program);
    if build.is_static {
        command.arg(libraries.join("libzeropoint_capi.a")).args(SYSTEM_LIBRARIES);
    } else {
        let rpath = format!("-Wl,-rpath,{}", libraries.display());
        command.arg("-L").arg(libraries).args(["-lzeropoint_capi", "-lpthread", "-lm", &rpath]);
    }
    run(&mut command);
    program
}

/// Runs a program under valgrind: no wrong access, no leak. It knows no AVX-512. It runs one thread at a time: fairly, or a busy one
/// would let no other run.
#[track_caller]
pub fn valgrind(program: &Path, arguments: &[&OsStr]) {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--fair-sched=yes", "--error-exitcode=9", "--leak-check=full"]);
    command.arg("--errors-for-leak-kinds=definite");
    run(command.arg(program).args(arguments).env("ZEROPOINT_ISA", "avx2"));
}

/// A program that takes no arguments, built every way and run every way.
#[track_caller]
pub fn everywhere(source: &str, builds: [Build; 2]) {
    for build in builds {
        run(&mut Command::new(compile(source, build)));
    }
    valgrind(&compile(source, builds[0]), &[]);
    if source.ends_with(".c") {
        run(&mut Command::new(compile(source, SANITIZED)));
    }
}
