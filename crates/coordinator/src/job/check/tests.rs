//! Jobs that pass with their defaults, and those whose contradictions are found together.

use super::*;
use crate::failure::Text;
use crate::job::document::Document;
use crate::job::merge::Given;
use ::model::graph::Normalization;
use ::model::graph::lightgcn::HeadName;
use ::model::sgd::Loss;

const ALL: Needs = Needs {
    input: true,
    columns: true,
    data: true,
    model: true,
    test: false,
    recommend: false,
    similar: false,
    export: false,
    churn: false,
    cold: false,
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
        &format!("{GOOD}[model]\nkind = \"sgd\"\ntime = \"factor\"\n"),
        "j:11:8: `model.time` = \"factor\" is known with the loss \"squared\" without `negatives` alone, where the kind is \"sgd\": \
         fit values, use \"ignore\", or \"als\"",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"sgd\"\nalpha = 2\n"),
        "j:11:9: `model.alpha` is a key of \"als\": the kind is \"sgd\", remove the key",
    );
    check(
        &format!("{GOOD}[model]\nrate = 2\n"),
        "j:10:8: `model.rate` is a key of descent (\"sgd\", \"line\"), \"lightgcn\", \"gcn\" and \"ucmf\": the kind is \"als\", remove the key",
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
    check(
        &format!(
            "{GOOD}[model]\nkind = \"spectral\"\nregularization = 0.1\nbiases = true\ntime = \"factor\"\n"
        ),
        "j:11:18: `model.regularization` is a key of \"als\", descent, \"lightgcn\" and \"gcn\": the kind is \"spectral\", remove the key; \
         j:12:10: `model.biases` is a key of \"als\" and \"sgd\": the kind is \"spectral\", remove the key; \
         j:13:8: `model.time` = \"factor\" is not known with the kind \"spectral\": use \"ignore\", or \"als\"",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"spectral\"\nrank = 500\noversampling = 20\n"),
        "j:12:16: `model.oversampling` is 20: with the rank 500 give at most 12",
    );
    check(
        &format!("{GOOD}[model]\nwalk_length = 3\n"),
        "j:10:15: `model.walk_length` is a key of \"spectral\": the kind is \"als\", remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"filter\"\nwalk_length = 3\ninit = 0.1\n"),
        "j:12:8: `model.init` is a key of \"als\", descent, \"lightgcn\", \"gcn\" and \"ucmf\": the kind is \"filter\", remove the key; \
         j:11:15: `model.walk_length` is a key of \"spectral\": the kind is \"filter\", remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"filter\"\nfilter_weight = 0\nfilter_linear = false\n"),
        "j:11:17: `model.filter_weight` is 0 and `model.filter_linear` is off: nothing is left to score by, change one of them",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"filter\"\nfilter_linear = false\ndistill = 8\n"),
        "j:12:11: `model.distill` makes plain factors of the filter, which `filter_linear` = false has anyway: remove one of the keys",
    );
    let near = |more: &str, sentence: &str| {
        let job = format!("{GOOD}[model]\nkind = \"filter\"\nfilter_nearest = 20\n{more}\n");
        let sentence =
            format!("j:11:18: `model.filter_nearest` {sentence}: remove one of the keys");
        check(&job, &sentence);
    };
    near(
        "filter_linear = false",
        "keeps the nearest products of the linear part, and `filter_linear` is off",
    );
    near(
        "distill = 8",
        "keeps the nearest products of the linear part, and `distill` makes plain factors of the whole filter",
    );
    near(
        "edges = \"values\"",
        "counts users who have both of two products, and `edges` is \"values\"",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"filter\"\nfilter_shrinkage = 2\n"),
        "j:11:20: `model.filter_shrinkage` is of the nearest products: set `model.filter_nearest`, 100 for a start, or remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"filter\"\ndistill = 500\noversampling = 20\n"),
        "j:12:16: `model.oversampling` is 20: with the rank 500 give at most 12",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"spectral\"\nfilter_weight = 0.2\n"),
        "j:11:17: `model.filter_weight` is a key of \"filter\": the kind is \"spectral\", remove the key",
    );
    check(
        &format!(
            "{GOOD}[model]\nkind = \"lightgcn\"\nloss = \"poisson\"\nnegatives = 2\nwalk_length = 3\n"
        ),
        "j:13:15: `model.walk_length` is a key of \"spectral\": the kind is \"lightgcn\", remove the key; \
         j:11:8: `model.loss` = \"poisson\" is not known with the kind \"lightgcn\": use \"all-pairs\", \"bpr\", \"logistic\" or \"squared\"; \
         j:12:13: `model.negatives` is for the losses \"logistic\" and \"squared\": choose one, or remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"spectral\"\nnegatives = 2\n"),
        "j:11:13: `model.negatives` is a key of descent (\"sgd\", \"line\"), \"lightgcn\", \"gcn\" and \"ucmf\": the kind is \"spectral\", remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"gcn\"\nloss = \"bpr\"\nnoise_power = 0.75\n"),
        "j:12:15: `model.noise_power` is for the losses \"logistic\" and \"squared\": choose one, or remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"lightgcn\"\nloss = \"bpr\"\nalpha0 = 0.1\n"),
        "j:12:10: `model.alpha0` is for the loss \"all-pairs\": choose it, or remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"sgd\"\nloss = \"all-pairs\"\nlayers = 3\n"),
        "j:12:10: `model.layers` is a key of \"lightgcn\" and \"gcn\": the kind is \"sgd\", remove the key; \
         j:11:8: `model.loss` = \"all-pairs\" is not known with the kind \"sgd\": use one of descent",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"gcn\"\ndropout = 0.3\n"),
        "j:11:11: `model.dropout` is between layers, and there is one: give `layers` 2 or more, or remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"spectral\"\nself_loops = true\n"),
        "j:11:14: `model.self_loops` is a key of \"lightgcn\" and \"gcn\": the kind is \"spectral\", remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"lightgcn\"\nactivation = \"relu\"\n"),
        "j:11:14: `model.activation` is a key of \"gcn\": the kind is \"lightgcn\", remove the key",
    );
    check(
        &format!("{GOOD}[model]\nkind = \"gcn\"\nlayers = 0\nloss = \"squared\"\n"),
        "j:12:8: `model.loss` = \"squared\" fits values: name their column with `input.value`, or draw `negatives`; \
         j:11:10: `model.layers` is 0: a graph convolution has 1 to 4, use \"lightgcn\" or \"als\" for factors without layers",
    );
    let model = load(&format!("{GOOD}[model]\nkind = \"lightgcn\"\n"))
        .unwrap()
        .model;
    assert_eq!(
        (model.head, model.normalization, model.rate),
        (HeadName::AllPairs, Normalization::Symmetric, None)
    );
    let settings = load(&format!("{GOOD}[model]\nkind = \"line\"\nrate = 0.5\n")).unwrap();
    assert_eq!(
        (settings.model.loss, settings.model.rate),
        (Loss::Line, Some(0.5))
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
    assert_eq!(
        workers("file:///shared/hosts"),
        Ok(Workers::File("/shared/hosts".into()))
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
        "file://hosts",
        "a b:1",
    ] {
        assert!(workers(wrong).is_err(), "{wrong}");
    }
}
