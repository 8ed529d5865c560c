//! The secret of a job: who pulls what its workers hold, or serves them files, shows it.
//!
//! Run keys and terms follow from the data and the job, so that anybody who knows these could name them; a token
//! cannot be guessed. It is drawn by the coordinator, given to workers when their sessions are opened, and ends with
//! the job.
//!
//! **Invariant:** a token is never shown, neither in a log nor in an error.

use std::fmt;

const BYTES: usize = 32;

/// 256 random bits.
#[derive(Clone, Copy, Eq)]
pub struct Token([u8; BYTES]);

impl Token {
    /// One that nobody else has.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn draw() -> std::io::Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
        Ok(Token(bytes))
    }

    /// From its bytes; `None` where they are not as many as a token has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Token)
    }

    /// Its bytes, for the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In a time that does not depend on where they differ.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        let differ = self.0.iter().zip(other.0);
        differ.fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_bytes_and_is_not_shown() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(Token::from_bytes(one.bytes()), Some(one));
        for bit in 0..8 * BYTES {
            let mut near = one.0;
            near[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Token(near), one, "bit {bit}");
        }
        assert_eq!(Token::from_bytes(&one.bytes()[1..]), None);
        assert_eq!(format!("{one:?}"), "Token(..)");
    }
}
