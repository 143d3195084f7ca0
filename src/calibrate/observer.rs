//! What every observer does, and how NaN and infinity are kept out.

use std::borrow::Cow;

use crate::error::Error;
use crate::exec::Exec;
use crate::params::Range;
use crate::reduce::tensor::range_of;

/// Watches batches of a tensor, and tells the ranges that codes should cover.
pub trait Observer {
    /// Records a batch. On an error nothing of it is recorded; nor is anything of an empty batch, which is none.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first NaN or infinity, unless they are skipped; [`Error::Multiple`]
    /// when the length does not go with the granularity or the samples.
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error>;

    /// Adds what another observer with the same settings saw.
    ///
    /// # Errors
    /// [`Error::Merge`] when the settings differ, where the order of batches matters, or when both counted 2⁶³ values or more.
    /// Nothing is added then.
    fn merge(&mut self, other: &Self) -> Result<(), Error>
    where
        Self: Sized;

    /// The range of every group; a single one where nothing else is said.
    ///
    /// # Errors
    /// [`Error::Empty`] when no finite value was seen, of a group or of all.
    fn ranges(&self) -> Result<Vec<Range>, Error>;

    /// The range of the whole tensor: of all groups together.
    ///
    /// # Errors
    /// [`Error::Empty`] when no finite value was seen, of a group or of all.
    fn range(&self) -> Result<Range, Error> {
        Ok(self.ranges()?.into_iter().reduce(Range::union).expect("an observer has a group"))
    }

    /// NaN and infinities that were skipped.
    fn skipped(&self) -> u64;
}

/// What an observer makes of NaN and infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NonFinite {
    /// An error.
    #[default]
    Refuse,
    /// It counts them, and sees the finite values only.
    Skip,
}

/// What an observer lets in.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    pub non_finite: NonFinite,
    pub skipped: u64,
}

/// The finite values of a batch, in order, and their range.
pub(super) struct Admitted<'a> {
    pub x: Cow<'a, [f32]>,
    pub range: Range,
}

impl Gate {
    /// How many values both skipped.
    pub fn merged(&self, other: &Self) -> Result<u64, Error> {
        merged_counts(self.skipped, other.skipped)
    }

    /// The finite values, if any, and how many others are to be skipped.
    pub fn admit<'a>(&self, exec: Exec<'_>, batch: &'a [f32]) -> Result<(Option<Admitted<'a>>, u64), Error> {
        if batch.is_empty() {
            return Ok((None, 0));
        }
        match range_of(exec, batch) {
            Err(Error::NonFinite { .. }) if self.non_finite == NonFinite::Skip => {
                let finite: Vec<f32> = batch.iter().copied().filter(|x| x.is_finite()).collect();
                let skipped = (batch.len() - finite.len()) as u64;
                if finite.is_empty() {
                    return Ok((None, skipped));
                }
                let range = range_of(exec, &finite)?;
                Ok((Some(Admitted { x: finite.into(), range }), skipped))
            }
            range => Ok((Some(Admitted { x: batch.into(), range: range? }), 0)),
        }
    }
}

/// The error of an observer that has seen nothing.
pub(super) const NOTHING_SEEN: Error = Error::Empty { what: "what was observed", group: None };

/// The error of an observer that has seen values of other groups only.
pub(super) fn nothing_seen_of(group: usize) -> Error {
    Error::Empty { what: "what was observed", group: Some(group) }
}

/// `why`, unless two observers may be merged.
pub(super) fn check_merge(same: bool, why: &'static str) -> Result<(), Error> {
    if same { Ok(()) } else { Err(Error::Merge { why }) }
}

/// A histogram has fewer values, so that no sum of them wraps.
pub(super) const COUNTS: u64 = 1 << 63;

/// Both counts together, if they are fewer than [`COUNTS`]. (So no batch in memory makes the sum wrap.)
pub(super) fn merged_counts(a: u64, b: u64) -> Result<u64, Error> {
    let sum = a.checked_add(b).filter(|&sum| sum < COUNTS);
    sum.ok_or(Error::Merge { why: "together they counted 2⁶³ values or more" })
}
