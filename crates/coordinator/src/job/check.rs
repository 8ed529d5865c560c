//! From merged values to typed settings, with every check that can be made before a file is opened.
//!
//! **Invariant:** all faults are found together; settings that leave here contradict neither each other
//! nor what the verb needs.

mod attributes;
mod edges;
mod generate;
mod labels;
mod lists;
mod model;
mod places;
mod segments;
pub(crate) mod stopping;

use crate::failure::Failure;
use crate::job::merge::{Faults, Merged, Origin};
use crate::job::settings::{
    Cold, Context, Evaluate, Export, ExportFormat, Input, Io, Location, Machines, Model, ModelKind,
    OnBadRow, Output, Recommend, Run, Settings, Simd, Similar, SimilarIndex, Split, Update,
    Workers,
};
use crate::memory;
use std::path::Path;
use std::path::PathBuf;
use tables::{Bound, TimeRange};
use tensor::{ByteSize, Cycle, Duplicates, Mode, TimeBin};
use worker::resident;

/// The smallest `--memory`.
pub const MEMORY_MIN: ByteSize = ByteSize(256 << 20);

/// The most workers that one process embeds.
const EMBEDDED_MAX: u32 = 256;

/// What a verb cannot do without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// `[input]`.
    pub input: bool,
    /// The columns of `[input]`, without its files.
    pub columns: bool,
    /// `output.data`.
    pub data: bool,
    /// `output.model`.
    pub model: bool,
    /// A test part.
    pub test: bool,
    /// `output.recommend.file`, or the folder.
    pub recommend: bool,
    /// `output.similar.file`, or ids.
    pub similar: bool,
    /// `output.export.folder`.
    pub export: bool,
    /// Later bins to judge churn by.
    pub churn: bool,
    /// A model that newcomers can be folded into.
    pub cold: bool,
}

/// Makes settings, or says all that is wrong.
pub fn settings(merged: &Merged, needs: Needs, mut faults: Faults) -> Result<Settings, Failure> {
    let input = input(merged, needs, &mut faults);
    let split = split(merged, needs, &mut faults);
    let mut model = model::model(merged, &mut faults);
    model.stopping = stopping::stopping(merged, &split, model.fits_values(), &mut faults);
    let output = output(merged, needs, &mut faults);
    places::apart(merged, (&input, &split, &model), &output, &mut faults);
    if needs.churn || output.churn.file.is_some() {
        segments::judged(merged, &output.churn, &split, &mut faults);
    }
    let evaluate = evaluate(merged);
    let cold = cold(merged, needs, &model, &mut faults);
    let generate = generate::generate(merged, &mut faults);
    let update = Update {
        files: locations(merged, "update.files", &mut faults),
        deltas_max: merged.count("update.deltas_max").unwrap_or(8) as u32,
        compact: merged.flag("update.compact"),
        epochs: u32::try_from(merged.count("update.epochs").unwrap_or(0)).unwrap_or(u32::MAX),
        fold_in: merged.flag("update.fold_in"),
    };
    if update.fold_in && update.epochs > 0 {
        let sentence = "`update.fold_in` is true and `update.epochs` above 0: an epoch folds users in already, leave one of them away";
        faults.push(merged.origin("update.fold_in"), sentence.to_owned());
    }
    let run = run(merged, &mut faults);
    faults.into_result()?;
    Ok(Settings {
        input,
        split,
        model,
        output,
        evaluate,
        cold,
        generate,
        update,
        plan: Machines {
            workers: merged.count("plan.workers").map(|count| count as u32),
            network: merged.size("plan.network").unwrap_or(ByteSize(1)),
            disk: merged.size("plan.disk").unwrap_or(ByteSize(1)),
        },
        run,
    })
}

/// A value of the registry's choice; the registry has checked the word.
fn word<T: Copy>(merged: &Merged, path: &str, words: &[(&str, T)]) -> T {
    let given = merged.text(path).unwrap_or_default();
    let found = words.iter().find(|(name, _)| *name == given);
    found.unwrap_or(&words[0]).1
}

fn locations(merged: &Merged, path: &str, faults: &mut Faults) -> Vec<Location> {
    let texts = merged.texts(path).iter();
    texts
        .map(|text| readable(merged, path, text, faults))
        .collect()
}

/// Where something is read alone: an object under a URL, or rows in the memory of this process or of a worker's.
fn readable(merged: &Merged, path: &str, text: &str, faults: &mut Faults) -> Location {
    let location = Location::new(text, merged.base(path));
    let held = resident::find(text).is_some() || resident::holder(text).is_some();
    if let Some(scheme) = location.scheme()
        && !["s3", "gs", "az", "https", "http"].contains(&scheme)
        && !held
    {
        let sentence = format!(
            "`{path}`: {text} has the scheme `{scheme}`: known are file, s3, gs, az, https and http"
        );
        faults.push(merged.origin(path), sentence);
    }
    location
}

/// Where something is written.
fn location(merged: &Merged, path: &str, text: &str, faults: &mut Faults) -> Location {
    let location = Location::new(text, merged.base(path));
    if let Some(scheme) = location.scheme()
        && !["s3", "gs", "az"].contains(&scheme)
    {
        let sentence =
            format!("`{path}`: {text} has the scheme `{scheme}`: known are file, s3, gs and az");
        faults.push(merged.origin(path), sentence);
    }
    location
}

fn missing(merged: &Merged, path: &str, what: &str, faults: &mut Faults) {
    if merged.entry(path).value.is_none() {
        faults.push(
            &Origin::Default,
            format!("`{path}` is missing: give {what}"),
        );
    }
}

fn input(merged: &Merged, needs: Needs, faults: &mut Faults) -> Input {
    if needs.input {
        missing(merged, "input.files", "the Parquet files to read", faults);
    }
    if needs.input || needs.columns {
        missing(merged, "input.user", "the column of user ids", faults);
        missing(merged, "input.product", "the column of product ids", faults);
    }
    let roles = [
        "input.user",
        "input.product",
        "input.time",
        "input.context",
        "input.value",
        "input.event",
    ];
    for (index, role) in roles.iter().enumerate() {
        let column = merged.text(role);
        if let Some(first) = roles[..index]
            .iter()
            .find(|first| column.is_some() && merged.text(first) == column)
        {
            let column = column.unwrap_or_default();
            let sentence = format!(
                "`{role}` and `{first}` both name the column `{column}`: one column has one role"
            );
            faults.push(merged.origin(role), sentence);
        }
    }
    let time = merged.text("input.time").map(str::to_owned);
    if time.is_none()
        && merged.is_given("input.time_bin")
        && merged.text("input.time_bin") != Some("none")
    {
        let sentence = "`input.time_bin` needs a column of times: name it with `input.time`, or remove the bin";
        faults.push(merged.origin("input.time_bin"), sentence);
    }
    let context = context(merged, faults);
    let range = range(merged, faults);
    let value = merged.text("input.value").map(str::to_owned);
    if value.is_some() && merged.text("input.duplicates") == Some("count") {
        let sentence = "`input.value` is not read where duplicates are counted: choose `duplicates` = \"sum\", \"max\" \
                        or \"last\", or remove the column";
        faults.push(merged.origin("input.value"), sentence);
    }
    let event = event(merged, faults);
    let nets = merged.text("input.negative") == Some("net");
    let sums = merged.text("input.duplicates") == Some("sum");
    if nets && !(value.is_some() && sums) {
        let sentence = "`input.negative` = \"net\" adds values up: name their column with `input.value` and set `duplicates` = \
                        \"sum\"";
        faults.push(merged.origin("input.negative"), sentence);
    }
    Input {
        files: locations(merged, "input.files", faults),
        user: merged.text("input.user").unwrap_or_default().to_owned(),
        product: merged.text("input.product").unwrap_or_default().to_owned(),
        time_bin: if time.is_none() {
            TimeBin::None
        } else {
            time_bin(merged)
        },
        time,
        range,
        context,
        value,
        event,
        nets,
        duplicates: word(
            merged,
            "input.duplicates",
            &[
                ("count", Duplicates::Count),
                ("sum", Duplicates::Sum),
                ("max", Duplicates::Max),
                ("last", Duplicates::Last),
            ],
        ),
        on_bad_row: word(
            merged,
            "input.on_bad_row",
            &[("reject", OnBadRow::Reject), ("skip", OnBadRow::Skip)],
        ),
        user_attributes: attributes::tables(merged, "user", faults),
        product_attributes: attributes::tables(merged, "product", faults),
        user_edges: edges::lists(merged, "user", faults),
        product_edges: edges::lists(merged, "product", faults),
    }
}

/// The times that are wanted: days, or numbers.
fn range(merged: &Merged, faults: &mut Faults) -> TimeRange {
    let mut bound = |path: &str| {
        let text = merged.text(path)?;
        if names_input(merged) && merged.text("input.time").is_none() {
            let sentence = format!(
                "`{path}` needs a column of times: name it with `input.time`, or remove the key"
            );
            faults.push(merged.origin(path), sentence);
        }
        let bound = Bound::of(text);
        if bound.is_none() {
            let sentence =
                format!("`{path}` \"{text}\" is no time: write a day as YYYY-MM-DD, or an integer");
            faults.push(merged.origin(path), sentence);
        }
        bound
    };
    let range = TimeRange {
        from: bound("input.from"),
        until: bound("input.until"),
    };
    match (range.from, range.until) {
        (Some(Bound::Day(_)), Some(Bound::Number(_)))
        | (Some(Bound::Number(_)), Some(Bound::Day(_))) => {
            let sentence =
                "`input.from` and `input.until` are a day and a number: give both in one way";
            faults.push(merged.origin("input.until"), sentence);
        }
        (Some(from), Some(until)) if from >= until => {
            let sentence = format!(
                "nothing lies from {from} until {until}: `input.until` must be later, and is the first that is left out"
            );
            faults.push(merged.origin("input.until"), sentence);
        }
        _ => {}
    }
    range
}

/// A column of contexts, or a cycle of the times.
fn context(merged: &Merged, faults: &mut Faults) -> Option<Context> {
    let column = merged.text("input.context").map(str::to_owned);
    let cycle = word(
        merged,
        "input.context_cycle",
        &[
            ("none", None),
            ("hour-of-day", Some(Cycle::HourOfDay)),
            ("day-of-week", Some(Cycle::DayOfWeek)),
            ("month-of-year", Some(Cycle::MonthOfYear)),
        ],
    );
    if cycle.is_some() && column.is_some() {
        let sentence = "`input.context_cycle` and `input.context` name contexts in two ways: keep one of the keys";
        faults.push(merged.origin("input.context_cycle"), sentence);
    }
    if cycle.is_some() && names_input(merged) && !has_bins(merged) {
        let sentence = "`input.context_cycle` needs moments of time: name a column with `input.time` and a `time_bin`, or \
                        remove the cycle";
        faults.push(merged.origin("input.context_cycle"), sentence);
    }
    cycle.map(Context::Cycle).or(column.map(Context::Column))
}

/// The column of events with their weights: neither is anything without the other.
fn event(merged: &Merged, faults: &mut Faults) -> Option<(String, Vec<(String, f64)>)> {
    match (
        merged.text("input.event"),
        merged.weights("input.event_weights"),
    ) {
        (Some(column), Some(weights)) => {
            let weights = weights.iter().map(|(name, weight)| (name.clone(), *weight));
            Some((column.to_owned(), weights.collect()))
        }
        (None, None) => None,
        (Some(_), None) => {
            let sentence =
                "`input.event` needs what each event counts: name them in [input.event_weights]";
            faults.push(merged.origin("input.event"), sentence);
            None
        }
        (None, Some(_)) => {
            let sentence =
                "`input.event_weights` needs the column of events: name it with `input.event`";
            faults.push(merged.origin("input.event_weights"), sentence);
            None
        }
    }
}

fn time_bin(merged: &Merged) -> TimeBin {
    word(
        merged,
        "input.time_bin",
        &[
            ("week", TimeBin::Week),
            ("hour", TimeBin::Hour),
            ("day", TimeBin::Day),
            ("month", TimeBin::Month),
            ("quarter", TimeBin::Quarter),
            ("none", TimeBin::None),
        ],
    )
}

/// Whether the job names input, so that a missing `input.time` means that there is no time.
fn names_input(merged: &Merged) -> bool {
    merged.is_given("input.files") || merged.is_given("input.user")
}

fn has_bins(merged: &Merged) -> bool {
    merged.text("input.time").is_some() && merged.text("input.time_bin") != Some("none")
}

fn split(merged: &Merged, needs: Needs, faults: &mut Faults) -> Split {
    let given = |kind: &str| {
        let paths = [
            format!("split.validation_{kind}"),
            format!("split.test_{kind}"),
        ];
        paths.into_iter().find(|path| merged.is_given(path))
    };
    let kinds: Vec<String> = ["bins", "fraction", "files"]
        .iter()
        .filter_map(|kind| given(kind))
        .collect();
    if let [first, second, ..] = &kinds[..] {
        let sentence = format!("`{second}` and `{first}` split in two ways: keep the keys of one");
        faults.push(merged.origin(second), sentence);
    }
    if merged.is_given("split.seed") && given("fraction").is_none() {
        let sentence =
            "`split.seed` belongs to a split by hash: give `test_fraction`, or remove the seed";
        faults.push(merged.origin("split.seed"), sentence);
    }
    let split = if let Some(path) = given("bins") {
        let bins = |path: &str| merged.count(path).unwrap_or(0) as u32;
        if names_input(merged) && !has_bins(merged) {
            let sentence = format!(
                "`{path}` needs bins of time: name a column with `input.time` and a `time_bin`"
            );
            faults.push(merged.origin(&path), sentence);
        }
        Split::Bins {
            validation: bins("split.validation_bins"),
            test: bins("split.test_bins"),
        }
    } else if let Some(path) = given("fraction") {
        let share = |path: &str| merged.real(path).unwrap_or(0.0);
        let (validation, test) = (
            share("split.validation_fraction"),
            share("split.test_fraction"),
        );
        if validation + test > 0.9 {
            let sentence = format!(
                "`validation_fraction` {validation} and `test_fraction` {test} leave too little to train on: \
                 together they may be 0.9"
            );
            faults.push(merged.origin(&path), sentence);
        }
        Split::Hash {
            validation,
            test,
            seed: merged.count("split.seed").unwrap_or(0),
        }
    } else if given("files").is_some() {
        Split::Given {
            validation: locations(merged, "split.validation_files", faults),
            test: locations(merged, "split.test_files", faults),
        }
    } else {
        Split::None
    };
    if needs.test && !split.has_test() && kinds.is_empty() {
        let sentence = "nothing is held out for the test: give [split] `test_bins`, `test_fraction` or `test_files`";
        faults.push(&Origin::Default, sentence);
    }
    split
}

fn output(merged: &Merged, needs: Needs, faults: &mut Faults) -> Output {
    for (path, needed, what) in [
        ("output.data", needs.data, "the place of the data set"),
        ("output.model", needs.model, "the place of the model"),
        (
            "output.recommend.file",
            needs.recommend && merged.text("output.recommend.folder").is_none(),
            "the Parquet file to write",
        ),
        (
            "output.export.folder",
            needs.export,
            "the folder of files to write",
        ),
    ] {
        if needed {
            missing(merged, path, what, faults);
        }
    }
    let place = |path: &str, faults: &mut Faults| {
        let text = merged.text(path)?;
        Some(location(merged, path, text, faults))
    };
    let [data, model] = ["output.data", "output.model"].map(|path| place(path, faults));
    let local = [
        "output.recommend.file",
        "output.similar.file",
        "output.export.folder",
        "output.report.file",
        "output.segments.file",
        "output.influencers.file",
        "output.recommend.explanations",
        "output.rising.file",
        "output.churn.file",
        "output.recommend.folder",
    ];
    let [
        recommended,
        similar,
        folder,
        report,
        segments,
        influencers,
        explanations,
        rises,
        churn,
        parts,
    ] = local.map(|path| match place(path, faults)? {
        Location::Path(path) => Some(path),
        Location::Url(url) => {
            let sentence = format!("`{path}`: {url} is a URL: give a local path");
            faults.push(merged.origin(path), sentence);
            None
        }
    });
    if recommended.is_some() && parts.is_some() {
        let sentence = "`output.recommend.file` and `output.recommend.folder` are both given: lists go into one of them";
        faults.push(merged.origin("output.recommend.folder"), sentence);
    }
    if needs.similar && similar.is_none() && merged.texts("output.similar.ids").is_empty() {
        let sentence = "nothing says where lists of what is alike go: give [output.similar] a `file`, or `ids` to be shown";
        faults.push(&Origin::Default, sentence);
    }
    Output {
        data,
        model,
        recommend: Recommend {
            top: merged.count("output.recommend.top").unwrap_or_default() as u32,
            bins_ahead: merged
                .count("output.recommend.bins_ahead")
                .unwrap_or_default() as u32,
            file: recommended,
            folder: parts,
            date: lists::date(merged, faults),
            context: merged.text("output.recommend.context").map(str::to_owned),
            exclude_seen: merged.text("output.recommend.seen") != Some("include"),
            explanations,
            reasons: merged.count("output.recommend.reasons").unwrap_or_default() as u32,
            users: merged.texts("output.recommend.users").to_vec(),
        },
        rules: lists::rules(merged, faults),
        rising: lists::rising(merged, rises),
        similar: Similar {
            of: match merged.text("output.similar.of") {
                Some("user") => Mode::User,
                _ => Mode::Product,
            },
            top: merged.count("output.similar.top").unwrap_or_default() as u32,
            file: similar,
            ids: merged.texts("output.similar.ids").to_vec(),
            index: match merged.text("output.similar.index") {
                Some("exact") => SimilarIndex::Exact,
                Some("index") => SimilarIndex::Index,
                _ => SimilarIndex::Auto,
            },
            recall: merged.real("output.similar.recall").unwrap_or(1.0),
        },
        export: Export {
            folder,
            format: match merged.text("output.export.format") {
                Some("arrow") => ExportFormat::Arrow,
                Some("npy") => ExportFormat::Npy,
                _ => ExportFormat::Parquet,
            },
        },
        report,
        segments: segments::segments(merged, segments),
        influencers: segments::influencers(merged, influencers),
        churn: segments::churn(merged, churn),
    }
}

/// Counts, ascending, each once.
fn ascending(merged: &Merged, path: &str) -> Vec<u32> {
    let counts = merged.counts(path).iter();
    let mut counts: Vec<u32> = counts.map(|&count| count as u32).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

fn cold(merged: &Merged, needs: Needs, model: &Model, faults: &mut Faults) -> Cold {
    let share = |path: &str| merged.real(path).unwrap_or_default();
    let cold = Cold {
        users: share("cold.users"),
        products: share("cold.products"),
        history: ascending(merged, "cold.history"),
        most: merged.count("cold.most").unwrap_or_default(),
        k: merged.count("cold.k").unwrap_or_default() as u32,
        seed: merged.count("cold.seed").unwrap_or_default(),
    };
    if !needs.cold {
        return cold;
    }
    if model.kind != ModelKind::Als || model.fits_values() {
        let sentence = "newcomers are compared in lists of a model of the kind \"als\" that ranks: set `model.kind` to \"als\" and `model.preset` \
                        to \"hu\", \"rendle\" or \"full\"";
        faults.push(merged.origin("model.kind"), sentence);
    }
    if cold.users == 0.0 && cold.products == 0.0 {
        let sentence = "`cold.users` and `cold.products` are 0, so nobody is held out: give one of them a share";
        faults.push(merged.origin("cold.users"), sentence);
    }
    if merged.count("evaluate.replicates").unwrap_or_default() < 2 {
        let sentence = "`cold` compares by intervals: set `evaluate.replicates` to 2 or more";
        faults.push(merged.origin("evaluate.replicates"), sentence);
    }
    cold
}

fn evaluate(merged: &Merged) -> Evaluate {
    Evaluate {
        k: ascending(merged, "evaluate.k"),
        replicates: merged.count("evaluate.replicates").unwrap_or_default() as u32,
    }
}

fn run(merged: &Merged, faults: &mut Faults) -> Run {
    let workers = workers(merged.text("run.workers").unwrap_or_default()).unwrap_or_else(|wrong| {
        faults.push(merged.origin("run.workers"), wrong);
        Workers::Embedded(1)
    });
    let embedded = matches!(workers, Workers::Embedded(_));
    if let Origin::Flag(_) = merged.origin("run.threads")
        && !embedded
    {
        let sentence =
            "threads are those of embedded workers: daemons get theirs from `worker --threads`";
        faults.push(merged.origin("run.threads"), sentence);
    }
    let memory = merged
        .size("run.memory")
        .unwrap_or_else(memory::default_budget);
    if memory < MEMORY_MIN {
        let sentence =
            format!("`run.memory` {memory} is too small: at least {MEMORY_MIN} are needed");
        faults.push(merged.origin("run.memory"), sentence);
    }
    let local = |path: &str, faults: &mut Faults| {
        let location = Location::new(merged.text(path)?, merged.base(path));
        if let Location::Url(url) = &location {
            faults.push(
                merged.origin(path),
                format!("`{path}`: {url} is a URL: give a local path"),
            );
        }
        location.as_path().map(Path::to_path_buf)
    };
    Run {
        workers,
        memory,
        threads: merged.count("run.threads").map(|threads| threads as u32),
        io: word(
            merged,
            "run.io",
            &[("mmap", Io::Mmap), ("pread", Io::Pread)],
        ),
        simd: word(
            merged,
            "run.simd",
            &[
                ("auto", Simd::Auto),
                ("avx512", Simd::Avx512),
                ("avx2", Simd::Avx2),
                ("portable", Simd::Portable),
            ],
        ),
        scratch: local("run.scratch", faults),
        checkpoint_epochs: merged.count("run.checkpoint_epochs").unwrap_or(1) as u32,
        checkpoint_percent: merged.count("run.checkpoint_percent").unwrap_or(5) as u32,
        ingest_checkpoint_seconds: merged.real("run.ingest_checkpoint_seconds").unwrap_or(60.0),
        verify_fraction: merged.real("run.verify_fraction").unwrap_or_default(),
        slow_factor: merged.count("run.slow_factor").unwrap_or(3),
        trace: local("run.trace", faults),
        trace_endpoint: endpoint(merged, faults),
        http: merged.text("run.http").map(str::to_owned),
        tls: local("run.tls", faults),
        log: merged.text("run.log").unwrap_or("warn").to_owned(),
    }
}

/// The URL of a collector.
fn endpoint(merged: &Merged, faults: &mut Faults) -> Option<String> {
    let url = merged.text("run.trace_endpoint")?;
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    if rest.is_none_or(str::is_empty) {
        let sentence = format!(
            "`run.trace_endpoint` {url} is no URL of a collector: give one as http://localhost:4318"
        );
        faults.push(merged.origin("run.trace_endpoint"), sentence);
    }
    Some(url.to_owned())
}

/// Reads `--workers`.
pub fn workers(text: &str) -> Result<Workers, String> {
    let text = text.trim();
    if let Ok(count) = text.parse::<i64>() {
        return match u32::try_from(count) {
            Ok(count @ 1..=EMBEDDED_MAX) => Ok(Workers::Embedded(count)),
            _ => Err(format!(
                "{count} workers cannot be embedded: give a number from 1 to {EMBEDDED_MAX}"
            )),
        };
    }
    if let Some(service) = text.strip_prefix("dns://") {
        let (service, port) = host_and_port(service)?;
        return Ok(Workers::Dns {
            service: service.to_owned(),
            port,
        });
    }
    if let Some(path) = text.strip_prefix("file://") {
        if !path.starts_with('/') {
            return Err(format!(
                "`{text}` is no path from the root: write file:///PATH"
            ));
        }
        return Ok(Workers::File(PathBuf::from(path)));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!(
            "workers have no scheme `{scheme}`: give a number, HOST:PORT,..., dns://SERVICE:PORT or file:///PATH"
        ));
    }
    let mut addresses: Vec<String> = Vec::new();
    for address in text.split(',').map(str::trim) {
        host_and_port(address)?;
        if addresses.iter().any(|earlier| earlier == address) {
            return Err(format!("the worker {address} is named twice"));
        }
        addresses.push(address.to_owned());
    }
    Ok(Workers::Addresses(addresses))
}

/// The parts of HOST:PORT.
pub fn host_and_port(address: &str) -> Result<(&str, u16), String> {
    let wrong = |why: &str| {
        format!(
            "`{address}` is no address of a worker: {why}; write HOST:PORT, as in 10.0.0.7:7070"
        )
    };
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| wrong("it has no port"))?;
    if host.is_empty() {
        return Err(wrong("it has no host"));
    }
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err(wrong("an IPv6 address stands in brackets"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !bracketed && !host.chars().all(plain) {
        return Err(wrong("the host has letters, digits, `-`, `_` and `.` only"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, port)),
        _ => Err(wrong("the port is a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests;
