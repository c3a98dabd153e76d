//! HTTP: the router, and what every request goes through.
//!
//! One file per resource. What goes over the wire as JSON is in [`shapes`]; statuses of problems only in [`error`].
//!
//! **Invariant:** every answer that is not a success is `application/problem+json` with a stable code, but for the
//! stream, where a temporary condition is never an error: it would close a browser's `EventSource` for good.
//!
//! Deliberately absent: sockets and time-outs of connections, which are the listener's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue, LINK, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Method, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tower::util::{MapRequest, option_layer};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::normalize_path::NormalizePath;
use uuid::{NoContext, Uuid};

use crate::access::Access;
use crate::auth::Auth;
use crate::auth::tickets::Tickets;
use crate::delivery::Delivery;
use crate::inbox::Inbox;
use crate::limits::{Address, AtOnce, Buckets, Budget};
use crate::metrics::Metrics;
use crate::notification::UserId;
use crate::publish::Publisher;

pub mod address;
pub mod assets;
mod batch;
mod body;
mod draft;
pub mod error;
mod health;
pub mod identity;
mod inbox;
mod keys;
mod language;
mod members;
mod metrics;
mod notifications;
mod openapi;
pub mod operations;
pub mod origins;
pub mod outside;
mod page;
pub mod poll;
mod preferences;
mod request;
mod request_log;
mod session;
pub mod shapes;
pub mod stream;
mod timeline;
mod tokens;
mod topics;
mod users;

use address::Crowd;
use error::Problem;
use origins::Origins;
use outside::PublicUrl;
use poll::Polls;

/// How long a browser need not ask again whether it may ask. Two hours are the most that Chromium takes.
const PREFLIGHT_VALID: Duration = Duration::from_hours(2);

/// The header that names a request, in answers and in problems.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the handlers work with.
pub struct App {
    /// The way into the log.
    pub publisher: Publisher,
    /// What users have.
    pub inbox: Inbox,
    /// The streams.
    pub delivery: Arc<Delivery>,
    /// The credentials.
    pub auth: Arc<Auth>,
    /// What changes them.
    pub access: Access,
    /// What opens one stream each.
    pub tickets: Tickets,
    /// Who has sent too many wrong credentials.
    pub failures: Buckets<Address>,
    /// How often each user may change something.
    pub writes: Buckets<UserId>,
    /// Streams from each address, if there is a limit.
    pub streams_per_address: Option<AtOnce<Address>>,
    /// What is counted.
    pub metrics: Metrics,
    /// How the surface behaves.
    pub options: Options,
    /// Room for long polls.
    pub polls: Polls,
    /// The turn of a large batch. One at a time is read and committed, so that others wait for one of its pieces at most.
    pub large_batches: Semaphore,
    /// Bytes of the bodies of all requests that are under way.
    pub bodies: Arc<Budget>,
    /// Set when the server is about to end.
    pub draining: AtomicBool,
}

/// How the HTTP surface behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Accept `?user_id=` without a credential. Unsafe wherever strangers reach the server.
    pub open_user_id: bool,
    /// The interval of the demo generator, if it runs.
    pub demo: Option<Duration>,
    /// Most streams at once.
    pub streams_max: usize,
    /// Most topics that a user is a member of.
    pub topics_per_user_max: usize,
    /// Proxies that are believed when they say from whom a request comes.
    pub trusted_proxies: Vec<IpNet>,
    /// Names beside those of this machine by which the server may be asked for, if by no others.
    pub own_names: Option<Vec<String>>,
    /// Origins whose pages are trusted like our own.
    pub origins: Origins,
    /// Where browsers find the server, if that was said.
    pub public_url: Option<PublicUrl>,
    /// The server speaks TLS itself.
    pub has_tls: bool,
}

impl Options {
    /// Path under which the server is mounted; empty if it is not.
    fn path(&self) -> &str {
        self.public_url.as_ref().map_or("", |public| &public.path)
    }
}

impl App {
    /// Whether the server is about to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The router of the public listener.
pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/", get(page::page).post(page::act))
        .route("/notifications", get(stream::notifications))
        .route("/v1/stream", get(stream::stream))
        .route("/v1/stream/tickets", post(session::ticket))
        .route("/v1/session", post(session::begin).delete(session::end))
        .route("/v1/notifications", post(notifications::publish))
        .route("/v1/notifications/batch", post(batch::publish))
        .route("/v1/notifications/{id}", get(timeline::get).patch(notifications::edit).delete(notifications::recall))
        .route("/v1/users/{user}/notifications", post(notifications::publish_to_user))
        .route("/v1/topics/{topic}/notifications", post(notifications::publish_to_topic))
        .route("/v1/broadcast", post(notifications::broadcast))
        .route("/v1/topics/{topic}/subscribers", get(topics::subscribers))
        .route("/v1/topics/{topic}/subscribers/{user}", put(topics::subscribe).delete(topics::unsubscribe))
        .route("/v1/keys", get(keys::list).post(keys::make))
        .route("/v1/keys/{id}", delete(keys::revoke))
        .route("/v1/tokens", post(tokens::make))
        .route("/v1/tokens/rotate", post(tokens::rotate))
        .route("/v1/users/{user}", delete(users::erase))
        .route("/v1/users/{user}/tokens", delete(users::revoke))
        .route("/v1/users/{user}/inbox", get(inbox::list_of))
        .route("/v1/users/{user}/counts", get(inbox::counts_of))
        // What people ask for who know `/v1/inbox/counts`.
        .route("/v1/users/{user}/inbox/counts", get(inbox::counts_of))
        .route("/v1/users/{user}/connections", get(timeline::connections))
        .route("/v1/inbox", get(inbox::list))
        .route("/v1/inbox/counts", get(inbox::counts))
        .route("/v1/inbox/read-all", post(inbox::read_all))
        .route("/v1/inbox/seen", post(inbox::seen))
        .route("/v1/inbox/bulk", post(inbox::bulk))
        .route("/v1/inbox/preferences", get(preferences::get).put(preferences::put))
        .route("/v1/inbox/{id}", get(inbox::get).patch(inbox::mark))
        .route("/openapi.json", get(openapi::openapi))
        .route("/docs", get(openapi::docs))
        .route("/assets/{hash}/{*file}", get(assets::asset))
        .route("/pregon.js", get(assets::widget))
        .route("/pregon-client.js", get(assets::client))
        .route("/favicon.ico", get(assets::favicon))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics));
    let by_own_name = app.options.own_names.is_some().then(|| from_fn_with_state(Arc::clone(&app), by_own_name));
    let path = app.options.path().to_owned();
    let whole = whole(routes.layer(option_layer(by_own_name)), app);
    // Joined from a base with a slash and a path with one, an address has two; both lead to the same place.
    let whole = NormalizePath::trim_trailing_slash(whole);
    Router::new().fallback_service(MapRequest::new(whole, move |request| outside::without_path(request, &path)))
}

/// The router of the listener for the inside of a network, where nobody needs a credential to see how the server is.
pub fn admin_router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::without_credential));
    whole(routes, app)
}

/// Adds what every request goes through.
fn whole(routes: Router<Arc<App>>, app: Arc<App>) -> Router {
    routes
        .fallback(|| async { Problem::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| Problem::internal().into_response()))
        .layer(from_fn_with_state(Arc::clone(&app), finish))
        .layer(option_layer((!app.options.origins.is_empty()).then(|| cors(app.options.origins.clone()))))
        .with_state(app)
}

/// What a browser is told about pages of other origins: on every answer, since a page may learn of a problem only then.
fn cors(origins: Origins) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| origins.include(origin)))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // Libraries for tracing add headers of their own. The origins are a list, so the headers need not be one.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, RETRY_AFTER, LINK, LOCATION, notifications::IDEMPOTENT_REPLAYED])
        .max_age(PREFLIGHT_VALID)
}

/// Refuses what is asked of another name than this server's. Where whoever is on this machine needs no credential, a page
/// of the web must not pass for her: it can let a name of its own lead here (DNS rebinding), and its browser then takes our
/// answers for that page's own.
async fn by_own_name(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let names = app.options.own_names.as_deref().unwrap_or_default();
    if outside::is_asked_for(names, request.headers()) {
        next.run(request).await
    } else {
        Problem::misdirected().into_response()
    }
}

/// What is wrong with the head of a request, whatever it asks for (RFC 9112, 3.2 and 6.1; RFC 9110, 15.5.16).
fn refused(request: &Request) -> Option<Problem> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => {}
        (Some(_), None) => {
            return Some(Problem::header("Host", "must be a name or an address, with a port or without"));
        }
        // HTTP/1.0 has no such header, and HTTP/2 has `:authority`.
        (None, _) if request.version() != Version::HTTP_11 => {}
        _ => return Some(Problem::header("Host", "must be there once")),
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Some(Problem::unsupported_media_type("a body must come without Content-Encoding"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    let is_known = codings.next().is_none_or(is_chunked) && codings.next().is_none();
    (!is_known).then(Problem::unknown_coding)
}

/// Whether a `Host` header has a valid value: empty, or a host with a port or without.
fn is_host(value: &HeaderValue) -> bool {
    let is_authority = |host: &str| !host.contains('@') && host.parse::<Authority>().is_ok();
    value.is_empty() || value.to_str().is_ok_and(is_authority)
}

/// Whether there is no room for a request. The last places are for server keys, so that what others do keeps no back end
/// from publishing; and whether the server lives is always told.
fn is_crowded_out(app: &App, request: &Request) -> bool {
    match request.extensions().get::<Crowd>() {
        None | Some(Crowd::Room) => false,
        _ if matches!(request.uri().path(), "/healthz" | "/readyz") => false,
        Some(Crowd::KeysOnly) => !identity::shows_server_key(app, request),
        Some(Crowd::Full) => true,
    }
}

async fn crowded_out(app: &Arc<App>, Parts { headers, uri, .. }: Parts) -> Response {
    if matches!(uri.path(), "/v1/stream" | "/notifications") {
        let postponed = stream::postponed(app, &headers, &uri).await;
        return postponed.unwrap_or_else(Problem::into_response);
    }
    Problem::busy("too many requests are under way").into_response()
}

/// Names the request, counts it, writes a problem's body, and adds the headers that every answer has.
async fn finish(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let counted = metrics::Counted::begin(&request);
    // Before the address takes the place of the header: HTTP/1.1 must have the header too.
    let refused = refused(&request);
    // HTTP/2 says in the address itself which host is asked for.
    let host = request.uri().authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|given| given.to_str().ok())
        .filter(|given| (1..=64).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_graphic() && b != b'"'))
        // As of a notification: without a counter, which would say how many requests others make.
        .map_or_else(|| Uuid::new_v7(uuid::Timestamp::now(NoContext)).to_string(), str::to_owned);
    let instance = request.uri().path().to_owned();
    let version = request.version();
    let watched = body::watch(&mut request, &app.bodies);
    let mut caller = None;
    let mut response = match refused {
        Some(problem) => problem.into_response(),
        None if is_crowded_out(&app, &request) => crowded_out(&app, request.into_parts().0).await,
        None => {
            let (answered, made_by) = request_log::with_caller(next.run(request)).await;
            caller = made_by;
            answered
        }
    };
    if let Some(watched) = watched {
        watched.end(version, &mut response);
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.render(std::mem::take(response.headers_mut()), &instance, &id);
    }
    // HTTP/2 has no such header: its connection says so itself.
    if app.is_draining() && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    counted.end(&app.metrics.requests, response.status(), &id, caller.as_ref());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::try_from(id).expect("a request id is printable ASCII"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
