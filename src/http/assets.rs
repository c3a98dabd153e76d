//! The files of the pages, compiled in. All are served below one folder named by the hash of them all, so that browsers may
//! keep them for ever and one file may import another by its plain name.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use super::error::Problem;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

/// What a gzip file begins with (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// An asset of the folder `web`, under its own name.
macro_rules! asset {
    ($media_type:expr, $name:literal) => {
        Asset { name: $name, media_type: $media_type, bytes: include_bytes!(concat!("../../web/", $name)) }
    };
}

const ASSETS: [Asset; 14] = [
    Asset { name: "bootstrap.min.css", media_type: CSS, bytes: include_bytes!("../../web/vendor/bootstrap.min.css") },
    asset!(CSS, "page.css"),
    asset!(JAVASCRIPT, "page.js"),
    asset!(JAVASCRIPT, "client/client.js"),
    asset!(JAVASCRIPT, "client/access.js"),
    asset!(JAVASCRIPT, "client/backoff.js"),
    asset!(JAVASCRIPT, "client/events.js"),
    asset!(JAVASCRIPT, "client/inbox.js"),
    asset!(JAVASCRIPT, "client/leadership.js"),
    asset!(JAVASCRIPT, "client/stream.js"),
    asset!(CSS, "docs.css"),
    asset!(JAVASCRIPT, "docs.js"),
    Asset {
        name: "rapidoc-min.js",
        media_type: JAVASCRIPT,
        bytes: include_bytes!("../../web/vendor/rapidoc-min.js.gz"),
    },
    asset!("image/svg+xml", "favicon.svg"),
];

/// The folder's name: four bytes of the SHA-256 of all files.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut context = Context::new(&SHA256);
    for asset in &ASSETS {
        context.update(asset.name.as_bytes());
        context.update(asset.bytes);
    }
    let [a, b, c, d, ..] = *context.finish().as_ref() else { unreachable!("a SHA-256 digest has 32 bytes") };
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
});

/// Where a file is served.
#[must_use]
pub fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *HASH)
}

pub(super) async fn asset(path: Result<Path<(String, String)>, PathRejection>) -> Result<Response, Problem> {
    let asset =
        path.ok().and_then(|Path((hash, name))| ASSETS.iter().find(|asset| asset.name == name && hash == *HASH));
    let asset = asset.ok_or_else(|| Problem::not_found("this file is not part of this version"))?;
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    let mut response = (headers, asset.bytes).into_response();
    // What is kept compressed is sent so to everybody: every browser takes it, and nobody else asks for it.
    if asset.bytes.starts_with(GZIP) {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Browsers ask for it wherever they are.
pub(super) async fn favicon() -> Response {
    let headers = [(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "public, max-age=86400")];
    (headers, include_bytes!("../../web/favicon.svg").as_slice()).into_response()
}
