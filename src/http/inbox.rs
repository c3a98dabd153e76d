//! `/v1/inbox`: what a user has and what she has done with it; and the same for her back end under `/v1/users/{user}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{HeaderValue, LINK};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use super::App;
use super::error::{Problem, nearest};
use super::identity::{Manager, Owner};
use super::language;
use super::operations::{self, AsServer, AsUser, Found, Language, OfType, Paging, Stored, Whose, WithBody};
use super::request::{self, Named, Object, encoded, json, parameter, query};
use super::shapes::{InboxItem, InboxPage, Item as Shown, Mark, MarkAll, MarkSome, Marked, MarkedAll, MarkedSome};
use crate::content::choose;
use crate::inbox::{MARKED_MAX, Marks, PAGE_MAX};
use crate::notification::{Notification, NotificationId, UserId};
use crate::sse;
use crate::state::{Counts, Set};
use crate::store::{Item, Page, Selection, Status, Wanted};

/// The fields of a change of state.
pub(super) const SET: [&str; 3] = ["seen", "read", "archived"];
/// The fields of a mark of all, and of some.
pub(super) const ALL: [&str; 1] = ["up_to"];
pub(super) const SOME: [&str; 2] = ["ids", "set"];

/// Lists what a user has, the newest first.
#[utoipa::path(
    get,
    path = "/v1/inbox",
    tag = "inbox",
    operation_id = "inbox",
    params(Whose, Paging, Language),
    responses(
        (
            status = 200,
            description = "A page, the newest first.",
            body = InboxPage,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`, unless this is the last one."))
        ),
        AsUser
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn list(
    Owner(user): Owner,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    page(&app, user, &headers, &uri).await
}

/// Lists what a user has, as she would be told.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/inbox",
    tag = "users",
    operation_id = "inbox_of",
    params(
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1")),
        Paging,
        Language
    ),
    responses(
        (
            status = 200,
            description = "A page, the newest first.",
            body = InboxPage,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`, unless this is the last one."))
        ),
        AsServer,
        operations::Named
    ),
    security(("server_key" = []))
)]
pub(super) async fn list_of(
    _: Manager,
    Named(user): Named<UserId>,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    page(&app, user, &headers, &uri).await
}

async fn page(app: &App, user: UserId, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    let wanted = wanted(app, user, uri)?;
    let Page { items, more, counts, head } = app.inbox.page(wanted).await?;
    let languages = language::wanted(headers, uri);
    let ids = app.delivery.ids();
    let next = items.last().filter(|_| more).map(|last| ids.fresh(last.position).to_string());
    let page = InboxPage {
        data: items.iter().map(|item| shown(item, &languages)).collect(),
        next_cursor: next.clone(),
        counts,
        stream_cursor: ids.fresh(head).to_string(),
    };
    let mut response = json(StatusCode::OK, encoded(&page));
    if let Some(next) = next {
        let link = format!("<{}{}>; rel=\"next\"", app.options.path(), with_cursor(uri, &next));
        response.headers_mut().insert(LINK, HeaderValue::try_from(link).expect("a URI and base64url are ASCII"));
    }
    Ok(response)
}

/// The path and query of the next page.
fn with_cursor(uri: &Uri, cursor: &str) -> String {
    format!("{}?{}", uri.path(), query(uri, &["cursor"], Some(("cursor", cursor))))
}

/// Reads which page is wanted.
pub(super) fn wanted(app: &App, user: UserId, uri: &Uri) -> Result<Wanted, Problem> {
    let mut wanted = app.inbox.first_page(user);
    if let Some(name) = parameter(uri, &["status"]) {
        wanted.status = Status::named(&name).ok_or_else(|| {
            let problem = Problem::query("status", format!("must be one of {}", Status::NAMES.join(", ")));
            match nearest(&name, Status::NAMES) {
                Some(name) => problem.with_hint(format!("did you mean {name}?")),
                None => problem,
            }
        })?;
    }
    wanted.category = parameter(uri, &["category"]);
    wanted.topic = parameter(uri, &["topic"])
        .map(|name| name.parse().map_err(|error| Problem::query("topic", error)))
        .transpose()?;
    if let Some(limit) = parameter(uri, &["limit"]) {
        let limit = limit.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
        wanted.limit =
            limit.ok_or_else(|| Problem::query("limit", format!("must be a number from 1 to {PAGE_MAX}")))?;
    }
    if let Some(cursor) = parameter(uri, &["cursor"]) {
        let position = app.delivery.ids().open(cursor.as_bytes());
        wanted.before = Some(position.ok_or_else(|| Problem::query("cursor", "must be one that this server gave"))?);
    }
    Ok(wanted)
}

/// An item as a reader of these languages sees it.
pub(super) fn shown(item: &Item, languages: &[String]) -> Shown {
    let notification = in_language(&item.notification, languages);
    let notification = request::object_of(&sse::notification_json(&notification));
    Shown { notification, marked: Marked::from(item.state) }
}

/// A notification in the first of these languages that there is.
fn in_language(notification: &Notification, languages: &[String]) -> Notification {
    let mut notification = notification.clone();
    if let Some((own, translated)) = notification.content.languages() {
        notification.content = choose(&translated, languages).cloned().unwrap_or(own);
    }
    notification
}

/// Counts what a user has; what is archived is not counted.
#[utoipa::path(
    get,
    path = "/v1/inbox/counts",
    tag = "inbox",
    operation_id = "counts",
    params(Whose),
    responses(
        (status = 200, description = "The counts.", body = Counts),
        AsUser
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn counts(Owner(user): Owner, State(app): State<Arc<App>>) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, encoded(&app.inbox.counts(user).await?)))
}

/// Counts what a user has, as she would be told.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/counts",
    tag = "users",
    operation_id = "counts_of",
    params(
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1"))
    ),
    responses(
        (status = 200, description = "The counts.", body = Counts),
        AsServer,
        operations::Named
    ),
    security(("server_key" = []))
)]
pub(super) async fn counts_of(
    _: Manager,
    Named(user): Named<UserId>,
    State(app): State<Arc<App>>,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, encoded(&app.inbox.counts(user).await?)))
}

/// Gives one notification that a user has.
#[utoipa::path(
    get,
    path = "/v1/inbox/{id}",
    tag = "inbox",
    operation_id = "item",
    params(("id" = String, Path, format = "uuid", description = "The notification's id."), Whose, Language),
    responses(
        (status = 200, description = "It.", body = InboxItem),
        AsUser,
        Found
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn get(
    Owner(user): Owner,
    State(app): State<Arc<App>>,
    Named(id): Named<NotificationId>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    item(&app, &user, id, &headers, &uri).await
}

async fn item(
    app: &App,
    user: &UserId,
    id: NotificationId,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Response, Problem> {
    let item = app.inbox.item(user, id).await?.ok_or_else(not_hers)?;
    Ok(json(StatusCode::OK, encoded(&shown(&item, &language::wanted(headers, uri)))))
}

/// Marks one notification.
///
/// What is given changes, the rest stays.
#[utoipa::path(
    patch,
    path = "/v1/inbox/{id}",
    tag = "inbox",
    operation_id = "mark",
    params(("id" = String, Path, format = "uuid", description = "The notification's id."), Whose, Language),
    request_body = Mark,
    responses(
        (status = 200, description = "As it is now.", body = InboxItem),
        AsUser,
        WithBody,
        OfType,
        Found,
        Stored
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn mark(
    Owner(user): Owner,
    State(app): State<Arc<App>>,
    Named(id): Named<NotificationId>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let mut object = Object::read(&headers, body).await?;
    let set = set(&mut object);
    object.refuse_rest(&SET);
    let set = object.finish(set)?;
    let marks = app.inbox.mark(user.clone(), Selection::These(vec![id]), set).await?;
    if marks.is_none_or(|marks| !marks.missing.is_empty()) {
        return Err(not_hers());
    }
    item(&app, &user, id, &headers, &uri).await
}

/// Reads a change of state, which must change something.
fn set(object: &mut Object) -> Option<Set> {
    let [seen, read, archived] = SET.map(|name| object.boolean(name));
    // Whoever misspells a name has said something, and is told the right one.
    let silent = object.errors.count() == 0 && object.names().is_empty();
    if silent && seen.or(read).or(archived).is_none() {
        object.wrong_whole("missing", "must say what changes: seen, read or archived");
        return None;
    }
    Some(Set { seen, read, archived })
}

/// Marks all as read, or all up to one.
#[utoipa::path(
    post,
    path = "/v1/inbox/read-all",
    tag = "inbox",
    operation_id = "read_all",
    params(Whose),
    request_body(content = Option<MarkAll>, description = "Nothing marks all."),
    responses(
        (status = 200, description = "They are.", body = MarkedAll),
        AsUser,
        WithBody,
        OfType,
        Found,
        Stored
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn read_all(
    Owner(user): Owner,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    mark_all(&app, user, &headers, body, Set { read: Some(true), ..Set::default() }).await
}

/// Marks all as seen, or all up to one.
#[utoipa::path(
    post,
    path = "/v1/inbox/seen",
    tag = "inbox",
    operation_id = "seen",
    params(Whose),
    request_body(content = Option<MarkAll>, description = "Nothing marks all."),
    responses(
        (status = 200, description = "They are.", body = MarkedAll),
        AsUser,
        WithBody,
        OfType,
        Found,
        Stored
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn seen(
    Owner(user): Owner,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    mark_all(&app, user, &headers, body, Set { seen: Some(true), ..Set::default() }).await
}

/// Marks all up to a notification, or all. What arrives meanwhile is not marked if `up_to` says where to end.
async fn mark_all(app: &App, user: UserId, headers: &HeaderMap, body: Body, set: Set) -> Result<Response, Problem> {
    let mut object = Object::optional(headers, body).await?;
    let up_to = object.parsed("up_to", "id", |id| id.parse().map_err(|error| format!("{error}")));
    object.refuse_rest(&ALL);
    let selection = object.finish(Some(up_to.map_or(Selection::All, Selection::UpTo)))?;
    let marks = app.inbox.mark(user, selection, set).await?.ok_or_else(not_hers)?;
    Ok(json(StatusCode::OK, encoded(&MarkedAll { counts: marks.counts })))
}

/// Marks some, and says which of them she does not have.
#[utoipa::path(
    post,
    path = "/v1/inbox/bulk",
    tag = "inbox",
    operation_id = "mark_some",
    params(Whose),
    request_body = MarkSome,
    responses(
        (status = 200, description = "Those that she has are marked.", body = MarkedSome),
        AsUser,
        WithBody,
        OfType,
        Found,
        Stored
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn bulk(
    Owner(user): Owner,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut object = Object::read(&headers, body).await?;
    let ids = ids(&mut object);
    object.must_have("set", "must say what changes");
    let set = object.object("set", |object| {
        let set = set(object);
        object.refuse_rest(&SET);
        set
    });
    object.refuse_rest(&SOME);
    let (ids, set) = object.finish(ids.zip(set.flatten()))?;
    let marked = app.inbox.mark(user, Selection::These(ids), set).await?;
    let Some(Marks { counts, missing }) = marked else { return Err(not_hers()) };
    let missing: Vec<String> = missing.iter().map(NotificationId::to_string).collect();
    Ok(json(StatusCode::OK, encoded(&MarkedSome { counts, missing })))
}

fn ids(object: &mut Object) -> Option<Vec<NotificationId>> {
    object.must_have("ids", "must say which");
    let id = |text: &str| text.parse::<NotificationId>().map_err(|error| ("id", error.to_string()));
    let wrong = object.errors.count();
    let ids = object.strings("ids", MARKED_MAX, id)?;
    if ids.is_empty() && object.errors.count() == wrong {
        object.wrong("ids", "empty", format!("must be 1 to {MARKED_MAX} ids"));
    }
    Some(ids)
}

fn not_hers() -> Problem {
    Problem::not_found("the user has no notification with this id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_next_page_has_no_secret_in_it() {
        let uri = "/v1/inbox?user_id=1&access_token=a.b.c&ticket=t&cursor=old&status=unread".parse().expect("a URI");
        assert_eq!(with_cursor(&uri, "new"), "/v1/inbox?user_id=1&status=unread&cursor=new");
    }
}
