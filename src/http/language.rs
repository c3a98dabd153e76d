//! Which languages a reader wants: `?lang=`, then what she has chosen before, then `Accept-Language` (RFC 9110, section
//! 12.5.4).

use axum::http::header::{ACCEPT_LANGUAGE, HeaderValue};
use axum::http::{HeaderMap, Uri};

use super::request::{cookie, parameter};
use crate::content::LANGUAGE_BYTES_MAX;

/// Most languages of one reader that are kept. Each connection has its own list, so it is short.
const LANGUAGES_MAX: usize = 4;

/// The cookie with the language that a reader has chosen on the page.
const CHOSEN: &str = "pregon-lang";
/// A year, in seconds.
const CHOSEN_FOR_S: u32 = 365 * 24 * 3600;

/// What keeps a reader's choice.
pub(super) fn cookie_for(tag: &'static str) -> HeaderValue {
    let cookie = format!("{CHOSEN}={tag}; SameSite=Lax; Max-Age={CHOSEN_FOR_S}");
    HeaderValue::try_from(cookie).expect("it is ASCII")
}

/// Tags in lower case, the best first, each once. A language behind one of its own regions is left out (`en` after `en-gb`): a
/// text for it is found by the region's tag already.
pub(super) fn wanted(headers: &HeaderMap, uri: &Uri) -> Vec<String> {
    let chosen = [parameter(uri, &["lang"]), cookie(headers, CHOSEN)];
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut wanted: Vec<String> = Vec::new();
    for tag in chosen.iter().flatten().map(String::as_str).chain(accepted_in_order(accepted)) {
        let tag = tag.to_ascii_lowercase();
        let fits = tag.len() <= LANGUAGE_BYTES_MAX && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_found = wanted.iter().any(|known| *known == tag || known.split('-').next() == Some(&tag));
        if fits && !tag.is_empty() && !is_found && wanted.len() < LANGUAGES_MAX {
            wanted.push(tag);
        }
    }
    wanted
}

fn accepted_in_order(header: &str) -> impl Iterator<Item = &str> {
    let mut accepted: Vec<(&str, f32)> = header
        .split(',')
        .map(|part| {
            let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
            let quality = parameters.trim().strip_prefix("q=").and_then(|q| q.parse().ok());
            (tag.trim(), quality.unwrap_or(1.0))
        })
        .filter(|(_, quality)| *quality > 0.0)
        .collect();
    accepted.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    accepted.into_iter().map(|(tag, _)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_language_comes_first_then_those_of_the_browser() {
        for (query, header, languages) in [
            ("", "", &[][..]),
            ("", "en-GB,en;q=0.9", &["en-gb"]),
            ("", "en-GB,fr;q=0.9,en;q=0.8,EN-gb;q=0.7", &["en-gb", "fr"]),
            ("", "en,en-GB;q=0.9", &["en", "en-gb"]),
            ("?lang=es", "en-GB,en;q=0.9", &["es", "en-gb"]),
            ("", "fr, en;q=0.5, es;q=0.7", &["fr", "es", "en"]),
            ("", "en;q=0, de", &["de"]),
            ("", "*;q=x,,;", &[]),
            ("", "a,b,c,d,e,f", &["a", "b", "c", "d"]),
            ("?lang=a%20b", "", &[]),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, header.parse().expect("a header"))]);
            let uri = format!("/{query}").parse().expect("a URI");
            assert_eq!(wanted(&headers, &uri), languages, "{query} {header}");
        }
    }

    #[test]
    fn what_was_chosen_on_the_page_comes_before_what_the_browser_says() {
        let sent = [("cookie", "a=b; pregon-lang=en"), ("accept-language", "es")];
        let headers = sent.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a header")));
        let headers = HeaderMap::from_iter(headers);
        assert_eq!(wanted(&headers, &"/".parse().expect("a URI")), ["en", "es"]);
        assert_eq!(wanted(&headers, &"/?lang=fr".parse().expect("a URI")), ["fr", "en", "es"]);
        assert_eq!(cookie_for("en"), "pregon-lang=en; SameSite=Lax; Max-Age=31536000");
    }
}
