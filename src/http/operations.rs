//! What the operations of the API have in common in its document: the parameters that many take, and the problems that
//! can come.
//!
//! **Invariant:** what a status means is said once, here. `docs/api.md` lists the same codes.
//!
//! Deliberately absent: what is particular to one path; it stands at its handler.

use std::collections::BTreeMap;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses};

/// Statuses of problems, and the codes that come with them.
const PROBLEMS: [(&str, &str); 15] = [
    (
        "400",
        "`malformed_json`, `not_utf8`, `invalid_path`, `invalid_query`, `invalid_header`, `malformed_body`, `unreadable_head`: it is no \
         request of this kind.",
    ),
    (
        "401",
        "`credential_missing`, `credential_malformed`, `credential_unknown`, `key_expired`, `token_invalid`, \
         `token_expired`, `token_revoked`, `ticket_invalid`: \
         `WWW-Authenticate` and `hint` say what is wanted.",
    ),
    (
        "403",
        "`forbidden`: the credential is good, and not for this. `scope_missing`: so is the server key; `detail` says \
         which scope it would have to have. `cross_site`: a change came with a cookie, or with no \
         credential, and no page of this server asked for it. `session_impossible`: the browser would drop the cookie.",
    ),
    ("404", "`not_found`"),
    ("408", "`body_incomplete`: the body did not arrive whole in 30 s, or came too slowly."),
    (
        "409",
        "`idempotency_key_reused`: another request had this `Idempotency-Key`. `secret_configured`: user tokens are \
         signed with a secret of the configuration. `too_many_secrets`: so many old ones are still accepted. `too_many_keys`: no more are kept. `last_admin_key`: without it nobody could make another. `too_many_topics`: the user would be a member of more \
         than `--max-topics-per-user`; nothing was changed.",
    ),
    ("413", "`body_too_large`"),
    ("415", "`unsupported_media_type`"),
    ("421", "`misdirected`: the server lets in whoever is on its machine, and was asked for by another name."),
    (
        "422",
        "`invalid_request`: `errors` has every wrong field, of many the first 32. `batch_size`: nothing, or too much.",
    ),
    ("429", "`rate_limited`: `detail` says how often is allowed, `Retry-After` when to come back."),
    ("500", "`internal`: it is logged. `store_damaged`: the store's file is damaged there; other requests go on."),
    ("501", "`transfer_coding`: `Transfer-Encoding` is not `chunked` alone."),
    (
        "503",
        "`draining` (`/readyz` alone), `busy`, `store_unavailable`, `store_stopped`, `issuer_unavailable`, \
         `maintenance_failing`: `Retry-After` says when to come back. `outcome_unknown`: it may have been stored or not, \
         and there is none.",
    ),
    ("507", "`store_full`: nothing was stored; it works again once there is space."),
];

/// The problem of a status, as an answer.
fn problem(status: &str) -> (String, RefOr<Response>) {
    let (_, description) = PROBLEMS.iter().find(|(known, _)| *known == status).expect("the status is in the list");
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let header = match status {
        "401" => Some("WWW-Authenticate"),
        "429" | "503" | "507" => Some("Retry-After"),
        _ => None,
    };
    let mut response = ResponseBuilder::new().description(*description).content("application/problem+json", body);
    if let Some(name) = header {
        response = response.header(name, HeaderBuilder::new().build());
    }
    (status.to_owned(), response.into())
}

/// Defines groups of problems.
macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $group:ident: $($status:literal)+;)+) => {$(
        $(#[doc = $doc])+
        pub struct $group;

        impl IntoResponses for $group {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                BTreeMap::from([$(problem($status)),+])
            }
        }
    )+};
}

problems! {
    /// Of every operation that needs a server key.
    AsServer: "401" "403" "421" "429" "500" "503";
    /// Of every operation of a user.
    AsUser: "400" "401" "403" "421" "429" "500" "503";
    /// Where a name or a parameter is read.
    Named: "400";
    /// Where there may be nothing.
    Found: "404";
    /// Where a body of any kind is read.
    WithBody: "400" "408" "413" "422" "501";
    /// Where the body must be of a certain kind.
    OfType: "415";
    /// Where something is stored.
    Stored: "507";
    /// Where the server or an earlier request may be against it.
    Conflicting: "409";
    /// Of a question whether the server is ready.
    Readiness: "421" "500" "503";
}

/// Whose it is.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    /// The user: required with the server key, and where `user_id` needs no credential. A token names its user itself;
    /// another one is refused.
    #[param(required = false, value_type = String, format = "name")]
    pub user_id: String,
}

/// In which language.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Language {
    /// The language that is wanted first; those of `Accept-Language` follow.
    #[param(required = false, value_type = String, example = json!("es"))]
    pub lang: String,
}

/// Which page of an inbox.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Which of her notifications: `all` are those not archived.
    #[param(required = false, inline)]
    pub status: StatusName,
    /// Of this category only.
    #[param(required = false, value_type = String, example = json!("orders"))]
    pub category: String,
    /// Published to this topic only.
    #[param(required = false, value_type = String, format = "name", example = json!("orders"))]
    pub topic: String,
    /// How many.
    #[param(required = false, value_type = u8, minimum = 1, maximum = 100, default = 20)]
    pub limit: u8,
    /// `next_cursor` of the page before.
    #[param(required = false, value_type = String, format = "event-id")]
    pub cursor: String,
}

/// The names of the parameter `status`.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum StatusName {
    /// Those that are not archived.
    All,
    /// Those neither read nor archived.
    Unread,
    /// Those that are read and not archived.
    Read,
    /// Those that are archived.
    Archived,
}

/// Where a stream begins, and in which form it comes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Streaming {
    /// The id of the last event that was received: everything after it follows. The header `Last-Event-ID` is the same
    /// and wins.
    #[param(required = false, value_type = String)]
    pub last_event_id: String,
    /// Where to begin without one: `earliest`, an event id, a time (RFC 3339) or a duration such as `1h`.
    #[param(required = false, value_type = String, example = json!("1h"))]
    pub since: String,
    /// One answer with what there is instead of a stream.
    #[param(required = false, value_type = String, format = "flag", example = json!("1"))]
    pub poll: String,
    /// How long a poll waits for the first event: 25 s if it does not say, 55 s at most.
    #[param(required = false, value_type = String, format = "period", example = json!("10ms"))]
    pub wait: String,
}

/// A request that is done once.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Once {
    /// 1 to 255 printable ASCII characters. A request with the same key within 24 hours is answered like the first, with
    /// `Idempotent-Replayed: true`, and nothing is done.
    #[param(required = false, value_type = String, rename = "Idempotency-Key", format = "key")]
    pub idempotency_key: String,
}
