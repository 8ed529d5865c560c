//! Certificates for a small cluster: an authority of its own, and by it one for workers and one for coordinators.
//!
//! **Invariant:** keys are readable by their owner alone from their first byte on, and no file that is there is written over but by
//! `renew`, which never touches the authority.

use crate::failure::Failure;
use plan::Refusal;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};
use worker::grpc::Role;

/// How long the authority holds.
const AUTHORITY_DAYS: u32 = 3653;
/// Clocks of machines may differ by so much.
const SKEW: Duration = Duration::from_hours(1);

/// Makes the certificates in a folder and says what to do with them.
///
/// # Errors
/// [`Refusal::Usage`] where there are some and `renew` is not asked for, or there is no authority to renew by; [`Refusal::Io`] where
/// files cannot be written.
pub fn make(folder: &Path, days: u32, renew: bool) -> Result<String, Failure> {
    let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    let issuer = match (renew, key.exists()) {
        (false, true) => {
            let sentence = format!(
                "there is an authority in {}: give another folder, or `--renew` to make new certificates by it",
                folder.display()
            );
            return Err(Failure::new(Refusal::Usage, sentence));
        }
        (true, false) => {
            let sentence = format!(
                "there is no {} to renew by: without `--renew` an authority is made",
                key.display()
            );
            return Err(Failure::new(Refusal::Usage, sentence));
        }
        (false, false) => authority(folder)?,
        (true, true) => known(&certificate, &key)?,
    };
    let authority = text(&certificate)?;
    for (role, name) in [(Role::Worker, "worker"), (Role::Coordinator, "coordinator")] {
        let place = folder.join(name);
        let (certificate, key) = issued(&issuer, role, days).map_err(|error| made(&error))?;
        put(&place.join("tls.key"), &key, true)?;
        put(&place.join("tls.crt"), &certificate, false)?;
        put(&place.join("ca.crt"), &authority, false)?;
    }
    let folder = folder.display();
    Ok(format!(
        "certificates for {days} days in {folder}\n\
         to every worker:  {folder}/worker       worker --tls DIR ...\n\
         to coordinators:  {folder}/coordinator  coordinator --tls DIR ...\n\
         keep to yourself: {folder}/ca.key, which makes new ones (`coordinator tls init {folder} --renew`)\n"
    ))
}

/// A new authority, written down.
fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>, Failure> {
    let make = || {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Strata cluster authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        hold(&mut params, AUTHORITY_DAYS);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok((certificate, key.serialize_pem(), Issuer::new(params, key)))
    };
    let (certificate, key, issuer) = make().map_err(|error: rcgen::Error| made(&error))?;
    put(&folder.join("ca.key"), &key, true)?;
    put(&folder.join("ca.crt"), &certificate, false)?;
    Ok(issuer)
}

/// The authority of a folder.
fn known(certificate: &Path, key: &Path) -> Result<Issuer<'static, KeyPair>, Failure> {
    let (pem, private) = (text(certificate)?, text(key)?);
    let read = KeyPair::from_pem(&private).and_then(|key| Issuer::from_ca_cert_pem(&pem, key));
    read.map_err(|error| {
        let files = (certificate.display(), key.display());
        let sentence = format!("{} and {} are no authority: {error}", files.0, files.1);
        Failure::new(Refusal::BadData, sentence)
    })
}

/// A certificate of a role, and its key.
fn issued(
    issuer: &Issuer<'_, KeyPair>,
    role: Role,
    days: u32,
) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec![role.name().to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, role.name());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    hold(&mut params, days);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn hold(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + Duration::from_secs(86_400 * u64::from(days))).into();
}

fn made(error: &rcgen::Error) -> Failure {
    Failure::new(
        Refusal::Bug,
        format!("a certificate cannot be made: {error}"),
    )
}

fn text(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .map_err(|error| Failure::io(format!("{} cannot be read", file.display()), &error))
}

/// Replaces a file as a whole.
fn put(file: &Path, text: &str, secret: bool) -> Result<(), Failure> {
    let part = file.with_extension("part");
    let write = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let _ = fs::remove_file(&part);
        let mode = if secret { 0o600 } else { 0o644 };
        let mut options = OpenOptions::new();
        let mut made = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&part)?;
        made.write_all(text.as_bytes())?;
        made.sync_all()?;
        fs::rename(&part, file)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&part);
        Failure::io(format!("{} cannot be written", file.display()), &error)
    })
}
