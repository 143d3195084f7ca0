//! Methods by name, as command lines and configurations have them, and one type for the observers of all.

use core::fmt;
use core::str::FromStr;

use super::extremes::{AbsMax, AverageMinMax, Ema, MinMax};
use super::histogram::{Clip, Histogram};
use super::levels::Levels;
use super::moments::{Moments, Spread};
use super::observer::{NonFinite, Observer, check_merge};
use crate::codes::{Code, CodeRange};
use crate::error::Error;
use crate::exec::Exec;
use crate::params::{Granularity, Range, Scheme};

/// A way to a range: the table of the module [`calibrate`](crate::calibrate).
///
/// ```
/// use zeropoint::calibrate::Method;
/// assert_eq!("percentile:99.9".parse(), Ok(Method::Percentile(99.9)));
/// assert_eq!("percentile".parse(), Ok(Method::Percentile(99.99)));
/// assert_eq!(Method::Std(3.0).to_string(), "std:3");
/// assert!("average:3".parse::<Method>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Method {
    /// [`MinMax`]: `minmax`.
    MinMax,
    /// [`AbsMax`]: `absmax`.
    AbsMax,
    /// [`AverageMinMax`]: `average`.
    Average,
    /// [`Ema::new`] of this decay, Distiller's: `ema:0.9`, or `ema` for 0.999.
    Ema(f64),
    /// [`Ema::from_first_batch`] with this constant, torch's: `moving:0.1`, or `moving` for 0.01.
    Moving(f64),
    /// [`Spread::Deviations`] of this many: `std:4`, or `std` for 3.
    Std(f64),
    /// [`Spread::Gauss`]: `gauss`.
    Gauss,
    /// [`Spread::Laplace`]: `laplace`.
    Laplace,
    /// [`Clip::Percentile`]: `percentile:99.9`, or `percentile` for 99.99.
    Percentile(f64),
    /// [`Clip::Percentiles`], on both sides: `percentiles:99.9`, or `percentiles` for 99.99.
    Percentiles(f64),
    /// [`Clip::Entropy`]: `entropy`.
    Entropy,
    /// [`Clip::Mse`]: `mse`.
    Mse,
}

impl Method {
    /// The names, with their optional arguments.
    const FORMS: &str = "minmax, absmax, average, ema[:decay], moving[:constant], std[:deviations], gauss, laplace, \
                         percentile[:p], percentiles[:p], entropy, mse";

    /// An observer of a tensor that takes this way for these codes and this scheme, whose levels `entropy` and `mse` count with;
    /// `sample` is the elements of a sample, which [`AverageMinMax`] alone needs.
    ///
    /// # Errors
    /// [`Error::Setting`] for an argument that the method cannot have, [`Error::Shape`] when a sample has no elements.
    pub fn observer<C: Code>(self, codes: CodeRange<C>, scheme: Scheme, sample: usize) -> Result<Calibrator, Error> {
        match self {
            Method::MinMax => Ok(MinMax::new(Granularity::Tensor).into()),
            Method::AbsMax => Ok(AbsMax::new(Granularity::Tensor).into()),
            Method::Average => AverageMinMax::new(sample).map(Calibrator::Average),
            Method::Ema(decay) => Ema::new(decay).map(Calibrator::Ema),
            Method::Moving(constant) => Ema::from_first_batch(constant).map(Calibrator::Ema),
            Method::Std(n) => moments(Spread::Deviations(n)),
            Method::Gauss => moments(Spread::gauss(codes)),
            Method::Laplace => moments(Spread::laplace(codes)),
            Method::Percentile(p) => histogram(Clip::Percentile(p)),
            Method::Percentiles(p) => histogram(Clip::Percentiles(p)),
            Method::Entropy => histogram(Clip::entropy(Levels::of(codes, scheme))),
            Method::Mse => histogram(Clip::mse(Levels::of(codes, scheme))),
        }
    }
}

fn moments(spread: Spread) -> Result<Calibrator, Error> {
    Moments::new(spread).map(Calibrator::Moments)
}

fn histogram(clip: Clip) -> Result<Calibrator, Error> {
    Histogram::new(clip).map(Calibrator::Histogram)
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Method { name: text.to_owned(), choices: Method::FORMS };
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        Ok(match (name, number) {
            ("minmax", None) => Method::MinMax,
            ("absmax", None) => Method::AbsMax,
            ("average", None) => Method::Average,
            ("ema", decay) => Method::Ema(decay.unwrap_or(0.999)),
            ("moving", constant) => Method::Moving(constant.unwrap_or(0.01)),
            ("std", n) => Method::Std(n.unwrap_or(3.0)),
            ("gauss", None) => Method::Gauss,
            ("laplace", None) => Method::Laplace,
            ("percentile", p) => Method::Percentile(p.unwrap_or(99.99)),
            ("percentiles", p) => Method::Percentiles(p.unwrap_or(99.99)),
            ("entropy", None) => Method::Entropy,
            ("mse", None) => Method::Mse,
            _ => return Err(unknown()),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, number) = match *self {
            Method::MinMax => ("minmax", None),
            Method::AbsMax => ("absmax", None),
            Method::Average => ("average", None),
            Method::Ema(decay) => ("ema", Some(decay)),
            Method::Moving(constant) => ("moving", Some(constant)),
            Method::Std(n) => ("std", Some(n)),
            Method::Gauss => ("gauss", None),
            Method::Laplace => ("laplace", None),
            Method::Percentile(p) => ("percentile", Some(p)),
            Method::Percentiles(p) => ("percentiles", Some(p)),
            Method::Entropy => ("entropy", None),
            Method::Mse => ("mse", None),
        };
        match number {
            None => f.pad(name),
            Some(number) => f.pad(&format!("{name}:{number}")),
        }
    }
}

/// The observer of any [`Method`].
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "named as what they hold")]
pub enum Calibrator {
    MinMax(MinMax),
    AbsMax(AbsMax),
    Average(AverageMinMax),
    Ema(Ema),
    Moments(Moments),
    Histogram(Histogram),
}

/// One expression for any of the observers.
macro_rules! each {
    ($calibrator:expr, $observer:ident => $result:expr) => {
        match $calibrator {
            Calibrator::MinMax($observer) => $result,
            Calibrator::AbsMax($observer) => $result,
            Calibrator::Average($observer) => $result,
            Calibrator::Ema($observer) => $result,
            Calibrator::Moments($observer) => $result,
            Calibrator::Histogram($observer) => $result,
        }
    };
}

impl Calibrator {
    /// This observer with another treatment of NaN and infinity.
    #[must_use]
    pub fn non_finite(self, non_finite: NonFinite) -> Self {
        each!(self, observer => observer.non_finite(non_finite).into())
    }
}

macro_rules! from {
    ($($Observer:ident as $variant:ident),*) => { $(
        impl From<$Observer> for Calibrator {
            fn from(observer: $Observer) -> Self {
                Calibrator::$variant(observer)
            }
        }
    )* };
}
from!(
    MinMax as MinMax,
    AbsMax as AbsMax,
    AverageMinMax as Average,
    Ema as Ema,
    Moments as Moments,
    Histogram as Histogram
);

impl Observer for Calibrator {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        each!(self, observer => observer.observe(exec, batch))
    }

    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        match (self, other) {
            (Calibrator::MinMax(a), Calibrator::MinMax(b)) => a.merge(b),
            (Calibrator::AbsMax(a), Calibrator::AbsMax(b)) => a.merge(b),
            (Calibrator::Average(a), Calibrator::Average(b)) => a.merge(b),
            (Calibrator::Ema(a), Calibrator::Ema(b)) => a.merge(b),
            (Calibrator::Moments(a), Calibrator::Moments(b)) => a.merge(b),
            (Calibrator::Histogram(a), Calibrator::Histogram(b)) => a.merge(b),
            _ => check_merge(false, "their methods differ"),
        }
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        each!(self, observer => observer.ranges())
    }

    fn skipped(&self) -> u64 {
        each!(self, observer => observer.skipped())
    }
}
