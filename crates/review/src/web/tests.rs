//! What the page's server gives out, and what it does not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::*;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

fn ask(server: &Server, request: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: answer[end + 4..].to_vec() }
}

fn get(server: &Server, path: &str, more: &str) -> Answer {
    ask(server, &format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{more}\r\n", server.address()))
}

fn serving(content: &[u8]) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip 1.rrd");
    std::fs::write(&path, content).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let server = serve_recordings(vec![("clip <1>".to_owned(), path)], LOOPBACK).unwrap();
    (folder, server)
}

#[test]
fn the_page_and_the_viewer_come_from_here_with_a_policy_that_lets_nothing_out() {
    let (_folder, server) = serving(b"0123456789");
    for (path, kind) in [
        ("/", "text/html"),
        ("/viewer.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/re_viewer.js", "text/javascript"),
        ("/re_viewer_bg.wasm", "application/wasm"),
        ("/config.json", "application/json"),
        ("/clips/0.rrd", "application/octet-stream"),
    ] {
        let answer = get(&server, path, "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
        assert!(answer.head.contains("connect-src 'self' data: blob:;"), "{path}: {}", answer.head);
        assert!(!answer.head.contains("unsafe-inline"), "{path}");
    }
    assert!(get(&server, "/re_viewer_bg.wasm", "").body.starts_with(b"\0asm"));
}

#[test]
fn the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere() {
    assert_eq!(INDEX_HTML.matches("<script").count(), INDEX_HTML.matches("<script src=").count());
    for text in [INDEX_HTML, STYLE_CSS] {
        assert!(!text.contains("//") && !text.contains("style="), "{text}");
    }
    assert!(!VIEWER_JS.contains("https://"));
}

#[test]
fn a_browser_that_has_the_viewer_does_not_load_it_again() {
    let (_folder, server) = serving(b"");
    let first = get(&server, "/re_viewer_bg.wasm", "");
    let tag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let again = get(&server, "/re_viewer_bg.wasm", &format!("if-none-match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn recordings_are_sent_whole_or_in_ranges() {
    let (_folder, server) = serving(b"0123456789");
    assert_eq!(get(&server, "/clips/0.rrd", "").body, b"0123456789");
    let part = get(&server, "/clips/0.rrd", "range: bytes=2-4\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &b"234"[..]));
    assert!(part.head.contains("content-range: bytes 2-4/10"), "{}", part.head);
    assert_eq!(get(&server, "/clips/0.rrd", "range: bytes=10-\r\n").status, 416);
}

#[test]
fn no_path_of_a_request_reaches_the_file_system() {
    let (_folder, server) = serving(b"0123456789");
    for path in [
        "/clips/1.rrd",
        "/clips/secret",
        "/clips/../secret",
        "/clips/..%2fsecret",
        "/clips/%2e%2e%2fsecret.rrd",
        "/clips/-1.rrd",
        "/secret",
        "/clips/",
    ] {
        let answer = get(&server, path, "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.body.windows(6).any(|window| window == b"secret"), "{path}");
    }
}

#[test]
fn requests_that_name_another_host_are_refused_on_loopback() {
    let (_folder, server) = serving(b"0123456789");
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1"] {
        let answer = ask(&server, &format!("GET /config.json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        assert_eq!(answer.status, 403, "{host}");
    }
    for host in ["localhost", "localhost:1234", "[::1]:80", "127.0.0.1"] {
        let answer = ask(&server, &format!("GET /config.json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[test]
fn the_live_page_may_talk_to_its_stream_and_to_nothing_else() {
    assert!(content_security_policy("127.0.0.1", Some(9876)).contains("connect-src 'self' data: blob: http://127.0.0.1:9876;"));
    assert_eq!(host_name("a.b:80"), Some("a.b"));
    assert_eq!(host_name("[::1]:80"), Some("[::1]"));
    assert_eq!(host_name("x; script-src *"), None);
    assert_eq!(host_name(""), None);
}

#[test]
fn a_recording_that_is_missing_and_a_taken_port_are_told_before_anybody_opens_the_page() {
    let missing = serve_recordings(vec![("a".to_owned(), PathBuf::from("no-such.rrd"))], LOOPBACK).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read no-such.rrd"), "{missing}");
    let (_folder, server) = serving(b"");
    let taken = serve_recordings(Vec::new(), server.address()).unwrap_err();
    assert!(taken.to_string().contains("hint: set view.web_port"), "{taken}");
}

#[test]
fn shutting_down_frees_the_port_even_while_a_browser_holds_a_connection() {
    let (_folder, server) = serving(b"");
    let address = server.address();
    let _idle = TcpStream::connect(address).unwrap();
    server.shutdown();
    assert!(TcpStream::connect(address).is_err());
}
