//! The JSON of every verb, as types. `docs/json.md` explains them; a field once there keeps its meaning.

use super::churn::ChurnReport;
use super::cold::ColdReport;
use super::influencers::InfluencersReport;
use super::segments::SegmentsReport;
use crate::driver::Outcome;
use crate::job::describe::Setting;
use crate::output::advice::AdviceReport;
use model::evaluate::Evaluation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tensor::Imported;

/// The whole object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report<'a> {
    /// The verb.
    pub verb: &'a str,
    /// Of the engine.
    pub version: &'a str,
    /// From the start of the process to the end of the verb.
    pub seconds: f64,
    /// The most anonymous memory of this process, embedded workers included.
    pub peak_anonymous_bytes: u64,
    /// What the verb found.
    #[serde(flatten)]
    pub body: &'a VerbOutput,
}

/// What a verb found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum VerbOutput {
    /// `ingest`.
    Ingest(IngestReport),
    /// `update`.
    Update(Box<UpdateReport>),
    /// `forget`.
    Forget(Box<ForgetReport>),
    /// `train`.
    Train(TrainReport),
    /// `evaluate`.
    Evaluate(Evaluation),
    /// `recommend`.
    Recommend(RecommendReport),
    /// `similar`.
    Similar(SimilarReport),
    /// `segments`.
    Segments(Box<SegmentsReport>),
    /// `influencers`.
    Influencers(Box<InfluencersReport>),
    /// `churn`.
    Churn(Box<ChurnReport>),
    /// `cold`.
    Cold(Box<ColdReport>),
    /// `export`.
    Export(ExportReport),
    /// `report`.
    Page(PageReport),
    /// `run` and `demo`.
    Run(Box<RunReport>),
    /// `tune`.
    Tune(TuneReport),
    /// `advise`.
    Advise(Box<AdviceReport>),
    /// `verify`.
    Verify(VerifyReport),
    /// `generate`.
    Generate(GenerateReport),
    /// `config`.
    Config {
        /// Every setting.
        settings: Vec<Setting>,
    },
    /// `plan` and `inspect`: the fields, and the lines for people.
    Described {
        /// For programs.
        #[serde(flatten)]
        fields: serde_json::Map<String, serde_json::Value>,
        /// For people.
        #[serde(skip)]
        lines: Vec<String>,
    },
}

/// A sealed data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IngestReport {
    /// After binning and combining duplicates, over all parts.
    pub interactions: u64,
    /// Distinct users.
    pub users: u64,
    /// Distinct products.
    pub products: u64,
    /// Bins of time; `null` without time.
    pub time_bins: Option<u32>,
    /// Contexts, where the data have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contexts: Option<u32>,
    /// The cut of each mode.
    pub blocks: Blocks,
    /// Rows of the files, those of skipped row groups included.
    pub input_rows: u64,
    /// Files that were not opened, since the times that their folders tell are not wanted.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped_files: u64,
    /// Rows left out, by reason.
    pub bad_rows: BTreeMap<String, u64>,
    /// What is known of users and of products besides, where tables of attributes were given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, AttributesReport>,
    /// Edges between users and between products, where lists of them were given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub edges: BTreeMap<String, EdgesReport>,
    /// BLAKE3 over the digests of all objects, in order: equal for equal bytes.
    pub digest: String,
    /// Tasks that an ingest which was broken off had done, and this one did not do again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<u32>,
    /// Whether the data set was there already.
    pub reused: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// An update of a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpdateReport {
    /// What it brought; all 0 where it was there already.
    pub added: AddedReport,
    /// Updates that stand beside the partitions. An interaction that one of them repeats counts twice in `interactions`, until
    /// they are compacted.
    pub deltas: u64,
    /// Partitions that were sealed anew, where this update compacted the data set.
    pub compacted: Option<u64>,
    /// What training on brought, with `update.epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainReport>,
    /// The data set as it is now; its fields stand at the top.
    #[serde(flatten)]
    pub data: IngestReport,
}

/// Users who were forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForgetReport {
    /// Different ids that were named.
    pub asked: u64,
    /// Those that the data set had, and has no more.
    pub forgotten: u64,
    /// Those that it did not have.
    pub unknown: u64,
    /// The first of these.
    pub unknown_ids: Vec<String>,
    /// Users who were forgotten so far, then and now.
    pub users_forgotten: u64,
    /// Partitions that were sealed anew.
    pub partitions: u64,
    /// Models whose rows of these users are zero now.
    pub models: u64,
    /// Older models that went.
    pub models_dropped: u64,
    /// Older versions of the data set that went.
    pub versions: u64,
    /// Objects that were removed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What may hold these users still and is beyond the engine.
    pub out_of_reach: Vec<String>,
    /// The data set as it is now; its fields stand at the top.
    #[serde(flatten)]
    pub data: IngestReport,
}

/// What an update brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AddedReport {
    /// Rows read.
    pub input_rows: u64,
    /// Interactions that they make.
    pub interactions: u64,
    /// New users.
    pub users: u64,
    /// New products.
    pub products: u64,
    /// New bins of time.
    pub time_bins: u32,
    /// Partitions that were sealed.
    pub partitions: u64,
}

/// The attributes of a mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttributesReport {
    /// How many.
    pub attributes: u64,
    /// Columns that they take in a model.
    pub columns: u64,
    /// Rows of the mode that the tables describe.
    pub described: u64,
    /// Ids of the tables without an interaction, which were left out.
    pub unknown: u64,
}

/// The edges of a mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EdgesReport {
    /// Entries of their matrix: an edge that leads both ways is two.
    pub entries: u64,
    /// Whether they lead one way.
    pub directed: bool,
    /// Rows of the lists.
    pub input_rows: u64,
    /// Rows that join an id with itself.
    pub loops: u64,
    /// Rows with an id without an interaction, which were left out.
    pub unknown: u64,
    /// Rows left out for other reasons.
    pub bad_rows: BTreeMap<String, u64>,
}

/// Blocks of each mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blocks {
    /// Of users.
    pub user: u32,
    /// Of products.
    pub product: u32,
    /// Of time: 1, or 0 without time.
    pub time: u32,
    /// Of context: 1, or 0 without context.
    pub context: u32,
}

/// A trained model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrainReport {
    /// BLAKE3 over all factors in row order.
    pub digest: String,
    /// Those of this process; a resumed run begins after `resumed_from`.
    pub epochs: Vec<EpochReport>,
    /// The epoch that the model is of, where epochs were compared (`model.patience`); `null`: it is of the last.
    pub best: Option<BestReport>,
    /// The learning curve: one JSON line an epoch; `null` where the file is gone.
    pub curve: Option<String>,
    /// The epoch of the checkpoint from which the run went on.
    pub resumed_from: Option<u32>,
    /// Whether the finished model of the same run was there already; `resumed_from` is then its last epoch.
    pub reused: bool,
    /// The path of the kernels: `avx512`, `avx2` or `portable`.
    pub simd: String,
    /// What became of first factors that were given (`model.initial_users` and its like), where this process read
    /// them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub initial: BTreeMap<String, Imported>,
    /// Interactions of the training part that came to 0 or less and were left out; only with `input.negative` = "net".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netted: Option<u64>,
    /// What the job asks for and training could not heed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it took.
    pub work: WorkReport,
}

/// An epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u32,
    /// In f64, where the algorithm has one.
    pub objective: Option<f64>,
    /// Wall clock.
    pub seconds: f64,
    /// By name.
    pub metrics: BTreeMap<String, f64>,
}

/// The best epoch of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BestReport {
    /// From 1.
    pub epoch: u32,
    /// What was compared.
    pub metric: String,
    /// Its value on the validation part.
    pub value: f64,
}

/// A search of settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TuneReport {
    /// By what trials were compared, on the validation part.
    pub metric: String,
    /// The best first: those of the last rung, then those that went no further.
    pub trials: Vec<TrialReport>,
    /// The same, one JSON line a trial.
    pub table: String,
    /// The job file with the settings of the first.
    pub job: PathBuf,
}

/// One point of the space.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrialReport {
    /// From 1, as they were drawn.
    pub trial: u32,
    /// The last rung that it reached, from 1.
    pub rung: u32,
    /// Epochs that it was trained for.
    pub epochs: u32,
    /// The best of them.
    pub best_epoch: u32,
    /// The metric after that one; no number where it could not be trained.
    pub value: f64,
    /// Why it could not be trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Epochs of the last rung that this process trained; 0: all were there.
    pub trained: u32,
    /// The searched keys.
    #[serde(flatten)]
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkReport {
    /// Tasks whose result was taken.
    pub tasks: u64,
    /// Tasks that ran again after a loss.
    pub tasks_replayed: u64,
    /// Pieces that tasks ran in.
    pub pieces: u64,
    /// Rows that were cut between pieces.
    pub cut_rows: u64,
    /// Bytes that each worker sent to its peers.
    pub bytes_to_peers: Vec<u64>,
    /// Bytes of blocks that passed through the coordinator: checkpoints, and files that only it can read.
    pub bytes_through_coordinator: u64,
    /// The most anonymous memory of each worker; those inside this process share it.
    pub peak_anonymous_bytes_of_workers: Vec<u64>,
    /// The most anonymous memory of this process in each phase.
    pub peak_anonymous_bytes_by_phase: BTreeMap<String, u64>,
}

/// What a phase took; the same phase twice adds up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Its name, as in progress lines.
    pub phase: String,
    /// Wall clock.
    pub seconds: f64,
    /// The most anonymous memory of this process.
    pub peak_anonymous_bytes: u64,
    /// Workers that did some of it.
    pub workers: u64,
    /// Tasks whose result was taken.
    pub tasks: u64,
    /// Tasks that ran again after a loss.
    pub tasks_replayed: u64,
    /// Times it went back to a checkpoint.
    pub rollbacks: u64,
    /// Bytes that workers sent to one another.
    pub bytes_to_peers: u64,
    /// Bytes of blocks that passed through the coordinator.
    pub bytes_through_coordinator: u64,
}

impl PhaseReport {
    /// Adds what a run of it came to.
    pub fn add(&mut self, outcome: &Outcome, peak_anonymous_bytes: u64) {
        self.seconds += outcome.seconds;
        self.peak_anonymous_bytes = self.peak_anonymous_bytes.max(peak_anonymous_bytes);
        self.workers = self.workers.max(outcome.workers.len() as u64);
        self.tasks += outcome.tasks_run;
        self.tasks_replayed += outcome.tasks_replayed;
        self.rollbacks += outcome.rollbacks;
        let sent = outcome.workers.values().map(|worker| worker.sent_bytes);
        self.bytes_to_peers += sent.sum::<u64>();
        self.bytes_through_coordinator += outcome.coordinator_bytes;
    }
}

/// A written page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PageReport {
    /// The file.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: u64,
}

/// Written recommendations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecommendReport {
    /// Users with at least one recommendation.
    pub users: u64,
    /// Rows of the file, or of all parts.
    pub rows: u64,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The folder of parts instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Which parts were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<PartsReport>,
    /// Rows of the file of reasons, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<u64>,
    /// That file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanations: Option<PathBuf>,
    /// Products that rules keep out of lists, where there are rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barred: Option<u64>,
    /// What rises for whom, where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rising: Option<RisingReport>,
}

/// The parts of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartsReport {
    /// Made now.
    pub written: u64,
    /// There already, and of the same lists.
    pub kept: u64,
}

/// Written lists of what rises.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RisingReport {
    /// Users for whom something rises.
    pub users: u64,
    /// Rows of the file.
    pub rows: u64,
    /// The file.
    pub file: PathBuf,
}

/// By what index rows were looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct IndexReport {
    /// Its lists.
    pub lists: u32,
    /// How many of them were looked through for each row.
    pub probes: u32,
    /// The share of the true lists of a sample that these hold.
    pub recall: f64,
}

/// Rows that are alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SimilarReport {
    /// The index; absent where all pairs were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexReport>,
    /// The mode.
    pub of: String,
    /// Rows with a list.
    pub lists: u64,
    /// Pairs.
    pub rows: u64,
    /// The file, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The lists, where no file was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub similar: Vec<AlikeReport>,
}

/// A pair of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlikeReport {
    /// The original id.
    pub id: String,
    /// The place in its list, from 1.
    pub rank: u32,
    /// The one that is like it.
    pub similar: String,
    /// The cosine of their factors.
    pub score: f32,
}

/// Factors as files.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExportReport {
    /// Where they are.
    pub folder: PathBuf,
    /// The digest of the model.
    pub digest: String,
    /// Its kind.
    pub kind: String,
    /// Added to every prediction of a value.
    pub offset: f32,
    /// By mode.
    pub tables: BTreeMap<String, ExportedReport>,
}

/// The factors of a mode as files.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExportedReport {
    /// The file, and that of ids where they have one of their own.
    pub files: Vec<PathBuf>,
    /// Rows.
    pub rows: u64,
    /// Numbers of a row.
    pub columns: u32,
    /// The leading ones that are no biases.
    pub factors: u32,
}

/// The whole path.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunReport {
    /// The data set.
    pub ingest: IngestReport,
    /// The model; its fields stand at the top.
    #[serde(flatten)]
    pub train: TrainReport,
    /// Where something is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Where the job asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommend: Option<RecommendReport>,
    /// Where the job asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similar: Option<SimilarReport>,
    /// Where the job asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportReport>,
    /// Where the job asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<PageReport>,
    /// Where the job asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<SegmentsReport>,
    /// Where the job asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub influencers: Option<InfluencersReport>,
    /// Where the job asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<ChurnReport>,
}

/// Objects that were hashed again. A damaged one fails the verb, so here all are whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Manifests read.
    pub manifests: u64,
    /// Objects hashed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Users who were forgotten here, where there are any: nothing at this place holds anything of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_forgotten: Option<u64>,
    /// The objects that were read for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects_without_them: Option<u64>,
}

/// What was generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GenerateReport {
    /// Rows of interactions.
    pub rows: u64,
    /// Parquet files, those of the truth included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// BLAKE3 over their names and digests, in order.
    pub digest: String,
    /// The folder.
    pub folder: PathBuf,
    /// The job file in it.
    pub job: PathBuf,
    /// Whether it was there already.
    pub reused: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_verb_found_stands_at_the_top() {
        let train = TrainReport {
            digest: "ab".into(),
            ..TrainReport::default()
        };
        let body = VerbOutput::Run(Box::new(RunReport {
            train,
            ..RunReport::default()
        }));
        let report = Report {
            verb: "run",
            version: "0",
            seconds: 1.5,
            peak_anonymous_bytes: 7,
            body: &body,
        };
        let object = serde_json::to_value(&report).unwrap();
        assert_eq!(object["verb"], "run");
        assert_eq!(object["digest"], "ab");
        assert_eq!(object["resumed_from"], serde_json::Value::Null);
        assert_eq!(object["ingest"]["interactions"], 0);
        assert!(object.get("evaluation").is_none() && object.get("error").is_none());
    }

    #[test]
    fn lines_for_people_are_not_for_programs() {
        let mut fields = serde_json::Map::new();
        fields.insert("blocks".into(), 64.into());
        let body = VerbOutput::Described {
            fields,
            lines: vec!["64 blocks".into()],
        };
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"blocks":64}"#);
    }
}
