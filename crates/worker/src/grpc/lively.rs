//! Connections whose other end must be heard: one over which not a byte has come for too long is at its end, and whoever waits for
//! something learns it.
//!
//! The probes of HTTP/2 do not tell a dead peer from a slow line, since their answers stand behind all that was sent before. So they
//! only see to it that a living peer says something (`wire::settings`); any byte of it counts, be it of the middle of a chunk, and so
//! does a write that had to wait and went on.
//!
//! **Invariant:** silence is counted in ticks of this process's own: one that was stopped itself blames nobody for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use wire::settings::{PULL_SENDING_MAX, PULL_SILENCE_MAX, SENDING_MAX, SILENCE_MAX};

/// The ticks of the shortest silence that is too long.
const TICKS: u32 = 8;

/// How long the other end may say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A few seconds: a task waits for a block.
    OfPulls,
    /// Longer than any lease: others decide, or nobody waits.
    OfSessions,
}

impl Patience {
    fn silence(self) -> Duration {
        match self {
            Patience::OfPulls => PULL_SILENCE_MAX,
            Patience::OfSessions => SILENCE_MAX,
        }
    }

    /// Where it has to take in what was sent before it can be expected to say anything.
    fn sending(self) -> Duration {
        match self {
            Patience::OfPulls => PULL_SENDING_MAX,
            Patience::OfSessions => SENDING_MAX,
        }
    }

    fn tick(self) -> Duration {
        self.silence() / TICKS
    }
}

/// A connection that ends when its other end has been silent for too long.
#[derive(Debug)]
pub struct Lively<T> {
    stream: T,
    patience: Patience,
    tick: Pin<Box<Sleep>>,
    ticks_left: u32,
    write_waits: bool,
}

impl<T> Lively<T> {
    /// Listens to the other end of this.
    pub fn new(stream: T, patience: Patience) -> Self {
        Lively {
            stream,
            patience,
            tick: Box::pin(sleep(patience.tick())),
            ticks_left: TICKS,
            write_waits: false,
        }
    }

    /// The connection itself.
    pub fn stream(&self) -> &T {
        &self.stream
    }

    /// It lives: the count begins anew.
    fn lives(&mut self, sending: bool) {
        let (longer, tick) = (self.patience.sending(), self.patience.tick());
        self.ticks_left = if sending {
            longer.as_millis().div_ceil(tick.as_millis()) as u32
        } else {
            TICKS
        };
    }

    /// Ready where the silence has been too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.tick.as_mut().poll(cx));
            let next = Instant::now() + self.patience.tick();
            self.tick.as_mut().reset(next);
            self.ticks_left = self.ticks_left.saturating_sub(1);
            if self.ticks_left == 0 {
                let sentence = format!("not a byte has come for {:?}", self.patience.silence());
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, sentence));
            }
        }
    }

    fn wrote<R>(&mut self, written: Poll<R>) -> Poll<R> {
        if written.is_pending() != self.write_waits {
            self.write_waits = written.is_pending();
            self.lives(true);
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lively<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What has come counts, however late it is looked at.
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            let sending = self.write_waits;
            self.lives(sending);
            return Poll::Ready(read);
        }
        let error = ready!(self.poll_silence(cx));
        Poll::Ready(Err(error))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lively<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::advance;

    /// After how long a read ends with an error.
    async fn given_up(lively: &mut (impl AsyncRead + Unpin)) -> Duration {
        let began = Instant::now();
        let error = lively.read_u8().await.expect_err("nothing is said");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn any_byte_is_life_and_silence_is_the_end() {
        let (ours, mut theirs) = duplex(64);
        let mut lively = Lively::new(ours, Patience::OfPulls);
        // A chunk over a slow line: a byte now and then.
        let slowly = async {
            for _ in 0..60 {
                sleep(PULL_SILENCE_MAX * 3 / 4).await;
                theirs.write_u8(7).await.unwrap();
            }
        };
        let ((), read) = tokio::join!(slowly, async {
            let mut chunk = [0; 60];
            lively.read_exact(&mut chunk).await
        });
        read.expect("it is borne with");
        let silence = given_up(&mut lively).await;
        assert!(
            silence >= PULL_SILENCE_MAX * 7 / 8 && silence <= PULL_SILENCE_MAX * 9 / 8,
            "{silence:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_in_slowly_lives_and_who_takes_in_nothing_does_not() {
        let (ours, mut theirs) = duplex(16);
        let (mut read, mut write) = tokio::io::split(Lively::new(ours, Patience::OfPulls));
        let sending = tokio::spawn(async move { write.write_all(&[1; 160]).await });
        let began = Instant::now();
        let reading = tokio::spawn(async move { given_up(&mut read).await });
        for _ in 0..6 {
            sleep(PULL_SENDING_MAX * 3 / 4).await;
            theirs.read_exact(&mut [0; 16]).await.unwrap();
            assert!(!reading.is_finished(), "after {:?}", began.elapsed());
        }
        let silence = reading.await.unwrap();
        assert!(silence > 5 * PULL_SENDING_MAX, "{silence:?}");
        assert!(silence < 6 * PULL_SENDING_MAX, "{silence:?}");
        sending.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_stopped_blames_nobody() {
        let (ours, mut theirs) = duplex(64);
        let mut lively = Lively::new(ours, Patience::OfPulls);
        let reading = tokio::spawn(async move { lively.read_u8().await });
        tokio::task::yield_now().await;
        advance(20 * PULL_SILENCE_MAX).await;
        sleep(PULL_SILENCE_MAX / 2).await;
        theirs.write_u8(9).await.unwrap();
        assert_eq!(reading.await.unwrap().expect("one tick has passed"), 9);
    }
}
