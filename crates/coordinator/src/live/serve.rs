//! The coordinator's HTTP: the live page and its events, beside what both daemons answer.
//!
//! **Invariant:** a page is sent what is new for it since it was last sent something, as fast as it reads and no faster than
//! once in [`EVERY`]; the run knows nothing of it.

use super::{Cell, Live, figures};
use crate::failure::Failure;
use crate::output::page::live::{self, Fragments};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use serde::Serialize;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tensor::StepId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use worker::http::{Lasting, Told, bind, common, serve};

/// Between two updates of a page.
const EVERY: Duration = Duration::from_secs(1);
/// Pages that are kept up to date at once.
const PAGES_MAX: usize = 16;
/// How long the end of a verb waits for pages to learn of it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long what was written last is on its way.
const ON_THE_WAY: Duration = Duration::from_millis(100);
/// Nothing from elsewhere, nothing in the page itself, nowhere to send anything, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

impl Told for Live {
    fn is_ready(&self) -> bool {
        self.locked().is_working()
    }

    fn metrics(&self) -> String {
        figures::text(&self.status())
    }

    fn status(&self) -> String {
        serde_json::to_string(&Live::status(self)).unwrap_or_default()
    }
}

#[derive(Clone)]
struct Desk {
    live: Arc<Live>,
    over: watch::Receiver<bool>,
    pages: Arc<Semaphore>,
}

/// The listener of a verb, until it is closed or dropped.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    live: Arc<Live>,
    over: watch::Sender<bool>,
    pages: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Listens at `--http`.
    ///
    /// # Errors
    /// Where the address is none, or cannot be had.
    pub async fn start(address: &str, live: Arc<Live>) -> Result<Self, Failure> {
        let (listener, address) = bind("--http", address).await?;
        let (over, told) = watch::channel(false);
        let pages = Arc::new(Semaphore::new(PAGES_MAX));
        let desk = Desk {
            live: Arc::clone(&live),
            over: told,
            pages: Arc::clone(&pages),
        };
        let router = Router::new()
            .route("/", get(page))
            .route("/live.css", get(style))
            .route("/live.js", get(script))
            .route("/events", get(events))
            .with_state(desk)
            .merge(common(Arc::clone(&live)));
        let task = tokio::spawn(serve(listener, router));
        Ok(Serving {
            address,
            live,
            over,
            pages,
            task,
        })
    }

    /// The verb is over: pages are told, for a moment at most.
    pub async fn close(self, failure: Option<&Failure>) {
        self.live.finish(failure);
        // Nobody may be there.
        let _ = self.over.send(true);
        if self.pages.available_permits() < PAGES_MAX {
            let all = self.pages.acquire_many(PAGES_MAX as u32);
            let _ = timeout(LAST_WORDS, all).await;
            sleep(ON_THE_WAY).await;
        }
        self.task.abort();
    }
}

fn file(kind: &'static str, text: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text.into()).into_response()
}

async fn page(State(desk): State<Desk>) -> Response {
    file("text/html; charset=utf-8", live::page(&desk.live.status()))
}

async fn style() -> Response {
    file("text/css; charset=utf-8", live::style())
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", live::SCRIPT)
}

async fn events(State(desk): State<Desk>, Extension(lasting): Extension<Lasting>) -> Response {
    let Ok(place) = Arc::clone(&desk.pages).try_acquire_owned() else {
        let busy = "as many pages are open as are kept up to date: close one\n";
        return (StatusCode::SERVICE_UNAVAILABLE, busy).into_response();
    };
    lasting.lasts();
    let page = Page {
        desk,
        seen: Seen::default(),
        told: false,
        _place: place,
    };
    let events = stream::unfold(Some(page), next);
    file("text/event-stream", Body::from_stream(events))
}

/// A page that is kept up to date.
struct Page {
    desk: Desk,
    seen: Seen,
    /// What it was sent last was the last.
    told: bool,
    _place: OwnedSemaphorePermit,
}

/// What a page was sent.
#[derive(Default)]
struct Seen {
    fragments: Fragments,
    /// The curve, by how many epochs it had and which was the last.
    course: Option<(usize, u32)>,
    map: Option<(StepId, Vec<Cell>)>,
}

/// What is new for a page.
#[derive(Debug, Serialize)]
struct Frame {
    /// Parts of the page, by the id of their place.
    put: Fragments,
    /// The map, where it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<MapFrame>,
    /// There is no more.
    over: bool,
}

/// What is new of a map.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum MapFrame {
    /// Another step: all of its cells.
    All(String),
    /// The same step: those that changed.
    Changed(String),
}

impl Seen {
    /// What is new since the last one.
    fn frame(&mut self, live: &Live, over: bool) -> Frame {
        let mut now = live::fragments(&Live::status(live));
        let state = live.locked();
        let map = state.map().and_then(|map| {
            let before = self.map.take();
            let same =
                before.filter(|(step, cells)| *step == map.step && cells.len() == map.cells.len());
            self.map = Some((map.step, map.cells.clone()));
            match same {
                None => Some(MapFrame::All(map.all())),
                Some((_, cells)) if cells == map.cells => None,
                Some((_, cells)) => Some(MapFrame::Changed(map.since(&cells))),
            }
        });
        let epochs = state.epochs();
        let course = (epochs.len(), epochs.last().map_or(0, |epoch| epoch.epoch));
        let epochs = (self.course != Some(course)).then(|| epochs.to_vec());
        drop(state);
        self.course = Some(course);
        if let Some(epochs) = epochs {
            now.insert("course", live::course(&epochs));
        }
        let put = now
            .iter()
            .filter(|(place, html)| self.fragments.get(*place) != Some(html));
        let put: Fragments = put.map(|(place, html)| (*place, html.clone())).collect();
        self.fragments.extend(now);
        Frame { put, map, over }
    }
}

/// The next event of a page: at once the first time, then when it has read the last one and a moment has passed.
async fn next(page: Option<Page>) -> Option<(Result<Bytes, Infallible>, Option<Page>)> {
    let mut page = page.filter(|page| !page.told)?;
    if page.seen.course.is_some() {
        tokio::select! {
            () = sleep(EVERY) => {}
            // The sender lives as long as the listener.
            _ = page.desk.over.wait_for(|over| *over) => {}
        }
    }
    page.told = *page.desk.over.borrow();
    let frame = page.seen.frame(&page.desk.live, page.told);
    let text = serde_json::to_string(&frame).ok()?;
    let event = Bytes::from(format!("retry: 2000\ndata: {text}\n\n"));
    Some((Ok(event), Some(page)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{OfWorker, Report};
    use crate::progress::{Observer, Unit};
    use tensor::{TaskId, WorkerId};

    #[test]
    fn a_page_is_sent_what_is_new_for_it() {
        let live = Live::new("run", 1 << 30);
        live.begin("train", Unit::Tasks, None);
        let step = |id: u64| Report::Step {
            step: StepId(id),
            name: "user half-step".into(),
            tasks: 10_000,
        };
        let given = |id: u64, index| {
            let task = TaskId {
                step: StepId(id),
                index,
            };
            Report::Worker(WorkerId(3), OfWorker::Given(task, 0))
        };
        live.hear(&step(0));
        let mut seen = Seen::default();
        let first = seen.frame(&live, false);
        assert!(first.put.contains_key("status") && first.put.contains_key("phases"));
        let all = Some(MapFrame::All("0".repeat(30_000)));
        assert_eq!(first.map, all);
        live.hear(&given(0, 77));
        let second = seen.frame(&live, false);
        assert_eq!(second.map, Some(MapFrame::Changed("77:7".into())));
        assert!(!second.put.contains_key("course"), "no epoch has ended");
        let text = serde_json::to_string(&second).expect("it is plain");
        assert!(text.len() < 4000, "{text}");
        assert_eq!(seen.frame(&live, false).map, None);
        // Another step, while the first is whole.
        live.hear(&Report::Whole(StepId(0)));
        live.hear(&step(1));
        assert_eq!(seen.frame(&live, true).map, all);
    }
}
