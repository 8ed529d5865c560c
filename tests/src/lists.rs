//! Recommendations as they stand in a file.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::path::Path;

/// The product of each user in a file of lists of one.
///
/// # Panics
/// Where it is no such file.
pub fn products(file: &Path) -> BTreeMap<i64, i64> {
    let file = std::fs::File::open(file).expect("the lists were written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let mut found = BTreeMap::new();
    for batch in reader.build().expect("a reader") {
        let batch = batch.expect("a batch");
        let ids = |name: &str| {
            let column = batch.column_by_name(name).expect("the column");
            column.as_primitive::<Int64Type>().values().to_vec()
        };
        found.extend(ids("user").into_iter().zip(ids("product")));
    }
    found
}
