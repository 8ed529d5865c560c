//! Edges between users: between those of one first interest, at random, and from followers to influencers who alone reach them.

use super::purpose;
use super::users::home;
use super::world::World;
use kernels::Random;

/// Edges as columns of ids. Reused from part to part.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    /// Of those who take from others.
    pub from: Vec<u32>,
    /// Of those they take from.
    pub to: Vec<u32>,
}

impl Edges {
    /// The edges of some users.
    pub fn fill(&mut self, world: &World, users: std::ops::Range<u32>) {
        self.from.clear();
        self.to.clear();
        let settings = world.settings();
        let reserved = settings.influencers..settings.ordinary_from();
        for user in users {
            if reserved.contains(&user) {
                self.push(world, user, (user - reserved.start) / settings.followers);
                continue;
            }
            let random = Random::new(settings.seed, purpose::EDGES, 0, user);
            let most = u64::from(settings.friends) * 2 + 1;
            let count = (u64::from(random.word(0)) * most) >> 32;
            for friend in 1..=count as u32 {
                let [coin, whom, ..] = random.block(friend);
                let near = f64::from(coin >> 8) / f64::from(1 << 24) < settings.homophily;
                if let Some(friend) = befriended(world, user, near, whom) {
                    self.push(world, user, friend);
                }
            }
        }
    }

    fn push(&mut self, world: &World, from: u32, to: u32) {
        self.from.push(world.user_id(from));
        self.to.push(world.user_id(to));
    }
}

/// Another user with ordinary edges: of the same first interest, or any. None where a word names the user himself.
fn befriended(world: &World, user: u32, near: bool, word: u32) -> Option<u32> {
    let settings = world.settings();
    let from = settings.ordinary_from();
    let pick = |count: u32| ((u64::from(word) * u64::from(count)) >> 32) as u32;
    let friend = if near {
        let home = home(settings, user);
        let first = from + (home + settings.rank - from % settings.rank) % settings.rank;
        let members = settings.users.checked_sub(first)?.div_ceil(settings.rank);
        (members > 0).then(|| first + settings.rank * pick(members))?
    } else {
        from + pick(settings.users - from)
    };
    (friend != user).then_some(friend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Settings;
    use crate::generate::settings::tests::small;
    use std::collections::BTreeMap;

    #[test]
    fn friends_are_alike_and_followers_know_only_their_influencer() {
        let settings = Settings {
            users: 3000,
            ..small()
        };
        let world = World::new(settings);
        let places: BTreeMap<u32, u32> =
            (0..3000).map(|user| (world.user_id(user), user)).collect();
        let (mut edges, mut cut) = (Edges::default(), Edges::default());
        edges.fill(&world, 0..3000);
        let mut joined = Edges::default();
        for users in [0..7, 7..2000, 2000..3000] {
            cut.fill(&world, users);
            joined.from.extend(&cut.from);
            joined.to.extend(&cut.to);
        }
        assert_eq!((&joined.from, &joined.to), (&edges.from, &edges.to));
        let pairs: Vec<(u32, u32)> = edges
            .from
            .iter()
            .zip(&edges.to)
            .map(|(from, to)| (places[from], places[to]))
            .collect();
        // Influencers are 0 and 1, their followers 2 to 11.
        for follower in 2..12 {
            let of: Vec<_> = pairs
                .iter()
                .filter(|(from, to)| *from == follower || *to == follower)
                .collect();
            assert_eq!(of, [&(follower, (follower - 2) / 5)]);
        }
        let ordinary: Vec<_> = pairs.iter().filter(|(from, _)| *from >= 12).collect();
        let alike = ordinary
            .iter()
            .filter(|(from, to)| from % 6 == to % 6)
            .count() as f64;
        let mean = ordinary.len() as f64 / 2988.0;
        assert!((mean - 4.0).abs() < 0.2, "{mean}");
        assert!((alike / ordinary.len() as f64 - (0.8 + 0.2 / 6.0)).abs() < 0.03);
        assert!(ordinary.iter().all(|(from, to)| from != to && *to >= 12));
    }
}
