//! Images and their classes.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use lenet::data::{FileError, load, parse_images, parse_labels};
use lenet::network::PIXELS;

/// Images, `[images, height, width]` from 0 to 1, and the class of each.
pub struct Images {
    /// The pixels.
    pub pixels: Vec<f32>,
    /// The classes.
    pub classes: Vec<u8>,
}

/// Images for training and for the accuracy.
pub struct Dataset {
    /// The name of the data set, for the report.
    pub name: &'static str,
    /// Images to train on.
    pub train: Images,
    /// Images for the accuracy, none of them in `train`.
    pub test: Images,
}

impl Images {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.classes.len()
    }

    fn load(images: &Path, classes: &Path) -> Result<Self, FileError> {
        let pixels = load(images, |bytes| parse_images(&unzipped(bytes)?))?;
        let count = pixels.len() / PIXELS;
        Ok(Images { pixels, classes: load(classes, |bytes| parse_labels(&unzipped(bytes)?, count))? })
    }
}

/// The contents of a file, which may be compressed by gzip.
fn unzipped(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes.to_vec());
    }
    let mut out = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

/// The handwritten digits that the project ships: 4000 to train on, 1000 to test.
///
/// # Errors
/// A file that is gone or changed.
pub fn digits() -> Result<Dataset, FileError> {
    let here = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data"));
    let lenet = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../lenet/data"));
    let train = ["mnist-train-images.idx3-ubyte.gz", "mnist-train-labels.idx1-ubyte"].map(|name| here.join(name));
    let test = ["mnist-test-images.idx3-ubyte", "mnist-test-labels.idx1-ubyte"].map(|name| lenet.join(name));
    Ok(Dataset {
        name: "MNIST, the digits of this repository",
        train: Images::load(&train[0], &train[1])?,
        test: Images::load(&test[0], &test[1])?,
    })
}

/// Fashion-MNIST, as Debian's package `dataset-fashion-mnist` lays it: 60,000 images to train on, 10,000 to test.
///
/// # Errors
/// A file that is not there or not one of images or classes.
pub fn fashion(folder: &Path) -> Result<Dataset, FileError> {
    let load = |name: &str| {
        let [images, classes] =
            ["images-idx3", "labels-idx1"].map(|kind| folder.join(format!("{name}-{kind}-ubyte.gz")));
        Images::load(&images, &classes)
    };
    Ok(Dataset { name: "Fashion-MNIST", train: load("train")?, test: load("t10k")? })
}
