//! What a user can get wrong in a job and on the command line, each with the sentence and the exit code that answer it.
//!
//! A case is a row of a table: the job file, the arguments, the code, the message of `--json`. `{dir}` in a
//! message stands for the directory in which the case runs. What is wrong with files, rows, workers and depots is in
//! `bad_data.rs`.

use std::fs;
use std::path::Path;
use std::process::Output;
use tests::process::{coordinator, output_of};

/// A job that is right; cases change it.
const GOOD: &str = r#"[input]
files = ["in/a.parquet"]
user = "u"
product = "p"
time = "t"
[output]
data = "out/data"
model = "out/model"
"#;

struct Case {
    /// The job file; empty: there is none.
    job: String,
    arguments: &'static str,
    code: i32,
    message: &'static str,
}

fn of_arguments(arguments: &'static str, code: i32, message: &'static str) -> Case {
    Case {
        job: GOOD.to_owned(),
        arguments,
        code,
        message,
    }
}

/// `config` reads and checks a job, and needs nothing of it.
fn of_job(job: impl Into<String>, message: &'static str) -> Case {
    Case {
        job: job.into(),
        arguments: "config job.toml",
        code: 78,
        message,
    }
}

fn plus(more: &str) -> String {
    format!("{GOOD}{more}")
}

fn cases() -> Vec<Case> {
    let mut cases = of_the_command_line();
    cases.extend(of_addresses_and_budgets());
    cases.extend(of_keys());
    cases.extend(of_contradictions());
    cases.extend(of_needs());
    cases
}

fn of_the_command_line() -> Vec<Case> {
    vec![
        of_arguments(
            "",
            64,
            "no verb is given: `coordinator --help` lists them, `demo` is a start",
        ),
        of_arguments(
            "rum job.toml",
            64,
            "unrecognized subcommand 'rum': a similar subcommand exists: 'run'; `coordinator --help` explains the \
             command line",
        ),
        of_arguments(
            "run",
            64,
            "the following required arguments were not provided: <JOB.toml>; `coordinator --help` explains the \
             command line",
        ),
        of_arguments(
            "run job.toml --wokers 2",
            64,
            "unexpected argument '--wokers' found: a similar argument exists: '--workers'; `coordinator --help` \
             explains the command line",
        ),
        of_arguments(
            "run absent.toml",
            64,
            "there is no job file absent.toml: give the path of a TOML file",
        ),
        of_arguments("run .", 64, ". is a directory, not a job file"),
        of_arguments(
            "config --set model.rank",
            64,
            "--set model.rank has no `=`: write --set SECTION.KEY=VALUE",
        ),
        of_arguments(
            "config --set rank=3",
            64,
            "--set rank: there is no setting `rank`: did you mean `model.rank`?",
        ),
        of_arguments(
            "config --set model.rank=0",
            64,
            "--set model.rank must be a whole number from 1 to 512, not 0",
        ),
        of_arguments(
            "config --threads 0",
            64,
            "--threads must be a whole number from 1 to 4096, not 0",
        ),
        of_arguments(
            "config --io map",
            64,
            "--io must be \"mmap\" or \"pread\", not \"map\": did you mean \"mmap\"?",
        ),
        of_arguments(
            "config --simd neon",
            64,
            "--simd must be \"auto\", \"avx512\", \"avx2\" or \"portable\", not \"neon\"",
        ),
    ]
}

fn of_addresses_and_budgets() -> Vec<Case> {
    vec![
        of_arguments(
            "config --workers 0",
            78,
            "--workers: 0 workers cannot be embedded: give a number from 1 to 256",
        ),
        of_arguments(
            "config --workers localhost",
            78,
            "--workers: `localhost` is no address of a worker: it has no port; write HOST:PORT, as in 10.0.0.7:7070",
        ),
        of_arguments(
            "config --workers localhost:99999",
            78,
            "--workers: `localhost:99999` is no address of a worker: the port is a number from 1 to 65535; write \
             HOST:PORT, as in 10.0.0.7:7070",
        ),
        of_arguments(
            "config --workers ::1:7070",
            78,
            "--workers: `::1:7070` is no address of a worker: an IPv6 address stands in brackets; write HOST:PORT, as \
             in 10.0.0.7:7070",
        ),
        of_arguments(
            "config --workers http://a:1",
            78,
            "--workers: workers have no scheme `http`: give a number, HOST:PORT,..., dns://SERVICE:PORT or file:///PATH",
        ),
        of_arguments(
            "config --workers a:1,a:1",
            78,
            "--workers: the worker a:1 is named twice",
        ),
        of_arguments(
            "config --workers a:1 --threads 2",
            78,
            "--threads: threads are those of embedded workers: daemons get theirs from `worker --threads`",
        ),
        of_arguments(
            "config --memory lots",
            64,
            "--memory must be a size such as 256MiB or 8GiB, not lots",
        ),
        of_arguments(
            "config --memory 100MiB",
            78,
            "--memory: `run.memory` 100 MiB is too small: at least 256 MiB are needed",
        ),
        of_job(
            plus("[run]\nmemory = \"64MiB\"\n"),
            "job.toml:10:10: `run.memory` 64 MiB is too small: at least 256 MiB are needed",
        ),
    ]
}

fn of_keys() -> Vec<Case> {
    vec![
        of_job(
            plus("[model]\nrnak = 8\n"),
            "job.toml:10:1: unknown key `rnak` in [model]: did you mean `rank`?",
        ),
        of_job(
            plus("[modle]\nrank = 8\n"),
            "job.toml:9:2: unknown section `modle`: did you mean `[model]`?",
        ),
        of_job(
            plus("[split]\nrank = 8\n"),
            "job.toml:10:1: unknown key `rank` in [split]: did you mean `model.rank`?",
        ),
        of_job(
            plus("recommend = { topp = 3 }\n"),
            "job.toml:9:15: unknown key `topp` in [output.recommend]: did you mean `top`?",
        ),
        of_job(
            plus("[model]\nrank = 513\nepochs = \"ten\"\n"),
            "job.toml:10:8: `model.rank` must be a whole number from 1 to 512, not 513; job.toml:11:10: \
             `model.epochs` must be a whole number from 0 to 100000, not \"ten\"",
        ),
        of_job(
            plus("[model]\nregularization = -1\n"),
            "job.toml:10:18: `model.regularization` must be a number, 0 or more, not -1.0",
        ),
        of_job(
            plus("[model]\nkind = \"ucmf\"\nregularization = 0.1\ncotraining = 2\n"),
            "job.toml:11:18: `model.regularization` is a key of \"als\", descent, \"lightgcn\" and \"gcn\": the kind is \"ucmf\", \
             remove the key; job.toml:12:14: `model.cotraining` weighs labels, and there are none: name an attribute with \
             `model.user_label` or `model.product_label`, or remove the key",
        ),
        of_job(
            plus("[model]\nkind = \"ucmf\"\ntemperature = 0\nproduct_label = \"department\"\n"),
            "job.toml:11:15: `model.temperature` must be a number from 0.001 to 1000, not 0.0; job.toml:12:17: `model.product_label` \
             needs attributes of products: name their files with `input.product_attributes.files`, or remove the key",
        ),
        of_job(
            plus(
                "[model]\nkind = \"ucmf\"\nuser_label_check = \"income\"\n[input.user_attributes]\nfiles = [\"h.parquet\"]\ncolumns = [\"age\"]\n",
            ),
            "job.toml:11:20: `model.user_label_check` is \"income\", which `input.user_attributes.columns` does not take: add it \
             there, or give one of its columns; job.toml:11:20: `model.user_label_check` is for what a classifier makes of \
             others: name what it is taught with `model.user_label`, or remove the key",
        ),
        of_job(
            plus("[model]\nuser_label = \"income\"\n"),
            "job.toml:10:14: `model.user_label` is a key of \"ucmf\" and \"popularity\": the kind is \"als\", remove the key; job.toml:10:14: \
             `model.user_label` needs attributes of users: name their files with `input.user_attributes.files`, or remove the key",
        ),
        of_job(
            plus("[model]\npreset = \"hue\"\n"),
            "job.toml:10:10: `model.preset` must be \"explicit\", \"hu\", \"rendle\" or \"full\", not \"hue\": did \
             you mean \"hu\"?",
        ),
        of_job(
            "model = 3\n",
            "job.toml:1:9: `model` is a section: write `[model]` above its keys",
        ),
    ]
}

fn of_contradictions() -> Vec<Case> {
    let mut cases = of_attributes();
    cases.extend(of_edges());
    cases.extend(of_splits_and_models());
    cases
}

fn of_attributes() -> Vec<Case> {
    vec![
        of_job(
            plus("[input.user_attributes]\nid = \"u\"\n"),
            "job.toml:10:6: `input.user_attributes.id` needs tables of attributes: name their files with \
             `input.user_attributes.files`, or remove the key",
        ),
        of_job(
            plus(
                "[input.product_attributes]\nfiles = \"x.parquet\"\ncolumns = [\"p\", \"size\"]\n",
            ),
            "job.toml:11:11: `input.product_attributes.columns` names the column `p`, which holds the ids: remove it",
        ),
        of_job(
            plus(
                "[input.product_attributes]\nfiles = \"x.parquet\"\ncolumns = [\"size\"]\n\
                 categorical = [\"shop\"]\n",
            ),
            "job.toml:12:15: `input.product_attributes.categorical` names the column `shop`, which \
             `input.product_attributes.columns` does not take: add it there, or remove it here",
        ),
        of_job(
            plus("[model]\nuser_attribute_weight = 2.0\n"),
            "job.toml:10:25: `model.user_attribute_weight` needs attributes of users: name their files with \
             `input.user_attributes.files`, or remove the weight",
        ),
        of_job(
            plus("[model]\nattribute_regularization = 0.1\n"),
            "job.toml:10:28: `model.attribute_regularization` is for attributes: give `user_attribute_weight`, \
             `product_attribute_weight` or `linear_attributes`, or remove the key",
        ),
        of_job(
            plus("[model]\nbiases = true\nlinear_attributes = true\n"),
            "job.toml:11:21: `model.linear_attributes` needs attributes: name their files with \
             `input.user_attributes.files` or `input.product_attributes.files`, or remove the key",
        ),
        of_job(
            plus(
                "[input.product_attributes]\nfiles = \"x.parquet\"\n[model]\nlinear_attributes = true\n",
            ),
            "job.toml:12:21: `model.linear_attributes` adds what attributes come to to the biases: set `model.biases`, or \
             remove the key",
        ),
        of_job(
            plus(
                "[input.product_attributes]\nfiles = \"x.parquet\"\n[model]\nbiases = true\nregularization = 0.0\n\
                 linear_attributes = true\n",
            ),
            "job.toml:14:21: `model.linear_attributes` needs `model.regularization` above 0: it is what holds a bias to the \
             terms of its row",
        ),
        of_job(
            plus("[model]\nkind = \"sgd\"\nproduct_attribute_weight = 0.1\n"),
            "job.toml:11:28: `model.product_attribute_weight` is a key of \"als\": the kind is \"sgd\", remove the key",
        ),
    ]
}

fn of_edges() -> Vec<Case> {
    vec![
        of_job(
            plus("[input.user_edges]\ndirected = true\n"),
            "job.toml:10:12: `input.user_edges.directed` needs lists of edges: name their files with `input.user_edges.files`, or \
             remove the key",
        ),
        of_job(
            plus("[model]\nkind = \"lightgcn\"\nproduct_edge_weight = 0.5\n"),
            "job.toml:11:23: `model.product_edge_weight` needs edges between products: name their files with \
             `input.product_edges.files`, or remove the key",
        ),
        of_job(
            plus(
                "[input.user_edges]\nfiles = \"x.parquet\"\n[model]\nkind = \"line\"\nuser_edge_weight = 1.0\n",
            ),
            "job.toml:13:20: `model.user_edge_weight` is a key of \"als\", \"spectral\", \"lightgcn\" and \"gcn\": the kind is \"line\", remove the \
             key",
        ),
        of_job(
            plus("[model]\nkind = \"gcn\"\nepochs = 0\n"),
            "job.toml:11:10: `model.epochs` is 0: give 1 or more; 0 is for the kind \"gcn\" with `initial_weights` and `features` = \
             \"attributes\"",
        ),
        of_job(
            plus(
                "[model]\nkind = \"gcn\"\nfeatures = \"attributes\"\ninitial_users = \"u.parquet\"\n",
            ),
            "job.toml:12:17: `model.initial_users` gives rows that are learnt, which `features` = \"attributes\" has none of: use \
             \"both\" or \"embeddings\", or remove the key",
        ),
    ]
}

fn of_splits_and_models() -> Vec<Case> {
    vec![
        of_job(
            GOOD.replace("time = \"t\"", "time_bin = \"day\""),
            "job.toml:5:12: `input.time_bin` needs a column of times: name it with `input.time`, or remove the bin",
        ),
        of_job(
            GOOD.replace("time = \"t\"", "[split]\ntest_bins = 2"),
            "job.toml:6:13: `split.test_bins` needs bins of time: name a column with `input.time` and a `time_bin`",
        ),
        of_job(
            plus("[split]\ntest_bins = 2\ntest_fraction = 0.1\n"),
            "job.toml:11:17: `split.test_fraction` and `split.test_bins` split in two ways: keep the keys of one",
        ),
        of_job(
            plus("[split]\nvalidation_fraction = 0.6\ntest_fraction = 0.6\n"),
            "job.toml:10:23: `validation_fraction` 0.6 and `test_fraction` 0.6 leave too little to train on: together \
             they may be 0.9",
        ),
        of_job(
            plus("[model]\npatience = 3\n"),
            "job.toml:10:12: `model.patience` compares epochs on the validation part, and there is none: give [split] \
             `validation_bins`, `validation_fraction` or `validation_files`",
        ),
        of_job(
            plus("[split]\nvalidation_fraction = 0.1\n[model]\nstop_metric = \"ndcg@20\"\n"),
            "job.toml:12:15: `model.stop_metric` compares epochs, which `model.patience` asks for: give it 1 or more, or \
             remove the key",
        ),
        of_job(
            plus(
                "[split]\nvalidation_fraction = 0.1\n[model]\npatience = 3\nstop_metric = \"auc\"\n",
            ),
            "job.toml:13:15: `model.stop_metric`: \"auc\" is no metric: write `recall@K`, `ndcg@K`, `map@K` or \
             `precision@K` with K from 1 to 1000 (of new products; with `all_products ` before it, of all), or `rmse` or \
             `mae`",
        ),
        of_job(
            plus(
                "[split]\nvalidation_fraction = 0.1\n[model]\npatience = 3\nstop_metric = \"rmse\"\n",
            ),
            "job.toml:13:15: `model.stop_metric` = \"rmse\" cannot be measured of a model that ranks products: use \
             `ndcg@20` or another measure of lists",
        ),
        of_job(
            GOOD.replace("product = \"p\"", "product = \"u\""),
            "job.toml:4:11: `input.product` and `input.user` both name the column `u`: one column has one role",
        ),
        of_job(
            GOOD.replace("time = \"t\"", "value = \"v\""),
            "job.toml:5:9: `input.value` is not read where duplicates are counted: choose `duplicates` = \"sum\", \
             \"max\" or \"last\", or remove the column",
        ),
        of_job(
            plus("[model]\npreset = \"explicit\"\n"),
            "job.toml:10:10: `model.preset` = \"explicit\" fits values: name their column with `input.value`",
        ),
        of_job(
            GOOD.replace("time = \"t\"", "context_cycle = \"day-of-week\""),
            "job.toml:5:17: `input.context_cycle` needs moments of time: name a column with `input.time` and a `time_bin`, or \
             remove the cycle",
        ),
        of_job(
            GOOD.replace(
                "time = \"t\"",
                "time = \"t\"\ncontext = \"s\"\ncontext_cycle = \"day-of-week\"",
            ),
            "job.toml:7:17: `input.context_cycle` and `input.context` name contexts in two ways: keep one of the keys",
        ),
        of_job(
            plus("[model]\ncontext = \"factor\"\n"),
            "job.toml:10:11: `model.context` = \"factor\" needs contexts: name their column with `input.context`, or take a \
             `context_cycle`",
        ),
        of_job(
            format!(
                "{}[model]\nkind = \"sgd\"\ncontext = \"factor\"\n",
                GOOD.replace("time = \"t\"", "context = \"s\"")
            ),
            "job.toml:11:11: `model.context` = \"factor\" is not known with the kind \"sgd\": use \"ignore\", or \"als\"",
        ),
        of_job(
            plus("[model]\ninitial_time = \"x.parquet\"\n"),
            "job.toml:10:16: `model.initial_time` is for factors that are trained: set `model.time` = \"factor\" without \
             `hold_time`, or remove the key",
        ),
        of_job(
            format!(
                "{}[model]\ncontext = \"factor\"\nhold_context = true\ninitial_contexts = \"x.parquet\"\n",
                GOOD.replace("time = \"t\"", "context = \"s\"")
            ),
            "job.toml:12:20: `model.initial_contexts` is for factors that are trained: set `model.context` = \"factor\" without \
             `hold_context`, or remove the key",
        ),
        of_job(
            plus("[model]\nhold_context = true\n[output.recommend]\ncontext = \"s\"\n"),
            "job.toml:10:16: `model.hold_context` is for contexts with factors: set `model.context` = \"factor\", or remove the \
             key; job.toml:12:11: `output.recommend.context` is for contexts with factors: set `model.context` = \"factor\", or \
             remove the key",
        ),
        of_job(
            GOOD.replace("time = \"t\"", "event = \"e\""),
            "job.toml:5:9: `input.event` needs what each event counts: name them in [input.event_weights]",
        ),
        of_job(
            plus("[input.event_weights]\nview = 0.1\n"),
            "job.toml:9:1: `input.event_weights` needs the column of events: name it with `input.event`",
        ),
        of_job(
            GOOD.replace(
                "time = \"t\"",
                "event = \"e\"\nevent_weights = { view = -1 }",
            ),
            "job.toml:6:17: `input.event_weights` must be names with numbers above 0, as in { view = 0.1, cart = 0.5 }, \
             not { \"view\" = -1.0 }; job.toml:5:9: `input.event` needs what each event counts: name them in \
             [input.event_weights]",
        ),
        of_job(
            GOOD.replace("time = \"t\"", "negative = \"net\""),
            "job.toml:5:12: `input.negative` = \"net\" adds values up: name their column with `input.value` and set \
             `duplicates` = \"sum\"",
        ),
        of_job(
            plus("[model]\npower = 0.5\nepsilon = 1\n"),
            "job.toml:10:9: `model.power` and `model.epsilon` scale weights in two ways: keep one of the keys",
        ),
        of_job(
            plus("[model]\npreset = \"rendle\"\nalpha = 2\n"),
            "job.toml:11:9: `model.alpha` is for the preset \"hu\": the preset is \"rendle\", remove the key",
        ),
        of_job(
            plus("[model]\nforecast = \"drift\"\n"),
            "job.toml:10:12: `model.forecast` is of factors of time, and a matrix has none: set `model.time` = \"factor\", \
             or remove the key",
        ),
        of_job(
            plus("[model]\ntime = \"factor\"\nforecast = \"seasonal\"\n"),
            "job.toml:11:12: `model.forecast` = \"seasonal\" needs to know after how many bins the seasons come again: give \
             `model.period`",
        ),
        of_job(
            plus("[model]\ntime = \"factor\"\nperiod = 4\n"),
            "job.toml:11:10: `model.period` is for the forecast \"seasonal\": set `model.forecast`, or remove the key",
        ),
        of_job(
            plus("[output.recommend]\nbins_ahead = 4\n"),
            "job.toml:10:14: `output.recommend.bins_ahead` is for the forecasts \"drift\" and \"seasonal\": set \
             `model.forecast`, or remove the key",
        ),
        of_job(
            plus("[model]\ntime = \"factor\"\ntime_smoothing = 10\nnon_negative = true\n"),
            "job.toml:11:18: `model.time_smoothing` solves all bins together, which `non_negative` factors cannot be: \
             remove one of the keys",
        ),
        of_job(
            plus("[model]\ntime_smoothing = 10\n"),
            "job.toml:10:18: `model.time_smoothing` needs factors of time that are trained: set `model.time` = \
             \"factor\" without `hold_time`, or remove the key",
        ),
        of_job(
            plus("[model]\nnon_negative = true\nsolver = \"cg\"\n"),
            "job.toml:11:10: `model.solver` must be \"cholesky\" with `non_negative`, which descends on the exact \
             equations of a row: remove one of the keys",
        ),
        of_job(
            plus("[model]\nkind = \"sgd\"\nnon_negative = true\n"),
            "job.toml:11:16: `model.non_negative` is a key of \"als\": the kind is \"sgd\", remove the key",
        ),
        of_job(
            plus("[model]\npreset = \"full\"\nalpha0 = 2\n"),
            "job.toml:11:10: `model.alpha0` is for the presets \"hu\" and \"rendle\": the preset is \"full\", remove the \
             key",
        ),
        of_job(
            plus("[model]\npreset = \"full\"\nsolver = \"auto\"\n"),
            "job.toml:11:10: `model.solver` must be \"cholesky\" with the preset \"full\": there the interactions of a \
             row add no matrix of their own that another solver could spare; remove the key",
        ),
        of_job(
            GOOD.replace("time = \"t\"", "[model]\ntime = \"factor\""),
            "job.toml:6:8: `model.time` = \"factor\" needs bins of time: name a column with `input.time` and a \
             `time_bin`",
        ),
        of_job(
            GOOD.replace("time = \"t\"", "[model]\ntime = \"decay\"\nhalf_life = 4"),
            "job.toml:6:8: `model.time` = \"decay\" needs bins of time: name a column with `input.time` and a `time_bin`",
        ),
        of_job(
            plus("[model]\ntime = \"decay\"\n"),
            "job.toml:10:8: `model.time` = \"decay\" needs a `half_life`: the age, in bins, at which an interaction counts \
             half",
        ),
        of_job(
            plus("[model]\nhalf_life = 4\n"),
            "job.toml:10:13: `model.half_life` is for `model.time` = \"decay\": set it, or remove the key",
        ),
        of_job(
            plus("[model]\nkind = \"line\"\ntime = \"decay\"\n"),
            "job.toml:11:8: `model.time` = \"decay\" is not known with the kind \"line\": use \"ignore\", or \"als\"; \
             job.toml:11:8: `model.time` = \"decay\" needs a `half_life`: the age, in bins, at which an interaction counts \
             half",
        ),
        of_job(
            GOOD.replace("out/model", "out/data/model"),
            "job.toml:8:9: `output.model` {dir}/out/data/model and `output.data` lie in one another: give them places \
             apart",
        ),
        of_job(
            GOOD.replace("in/a.parquet", "out/data"),
            "job.toml:7:8: `output.data` {dir}/out/data lies in the input {dir}/out/data, or holds it: give it another \
             place",
        ),
        of_job(
            GOOD.replace("out/data", "ftp://host/data"),
            "job.toml:7:8: `output.data`: ftp://host/data has the scheme `ftp`: known are file, s3, gs and az",
        ),
        of_job(
            plus("recommend = { file = \"s3://bucket/r.parquet\" }\n"),
            "job.toml:9:22: `output.recommend.file`: s3://bucket/r.parquet is a URL: give a local path",
        ),
    ]
}

fn of_needs() -> Vec<Case> {
    let of = |job: &str, arguments, message| Case {
        job: job.to_owned(),
        arguments,
        code: 78,
        message,
    };
    let mut cases = of_searches();
    cases.extend([
        of(
            "[model]\nrank = 8\n",
            "ingest job.toml",
            "`input.files` is missing: give the Parquet files to read; `input.user` is missing: give the column of \
             user ids; `input.product` is missing: give the column of product ids; `output.data` is missing: give the \
             place of the data set",
        ),
        of(
            GOOD,
            "recommend job.toml",
            "`output.recommend.file` is missing: give the Parquet file to write",
        ),
        of(
            GOOD,
            "evaluate job.toml",
            "nothing is held out for the test: give [split] `test_bins`, `test_fraction` or `test_files`",
        ),
    ]);
    cases
}

fn of_searches() -> Vec<Case> {
    let split = "[split]\nvalidation_fraction = 0.1\n";
    let tune = |job: String, message| Case {
        job,
        arguments: "tune job.toml",
        code: 78,
        message,
    };
    vec![
        tune(
            plus(split),
            "`tune.search` is missing: give the keys of [model] to search, as `[tune.search]` with `rank = [32, 64]`",
        ),
        tune(
            plus("[tune.search]\nrank = [8, 16]\n"),
            "trials are compared on the validation part, and there is none: give [split] `validation_bins`, \
             `validation_fraction` or `validation_files`",
        ),
        tune(
            plus(&format!("{split}[tune.search]\nrate = [0.1]\n")),
            "rate = 0.1: `model.rate` is a key of descent (\"sgd\", \"line\"), \"lightgcn\", \"gcn\" and \"ucmf\": the kind is \"als\", remove the key",
        ),
        tune(
            plus(&format!(
                "{split}[tune]\nmetric = \"rmse\"\n[tune.search]\nrank = [8]\n"
            )),
            "job.toml:12:10: `tune.metric` = \"rmse\" cannot be measured of a model that ranks products: use `ndcg@20` \
             or another measure of lists",
        ),
        of_job(
            plus("[tune.search]\nrnak = [8, 16]\n"),
            "job.toml:9:1: `tune.search` names `rnak`, which is no key of [model]: did you mean `rank`?",
        ),
        of_job(
            plus("[tune]\nsearch = { rank = 8 }\n"),
            "job.toml:10:10: `tune.search` must give `rank` a list, as `rank = [1, 2]`, or a range, as `rank = { from = \
             1, to = 10, scale = \"log\" }` (\"linear\" is the other scale)",
        ),
        of_job(
            plus("[tune.search]\nnu = { from = 1, to = 0.5 }\n"),
            "job.toml:9:1: `tune.search` gives `model.nu` from 1 to 0.5: a range rises, and with scale = \"log\" begins \
             above 0",
        ),
    ]
}

fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    output_of(
        coordinator()
            .current_dir(directory)
            .args(arguments)
            .envs(environment.iter().copied()),
    )
}

/// The message and the code in the object on stdout.
fn failure(output: &Output) -> (String, i64) {
    let text = String::from_utf8_lossy(&output.stdout);
    let object: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let message = object["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (
        message,
        object["error"]["exit_code"].as_i64().unwrap_or_default(),
    )
}

#[test]
fn every_mistake_has_its_sentence_and_its_code() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 25);
    for case in &cases {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().canonicalize().unwrap();
        fs::write(directory.join("job.toml"), &case.job).unwrap();
        let mut arguments: Vec<&str> = case.arguments.split_whitespace().collect();
        arguments.push("--json");
        let output = run(&directory, &arguments, &[]);
        let (message, code) = failure(&output);
        let message = message.replace(&*directory.to_string_lossy(), "{dir}");
        if (message.as_str(), code, output.status.code())
            != (case.message, i64::from(case.code), Some(case.code))
        {
            wrong.push(format!(
                "{}\n  found    {code} {message}\n  expected {} {}",
                case.arguments, case.code, case.message
            ));
        }
        let left = fs::read_dir(&directory).unwrap().count();
        assert_eq!(left, 1, "{}: something was left behind", case.arguments);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_environment_is_checked_like_the_rest() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, value, expected) in [
        (
            "STRATA_MEMROY",
            "1GiB",
            "STRATA_MEMROY in the environment sets nothing: did you mean STRATA_MEMORY?",
        ),
        (
            "STRATA_MODEL_RANK",
            "many",
            "STRATA_MODEL_RANK must be a whole number from 1 to 512, not many",
        ),
    ] {
        let output = run(scratch.path(), &["config", "--json"], &[(name, value)]);
        assert_eq!(failure(&output), (expected.to_owned(), 78));
    }
}

#[test]
fn files_that_are_no_jobs_are_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("bytes.toml"), [0xff, 0xfe, 0x00]).unwrap();
    let output = run(scratch.path(), &["run", "bytes.toml", "--json"], &[]);
    assert_eq!(
        failure(&output),
        ("the job file bytes.toml is not UTF-8 text".to_owned(), 78)
    );

    fs::write(scratch.path().join("broken.toml"), "[input\n").unwrap();
    let output = run(scratch.path(), &["run", "broken.toml", "--json"], &[]);
    let (message, code) = failure(&output);
    assert!(
        message.starts_with("broken.toml:1:7: this is not TOML"),
        "{message}"
    );
    assert_eq!(code, 78);
}

#[test]
fn people_see_the_line_and_a_caret() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("job.toml"), "[model]\nrnak = 8\n").unwrap();
    let output = run(scratch.path(), &["config", "job.toml"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty());
    let shown = String::from_utf8_lossy(&output.stderr);
    for part in [
        "job.toml:2:1: unknown key `rnak` in [model]: did you mean `rank`?",
        "rnak = 8",
        "^^^^",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn the_later_layer_wins_and_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(
        scratch.path().join("job.toml"),
        "[model]\nrank = 8\nepochs = 3\nnu = 0.5\n",
    )
    .unwrap();
    let arguments = ["--json", "--set", "model.epochs=5", "config", "job.toml"];
    let output = run(
        scratch.path(),
        &arguments,
        &[("STRATA_MODEL_EPOCHS", "4"), ("STRATA_MODEL_NU", "0.25")],
    );
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (object["verb"].as_str(), object["error"].as_str()),
        (Some("config"), None)
    );
    let setting = |key: &str| {
        let settings = object["settings"].as_array().unwrap();
        let setting = settings
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap();
        (
            setting["value"].to_string(),
            setting["origin"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(setting("model.rank"), ("8".into(), "job.toml:2".into()));
    assert_eq!(
        setting("model.nu"),
        ("0.25".into(), "STRATA_MODEL_NU".into())
    );
    assert_eq!(
        setting("model.epochs"),
        ("5".into(), "--set model.epochs".into())
    );
    assert_eq!(setting("model.alpha"), ("0.5".into(), "default".into()));
}
