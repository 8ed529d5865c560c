//! `[generate]`.

use crate::job::merge::{Faults, Merged};
use crate::job::settings::Generate;
use tensor::time::day_of_text;

/// The world, and how it is written.
pub(super) fn generate(merged: &Merged, faults: &mut Faults) -> Generate {
    let key = |name: &str| format!("generate.{name}");
    let count = |name: &str| merged.count(&key(name)).unwrap_or_default();
    let real = |name: &str| merged.real(&key(name)).unwrap_or_default();
    let world = model::generate::Settings {
        users: count("users") as u32,
        products: count("products") as u32,
        days: count("days") as u32,
        interactions: count("interactions"),
        rank: count("rank") as u32,
        departments: count("departments") as u32,
        interests: count("interests") as u32,
        loyalty: real("loyalty"),
        contrast: real("contrast"),
        popularity: real("popularity"),
        zipf: real("zipf"),
        activity: real("activity"),
        season: real("season"),
        season_days: count("season_days") as u32,
        drift: real("drift"),
        repeat: real("repeat"),
        attributes: real("attributes"),
        friends: count("friends") as u32,
        homophily: real("homophily"),
        influencers: count("influencers") as u32,
        followers: count("followers") as u32,
        quantity: count("quantity") as u32,
        seed: count("seed"),
    };
    if let Err(unfit) = world.check() {
        let path = key(unfit.key);
        let sentence = format!("`{path}`: {unfit}");
        faults.push(merged.origin(&path), sentence);
    }
    let start = merged.text("generate.start").unwrap_or_default();
    let first_day = day_of_text(start).unwrap_or_else(|| {
        let sentence = format!("`generate.start` \"{start}\" is no day: write YYYY-MM-DD");
        faults.push(merged.origin("generate.start"), sentence);
        0
    });
    Generate {
        world,
        text_ids: merged.text("generate.ids") == Some("text"),
        first_day,
        by_day: merged.text("generate.layout") == Some("days"),
        rows_per_file: count("rows_per_file"),
    }
}
