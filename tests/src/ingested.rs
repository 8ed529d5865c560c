//! Ingest in one process for tests: files in memory, the data set read back in original ids, and the naive computation
//! that it is compared with.

use crate::inline::{InlineError, World};
use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use store::dictionary::Dictionary;
use store::partition::Partition;
use store::{Cache, IoMode};
use tables::survey::InMemory;
use tables::{
    AttributeSpec, AttributeSurvey, Compact, Ingest, IngestAttributes, OnBadRow, ScanSpec,
    Selection, Survey, TablesError, Update, ValueRule, interaction_hash, survey, survey_selected,
};
use tensor::{
    Axis, DataSet, Duplicates, Grid, IdKind, Mode, PartitionRef, Partitions, ReadAt, Small, TimeBin,
};

/// A budget that everything fits.
pub const GENEROUS: u64 = 1 << 30;
/// The least budget that a scan takes, nearly.
pub const TIGHT: u64 = 56 << 20;
/// Seconds.
pub const DAY: i64 = 86_400;

/// A row of the input as the naive computation sees it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Original id.
    pub user: i64,
    /// Original id.
    pub product: i64,
    /// Seconds since 1970.
    pub seconds: i64,
    /// Value.
    pub value: f64,
}

fn draw(counter: u64) -> u64 {
    interaction_hash(11, counter as u32, (counter >> 32) as u32, Small::default())
}

/// `count` rows over 200 days from 2017, with repeated (user, product, day), negative and popular ids.
pub fn some_rows(count: u64, seed: u64) -> Vec<Row> {
    (0..count)
        .map(|i| {
            let word = draw(seed << 32 | i);
            let skewed = |word: u64, n: u64| ((word % n) * ((word >> 20) % n) / n) as i64;
            Row {
                user: skewed(word, 150) - 40,
                product: skewed(word >> 8, 90),
                seconds: (17_167 + ((word >> 32) % 200) as i64) * DAY,
                value: ((word >> 44) % 16) as f64 * 0.25,
            }
        })
        .collect()
}

/// A Parquet file of nullable columns.
///
/// # Panics
/// Where the columns do not fit together.
pub fn parquet_of(columns: Vec<(&str, ArrayRef)>, group_rows: usize) -> Bytes {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

/// Columns `u`, `p`, `t`, `v`; weeks; sums; bad rows are rejected.
pub fn spec() -> ScanSpec {
    ScanSpec {
        user: "u".into(),
        product: "p".into(),
        time: Some("t".into()),
        value: Some("v".into()),
        event: None,
        nets: false,
        time_bin: TimeBin::Week,
        context: None,
        duplicates: Duplicates::Sum,
        on_bad_row: OnBadRow::Reject,
        value_rule: ValueRule::Finite,
        parts: vec![],
    }
}

/// A named file.
pub type Input = (String, Arc<dyn ReadAt>);

/// Files in memory, `file-0.parquet` and so on.
pub fn inputs(files: &[Bytes]) -> Vec<Input> {
    let named = |(i, bytes): (usize, &Bytes)| {
        (
            format!("file-{i}.parquet"),
            Arc::new(InMemory(bytes.clone())) as Arc<dyn ReadAt>,
        )
    };
    files.iter().enumerate().map(named).collect()
}

fn room(directory: &Path, budget_bytes: u64, mode: IoMode) -> exec::Room {
    exec::Room {
        simd: exec::Simd::detect(),
        budget_bytes,
        pool: Arc::new(
            rayon::ThreadPoolBuilder::new()
                .num_threads(2)
                .build()
                .unwrap(),
        ),
        cache: Arc::new(Cache::open_unsynced(directory, 8 << 30, mode).unwrap()),
        desks: Arc::default(),
        buffers: Arc::default(),
    }
}

/// A world in which data were ingested.
pub struct Ingested {
    /// Where its sealed files are.
    pub world: World,
    /// What was ingested.
    pub data: DataSet,
    _directory: tempfile::TempDir,
}

/// Surveys and ingests; the sentence where it is refused.
///
/// # Errors
/// That sentence.
///
/// # Panics
/// Where intermediate objects are left.
pub fn try_ingest_with(
    files: &[Input],
    spec: &ScanSpec,
    budget_bytes: u64,
    mode: IoMode,
    backwards: bool,
) -> Result<Ingested, String> {
    let all = Selection::default();
    try_ingest_selected(files, spec, &all, budget_bytes, mode, backwards)
}

/// The same of a selection of times.
///
/// # Errors
/// The sentence where it is refused.
///
/// # Panics
/// Where intermediate objects are left.
pub fn try_ingest_selected(
    files: &[Input],
    spec: &ScanSpec,
    selection: &Selection,
    budget_bytes: u64,
    mode: IoMode,
    backwards: bool,
) -> Result<Ingested, String> {
    let found: Survey = survey_selected(files, spec, selection, budget_bytes)
        .map_err(|error: TablesError| error.to_string())?;
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(room(directory.path(), budget_bytes, mode));
    world.inputs = files.iter().map(|(_, file)| file.clone()).collect();
    world.backwards = backwards;
    let mut program = Ingest::new(found, spec.clone());
    world
        .run(&mut program, &exec::begin)
        .map_err(|error: InlineError| error.to_string())?;
    assert!(world.objects.is_empty(), "intermediate objects are freed");
    Ok(Ingested {
        world,
        data: program.into_data_set().unwrap(),
        _directory: directory,
    })
}

/// Surveys and ingests what is not refused.
///
/// # Panics
/// Where it is refused.
pub fn ingest(files: &[Input], spec: &ScanSpec) -> Ingested {
    try_ingest_with(files, spec, GENEROUS, IoMode::Mmap, false).unwrap()
}

/// Why an ingest is refused.
///
/// # Panics
/// Where it is not.
pub fn refusal(files: &[Input], spec: &ScanSpec) -> String {
    match try_ingest_with(files, spec, GENEROUS, IoMode::Mmap, false) {
        Ok(_) => panic!("it was not refused"),
        Err(sentence) => sentence,
    }
}

impl Ingested {
    /// Adds files to the data set; the sentence where that is refused.
    ///
    /// # Errors
    /// That sentence.
    ///
    /// # Panics
    /// Where intermediate objects are left.
    pub fn try_update(&mut self, files: &[Input], spec: &ScanSpec) -> Result<(), String> {
        let budget_bytes = self.world.room.budget_bytes;
        let found = survey(files, spec, budget_bytes).map_err(|error| error.to_string())?;
        let lineage = found.lineage;
        self.world.inputs = files.iter().map(|(_, file)| file.clone()).collect();
        let mut program = Update::new(self.data.clone(), found, spec.clone(), lineage);
        let ran = self.world.run(&mut program, &exec::begin);
        ran.map_err(|error: InlineError| error.to_string())?;
        assert!(
            self.world.objects.is_empty(),
            "intermediate objects are freed"
        );
        self.data = program.into_data_set().expect("it is finished");
        Ok(())
    }

    /// Merges the updates into the partitions.
    ///
    /// # Panics
    /// Where it fails.
    pub fn compact(&mut self) {
        let mut program = Compact::new(self.data.clone());
        self.world.run(&mut program, &exec::begin).unwrap();
        self.data = program.into_data_set().expect("it is finished");
    }

    /// Adds the attributes of a mode: what a table with a column `id` says.
    ///
    /// # Panics
    /// Where it cannot be ingested.
    pub fn describe(&mut self, mode: Mode, table: &Bytes) {
        let spec = AttributeSpec {
            mode,
            id: "id".into(),
            columns: Vec::new(),
            categorical: Vec::new(),
            max_levels: 100,
            max_columns: 512,
            on_bad_row: OnBadRow::Reject,
        };
        let named = inputs(std::slice::from_ref(table));
        let survey = AttributeSurvey::of(&named, 0, spec, IdKind::Int64, GENEROUS).unwrap();
        self.world.inputs = named.into_iter().map(|(_, file)| file).collect();
        let mut program = IngestAttributes::new(self.data.clone(), vec![survey]);
        self.world.run(&mut program, &exec::begin).unwrap();
        self.data = program.into_data_set().expect("it is finished");
    }

    /// The original ids of an axis by row id, as text.
    pub fn ids(&self, axis: &Axis) -> BTreeMap<u32, String> {
        let mut ids = BTreeMap::new();
        for (block, sealed) in axis.grid.block_ids().zip(&axis.dictionary) {
            let dictionary = Dictionary::open(self.world.sealed[&sealed.digest].clone()).unwrap();
            assert_eq!(dictionary.kind(), axis.id_kind);
            assert_eq!(dictionary.rows() as u32, axis.grid.rows[block.0 as usize]);
            let rows = axis.grid.row_ids(block).zip(dictionary.iter());
            ids.extend(rows.filter_map(|(row, id)| Some((row, id?.to_string()))));
        }
        ids
    }

    fn read_side(&self, grid: &Grid, side: &[PartitionRef]) -> Vec<(u32, u32, u32, f32)> {
        let mut found = Vec::new();
        for (block, reference) in grid.block_ids().zip(side) {
            let file = self.world.sealed[&reference.object.digest].clone();
            let partition = Partition::open(file).unwrap();
            assert_eq!(partition.rows(), grid.rows[block.0 as usize]);
            assert_eq!(partition.interactions(), reference.interactions);
            let piece = partition.whole().unwrap();
            for (local, row) in grid.row_ids(block).enumerate() {
                let range =
                    partition.offsets()[local] as usize..partition.offsets()[local + 1] as usize;
                for at in range {
                    let time = piece.small_ids().time.map_or(0, |times| times[at]);
                    found.push((
                        row,
                        piece.columns[at],
                        time,
                        piece.values.as_values().at(at),
                    ));
                }
            }
        }
        assert!(found.is_sorted_by_key(|&(row, column, time, _)| (row, column, time)));
        found
    }

    /// The interactions as (user row, product row, bin) -> value; both orientations agree.
    pub fn rows(&self, partitions: &Partitions) -> BTreeMap<(u32, u32, u32), f32> {
        let users = self.read_side(&self.data.user.grid, &partitions.user_major);
        let products = self.read_side(&self.data.product.grid, &partitions.product_major);
        let by_user: BTreeMap<_, _> = users
            .iter()
            .map(|&(row, column, time, value)| ((row, column, time), value))
            .collect();
        let by_product: BTreeMap<_, _> = products
            .iter()
            .map(|&(row, column, time, value)| ((column, row, time), value))
            .collect();
        assert_eq!(by_user.len(), users.len(), "duplicates are combined");
        assert_eq!(by_user, by_product);
        assert_eq!(by_user.len() as u64, partitions.interactions);
        by_user
    }

    /// The interactions in original ids.
    pub fn named(&self, partitions: &Partitions) -> BTreeMap<(String, String, u32), f32> {
        let (users, products) = (self.ids(&self.data.user), self.ids(&self.data.product));
        let rows = self.rows(partitions).into_iter();
        rows.map(|((u, p, t), value)| ((users[&u].clone(), products[&p].clone(), t), value))
            .collect()
    }
}

/// What ingest should find: combined naively.
pub fn naive(
    rows: &[Row],
    bin: impl Fn(i64) -> i64,
    duplicates: Duplicates,
    user_name: impl Fn(i64) -> String,
    product_name: impl Fn(i64) -> String,
) -> BTreeMap<(String, String, u32), f32> {
    let first = rows.iter().map(|row| bin(row.seconds)).min().unwrap();
    let mut all: BTreeMap<(String, String, u32), Vec<f64>> = BTreeMap::new();
    for row in rows {
        let key = (
            user_name(row.user),
            product_name(row.product),
            (bin(row.seconds) - first) as u32,
        );
        all.entry(key).or_default().push(row.value);
    }
    let combine = |values: Vec<f64>| match duplicates {
        Duplicates::Sum => values.iter().sum::<f64>() as f32,
        Duplicates::Max => values.into_iter().fold(f64::MIN, f64::max) as f32,
        Duplicates::Last => values[values.len() - 1] as f32,
        Duplicates::Count => values.len() as f32,
    };
    all.into_iter()
        .map(|(key, values)| (key, combine(values)))
        .collect()
}
