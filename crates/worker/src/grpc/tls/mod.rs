//! Mutual TLS: who shows a certificate of the cluster's own authority is let in, and a name in it says as what.
//!
//! A folder has `ca.crt`, `tls.crt` and `tls.key`, in PEM, as cert-manager mounts them and `coordinator tls init` writes them. A role is a
//! DNS name of a certificate and no address, so that a pod may be anywhere.
//!
//! **Invariant:** certificates that cannot be used are told of at the start. Those that come later, by a renewal, are taken from the next
//! connection on; where they cannot be used the last good ones stay.

mod handshakes;

pub use handshakes::handshakes;

use super::dial::{Connect, channel};
use plan::{Failure, Refusal};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use wire::settings::secured;

const AUTHORITY: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// How often the files are looked at for new ones.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a program may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Compute, and ask other workers for blocks.
    Worker,
    /// Command workers.
    Coordinator,
}

impl Role {
    /// The DNS name that a certificate of it has.
    pub fn name(self) -> &'static str {
        match self {
            Role::Worker => "worker.strata",
            Role::Coordinator => "coordinator.strata",
        }
    }

    /// Whether a certificate, which was verified, is of this role.
    pub fn is_of(self, certificate: &CertificateDer<'_>) -> bool {
        let name = ServerName::try_from(self.name());
        let certificate = EndEntityCert::try_from(certificate);
        match (certificate, name) {
            (Ok(certificate), Ok(name)) => {
                certificate.verify_is_valid_for_subject_name(&name).is_ok()
            }
            _ => false,
        }
    }
}

/// A folder of certificates, and what was last read from it.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    folder: PathBuf,
    role: Role,
    latest: Mutex<Latest>,
}

struct Latest {
    looked: Instant,
    stamp: Vec<(SystemTime, u64)>,
    configs: Configs,
}

#[derive(Clone)]
struct Configs {
    client: ClientTlsConfig,
    server: Arc<ServerConfig>,
}

impl Credentials {
    /// Reads and checks a folder.
    ///
    /// # Errors
    /// [`Refusal::Config`] where a file is missing or none of its kind, where the certificate is not of this role or not of the
    /// authority, has ended, or is of another key.
    pub fn open(folder: &Path, role: Role) -> Result<Self, Failure> {
        let refused = |why: String| Failure::Refused {
            refusal: Refusal::Config,
            sentence: format!(
                "the certificates in {} cannot be used: {why}: `coordinator tls init` makes new ones",
                folder.display()
            ),
        };
        let stamp = stamp(folder).map_err(refused)?;
        let configs = read(folder, role).map_err(refused)?;
        Ok(Credentials(Arc::new(Shared {
            folder: folder.to_owned(),
            role,
            latest: Mutex::new(Latest {
                looked: Instant::now(),
                stamp,
                configs,
            }),
        })))
    }

    /// How an endpoint becomes a channel to a worker: one that has not the name of the role is no worker.
    pub fn connect(&self) -> Connect {
        let credentials = self.clone();
        Arc::new(
            move |plain, patience| match secured(&plain, credentials.now().client) {
                Ok(endpoint) => channel(&endpoint, patience),
                Err(error) => {
                    // They were good when they were read. A plain channel is refused by the other end.
                    tracing::warn!(%error, "a secured channel cannot be made");
                    channel(&plain, patience)
                }
            },
        )
    }

    fn now(&self) -> Configs {
        let shared = &self.0;
        let mut latest = shared.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.looked.elapsed() >= LOOK_EVERY {
            latest.looked = Instant::now();
            let stamp = stamp(&shared.folder).unwrap_or_else(|_| latest.stamp.clone());
            if stamp != latest.stamp {
                match read(&shared.folder, shared.role) {
                    Ok(configs) => {
                        tracing::info!("new certificates were read");
                        latest.configs = configs;
                    }
                    Err(why) => {
                        tracing::warn!(
                            "the new certificates cannot be used, the last ones stay: {why}"
                        );
                    }
                }
                latest.stamp = stamp;
            }
        }
        latest.configs.clone()
    }
}

/// By what a change of the files shows.
fn stamp(folder: &Path) -> Result<Vec<(SystemTime, u64)>, String> {
    let of = |name: &str| {
        let file = folder.join(name);
        let metadata = std::fs::metadata(&file);
        let found = metadata.and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
        found.map_err(|error| format!("{}: {error}", file.display()))
    };
    [AUTHORITY, CERTIFICATE, KEY].into_iter().map(of).collect()
}

fn read(folder: &Path, role: Role) -> Result<Configs, String> {
    let bytes = |name: &str| {
        let file = folder.join(name);
        std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let (authority, certificate, key) = (bytes(AUTHORITY)?, bytes(CERTIFICATE)?, bytes(KEY)?);
    let certificates = |pem: &[u8], name: &str| {
        let found: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| format!("{name}: {error}"))?;
        if found.is_empty() {
            return Err(format!("{name} holds no certificate"));
        }
        Ok(found)
    };
    let (authorities, chain) = (
        certificates(&authority, AUTHORITY)?,
        certificates(&certificate, CERTIFICATE)?,
    );
    check(&authorities, &chain, role)?;
    let private = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("{KEY}: {error}"))?;
    let client = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&authority))
        .identity(Identity::from_pem(&certificate, &key))
        .domain_name(Role::Worker.name());
    Ok(Configs {
        client,
        server: Arc::new(server(authorities, chain, private)?),
    })
}

/// Whether the other end will believe it.
fn check(
    authorities: &[CertificateDer<'static>],
    chain: &[CertificateDer<'static>],
    role: Role,
) -> Result<(), String> {
    if !role.is_of(&chain[0]) {
        return Err(format!(
            "{CERTIFICATE} has not the name {}, so it is of another program",
            role.name()
        ));
    }
    let anchors = authorities.iter().map(anchor_from_trusted_cert);
    let anchors: Result<Vec<_>, _> = anchors.collect();
    let anchors = anchors.map_err(|error| format!("{AUTHORITY}: {error}"))?;
    let own =
        EndEntityCert::try_from(&chain[0]).map_err(|error| format!("{CERTIFICATE}: {error}"))?;
    for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
        let verified = own.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &chain[1..],
            UnixTime::now(),
            usage,
            None,
            None,
        );
        verified.map_err(|error| format!("{CERTIFICATE} is not believed: {error}"))?;
    }
    Ok(())
}

fn server(
    authorities: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority)
            .map_err(|error| format!("{AUTHORITY}: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier
        .build()
        .map_err(|error| format!("{AUTHORITY}: {error}"))?;
    let versions = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let mut config = versions
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| format!("{KEY}: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
