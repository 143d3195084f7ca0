//! Files of results: checked before the work, and after it written whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Makes the folders of some files, and says if one of the files could not be written, so that nobody waits for results
/// that have no place. No file is kept open or changed: a program that is stopped leaves nothing behind.
///
/// # Errors
/// A line with the path.
pub fn check<P: AsRef<Path>>(paths: &[P]) -> Result<(), String> {
    for path in paths.iter().map(AsRef::as_ref) {
        let check = || match Target::of(path)? {
            Target::File(real) => temporary(&real).map(drop),
            Target::Device => OpenOptions::new().write(true).open(path).map(drop),
        };
        make_folder(path).and_then(|()| check()).map_err(|error| line(path, &error))?;
    }
    Ok(())
}

/// Writes all of these files, or none of them if one fails: into temporary files beside them, which then take their names.
///
/// # Errors
/// A line with the path.
pub fn write<P: AsRef<Path>>(files: &[(P, Vec<u8>)]) -> Result<(), String> {
    let mut complete = Vec::new();
    for (path, bytes) in files {
        let path = path.as_ref();
        let mut write = || match Target::of(path)? {
            Target::File(real) => {
                let mut file = temporary(&real)?;
                file.write_all(bytes)?;
                file.as_file().sync_all()?;
                complete.push((path, real, file));
                Ok(())
            }
            Target::Device => OpenOptions::new().write(true).open(path)?.write_all(bytes),
        };
        make_folder(path).and_then(|()| write()).map_err(|error| line(path, &error))?;
    }
    for (path, real, file) in complete {
        file.persist(&real).map_err(|error| line(path, &error.error))?;
    }
    Ok(())
}

/// What a path stands for.
enum Target {
    /// A file, or none yet: links are followed.
    File(PathBuf),
    /// `/dev/null`, a pipe: written to, never replaced.
    Device,
}

impl Target {
    fn of(path: &Path) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => Ok(Target::Device),
            Ok(_) => {
                // A file that is protected stays as it is, even in a folder that is not.
                OpenOptions::new().write(true).open(path)?;
                Ok(Target::File(path.canonicalize()?))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Target::File(path.to_owned())),
            Err(error) => Err(error),
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// A file in the folder of `path` that vanishes unless it takes that name, with the permissions of the file that it is to
/// replace, or those of any new file.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder)?;
    if let Ok(replaced) = fs::metadata(path) {
        file.as_file().set_permissions(replaced.permissions())?;
    }
    Ok(file)
}

/// Of what went wrong only the kind: the error of a temporary file names that file, which nobody knows.
fn line(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), error.kind())
}
