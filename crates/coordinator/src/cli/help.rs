//! The texts of `--help`.

/// The first paragraph.
pub const ABOUT: &str = "Factorizes purchases (users x products x time) that fit neither in memory nor on one machine, \
and says how good the result is.";

/// What `--json` does.
pub const JSON: &str = "Print one JSON object on stdout and nothing but errors on stderr";

/// What stands below the flags.
pub const AFTER: &str = "\
Start here:
  coordinator demo                              the bundled purchases, from Parquet to recommendations
  coordinator plan job.toml                     memory, disk and time that a job would take
  coordinator run job.toml                      all of it; after a kill the same command goes on where it was
  coordinator --workers 4 run job.toml          four workers inside this process
  coordinator --workers a:7070,b:7070 run job.toml
                                                daemons, started by `worker --listen ADDR --data DIR`
  coordinator generate shop                     purchases to try things on, with a job
  coordinator config job.toml                   every setting and where it came from
  coordinator config --describe                 what every setting does
  coordinator completions bash                  completions for a shell; `coordinator manual DIR` writes man pages

Settings are merged from the job file, STRATA_* variables and flags; the later wins.

Exit codes: 64 usage, 65 bad data, 69 unavailable, 70 a bug of ours, 74 I/O, 75 try again, 77 permission,
78 settings, 130 and 143 stopped by a signal (the run can be resumed).";

/// What a verb does, and examples of it.
pub fn of_verb(verb: &str) -> (&'static str, &'static str) {
    match verb {
        "demo" => (
            "Run the bundled job on two embedded workers: ingest, train, evaluate, recommend",
            "Examples:\n  coordinator demo\n  coordinator --json demo\n  coordinator demo --set model.rank=16",
        ),
        "run" => (
            "Do everything the job names: ingest, train, evaluate, recommend; resumable",
            "What is done already is not done again. After a kill, the same command goes on from the last checkpoint.\n\n\
             Examples:\n  coordinator run job.toml\n  coordinator --workers 10.0.0.7:7070,10.0.0.8:7070 run job.toml\n  \
             coordinator --memory 2GiB --json run job.toml",
        ),
        "plan" => (
            "Say what a job would take: blocks, memory, disk, traffic, time, and the smallest budget that would do",
            "Nothing is written.\n\nExamples:\n  coordinator plan job.toml\n  coordinator --workers 4 --memory 8GiB plan job.toml",
        ),
        "ingest" => (
            "Read Parquet and seal the data set at `output.data`",
            "Examples:\n  coordinator ingest job.toml\n  coordinator ingest job.toml --set input.on_bad_row=skip",
        ),
        "update" => (
            "Add new Parquet files to the data set at `output.data`, and train the model on (`update.epochs`)",
            "Ids keep their rows and new ones get rows of their own; bins of time extend at the end. Only what is new is sealed, \
             beside what is there, and the same files are never added twice. With `update.epochs` the model goes on from its own factors; else `train` trains on all of it.\n\n\
             Without `update.files` the new ones of `input.files` are added, as where a folder gets a file a day.\n\n\
             Examples:\n  coordinator update job.toml\n  coordinator update job.toml --set update.files=new/2026-11-26.parquet\n  \
             coordinator update job.toml --set update.deltas_max=0",
        ),
        "forget" => (
            "Remove users from the data set at `output.data` and from its models at `output.model`",
            "Their ids, interactions, attributes, edges and rows of factors go, and so do all older versions of the data set and of its \
             models, and all checkpoints. Rows of other users keep their places and their recommendations. `verify` proves it; what \
             cannot be reached (the Parquet files that were read, lists that were written) is named. After a kill, the same command \
             does the rest.\n\n\
             Examples:\n  coordinator forget job.toml --users erased.txt\n  coordinator forget job.toml --user 1029 --user 2310",
        ),
        "train" => (
            "Train the model at `output.model` on a sealed data set; resumable",
            "Examples:\n  coordinator train job.toml\n  coordinator train job.toml --set model.rank=128 --set output.model=model-128",
        ),
        "tune" => (
            "Search settings of [model] on the validation part, and write a job file with the best; resumable",
            "[tune.search] in the job says what is searched. The test part is never read.\n\n\
             Examples:\n  coordinator tune job.toml\n  \
             coordinator tune job.toml --set tune.trials=9 --set \"tune.search=rank = 32, 64; regularization = 0.0001..0.1 log\"",
        ),
        "advise" => (
            "Train what a data team would try, each model for as long as the others, and say which to use; resumable",
            "Baselines, matrix factorization alone, with attributes and with time, neighbourhoods, filters and networks on the graph are \
             compared on the job's own split, with intervals that hold for all of them at once. Of models that these do not tell apart the \
             one that asks for least is advised.\n\n\
             Examples:\n  coordinator advise job.toml\n  coordinator advise job.toml --set advise.seconds=60\n  \
             coordinator advise job.toml --set \"advise.models=matrix,tensor,lightgcn\"",
        ),
        "cold" => (
            "Hold out users and products as if they were new, and say what serves them best; resumable",
            "Popularity, popularity within each attribute, what a model learns from attributes, and folding in after a few purchases are compared on \
             the purchases that stayed hidden, with intervals that hold for all of them at once. Models are trained without any interaction of \
             those who are held out, and kept in `cold` below `output.model`.\n\n\
             Examples:\n  coordinator cold job.toml\n  coordinator cold job.toml --set cold.products=0 --set cold.history=0,1,2,5\n  \
             coordinator --json cold job.toml",
        ),
        "evaluate" => (
            "Score the model on the test part, beside its baselines",
            "Examples:\n  coordinator evaluate job.toml\n  coordinator evaluate job.toml --set evaluate.k=5,10",
        ),
        "recommend" => (
            "Write the best products for every user to a Parquet file",
            "Examples:\n  coordinator recommend job.toml\n  coordinator recommend job.toml --set output.recommend.top=100",
        ),
        "similar" => (
            "List the products that are like each product, or the users like each user",
            "Likeness is the cosine of rows of factors, whatever kind of model they are of. With `output.similar.ids` lists are of \
             these only, and are shown where no file is named.\n\n\
             Examples:\n  coordinator similar job.toml --set output.similar.file=similar.parquet\n  \
             coordinator similar job.toml --set output.similar.ids=1029743,995242 --set output.similar.top=5\n  \
             coordinator similar job.toml --set output.similar.of=user --set output.similar.file=users.parquet",
        ),
        "segments" => (
            "Bring users together by their factors, and say what each segment buys",
            "k-means of the directions of rows. Of several counts of segments the one with the best silhouette is taken, and set beside \
             the attributes of users that the job knows.\n\n\
             Examples:\n  coordinator segments job.toml\n  \
             coordinator segments job.toml --set output.segments.k=6 --set output.segments.file=segments.parquet\n  \
             coordinator segments job.toml --set output.segments.of=product",
        ),
        "influencers" => (
            "Find users through whom others are reached who are tied to nobody else, and what to offer through each",
            "Ties are edges between users where the data have some, else purchases that two users share. The score of a user is the sum over \
             neighbours of the share of their ties that is with the user.\n\n\
             Examples:\n  coordinator influencers job.toml\n  \
             coordinator influencers job.toml --set output.influencers.by=purchases --set output.influencers.top=100\n  \
             coordinator influencers job.toml --set output.influencers.file=influencers.parquet",
        ),
        "churn" => (
            "Score users by how likely they are to buy nothing for some bins, and say how far that can be trusted",
            "A regression on what users had before an earlier cut (when and how often they bought, how that changed, and with kind `als` their \
             factors as of then) is judged on the test part beside recency alone, with intervals. Scores are as of the end of the data.\n\n\
             Examples:\n  coordinator churn job.toml\n  \
             coordinator churn job.toml --set output.churn.horizon=4 --set output.churn.file=churn.parquet\n  \
             coordinator churn job.toml --set output.churn.factors=false",
        ),
        "export" => (
            "Write the factors, with their original ids, for pandas, DuckDB or NumPy",
            "The dot product of a user's and a product's row is the score.\n\n\
             Examples:\n  coordinator export job.toml --set output.export.folder=factors\n  \
             coordinator export job.toml --set output.export.folder=factors --set output.export.format=npy",
        ),
        "report" => (
            "Write the report on a model: one HTML file for people, to be opened, mailed or printed",
            "It says whether the model is better than simple rules, with intervals, and shows how training went, what changes over \
             time, who is like whom, some lists, what it took and how to repeat it. The file fetches nothing and runs nothing. `run` \
             writes it too where the job names `output.report.file`.\n\n\
             Examples:\n  coordinator report job.toml\n  coordinator report job.toml --set output.report.file=model.html",
        ),
        "inspect" => (
            "Say what a data set or a model is",
            "With --graph, the workers read the interactions and tell of the graph that they make: degrees, components, equal \
             neighbourhoods, walks of length two and what A² would cost.\n\n\
             Examples:\n  coordinator inspect target/demo/data\n  coordinator inspect s3://bucket/model\n  \
             coordinator --workers 2 inspect target/demo/data --graph",
        ),
        "log" => (
            "Tell what happened in a long ingest into `output.data` and in the runs of `output.model`: workers that joined and were lost, tasks that were done again, checkpoints",
            "A journal is kept beside a model on a disk, in its folder `journal`, while it is trained, and beside a data set from the first checkpoint \
             of an ingest on; what it tells of a run that goes on is at most \
             a moment old.\n\n\
             Examples:\n  coordinator log job.toml\n  coordinator log job.toml 3fa9\n  coordinator --json log job.toml",
        ),
        "verify" => (
            "Hash every object of a data set or a model again",
            "Ends with 65 and the name of the object if one is damaged or missing.\n\n\
             Examples:\n  coordinator verify target/demo/data\n  coordinator verify target/demo/model",
        ),
        "generate" => (
            "Make purchases with a planted truth, as Parquet of any size, and a job that runs on them",
            "The folder gets `interactions`, tables of `users` and `products`, `edges` where asked for, the planted `truth`, and a \
             `job.toml`. The same settings give the same bytes on any number of threads. docs/generate.md has the formulas.\n\n\
             Examples:\n  coordinator generate shop && coordinator run shop/job.toml\n  \
             coordinator generate shop --users 2000000 --products 50000 --interactions 100000000 --ids text\n  \
             coordinator generate seasons --season 3 --days 728\n  coordinator generate days --layout days\n  \
             coordinator --json generate shop settings.toml --seed 7",
        ),
        "tls" => (
            "Make the certificates of a small cluster, so that its programs know one another",
            "A folder for each program: what listens and what commands trust nobody without a certificate of this authority. Where \
             cert-manager runs, its secrets do the same (docs/cluster.md).\n\n\
             Examples:\n  coordinator tls init certificates\n  coordinator tls init certificates --days 30 --renew\n  \
             worker --listen 0.0.0.0:7070 --data /var/lib/strata --tls certificates/worker\n  \
             coordinator --workers a:7070,b:7070 --tls certificates/coordinator run job.toml",
        ),
        "completions" => (
            "Print a script that completes verbs and flags in a shell",
            "Examples:\n  coordinator completions bash > ~/.local/share/bash-completion/completions/coordinator\n  \
             coordinator completions zsh > ~/.zfunc/_coordinator\n  \
             coordinator completions fish > ~/.config/fish/completions/coordinator.fish",
        ),
        "manual" => (
            "Write the manual: pages of coordinator(1), of every verb, and of worker(1)",
            "Examples:\n  coordinator manual ~/.local/share/man/man1 && man coordinator-run",
        ),
        _ => (
            "Show the merged settings and where each came from",
            "Examples:\n  coordinator config job.toml\n  STRATA_MODEL_RANK=32 coordinator --memory 1GiB config job.toml\n  \
             coordinator config --describe",
        ),
    }
}

/// The placeholder of a flag.
pub fn value_name(flag: &str) -> &'static str {
    match flag {
        "workers" => "N|HOST:PORT,...|dns://SERVICE:PORT|file:///PATH",
        "memory" => "SIZE",
        "threads" => "N",
        "scratch" => "DIR",
        "trace" => "FILE",
        "http" => "HOST:PORT",
        "tls" => "DIR",
        "log" => "FILTER",
        "io" => "mmap|pread",
        "simd" => "auto|avx512|avx2|portable",
        _ => "VALUE",
    }
}
