//! The document of the API and the page that shows it: nothing of the API is missing in it, and it needs nobody else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use crate::server::TestServer;

/// Near misses that lead to what was meant. The document names each place once.
const ALIASES: [&str; 1] = ["get /v1/users/{user}/inbox/counts"];

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The operations of the router, each once: its method, as the document writes it, and its path.
pub(crate) fn routed() -> BTreeSet<(&'static str, String)> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http.rs")).unwrap();
    let mut operations = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once("\", ").unwrap();
        let handlers = rest.lines().next().unwrap();
        for method in METHODS {
            // It begins the handlers or follows a dot; a handler of such a name stands behind two colons.
            if handlers.starts_with(&format!("{method}(")) || handlers.contains(&format!(".{method}(")) {
                operations.insert((method, path.to_owned()));
            }
        }
    }
    operations
}

/// Those that belong into the document: `get /v1/inbox`.
fn routed_api() -> BTreeSet<String> {
    let begins = ["/v1", "/notifications", "/healthz", "/readyz", "/metrics"];
    let is_api = |path: &str| begins.iter().any(|begin| path.starts_with(begin));
    let routed = routed().into_iter().filter(|(_, path)| is_api(path));
    let routed = routed.map(|(method, path)| format!("{method} {path}"));
    routed.filter(|operation| !ALIASES.contains(&operation.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_the_operations_of_the_router_and_no_others() {
    let server = TestServer::start().await;
    let response = server.anonymous(Method::GET, "/openapi.json").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let document: Value = response.json().await.unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            documented.insert(format!("{method} {path}"));
            let operation_has = |name: &str| operation.get(name).is_some_and(|value| !value.is_null());
            assert!(operation_has("summary") && operation_has("operationId"), "{method} {path}");
        }
    }
    let routed = routed_api();
    assert!(routed.len() > 25, "{routed:?}");
    assert_eq!(documented, routed);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_a_problem_stands_at_its_status_in_the_document_as_in_the_page() {
    let server = TestServer::start().await;
    let document: Value = server.anonymous(Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut described: BTreeSet<(String, String)> = BTreeSet::new();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for (status, response) in
            operation["responses"].as_object().unwrap().iter().filter(|(status, _)| *status >= &"4".to_owned())
        {
            let codes = response["description"].as_str().unwrap().split('`').skip(1).step_by(2);
            described.extend(codes.map(|code| (status.clone(), code.to_owned())));
        }
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    let table = page.split("## Errors").nth(1).unwrap().split("## Limits").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut missing = Vec::new();
    for row in rows {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let (codes, status) = (cells.next().unwrap(), cells.next().unwrap());
        for code in codes.split('`').skip(1).step_by(2).filter(|code| *code != "method_not_allowed") {
            if !described.contains(&(status.to_owned(), code.to_owned())) {
                missing.push(format!("{status} {code}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_document_has_all_that_it_needs_from_this_server() {
    let server = TestServer::start().await;
    let page = server.anonymous(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    let html = page.text().await.unwrap();
    assert!(!html.contains("{{") && !html.contains("://"), "{html}");
    let linked = html.split('"').filter(|part| part.starts_with("./assets/"));
    let mut names = Vec::new();
    for path in linked.map(|path| path.trim_start_matches('.')) {
        let asset = server.anonymous(Method::GET, path).send().await.unwrap();
        assert_eq!(asset.status(), 200, "{path}");
        let compressed = asset.headers().get("content-encoding").is_some_and(|encoding| encoding == "gzip");
        assert_eq!(compressed, path.ends_with("/rapidoc-min.js"), "{path}");
        names.push(path.rsplit('/').next().unwrap().to_owned());
    }
    assert_eq!(names, ["favicon.svg", "docs.css", "rapidoc-min.js", "docs.js"]);
    server.stop().await;
}
