//! The command line. Parsed by hand, since a visitor waits for whatever this program builds.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::{Arg, Parser, ValueExt};
use zeropoint::calibrate::Method;
use zeropoint::{CodeRange, Error};

/// The path of a file that the project ships.
macro_rules! shipped {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/data/", $name)
    };
}

/// What `--help` prints.
pub const HELP: &str = concat!(
    "Classifies handwritten digits with a quantized LeNet, and compares schemes and ISAs

Usage: lenet [OPTIONS]

Options:
      --weights <FILE>      The trained weights: a safetensors file [default: ",
    shipped!("lenet-mnist.safetensors"),
    "]
      --calibration <FILE>  The digits that static ranges are taken from: an IDX file [default: ",
    shipped!("mnist-calibration-images.idx3-ubyte"),
    "]
      --images <FILE>       The digits to classify: an IDX file [default: ",
    shipped!("mnist-test-images.idx3-ubyte"),
    "]
      --labels <FILE>       The labels of these digits: an IDX file [default: ",
    shipped!("mnist-test-labels.idx1-ubyte"),
    "]
      --scheme <SCHEME>     How values are represented [default: all] [possible values: float, static, dynamic, shift, all]
      --isa <NAME>          The name of an ISA, or `all` that this CPU has [default: all]
      --range <METHOD>      How static ranges are chosen: minmax, absmax, average, ema:0.9, moving:0.1, std:3, gauss,
                            laplace, percentile:99.99, percentiles:99.99, entropy, mse [default: minmax]
      --bits <N>            The bits of the codes of static networks: 2 to 8 [default: 8]
      --ranges              Compare the methods that choose ranges, by bits, instead of the schemes
      --json                Print one JSON object instead of the table
  -h, --help                Print help
"
);

/// The options, each with the default that [`HELP`] gives.
pub struct Arguments {
    pub weights: PathBuf,
    pub calibration: PathBuf,
    pub images: PathBuf,
    pub labels: PathBuf,
    pub scheme: Scheme,
    pub isa: String,
    pub range: Method,
    pub bits: u32,
    pub ranges: bool,
    pub json: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Arguments {
            weights: shipped!("lenet-mnist.safetensors").into(),
            calibration: shipped!("mnist-calibration-images.idx3-ubyte").into(),
            images: shipped!("mnist-test-images.idx3-ubyte").into(),
            labels: shipped!("mnist-test-labels.idx1-ubyte").into(),
            scheme: Scheme::All,
            isa: "all".to_owned(),
            range: Method::MinMax,
            bits: 8,
            ranges: false,
            json: false,
        }
    }
}

/// How values are represented.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Float,
    Static,
    Dynamic,
    Shift,
    All,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Float => "float",
            Scheme::Static => "static",
            Scheme::Dynamic => "dynamic",
            Scheme::Shift => "shift",
            Scheme::All => "all",
        }
    }

    pub fn includes(self, scheme: Scheme) -> bool {
        self == scheme || self == Scheme::All
    }
}

impl FromStr for Scheme {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Scheme::Float, Scheme::Static, Scheme::Dynamic, Scheme::Shift, Scheme::All];
        all.into_iter().find(|scheme| scheme.name() == name).ok_or("choose one of: float, static, dynamic, shift, all")
    }
}

/// A method whose number, if it has one, is among those that it can have.
struct Checked(Method);

impl FromStr for Checked {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let method: Method = text.parse()?;
        method.observer(CodeRange::<u8>::unsigned(8)?, zeropoint::Scheme::ASYMMETRIC, 1)?;
        Ok(Checked(method))
    }
}

/// The bits of a code.
struct Bits(u32);

impl FromStr for Bits {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().filter(|bits| (2..=8).contains(bits)).map(Bits).ok_or("choose 2 to 8")
    }
}

impl Arguments {
    /// The options among a program's arguments; `None` if they ask for help.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, lexopt::Error> {
        let mut parser = Parser::from_args(arguments);
        let mut parsed = Arguments::default();
        let mut given: Vec<String> = Vec::new();
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Long(name) => name.to_owned(),
                _ => return Err(argument.unexpected()),
            };
            match &*name {
                "weights" => parsed.weights = parser.value()?.into(),
                "calibration" => parsed.calibration = parser.value()?.into(),
                "images" => parsed.images = parser.value()?.into(),
                "labels" => parsed.labels = parser.value()?.into(),
                "scheme" => parsed.scheme = value(&mut parser, &name)?,
                "isa" => parsed.isa = value(&mut parser, &name)?,
                "range" => parsed.range = value::<Checked>(&mut parser, &name)?.0,
                "bits" => parsed.bits = value::<Bits>(&mut parser, &name)?.0,
                "ranges" => parsed.ranges = true,
                "json" => parsed.json = true,
                _ => return Err(Arg::Long(&name).unexpected()),
            }
            if given.contains(&name) {
                return Err(format!("--{name} is given twice").into());
            }
            given.push(name);
        }
        // What would be ignored is refused.
        let (what, ignored): (&str, &[&str]) = match parsed.scheme {
            _ if parsed.ranges => ("--ranges", &["scheme", "range", "bits", "json"]),
            Scheme::Float => ("--scheme float", &["calibration", "isa", "range", "bits"]),
            Scheme::Dynamic => ("--scheme dynamic", &["calibration", "range", "bits"]),
            Scheme::Static | Scheme::Shift | Scheme::All => ("", &[]),
        };
        match given.iter().find(|name| ignored.contains(&name.as_str())) {
            Some(name) => Err(format!("{what} and --{name} exclude each other").into()),
            None => Ok(Some(parsed)),
        }
    }
}

/// The value of an option.
fn value<T: FromStr<Err: Display>>(parser: &mut Parser, name: &str) -> Result<T, lexopt::Error> {
    let text = parser.value()?.string()?;
    text.parse().map_err(|error| format!("--{name} {text}: {error}").into())
}
