//! Small generated inputs as Parquet files: seeded, so that every test and every machine sees the same rows.

use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows of a row group: small enough that inputs have several.
const GROUP_ROWS: usize = 1 << 15;

/// What to generate.
pub struct Shape {
    /// Users with an ordinary history.
    pub users: i64,
    /// Products.
    pub products: i64,
    /// Interactions per ordinary user.
    pub per_user: i64,
    /// Interactions of one more user, with distinct products.
    pub heavy: i64,
    /// Days over which they are spread.
    pub days: i64,
}

/// A fixed permutation-like mix, good enough for test data.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Writes columns `user`, `product` (int64), `seconds` (int64 since 1970) and `value` (float32).
///
/// # Panics
/// Where the file cannot be written.
pub fn purchases(path: &Path, shape: &Shape) {
    let mut rows: Vec<(i64, i64, i64, f32)> = Vec::new();
    let moment = |draw: u64| (17_000 + (draw % shape.days as u64) as i64) * 86_400;
    for user in 0..shape.users {
        for turn in 0..shape.per_user {
            let draw = mix((user * shape.per_user + turn) as u64);
            // The square of a uniform draw: low products are popular.
            let uniform = (draw >> 40) as f64 / (1_u64 << 24) as f64;
            let product = (uniform * uniform * shape.products as f64) as i64;
            rows.push((
                user,
                product,
                moment(draw & 0xFFFF),
                1.0 + (draw % 4) as f32,
            ));
        }
    }
    for turn in 0..shape.heavy {
        rows.push((
            shape.users,
            turn % shape.products,
            moment(mix(turn as u64)),
            1.0,
        ));
    }
    write(path, &rows);
}

/// Writes rows of the columns `user`, `product` (int64), `seconds` (int64 since 1970) and `value` (float32).
///
/// # Panics
/// Where the file cannot be written.
pub fn write(path: &Path, rows: &[(i64, i64, i64, f32)]) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "user",
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        ),
        (
            "product",
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        ),
        (
            "seconds",
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        ),
        (
            "value",
            Arc::new(rows.iter().map(|row| row.3).collect::<Float32Array>()),
        ),
    ];
    write_columns(path, columns);
}

/// Writes columns in several row groups.
///
/// # Panics
/// Where they differ in length, or the file cannot be written.
pub fn write_columns(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = File::create(path).expect("the test's folder can be written");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))
        .expect("a schema that Parquet has");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("the footer is written");
}
