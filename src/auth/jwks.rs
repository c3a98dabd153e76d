//! Keys that are fetched: where an issuer says so, its key set is asked for at the start and from then on now and again.
//!
//! **Invariants:** what is asked for stands in the configuration, and when is a matter of time alone: no request, whatever is in
//! it, makes this server ask anybody. Answers are limited in size and time, and lead nowhere else. Keys that can't be fetched
//! any more are used for a stated time, and then no longer.
//!
//! Deliberately absent: a look for the key that a token names and nobody has yet. An issuer shows a key before it uses it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::time::{Instant, sleep_until, timeout};

use super::Auth;
use super::key_set::{DOCUMENT_BYTES_MAX, KeySet, KeySetError};
use super::tokens::{Issuing, JwksUrl, Replaced};
use crate::loopback;

/// How long the start of a server waits for the first answers. Who takes longer is asked again while it runs.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(3);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// For a whole answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How soon after a failure it is tried again. It doubles with each, up to the usual interval.
const RETRY: Duration = Duration::from_secs(1);
/// So many times at most, so that no number overflows.
const DOUBLINGS_MAX: u32 = 16;

/// Longest [`Options::refresh`].
pub const REFRESH_MAX: Duration = Duration::from_hours(24);
/// Longest [`Options::stale_max`].
pub const STALE_MAX: Duration = Duration::from_hours(366 * 24);

/// How long keys last.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often they are fetched.
    pub refresh: Duration,
    /// How long they are used while they can't be fetched; no shorter.
    pub stale_max: Duration,
}

/// The issuers whose keys are fetched.
pub struct Jwks {
    sources: Vec<Source>,
}

impl Jwks {
    /// Nothing is asked for yet.
    ///
    /// # Errors
    /// When this system has no certificates to know servers by.
    pub fn new(auth: &Auth, options: Options) -> Result<Jwks, reqwest::Error> {
        let sources = auth.fetching().map(|(issuing, url)| Source::new(issuing, url, options));
        Ok(Jwks { sources: sources.collect::<Result<_, _>>()? })
    }

    /// Asks all of them, and waits for their answers, but not for long.
    pub async fn begin(&mut self) {
        let answers = join_all(self.sources.iter_mut().map(Source::ask));
        // Whoever has not answered is asked again soon.
        let _ = timeout(BEGIN_TIME_MAX, answers).await;
    }

    /// Goes on asking. Ends only if there is nobody to ask.
    pub async fn run(self) {
        join_all(self.sources.into_iter().map(Source::keep)).await;
    }
}

/// Where the keys of an issuer come from.
struct Source {
    issuing: Arc<Issuing>,
    url: JwksUrl,
    http: Client,
    options: Options,
    /// Failures since it last answered.
    failures: u32,
    /// Until when its last answer is used; nothing if there is none to use.
    good_until: Option<Instant>,
    answer: KeySet,
}

impl Source {
    fn new(issuing: &Arc<Issuing>, url: &JwksUrl, options: Options) -> Result<Source, reqwest::Error> {
        let http = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(ANSWER_TIME_MAX)
            .user_agent(concat!("pregon/", env!("CARGO_PKG_VERSION")));
        let http = match url.url().scheme() {
            // Nobody stands between this machine and itself, and nobody has to be known by a certificate.
            "http" => http
                .no_proxy()
                .tls_certs_only([])
                .resolve_to_addrs(url.url().host_str().unwrap_or_default(), &loopback::ADDRESSES),
            _ => http.https_only(true),
        };
        Ok(Source {
            issuing: Arc::clone(issuing),
            url: url.clone(),
            http: http.build()?,
            options,
            failures: 0,
            good_until: None,
            answer: KeySet::default(),
        })
    }

    /// Asks again and again.
    async fn keep(mut self) {
        loop {
            // A fifth earlier at most, so that many servers which began together do not ask together. Never later: the last
            // answer may be good for no longer than that.
            let interval = interval(self.failures, self.options.refresh);
            let next = Instant::now() + interval.mul_f64(0.8 + 0.2 * fastrand::f64());
            if let Some(end) = self.good_until.take_if(|end| *end <= next) {
                sleep_until(end).await;
                self.withdraw();
            }
            sleep_until(next).await;
            self.ask().await;
        }
    }

    /// Asks once, and takes the answer.
    async fn ask(&mut self) {
        // It counts as a failure until there is an answer, also if nobody waits for it any more.
        self.failures += 1;
        match fetch(&self.http, &self.url).await {
            Ok(answer) => {
                self.failures = 0;
                self.good_until = Some(Instant::now() + self.options.stale_max);
                self.take(answer);
            }
            Err(error) => {
                let (issuer, error) = (self.issuing.name(), &error as &dyn std::error::Error);
                if self.issuing.is_away() {
                    tracing::error!(issuer, error, "the keys of an issuer can't be fetched: its tokens are refused");
                } else {
                    tracing::warn!(issuer, error, "the keys of an issuer can't be fetched: those from before are used");
                }
            }
        }
    }

    fn take(&mut self, answer: KeySet) {
        if answer == self.answer && !self.issuing.is_away() {
            return;
        }
        let issuer = self.issuing.name();
        for (place, refusal) in &answer.refused {
            tracing::warn!(issuer, place, "a key of an issuer is not used: it {refusal}");
        }
        let Replaced { new, gone } = self.issuing.replace(answer.keys.clone());
        tracing::info!(issuer, keys = answer.keys.len(), new, gone, "the keys of an issuer have been fetched");
        self.answer = answer;
    }

    /// Nobody has said for too long that its keys are still good.
    fn withdraw(&self) {
        let (issuer, gone) = (self.issuing.name(), self.issuing.withdraw());
        tracing::error!(issuer, gone, "the keys of an issuer are too old to be used: its tokens are refused");
    }
}

/// How long it is until the next question.
fn interval(failures: u32, refresh: Duration) -> Duration {
    match failures {
        0 => refresh,
        failures => RETRY.saturating_mul(1 << (failures - 1).min(DOUBLINGS_MAX)).min(refresh),
    }
}

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// There was no whole answer.
    #[error("there was no whole answer")]
    Unanswered(#[source] reqwest::Error),
    /// The answer was another. Redirects are among them.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// The answer was too long.
    #[error("the answer has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    /// The answer was something else.
    #[error("the answer can't be used")]
    Unusable(#[from] KeySetError),
}

async fn fetch(http: &Client, url: &JwksUrl) -> Result<KeySet, FetchError> {
    let unanswered = |error: reqwest::Error| FetchError::Unanswered(error.without_url());
    let request = http.get(url.url().clone()).header(ACCEPT, "application/jwk-set+json, application/json");
    let mut answer = request.send().await.map_err(unanswered)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let mut document = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(unanswered)? {
        if document.len() + part.len() > DOCUMENT_BYTES_MAX {
            return Err(FetchError::TooLong);
        }
        document.extend_from_slice(&part);
    }
    Ok(KeySet::read(&document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_again_soon_after_a_failure_and_ever_later_after_more() {
        let minutes = Duration::from_mins(5);
        let seconds = |failures| interval(failures, minutes).as_secs();
        assert_eq!([0, 1, 2, 3, 8, 9, 10, 40, u32::MAX].map(seconds), [300, 1, 2, 4, 128, 256, 300, 300, 300]);
        assert_eq!(interval(3, Duration::from_millis(50)), Duration::from_millis(50));
    }
}
