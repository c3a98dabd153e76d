//! `pregon publish`, `show`, `edit`, `recall`, as someone at a shell meets them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{client, json_of, run};
use crate::server::TestServer;

impl TestServer {
    async fn notification(&self, id: &str) -> Value {
        let response = self.request(Method::GET, &format!("/v1/notifications/{id}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_has_a_flag() {
    let server = TestServer::start().await;
    let data = server.folder.path().join("data.json");
    std::fs::write(&data, r#"{"b": [1, 2.5], "a": null}"#).unwrap();
    let data = format!("@{}", data.display());
    #[rustfmt::skip]
    let arguments = [
        "publish", "user:1", "Ha salido", "--also-to", "topic:pedidos", "--title", "Pedido", "--severity", "success",
        "--category", "pedidos", "--url", "/p/1", "--icon", "/i.png", "--actor", "Ana", "--actor-avatar", "/ana.png",
        "--action", "id=ver,label=Ver, ahora,url=/p/1,style=primary", "--action", r#"{"id": "no", "label": "No"}"#,
        "--silent", "--i18n", "en=Shipped", "--i18n-title", "en=Order", "--data", &data, "--replaces", "pedido-1",
        "--expires-at", "2099-01-01T00:00:00Z", "--json",
    ];
    let (code, _, says) = run(client(&server, &arguments)).await;
    assert_eq!(code, Some(4), "a year ahead at most");
    assert!(says.starts_with("error: `/expires_at` "), "{says}");
    let arguments = arguments.map(|argument| match argument {
        "--expires-at" => "--expires-in",
        "2099-01-01T00:00:00Z" => "1h",
        other => other,
    });
    let (code, printed, says) = run(client(&server, &arguments)).await;
    assert_eq!(code, Some(0), "{says}");
    let published = json_of(&printed);
    assert_eq!(published["to"], json!(["user:1", "topic:pedidos"]));
    let found = server.notification(published["id"].as_str().unwrap()).await;
    for (field, value) in [
        ("message", json!("Ha salido")),
        ("title", json!("Pedido")),
        ("severity", json!("success")),
        ("category", json!("pedidos")),
        ("url", json!("/p/1")),
        ("icon", json!("/i.png")),
        ("actor", json!({"name": "Ana", "avatar_url": "/ana.png"})),
        (
            "actions",
            json!([
                {"id": "ver", "label": "Ver, ahora", "url": "/p/1", "style": "primary"},
                {"id": "no", "label": "No"}
            ]),
        ),
        ("silent", json!(true)),
        ("i18n", json!({"en": {"title": "Order", "message": "Shipped"}})),
        ("data", json!({"b": [1, 2.5], "a": null})),
    ] {
        assert_eq!(found[field], value, "{field} of {found}");
    }
    assert!(found["expires_at"].is_string(), "{found}");
    let (code, _, _) = run(client(&server, &arguments)).await;
    assert_eq!(code, Some(0));
    let inbox = server.request(Method::GET, "/v1/users/1/counts").send().await.unwrap();
    assert_eq!(inbox.json::<Value>().await.unwrap()["total"], 1, "the second has replaced the first");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_it_once_and_a_time_makes_it_later() {
    let server = TestServer::start().await;
    let once = |text: &'static str| run(client(&server, &["publish", "user:1", text, "--idempotency-key", "k-1"]));
    let (first, again, other) = (once("Hola").await, once("Hola").await, once("Otra").await);
    assert_eq!((first.0, &first.1), (Some(0), &again.1));
    assert_eq!(other.0, Some(4));
    assert!(other.2.contains("another request with this Idempotency-Key"), "{}", other.2);

    let due = (jiff::Timestamp::now() + Duration::from_hours(1)).to_string();
    let (code, id, says) = run(client(&server, &["publish", "user:1", "Luego", "--deliver-at", &due])).await;
    assert_eq!(code, Some(0), "{says}");
    let (_, shown, _) = run(client(&server, &["show", id.trim_end()])).await;
    assert!(shown.contains("\n      status  scheduled\n"), "{shown}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_shown_edited_and_recalled() {
    let server = TestServer::start().await;
    let (_, id, _) =
        run(client(&server, &["publish", "user:1", "Ha salido", "--title", "Pedido", "--severity", "warning"])).await;
    let id = id.trim_end();
    let (code, shown, _) = run(client(&server, &["show", id])).await;
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "Pedido: Ha salido");
    for line in [
        format!("          id  {id}"),
        "          to  user:1".into(),
        "      status  published".into(),
        "    severity  warning".into(),
        "        user  1".into(),
        "              it is in her inbox".into(),
    ] {
        assert!(lines.contains(&line.as_str()), "{line:?} in {shown}");
    }
    let (_, shown, _) = run(client(&server, &["show", id, "--user", "2", "--json"])).await;
    assert_eq!(json_of(&shown)["reader"]["addressed"], false);

    let (code, printed, says) = run(client(&server, &["edit", id, "Ha llegado", "--severity", "success"])).await;
    assert_eq!((code, printed.as_str(), says.as_str()), (Some(0), "", "edited: Pedido: Ha llegado\n"));
    let (_, printed, _) = run(client(&server, &["edit", id, "--remove", "title", "--url", "/p/1", "--json"])).await;
    let edited = json_of(&printed);
    assert_eq!((&edited["message"], &edited["url"]), (&json!("Ha llegado"), &json!("/p/1")));
    assert!(edited["severity"] == "success" && edited.get("title").is_none(), "{edited}");
    let (code, _, says) = run(client(&server, &["edit", id])).await;
    assert_eq!(code, Some(2));
    assert!(says.contains("nothing is to change"), "{says}");

    let other = server.publish("everyone", "x").await;
    let (code, printed, says) = run(client(&server, &["recall", id, &other])).await;
    assert_eq!((code, printed.as_str()), (Some(0), ""));
    assert_eq!(says, format!("recalled: {id}\nrecalled: {other}\n"));
    let (code, _, says) = run(client(&server, &["recall", id])).await;
    assert_eq!((code, says), (Some(4), format!("error: {id}: no notification has this id\n")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_members_is_named() {
    let server = TestServer::start().await;
    let (code, id, said) = run(client(&server, &["publish", "topic:obras", "hola", "--also-to", "user:1"])).await;
    assert_eq!((code, id.trim().len()), (Some(0), 36), "it is published, and stdout has the id alone");
    assert_eq!(said, "warning: the topic obras has no members, so nobody gets it there\n");
    let join = server.request(Method::PUT, "/v1/topics/obras/subscribers/1").send().await.unwrap();
    assert_eq!(join.status(), 201);
    let (code, _, said) = run(client(&server, &["publish", "topic:obras", "hola"])).await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    server.stop().await;
}
