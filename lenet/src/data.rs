//! The files: digits and labels in IDX, weights in safetensors. Whatever is wrong with one is an error that begins with
//! its path. No length from a header is trusted before it is compared with the length of the file.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::network::{CLASSES, HEIGHT, Layer, WIDTH};

/// A file that is not what it should be.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    why: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for FileError {}

/// Reads a file and makes something of its bytes.
///
/// # Errors
/// A file that cannot be read; what `parse` says is wrong with its bytes.
pub fn load<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, FileError> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string());
    bytes.and_then(|bytes| parse(&bytes)).map_err(|why| FileError { path: path.to_owned(), why })
}

/// The lengths of the axes of an IDX file of bytes, and its elements.
fn idx<const AXES: usize>(bytes: &[u8]) -> Result<([usize; AXES], &[u8]), String> {
    let mut words = bytes.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")));
    // Two zero bytes, 8 for unsigned bytes, the number of axes.
    let magic = 0x800 | AXES as u32;
    match words.next() {
        Some(found) if found == magic => {}
        Some(found) => return Err(format!("the IDX magic number is {found:#010x}, not {magic:#010x}")),
        None => return Err(format!("{} bytes are no IDX file", bytes.len())),
    }
    let mut shape = [0; AXES];
    for length in &mut shape {
        *length = words.next().ok_or("the IDX header is truncated")? as usize;
    }
    let elements = &bytes[4 + 4 * AXES..];
    let expected = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    if expected != Some(elements.len()) {
        return Err(format!("{} bytes behind an IDX header that announces {shape:?}", elements.len()));
    }
    Ok((shape, elements))
}

/// Digits, each `[height, width]`, from 0 to 1.
///
/// # Errors
/// A file that cannot be read or is not one of such images.
pub fn images(path: &Path) -> Result<Vec<f32>, FileError> {
    load(path, parse_images)
}

/// The digits, each `[height, width]` from 0 to 1, in the bytes of an IDX file.
///
/// # Errors
/// In words, what the bytes have that such a file has not.
pub fn parse_images(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let ([count, height, width], pixels) = idx(bytes)?;
    if [height, width] != [HEIGHT, WIDTH] {
        return Err(format!("images of {height}×{width}, not {HEIGHT}×{WIDTH}"));
    }
    if count == 0 {
        return Err("no images".to_owned());
    }
    Ok(pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect())
}

/// The labels of this many digits.
///
/// # Errors
/// A file that cannot be read or is not one of such labels.
pub fn labels(path: &Path, images: usize) -> Result<Vec<u8>, FileError> {
    load(path, |bytes| parse_labels(bytes, images))
}

/// The labels of this many digits, in the bytes of an IDX file.
///
/// # Errors
/// In words, what the bytes have that such a file has not.
pub fn parse_labels(bytes: &[u8], images: usize) -> Result<Vec<u8>, String> {
    let ([count], labels) = idx(bytes)?;
    if count != images {
        return Err(format!("{count} labels for {images} images"));
    }
    match labels.iter().position(|&label| usize::from(label) >= CLASSES) {
        Some(i) => Err(format!("label {i} is {}, not a digit", labels[i])),
        None => Ok(labels.to_vec()),
    }
}

/// The layers of the network.
pub struct Weights {
    /// The first convolution.
    pub conv1: Layer,
    /// The second convolution.
    pub conv2: Layer,
    /// The first linear layer.
    pub fc1: Layer,
    /// The second linear layer.
    pub fc2: Layer,
}

/// The trained network, with `fc1` for an input that is flattened channels last.
///
/// # Errors
/// A file that cannot be read or is not one of such tensors.
pub fn weights(path: &Path) -> Result<Weights, FileError> {
    load(path, |bytes| {
        let file = Tensors::new(bytes)?;
        let conv = |name, shape: [usize; 4]| file.layer(name, &shape, shape);
        let linear = |name, shape @ [outputs, ..]: [usize; 4]| {
            let inputs = shape[1..].iter().product();
            file.layer(name, &[outputs, inputs], shape)
        };
        Ok(Weights {
            conv1: conv("conv1", [10, 1, 5, 5])?,
            conv2: conv("conv2", [20, 10, 5, 5])?,
            // Trained on images flattened [channels, height, width].
            fc1: linear("fc1", [50, 20, 4, 4])?.flattened(),
            fc2: linear("fc2", [CLASSES, 50, 1, 1])?,
        })
    })
}

/// A safetensors file: the length of its header, the header in JSON, the values of all tensors. Read by hand, since the
/// `safetensors` crate would take longer to build than this takes to read.
struct Tensors<'a> {
    header: Map<String, Value>,
    data: &'a [u8],
}

/// A tensor's entry in the header.
struct Entry<'a> {
    dtype: &'a str,
    shape: Vec<usize>,
    /// Where its values begin and end, in bytes.
    range: [usize; 2],
}

impl<'a> Tensors<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let (length, rest) = bytes.split_first_chunk().ok_or("too short for a safetensors file")?;
        let split = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|length| rest.split_at_checked(length));
        let (header, data) = split.ok_or("the safetensors header is truncated")?;
        let header: Map<String, Value> =
            serde_json::from_slice(header).map_err(|error| format!("the safetensors header: {error}"))?;
        let file = Tensors { header, data };
        let names = file.header.keys().filter(|&name| name != "__metadata__");
        let ranges = names.map(|name| Ok((file.entry(name)?.range, name)));
        let mut ranges: Vec<([usize; 2], &String)> = ranges.collect::<Result<_, String>>()?;
        ranges.sort();
        // One behind the other: no byte belongs to two tensors, or to none.
        let mut announced = 0;
        for ([start, end], name) in ranges {
            if start != announced {
                return Err(format!("the safetensors header: `{name}` begins at byte {start}, not {announced}"));
            }
            announced = end;
        }
        if announced != data.len() {
            return Err(format!("{} bytes behind a safetensors header that announces {announced}", data.len()));
        }
        Ok(file)
    }

    fn entry(&self, name: &str) -> Result<Entry<'_>, String> {
        let entry = self.header.get(name).ok_or_else(|| format!("no tensor `{name}`"))?;
        let sizes = |key: &str| -> Option<Vec<usize>> {
            entry[key].as_array()?.iter().map(|size| size.as_u64()?.try_into().ok()).collect()
        };
        let entry = || {
            let range: [usize; 2] = sizes("data_offsets")?.try_into().ok()?;
            let dtype = entry["dtype"].as_str()?;
            (range[0] <= range[1]).then_some(Entry { dtype, shape: sizes("shape")?, range })
        };
        entry().ok_or_else(|| format!("the safetensors header: `{name}` is no tensor"))
    }

    /// The tensors `name.weight`, which has the first shape in the file and the second one here, and `name.bias`.
    fn layer(&self, name: &str, stored: &[usize], shape: [usize; 4]) -> Result<Layer, String> {
        let weights = self.tensor(&format!("{name}.weight"), stored)?;
        let bias = self.tensor(&format!("{name}.bias"), &shape[..1])?;
        Ok(Layer { shape, weights, bias })
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let Entry { dtype, shape: stored, range: [start, end] } = self.entry(name)?;
        if (dtype, &*stored) != ("F32", shape) {
            return Err(format!("tensor `{name}` is {dtype} {stored:?}, not F32 {shape:?}"));
        }
        let (values, rest) = self.data[start..end].as_chunks();
        if !rest.is_empty() || values.len() != shape.iter().product::<usize>() {
            return Err(format!("tensor `{name}` has {} bytes, not those of F32 {shape:?}", end - start));
        }
        let values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(format!("tensor `{name}` contains {value}")),
            None => Ok(values),
        }
    }
}
