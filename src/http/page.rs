//! `/`: the page, Spanish and English.
//!
//! **Invariant:** the first view is complete in the HTML and works without JavaScript: a list, its tabs and its pages as
//! links, its marks as forms. The script then keeps the same list as the client has it.
//!
//! Deliberately absent: how a notification looks, which is `web/widget`'s: the template draws what the elements draw, with
//! the same sheet, the same words and the same pictures.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, SET_COOKIE, VARY,
};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;
use url::form_urlencoded;

use super::address::Client;
use super::error::{FieldError, Problem};
use super::identity::{Asking, Reader};
use super::outside::Connected;
use super::request::{self, cookie, parameter, query};
use super::shapes::Item;
use super::{App, assets, identity, inbox, language, session};
use crate::auth::{Principal, Refusal};
use crate::notification::NotificationId;
use crate::state::{Counts, Set};
use crate::store::{Page, Selection, Status, Wanted};

/// Notifications on the page.
pub(super) const ITEMS: usize = 50;

/// Nothing runs, and nothing is loaded, that does not come from this server; pictures may be of the web.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

/// The cookie with the colours that a reader has chosen; page.js sets it.
const THEME: &str = "pregon-theme";
const THEMES: [&str; 2] = ["light", "dark"];

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_template("page.html", include_str!("../../web/page.html")).expect("the template parses");
    templates
});

/// The pictures of the elements.
static DRAWINGS: LazyLock<serde_json::Value> = LazyLock::new(|| object(include_str!("../../web/widget/drawings.js")));

/// What a module gives that consists of one object, written as JSON.
fn object(module: &str) -> serde_json::Value {
    let json = module.find('{').zip(module.rfind('}')).and_then(|(begin, end)| module.get(begin..=end));
    serde_json::from_str(json.unwrap_or_default()).expect("what stands between the outer braces is JSON")
}

/// All that is said in a language: by the inbox, by the bell, and by the page alone.
fn all_words(code: &str, inbox: &str) -> serde_json::Value {
    let mut words = object(inbox);
    for table in [include_str!("../../web/languages/bell.js"), include_str!("../../web/page.json")] {
        if let (Some(words), serde_json::Value::Object(others)) = (words.as_object_mut(), object(table)[code].take()) {
            words.extend(others);
        }
    }
    words
}

/// The languages of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Spanish,
    English,
}

impl Language {
    fn code(self) -> &'static str {
        match self {
            Self::Spanish => "es",
            Self::English => "en",
        }
    }

    fn other(self) -> Language {
        match self {
            Self::Spanish => Self::English,
            Self::English => Self::Spanish,
        }
    }

    /// The language of a tag such as `es-419`, if it is one of ours.
    fn tagged(tag: &str) -> Option<Language> {
        let primary = tag.split('-').next().unwrap_or_default();
        [Self::Spanish, Self::English].into_iter().find(|language| primary.eq_ignore_ascii_case(language.code()))
    }

    /// The first of the reader's languages that is ours; Spanish if none is.
    fn first_of(wanted: &[String]) -> Language {
        wanted.iter().find_map(|tag| Self::tagged(tag)).unwrap_or(Self::Spanish)
    }

    fn strings(self) -> &'static serde_json::Value {
        static CATALOGUES: LazyLock<[serde_json::Value; 2]> = LazyLock::new(|| {
            let spanish = all_words("es", include_str!("../../web/languages/es.js"));
            [spanish, all_words("en", include_str!("../../web/languages/en.js"))]
        });
        &CATALOGUES[usize::from(self == Self::English)]
    }
}

#[derive(Serialize)]
struct View<'a> {
    lang: &'static str,
    other_lang: &'static str,
    dir: &'static str,
    theme: Option<String>,
    strings: &'a serde_json::Value,
    drawings: &'a serde_json::Value,
    version: &'a str,
    user_id: Option<String>,
    status: &'a str,
    items: Vec<Item>,
    counts: Counts,
    /// Up to which all are marked as read: what has arrived since has not been looked at.
    newest: Option<String>,
    /// The cursor of the next page.
    next: Option<String>,
    /// The parameters of this view, of its user's first view, and of this view in the other language.
    here: String,
    base: String,
    other_here: String,
    /// The interval of the demo generator, if it runs.
    demo: Option<String>,
    /// Why there is nothing to show, in place of all that.
    refused: Option<Refused<'a>>,
    assets: Assets,
}

/// A problem, for people.
#[derive(Serialize)]
struct Refused<'a> {
    /// Which words of the page say it.
    words: &'static str,
    detail: &'a str,
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct Assets {
    css: String,
    widget_css: String,
    js: String,
    modules: Vec<String>,
    favicon: String,
    favicon_unread: String,
}

impl Assets {
    fn new() -> Assets {
        Assets {
            css: assets::url("page.css"),
            widget_css: assets::url("widget.css"),
            js: assets::url("page.js"),
            modules: assets::modules("page.js"),
            favicon: assets::url("favicon.svg"),
            favicon_unread: assets::url("favicon-unread.svg"),
        }
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    client: Client,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asking = Asking { method: &method, headers: &headers, uri: &uri, client };
    shown(&app, &asking).await.or_else(|problem| refused(problem, &headers, &uri))
}

/// The list of the reader, or the question whose list it is to be.
async fn shown(app: &App, asking: &Asking<'_>) -> Result<Response, Problem> {
    let Asking { headers, uri, .. } = *asking;
    let reader = identity::reader(app, asking)?;
    if reader.is_none()
        && !app.options.open_user_id
        && identity::bearer_header(headers).is_none()
        && takes_html(headers)
    {
        // Whoever names a user here would only be asked for a token next.
        return Err(Problem::unauthorized(&Refusal::Missing, identity::USER_HINT));
    }
    if let Some(response) = reader.as_ref().and_then(|reader| with_session(app, asking, reader)) {
        return Ok(response);
    }
    let user = reader.map(|reader| reader.user);
    let languages = language::wanted(headers, uri);
    let mut status = Status::All;
    let (mut items, mut more, mut counts) = (Vec::new(), false, Counts::default());
    if let Some(user) = &user {
        let wanted = Wanted { limit: ITEMS, ..inbox::wanted(app, user.clone(), uri)? };
        status = wanted.status;
        Page { items, more, counts, .. } = app.inbox.page(wanted).await?;
    }
    let is_first = parameter(uri, &["cursor"]).is_none() && matches!(status, Status::All | Status::Unread);
    let id = |item: &crate::store::Item| item.notification.id.to_string();
    let view = View {
        user_id: user.map(|user| user.to_string()),
        status: status.name(),
        newest: items.first().filter(|_| is_first).map(id),
        next: items.last().filter(|_| more).map(|last| app.delivery.ids().fresh(last.position).to_string()),
        items: items.iter().map(|item| inbox::shown(item, &languages)).collect(),
        counts,
        demo: app.options.demo.map(|interval| humantime::format_duration(interval).to_string()),
        ..View::empty(headers, uri)
    };
    view.response(StatusCode::OK, uri)
}

/// A problem as a page, for whoever takes HTML: a browser that leads a person here.
fn refused(problem: Problem, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    if !takes_html(headers) {
        return Err(problem);
    }
    let words = match problem.code() {
        "credential_missing" | "credential_malformed" => "sign_in",
        "token_expired" | "token_revoked" => "sign_in_again",
        _ if problem.is_temporary() => "later",
        _ => "refused",
    };
    let shown = Refused { words, detail: problem.detail(), hint: problem.hint() };
    let view = View { refused: Some(shown), ..View::empty(headers, uri) };
    let mut response = view.response(problem.status(), uri)?;
    response.headers_mut().extend(problem.extra_header().cloned());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether HTML is asked for by name.
fn takes_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|part| {
        let (name, quality) = part.split_once(';').unwrap_or((part, ""));
        let is_refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.parse().is_ok_and(|q: f32| q <= 0.0));
        name.trim().eq_ignore_ascii_case("text/html") && !is_refused
    })
}

impl<'a> View<'a> {
    /// The page around the list, in the language of the reader.
    fn empty(headers: &HeaderMap, uri: &Uri) -> View<'a> {
        let language = Language::first_of(&language::wanted(headers, uri));
        View {
            lang: language.code(),
            other_lang: language.other().code(),
            dir: "ltr",
            theme: cookie(headers, THEME).filter(|theme| THEMES.contains(&theme.as_str())),
            strings: language.strings(),
            drawings: &DRAWINGS,
            version: env!("CARGO_PKG_VERSION"),
            user_id: None,
            status: Status::All.name(),
            items: Vec::new(),
            counts: Counts::default(),
            newest: None,
            next: None,
            here: query(uri, &[], None),
            base: query(uri, &["status", "cursor"], None),
            other_here: query(uri, &["lang"], Some(("lang", language.other().code()))),
            demo: None,
            refused: None,
            assets: Assets::new(),
        }
    }

    fn response(&self, status: StatusCode, uri: &Uri) -> Result<Response, Problem> {
        let html = TEMPLATES.get_template("page.html").and_then(|page| page.render(Value::from(Serde(self))));
        let html = html.map_err(|error| {
            tracing::error!(%error, "the page could not be rendered");
            Problem::internal()
        })?;
        let head: [(HeaderName, HeaderValue); 5] = [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CONTENT_LANGUAGE, HeaderValue::from_static(self.lang)),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            // Not `no-store`: it would keep the page from the browser's back/forward cache.
            (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
            (VARY, HeaderValue::from_static("Accept, Accept-Language, Authorization, Cookie")),
        ];
        let mut response = (status, head, html).into_response();
        // Whoever has chosen a language has it the next time too.
        if parameter(uri, &["lang"]).is_some_and(|tag| Language::tagged(&tag).is_some_and(|it| it.code() == self.lang))
        {
            response.headers_mut().append(SET_COOKIE, language::cookie_for(self.lang));
        }
        Ok(response)
    }
}

/// Leads a browser that has come with a token in the address to the same view without it: the token is then in the session
/// cookie, so links and forms work without it, and neither the history nor the page has it.
///
/// Nothing is set if the browser would not keep a `Secure` cookie (it sends `Sec-Fetch-Site` exactly where it does), nor in
/// place of another user's session, which a link from elsewhere would otherwise end. The page is then shown at this address,
/// and its script goes on with the token.
fn with_session(app: &App, asking: &Asking<'_>, reader: &Reader) -> Option<Response> {
    let Asking { headers, uri, client, .. } = asking;
    let token = parameter(uri, &["access_token"]).filter(|_| identity::bearer_header(headers).is_none())?;
    let expires_at = reader.expires_at.filter(|_| headers.contains_key(identity::SEC_FETCH_SITE))?;
    let present = identity::session(app, headers, *client).and_then(|token| app.auth.user(token.as_bytes()).ok());
    if matches!(present, Some(Principal::User { user, .. }) if user != reader.user) {
        return None;
    }
    let mut response = see(uri);
    session::set_session(app, &mut response, Connected::of(app, headers, *client), &token, expires_at);
    Some(response)
}

/// Leads to the view of an address, which is relative: a proxy may have mounted the server under a path.
fn see(uri: &Uri) -> Response {
    let here = format!("?{}", query(uri, &[], None));
    let here = HeaderValue::try_from(here).expect("an encoded query is ASCII");
    (StatusCode::SEE_OTHER, [(LOCATION, here), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
}

/// Does what a form of the page says: marks one, or all up to one, and shows the same view again.
pub(super) async fn act(
    State(app): State<Arc<App>>,
    client: Client,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asking = Asking { method: &method, headers: &headers, uri: &uri, client };
    done(&app, &asking, body).await.or_else(|problem| refused(problem, &headers, &uri))
}

async fn done(app: &App, asking: &Asking<'_>, body: Body) -> Result<Response, Problem> {
    let reader = identity::named_reader(app, asking)?;
    // A form needs no script to be sent from anywhere, so here it matters for every credential that an address holds.
    if !identity::is_of_ours(app, asking.headers) {
        return Err(Problem::cross_site());
    }
    reader.write(app)?;
    let body = request::body(body).await?;
    let given = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body);
        fields.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
    };
    let id = |name: &str| given(name).and_then(|id| id.parse::<NotificationId>().ok());
    let flag = |name: &str| given(name).map(|value| value == "true");
    let all = Set { read: Some(true), ..Set::default() };
    let (selection, set) = match (id("read_all"), id("id")) {
        (Some(newest), _) => (Selection::UpTo(newest), all),
        (None, Some(id)) => {
            (Selection::These(vec![id]), Set { seen: None, read: flag("read"), archived: flag("archived") })
        }
        (None, None) => return Err(missing("/id", "must say which notification is meant")),
    };
    if set == Set::default() {
        return Err(missing("/read", "must be there, or `archived`: one of them must change"));
    }
    // What is gone meanwhile is not in the list that is shown next: that says it well enough.
    app.inbox.mark(reader.user, selection, set).await?;
    Ok(see(asking.uri))
}

fn missing(pointer: &str, detail: &str) -> Problem {
    Problem::invalid(FieldError::new(pointer, "missing", detail).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_keeps_the_parameters_that_are_not_its_own() {
        let uri: Uri = "/?user_id=a%26b&lang=es&status=unread&cursor=x".parse().expect("a URI");
        assert_eq!(query(&uri, &[], None), "user_id=a%26b&lang=es&status=unread&cursor=x");
        assert_eq!(query(&uri, &["status", "cursor"], None), "user_id=a%26b&lang=es");
        let english = query(&uri, &["lang"], Some(("lang", "en")));
        assert_eq!(english, "user_id=a%26b&status=unread&cursor=x&lang=en");
        assert_eq!(query(&"/".parse().expect("a URI"), &[], None), "");
        let secret = "/?access_token=a.b.c&user_id=1&ticket=t&access%5ftoken=d".parse().expect("a URI");
        assert_eq!(query(&secret, &[], None), "user_id=1");
    }

    #[test]
    fn the_words_and_pictures_of_the_elements_can_be_read() {
        let keys = |language: Language| -> Vec<String> {
            language.strings().as_object().expect("an object").keys().cloned().collect()
        };
        assert_eq!(keys(Language::Spanish), keys(Language::English));
        for word in ["title", "notifications", "read_all"] {
            assert!(Language::Spanish.strings()[word].is_string(), "{word}");
        }
        assert!(DRAWINGS["info"].is_string());
    }

    #[test]
    fn the_readers_first_language_that_is_ours_is_taken_and_spanish_if_none_is() {
        for (wanted, code) in [
            (&[][..], "es"),
            (&["fr"], "es"),
            (&["en"], "en"),
            (&["en-gb"], "en"),
            (&["es-419"], "es"),
            (&["fr", "en", "es"], "en"),
        ] {
            let wanted: Vec<String> = wanted.iter().map(|tag| (*tag).to_owned()).collect();
            assert_eq!(Language::first_of(&wanted).code(), code, "{wanted:?}");
        }
    }
}
