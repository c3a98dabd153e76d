//! The files of the pages, compiled in. All are served below one folder named by the hash of them all, so that browsers may
//! keep them for ever and one file may import another by its plain name.
//!
//! **Invariant:** whatever is served under an address never changes; what has an address of its own for ever, `/pregon.js`,
//! only names the others. An address of another version leads to this one's. Pages of any origin may use all of it: there is
//! nothing of anybody's in it.
//!
//! Deliberately absent: their preparation, which is `build.rs`.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName,
    HeaderValue, LOCATION, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::error::Problem;

struct Asset {
    name: &'static str,
    /// As it is; what is kept compressed has no such form.
    plain: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
    brotli: Option<&'static [u8]>,
}

const ASSETS: &[Asset] = &include!(concat!(env!("OUT_DIR"), "/assets.rs"));

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// A browser asks again after five minutes which files belong to this version.
const WHILE: &str = "public, max-age=300";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The folder's name: four bytes of the SHA-256 of all files.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut context = Context::new(&SHA256);
    for asset in ASSETS {
        context.update(asset.name.as_bytes());
        context.update(asset.plain.or(asset.gzip).unwrap_or_default());
    }
    let [a, b, c, d, ..] = *context.finish().as_ref() else { unreachable!("a SHA-256 digest has 32 bytes") };
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
});

/// Where a file is served, relative to the server's own root: a proxy may have mounted it under a path.
#[must_use]
pub fn url(name: &str) -> String {
    format!("./assets/{}/{name}", *HASH)
}

/// Where a module is and all that it imports, directly or not: a browser that is told of all of them at once need not find
/// them one after the other. What it loads when it is needed (`import()`) is not among them.
#[must_use]
pub fn modules(entry: &str) -> Vec<String> {
    let mut names = vec![entry.to_owned()];
    let mut next = 0;
    while let Some(name) = names.get(next).cloned() {
        let source = ASSETS.iter().find(|asset| asset.name == name).and_then(|asset| asset.plain).unwrap_or_default();
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        for import in String::from_utf8_lossy(source).lines().filter_map(imported) {
            let file = match import.strip_prefix("../") {
                Some(file) => file.to_owned(),
                None => format!("{folder}/{}", import.trim_start_matches("./")).trim_start_matches('/').to_owned(),
            };
            if !names.contains(&file) {
                names.push(file);
            }
        }
        next += 1;
    }
    names.iter().map(|name| url(name)).collect()
}

/// What a line of a module imports, if it does.
fn imported(line: &str) -> Option<&str> {
    let names_another = line.starts_with("import ") || line.starts_with("export ");
    line.split_once(" from \"").filter(|_| names_another).and_then(|(_, rest)| rest.strip_suffix("\";"))
}

pub(super) async fn asset(
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = path.ok().and_then(|Path((hash, name))| {
        let asset = ASSETS.iter().find(|asset| asset.name == name)?;
        Some((asset, hash == *HASH))
    });
    match found.ok_or_else(|| Problem::not_found("this file is not part of this version"))? {
        (asset, true) => Ok(served(asset, FOR_EVER, &headers)),
        (asset, false) => Ok(elsewhere(asset)),
    }
}

/// A page that was opened before an upgrade may load a part of it only now. What it had then is gone: this version's must do.
fn elsewhere(asset: &Asset) -> Response {
    // From the folder of the file that was asked for, up to that of all versions.
    let up = "../".repeat(asset.name.matches('/').count() + 1);
    let here = HeaderValue::try_from(format!("{up}{}/{}", *HASH, asset.name)).expect("names of our files are ASCII");
    let head = [
        (LOCATION, here),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    ];
    (StatusCode::TEMPORARY_REDIRECT, head).into_response()
}

fn served(asset: &Asset, cached: &'static str, headers: &HeaderMap) -> Response {
    let encoded = [("br", asset.brotli), ("gzip", asset.gzip)];
    let chosen = encoded.into_iter().find_map(|(name, bytes)| Some((name, bytes.filter(|_| takes(headers, name))?)));
    // What is kept compressed is sent so to everybody: every browser takes it, and nobody else asks for it.
    let chosen = chosen.or(if asset.plain.is_none() { asset.gzip.map(|bytes| ("gzip", bytes)) } else { None });
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type(asset.name))),
        (CACHE_CONTROL, HeaderValue::from_static(cached)),
        (VARY, HeaderValue::from_static("Accept-Encoding")),
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    ];
    match chosen {
        Some((name, bytes)) => (head, [(CONTENT_ENCODING, name)], bytes).into_response(),
        None => (head, asset.plain.unwrap_or_default()).into_response(),
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => JAVASCRIPT,
    }
}

/// Whether a client takes an encoding (RFC 9110, section 12.5.3). What is not named is not taken: nobody is worse off.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|part| {
        let (name, quality) = part.split_once(';').unwrap_or((part, ""));
        let is_refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.parse().is_ok_and(|q: f32| q <= 0.0));
        name.trim().eq_ignore_ascii_case(encoding) && !is_refused
    })
}

/// `/pregon.js`: the elements.
pub(super) async fn widget() -> Response {
    module("widget/pregon.js")
}

/// `/pregon-client.js`: the client without anything to see.
pub(super) async fn client() -> Response {
    module("client/client.js")
}

/// A module that gives what another one gives, wherever that is in this version.
fn module(name: &str) -> Response {
    let imports = modules(name).into_iter().map(|file| format!("import \"{file}\";\n"));
    let text = imports.chain([format!("export * from \"{}\";\n", url(name))]).collect::<Vec<_>>().concat();
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static(JAVASCRIPT)),
        (CACHE_CONTROL, HeaderValue::from_static(WHILE)),
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    ];
    (head, text).into_response()
}

/// Browsers ask for it wherever they are.
pub(super) async fn favicon(headers: HeaderMap) -> Response {
    let icon = ASSETS.iter().find(|asset| asset.name == "favicon.svg").expect("it is among the files");
    served(icon, "public, max-age=86400", &headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_form_that_a_client_takes_is_sent() {
        let asset = Asset { name: "a.js", plain: Some(b"plain"), gzip: Some(b"gzip"), brotli: Some(b"br") };
        for (accepted, encoding) in [
            ("", None),
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip", Some("gzip")),
            ("BR;q=0, GZIP;q=0.5", Some("gzip")),
            ("brotli", None),
            ("identity;q=1, *;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, accepted.parse().expect("a header"))]);
            let response = served(&asset, FOR_EVER, &headers);
            let sent = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().expect("ASCII"));
            assert_eq!(sent, encoding, "{accepted}");
        }
        let packed = Asset { plain: None, brotli: None, ..asset };
        assert_eq!(served(&packed, FOR_EVER, &HeaderMap::new()).headers()[CONTENT_ENCODING], "gzip");
    }

    #[tokio::test]
    async fn a_file_of_another_version_is_that_of_this_one() {
        let get =
            async |hash: &str, name: &str| asset(Ok(Path((hash.to_owned(), name.to_owned()))), HeaderMap::new()).await;
        let answer = get("00000000", "widget/panel.js").await.expect("it is there");
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(answer.headers()[LOCATION], format!("../../{}/widget/panel.js", *HASH));
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(get(&HASH, "widget/panel.js").await.expect("it is there").status(), StatusCode::OK);
        assert!(get("00000000", "widget/none.js").await.is_err());
    }

    #[test]
    fn a_module_is_announced_with_all_that_it_imports_and_nothing_else() {
        let (elements, panel) = (modules("widget/pregon.js"), modules("widget/panel.js"));
        let drawn =
            ASSETS.iter().filter(|asset| asset.name.starts_with("widget/") || asset.name.starts_with("languages/"));
        for asset in drawn {
            assert!(elements.iter().chain(&panel).any(|file| *file == url(asset.name)), "{}", asset.name);
        }
        // What is loaded when it is needed is not announced.
        for later in ["widget/panel.js", "widget/inbox.js", "widget/panel-style.js", "languages/es.js"] {
            assert!(!elements.contains(&url(later)), "{later}");
        }
        let client = modules("client/client.js");
        assert!(client.len() > 5 && client.iter().all(|file| file.contains("/client/") && elements.contains(file)));
        let page = modules("page.js");
        assert!(page.contains(&url("widget/inbox.js")));
        assert!(!page.contains(&url("widget/elements.js")) && !page.contains(&url("widget/panel-style.js")));
    }
}
