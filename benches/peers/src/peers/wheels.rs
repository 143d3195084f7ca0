//! Libraries that come in Python wheels: where they lie, and their functions.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A library opened by name: `path` is the file or its directory; without one, where the `python3` of the path installs.
pub fn open(path: Option<&Path>, names: &[&str]) -> Result<libloading::Library, String> {
    // SAFETY: what its initializers do is up to the user, who named or installed it.
    unsafe { libloading::Library::new(find(path, names)?) }.map_err(|error| error.to_string())
}

/// The file of a library: `path`, or one in that directory, or where the `python3` of the path installs. A name stands for
/// itself, or else for itself with a version behind it.
pub fn find(path: Option<&Path>, names: &[&str]) -> Result<PathBuf, String> {
    let directories = match path {
        Some(file) if file.is_file() => return Ok(file.to_owned()),
        Some(directory) => vec![directory.to_owned()],
        None => installed()?,
    };
    let files = || directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name)));
    match files().find(|file| file.is_file()).or_else(|| files().find_map(|file| versioned(&file))) {
        Some(file) => Ok(file),
        None => {
            let places: Vec<String> = directories.iter().map(|place| place.display().to_string()).collect();
            Err(format!("no {} in {}", names.join(" or "), places.join(", ")))
        }
    }
}

/// A file of this name with something behind it.
fn versioned(file: &Path) -> Option<PathBuf> {
    let name = format!("{}.", file.file_name()?.to_str()?);
    let entries = file.parent()?.read_dir().ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        path.is_file() && path.file_name().and_then(|name| name.to_str()).is_some_and(|found| found.starts_with(&name))
    })
}

/// The directories into which wheels put libraries.
fn installed() -> Result<Vec<PathBuf>, String> {
    const SCRIPT: &str = "import sysconfig, os; p = sysconfig.get_paths(); \
        print(os.path.join(p['data'], 'lib'), p['purelib'], p['platlib'], sep='\\n')";
    let output = Command::new("python3").args(["-c", SCRIPT]).output().map_err(|error| format!("python3: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect())
}

/// Declares a table of functions of a C library, by the names they have there.
macro_rules! functions {
    ($(#[$doc:meta])* $Table:ident { $( fn $name:ident($( $argument:ident: $Type:ty ),* $(,)?) $(-> $Result:ty)?; )* }) => {
        $(#[$doc])*
        #[allow(non_snake_case, reason = "names of C")]
        struct $Table {
            $( $name: unsafe extern "C" fn($( $argument: $Type ),*) $(-> $Result)?, )*
            /// Keeps the functions alive.
            _library: libloading::Library,
        }

        impl $Table {
            fn of(library: libloading::Library) -> Result<Self, String> {
                Ok($Table {
                    $(
                        // SAFETY: the type is that of the library's header.
                        $name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                            .map_err(|error| error.to_string())?,
                    )*
                    _library: library,
                })
            }
        }
    };
}

pub(super) use functions;

/// Memory that begins on a cache line.
pub struct Lines(Vec<Line>);

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line {
    _bytes: [u8; 64],
}

impl Lines {
    /// At least `bytes` bytes, all zero.
    pub fn new(bytes: usize) -> Self {
        Lines(vec![Line { _bytes: [0; 64] }; bytes.div_ceil(64)])
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    /// The first byte.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}
