//! How much each user buys, and what of. Nothing is kept per user: all of it is drawn again where it is needed.

use super::{Settings, purpose};
use kernels::Random;
use kernels::random::exp;
use rayon::prelude::*;
use std::ops::Range;

/// More parts than these would be too many files.
pub const PARTS_MAX: u32 = 1 << 20;

/// What a weight of 1 counts.
const UNIT: f64 = 65_536.0;

/// The rows of users: in proportion to log-normal weights, rounded so that all together are exactly as many as asked for.
#[derive(Clone, Debug)]
pub struct Activity {
    seed: u64,
    spread: f64,
    users: u32,
    interactions: u64,
    per_part: u32,
    /// Weights of all users before a part, and of all at the end.
    before: Vec<u64>,
}

impl Activity {
    /// Users in parts of about so many rows. Reads every user once, on the threads of the pool.
    pub fn new(settings: &Settings, part_rows: u64) -> Self {
        let parts = settings
            .interactions
            .div_ceil(part_rows.max(1))
            .clamp(1, u64::from(settings.users.min(PARTS_MAX))) as u32;
        let per_part = settings.users.div_ceil(parts);
        let mut activity = Activity {
            seed: settings.seed,
            spread: settings.activity,
            users: settings.users,
            interactions: settings.interactions,
            per_part,
            before: Vec::new(),
        };
        let parts = settings.users.div_ceil(per_part);
        let sums: Vec<u64> = (0..parts)
            .into_par_iter()
            .map(|part| {
                let users = activity.users_of(part);
                users.map(|user| activity.weight(user)).sum()
            })
            .collect();
        let mut sum = 0;
        activity.before.push(sum);
        for of_part in sums {
            sum += of_part;
            activity.before.push(sum);
        }
        activity
    }

    /// How many parts.
    pub fn parts(&self) -> u32 {
        self.before.len() as u32 - 1
    }

    /// The users of a part.
    pub fn users_of(&self, part: u32) -> Range<u32> {
        let end = u64::from(part + 1) * u64::from(self.per_part);
        part * self.per_part..end.min(u64::from(self.users)) as u32
    }

    /// The rows of a part.
    pub fn rows_of(&self, part: u32) -> u64 {
        let part = part as usize;
        self.rows_before(self.before[part + 1]) - self.rows_before(self.before[part])
    }

    /// The users of a part with their rows.
    pub fn counts(&self, part: u32) -> impl Iterator<Item = (u32, u64)> + '_ {
        let mut weight = self.before[part as usize];
        self.users_of(part).map(move |user| {
            let before = self.rows_before(weight);
            weight += self.weight(user);
            (user, self.rows_before(weight) - before)
        })
    }

    fn rows_before(&self, weight: u64) -> u64 {
        let all = self.before[self.before.len() - 1];
        (u128::from(self.interactions) * u128::from(weight) / u128::from(all.max(1))) as u64
    }

    fn weight(&self, user: u32) -> u64 {
        if self.spread == 0.0 {
            return 1;
        }
        let normal = Random::new(self.seed, purpose::ACTIVITY, 0, user).normal(0);
        ((exp(self.spread * normal) * UNIT) as u64).max(1)
    }
}

/// The factors that a user is interested in, the first one most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interests {
    /// At first. The first of them is the user's home, and its department the user's segment.
    pub early: Vec<u32>,
    /// At last, where taste drifts; else the same.
    pub late: Vec<u32>,
}

impl Interests {
    /// Of a user.
    pub fn of(settings: &Settings, user: u32) -> Self {
        let early = drawn(settings, user, 0, Some(home(settings, user)));
        let late = if settings.drift > 0.0 {
            drawn(settings, user, 1, None)
        } else {
            early.clone()
        };
        Interests { early, late }
    }
}

/// The first interest: users take turns, so that each factor has as many.
pub(crate) fn home(settings: &Settings, user: u32) -> u32 {
    user % settings.rank
}

fn drawn(settings: &Settings, user: u32, step: u32, home: Option<u32>) -> Vec<u32> {
    let random = Random::new(settings.seed, purpose::INTERESTS, step, user);
    let below = |word: u32, count: u32| ((u64::from(word) * u64::from(count)) >> 32) as u32;
    let first = home.unwrap_or_else(|| below(random.word(0), settings.rank));
    let department = settings.department(first);
    let others = (1..settings.interests).map(|slot| {
        if f64::from(random.uniform(2 * slot)) < settings.loyalty {
            let own = settings.members(department, settings.rank);
            department + settings.departments * below(random.word(2 * slot + 1), own)
        } else {
            below(random.word(2 * slot + 1), settings.rank)
        }
    });
    std::iter::once(first).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::settings::tests::small;

    #[test]
    fn rows_are_exactly_as_many_as_asked_for_and_log_normal() {
        for (users, interactions, rows) in [
            (60, 5000, 500),
            (7, 3, 1),
            (1, 10, 4),
            (5000, 500_000, 9999),
        ] {
            let settings = Settings {
                users,
                interactions,
                activity: 1.0,
                ..small()
            };
            let activity = Activity::new(&settings, rows);
            let counts: Vec<(u32, u64)> = (0..activity.parts())
                .flat_map(|part| activity.counts(part).collect::<Vec<_>>())
                .collect();
            assert!(counts.iter().map(|(user, _)| *user).eq(0..users));
            assert_eq!(
                counts.iter().map(|(_, rows)| rows).sum::<u64>(),
                interactions
            );
            for part in 0..activity.parts() {
                let of_part: u64 = activity.counts(part).map(|(_, rows)| rows).sum();
                assert_eq!(of_part, activity.rows_of(part));
            }
            if users == 5000 {
                let logs: Vec<f64> = counts
                    .iter()
                    .map(|(_, rows)| ((*rows).max(1) as f64).ln())
                    .collect();
                let mean = logs.iter().sum::<f64>() / 5000.0;
                let spread = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5000.0;
                assert!((mean - (100.0_f64.ln() - 0.5)).abs() < 0.06, "{mean}");
                assert!((spread.sqrt() - 1.0).abs() < 0.05, "{spread}");
            }
        }
    }

    #[test]
    fn interests_begin_at_home_and_are_loyal() {
        let settings = Settings {
            users: 6000,
            loyalty: 0.7,
            ..small()
        };
        let (mut own, mut late_home) = (0, 0);
        for user in 0..settings.users {
            let interests = Interests::of(&settings, user);
            assert_eq!(interests.early[0], user % 6);
            assert_eq!((interests.early.len(), interests.late.len()), (3, 3));
            own += u32::from(interests.early[2] % 3 == user % 3);
            late_home += u32::from(interests.late[0] == user % 6);
        }
        let share = |count: u32| f64::from(count) / 6000.0;
        assert!((share(own) - (0.7 + 0.3 / 3.0)).abs() < 0.03, "{own}");
        assert!((share(late_home) - 1.0 / 6.0).abs() < 0.03, "{late_home}");
        let still = Settings {
            drift: 0.0,
            ..settings
        };
        let interests = Interests::of(&still, 5);
        assert_eq!(interests.early, interests.late);
    }
}
