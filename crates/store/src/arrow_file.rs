//! Arrow IPC files of one record batch, uncompressed, every buffer at a multiple of 64 bytes: written as a stream
//! out of spools, and read back as checked byte ranges. What the buffers mean is the business of the caller.

use crate::buffer::AlignedBuf;
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::spool::Spool;
use crate::writer::SealWriter;
use arrow::datatypes::Schema;
use arrow::ipc::convert::{IpcSchemaEncoder, try_fb_to_schema};
use arrow::ipc::{self, MessageHeader, MetadataVersion};
use std::ops::Range;

const MAGIC: &[u8; 6] = b"ARROW1";
const ALIGNMENT: u64 = 64;
/// Footers and messages of ours take a few hundred bytes.
const METADATA_BYTES_MAX: u64 = 1 << 20;

/// Where things lie in a file that was found sound.
#[derive(Debug)]
pub(crate) struct ArrowFile {
    pub(crate) schema: Schema,
    /// Length of each field, depth first.
    pub(crate) lengths: Vec<u64>,
    /// Nulls among them.
    pub(crate) nulls: Vec<u64>,
    /// Byte range of each buffer, in the order of the fields.
    pub(crate) buffers: Vec<Range<u64>>,
}

/// Writes the whole file. `lengths` has one entry a field, depth first, with the nulls among them; a buffer of `None` is an
/// absent validity bitmap.
pub(crate) fn write(
    out: &mut SealWriter,
    schema: &Schema,
    lengths: &[(u64, u64)],
    buffers: &[Option<&Spool>],
) -> Result<(), StoreError> {
    out.append(MAGIC)?;
    out.append(&[0; 2])?;
    write_message(out, &schema_message(schema))?;

    let mut places = Vec::with_capacity(buffers.len());
    let mut body_bytes = 0;
    for buffer in buffers {
        let len = buffer.map_or(0, Spool::len);
        places.push((body_bytes, len));
        body_bytes += len.next_multiple_of(ALIGNMENT);
    }
    let start = out.len();
    write_message(out, &batch_message(lengths, &places, body_bytes))?;
    let metadata_bytes = out.len() - start;
    for buffer in buffers.iter().flatten() {
        buffer.copy_to(out)?;
        pad(out)?;
    }
    out.append(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])?;
    let footer = footer(schema, start, metadata_bytes, body_bytes);
    out.append(&footer)?;
    out.append(&(footer.len() as i32).to_le_bytes())?;
    out.append(MAGIC)
}

fn pad(out: &mut SealWriter) -> Result<(), StoreError> {
    let rest = out.len().next_multiple_of(ALIGNMENT) - out.len();
    out.append(&[0; ALIGNMENT as usize][..rest as usize])
}

/// A message's metadata, padded so that what follows is aligned.
fn write_message(out: &mut SealWriter, metadata: &[u8]) -> Result<(), StoreError> {
    let end = (out.len() + 8 + metadata.len() as u64).next_multiple_of(ALIGNMENT);
    let size = (end - out.len() - 8) as i32;
    out.append(&[0xff; 4])?;
    out.append(&size.to_le_bytes())?;
    out.append(metadata)?;
    pad(out)
}

fn schema_message(schema: &Schema) -> Vec<u8> {
    let mut encoder = IpcSchemaEncoder::new();
    let mut fbb = encoder.schema_to_fb(schema);
    fbb.reset();
    let schema = encoder
        .schema_to_fb_offset(&mut fbb, schema)
        .as_union_value();
    let mut message = ipc::MessageBuilder::new(&mut fbb);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::Schema);
    message.add_bodyLength(0);
    message.add_header(schema);
    let message = message.finish();
    fbb.finish(message, None);
    fbb.finished_data().to_vec()
}

fn batch_message(lengths: &[(u64, u64)], places: &[(u64, u64)], body_bytes: u64) -> Vec<u8> {
    // Arrow's encoder hands out the builder that its generated code wants.
    let mut fbb = IpcSchemaEncoder::new().schema_to_fb(&Schema::empty());
    fbb.reset();
    let nodes: Vec<_> = lengths
        .iter()
        .map(|&(length, nulls)| ipc::FieldNode::new(length as i64, nulls as i64))
        .collect();
    let buffers: Vec<_> = places
        .iter()
        .map(|&(offset, len)| ipc::Buffer::new(offset as i64, len as i64))
        .collect();
    let nodes = fbb.create_vector(&nodes);
    let buffers = fbb.create_vector(&buffers);
    let mut batch = ipc::RecordBatchBuilder::new(&mut fbb);
    batch.add_length(lengths[0].0 as i64);
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    let batch = batch.finish().as_union_value();
    let mut message = ipc::MessageBuilder::new(&mut fbb);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_bodyLength(body_bytes as i64);
    message.add_header(batch);
    let message = message.finish();
    fbb.finish(message, None);
    fbb.finished_data().to_vec()
}

fn footer(schema: &Schema, start: u64, metadata_bytes: u64, body_bytes: u64) -> Vec<u8> {
    let mut encoder = IpcSchemaEncoder::new();
    let mut fbb = encoder.schema_to_fb(schema);
    fbb.reset();
    let none: [ipc::Block; 0] = [];
    let dictionaries = fbb.create_vector(&none);
    let batches = fbb.create_vector(&[ipc::Block::new(
        start as i64,
        metadata_bytes as i32,
        body_bytes as i64,
    )]);
    let schema = encoder.schema_to_fb_offset(&mut fbb, schema);
    let mut footer = ipc::FooterBuilder::new(&mut fbb);
    footer.add_version(MetadataVersion::V5);
    footer.add_schema(schema);
    footer.add_dictionaries(dictionaries);
    footer.add_recordBatches(batches);
    let footer = footer.finish();
    fbb.finish(footer, None);
    fbb.finished_data().to_vec()
}

/// Reads what the file says of itself and checks that every range lies inside it.
pub(crate) fn read(file: &Sealed, what: &'static str) -> Result<ArrowFile, StoreError> {
    let wrong = |reason: &str| malformed(file, what, reason);
    let tail_start = file
        .len()
        .checked_sub(10)
        .ok_or_else(|| wrong("it is too short"))?;
    let mut tail = [0; 10];
    file.read_into(tail_start, &mut tail)?;
    let footer_bytes =
        ipc::reader::read_footer_length(tail).map_err(|error| wrong(&error.to_string()))? as u64;
    let footer_start = tail_start
        .checked_sub(footer_bytes)
        .filter(|_| footer_bytes <= METADATA_BYTES_MAX)
        .ok_or_else(|| wrong("its footer has an impossible length"))?;
    let footer = aligned(file, footer_start..tail_start)?;
    let footer = ipc::root_as_footer(footer.bytes()).map_err(|error| wrong(&error.to_string()))?;
    let schema = footer.schema().ok_or_else(|| wrong("it has no schema"))?;
    let schema = try_fb_to_schema(schema).map_err(|error| wrong(&error.to_string()))?;
    let block = match footer.recordBatches() {
        Some(blocks) if blocks.len() == 1 => *blocks.get(0),
        _ => return Err(wrong("it does not have exactly one record batch")),
    };
    if footer
        .dictionaries()
        .is_some_and(|dictionaries| !dictionaries.is_empty())
    {
        return Err(wrong("it has dictionary batches"));
    }
    let unsigned =
        |value: i64| u64::try_from(value).map_err(|_| wrong("a length or offset is negative"));
    let start = unsigned(block.offset())?;
    let metadata_bytes = unsigned(i64::from(block.metaDataLength()))?;
    let body_bytes = unsigned(block.bodyLength())?;
    let body_start = start
        .checked_add(metadata_bytes)
        .ok_or_else(|| wrong("its batch lies outside"))?;
    let fits = body_start
        .checked_add(body_bytes)
        .is_some_and(|end| end <= footer_start)
        && (8..=METADATA_BYTES_MAX).contains(&metadata_bytes)
        && body_start.is_multiple_of(ALIGNMENT);
    if !fits {
        return Err(wrong("its batch lies outside or is not aligned"));
    }
    let metadata = aligned(file, start + 8..body_start)?;
    let message =
        ipc::root_as_message(metadata.bytes()).map_err(|error| wrong(&error.to_string()))?;
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| wrong("its message is no record batch"))?;
    if batch.compression().is_some() {
        return Err(wrong("it is compressed"));
    }
    let (Some(nodes), Some(places)) = (batch.nodes(), batch.buffers()) else {
        return Err(wrong("its batch has no fields"));
    };
    let (mut lengths, mut nulls) = (Vec::with_capacity(nodes.len()), Vec::new());
    for node in nodes {
        lengths.push(unsigned(node.length())?);
        nulls.push(unsigned(node.null_count())?);
    }
    let mut buffers = Vec::with_capacity(places.len());
    for place in places {
        let (offset, len) = (unsigned(place.offset())?, unsigned(place.length())?);
        let inside = offset.checked_add(len).is_some_and(|end| end <= body_bytes);
        if !inside || !offset.is_multiple_of(ALIGNMENT) {
            return Err(wrong("a buffer lies outside or is not aligned"));
        }
        buffers.push(body_start + offset..body_start + offset + len);
    }
    Ok(ArrowFile {
        schema,
        lengths,
        nulls,
        buffers,
    })
}

pub(crate) fn malformed(file: &Sealed, what: &'static str, reason: &str) -> StoreError {
    StoreError::Malformed {
        file: file.path().to_owned(),
        what,
        reason: reason.to_owned(),
    }
}

fn aligned(file: &Sealed, range: Range<u64>) -> Result<AlignedBuf, StoreError> {
    let mut buffer = AlignedBuf::zeroed((range.end - range.start) as usize);
    file.read_into(range.start, buffer.bytes_mut())?;
    Ok(buffer)
}
