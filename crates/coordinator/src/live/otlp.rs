//! Sends spans to a collector of OpenTelemetry: OTLP over HTTP, in its JSON form, which every collector takes at port 4318.
//!
//! Only the coordinator sends: workers report what they did anyway, and need not reach a collector. It is written out here since
//! its JSON is small, and the HTTP client that object stores bring is there already.
//!
//! **Invariant:** the run never waits for a collector. What there is no room for, or what the collector does not take, is counted,
//! told once, and gone.

use crate::driver::{Attribute, Span, Value};
use crate::failure::Failure;
use plan::Refusal;
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Spans that wait to be sent at the most, some 400 bytes each.
const QUEUE: usize = 16_384;
/// Spans of one request at the most.
const BATCH: usize = 2_048;
/// Spans are gathered for so long.
const GATHER: Duration = Duration::from_millis(500);
/// How long a collector may take for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of a run waits for what is still to be sent.
const LAST: Duration = Duration::from_secs(10);
/// Where collectors take traces.
const PATH: &str = "v1/traces";

/// A way to a collector.
pub struct Exporter {
    spans: mpsc::Sender<Span>,
    lost: Arc<AtomicU64>,
    sending: JoinHandle<Option<String>>,
    endpoint: String,
}

impl Exporter {
    /// To a collector at `http://HOST:PORT`; `about` is what all spans have in common.
    ///
    /// # Errors
    /// Where the endpoint is no URL.
    pub fn start(endpoint: &str, about: &[Attribute]) -> Result<Self, Failure> {
        let base = endpoint.trim_end_matches('/');
        let base = base.strip_suffix(PATH).unwrap_or(base);
        let wrong = |why: String| {
            let sentence = format!(
                "`run.trace_endpoint` {endpoint} is of no use ({why}): give the URL of a collector that takes OTLP over HTTP, as \
                 http://localhost:4318"
            );
            Failure::new(Refusal::Config, sentence)
        };
        let url = format!("{}/{PATH}", base.trim_end_matches('/'));
        let url = reqwest::Url::parse(&url).map_err(|error| wrong(error.to_string()))?;
        let client = reqwest::Client::builder().timeout(PATIENCE).build();
        let client = client.map_err(|error| wrong(error.to_string()))?;
        let (spans, queue) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let sending = send_all(client, url, resource(about), queue, Arc::clone(&lost));
        Ok(Exporter {
            spans,
            lost,
            sending: tokio::spawn(sending),
            endpoint: endpoint.to_owned(),
        })
    }

    /// What takes spans for it.
    pub fn take(&self) -> impl FnMut(Span) + Send + use<> {
        let (spans, lost) = (self.spans.clone(), Arc::clone(&self.lost));
        move |span| {
            if spans.try_send(span).is_err() {
                lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// Waits a while for what is still to be sent, once nobody gives it any more. A sentence where something was lost.
    pub async fn close(self) -> Option<String> {
        let Exporter {
            spans,
            lost,
            sending,
            endpoint,
        } = self;
        drop(spans);
        let abort = sending.abort_handle();
        let Ok(sent) = timeout(LAST, sending).await else {
            abort.abort();
            return Some(format!(
                "the collector of traces at {endpoint} is too slow: the last spans are lost"
            ));
        };
        let why = sent.ok().flatten();
        let lost = lost.load(Relaxed);
        let why = why.unwrap_or_else(|| "they came faster than they could be sent".to_owned());
        (lost > 0).then(|| {
            format!("{lost} spans did not reach the collector of traces at {endpoint}: {why}")
        })
    }
}

/// Sends what comes until nothing can come any more: why something was lost, where it was.
async fn send_all(
    client: reqwest::Client,
    url: reqwest::Url,
    resource: serde_json::Value,
    mut queue: mpsc::Receiver<Span>,
    lost: Arc<AtomicU64>,
) -> Option<String> {
    let mut why = None;
    loop {
        let mut batch = Vec::new();
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return why;
        }
        let gather = async {
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                if queue.recv_many(&mut batch, room).await == 0 {
                    break;
                }
            }
        };
        // Too late is no fault: what is there is sent.
        let _ = timeout(GATHER, gather).await;
        let body = encoded(&resource, &batch).to_string();
        let request = client
            .post(url.clone())
            .header("content-type", "application/json")
            .body(body);
        let answer = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        if let Err(error) = answer {
            lost.fetch_add(batch.len() as u64, Relaxed);
            let error = innermost(&error);
            if why.is_none() {
                tracing::info!(%url, error, "spans are lost");
            }
            why = Some(error);
        }
    }
}

/// What the system said; the layers above it only say that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn attributes(of: &[Attribute]) -> serde_json::Value {
    let one = |(key, value): &Attribute| {
        let value = match value {
            // Numbers of 64 bits are texts in this JSON.
            Value::Int(number) => json!({"intValue": number.to_string()}),
            Value::Text(text) => json!({"stringValue": text}),
        };
        json!({"key": key, "value": value})
    };
    of.iter().map(one).collect()
}

fn resource(about: &[Attribute]) -> serde_json::Value {
    let own = [
        ("service.name", Value::Text("strata".to_owned())),
        (
            "service.version",
            Value::Text(env!("CARGO_PKG_VERSION").to_owned()),
        ),
    ];
    json!({"attributes": attributes(&[&own, about].concat())})
}

/// `ExportTraceServiceRequest` in JSON.
fn encoded(resource: &serde_json::Value, spans: &[Span]) -> serde_json::Value {
    let one = |span: &Span| {
        let moment = |moment: &crate::driver::Moment| {
            json!({
                "timeUnixNano": moment.at_ns.to_string(),
                "name": moment.name,
                "attributes": attributes(&moment.attributes),
            })
        };
        let mut told = json!({
            "traceId": hex(&span.trace),
            "spanId": hex(&span.id),
            "name": span.name,
            "kind": 1,
            "startTimeUnixNano": span.start_ns.to_string(),
            "endTimeUnixNano": span.end_ns.to_string(),
            "attributes": attributes(&span.attributes),
            "events": span.moments.iter().map(moment).collect::<Vec<_>>(),
            "status": match &span.error {
                Some(error) => json!({"code": 2, "message": error}),
                None => json!({"code": 1}),
            },
        });
        if let Some(parent) = span.parent {
            told["parentSpanId"] = hex(&parent).into();
        }
        told
    };
    let spans: Vec<serde_json::Value> = spans.iter().map(one).collect();
    json!({"resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{"scope": {"name": "strata"}, "spans": spans}],
    }]})
}
