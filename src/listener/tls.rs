//! TLS: a certificate and its key become an acceptor that offers HTTP/2 and HTTP/1.1; another certificate takes the first
//! one's place when the files change, or when the operator says so.
//!
//! **Invariant:** there is always a certificate that works: files that can't be used change nothing. A connection keeps what it
//! was opened with.
//!
//! Deliberately absent: client certificates, and more than one certificate.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Name of HTTP/2 in the handshake.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// How often it is looked whether the files have changed: two system calls.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why the server can't speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds something else.
    #[error("{path} is no {wanted} in PEM")]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The key is not the certificate's, or of a kind that is not known here.
    #[error("certificate and key can't be used")]
    Unusable(#[from] rustls::Error),
}

/// The certificate that new connections are shown.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files looked like when they were last read.
    read: Mutex<Look>,
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// When the files can't be used.
    pub fn read(files: &TlsFiles) -> Result<Certificate, TlsError> {
        let look = Look::at(files);
        let current = RwLock::new(Arc::new(certified_key(files)?));
        Ok(Certificate { files: files.clone(), current, read: Mutex::new(look) })
    }

    /// Accepts TLS with what it is at the moment of each handshake.
    ///
    /// # Errors
    /// When the library for cryptography has not what TLS needs.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        // Clients that come back after a restart of theirs or a cut skip the costly part; the server keeps nothing for it.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again. If they can't be used, what was there stays, and the log says why.
    pub fn reload(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Look::at(&self.files);
        match certified_key(&self.files) {
            Ok(key) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(cert = %self.files.cert.display(), "new connections get the certificate that is there now");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the new certificate can't be used; the one from before stays");
            }
        }
    }

    /// Reads the files again whenever they have changed.
    pub async fn follow(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let mut before = Look::at(&self.files);
        loop {
            looks.tick().await;
            let now = Look::at(&self.files);
            // Not before they stay as they are: certificate and key are two files, and rarely written at once.
            if now == before && now != *self.read.lock().unwrap_or_else(PoisonError::into_inner) {
                self.reload();
            }
            before = now;
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&*self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What two files look like from outside; the same look, the same content. A file that is put in another's place is another
/// (`inode`), also behind a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look([Option<(u64, u64, i64, i64)>; 2]);

impl Look {
    fn at(files: &TlsFiles) -> Look {
        let look = |path: &Path| -> io::Result<_> {
            let file = fs::metadata(path)?;
            Ok((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        };
        Look([look(&files.cert).ok(), look(&files.key).ok()])
    }
}

fn certified_key(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|source| TlsError::File { path: files.cert.clone(), wanted: "certificate", source })?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::File {
        path: files.key.clone(),
        wanted: "private key",
        source,
    })?;
    Ok(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key in two files; gives what clients are shown of it.
    fn write(files: &TlsFiles) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
        fs::write(&files.cert, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        made.cert.der().to_vec()
    }

    fn shown(certificate: &Certificate) -> Vec<u8> {
        certificate.current.read().expect("whole").cert[0].to_vec()
    }

    /// Mutant: whatever the files hold takes the place of what was there.
    #[test]
    fn files_that_can_not_be_used_change_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let (nothing, first) = (&b""[..], write(&files));
        let certificate = Certificate::read(&files).expect("usable");
        assert_eq!(shown(&certificate), first);
        let [cert, key] = [&files.cert, &files.key].map(|path| fs::read(path).expect("there"));
        let second = write(&files);
        let [other_cert, other_key] = [&files.cert, &files.key].map(|path| fs::read(path).expect("there"));
        for (cert, key) in [
            (nothing, nothing),
            (&other_cert[..], nothing),
            (nothing, &other_key[..]),
            (&other_cert[..other_cert.len() / 2], &other_key[..]),
            (&other_cert[..], &key[..]),
            (&cert[..], &other_key[..]),
            (&other_key[..], &other_cert[..]),
        ] {
            fs::write(&files.cert, cert).expect("written");
            fs::write(&files.key, key).expect("written");
            certificate.reload();
            assert_eq!(shown(&certificate), first);
        }
        fs::remove_file(&files.cert).expect("removed");
        certificate.reload();
        assert_eq!(shown(&certificate), first);
        fs::write(&files.cert, &other_cert).expect("written");
        fs::write(&files.key, &other_key).expect("written");
        certificate.reload();
        assert_eq!(shown(&certificate), second);
    }

    /// As certbot and Kubernetes do it: another file takes the place of the first, or the link leads elsewhere.
    #[test]
    fn files_that_are_replaced_look_different() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        let files = TlsFiles { cert: place("cert.pem"), key: place("key.pem") };
        fs::write(place("first"), "x").expect("written");
        fs::write(place("second"), "x").expect("written");
        std::os::unix::fs::symlink(place("first"), &files.cert).expect("linked");
        fs::write(&files.key, "x").expect("written");
        let mut seen = vec![Look::at(&files)];
        let mut changed = |what: &str| {
            let now = Look::at(&files);
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        std::os::unix::fs::symlink(place("second"), place("link")).expect("linked");
        fs::rename(place("link"), &files.cert).expect("renamed");
        changed("a link to another file");
        fs::write(&files.key, "xy").expect("written");
        changed("another content");
        fs::remove_file(&files.key).expect("removed");
        changed("no file");
    }
}
