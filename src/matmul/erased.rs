//! Output stages as the engine sees them: without the types of their elements.

use super::per_column::PerColumn;
use super::requantize::rule::RequantizeRef;
use crate::error::{Error, check_length};
use crate::random::fill::WordSource;

/// A stage as the engine sees it.
#[derive(Clone, Copy)]
pub enum StageRef<'a> {
    Accumulators,
    Dequantize(DequantizeRef<'a>),
    Requantize(RequantizeRef<'a>),
}

impl StageRef<'_> {
    /// `Ok` when the stage has values for a result of this shape.
    pub fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        match self {
            StageRef::Accumulators => Ok(()),
            StageRef::Dequantize(stage) => stage.check(rows, columns),
            StageRef::Requantize(stage) => stage.check(rows, columns),
        }
    }

    /// Bytes of an element of the result.
    pub fn element_size(&self) -> usize {
        match self {
            StageRef::Accumulators | StageRef::Dequantize(_) => 4,
            StageRef::Requantize(_) => 1,
        }
    }

    /// The stage with its random words taken `words` further on in the stream, if it rounds stochastically.
    pub(crate) fn skip_words(self, words: u64) -> Result<Self, Error> {
        Ok(match self {
            StageRef::Requantize(stage @ RequantizeRef { words: Some(source), .. }) => {
                StageRef::Requantize(RequantizeRef { words: Some(source.skip(words)?), ..stage })
            }
            stage => stage,
        })
    }

    /// Where the random words come from, for a stage that rounds stochastically.
    #[inline]
    pub(crate) fn words(&self) -> Option<WordSource> {
        match self {
            StageRef::Requantize(stage) => stage.words,
            _ => None,
        }
    }
}

/// What float results are made of.
#[derive(Clone, Copy, Debug)]
pub struct DequantizeRef<'a> {
    /// One scale, or one for every row.
    pub rows: &'a [f32],
    pub columns: &'a PerColumn<f32>,
    pub bias: Option<&'a PerColumn<f32>>,
}

impl DequantizeRef<'_> {
    /// `Ok` when no product of scales is beyond every f32.
    pub fn check_scales(&self, largest_column: f32) -> Result<(), Error> {
        let scale = largest(self.rows) * largest_column;
        if !scale.is_infinite() {
            return Ok(());
        }
        let index = self.rows.iter().position(|row| (row * largest_column).is_infinite());
        Err(Error::Scale { index: index.expect("the largest one is"), scale })
    }

    pub fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        if self.rows.len() != 1 {
            check_length("activation scales", rows, self.rows.len())?;
        }
        self.columns.check("weight scales", columns)?;
        self.bias.map_or(Ok(()), |bias| bias.check("the bias", columns))
    }
}

/// The largest scale.
pub fn largest(scales: &[f32]) -> f32 {
    scales.iter().fold(0.0, |largest, &scale| scale.max(largest))
}
