//! On whose behalf a request is made, from its headers and parameters.
//!
//! **Invariant:** what a browser sends by itself, its cookie or a request without any credential, changes nothing unless the
//! browser also says that the request comes from this server's own pages; this is checked where the cookie is read, so that
//! no route can forget it.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use jiff::Timestamp;

use super::App;
use super::address::Client;
use super::error::Problem;
use super::outside::Connected;
use super::request::{cookie, parameter};
use super::{outside, request_log};
use crate::auth::keys::{Key, Scope};
use crate::auth::tickets::{Admission, Held};
use crate::auth::{Principal, Refusal, Trust};
use crate::limits::{Address, Short};
use crate::notification::{Audience, UserId};
use crate::publish::Draft;

/// Where a browser says that a request comes from. No script can set it, and it is only sent where a connection is secure or
/// leads to this machine.
pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const SERVER_KEY_HINT: &str = "send Authorization: Bearer pregon_sk_… with a server key";
pub(super) const USER_HINT: &str = "send a user token (Authorization: Bearer, or ?access_token=), or the server key and ?user_id=; for a \
                         demo, start the server with --open-user-id";
const TOKEN_HINT: &str = "send Authorization: Bearer and a user token";

/// What a request says of who makes it, and where it comes from.
pub(super) struct Asking<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) uri: &'a Uri,
    pub(super) client: Client,
}

impl<'a> Asking<'a> {
    fn of(app: &App, parts: &'a Parts) -> Asking<'a> {
        let client = Client::of(app, parts);
        Asking { method: &parts.method, headers: &parts.headers, uri: &parts.uri, client }
    }

    /// Looks at a credential, unless so many from this address were wrong that none is looked at for a while.
    fn look(&self, app: &App, look: impl FnOnce() -> Result<Principal, Refusal>) -> Result<Principal, Refusal> {
        if let Some(wait) = self.client.address.and_then(|address| app.failures.empty_for(&address)) {
            return Err(Refusal::Shut { wait, allowed: app.failures.rate() });
        }
        let seen = look();
        match &seen {
            Ok(principal) => request_log::made_by(principal),
            Err(refusal) => {
                if let Some(address) = self.client.address.filter(|_| refusal.is_guess()) {
                    app.failures.spend(&address);
                }
            }
        }
        seen
    }
}

/// The application's back end, whatever its key gives a right to; extracted from the request before anything else is
/// looked at. So a handler's first parameter says what it asks of a key: this, [`Manager`], or [`Admin`].
pub(super) struct Backend(Arc<Key>);

/// A draft that its sender may publish.
pub(super) struct Permitted(Draft);

impl Backend {
    fn of(app: &App, parts: &Parts) -> Result<Backend, Problem> {
        let credential = from_header(app, &Asking::of(app, parts));
        match credential.unwrap_or_else(|| Err(none_for_us(&parts.headers))) {
            Ok(Principal::Server(key)) => Ok(Backend(key)),
            Ok(Principal::User { .. }) => Err(Problem::forbidden("a user's token does not do this; a server key does")),
            Err(refusal) => Err(Problem::unauthorized(&refusal, SERVER_KEY_HINT)),
        }
    }

    /// Whose its key is, for what belongs to that back end alone.
    pub(super) fn owner(&self) -> &str {
        self.0.name()
    }

    fn must_have(&self, scope: &Scope) -> Result<(), Problem> {
        if self.0.allows(scope) { Ok(()) } else { Err(Problem::scope_missing(scope)) }
    }

    /// Fails if the key has published so much that so many more are too many now.
    pub(super) fn take(&self, count: usize) -> Result<(), Problem> {
        let Some(bucket) = self.0.publishes() else { return Ok(()) };
        let rate = bucket.rate();
        bucket.take(count).map_err(|short| match short {
            Short::Now(wait) => Problem::rate_limited(format!("this server key may publish {rate}"), wait),
            Short::Ever => Problem::batch_size(usize::try_from(rate.burst()).unwrap_or(usize::MAX)),
        })
    }

    /// The draft, if the key may publish to all its audiences.
    pub(super) fn permit(&self, draft: Draft) -> Result<Permitted, Problem> {
        match self.0.missing_for(draft.audiences()) {
            Some(missing) => Err(Problem::scope_missing(&missing)),
            None => Ok(Permitted(draft)),
        }
    }

    /// Fails unless the key may change what went to these.
    pub(super) fn may_change(&self, audiences: &[Audience]) -> Result<(), Problem> {
        match self.0.missing_for(audiences) {
            Some(missing) if !self.0.allows(&Scope::Manage) => Err(Problem::scope_missing(&missing)),
            _ => Ok(()),
        }
    }
}

impl Permitted {
    /// How many audiences it has.
    pub(super) fn audience_count(&self) -> usize {
        self.0.audiences().len()
    }

    /// The draft.
    pub(super) fn into_draft(self) -> Draft {
        self.0
    }
}

impl axum::extract::FromRequestParts<Arc<App>> for Backend {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Backend::of(app, parts)
    }
}

/// The back end, with a key that gives the right to manage.
pub(super) struct Manager;

impl axum::extract::FromRequestParts<Arc<App>> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Backend::of(app, parts)?.must_have(&Scope::Manage).map(|()| Manager)
    }
}

/// The back end, with a key that gives a right to everything.
pub(super) struct Admin;

impl axum::extract::FromRequestParts<Arc<App>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Backend::of(app, parts)?.must_have(&Scope::Admin).map(|()| Admin)
    }
}

/// Who is counted for a request that goes on for a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A user with a credential; or one that is only named, from this machine, where no address tells clients apart.
    User(UserId),
    /// The owner of a server key.
    Key(String),
    /// A client without a credential.
    Address(Address),
}

/// A user who reads, until when she may, and while which key is trusted.
pub(super) struct Reader {
    pub(super) user: UserId,
    pub(super) asker: Asker,
    /// When she was given the right to; nothing if a server key or nobody vouches for her.
    pub(super) issued_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) trust: Option<Trust>,
    /// The ticket that was shown, if one was: used up when the stream begins.
    pub(super) ticket: Option<Arc<Held>>,
}

impl Reader {
    /// Counts a change that the user makes, and fails if there have been too many. What a server key does is not counted.
    pub(super) fn write(&self, app: &App) -> Result<(), Problem> {
        if self.issued_at.is_none() {
            return Ok(());
        }
        let allowed = || format!("a user may change something {}", app.writes.rate());
        app.writes.take(&self.user).map_err(|wait| Problem::rate_limited(allowed(), wait))
    }
}

/// The user whose stream or page is asked for; nothing if none is named.
pub(super) fn reader(app: &App, asking: &Asking<'_>) -> Result<Option<Reader>, Problem> {
    let Asking { method, headers, uri, client } = asking;
    let of_token = |token: String| asking.look(app, || app.auth.user(token.as_bytes()));
    let principal = from_header(app, asking).or_else(|| parameter(uri, &["access_token"]).map(of_token));
    if let Some(principal) = principal {
        return reads(app, principal, asking);
    }
    let session = session(app, headers, *client);
    // Without a cookie and without `open_user_id` nothing is allowed, and a page elsewhere learns that it needs a token.
    let is_accepted_unasked = session.is_some() || app.options.open_user_id;
    if is_accepted_unasked && !method.is_safe() && !may_change_unasked(app, headers, *client) {
        return Err(Problem::cross_site());
    }
    reads(app, session.map_or(Err(Refusal::Missing), of_token), asking)
}

fn reads(app: &App, principal: Result<Principal, Refusal>, asking: &Asking<'_>) -> Result<Option<Reader>, Problem> {
    let named = named(asking.uri);
    let asker = match principal {
        Ok(Principal::User { user, issued_at, expires_at, trust }) => {
            if named?.is_some_and(|named| named != user) {
                return Err(Problem::forbidden("the token is another user's than `user_id` names"));
            }
            let (asker, issued_at, expires_at) = (Asker::User(user.clone()), Some(issued_at), Some(expires_at));
            return Ok(Some(Reader { user, asker, issued_at, expires_at, trust, ticket: None }));
        }
        Ok(Principal::Server(key)) => {
            let backend = Backend(key);
            backend.must_have(&Scope::Manage)?;
            Some(Asker::Key(backend.owner().to_owned()))
        }
        Err(Refusal::Missing) if app.options.open_user_id => asking.client.address.map(Asker::Address),
        // Whoever is named by nobody learns nothing about anybody: the page then asks for a name.
        Err(Refusal::Missing) if matches!(named, Ok(None)) => None,
        Err(Refusal::Missing) => return Err(Problem::unauthorized(&none_for_us(asking.headers), USER_HINT)),
        Err(refusal) => return Err(Problem::unauthorized(&refusal, USER_HINT)),
    };
    Ok(named?.inspect(request_log::made_for).map(|user| Reader {
        asker: asker.unwrap_or_else(|| Asker::User(user.clone())),
        user,
        issued_at: None,
        expires_at: None,
        trust: None,
        ticket: None,
    }))
}

fn named(uri: &Uri) -> Result<Option<UserId>, Problem> {
    parameter(uri, &["user_id"]).map(|name| name.parse().map_err(|error| Problem::query("user_id", error))).transpose()
}

/// The same where somebody must be named.
pub(super) fn named_reader(app: &App, asking: &Asking<'_>) -> Result<Reader, Problem> {
    match reader(app, asking)? {
        Some(reader) => Ok(reader),
        // Whoever may name anybody has only forgotten to.
        None if bearer_header(asking.headers).is_some() || app.options.open_user_id => {
            Err(Problem::query("user_id", "must say whose notifications are meant"))
        }
        None => Err(Problem::unauthorized(&none_for_us(asking.headers), USER_HINT)),
    }
}

/// The reader who asks for a stream. A ticket is held from now on, unless the request asks for the head alone.
pub(super) fn listener(app: &App, asking: &Asking<'_>) -> Result<Reader, Problem> {
    let uri = asking.uri;
    let Some(ticket) = parameter(uri, &["ticket"]) else { return named_reader(app, asking) };
    let now = app.publisher.now();
    let is_head = asking.method == Method::HEAD;
    let shown = if is_head {
        app.tickets.look(&ticket, now).map(|admission| (admission, None))
    } else {
        app.tickets.take(&ticket, now).map(|(admission, held)| (admission, Some(Arc::new(held))))
    };
    let (Admission { user, issued_at, expires_at, trust }, ticket) =
        shown.ok_or_else(|| Problem::unauthorized(&Refusal::Ticket, "ask for another: POST /v1/stream/tickets"))?;
    if named(uri)?.is_some_and(|named| named != user) {
        return Err(Problem::forbidden("the ticket is another user's than `user_id` names"));
    }
    if app.auth.revocations().cover(&user, issued_at, now) {
        return Err(Problem::unauthorized(&Refusal::Revoked, USER_HINT));
    }
    request_log::made_for(&user);
    Ok(Reader { asker: Asker::User(user.clone()), user, issued_at: Some(issued_at), expires_at, trust, ticket })
}

/// The user whose inbox it is: by her token, or named by the server key, or by anybody where that is allowed. A request
/// that may change something is counted as one of the user's.
pub(super) struct Owner(pub(super) UserId);

impl axum::extract::FromRequestParts<Arc<App>> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let reader = named_reader(app, &Asking::of(app, parts))?;
        if !parts.method.is_safe() {
            reader.write(app)?;
        }
        Ok(Owner(reader.user))
    }
}

/// A user token in the `Authorization` header, whose it is, and until when.
pub(super) fn bearer(app: &App, asking: &Asking<'_>) -> Result<(String, UserId, Timestamp), Problem> {
    match from_header(app, asking).unwrap_or_else(|| Err(none_for_us(asking.headers))) {
        Ok(Principal::User { user, expires_at, .. }) => {
            // What has passed as a token is ASCII, after seven characters of `Bearer `.
            let token = bearer_header(asking.headers).and_then(|value| value.to_str().ok()?.get(7..));
            Ok((token.unwrap_or_default().to_owned(), user, expires_at))
        }
        Ok(Principal::Server(_)) => {
            Err(Problem::forbidden("a server key has no place in a browser; a user's token does"))
        }
        Err(refusal) => Err(Problem::unauthorized(&refusal, TOKEN_HINT)),
    }
}

/// The `Authorization` header that is meant for this server. One of another scheme is for somebody else, such as a proxy that asks
/// for a password.
pub(super) fn bearer_header(headers: &HeaderMap) -> Option<&HeaderValue> {
    let is_bearer = |value: &&HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"Bearer")
    };
    headers.get_all(AUTHORIZATION).iter().find(is_bearer)
}

/// Why there is no credential: none was sent, or one that is not for this server.
fn none_for_us(headers: &HeaderMap) -> Refusal {
    if headers.contains_key(AUTHORIZATION) && bearer_header(headers).is_none() {
        Refusal::Scheme
    } else {
        Refusal::Missing
    }
}

fn from_header(app: &App, asking: &Asking<'_>) -> Option<Result<Principal, Refusal>> {
    let header = bearer_header(asking.headers)?;
    Some(asking.look(app, || app.auth.principal(header.as_bytes())))
}

/// Whether a request shows a server key.
pub(super) fn shows_server_key(app: &App, request: &Request) -> bool {
    bearer_header(request.headers())
        .is_some_and(|header| matches!(app.auth.principal(header.as_bytes()), Ok(Principal::Server(_))))
}

/// The session cookie where connections are secure. With the prefix `__Host-` a browser takes it from this very host alone, so that
/// no neighbour in the same domain can put somebody else's in its place. Where the server is mounted under a path, the cookie is for
/// that path, and such a cookie can't have that prefix.
const SECURE: &str = "__Host-pregon";
const SECURE_BELOW: &str = "__Secure-pregon";
const PLAIN: &str = "pregon";

/// Path of the session cookie.
pub(super) fn session_path(app: &App) -> &str {
    match app.options.path() {
        "" => "/",
        path => path,
    }
}

/// The name of the cookie that holds a user's token, for secure connections only or for others too.
pub(super) fn session_name(app: &App, is_secure: bool) -> &'static str {
    match (is_secure, app.options.path().is_empty()) {
        (true, true) => SECURE,
        (true, false) => SECURE_BELOW,
        (false, _) => PLAIN,
    }
}

/// The token in the cookie. Where a browser on this machine is connected by a proxy that says nothing of it, the cookie may
/// have either name, and the one that nobody else can set goes first.
pub(super) fn session(app: &App, headers: &HeaderMap, client: Client) -> Option<String> {
    let secure = cookie(headers, session_name(app, true));
    match Connected::of_cookie(app, headers, client) {
        Connected::Securely | Connected::Plainly => secure,
        Connected::Locally | Connected::PlainlyByIntent => secure.or_else(|| cookie(headers, PLAIN)),
    }
}

/// Whether the browser says that a request comes from a page that is trusted: of this server, or of an origin that was
/// named when it was started.
pub(super) fn is_of_ours(app: &App, headers: &HeaderMap) -> bool {
    is_same_origin(app, headers) || headers.get(ORIGIN).is_some_and(|origin| app.options.origins.include(origin))
}

/// Whether a request that shows no credential but what a browser sends by itself, its cookie or nothing, may change
/// something. A client that is no browser has no cookie and names no page.
pub(super) fn may_change_unasked(app: &App, headers: &HeaderMap, client: Client) -> bool {
    let names_a_page = headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
    is_of_ours(app, headers) || (session(app, headers, client).is_none() && !names_a_page)
}

/// Whether the browser says that a request comes from a page of this server: by `Sec-Fetch-Site`, which no script can
/// set, or, in browsers before 2023 and over plain HTTP, by an `Origin` that is the server's own.
fn is_same_origin(app: &App, headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => site == "same-origin",
        None => outside::is_own_origin(app, headers),
    }
}
