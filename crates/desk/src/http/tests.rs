//! What the server gives out, to whom, and what it refuses.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::*;
use crate::fixture::{self, PARKED, name, person};
use crate::oidc::fixture::{ORIGIN, Provider, asked_for};
use crate::people::Role;

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

struct Served {
    server: DeskServer,
    desk: Arc<Desk>,
    _folder: tempfile::TempDir,
}

fn served(grade: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let desk = Arc::new(fixture::desk(folder.path(), grade));
    let server = serve(desk.clone(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    Served { server, desk, _folder: folder }
}

impl Served {
    fn ask(&self, method: &str, path: &str, more: &str, body: &str) -> Answer {
        let address = self.server.address();
        let length = body.len();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n{body}"
        ))
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }

    /// Signs somebody in and returns their header lines.
    fn enter(&self, who: &str, role: Role) -> String {
        let key = self.desk.invite(&person(who, role), now_ms()).unwrap();
        let answer = self.ask("POST", "/api/session", "x-boxwright: 1\r\n", &json!({ "key": key }).to_string());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let line = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(line.contains("HttpOnly; SameSite=Strict"), "{line}");
        format!("x-boxwright: 1\r\ncookie: other=1; {}\r\n", line.split(';').next().unwrap())
    }
}

fn clip(rest: &str) -> String {
    format!("/api/clips/car%207/{}{rest}", name().clip)
}

#[test]
fn the_page_comes_from_here_and_may_talk_to_nobody_else() {
    let served = served("");
    for (path, kind, _) in ASSETS {
        let answer = served.ask("GET", path, "", "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
        assert!(answer.head.contains("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';"), "{path}");
        assert_eq!(answer.head.matches("unsafe").count(), 1, "{path}");
        assert!(answer.head.contains("connect-src 'self' data: blob:;"), "{path}: {}", answer.head);
    }
    for (path, _, text) in ASSETS {
        assert!(!text.contains("https://"), "{path} names another host");
    }
    let html = ASSETS[0].2;
    assert_eq!(
        html.matches("<script").count(),
        html.matches("<script type=\"module\" src=\"/").count() + html.matches("<script src=\"/").count()
    );
    assert!(!html.contains("style="), "the policy refuses inline styles");
}

#[test]
fn nothing_below_api_is_told_to_nobody() {
    let served = served("");
    let wrong = format!("cookie: boxwright_desk_{}=x\r\n", served.server.address().port());
    for path in ["/api/me", "/api/clips", &clip(""), &clip("/points/0"), &clip("/history"), "/api/audit", &clip("/remarks")] {
        assert_eq!(served.ask("GET", path, "", "").status, 401, "{path}");
        assert_eq!(served.ask("GET", path, &wrong, "").status, 401, "{path}");
    }
    for path in ["/api/next", &clip("/operations"), &clip("/finish"), &clip("/hold/1"), &clip("/canvas"), &clip("/canvas/boxes")] {
        assert_eq!(served.ask("POST", path, "x-boxwright: 1\r\n", "{}").status, 401, "{path}");
    }
}

#[test]
fn other_pages_and_other_hosts_are_refused() {
    let served = served("");
    let ana = served.enter("ana", Role::Admin);
    let without = ana.replace("x-boxwright: 1\r\n", "");
    assert_eq!(served.ask("POST", &clip("/finish"), &without, "{}").status, 403);
    for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", ""] {
        let answer = served.send(&format!("GET /api/me HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        assert_eq!(answer.status, 403, "{host}");
    }
    assert!(names_this_machine("localhost:1") && names_this_machine("[::1]:80"));
}

#[test]
fn without_a_viewer_the_policy_has_no_exception() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = fixture::dataset(&folder.path().join("dataset"), "");
    let store = fixture::store(folder.path());
    let desk = Desk::open(crate::DeskSetup { canvas: None, ..fixture::setup(dataset, store) }).unwrap();
    let desk = Arc::new(desk);
    let served = Served { server: serve(desk.clone(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap(), desk, _folder: folder };
    let page = served.ask("GET", "/", "", "");
    assert!(page.head.contains("script-src 'self'; style-src 'self';") && !page.head.contains("unsafe"), "{}", page.head);
    let ana = served.enter("ana", Role::Reviewer);
    assert_eq!(served.ask("GET", "/api/me", &ana, "").json()["canvas"], json!(false));
    assert_eq!(served.ask("POST", &clip("/canvas"), &ana, "{}").status, 404);
}

#[test]
fn a_recording_is_sent_to_a_viewer_that_has_a_signed_address_and_no_cookie() {
    let served = served("general");
    let ana = served.enter("ana", Role::DataUser);
    let told = served.ask("POST", &clip("/canvas"), &ana, "{}").json();
    let (url, name) = (told["url"].as_str().unwrap(), told["recording"].as_str().unwrap());
    let sent = served.ask("GET", url, "", "");
    let body = String::from_utf8_lossy(&sent.body).into_owned();
    assert_eq!(sent.status, 200, "{body}");
    assert!(body.contains(&format!("{name} 11 ")) && body.contains("end"), "{body}");
    // Another clip, another time, another hand.
    for (from, to) in [("/canvas/car%207/", "/canvas/car%208/"), ("/clip.rrd", "0/clip.rrd")] {
        assert_eq!(served.ask("GET", &url.replace(from, to), "", "").status, 403);
    }
    let parts: Vec<&str> = url.split('/').collect();
    let later = url.replace(parts[5], &(parts[5].parse::<i64>().unwrap() + 1).to_string());
    assert_eq!(served.ask("GET", &later, "", "").status, 403);
    assert!(
        served
            .desk
            .signed_recording(
                &fixture::name(),
                &RecordingAddress {
                    nonce: parts[4].to_owned(),
                    expires_ms: parts[5].parse().unwrap(),
                    signature: parts[6].to_owned()
                },
                now_ms() + 61_000,
            )
            .is_err(),
        "and not after a minute"
    );

    let boxes =
        served.ask("POST", &clip("/canvas/boxes"), &ana, &json!({ "recording": name, "samples": [3, 2, 3, 99] }).to_string());
    let length = u32::from_le_bytes(boxes.body[..4].try_into().unwrap()) as usize;
    let told: Value = serde_json::from_slice(&boxes.body[4..4 + length]).unwrap();
    assert_eq!(told["tracks"], json!({ "2": [1, 2], "3": [1, 2] }));
    assert_eq!(boxes.body[4 + length..], *format!("{name} 2:2 3:2").as_bytes());
    let focus = |track: Value| {
        served.ask("POST", &clip("/canvas/focus"), &ana, &json!({ "recording": name, "track": track, "sample": 2 }).to_string())
    };
    assert!(focus(json!(2)).body.ends_with(b"Some(2)") && focus(Value::Null).body.ends_with(b"None"));
    let file = served.ask("GET", "/re_viewer.js", "", "");
    assert!(file.head.contains("etag: \"1\""), "{}", file.head);
    assert_eq!(served.ask("GET", "/re_viewer.js", "if-none-match: \"1\"\r\n", "").status, 304);
}

#[test]
fn a_link_signs_in_once() {
    let served = served("");
    let key = served.desk.invite(&person("ana", Role::Reviewer), now_ms()).unwrap();
    let body = json!({ "key": key }).to_string();
    assert_eq!(served.ask("POST", "/api/session", "x-boxwright: 1\r\n", &body).status, 200);
    let again = served.ask("POST", "/api/session", "x-boxwright: 1\r\n", &body);
    assert_eq!(again.status, 401);
    assert!(again.json()["error"].as_str().unwrap().contains("used before"));
}

#[test]
fn work_goes_from_the_queue_through_an_operation_to_a_revision() {
    let served = served("general");
    let ana = served.enter("ana", Role::Reviewer);
    assert_eq!(served.ask("GET", "/api/me", &ana, "").json()["person"]["role"], json!("reviewer"));
    let next = served.ask("POST", "/api/next", &ana, "{}").json();
    let track = next["item"]["track"].as_u64().unwrap();
    let opened = served.ask("GET", &clip(""), &ana, "").json();
    assert_eq!(opened["samples"].as_array().unwrap().len(), fixture::SAMPLES as usize);
    assert_eq!(opened["tracks"][track.to_string()]["boxes"].as_object().unwrap().len(), fixture::SAMPLES as usize);
    let points = served.ask("GET", &clip("/points/3"), &ana, "");
    assert!(points.body.len() > 10_000 && points.body.len().is_multiple_of(16));
    assert_eq!(served.ask("GET", &clip("/points/99"), &ana, "").status, 404);
    let operation = json!({ "id": "op-1", "base": {}, "operation": { "kind": "accept", "track": track } });
    let done = served.ask("POST", &clip("/operations"), &ana, &operation.to_string());
    assert_eq!((done.status, done.json()["seq"].clone()), (200, json!(1)));
    let stale = json!({ "id": "op-2", "base": {}, "operation": { "kind": "flip", "track": track, "sample": 0 } });
    let conflict = served.ask("POST", &clip("/operations"), &ana, &stale.to_string());
    assert_eq!((conflict.status, conflict.json()["theirs"][0]["name"].clone()), (409, json!("accept")));
    let finished = served.ask("POST", &clip("/finish"), &ana, "{\"anyway\":true}").json();
    assert_eq!(finished["revision"], json!(1));
}

#[test]
fn what_makes_no_sense_is_told_apart_from_what_is_no_request() {
    let served = served("");
    let ana = served.enter("ana", Role::Reviewer);
    let send = |body: &str| served.ask("POST", &clip("/operations"), &ana, body);
    assert_eq!(send("{").status, 400);
    assert_eq!(send(r#"{"id":"a b","operation":{"kind":"undo"}}"#).status, 400);
    assert_eq!(send(r#"{"id":"a","operation":{"kind":"explode"}}"#).status, 400);
    let refused = send(&format!(r#"{{"id":"a","operation":{{"kind":"move","track":{PARKED},"sample":99,"by_box_m":[1,0,0]}}}}"#));
    assert_eq!(refused.status, 422);
    assert!(refused.json()["error"].as_str().unwrap().contains("in sample 99, got none"));
    assert_eq!(served.ask("GET", "/api/clips/nobody/1", &ana, "").status, 404);
    assert_eq!(served.ask("GET", "/api/clips/car%207/x", &ana, "").status, 400);
}

#[test]
fn without_the_clearance_it_is_403_everywhere() {
    let served = served("core");
    let low = served.enter("low", Role::Admin);
    for path in [clip(""), clip("/points/0"), clip("/images/0/front"), clip("/history"), clip("/remarks")] {
        let answer = served.ask("GET", &path, &low, "");
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.json()["error"], json!("expected a clearance of at least core, got general"));
    }
    for path in [clip("/finish"), clip("/canvas"), clip("/canvas/boxes"), clip("/canvas/focus")] {
        let body = if path.ends_with("finish") { "{}" } else { r#"{"recording":"r","sample":0}"# };
        let body = if path.ends_with("boxes") { r#"{"recording":"r"}"# } else { body };
        assert_eq!(served.ask("POST", &path, &low, body).status, 403, "{path}");
    }
    assert_eq!(served.ask("GET", "/api/clips", &low, "").json()["clips"], json!([]));
}

/// A desk whose people may sign in by a provider: the page is taken to be where the provider's file says.
fn served_with(provider: &Provider) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let dataset = fixture::dataset(&folder.path().join("dataset"), "");
    let setup = fixture::setup(dataset, fixture::store(folder.path()));
    let desk = Arc::new(Desk::open(crate::DeskSetup { oidc: Some(provider.setup()), ..setup }).unwrap());
    let server = serve(desk.clone(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    Served { server, desk, _folder: folder }
}

impl Served {
    /// Begins a sign-in: where to go, and the header line with the cookie.
    fn begin(&self, place: &str) -> (String, String) {
        let body = json!({ "origin": ORIGIN, "place": place }).to_string();
        let begun = self.ask("POST", "/oidc", "x-boxwright: 1\r\n", &body);
        assert_eq!(begun.status, 200, "{}", String::from_utf8_lossy(&begun.body));
        let line = begun.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        assert!(line.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"), "{line}");
        (begun.json()["address"].as_str().unwrap().to_owned(), format!("cookie: {}\r\n", line.split(';').next().unwrap()))
    }

    fn arrive(&self, provider: &Provider, address: &str, code: &str, cookie: &str) -> Answer {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("code", code), ("state", &asked_for(address)["state"]), ("iss", &provider.issuer)])
            .finish();
        self.ask("GET", &format!("/oidc/callback?{query}"), cookie, "")
    }
}

#[test]
fn who_comes_back_from_the_provider_is_let_on_by_a_page_of_ours() {
    let provider = Provider::start();
    let served = served_with(&provider);
    assert_eq!(served.ask("GET", "/oidc", "", "").json(), json!({ "name": "the works" }));
    let (address, cookie) = served.begin("#vehicle=car+7&clip=3");
    let now_s = now_ms() / 1_000;
    let mut claims = provider.claims(&address, "s1", "ana", &["reviews"]);
    (claims["iat"], claims["exp"]) = (json!(now_s), json!(now_s + 60));
    let code = provider.code(&address, &provider.sign(&claims));
    assert_eq!(served.arrive(&provider, &address, &code, "").status, 401, "not without the cookie");
    let arrived = served.arrive(&provider, &address, &code, &cookie);
    let page = String::from_utf8(arrived.body.clone()).unwrap();
    assert_eq!(arrived.status, 200, "{page}");
    assert!(page.contains("content=\"0;url=/#vehicle=car+7&amp;clip=3\""), "{page}");
    assert!(!arrived.head.contains("location:") && arrived.head.contains("cache-control: no-store"), "{}", arrived.head);
    assert!(arrived.head.contains("content-security-policy: default-src 'none'"), "{}", arrived.head);
    let line = arrived.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{line}");
    let session = format!("x-boxwright: 1\r\ncookie: {}\r\n", line.split(';').next().unwrap());
    assert_eq!(served.ask("GET", "/api/me", &session, "").json()["person"]["name"], json!("ana"));
    assert_eq!(served.arrive(&provider, &address, &code, &cookie).status, 401, "and once");
    assert_eq!(served.ask("DELETE", "/api/session", &session, "").status, 204);
    assert_eq!(served.ask("GET", "/api/me", &session, "").status, 401);
}

#[test]
fn an_account_is_changed_as_a_whole_or_not_at_all() {
    let provider = Provider::start();
    let served = served_with(&provider);
    let root = served.enter("root", Role::Admin);
    let put = |body: Value| served.ask("POST", "/api/people", &root, &body.to_string());
    let account =
        |name: &str, role: &str, subject: &str| json!({ "name": name, "role": role, "clearance": "general", "subject": subject });
    assert_eq!(put(account("ana", "annotator", "s1")).status, 200);
    assert_eq!(put(account("bo", "annotator", "")).status, 200);
    let before = served.ask("GET", "/api/people", &root, "").json();
    for name in ["bo", "cy"] {
        let mut taken = account(name, "admin", "s1");
        taken["password"] = json!("a long walk");
        assert_eq!(put(taken).status, 400, "{name}");
        assert_eq!(served.ask("GET", "/api/people", &root, "").json(), before, "{name}");
        assert!(served.desk.sign_in(name, "a long walk", now_ms()).is_err(), "{name}");
    }
    let password = put(json!({ "name": "ana", "role": "admin", "clearance": "general", "password": "a long walk" }));
    assert_eq!(password.status, 403);
    assert!(password.json()["error"].as_str().unwrap().contains("\nhint: "));
    assert_eq!(served.ask("GET", "/api/people", &root, "").json(), before);
}

#[test]
fn what_a_provider_or_a_stranger_writes_is_shown_as_text() {
    let provider = Provider::start();
    let served = served_with(&provider);
    let (address, cookie) = served.begin("//evil.example");
    let query =
        format!("error=%3Cscript%3E&error_description=%22%3Cimg%3E&iss={}&state={}", provider.issuer, asked_for(&address)["state"]);
    let refused = served.ask("GET", &format!("/oidc/callback?{query}"), &cookie, "");
    let page = String::from_utf8(refused.body).unwrap();
    assert_eq!(refused.status, 401);
    assert!(page.contains("&lt;script&gt; (&quot;&lt;img&gt;)") && !page.contains("<script>") && !page.contains("evil"), "{page}");
    for (query, status) in [("", 401), ("state=a&state=b", 400), ("state=%00&code=x", 401)] {
        assert_eq!(served.ask("GET", &format!("/oidc/callback?{query}"), &cookie, "").status, status, "{query}");
    }
    assert_eq!(served.ask("POST", "/oidc", "", "{}").status, 403, "no other page begins it");
    let body = json!({ "origin": "https://evil.example" }).to_string();
    assert_eq!(served.ask("POST", "/oidc", "x-boxwright: 1\r\n", &body).status, 400);
    provider.say("/.well-known/openid-configuration", 500, "");
    let other = served_with(&provider);
    let body = json!({ "origin": ORIGIN }).to_string();
    let away = other.ask("POST", "/oidc", "x-boxwright: 1\r\n", &body);
    assert_eq!(away.status, 502);
    assert!(away.json()["error"].as_str().unwrap().contains("\nhint: "));
}

#[test]
fn without_a_provider_nobody_is_sent_anywhere() {
    let served = served("");
    assert_eq!(served.ask("GET", "/oidc", "", "").json(), json!({ "name": null }));
    assert_eq!(served.ask("POST", "/oidc", "x-boxwright: 1\r\n", "{\"origin\":\"x\"}").status, 404);
    assert_eq!(served.ask("GET", "/oidc/callback?state=x", "", "").status, 404);
}

#[test]
fn behind_tls_cookies_go_no_other_way_and_the_public_name_is_answered() {
    let provider = Provider::start();
    let file = provider.file().replace(ORIGIN, "https://review.example.com");
    let setup = crate::OidcSetup::parse(&file, std::path::Path::new(""), &|_| Some("s".to_owned())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dataset = fixture::dataset(&folder.path().join("dataset"), "");
    let desk =
        Desk::open(crate::DeskSetup { oidc: Some(setup), ..fixture::setup(dataset, fixture::store(folder.path())) }).unwrap();
    let desk = Arc::new(desk);
    let served = Served { server: serve(desk.clone(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap(), desk, _folder: folder };
    let body = json!({ "origin": "https://review.example.com" }).to_string();
    let begun = served.ask("POST", "/oidc", "x-boxwright: 1\r\n", &body);
    let line = begun.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(line.starts_with("__Host-boxwright_desk_") && line.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{line}");
    let key = served.desk.invite(&person("ana", Role::Reviewer), now_ms()).unwrap();
    let entered = served.ask("POST", "/api/session", "x-boxwright: 1\r\n", &json!({ "key": key }).to_string());
    let line = entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(line.ends_with("; HttpOnly; SameSite=Strict; Secure"), "of links and passwords, too: {line}");
    for (host, status) in
        [("review.example.com", 200), ("REVIEW.example.com", 200), ("review.example.com.evil.example", 403), ("x", 403)]
    {
        let answer = served.send(&format!("GET /oidc HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{host}");
    }
}
