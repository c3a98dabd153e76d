//! The composition root: opens the store, starts delivery, serves, and ends it all in order.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::access::Access;
use crate::auth::Auth;
use crate::auth::jwks::{self, Jwks};
use crate::auth::tickets::Tickets;
use crate::config::Config;
use crate::delivery::{self, Delivery};
use crate::demo;
use crate::http::origins::Origins;
use crate::http::poll::Polls;
use crate::http::{self, App};
use crate::inbox::Inbox;
use crate::limits::{AtOnce, Buckets, Budget};
use crate::listener::Listener;
use crate::listener::descriptors::{Places, Wanted};
use crate::listener::ending::Phase;
use crate::listener::places::Rules;
use crate::listener::tls::{Certificate, TlsError};
use crate::metrics::{Connections, Metrics};
use crate::publish::Publisher;
use crate::retention;
use crate::store::sqlite::{self, OpenError, SqliteStore};
use crate::store::{Store, StoreError};

/// How long after the drain time the last streams and requests are cut off.
const STREAM_GRACE: Duration = Duration::from_millis(200);
const REQUEST_GRACE: Duration = Duration::from_millis(800);

/// Connections at once on the listener that tells how the server is.
const ADMIN_REQUESTS_AT_ONCE: usize = 64;

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody could publish.
    #[error("no server key is given, and the store has none that may do everything, so nobody could publish")]
    NoServerKey,
    /// The store can't be opened.
    #[error("the store can't be opened")]
    Store(#[from] OpenError),
    /// The store can't be read.
    #[error("the store can't be read")]
    Unread(#[from] StoreError),
    /// The address can't be had.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// TLS can't be spoken.
    #[error("can't speak TLS")]
    Tls(#[from] TlsError),
    /// Keys of issuers can't be fetched, whoever has them.
    #[error("can't fetch the keys of issuers")]
    Jwks(#[from] reqwest::Error),
    /// The engines can't be started.
    #[error("delivery can't start")]
    Delivery(#[source] std::io::Error),
}

/// A server that is bound and not yet running.
pub struct Server {
    listener: Listener,
    address: SocketAddr,
    admin: Option<(Listener, SocketAddr)>,
    places: Places,
    tls: Option<(TlsAcceptor, Arc<Certificate>)>,
    jwks: Jwks,
    app: Arc<App>,
    store: Arc<dyn Store>,
    config: Config,
}

impl Server {
    /// Opens everything that a server needs.
    ///
    /// # Errors
    /// When something of it can't be had.
    pub async fn bind(config: Config) -> Result<Server, StartError> {
        Server::bind_on(config, None).await
    }

    /// The same on a socket that listens already, if one is given; it goes on to listen when the server has ended.
    ///
    /// # Errors
    /// When something of it can't be had.
    pub async fn bind_on(config: Config, socket: Option<TcpListener>) -> Result<Server, StartError> {
        let tls = config.tls.as_ref().map(|files| -> Result<_, TlsError> {
            let certificate = Arc::new(Certificate::read(files)?);
            Ok((certificate.acceptor()?, certificate))
        });
        let tls = tls.transpose()?;
        let metrics = Metrics::default();
        let store = sqlite::Options {
            inbox_max: config.max_per_user,
            topics_max: config.limits.topics_per_user,
            reserve_bytes: sqlite::RESERVE_BYTES,
            metrics: metrics.log.clone(),
            ..sqlite::Options::default()
        };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.data_dir, store)?);
        let auth = Arc::new(Auth::new(config.server_key.as_ref(), config.tokens.clone(), config.limits.publishes));
        let jwks = jwks::Options { refresh: config.jwks_refresh, stale_max: config.jwks_stale_max };
        let mut jwks = Jwks::new(&auth, jwks)?;
        let access = Access::load(Arc::clone(&store), Arc::clone(&auth), Timestamp::now).await?;
        if config.server_key.is_none() && !access.has_admin().await? {
            return Err(StartError::NoServerKey);
        }
        let (listener, address) = listen(config.listen, socket)?;
        let admin = config.admin_listen.map(|address| listen(address, None)).transpose()?;
        let places = Places::of_this_process(Wanted {
            requests: config.limits.connections_max,
            streams: config.streams_max,
            elsewhere: admin.as_ref().map_or(0, |_| ADMIN_REQUESTS_AT_ONCE),
        });
        let options = delivery::Options {
            heartbeat: config.heartbeat,
            age_max: config.stream_age_max,
            per_user_max: config.limits.streams_per_user,
            metrics: metrics.streams.clone(),
            ..delivery::Options::default()
        };
        let delivery = Delivery::start(options, Arc::clone(&store)).await.map_err(StartError::Delivery)?;
        let app = Arc::new(App {
            publisher: Publisher::new(Arc::clone(&store), Timestamp::now),
            inbox: Inbox::new(Arc::clone(&store), Timestamp::now),
            delivery: Arc::new(delivery),
            auth,
            access,
            tickets: Tickets::new(config.limits.tickets_per_user),
            failures: Buckets::new(config.limits.failed_logins),
            writes: Buckets::new(config.limits.writes),
            streams_per_address: config.limits.streams_per_address.map(AtOnce::new),
            metrics,
            options: http::Options {
                open_user_id: config.open_user_id,
                demo: config.demo.then_some(config.demo_interval),
                streams_max: places.streams,
                topics_per_user_max: config.limits.topics_per_user,
                trusted_proxies: config.limits.trusted_proxies.clone(),
                own_names: own_names(&config),
                origins: Origins {
                    named: config
                        .cors_origins
                        .iter()
                        .filter_map(|origin| HeaderValue::from_str(origin.as_str()).ok())
                        .collect(),
                    loopback: is_open_here(&config),
                },
                public_url: config.public_url.clone(),
                has_tls: tls.is_some(),
            },
            bodies: Arc::new(Budget::new(config.limits.bodies_bytes_max)),
            polls: Polls::new(places.requests),
            large_batches: Semaphore::new(1),
            draining: AtomicBool::new(false),
        });
        // Last, since nobody else need wait for others.
        jwks.begin().await;
        Ok(Server { listener, address, admin, places, tls, jwks, app, store, config })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address on which it tells how it is, if it does.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// Where its pages are.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate that it shows, if it speaks TLS: so that it can be read again.
    #[must_use]
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.tls.as_ref().map(|(_, certificate)| Arc::clone(certificate))
    }

    /// Most streams at once.
    #[must_use]
    pub fn streams_max(&self) -> usize {
        self.app.options.streams_max
    }

    /// What answers its requests, for whoever asks without a socket. The streams that it would begin are let go of.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.app))
    }

    /// Serves until `shutdown` completes; then closes the streams spread over the drain time, goes on to take requests until
    /// they are gone, and returns when the last answer is out. Whoever takes longer than [`STREAM_GRACE`] or [`REQUEST_GRACE`]
    /// beyond the drain time is cut off.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Server { listener, admin, places, tls, jwks, app, store, config, .. } = self;
        let (tls, certificate) = tls.unzip();
        let (phase, followed) = watch::channel(Phase::Serving);
        let router = http::router(Arc::clone(&app));
        let admin = admin.map(|(listener, _)| {
            let most = ADMIN_REQUESTS_AT_ONCE;
            // Whoever is told that connections are dropped shall look at those of the public listener.
            let dropped = Connections::default();
            let rules = Rules { most, per_address: most, pace: None, trusted_proxies: Vec::new(), dropped };
            let router = http::admin_router(Arc::clone(&app));
            tokio::spawn(listener.serve(rules, None, router, Arc::clone(&app.delivery), followed.clone()))
        });
        let rules = Rules {
            most: places.requests,
            per_address: config.limits.connections_per_address.unwrap_or(places.requests.div_ceil(4)),
            pace: Some(config.limits.connections),
            trusted_proxies: config.limits.trusted_proxies.clone(),
            dropped: app.metrics.connections_dropped.clone(),
        };
        let serving = tokio::spawn(listener.serve(rules, tls, router, Arc::clone(&app.delivery), followed));
        let removing = tokio::spawn(retention::run(Arc::clone(&store), config.retention, Timestamp::now));
        let time = tokio::spawn(app.publisher.clone().keep_time());
        let keys = tokio::spawn(jwks.run());
        let certificate = certificate.map(|certificate| tokio::spawn(certificate.follow()));
        let demo = config.demo.then(|| tokio::spawn(demo::run(app.publisher.clone(), config.demo_interval)));

        shutdown.await;

        let drained_by = Instant::now() + config.drain;
        app.draining.store(true, Ordering::Relaxed);
        phase.send_replace(Phase::Draining);
        tracing::info!(streams = app.delivery.connections(), within = ?config.drain, "draining");
        for task in [Some(removing), Some(time), Some(keys), certificate, demo].into_iter().flatten() {
            task.abort();
            // That it was aborted is no news.
            let _ = task.await;
        }
        let (drained, _) = tokio::join!(
            timeout_at(drained_by + STREAM_GRACE, app.delivery.drain(config.drain)),
            // A disk that does not answer keeps nobody waiting longer.
            timeout_at(drained_by + STREAM_GRACE, retention::end(&*store, Timestamp::now())),
        );
        if drained.is_err() {
            tracing::warn!(streams = app.delivery.connections(), "some streams took too long and are cut off");
        }
        phase.send_replace(Phase::Ending);
        for serving in [Some(serving), admin].into_iter().flatten() {
            match timeout_at(drained_by + REQUEST_GRACE, serving).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => tracing::error!("a listener had ended with a panic"),
                Err(_) => tracing::warn!("some answers took too long and are cut off"),
            }
        }
        app.delivery.stop().await;
    }
}

/// Whether everybody on this machine may use the server without a credential, and nobody else.
fn is_open_here(config: &Config) -> bool {
    config.open_user_id && config.listen.ip().is_loopback()
}

/// By which names it may be asked for beside those of this machine, if by no others: where whoever is on this machine needs
/// no credential.
fn own_names(config: &Config) -> Option<Vec<String>> {
    is_open_here(config).then(|| config.public_url.iter().map(|url| url.host.clone()).collect())
}

/// A listener, and the address that it has.
fn listen(address: SocketAddr, socket: Option<TcpListener>) -> Result<(Listener, SocketAddr), StartError> {
    let unavailable = |source| StartError::Listen { address, source };
    let listener = socket.map_or_else(|| Listener::bind(address), Listener::take).map_err(unavailable)?;
    let bound = listener.local_addr().map_err(unavailable)?;
    Ok((listener, bound))
}
