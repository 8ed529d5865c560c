//! Every message with its sum, as protocol buffers and four bytes behind them.
//!
//! TCP's own sum of 16 bits lets some damage pass, and who listens without TLS has nothing else. A flipped bit of a partial sum, of a
//! version or of a block's number would be a wrong result, so nothing of a message is used before its sum is right. One that is not ends
//! its stream; whoever spoke begins again, as after any loss. The sum of a message is CRC32C of its bytes; that of a chunk covers what
//! stands beside its data and the sum that the chunk itself has, with which the receiver compares the data: it is not read twice.

use crate::proto;
use bytes::{Buf, BufMut};
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The length of a sum.
const SUM_BYTES: usize = 4;

/// A message, and whether it is a chunk of bulk.
pub trait Carries: Message {
    /// Of a chunk: the number beside it, and it.
    fn chunk(&self) -> Option<(u64, &proto::Chunk)> {
        None
    }
}

impl Carries for proto::ToWorker {}
impl Carries for proto::FromWorker {}
impl Carries for proto::PullRequest {}
impl Carries for proto::TableRequest {}

impl Carries for proto::PullReply {
    fn chunk(&self) -> Option<(u64, &proto::Chunk)> {
        match &self.reply {
            Some(proto::pull_reply::Reply::Chunk(chunk)) => Some((0, chunk)),
            _ => None,
        }
    }
}

impl Carries for proto::StorageRequest {
    fn chunk(&self) -> Option<(u64, &proto::Chunk)> {
        match &self.request {
            Some(proto::storage_request::Request::Chunk(chunk)) => Some((self.id, chunk)),
            _ => None,
        }
    }
}

impl Carries for proto::StorageReply {
    fn chunk(&self) -> Option<(u64, &proto::Chunk)> {
        match &self.reply {
            Some(proto::storage_reply::Reply::Chunk(chunk)) => Some((self.id, chunk)),
            _ => None,
        }
    }
}

fn sum_of_chunk(number: u64, chunk: &proto::Chunk) -> u32 {
    let (number, len) = (
        number.to_le_bytes(),
        (chunk.data.len() as u64).to_le_bytes(),
    );
    let sum = crc32c::crc32c_append(crc32c::crc32c(&number), &len);
    crc32c::crc32c_append(sum, &chunk.crc32c.to_le_bytes())
}

/// Protocol buffers with sums.
#[derive(Clone, Debug)]
pub struct Summed<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Summed<T, U> {
    fn default() -> Self {
        Summed(PhantomData)
    }
}

impl<T, U> Codec for Summed<T, U>
where
    T: Carries + 'static,
    U: Carries + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Summing<T>;
    type Decoder = Checking<U>;

    fn encoder(&mut self) -> Summing<T> {
        Summing(PhantomData)
    }

    fn decoder(&mut self) -> Checking<U> {
        Checking(PhantomData)
    }
}

/// Adds sums.
#[derive(Debug)]
pub struct Summing<T>(PhantomData<T>);

impl<T: Carries + 'static> Encoder for Summing<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(message.encoded_len() + SUM_BYTES);
        put(&message, to);
        Ok(())
    }
}

/// Writes a message and its sum.
pub fn put<T: Carries>(message: &T, to: &mut impl BufMut) {
    let sum = if let Some((number, chunk)) = message.chunk() {
        message.encode_raw(to);
        sum_of_chunk(number, chunk)
    } else {
        let bytes = message.encode_to_vec();
        to.put_slice(&bytes);
        crc32c::crc32c(&bytes)
    };
    to.put_u32_le(sum);
}

/// Compares sums.
#[derive(Debug)]
pub struct Checking<U>(PhantomData<U>);

impl<U: Carries + Default + 'static> Decoder for Checking<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let len = bytes.len();
        let message = checked(bytes);
        message
            .map(Some)
            .ok_or_else(|| Status::data_loss(format!("a message of {len} bytes arrived damaged")))
    }
}

/// The message of these bytes, if they are those that were sent. (The data of a chunk are compared where they are used.)
pub fn checked<U: Carries + Default>(mut bytes: bytes::Bytes) -> Option<U> {
    let mut sum = bytes.split_off(bytes.len().checked_sub(SUM_BYTES)?);
    let sum = sum.get_u32_le();
    // Looked at, and not yet believed: decoders bear with any bytes.
    let message = U::decode(bytes.clone()).ok()?;
    let right = match message.chunk() {
        Some((number, chunk)) => sum_of_chunk(number, chunk),
        None => crc32c::crc32c(&bytes),
    };
    (right == sum).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chunk, Done, FromWorker, StorageReply};
    use bytes::Bytes;
    use tensor::{StepId, TaskId};

    /// Whether what is left of a message after a flip of any bit is refused, here or by the sum of the chunk.
    fn all_flips_are_found<T>(message: T)
    where
        T: Carries + Default + PartialEq + Clone + std::fmt::Debug,
    {
        let mut bytes = Vec::new();
        put(&message, &mut bytes);
        assert_eq!(checked(Bytes::from(bytes.clone())), Some(message.clone()));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Some(found) = checked::<T>(Bytes::from(damaged)) {
                let (number, chunk) = found.chunk().expect("only chunks come so far");
                assert_eq!(Some(number), message.chunk().map(|(number, _)| number));
                let chunk = Chunk::received(chunk.data.clone(), chunk.crc32c);
                assert!(chunk.verified().is_err(), "bit {bit}");
            }
        }
        for len in 0..bytes.len() {
            assert_eq!(
                checked::<T>(Bytes::from(bytes[..len].to_vec())),
                None,
                "{len}"
            );
        }
    }

    #[test]
    fn no_flipped_bit_of_a_message_is_believed() {
        let done = FromWorker::Done(Done {
            task: TaskId {
                step: StepId(3),
                index: 4,
            },
            attempt: 2,
            partial: vec![1, 2, 3, 4, 5, 6, 7, 8],
            wrote: Vec::new(),
            pieces: 1,
            cut_rows: 0,
            lane: 1,
            spans: Vec::new(),
            peak_anonymous_bytes: 1 << 20,
            traffic: Vec::new(),
        });
        all_flips_are_found::<proto::FromWorker>(done.into());
        let chunk = Chunk::new(Bytes::from_static(b"factors of a block"));
        all_flips_are_found::<proto::StorageReply>(StorageReply::Content { id: 77, chunk }.into());
        all_flips_are_found::<proto::StorageReply>(StorageReply::Stored { id: 77 }.into());
    }
}
