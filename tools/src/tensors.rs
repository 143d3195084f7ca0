//! The files. Arrays of floats become f32 in row-major order; arrays of anything else are left out, with a line that says
//! so.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use npyz::{NpyFile, Order};
use safetensors::{Dtype, SafeTensors};

/// A tensor of real numbers.
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub x: Vec<f32>,
}

/// The weights of the shipped LeNet, and the tensor of the notebook.
pub fn shipped() -> Result<Vec<Tensor>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lenet/data/lenet-mnist.safetensors");
    let mut tensors = vec![crate::notebook::tensor()];
    tensors.extend(load(&[path])?.into_iter().filter(|tensor| tensor.shape.len() > 1));
    Ok(tensors)
}

/// All tensors of some files.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Tensor>, String> {
    let mut tensors = Vec::new();
    for path in paths {
        read(path, &mut tensors).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    if tensors.is_empty() {
        return Err("no tensor of floats in these files".to_owned());
    }
    Ok(tensors)
}

fn read(path: &Path, tensors: &mut Vec<Tensor>) -> Result<(), String> {
    let mut keep = |name: String, tensor: Result<Option<Tensor>, String>| -> Result<(), String> {
        match tensor.map_err(|why| format!("`{name}`: {why}"))? {
            Some(tensor) if !tensor.x.is_empty() => tensors.push(tensor),
            _ => eprintln!("{}: `{name}` is left out: no floats", path.display()),
        }
        Ok(())
    };
    let file = || File::open(path).map_err(|error| error.to_string());
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => {
            let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            keep(name.clone(), npy(name, std::io::BufReader::new(file()?)))
        }
        Some("npz") => {
            let mut archive = zip::ZipArchive::new(file()?).map_err(|error| error.to_string())?;
            for i in 0..archive.len() {
                let entry = archive.by_index(i).map_err(|error| error.to_string())?;
                let name = entry.name().map_err(|error| error.to_string())?.trim_end_matches(".npy").to_owned();
                keep(name.clone(), npy(name, entry))?;
            }
            Ok(())
        }
        Some("safetensors") => {
            let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
            let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
            let mut names = file.names();
            names.sort();
            for name in names {
                let view = file.tensor(name).map_err(|error| error.to_string())?;
                let tensor = floats(view.dtype(), view.data()).map(|x| Tensor {
                    name: name.to_owned(),
                    shape: view.shape().to_vec(),
                    x,
                });
                keep(name.to_owned(), Ok(tensor))?;
            }
            Ok(())
        }
        _ => Err("not a .npy, .npz or .safetensors file".to_owned()),
    }
}

/// Little-endian floats of 32, 64 or, as bfloat16, 16 bits.
fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
    }
    match dtype {
        Dtype::F32 => Some(each(bytes, f32::from_le_bytes)),
        Dtype::F64 => Some(each(bytes, |bytes| f64::from_le_bytes(bytes) as f32)),
        Dtype::BF16 => Some(each(bytes, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))),
        _ => None,
    }
}

fn npy(name: String, reader: impl Read) -> Result<Option<Tensor>, String> {
    let file = NpyFile::new(reader).map_err(|error| error.to_string())?;
    let shape: Vec<usize> = file.shape().iter().map(|&length| length as usize).collect();
    let order = file.order();
    // Of the two types of floats, the one that it has.
    let x = match file.try_data::<f32>() {
        Ok(numbers) => numbers.collect::<Result<Vec<f32>, _>>(),
        Err(file) => match file.try_data::<f64>() {
            Ok(numbers) => numbers.map(|number| number.map(|number| number as f32)).collect(),
            Err(_) => return Ok(None),
        },
    };
    let x = x.map_err(|error| error.to_string())?;
    let x = if order == Order::Fortran { row_major(&x, &shape) } else { x };
    Ok(Some(Tensor { name, shape, x }))
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
