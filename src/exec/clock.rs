//! The time, where there is a clock.

use core::time::Duration;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
use std::time::Instant;

/// A moment. wasm32-unknown-unknown has no clock, and its standard library traps where one is read: there, any two moments are
/// as far apart as can be.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    instant: Instant,
}

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Moment {
            #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
            instant: Instant::now(),
        }
    }

    /// The time from an earlier moment to this one.
    pub fn since(self, earlier: Moment) -> Duration {
        #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
        return self.instant.saturating_duration_since(earlier.instant);
        #[cfg(all(target_family = "wasm", target_os = "unknown"))]
        {
            let _ = earlier;
            Duration::MAX
        }
    }
}
