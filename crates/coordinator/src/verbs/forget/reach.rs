//! What no engine can make forget: files that were read or written for other programs, and the caches of daemons.

use crate::failure::Failure;
use crate::job::settings::{Location, Split, Workers};
use crate::job::{advising, files, tuning};
use crate::verbs::engine::{Engine, failed};
use crate::verbs::{churn, cold};
use depot::Body;
use std::path::Path;
use tensor::{DataSet, DepotId};

/// Places that the job names and that may hold the users still, each with what to do about it.
pub(super) async fn beyond(engine: &Engine<'_>, data: &DataSet) -> Result<Vec<String>, Failure> {
    let mut places = Vec::new();
    let settings = engine.settings;
    let mut inputs: Vec<(&str, &[Location])> = vec![
        ("input.files", &settings.input.files),
        ("update.files", &settings.update.files),
    ];
    if let Split::Given { validation, test } = &settings.split {
        inputs.push(("split.validation_files", validation));
        inputs.push(("split.test_files", test));
    }
    for (key, locations) in inputs {
        // What is gone already needs no mention.
        let found = files::expand(key, locations).unwrap_or_default();
        for location in found {
            places.push(format!(
                "{location} (`{key}`): a new ingest would bring the users back"
            ));
        }
    }
    let output = &settings.output;
    let written: [(&str, Option<&Path>); 8] = [
        ("output.recommend.file", output.recommend.file.as_deref()),
        (
            "output.recommend.folder",
            output.recommend.folder.as_deref(),
        ),
        ("output.similar.file", output.similar.file.as_deref()),
        ("output.export.folder", output.export.folder.as_deref()),
        ("output.report.file", output.report.as_deref()),
        ("output.segments.file", output.segments.file.as_deref()),
        (
            "output.influencers.file",
            output.influencers.file.as_deref(),
        ),
        ("output.churn.file", output.churn.file.as_deref()),
    ];
    for (key, path) in written {
        if let Some(path) = path.filter(|path| path.exists()) {
            places.push(format!("{} (`{key}`): write it anew", path.display()));
        }
    }
    // Trials have checkpoints and models of their own.
    for (verb, place) in [
        ("tune", tuning::PLACE),
        ("advise", advising::PLACE),
        ("churn", churn::PLACE),
        ("cold", cold::PLACE),
    ] {
        if let Some(Location::Path(at)) = output.model.as_ref().map(|model| model.join(place))
            && at.exists()
        {
            places.push(format!(
                "{} (what `{verb}` trained): delete it",
                at.display()
            ));
        }
    }
    match &settings.run.workers {
        Workers::Embedded(_) => {}
        Workers::Addresses(addresses) => {
            let addresses = addresses.join(", ");
            places.push(format!("the caches (--data) of the workers {addresses}: stop them, empty their folders, start them"));
        }
        Workers::Dns { service, .. } => {
            places.push(format!(
                "the caches (--data) of the workers of {service}: start them with empty folders"
            ));
        }
        Workers::File(path) => {
            places.push(format!(
                "the caches (--data) of the workers in {}: start them with empty folders",
                path.display()
            ));
        }
    }
    places.extend(others(engine, data).await?);
    Ok(places)
}

/// Other data sets at the same place that count the same users.
async fn others(engine: &Engine<'_>, data: &DataSet) -> Result<Option<String>, Failure> {
    let depot = engine.depot(DepotId::DATA)?;
    let standing = depot.standing().await.map_err(failed)?;
    let other = |body: &Body| matches!(body, Body::DataSet(other) if other.origin() != data.origin() && other.user.column == data.user.column);
    let count = standing.iter().filter(|(_, body)| other(body)).count();
    Ok((count > 0).then(|| {
        format!(
            "{count} versions of other data sets at {}: forget the users with their jobs, too",
            depot.url()
        )
    }))
}
