//! One line of the process log per request.
//!
//! **Invariant:** a line holds no secret and nothing of a body. What it holds is listed in [`Line`]: the path only as its
//! route, so that no parameter is in it.

use std::cell::OnceCell;
use std::time::Duration;

use axum::http::StatusCode;

use crate::auth::Principal;
use crate::notification::UserId;

/// Target of the lines, so that `--log pregon::request=debug` gives them and nothing else.
const TARGET: &str = "pregon::request";
/// Stands for the key that the server was started with, which has no name.
const CONFIGURED: &str = "(configured)";

tokio::task_local! {
    /// Who makes the request that this task answers, once a credential has shown it.
    static CALLER: OnceCell<Caller>;
}

/// Who makes a request.
#[derive(Debug)]
pub(super) enum Caller {
    /// A back end, by the name of its server key.
    Key(String),
    User(UserId),
}

/// Answers a request, and gives who has made it as far as [`made_by`] was told.
pub(super) async fn with_caller<T>(answer: impl Future<Output = T>) -> (T, Option<Caller>) {
    let mut scope = std::pin::pin!(CALLER.scope(OnceCell::new(), answer));
    let answer = scope.as_mut().await;
    (answer, scope.as_mut().take_value().and_then(OnceCell::into_inner))
}

/// Notes whose credential a request has shown. The first one counts.
pub(super) fn made_by(principal: &Principal) {
    note(|| match principal {
        Principal::Server(key) => Caller::Key(if key.name().is_empty() { CONFIGURED } else { key.name() }.to_owned()),
        Principal::User { user, .. } => Caller::User(user.clone()),
    });
}

/// Notes for whom a request is answered that needs no credential of its own.
pub(super) fn made_for(user: &UserId) {
    note(|| Caller::User(user.clone()));
}

fn note(caller: impl FnOnce() -> Caller) {
    // Outside of a request there is nobody to be noted.
    let _ = CALLER.try_with(|noted| {
        noted.get_or_init(caller);
    });
}

/// What is logged of a request.
pub(super) struct Line<'a> {
    pub(super) method: &'static str,
    /// The pattern of its path; empty if there is none.
    pub(super) route: &'a str,
    pub(super) status: StatusCode,
    /// Until the head of the answer was there.
    pub(super) took: Duration,
    pub(super) request_id: &'a str,
    pub(super) caller: Option<&'a Caller>,
}

impl Line<'_> {
    /// Writes it at `info` where somebody has to act: the server failed, or a back end made a request that is refused. All
    /// others are written at `debug`, strangers' too, so that nobody can fill the log.
    pub(super) fn write(&self) {
        let Line { method, route, status, took, request_id, caller } = *self;
        let (key, user) = match caller {
            Some(Caller::Key(name)) => (Some(name.as_str()), None),
            Some(Caller::User(user)) => (None, Some(user.as_str())),
            None => (None, None),
        };
        let status_code = status.as_u16();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    method,
                    route,
                    status = status_code,
                    ms,
                    request_id,
                    key,
                    user,
                    "request"
                )
            };
        }
        if status.is_server_error() || (key.is_some() && status.is_client_error()) {
            write!(info);
        } else {
            write!(debug);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Mutant: what a stranger was refused is written at `info`.
    #[test]
    fn what_somebody_must_act_on_is_info_and_all_is_debug() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .finish();
        let key = || Some(Caller::Key("orders".into()));
        let user = || Some(Caller::User("ana".parse().expect("valid")));
        let cases = [
            (200, None, "DEBUG"),
            (201, key(), "DEBUG"),
            (401, None, "DEBUG"),
            (403, user(), "DEBUG"),
            (422, key(), "INFO"),
            (503, None, "INFO"),
            (500, user(), "INFO"),
        ];
        tracing::subscriber::with_default(subscriber, || {
            for (status, caller, _) in &cases {
                let status = StatusCode::from_u16(*status).expect("valid");
                let took = Duration::from_micros(7_900);
                let line = Line {
                    method: "POST",
                    route: "/v1/users/{user}",
                    status,
                    took,
                    request_id: "r-1",
                    caller: caller.as_ref(),
                };
                line.write();
            }
        });
        let written = String::from_utf8(written.0.lock().expect("not poisoned").clone()).expect("text");
        let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), cases.len());
        for (line, (status, caller, level)) in lines.iter().zip(&cases) {
            assert_eq!((&line["level"], &line["fields"]["status"]), (&Value::from(*level), &Value::from(*status)));
            let made_by = match caller {
                Some(Caller::Key(name)) => ("key", name.as_str()),
                Some(Caller::User(user)) => ("user", user.as_str()),
                None => ("key", ""),
            };
            assert_eq!(line["fields"][made_by.0].as_str().unwrap_or_default(), made_by.1, "{line}");
        }
        let fields = r#"{"message":"request","method":"POST","route":"/v1/users/{user}","status":201,"ms":7,"request_id":"r-1","key":"orders"}"#;
        assert_eq!(lines[1]["fields"].to_string(), fields, "and nothing else");
    }
}
