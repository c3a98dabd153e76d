//! `/`: the page, Spanish and English.
//!
//! The first view is complete in the HTML and works without JavaScript; the script keeps it as the client has it.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;

use super::error::Problem;
use super::shapes::Item;
use super::{App, assets, identity, inbox, language};
use crate::store::Wanted;

/// Notifications on the page.
pub(super) const ITEMS: usize = 50;

/// Nothing runs, and nothing is loaded, that does not come from this server; pictures may be of the web.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_template("page.html", include_str!("../../web/page.html")).expect("the template parses");
    templates
});

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
            [include_str!("../../web/languages/es.json"), include_str!("../../web/languages/en.json")]
                .map(|catalogue| serde_json::from_str(catalogue).expect("the catalogue is JSON"))
        });
        &CATALOGUES[usize::from(self == Self::English)]
    }
}

#[derive(Serialize)]
struct View<'a> {
    lang: &'a str,
    other_lang: &'a str,
    dir: &'a str,
    strings: &'a serde_json::Value,
    version: &'a str,
    user_id: Option<String>,
    items: Vec<Item>,
    /// The interval of the demo generator, if it runs.
    demo: Option<String>,
    assets: Assets,
}

#[derive(Serialize)]
struct Assets {
    bootstrap: String,
    css: String,
    js: String,
    favicon: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let user = identity::reader(&app, &method, &headers, &uri)?.map(|reader| reader.user);
    let wanted = language::wanted(&headers, &uri);
    let language = Language::first_of(&wanted);
    let items = match &user {
        Some(user) => {
            let wanted_page = Wanted { limit: ITEMS, ..app.inbox.first_page(user.clone()) };
            let page = app.inbox.page(wanted_page).await?;
            page.items.iter().map(|item| inbox::shown(item, &wanted)).collect()
        }
        None => Vec::new(),
    };
    let view = View {
        lang: language.code(),
        other_lang: language.other().code(),
        dir: "ltr",
        strings: language.strings(),
        version: env!("CARGO_PKG_VERSION"),
        user_id: user.map(|user| user.to_string()),
        items,
        demo: app.options.demo.map(|interval| humantime::format_duration(interval).to_string()),
        assets: Assets {
            bootstrap: assets::url("bootstrap.min.css"),
            css: assets::url("page.css"),
            js: assets::url("page.js"),
            favicon: assets::url("favicon.svg"),
        },
    };
    let html = TEMPLATES.get_template("page.html").and_then(|page| page.render(Value::from(Serde(&view))));
    let html = html.map_err(|error| {
        tracing::error!(%error, "the page could not be rendered");
        Problem::internal()
    })?;
    let head: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_LANGUAGE, HeaderValue::from_static(language.code())),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        // Not `no-store`: it would keep the page from the browser's back/forward cache.
        (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (VARY, HeaderValue::from_static("Accept-Language, Authorization, Cookie")),
    ];
    Ok((StatusCode::OK, head, html).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

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
