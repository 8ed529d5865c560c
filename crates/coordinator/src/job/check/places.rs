//! Places of a job that must lie apart.

use crate::job::merge::{Faults, Merged};
use crate::job::settings::{Input, Location, Model, Output, Split};
use std::path::Path;

/// What is written must not lie in what is read, nor in one another.
pub(super) fn apart(
    merged: &Merged,
    (input, split, model): (&Input, &Split, &Model),
    output: &Output,
    faults: &mut Faults,
) {
    let (validation, test): (&[Location], &[Location]) = match split {
        Split::Given { validation, test } => (validation, test),
        _ => (&[], &[]),
    };
    let attributes = [&input.user_attributes, &input.product_attributes];
    let attributes = attributes.into_iter().flatten().flat_map(|of| &of.files);
    let edges = [&input.user_edges, &input.product_edges];
    let edges = edges.into_iter().flatten().flat_map(|of| &of.files);
    let read: Vec<&Path> = input
        .files
        .iter()
        .chain(attributes)
        .chain(edges)
        .chain(&model.initial_users)
        .chain(&model.initial_products)
        .chain(&model.initial_time)
        .chain(&model.initial_contexts)
        .chain(validation)
        .chain(test)
        .chain(output.rules.allow.iter())
        .chain(output.rules.deny.iter())
        .chain(output.rules.windows.iter())
        .filter_map(Location::as_path)
        .collect();
    let recommend = output.recommend.file.clone().map(Location::Path);
    let parts = output.recommend.folder.clone().map(Location::Path);
    let similar = output.similar.file.clone().map(Location::Path);
    let export = output.export.folder.clone().map(Location::Path);
    let report = output.report.clone().map(Location::Path);
    let segments = output.segments.file.clone().map(Location::Path);
    let influencers = output.influencers.file.clone().map(Location::Path);
    let rises = output.rising.file.clone().map(Location::Path);
    let explanations = output.recommend.explanations.clone();
    let explanations = explanations.map(Location::Path);
    let churn = output.churn.file.clone().map(Location::Path);
    let written = [
        ("output.data", output.data.as_ref()),
        ("output.model", output.model.as_ref()),
        ("output.recommend.file", recommend.as_ref()),
        ("output.similar.file", similar.as_ref()),
        ("output.export.folder", export.as_ref()),
        ("output.report.file", report.as_ref()),
        ("output.segments.file", segments.as_ref()),
        ("output.influencers.file", influencers.as_ref()),
        ("output.recommend.explanations", explanations.as_ref()),
        ("output.rising.file", rises.as_ref()),
        ("output.churn.file", churn.as_ref()),
        ("output.recommend.folder", parts.as_ref()),
    ];
    for (index, (path, place)) in written.iter().enumerate() {
        let Some(place) = place else { continue };
        for (other, earlier) in &written[..index] {
            if earlier.is_some_and(|earlier| within(place, earlier) || within(earlier, place)) {
                let sentence = format!(
                    "`{path}` {place} and `{other}` lie in one another: give them places apart"
                );
                faults.push(merged.origin(path), sentence);
            }
        }
        let Some(place) = place.as_path() else {
            continue;
        };
        if let Some(source) = read
            .iter()
            .find(|source| place.starts_with(source) || source.starts_with(place))
        {
            let sentence = format!(
                "`{path}` {} lies in the input {}, or holds it: give it another place",
                place.display(),
                source.display()
            );
            faults.push(merged.origin(path), sentence);
        }
    }
}

fn within(inner: &Location, outer: &Location) -> bool {
    match (inner, outer) {
        (Location::Path(inner), Location::Path(outer)) => inner.starts_with(outer),
        (Location::Url(inner), Location::Url(outer)) => {
            let outer = outer.trim_end_matches('/');
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        _ => false,
    }
}
