//! The sealed partition: the interactions of one block in one orientation, as an Arrow IPC file that other tools
//! open too, with the list offsets as CSR row pointers.
//!
//! One column, `interactions: LargeList<Struct<column: UInt32, time: UInt32, context: UInt32, value: Float32>>`, one
//! entry a row of the block. `time` and `context` are absent where the data have none; `value` is absent where all are
//! equal, and then stands in the metadata of the schema.

mod read;
mod write;

pub(crate) use read::Layout;
pub use read::{Partition, PartitionValues, Piece};
pub use write::PartitionWriter;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use std::collections::HashMap;
use std::sync::Arc;
use tensor::{BlockId, Mode, Small};

const WHAT: &str = "sealed partition";
const FORMAT: &str = "strata-partition-1";

fn schema(orientation: Mode, block: BlockId, has: Small<bool>, constant: Option<f32>) -> Schema {
    let mut fields = vec![Field::new("column", DataType::UInt32, false)];
    for (mode, _) in has.each().into_iter().filter(|(_, has)| *has) {
        fields.push(Field::new(mode.name(), DataType::UInt32, false));
    }
    if constant.is_none() {
        fields.push(Field::new("value", DataType::Float32, false));
    }
    let mut metadata = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("orientation".to_owned(), orientation.name().to_owned()),
        ("block".to_owned(), block.0.to_string()),
    ]);
    if let Some(constant) = constant {
        metadata.insert("value".to_owned(), format!("{constant:?}"));
    }
    let item = Field::new("item", DataType::Struct(Fields::from(fields)), false);
    let rows = Field::new("interactions", DataType::LargeList(Arc::new(item)), false);
    Schema::new_with_metadata(vec![rows], metadata)
}
