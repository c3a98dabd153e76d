//! Somebody who makes tokens, and the server on which she shows her keys.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue, LOCATION};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pregon::auth::tokens::Issuer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::server::within;

/// A pair of keys with a name.
pub(crate) struct Signer {
    id: &'static str,
    private: EncodingKey,
    /// The public one.
    pub(crate) jwk: Value,
}

impl Signer {
    pub(crate) fn new(id: &'static str) -> Signer {
        let pair = Ed25519KeyPair::generate().unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x});
        Signer { id, private: EncodingKey::from_ed_der(private.as_ref()), jwk }
    }

    /// A token of a user for a minute, which says that it is of that issuer.
    pub(crate) fn token(&self, issuer: &str, user: &str) -> String {
        let claims = json!({"iss": issuer, "sub": user, "exp": jiff::Timestamp::now().as_second() + 60});
        self.sign(&claims, |_| {})
    }

    /// A token of those claims.
    pub(crate) fn sign(&self, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header { kid: Some(self.id.into()), ..Header::new(Algorithm::EdDSA) };
        change(&mut header);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

/// What is answered to whoever asks for keys.
#[derive(Clone)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

/// Shows keys, and counts how often it is asked for them.
pub(crate) struct KeyServer {
    pub(crate) url: String,
    answer: Arc<watch::Sender<Answer>>,
    asked: watch::Receiver<usize>,
    serving: JoinHandle<()>,
}

impl KeyServer {
    /// One that shows those keys.
    pub(crate) async fn start(keys: &[&Signer]) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let (count, asked) = watch::channel(0);
        let answer = Arc::new(watch::Sender::new(document(keys)));
        let state = (Arc::clone(&answer), Arc::new(count));
        let router = axum::Router::new().fallback(answered).with_state(state);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        KeyServer { url, answer, asked, serving }
    }

    /// Shows those from now on.
    pub(crate) fn show(&self, keys: &[&Signer]) {
        self.answer.send_replace(document(keys));
    }

    /// Answers with something else from now on.
    pub(crate) fn say(&self, status: u16, body: impl Into<String>) {
        self.answer.send_replace(Answer { status, headers: HeaderMap::new(), body: body.into() });
    }

    /// Sends whoever asks elsewhere from now on.
    pub(crate) fn redirect(&self, status: u16, location: HeaderValue) {
        let headers = HeaderMap::from_iter([(LOCATION, location)]);
        self.answer.send_replace(Answer { status, headers, body: String::new() });
    }

    /// How often it has been asked.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until what it answers now has been taken: that is so when the same asks once more.
    pub(crate) async fn taken(&mut self) {
        let before = self.asked();
        within(self.asked.wait_for(|asked| *asked >= before + 3)).await.unwrap();
    }

    /// An issuer of that name whose keys are here.
    pub(crate) fn issuer(&self, name: &str) -> Issuer {
        let jwks_url = Some(self.url.parse().unwrap());
        Issuer { name: Some(name.to_owned()), audience: None, keys: Vec::new(), jwks_url }
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn document(keys: &[&Signer]) -> Answer {
    let keys: Vec<&Value> = keys.iter().map(|signer| &signer.jwk).collect();
    Answer { status: 200, headers: HeaderMap::new(), body: json!({"keys": keys}).to_string() }
}

type Shown = (Arc<watch::Sender<Answer>>, Arc<watch::Sender<usize>>);

async fn answered(State((answer, count)): State<Shown>) -> (StatusCode, HeaderMap, String) {
    let Answer { status, headers, body } = answer.borrow().clone();
    count.send_modify(|count| *count += 1);
    (StatusCode::from_u16(status).unwrap(), headers, body)
}
