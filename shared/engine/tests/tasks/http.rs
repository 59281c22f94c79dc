//! Request, Download.

use operon_core::exec::Reason;
use operon_engine::tasks::http::{
    FAILED_BODY_BYTES_MAX, REDIRECTS_MAX, REQUEST_BODY_BYTES_MAX, RESPONSE_BODY_BYTES_MAX,
};
use operon_engine::tasks::{TaskError, TaskOutput};
use serde_json::{Value, json};

use crate::server::{Server, answer};
use crate::world::World;

const REQUEST: &str = "core.http.Request";
const DOWNLOAD: &str = "core.http.Download";

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

async fn server() -> Server {
    Server::start(|path| match path.split('?').next().unwrap_or_default() {
        "/json" => answer(
            "200 OK",
            "content-type: application/json\r\nx-a: 1\r\nx-a: 2\r\n",
            b"{\"n\": 1}",
        ),
        "/empty" => answer("200 OK", "", b""),
        "/latin" => answer(
            "200 OK",
            "content-type: text/plain; charset=ISO-8859-1\r\n",
            b"\xe4",
        ),
        "/binary" => answer("200 OK", "", b"\xff\xfe"),
        "/largest" => answer("200 OK", "", &vec![b'x'; size(RESPONSE_BODY_BYTES_MAX)]),
        "/large" => answer("200 OK", "", &vec![b'x'; size(RESPONSE_BODY_BYTES_MAX) + 1]),
        "/named" => answer(
            "200 OK",
            "content-disposition: attachment; filename=\"mpox.fasta\"\r\n",
            b">a\nAC\n",
        ),
        "/missing" => answer("404 Not Found", "", b"\nno such organism\n"),
        "/angry" => answer(
            "500 Internal Server Error",
            "",
            &vec![b'x'; size(FAILED_BODY_BYTES_MAX) + 1],
        ),
        "/moved" => answer("302 Found", "location: /json\r\n", b""),
        "/loop" => answer("302 Found", "location: /loop\r\n", b""),
        "/trap" => answer(
            "302 Found",
            "location: http://169.254.169.254/latest/meta-data\r\n",
            b"",
        ),
        "/file" => answer("302 Found", "location: file:///etc/passwd\r\n", b""),
        "/broken" => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(),
        _ => answer("200 OK", "", b"ok"),
    })
    .await
}

async fn request(
    world: &World,
    server: &Server,
    path: &str,
    mut props: Value,
) -> Result<TaskOutput, TaskError> {
    props["uri"] = json!(format!("{}{path}", server.base));
    world.run(REQUEST, props).await
}

#[tokio::test]
async fn an_answer_is_returned_as_text() {
    let (world, server) = (World::new(), server().await);
    let output = request(
        &world,
        &server,
        "/json",
        json!({"params": {"a": "x y", "b": [1, 2]}}),
    )
    .await
    .unwrap();
    assert_eq!(output.outputs["code"], 200);
    assert_eq!(output.outputs["body"], "{\"n\": 1}");
    assert_eq!(output.outputs["headers"]["x-a"], json!(["1", "2"]));
    assert_eq!(
        output.outputs["uri"],
        json!(format!("{}/json?a=x+y&b=1&b=2", server.base))
    );
    assert_eq!(output.metrics[0].name, "response.length");
    assert!(
        server.asked()[0]
            .head
            .starts_with("GET /json?a=x+y&b=1&b=2 HTTP/1.1\r\n")
    );
    let line = world.lines().pop().unwrap().text;
    assert!(
        line.starts_with("GET http://127.0.0.1:") && line.contains("200 OK after"),
        "{line}"
    );
    let output = request(&world, &server, "/latin", json!({})).await.unwrap();
    assert_eq!(output.outputs["body"], "ä");
    let error = request(&world, &server, "/binary", json!({}))
        .await
        .unwrap_err();
    assert!(
        error.message.contains("not UTF-8") && error.message.contains("Download"),
        "{error}"
    );
}

#[tokio::test]
async fn bodies_are_text_json_or_forms() {
    let (world, server) = (World::new(), server().await);
    for (props, content_type, body) in [
        (
            json!({"body": {"a": [1]}}),
            "application/json",
            "{\"a\":[1]}",
        ),
        (
            json!({"body": "a,b", "contentType": "text/csv"}),
            "text/csv",
            "a,b",
        ),
        (
            json!({"formData": {"a": "x&y", "b": 1}}),
            "application/x-www-form-urlencoded",
            "a=x%26y&b=1",
        ),
    ] {
        let mut props = props;
        props["method"] = json!("POST");
        request(&world, &server, "/", props).await.unwrap();
        let asked = server.asked().pop().unwrap();
        assert!(asked.head.starts_with("POST / "));
        assert!(
            asked
                .head
                .contains(&format!("content-type: {content_type}\r\n")),
            "{}",
            asked.head
        );
        assert_eq!(asked.body, body);
    }
}

#[tokio::test]
async fn files_are_sent_in_forms() {
    let (world, server) = (World::new(), server().await);
    let uri = world.put("in/a.tsv", "id\tx\n").await;
    let form = json!({
        "metadata": uri, "sequences": {"name": "b.fasta", "content": uri}, "groupId": 1, "list": ["x"],
    });
    let props = json!({"method": "POST", "contentType": "multipart/form-data", "formData": form});
    request(&world, &server, "/", props).await.unwrap();
    let asked = server.asked().pop().unwrap();
    assert!(
        asked
            .head
            .contains("content-type: multipart/form-data; boundary=")
    );
    for part in [
        "name=\"metadata\"; filename=\"a.tsv\"",
        "name=\"sequences\"; filename=\"b.fasta\"",
        "name=\"groupId\"\r\n\r\n1\r\n",
        "name=\"list\"\r\n\r\n[\"x\"]\r\n",
    ] {
        assert!(asked.body.contains(part), "{part}: {}", asked.body);
    }
    assert_eq!(asked.body.matches("id\tx\n").count(), 2);
    let props = json!({"method": "POST", "formData": {"a": "operon:///none"}});
    let error = request(&world, &server, "/", props).await.unwrap_err();
    assert_eq!(error.reason, Reason::Output);
}

#[tokio::test]
async fn credentials_and_headers_are_sent_and_not_shown() {
    let (world, server) = (World::new(), server().await);
    let props =
        json!({"headers": {"X-Key": 7}, "options": {"auth": {"type": "BEARER", "token": "t0ken"}}});
    request(&world, &server, "/", props).await.unwrap();
    let head = server.asked().pop().unwrap().head.to_ascii_lowercase();
    assert!(
        head.contains("authorization: bearer t0ken\r\n") && head.contains("x-key: 7\r\n"),
        "{head}"
    );
    let props = json!({"options": {"auth": {"username": "me", "password": "pw"}}});
    request(&world, &server, "/", props).await.unwrap();
    assert!(
        server
            .asked()
            .pop()
            .unwrap()
            .head
            .contains("authorization: Basic bWU6cHc=\r\n")
    );
    let uri = server.base.replace("http://", "http://me:pw@");
    let output = world.run(REQUEST, json!({"uri": uri})).await.unwrap();
    assert_eq!(output.outputs["uri"], json!(format!("{}/", server.base)));
    assert!(world.lines().iter().all(|line| !line.text.contains("pw@")));
}

#[tokio::test]
async fn a_failed_status_fails_with_what_the_server_said() {
    let (world, server) = (World::new(), server().await);
    let error = request(&world, &server, "/missing", json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::TaskFailed);
    assert!(
        error
            .message
            .ends_with("answered 404 Not Found: no such organism"),
        "{error}"
    );
    assert_eq!(error.outputs["code"], 404);
    assert_eq!(error.outputs["body"], "\nno such organism\n");
    for options in [
        json!({"allowFailed": true}),
        json!({"allowedResponseCodes": [404, 409]}),
    ] {
        let output = request(&world, &server, "/missing", json!({"options": options}))
            .await
            .unwrap();
        assert_eq!(output.outputs["code"], 404);
    }
    let options = json!({"allowedResponseCodes": [409]});
    assert!(
        request(&world, &server, "/missing", json!({"options": options}))
            .await
            .is_err()
    );
    let error = request(&world, &server, "/angry", json!({}))
        .await
        .unwrap_err();
    assert_eq!(
        error.outputs["body"].as_str().unwrap().len(),
        size(FAILED_BODY_BYTES_MAX)
    );
}

#[tokio::test]
async fn bodies_have_limits() {
    let (world, server) = (World::new(), server().await);
    let output = request(&world, &server, "/largest", json!({}))
        .await
        .unwrap();
    assert_eq!(
        output.outputs["body"].as_str().unwrap().len(),
        size(RESPONSE_BODY_BYTES_MAX)
    );
    let error = request(&world, &server, "/large", json!({}))
        .await
        .unwrap_err();
    assert!(error.message.contains("Download"), "{error}");
    assert_eq!(error.outputs["code"], 200);
    let large = "x".repeat(REQUEST_BODY_BYTES_MAX + 1);
    for props in [
        json!({"body": large}),
        json!({"formData": {"a": large}}),
        json!({"formData": {"a": large}, "contentType": "multipart/form-data"}),
    ] {
        let error = request(&world, &server, "/", props).await.unwrap_err();
        assert_eq!(error.reason, Reason::InvalidInput);
    }
}

#[tokio::test]
async fn redirects_are_followed_within_bounds() {
    let (world, server) = (World::new(), server().await);
    let output = request(&world, &server, "/moved", json!({})).await.unwrap();
    assert_eq!(output.outputs["body"], "{\"n\": 1}");
    let options = json!({"followRedirects": false});
    let output = request(&world, &server, "/moved", json!({"options": options}))
        .await
        .unwrap();
    assert_eq!(output.outputs["code"], 302);
    let before = server.asked().len();
    let error = request(&world, &server, "/loop", json!({}))
        .await
        .unwrap_err();
    assert!(error.message.contains("more than 10 redirects"), "{error}");
    assert_eq!(server.asked().len() - before, REDIRECTS_MAX + 1);
}

#[tokio::test]
async fn metadata_addresses_are_refused_directly_and_by_redirect() {
    let (world, server) = (World::new(), server().await);
    for uri in [
        "http://169.254.169.254/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
    ] {
        let error = world.run(REQUEST, json!({"uri": uri})).await.unwrap_err();
        assert_eq!(error.reason, Reason::InvalidInput);
        assert!(error.message.contains("options.allowLinkLocal"), "{error}");
    }
    for (path, why) in [("/trap", "169.254.169.254"), ("/file", "answered 302")] {
        let error = request(&world, &server, path, json!({})).await.unwrap_err();
        assert!(error.message.contains(why), "{error}");
    }
    let error = world
        .run(DOWNLOAD, json!({"uri": "file:///etc/passwd"}))
        .await
        .unwrap_err();
    assert!(error.message.starts_with("`uri` is refused"), "{error}");
    let options = json!({"allowLinkLocal": true, "connectTimeout": "PT0.05S"});
    let props = json!({"uri": "http://169.254.1.1:9/", "options": options});
    let error = world.run(REQUEST, props).await.unwrap_err();
    assert_ne!(error.reason, Reason::InvalidInput, "it was tried: {error}");
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_and_no_server_a_failure() {
    let (world, server) = (World::new(), server().await);
    let options = json!({"readTimeout": "PT0.1S"});
    let error = request(&world, &server, "/silent", json!({"options": options}))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::Timeout);
    let error = request(&world, &server, "/broken", json!({}))
        .await
        .unwrap_err();
    assert!(error.message.starts_with("reading the answer"), "{error}");
    let error = world
        .run(REQUEST, json!({"uri": "http://127.0.0.1:1/"}))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::TaskFailed);
    assert!(
        error.message.starts_with("GET http://127.0.0.1:1/ failed"),
        "{error}"
    );
}

#[tokio::test]
async fn a_download_becomes_an_artifact() {
    let (world, server) = (World::new(), server().await);
    let download = |path: &str| json!({"uri": format!("{}{path}", server.base)});
    let output = world.run(DOWNLOAD, download("/large")).await.unwrap();
    assert_eq!(output.outputs["length"], json!(RESPONSE_BODY_BYTES_MAX + 1));
    assert_eq!(output.outputs["uri"], "operon:///executions/e1/r-3/1/large");
    let output = world.run(DOWNLOAD, download("/named")).await.unwrap();
    assert!(
        output.outputs["uri"]
            .as_str()
            .unwrap()
            .ends_with("/mpox.fasta")
    );
    assert_eq!(world.read(&output.outputs["uri"]).await, ">a\nAC\n");
    assert_eq!(output.outputs["code"], 200);
    let mut props = download("/named");
    props["saveAs"] = json!("../x.fa");
    let output = world.run(DOWNLOAD, props).await.unwrap();
    assert_eq!(output.outputs["uri"], "operon:///executions/e1/r-3/1/x.fa");
    let error = world.run(DOWNLOAD, download("/missing")).await.unwrap_err();
    assert_eq!(error.outputs["code"], 404);
    assert!(world.run(DOWNLOAD, download("/broken")).await.is_err());
}

#[tokio::test]
async fn an_empty_download_fails_unless_allowed() {
    let (world, server) = (World::new(), server().await);
    let mut props = json!({"uri": format!("{}/empty", server.base)});
    let error = world.run(DOWNLOAD, props.clone()).await.unwrap_err();
    assert!(error.message.contains("failOnEmptyResponse"), "{error}");
    props["failOnEmptyResponse"] = json!(false);
    let output = world.run(DOWNLOAD, props).await.unwrap();
    assert_eq!(output.outputs["length"], 0);
}
