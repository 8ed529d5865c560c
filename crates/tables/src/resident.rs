//! A table in memory, read as the Parquet file that nobody writes: its bytes are made of the arrays when they are asked for.
//!
//! Numbers without nulls lie in such a file (PLAIN, uncompressed) as they lie in Arrow, so that reading them is copying them; text,
//! decimals, and what has nulls, is encoded page by page. Categories (dictionaries) lie there as the values that they stand for.
//!
//! **Invariant:** the bytes follow from the rows and the types of the columns alone, never from how the rows were cut into batches.

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, AsArray, BinaryArray, LargeBinaryArray, LargeStringArray,
    RecordBatch, StringArray, StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema};
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter,
    RowGroupMetaData,
};
use parquet::schema::types::SchemaDescPtr;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tensor::ReadAt;

/// Rows of a row group, as in [`crate::out::interchange`].
pub(crate) const GROUP_ROWS: usize = 1 << 19;
/// Rows of a page: what is encoded at once.
const PAGE_ROWS: usize = 16 << 10;
/// What every Parquet file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";

/// Some columns of a table in memory.
pub struct Resident {
    columns: Vec<Column>,
    pages: Vec<Page>,
    /// What stands behind the pages: the metadata, their length and the word.
    footer: Vec<u8>,
    footer_at: u64,
}

/// The arrays of a column, one after the other.
struct Column {
    arrays: Vec<ArrayRef>,
    /// The first row of each array, and the end.
    starts: Vec<usize>,
    data_type: DataType,
    nullable: bool,
}

/// A page of a column: where it begins, what of the column is in it, and the bytes of levels and values.
struct Page {
    start: u64,
    column: usize,
    rows: Range<usize>,
    body: usize,
}

/// How a column of this type lies in a file, where it lies there as it is or as wider integers; `None`: it takes a writer.
fn laid(found: &DataType) -> Option<DataType> {
    Some(match found {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, of) => return laid(of),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Int32
        | DataType::UInt32
        | DataType::Int64
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Utf8
        | DataType::Binary => found.clone(),
        _ => return None,
    })
}

fn is_decimal(laid: &DataType) -> bool {
    matches!(laid, DataType::Decimal128(..))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Binary)
}

/// Bytes of a value in the file, where all have as many. Decimals are integers there, the large ones of as many bytes as they need.
fn width(laid: &DataType) -> Option<usize> {
    match laid {
        DataType::Decimal128(..=9, _) => Some(4),
        DataType::Decimal128(10..=18, _) => Some(8),
        DataType::Decimal128(precision, _) => {
            // Twice the largest value and the sign.
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            let bits = i128::BITS - most.leading_zeros() + 1;
            Some(bits.div_ceil(8) as usize)
        }
        other => other.primitive_width(),
    }
}

impl Resident {
    /// Whether a table with this schema can be read so: it has the columns, and all of them are numbers, times, text, bytes, or categories of
    /// these.
    pub fn takes(schema: &Schema, columns: &[String]) -> bool {
        let takes = |column: &String| {
            let field = schema.field_with_name(column).ok();
            field.is_some_and(|field| laid(field.data_type()).is_some())
        };
        !columns.is_empty() && columns.iter().all(takes)
    }

    /// The table of these batches, all of whose columns are such as [`Resident::takes`] takes.
    ///
    /// # Errors
    /// Where a column cannot be brought to its type in the file, or a page would be larger than Parquet allows.
    pub fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self, ParquetError> {
        let columns: Vec<Column> = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| Column::new(field, batches.iter().map(|batch| batch.column(at))))
            .collect::<Result<_, _>>()?;
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .zip(&columns)
            .map(|(field, column)| {
                Field::new(field.name(), column.data_type.clone(), column.nullable)
            })
            .collect();
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Self::planned(&Schema::new(fields), columns, rows)
    }

    /// Lays the pages out: row group by row group, column by column.
    fn planned(schema: &Schema, columns: Vec<Column>, rows: usize) -> Result<Self, ParquetError> {
        let descriptor: SchemaDescPtr = Arc::new(ArrowSchemaConverter::new().convert(schema)?);
        let (mut pages, mut groups) = (Vec::new(), Vec::new());
        let mut at = MAGIC.len() as u64;
        for first in (0..rows).step_by(GROUP_ROWS) {
            let group = first..rows.min(first + GROUP_ROWS);
            let mut chunks = Vec::with_capacity(columns.len());
            for (number, column) in columns.iter().enumerate() {
                let start = at;
                for first in group.clone().step_by(PAGE_ROWS) {
                    let rows = first..group.end.min(first + PAGE_ROWS);
                    let body = column.body(&rows)?;
                    let page = Page {
                        start: at,
                        column: number,
                        rows,
                        body,
                    };
                    at += page.bytes() as u64;
                    pages.push(page);
                }
                let chunk = ColumnChunkMetaData::builder(descriptor.column(number))
                    .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
                    .set_compression(Compression::UNCOMPRESSED)
                    .set_num_values(group.len() as i64)
                    .set_total_compressed_size((at - start) as i64)
                    .set_total_uncompressed_size((at - start) as i64)
                    .set_data_page_offset(start as i64);
                chunks.push(chunk.build()?);
            }
            let bytes = chunks
                .iter()
                .map(ColumnChunkMetaData::compressed_size)
                .sum();
            let group = RowGroupMetaData::builder(Arc::clone(&descriptor))
                .set_num_rows(group.len() as i64)
                .set_total_byte_size(bytes)
                .set_column_metadata(chunks);
            groups.push(group.build()?);
        }
        let named = KeyValue::new(
            ARROW_SCHEMA_META_KEY.to_owned(),
            encode_arrow_schema(schema),
        );
        let file = FileMetaData::new(1, rows as i64, None, Some(vec![named]), descriptor, None);
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &ParquetMetaData::new(file, groups)).finish()?;
        Ok(Resident {
            columns,
            pages,
            footer,
            footer_at: at,
        })
    }

    /// Fills `out` with what lies at `offset`, as far as one piece reaches (the word, a page, the footer); gives how much that was.
    fn piece(&self, offset: u64, out: &mut [u8]) -> Result<usize, ArrowError> {
        if offset < MAGIC.len() as u64 {
            return Ok(copied(MAGIC, offset as usize, out));
        }
        if offset >= self.footer_at {
            return Ok(copied(
                &self.footer,
                (offset - self.footer_at) as usize,
                out,
            ));
        }
        let next = self.pages.partition_point(|page| page.start <= offset);
        let page = &self.pages[next - 1];
        let column = &self.columns[page.column];
        if offset == page.start && out.len() >= page.bytes() {
            column.encode(page, &mut out[..page.bytes()])?;
            return Ok(page.bytes());
        }
        let mut whole = vec![0; page.bytes()];
        column.encode(page, &mut whole)?;
        Ok(copied(&whole, (offset - page.start) as usize, out))
    }
}

fn copied(from: &[u8], skip: usize, out: &mut [u8]) -> usize {
    let length = out.len().min(from.len() - skip);
    out[..length].copy_from_slice(&from[skip..skip + length]);
    length
}

impl ReadAt for Resident {
    fn len(&self) -> u64 {
        self.footer_at + self.footer.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < buffer.len() {
            let piece = self.piece(offset + done as u64, &mut buffer[done..]);
            done += piece.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Page {
    fn header(&self) -> Header {
        Header::new(self.body, self.rows.len())
    }

    fn bytes(&self) -> usize {
        self.header().as_slice().len() + self.body
    }
}

impl Column {
    fn new<'a>(
        field: &Field,
        arrays: impl Iterator<Item = &'a ArrayRef>,
    ) -> Result<Self, ParquetError> {
        let data_type = laid(field.data_type()).ok_or_else(|| {
            ParquetError::General(format!("{} takes a writer", field.data_type()))
        })?;
        let arrays: Vec<ArrayRef> = arrays.filter(|array| !array.is_empty()).cloned().collect();
        let mut starts = vec![0];
        for array in &arrays {
            starts.push(starts[starts.len() - 1] + array.len());
        }
        Ok(Column {
            nullable: arrays.iter().any(|array| array.logical_null_count() > 0),
            arrays,
            starts,
            data_type,
        })
    }

    /// The parts of arrays that some rows lie in, as the file has them.
    fn parts(&self, rows: &Range<usize>) -> impl Iterator<Item = Result<ArrayRef, ArrowError>> {
        let first = self.starts.partition_point(|start| *start <= rows.start) - 1;
        let rows = rows.clone();
        let within = self.arrays[first.min(self.arrays.len())..].iter();
        within
            .zip(&self.starts[first..])
            .take_while(move |(_, start)| **start < rows.end)
            .map(move |(array, start)| {
                let from = rows.start.max(*start) - start;
                let until = rows.end.min(start + array.len()) - start;
                let mut part = array.slice(from, until - from);
                if let DataType::Dictionary(_, of) = array.data_type() {
                    part = cast(&part, of)?;
                }
                // Text is read in any of its forms.
                if *part.data_type() == self.data_type || is_text(&self.data_type) {
                    Ok(part)
                } else {
                    cast(&part, &self.data_type)
                }
            })
    }

    /// Bytes of the levels and values of a page.
    fn body(&self, rows: &Range<usize>) -> Result<usize, ParquetError> {
        let mut bytes = if self.nullable { levels(rows.len()) } else { 0 };
        match width(&self.data_type) {
            Some(width) if !self.nullable => bytes += width * rows.len(),
            Some(width) => {
                for part in self.parts(rows) {
                    let part = part?;
                    bytes += width * (part.len() - part.null_count());
                }
            }
            None => {
                for part in self.parts(rows) {
                    texts(&part?, &mut |text| bytes += 4 + text.len());
                }
            }
        }
        // Lengths of pages are signed, of 32 bits.
        i32::try_from(bytes).map_err(|_| ParquetError::General(TOO_LONG.to_owned()))?;
        Ok(bytes)
    }

    /// Writes a page whole.
    fn encode(&self, page: &Page, out: &mut [u8]) -> Result<(), ArrowError> {
        let header = page.header();
        let mut sink = Sink { out, at: 0 };
        sink.put(header.as_slice());
        if self.nullable {
            sink.levels(page.rows.len());
            let mut row = 0;
            let at = sink.at;
            for part in self.parts(&page.rows) {
                let part = part?;
                for each in 0..part.len() {
                    if part.is_valid(each) {
                        sink.out[at + row / 8] |= 1 << (row % 8);
                    }
                    row += 1;
                }
            }
            sink.at += row.div_ceil(8);
        }
        for part in self.parts(&page.rows) {
            let part = part?;
            match width(&self.data_type) {
                Some(width) if is_decimal(&self.data_type) => {
                    decimals(&part, width, &mut |bytes| sink.put(bytes));
                }
                Some(width) => values(&part, width, &mut |bytes| sink.put(bytes)),
                None => texts(&part, &mut |text| {
                    sink.put(&(text.len() as u32).to_le_bytes());
                    sink.put(text);
                }),
            }
        }
        Ok(())
    }
}

const TOO_LONG: &str = "a page of text is longer than 2 GiB";

/// Calls `heard` with the bytes of the values that are there.
fn values(array: &ArrayRef, width: usize, heard: &mut dyn FnMut(&[u8])) {
    let data = array.to_data();
    let bytes = &data.buffers()[0].as_slice()[data.offset() * width..][..data.len() * width];
    match data.nulls() {
        Some(nulls) => {
            for (from, until) in nulls.valid_slices() {
                heard(&bytes[from * width..until * width]);
            }
        }
        None => heard(bytes),
    }
}

/// The same of decimals: up to 8 bytes as the machine has them, more with the highest first.
fn decimals(array: &ArrayRef, width: usize, heard: &mut dyn FnMut(&[u8])) {
    for value in array.as_primitive::<Decimal128Type>().iter().flatten() {
        if width <= 8 {
            heard(&value.to_le_bytes()[..width]);
        } else {
            heard(&value.to_be_bytes()[16 - width..]);
        }
    }
}

/// Calls `heard` with each text that is there.
fn texts(array: &ArrayRef, heard: &mut dyn FnMut(&[u8])) {
    fn each<'a, T: AsRef<[u8]> + ?Sized + 'a>(
        array: impl ArrayAccessor<Item = &'a T>,
        heard: &mut dyn FnMut(&[u8]),
    ) {
        for at in 0..array.len() {
            if array.is_valid(at) {
                heard(array.value(at).as_ref());
            }
        }
    }
    let any = array.as_any();
    if let Some(array) = any.downcast_ref::<StringArray>() {
        each(array, heard);
    } else if let Some(array) = any.downcast_ref::<LargeStringArray>() {
        each(array, heard);
    } else if let Some(array) = any.downcast_ref::<StringViewArray>() {
        each(array, heard);
    } else if let Some(array) = any.downcast_ref::<BinaryArray>() {
        each(array, heard);
    } else if let Some(array) = any.downcast_ref::<LargeBinaryArray>() {
        each(array, heard);
    } else {
        each::<[u8]>(array.as_binary_view(), heard);
    }
}

/// Bytes of the levels of so many rows: their length, one run of bits, and its head.
fn levels(rows: usize) -> usize {
    let mut head = Header::default();
    head.varint(run_head(rows));
    4 + head.as_slice().len() + rows.div_ceil(8)
}

/// The head of a run of bits: eights of rows, and the bit that says so.
fn run_head(rows: usize) -> u64 {
    ((rows.div_ceil(8) as u64) << 1) | 0x01
}

/// A page that is being written.
struct Sink<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// All but the bits of levels, which are made zero.
    fn levels(&mut self, rows: usize) {
        let bits = rows.div_ceil(8);
        let mut head = Header::default();
        head.varint(run_head(rows));
        let length = head.as_slice().len() + bits;
        self.put(&(length as u32).to_le_bytes());
        self.put(head.as_slice());
        self.out[self.at..self.at + bits].fill(0);
    }
}

/// The head of a data page of values one after the other (PLAIN, levels in runs), in Thrift's compact protocol.
#[derive(Default)]
struct Header {
    bytes: [u8; 32],
    length: usize,
}

impl Header {
    fn new(body: usize, rows: usize) -> Self {
        // Fields follow each other: the step and the type, 5 for integers (zigzag), 0xC for a structure; 0 ends one.
        let mut header = Header::default();
        header.integer(1, 0);
        header.integer(1, body);
        header.integer(1, body);
        header.byte(0x2C);
        header.integer(1, rows);
        header.integer(1, 0);
        header.integer(1, 3);
        header.integer(1, 3);
        header.byte(0);
        header.byte(0);
        header
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn integer(&mut self, step: u8, value: usize) {
        self.byte((step << 4) | 0x05);
        self.varint((value as u64) << 1);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }
}

#[cfg(test)]
mod tests;
