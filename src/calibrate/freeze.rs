//! Ranges that stop changing.

use super::observer::Observer;
use crate::error::Error;
use crate::exec::Exec;
use crate::params::Range;

/// An observer that can be frozen: from then on batches change nothing, and the range stays what it is.
///
/// Training with quantization observes activations for some steps, then freezes their ranges, so that weights adapt to codes that
/// no longer move.
///
/// ```
/// use zeropoint::calibrate::{Ema, Freeze, Observer};
/// use zeropoint::{Exec, Range};
/// let mut observer = Freeze::new(Ema::from_first_batch(0.5)?);
/// observer.observe(Exec::best()?, &[-1.0, 3.0])?;
/// observer.observe(Exec::best()?, &[-2.0, 5.0])?;
/// observer.freeze();
/// observer.observe(Exec::best()?, &[-100.0, f32::NAN])?; // not even looked at
/// assert_eq!(observer.range()?, Range { min: -1.5, max: 4.0 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Freeze<O> {
    observer: O,
    frozen: bool,
}

impl<O: Observer> Freeze<O> {
    /// An observer that is not frozen.
    pub fn new(observer: O) -> Self {
        Freeze { observer, frozen: false }
    }

    /// Ends the observation. The range stays; that of an observer that has seen nothing stays an [`Error::Empty`].
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Goes on with the observation, where it ended.
    pub fn thaw(&mut self) {
        self.frozen = false;
    }

    /// Whether batches change nothing.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The observer inside.
    pub fn observer(&self) -> &O {
        &self.observer
    }
}

impl<O: Observer> Observer for Freeze<O> {
    fn observe(&mut self, exec: Exec<'_>, batch: &[f32]) -> Result<(), Error> {
        if self.frozen { Ok(()) } else { self.observer.observe(exec, batch) }
    }

    /// Adds what the other one saw, unless this one is frozen. Whether the other one is does not matter.
    fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if self.frozen { Ok(()) } else { self.observer.merge(&other.observer) }
    }

    fn ranges(&self) -> Result<Vec<Range>, Error> {
        self.observer.ranges()
    }

    fn skipped(&self) -> u64 {
        self.observer.skipped()
    }
}
