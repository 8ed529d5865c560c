//! From merged values to typed settings, with every check that can be made before a file is opened.
//!
//! **Invariant:** all faults are found together; settings that leave here contradict neither each other
//! nor what the verb needs.

use crate::failure::Failure;
use crate::job::merge::{Faults, Merged, Origin};
use crate::job::settings::{
    Evaluate, Input, Io, Location, Model, ModelKind, ModelTime, OnBadRow, Output, Preset,
    Recommend, Run, Settings, Simd, Solver, Split, Workers,
};
use crate::memory;
use model::sgd::{Loss, Optimizer};
use std::path::Path;
use tensor::{ByteSize, Duplicates, TimeBin};

/// The smallest `--memory`.
pub const MEMORY_MIN: ByteSize = ByteSize(256 << 20);

/// The most workers that one process embeds.
const EMBEDDED_MAX: u32 = 256;

/// What a verb cannot do without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// `[input]`.
    pub input: bool,
    /// `output.data`.
    pub data: bool,
    /// `output.model`.
    pub model: bool,
    /// A test part.
    pub test: bool,
    /// `output.recommend.file`.
    pub recommend: bool,
}

/// Makes settings, or says all that is wrong.
pub fn settings(merged: &Merged, needs: Needs, mut faults: Faults) -> Result<Settings, Failure> {
    let input = input(merged, needs, &mut faults);
    let split = split(merged, needs, &mut faults);
    let model = model(merged, &mut faults);
    let output = output(merged, needs, &mut faults);
    apart(merged, &input, &split, &output, &mut faults);
    let evaluate = evaluate(merged);
    let run = run(merged, &mut faults);
    faults.into_result()?;
    Ok(Settings {
        input,
        split,
        model,
        output,
        evaluate,
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
        .map(|text| location(merged, path, text, faults))
        .collect()
}

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
        missing(merged, "input.user", "the column of user ids", faults);
        missing(merged, "input.product", "the column of product ids", faults);
    }
    let roles = ["input.user", "input.product", "input.time", "input.value"];
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
    let value = merged.text("input.value").map(str::to_owned);
    if value.is_some() && merged.text("input.duplicates") == Some("count") {
        let sentence = "`input.value` is not read where duplicates are counted: choose `duplicates` = \"sum\", \"max\" \
                        or \"last\", or remove the column";
        faults.push(merged.origin("input.value"), sentence);
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
        value,
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

/// Settings of solving, and those of descent.
const OF_ALS: &[&str] = &[
    "model.preset",
    "model.nu",
    "model.alpha",
    "model.alpha0",
    "model.epsilon",
    "model.center",
    "model.hold_time",
    "model.solver",
    "model.cg_steps",
];
const OF_SGD: &[&str] = &[
    "model.loss",
    "model.negatives",
    "model.noise_power",
    "model.optimizer",
    "model.rate",
    "model.decay",
    "model.biases",
];

/// Refuses the keys of another algorithm, and what this one cannot do with time.
fn kind(merged: &Merged, faults: &mut Faults) -> ModelKind {
    let kind = word(
        merged,
        "model.kind",
        &[
            ("als", ModelKind::Als),
            ("sgd", ModelKind::Sgd),
            ("line", ModelKind::Line),
        ],
    );
    let (others, of) = match kind {
        ModelKind::Als => (OF_SGD, "of descent (\"sgd\", \"line\")"),
        ModelKind::Sgd | ModelKind::Line => (OF_ALS, "of \"als\""),
    };
    let fixed = ["model.loss", "model.biases"].map(|path| (path, "of \"sgd\""));
    let fixed = if kind == ModelKind::Line {
        &fixed[..]
    } else {
        &[]
    };
    let others = others.iter().map(|path| (*path, of));
    for (path, of) in others.chain(fixed.iter().copied()) {
        if merged.is_given(path) {
            let sentence = format!(
                "`{path}` is a key {of}: the kind is \"{}\", remove the key",
                kind.name()
            );
            faults.push(merged.origin(path), sentence);
        }
    }
    if kind != ModelKind::Als && merged.text("model.time") == Some("factor") {
        let sentence = format!(
            "`model.time` = \"factor\" is not known with the kind \"{}\": use \"ignore\", or \"als\"",
            kind.name()
        );
        faults.push(merged.origin("model.time"), sentence);
    }
    kind
}

fn model(merged: &Merged, faults: &mut Faults) -> Model {
    let kind = kind(merged, faults);
    let time = word(
        merged,
        "model.time",
        &[("ignore", ModelTime::Ignore), ("factor", ModelTime::Factor)],
    );
    let preset = word(
        merged,
        "model.preset",
        &[
            ("hu", Preset::Hu),
            ("explicit", Preset::Explicit),
            ("rendle", Preset::Rendle),
        ],
    );
    let name = merged.text("model.preset").unwrap_or_default();
    let mut only_for = |path: &str, fits: bool, of: &str| {
        if kind == ModelKind::Als && merged.is_given(path) && !fits {
            let sentence =
                format!("`{path}` is for {of}: the preset is \"{name}\", remove the key");
            faults.push(merged.origin(path), sentence);
        }
    };
    only_for("model.alpha", preset == Preset::Hu, "the preset \"hu\"");
    only_for(
        "model.center",
        preset == Preset::Explicit,
        "the preset \"explicit\"",
    );
    only_for("model.epsilon", preset == Preset::Hu, "the preset \"hu\"");
    only_for(
        "model.alpha0",
        preset != Preset::Explicit,
        "the presets \"hu\" and \"rendle\"",
    );
    if merged.is_given("model.alpha") && merged.real("model.alpha") == Some(0.0) {
        faults.push(
            merged.origin("model.alpha"),
            "`model.alpha` = 0 gives every interaction the weight 0",
        );
    }
    if preset == Preset::Explicit && names_input(merged) && merged.text("input.value").is_none() {
        let sentence =
            "`model.preset` = \"explicit\" fits values: name their column with `input.value`";
        faults.push(merged.origin("model.preset"), sentence);
    }
    let fits_values = merged.text("model.loss") == Some("squared")
        && merged.count("model.negatives").unwrap_or(0) == 0;
    if kind == ModelKind::Sgd
        && fits_values
        && names_input(merged)
        && merged.text("input.value").is_none()
    {
        let sentence = "`model.loss` = \"squared\" fits values: name their column with `input.value`, or draw `negatives`";
        faults.push(merged.origin("model.loss"), sentence);
    }
    if time == ModelTime::Factor && names_input(merged) && !has_bins(merged) {
        let sentence = "`model.time` = \"factor\" needs bins of time: name a column with `input.time` and a `time_bin`";
        faults.push(merged.origin("model.time"), sentence);
    }
    if merged.flag("model.hold_time") && time == ModelTime::Ignore {
        let sentence = "`model.hold_time` needs factors of time: set `model.time` = \"factor\"";
        faults.push(merged.origin("model.hold_time"), sentence);
    }
    let solver = word(
        merged,
        "model.solver",
        &[
            ("cholesky", Solver::Cholesky),
            ("auto", Solver::Auto),
            ("dual", Solver::Dual),
            ("cg", Solver::Cg),
            ("subspace", Solver::Subspace),
        ],
    );
    let takes_steps = matches!(solver, Solver::Auto | Solver::Cg);
    if merged.is_given("model.cg_steps") && !takes_steps {
        let sentence = "`model.cg_steps` is for the solvers \"cg\" and \"auto\": choose one, or remove the key";
        faults.push(merged.origin("model.cg_steps"), sentence);
    }
    let real = |path: &str| merged.real(path).unwrap_or_default();
    Model {
        kind,
        time,
        preset,
        rank: merged.count("model.rank").unwrap_or_default() as u32,
        epochs: merged.count("model.epochs").unwrap_or_default() as u32,
        regularization: merged.real("model.regularization").unwrap_or(match kind {
            ModelKind::Als => 0.003,
            ModelKind::Sgd | ModelKind::Line => 0.03,
        }),
        nu: real("model.nu"),
        alpha: real("model.alpha"),
        alpha0: merged.real("model.alpha0"),
        epsilon: merged.real("model.epsilon"),
        init: real("model.init"),
        seed: merged.count("model.seed").unwrap_or_default(),
        tolerance: real("model.tolerance"),
        center: merged.flag("model.center"),
        hold_time: merged.flag("model.hold_time"),
        solver,
        cg_steps: merged.count("model.cg_steps").unwrap_or_default() as u32,
        loss: if kind == ModelKind::Line {
            Loss::Line
        } else {
            word(
                merged,
                "model.loss",
                &[
                    ("logistic", Loss::Logistic),
                    ("squared", Loss::Squared),
                    ("bernoulli-poisson", Loss::BernoulliPoisson),
                    ("poisson", Loss::Poisson),
                    ("bpr", Loss::Bpr),
                ],
            )
        },
        negatives: merged.count("model.negatives").map(|count| count as u32),
        noise_power: merged.real("model.noise_power"),
        optimizer: word(
            merged,
            "model.optimizer",
            &[("adagrad", Optimizer::Adagrad), ("sgd", Optimizer::Sgd)],
        ),
        rate: real("model.rate"),
        decay: real("model.decay"),
        biases: merged.flag("model.biases"),
    }
}

fn output(merged: &Merged, needs: Needs, faults: &mut Faults) -> Output {
    for (path, needed, what) in [
        ("output.data", needs.data, "the place of the data set"),
        ("output.model", needs.model, "the place of the model"),
        (
            "output.recommend.file",
            needs.recommend,
            "the Parquet file to write",
        ),
    ] {
        if needed {
            missing(merged, path, what, faults);
        }
    }
    let mut place = |path: &str| {
        merged
            .text(path)
            .map(|text| location(merged, path, text, faults))
    };
    let (data, model) = (place("output.data"), place("output.model"));
    let file = place("output.recommend.file").and_then(|file| match file {
        Location::Path(path) => Some(path),
        Location::Url(url) => {
            let sentence = format!(
                "`output.recommend.file`: {url} is a URL: recommendations go to a local file"
            );
            faults.push(merged.origin("output.recommend.file"), sentence);
            None
        }
    });
    Output {
        data,
        model,
        recommend: Recommend {
            top: merged.count("output.recommend.top").unwrap_or_default() as u32,
            file,
            exclude_seen: merged.text("output.recommend.seen") != Some("include"),
        },
    }
}

/// What is written must not lie in what is read, nor in one another.
fn apart(merged: &Merged, input: &Input, split: &Split, output: &Output, faults: &mut Faults) {
    let (validation, test): (&[Location], &[Location]) = match split {
        Split::Given { validation, test } => (validation, test),
        _ => (&[], &[]),
    };
    let read: Vec<&Path> = input
        .files
        .iter()
        .chain(validation)
        .chain(test)
        .filter_map(Location::as_path)
        .collect();
    let recommend = output.recommend.file.clone().map(Location::Path);
    let written = [
        ("output.data", output.data.as_ref()),
        ("output.model", output.model.as_ref()),
        ("output.recommend.file", recommend.as_ref()),
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

fn evaluate(merged: &Merged) -> Evaluate {
    let mut k: Vec<u32> = merged
        .counts("evaluate.k")
        .iter()
        .map(|k| *k as u32)
        .collect();
    k.sort_unstable();
    k.dedup();
    Evaluate {
        k,
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
        trace: local("run.trace", faults),
        log: merged.text("run.log").unwrap_or("warn").to_owned(),
    }
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
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!(
            "workers have no scheme `{scheme}`: give a number, HOST:PORT,... or dns://SERVICE:PORT"
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

fn host_and_port(address: &str) -> Result<(&str, u16), String> {
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
mod tests {
    use super::*;
    use crate::failure::Text;
    use crate::job::document::Document;
    use crate::job::merge::Given;

    const ALL: Needs = Needs {
        input: true,
        data: true,
        model: true,
        test: false,
        recommend: false,
    };
    const GOOD: &str = "[input]\nfiles = \"a.parquet\"\nuser = \"u\"\nproduct = \"p\"\ntime = \"t\"\n\
                        [output]\ndata = \"out/data\"\nmodel = \"out/model\"\n";

    fn load(content: &str) -> Result<Settings, Failure> {
        let document = Document::parse(Text {
            name: "j".into(),
            content: content.into(),
        });
        let mut faults = Faults::default();
        let merged = Merged::new(Some(document), &Given::default(), &mut faults);
        settings(&merged, ALL, faults)
    }

    fn check(content: &str, expected: &str) {
        let failure = load(content).expect_err(content);
        assert_eq!(failure.message(), expected, "{content}");
    }

    #[test]
    fn a_good_job_passes_with_its_defaults() {
        let settings = load(GOOD).unwrap();
        assert_eq!(settings.model.rank, 64);
        assert_eq!(settings.input.time_bin, TimeBin::Week);
        assert_eq!(settings.evaluate.k, [10, 20, 50]);
        assert_eq!(settings.run.workers, Workers::Embedded(1));
        assert_eq!(settings.split, Split::None);
    }

    #[test]
    fn contradictions_are_found() {
        check(
            &GOOD
                .replace("time = \"t\"\n", "")
                .replace("[output]", "[split]\ntest_bins = 2\n[output]"),
            "j:6:13: `split.test_bins` needs bins of time: name a column with `input.time` and a `time_bin`",
        );
        check(
            &format!("{GOOD}[split]\ntest_bins = 2\ntest_fraction = 0.1\n"),
            "j:11:17: `split.test_fraction` and `split.test_bins` split in two ways: keep the keys of one",
        );
        check(
            &GOOD.replace("product = \"p\"", "product = \"u\""),
            "j:4:11: `input.product` and `input.user` both name the column `u`: one column has one role",
        );
        check(
            &GOOD.replace("out/model", "out/data/model"),
            "j:8:9: `output.model` out/data/model and `output.data` lie in one another: give them places apart",
        );
        check(
            &GOOD.replace("a.parquet", "out"),
            "j:7:8: `output.data` out/data lies in the input out, or holds it: give it another place; \
             j:8:9: `output.model` out/model lies in the input out, or holds it: give it another place",
        );
        check(
            &format!("{GOOD}[model]\npreset = \"explicit\"\nalpha = 2\n"),
            "j:11:9: `model.alpha` is for the preset \"hu\": the preset is \"explicit\", remove the key; \
             j:10:10: `model.preset` = \"explicit\" fits values: name their column with `input.value`",
        );
        check(
            &format!("{GOOD}[run]\nmemory = \"100MiB\"\n"),
            "j:10:10: `run.memory` 100 MiB is too small: at least 256 MiB are needed",
        );
        check(
            "",
            "`input.files` is missing: give the Parquet files to read; `input.user` is missing: give the column of \
             user ids; `input.product` is missing: give the column of product ids; `output.data` is missing: give the \
             place of the data set; `output.model` is missing: give the place of the model",
        );
    }

    #[test]
    fn every_kind_has_its_own_keys() {
        check(
            &format!("{GOOD}[model]\nkind = \"sgd\"\nalpha = 2\n"),
            "j:11:9: `model.alpha` is a key of \"als\": the kind is \"sgd\", remove the key",
        );
        check(
            &format!("{GOOD}[model]\nrate = 2\n"),
            "j:10:8: `model.rate` is a key of descent (\"sgd\", \"line\"): the kind is \"als\", remove the key",
        );
        check(
            &format!("{GOOD}[model]\nkind = \"line\"\nloss = \"bpr\"\ntime = \"factor\"\n"),
            "j:11:8: `model.loss` is a key of \"sgd\": the kind is \"line\", remove the key; \
             j:12:8: `model.time` = \"factor\" is not known with the kind \"line\": use \"ignore\", or \"als\"",
        );
        check(
            &format!("{GOOD}[model]\nkind = \"sgd\"\nloss = \"squared\"\n"),
            "j:11:8: `model.loss` = \"squared\" fits values: name their column with `input.value`, or draw `negatives`",
        );
        let settings = load(&format!("{GOOD}[model]\nkind = \"line\"\nrate = 0.5\n")).unwrap();
        assert_eq!(
            (settings.model.loss, settings.model.rate),
            (Loss::Line, 0.5)
        );
    }

    #[test]
    fn workers_are_read() {
        assert_eq!(workers("3"), Ok(Workers::Embedded(3)));
        assert_eq!(
            workers("a:1, [::1]:2"),
            Ok(Workers::Addresses(vec!["a:1".into(), "[::1]:2".into()]))
        );
        assert_eq!(
            workers("dns://w.svc:7"),
            Ok(Workers::Dns {
                service: "w.svc".into(),
                port: 7
            })
        );
        for wrong in [
            "0",
            "-1",
            "host",
            "host:",
            ":7",
            "host:0",
            "host:99999",
            "::1:7",
            "a:1,a:1",
            "http://a:1",
            "a b:1",
        ] {
            assert!(workers(wrong).is_err(), "{wrong}");
        }
    }
}
