//! How an operation rounds.

use crate::error::Error;
use crate::params::Params;
use crate::random::stream::Stream;

/// How values between two codes are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rounding {
    /// To the nearest code, ties to even: the smallest error.
    #[default]
    Nearest,
    /// Up with the probability of the fraction, without bias: element i of the tensor takes the word `offset + i` of the
    /// stream, whatever the granularity, on every ISA and for any number of threads.
    ///
    /// What is rounded is the quotient x / S in f32. If x is a real value that a code stands for, `S · k` rounded to f32, then x / S
    /// is k or a neighbour of it among the f32, not always k; so such a value keeps its code but for about one in 10⁵ (S = 0.1,
    /// k = −124: the quotient is −124 − 2⁻¹⁷, so the code is −125 once in 131072). Scales that are powers of two have
    /// exact quotients, and rounding to nearest always keeps the code.
    Stochastic(Stream),
}

impl From<Stream> for Rounding {
    fn from(stream: Stream) -> Self {
        Rounding::Stochastic(stream)
    }
}

impl Rounding {
    /// An error if the stream has fewer words than `elements`, or if the parameters leave no room for the rounding.
    pub(crate) fn check(self, elements: usize, params: &Params) -> Result<(), Error> {
        match self {
            Rounding::Nearest => Ok(()),
            Rounding::Stochastic(_) if !params.has_headroom() => Err(Error::Rounding {
                why: "parameters of a scheme for nearest rounding leave no headroom for stochastic rounding",
            }),
            Rounding::Stochastic(stream) => stream.check(elements),
        }
    }
}
