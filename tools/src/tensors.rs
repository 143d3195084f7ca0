//! Tensors in files: `.npy`, `.npz` and `.safetensors`. Floats of 16, 32 and 64 bits become f32 in row-major order. What is
//! no tensor of finite floats is left out, with a line that says why; the rest goes on.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use npyz::{DType, NpyFile, NpyHeader, Order};
use safetensors::{Dtype, SafeTensors};

/// A tensor of real numbers.
pub struct Tensor {
    /// The file that it is from.
    pub path: PathBuf,
    /// Its name in the file, or that of the file.
    pub name: String,
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// Its elements in row-major order, all finite; at least one.
    pub x: Vec<f32>,
}

/// What some files hold.
#[derive(Default)]
pub struct Loaded {
    /// The tensors, in the order of the files.
    pub tensors: Vec<Tensor>,
    /// A line for each thing that is left out.
    pub left_out: Vec<String>,
}

/// The longest header of a `.npy` file, in bytes: NumPy refuses longer ones too.
const LONGEST_HEADER: usize = 10_000;

/// The deepest header: a dictionary, a list of fields, a field, its type as the same again. Each level more doubles the time
/// that the parser takes for a malformed one.
const DEEPEST_HEADER: usize = 6;

/// All tensors of some files.
///
/// # Errors
/// A line for a file that cannot be read, or whose kind is none of these.
pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    for path in paths.iter().map(AsRef::as_ref) {
        loaded.read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(loaded)
}

impl Loaded {
    /// Leaves out the tensors for which there is a reason.
    pub fn leave_out(&mut self, reason: impl Fn(&Tensor) -> Option<String>) {
        self.tensors.retain(|tensor| {
            let why = reason(tensor);
            self.left_out.extend(why.iter().map(|why| left_out(&tensor.path, &tensor.name, why)));
            why.is_none()
        });
    }

    fn keep(&mut self, path: &Path, name: &str, tensor: Result<(Vec<usize>, Vec<f32>), String>) {
        let why = match tensor {
            Err(why) => why,
            Ok((shape, x)) => match x.iter().position(|x| !x.is_finite()) {
                _ if x.is_empty() => format!("its shape {shape:?} is empty"),
                Some(i) => format!("element {i} is {} as f32", x[i]),
                None => return self.tensors.push(Tensor { path: path.to_owned(), name: name.to_owned(), shape, x }),
            },
        };
        self.left_out.push(left_out(path, name, &why));
    }

    fn read(&mut self, path: &Path) -> Result<(), String> {
        let file = || File::open(path).map_err(text);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                self.keep(path, &name, npy(BufReader::new(file()?)));
            }
            Some("npz") => {
                let mut archive = zip::ZipArchive::new(BufReader::new(file()?)).map_err(text)?;
                for i in 0..archive.len() {
                    let entry = archive.by_index(i);
                    let name = entry.as_ref().ok().and_then(|entry| Some(entry.name().ok()?.into_owned()));
                    let name = name.unwrap_or_else(|| format!("entry {i}"));
                    let tensor = match entry {
                        Ok(entry) if entry.is_dir() => Err("a folder, no array".to_owned()),
                        Ok(entry) => npy(BufReader::new(entry)),
                        Err(error) => Err(error.to_string()),
                    };
                    self.keep(path, name.trim_end_matches(".npy"), tensor);
                }
            }
            Some("safetensors") => {
                let bytes = std::fs::read(path).map_err(text)?;
                let file = SafeTensors::deserialize(&bytes).map_err(text)?;
                let mut names = file.names();
                names.sort();
                for name in names {
                    let tensor = file.tensor(name).map_err(text).and_then(|tensor| {
                        let x = floats(tensor.dtype(), tensor.data());
                        let x =
                            x.ok_or_else(|| format!("its elements are {}, not F16, BF16, F32 or F64", tensor.dtype()));
                        Ok((tensor.shape().to_vec(), x?))
                    });
                    self.keep(path, name, tensor);
                }
            }
            _ => return Err("not a .npy, .npz or .safetensors file".to_owned()),
        }
        Ok(())
    }
}

/// The line for a tensor that is left out.
pub fn left_out(path: &Path, name: &str, why: impl Display) -> String {
    format!("{}: `{name}` is left out: {why}", path.display())
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Little-endian floats of a safetensors file.
fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
    }
    match dtype {
        Dtype::F16 => Some(each(bytes, |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(each(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F32 => Some(each(bytes, f32::from_le_bytes)),
        Dtype::F64 => Some(each(bytes, |bytes| f64::from_le_bytes(bytes) as f32)),
        _ => None,
    }
}

/// The shape and the elements of an array of NumPy's.
fn npy(mut reader: impl Read) -> Result<(Vec<usize>, Vec<f32>), String> {
    let (header, shape, count) = header(&mut reader)?;
    let order = header.order();
    let mut file = NpyFile::with_header(header, reader);
    macro_rules! read_as {
        ($($Float:ty: $number:expr),*) => { $(
            file = match file.try_data::<$Float>() {
                // Collected into a vector that grows: a header may announce more than the file has.
                Ok(numbers) => {
                    let x = numbers.map(|number| number.map($number)).collect::<Result<Vec<f32>, _>>();
                    let x = x.map_err(|error| format!("its {count} elements cannot be read: {error}"))?;
                    return Ok((shape.clone(), if order == Order::Fortran { row_major(&x, &shape) } else { x }));
                }
                Err(file) => file,
            };
        )* };
    }
    read_as!(f32: |x| x, f64: |x| x as f32, f16: f16::to_f32);
    Err(format!("its elements are {}, not floats of 16, 32 or 64 bits", name_of(&file.dtype())))
}

/// The header of an array of NumPy's, its shape, and the product of that. What npyz would allocate or multiply unchecked is
/// checked before.
fn header(reader: &mut impl Read) -> Result<(NpyHeader, Vec<usize>, usize), String> {
    let no_array = |_| "no array of NumPy's".to_owned();
    let mut bytes = vec![0; 10];
    reader.read_exact(&mut bytes).map_err(no_array)?;
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err("no array of NumPy's".to_owned());
    }
    // Version 1 has a length of two bytes, later ones of four.
    if bytes[6] != 1 {
        bytes.resize(12, 0);
        reader.read_exact(&mut bytes[10..]).map_err(no_array)?;
    }
    let length = bytes[8..].iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte));
    if length > LONGEST_HEADER {
        return Err(format!("its header has {length} bytes, more than the {LONGEST_HEADER} that NumPy reads"));
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    reader.read_exact(&mut bytes[start..]).map_err(|_| "its header is truncated".to_owned())?;

    let mut depth = 0_usize;
    let deepest = bytes[start..].iter().map(|byte| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth
    });
    if deepest.max() > Some(DEEPEST_HEADER) {
        return Err("its header is nested too deeply".to_owned());
    }
    let fields = std::str::from_utf8(&bytes[start..]).ok().and_then(|text| text.trim_end().parse().ok());
    let py_literal::Value::Dict(fields) = fields.ok_or("its header is no literal of Python's")? else {
        return Err("its header is no dictionary".to_owned());
    };
    // The last of several, as in Python.
    let shape = fields.iter().rfind(|(key, _)| key.as_string().is_some_and(|key| key == "shape"));
    let axes = shape.and_then(|(_, shape)| shape.as_tuple().or(shape.as_list())).ok_or("its header has no shape")?;
    let axes = axes.iter().map(|axis| axis.as_integer().and_then(|axis| axis.try_into().ok()));
    let axes: Vec<usize> = axes.collect::<Option<_>>().ok_or("an axis in its header is no length")?;
    // Of an empty array too, since strides are products of its other axes.
    let product = axes.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis.max(1)));
    let product = product.filter(|&product| product <= isize::MAX as usize / size_of::<f64>());
    let product = product.ok_or_else(|| format!("no memory holds its shape {axes:?}"))?;
    let count = if axes.contains(&0) { 0 } else { product };
    let header = NpyHeader::from_reader(&*bytes).map_err(|error| format!("its header: {error}"))?;
    Ok((header, axes, count))
}

/// A type as NumPy writes it.
fn name_of(dtype: &DType) -> String {
    match dtype {
        DType::Plain(plain) => format!("`{plain}`"),
        _ => "records".to_owned(),
    }
}

/// The elements of a column-major tensor in row-major order.
fn row_major(x: &[f32], shape: &[usize]) -> Vec<f32> {
    let element = |mut i: usize| {
        // Axes from the innermost: what each is apart in column-major order is the product of those before it.
        let mut apart: usize = shape.iter().product();
        let mut place = 0;
        for &length in shape.iter().rev() {
            apart /= length;
            place += i % length * apart;
            i /= length;
        }
        x[place]
    };
    (0..x.len()).map(element).collect()
}
