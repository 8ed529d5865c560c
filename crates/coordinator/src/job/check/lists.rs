//! `[output.rules]`, `[output.rising]` and the date of recommendations.

use super::readable;
use crate::job::merge::{Faults, Merged};
use crate::job::settings::{Rising, Rules};
use std::path::PathBuf;
use tables::Bound;

/// The day or number whose bin recommendations are for.
pub(super) fn date(merged: &Merged, faults: &mut Faults) -> Option<Bound> {
    let text = merged.text("output.recommend.date")?;
    let bound = Bound::of(text);
    if bound.is_none() {
        let sentence = format!(
            "`output.recommend.date` is \"{text}\": write YYYY-MM-DD, or the number of a bin where times are such numbers"
        );
        faults.push(merged.origin("output.recommend.date"), sentence);
    }
    bound
}

/// What lists must obey.
pub(super) fn rules(merged: &Merged, faults: &mut Faults) -> Rules {
    let mut file = |path: &str| {
        let text = merged.text(path)?;
        Some(readable(merged, path, text, faults))
    };
    let [allow, deny, windows] =
        ["allow", "deny", "windows"].map(|name| file(&format!("output.rules.{name}")));
    let most = merged.count("output.rules.most").map(|most| most as u32);
    let most_by = merged.text("output.rules.most_by").map(str::to_owned);
    match (most, &most_by) {
        (Some(_), None) => faults.push(
            merged.origin("output.rules.most"),
            "`output.rules.most` caps lists by the levels of an attribute: name it with `output.rules.most_by`",
        ),
        (None, Some(_)) => faults.push(
            merged.origin("output.rules.most_by"),
            "`output.rules.most_by` names what lists are capped by: say with `output.rules.most` how many of each a list may hold",
        ),
        _ => {}
    }
    Rules {
        allow,
        deny,
        windows,
        most,
        most_by,
        damping: merged.real("output.rules.damping").unwrap_or_default(),
    }
}

/// What rises for whom.
pub(super) fn rising(merged: &Merged, file: Option<PathBuf>) -> Rising {
    Rising {
        top: merged.count("output.rising.top").unwrap_or_default() as u32,
        file,
        over: merged.count("output.rising.over").unwrap_or_default() as u32,
        exclude_seen: merged.text("output.rising.seen") == Some("exclude"),
    }
}
