//! Between the generated types and ours, both ways and total: every value of ours has an encoding, and
//! what does not decode is a typed error, never a panic.

mod bulk;
mod control;
mod failure;
mod keys;
mod task;
#[cfg(test)]
mod tests;

use crate::Token;

/// A message that a correct process of this engine version cannot have sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not.
    #[error("a message lacks its {0}: processes of different versions of the engine?")]
    Missing(&'static str),
    /// A number outside its range, or an unknown choice.
    #[error(
        "a message gives {value} as its {what}: processes of different versions of the engine?"
    )]
    Value {
        /// The field.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A place on the disk of whoever sends or gets it.
    #[error("a message names the place {0:?}, which is local: it goes through the coordinator")]
    Local(String),
}

/// A field that must be there, converted.
pub(crate) fn required<P, T>(what: &'static str, field: Option<P>) -> Result<T, Malformed>
where
    T: TryFrom<P, Error = Malformed>,
{
    T::try_from(field.ok_or(Malformed::Missing(what))?)
}

/// Every element, converted.
pub(crate) fn each<P, T>(list: Vec<P>) -> Result<Vec<T>, Malformed>
where
    T: TryFrom<P, Error = Malformed>,
{
    list.into_iter().map(T::try_from).collect()
}

/// Every element, encoded.
pub(crate) fn all<T, P: From<T>>(list: Vec<T>) -> Vec<P> {
    list.into_iter().map(P::from).collect()
}

/// The secret of a job.
pub(crate) fn token(bytes: &[u8]) -> Result<Token, Malformed> {
    Token::from_bytes(bytes).ok_or(Malformed::Missing("token"))
}

/// A number that must fit a smaller type.
pub(crate) fn fits<T: TryFrom<u32>>(what: &'static str, value: u32) -> Result<T, Malformed> {
    T::try_from(value).map_err(|_| Malformed::Value {
        what,
        value: u64::from(value),
    })
}

/// An enumeration without a choice that we know.
pub(crate) fn unknown(what: &'static str, value: i32) -> Malformed {
    Malformed::Value {
        what,
        value: u64::from(value.cast_unsigned()),
    }
}
