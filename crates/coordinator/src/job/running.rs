//! What `[run]` comes to for those who run: the pace of checkpoints, and how far workers are trusted.
//!
//! **Invariant:** nothing here changes a bit of a result.

use super::settings::{Run, Workers};
use crate::driver::Pace;
use std::time::Duration;

impl Run {
    /// What the plan is told.
    pub fn plan(&self) -> plan::Settings {
        plan::Settings {
            slow_factor: self.slow_factor,
            verify_millionths: (self.verify_fraction * 1e6).round() as u32,
            ..plan::Settings::default()
        }
    }

    /// Whether what is computed twice has nobody to compute it again.
    pub fn verifies_alone(&self) -> bool {
        let alone = match &self.workers {
            Workers::Embedded(count) => *count < 2,
            Workers::Addresses(addresses) => addresses.len() < 2,
            Workers::Dns { .. } | Workers::File(_) => false,
        };
        self.verify_fraction > 0.0 && alone
    }

    /// When checkpoints are due.
    pub fn pace(&self) -> Pace {
        Pace {
            every_epochs: self.checkpoint_epochs,
            percent: self.checkpoint_percent,
            rest: Duration::ZERO,
        }
    }

    /// When an ingest keeps what it has done; `None`: never.
    pub fn ingest_pace(&self) -> Option<Pace> {
        let rest = Duration::from_secs_f64(self.ingest_checkpoint_seconds);
        (!rest.is_zero()).then_some(Pace {
            every_epochs: 1,
            percent: self.checkpoint_percent,
            rest,
        })
    }
}
