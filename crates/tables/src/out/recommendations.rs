//! Recommendations as a Parquet file: user, rank, product, score, with the ids and their columns' names as in the input.

use crate::out::ids::Ids;
use crate::out::parts::ListFile;
use crate::out::unfinished::Unfinished;
use crate::out::{OutError, properties};
use arrow::array::{ArrayRef, Float32Array, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use tensor::Recommended;

/// Rows of a batch: what is held of ids at once.
const BATCH_ROWS: usize = 1 << 16;

/// A file in the making. Dropped without [`ListFile::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct RecommendationsWriter {
    writer: Option<ArrowWriter<File>>,
    users: Ids,
    products: Ids,
    schema: Arc<Schema>,
    unfinished: Unfinished,
    rows: u64,
    lists: u64,
}

impl ListFile for RecommendationsWriter {
    fn create(path: &Path, users: Ids, products: Ids) -> Result<Self, OutError> {
        let (unfinished, file) = Unfinished::create(path)?;
        let schema = Arc::new(schema(&users, &products));
        let mut made = RecommendationsWriter {
            writer: None,
            users,
            products,
            schema,
            unfinished,
            rows: 0,
            lists: 0,
        };
        let writer = ArrowWriter::try_new(file, made.schema.clone(), Some(properties()));
        made.writer = Some(writer.map_err(|error| made.parquet(error))?);
        Ok(made)
    }

    /// Rows of [`Recommended`].
    fn write(&mut self, object: &[u8]) -> Result<(), OutError> {
        for rows in object.chunks(BATCH_ROWS * Recommended::ROW_BYTES) {
            // Nobody is served whose id was erased, whatever the model says of users without interactions.
            let rows = Recommended::rows(rows).filter(|row| !self.users.is_erased(row.user));
            let rows: Vec<Recommended> = rows.collect();
            let columns: Vec<ArrayRef> = vec![
                self.users.array(rows.iter().map(|row| row.user))?,
                Arc::new(UInt32Array::from_iter_values(
                    rows.iter().map(|row| row.rank),
                )),
                self.products.array(rows.iter().map(|row| row.product))?,
                Arc::new(Float32Array::from_iter_values(
                    rows.iter().map(|row| row.score),
                )),
            ];
            let batch = RecordBatch::try_new(self.schema.clone(), columns);
            let written = match (&mut self.writer, batch) {
                (Some(writer), Ok(batch)) => writer.write(&batch),
                (_, Err(error)) => Err(error.into()),
                (None, _) => Err(ParquetError::General("the file is closed".to_owned())),
            };
            written.map_err(|error| self.parquet(error))?;
            self.rows += rows.len() as u64;
            self.lists += rows.iter().filter(|row| row.rank == 1).count() as u64;
        }
        Ok(())
    }

    fn users(&self) -> u64 {
        self.lists
    }

    fn note(&mut self, word: &str, value: String) {
        if let Some(writer) = &mut self.writer {
            writer.append_key_value_metadata(KeyValue::new(word.to_owned(), value));
        }
    }

    fn finish(mut self) -> Result<u64, OutError> {
        let Some(writer) = self.writer.take() else {
            return Ok(self.rows);
        };
        let file = writer.into_inner().map_err(|error| self.parquet(error))?;
        self.unfinished.finish(&file)?;
        Ok(self.rows)
    }
}

impl RecommendationsWriter {
    fn parquet(&self, error: ParquetError) -> OutError {
        OutError::Parquet {
            path: self.unfinished.path().to_owned(),
            error,
        }
    }
}

/// User, rank, product, score; `rank` and `score` get an underscore where an id column has that name.
fn schema(users: &Ids, products: &Ids) -> Schema {
    let free = |name: &str| {
        let taken = users.column() == name || products.column() == name;
        if taken {
            format!("{name}_")
        } else {
            name.to_owned()
        }
    };
    Schema::new(vec![
        Field::new(users.column(), users.data_type(), false),
        Field::new(free("rank"), DataType::UInt32, false),
        Field::new(products.column(), products.data_type(), false),
        Field::new(free("score"), DataType::Float32, false),
    ])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use store::dictionary::{Dictionary, DictionaryWriter, IdRef};
    use store::{Cache, IoMode};
    use tensor::{Grid, IdKind};

    fn ids(cache: &Cache, column: &str, kind: IdKind, blocks: &[&[IdRef<'_>]]) -> Ids {
        let dictionary = |ids: &&[IdRef<'_>]| {
            let mut writer = DictionaryWriter::create(cache, kind).unwrap();
            ids.iter().for_each(|id| writer.push(*id).unwrap());
            Dictionary::open(writer.seal().unwrap()).unwrap()
        };
        let grid = Grid {
            stride_log2: 2,
            rows: blocks.iter().map(|ids| ids.len() as u32).collect(),
        };
        Ids::new(
            column.to_owned(),
            kind,
            grid,
            blocks.iter().map(dictionary).collect(),
        )
        .unwrap()
    }

    pub fn object(rows: &[(u32, u32, u32, f32)]) -> Vec<u8> {
        let row = |&(user, rank, product, score): &(u32, u32, u32, f32)| Recommended {
            user,
            rank,
            product,
            score,
        };
        rows.iter().flat_map(|found| row(found).to_row()).collect()
    }

    pub fn world() -> (tempfile::TempDir, Ids, Ids) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(&directory.path().join("cache"), 1 << 24, IoMode::Mmap).unwrap();
        let users = ids(
            &cache,
            "rank",
            IdKind::Int64,
            &[&[IdRef::Int64(-7), IdRef::Int64(5)], &[IdRef::Int64(9)]],
        );
        let products = ids(
            &cache,
            "sku",
            IdKind::Utf8,
            &[&[IdRef::Utf8("tea")], &[IdRef::Utf8("Öl")]],
        );
        (directory, users, products)
    }

    #[test]
    fn the_file_names_original_ids_and_columns() {
        let (directory, users, products) = world();
        let path = directory.path().join("deep/recommendations.parquet");
        let mut writer = RecommendationsWriter::create(&path, users, products).unwrap();
        writer
            .write(&object(&[(0, 1, 4, 0.5), (0, 2, 0, 0.25)]))
            .unwrap();
        writer.write(&object(&[])).unwrap();
        writer.write(&object(&[(4, 1, 0, 1.5)])).unwrap();
        assert!(!path.exists(), "nothing half-written has the name");
        assert_eq!(writer.finish().unwrap(), 3);

        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap())
            .unwrap()
            .build()
            .unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        let names: Vec<&str> = batch
            .schema_ref()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["rank", "rank_", "sku", "score"]);
        assert_eq!(
            batch.column(0).as_primitive::<Int64Type>().values(),
            &[-7, -7, 9]
        );
        assert_eq!(
            batch.column(1).as_primitive::<UInt32Type>().values(),
            &[1, 2, 1]
        );
        let skus: Vec<_> = batch
            .column(2)
            .as_string::<i32>()
            .iter()
            .flatten()
            .collect();
        assert_eq!(skus, ["Öl", "tea", "tea"]);
        assert_eq!(
            batch.column(3).as_primitive::<Float32Type>().values(),
            &[0.5, 0.25, 1.5]
        );
        assert_eq!(batch.column(3).null_count(), 0);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_file_given_up_leaves_nothing() {
        let (directory, users, products) = world();
        let path = directory.path().join("out/recommendations.parquet");
        let mut writer = RecommendationsWriter::create(&path, users, products).unwrap();
        let error = writer
            .write(&object(&[(1, 1, 0, 0.5), (2, 1, 0, 0.5)]))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "row 2 has no id in the column rank: what is written is of another data set"
        );
        drop(writer);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            0
        );
    }
}
