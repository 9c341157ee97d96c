//! A provider of identities in the test: real requests, real signatures, and whatever answer a test wants.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::OidcSetup;

pub(crate) const CLIENT: &str = "desk 1";
pub(crate) const SECRET: &str = "s3cret +%/:";
/// Where browsers see the page of the desks of these tests.
pub(crate) const ORIGIN: &str = "http://127.0.0.1:7777";
/// When the tests happen.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
pub(crate) const NOW_S: i64 = NOW_MS / 1_000;

/// What it was made to say; the keys of `answers` are paths.
#[derive(Default)]
struct Says {
    /// Instead of what it would answer: status, content.
    answers: BTreeMap<String, (u16, String)>,
    /// Codes that were given out: what was asked for, and the ID token that is had for it.
    codes: BTreeMap<String, (BTreeMap<String, String>, String)>,
    keys: Vec<Value>,
    person: Value,
    /// Paths that were asked for.
    asked: Vec<String>,
}

pub(crate) struct Provider {
    pub(crate) issuer: String,
    says: Arc<Mutex<Says>>,
    key: EcdsaKeyPair,
}

/// A key to sign with.
pub(crate) fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap()
}

/// A key as it is published.
pub(crate) fn published(key: &EcdsaKeyPair, kid: &str) -> Value {
    let point = &key.public_key().as_ref()[1..];
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": text(&point[..32]), "y": text(&point[32..]) })
}

pub(crate) fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header and these claims.
pub(crate) fn token(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", text(signature.as_ref()))
}

/// The values in the query of an address.
pub(crate) fn asked_for(address: &str) -> BTreeMap<String, String> {
    Url::parse(address).unwrap().query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

impl Provider {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://127.0.0.1:{}/realm", listener.local_addr().unwrap().port());
        let key = new_key();
        let says = Says { keys: vec![json!({ "kty": "AKP", "kid": "of another day" }), published(&key, "k1")], ..Says::default() };
        let says = Arc::new(Mutex::new(says));
        let (kept, name) = (says.clone(), issuer.clone());
        // Ends with the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &name, &kept);
            }
        });
        Self { issuer, says, key }
    }

    /// The file of an administrator.
    pub(crate) fn file(&self) -> String {
        format!(
            "name = \"the works\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret_env = \"SECRET\"\npublic_url = \"{ORIGIN}\"\n\
             session_hours = 2\n[roles]\nlabels = \"annotator\"\nreviews = \"reviewer\"\nlooks = \"data_user\"\n[clearances]\ncleared = \
             \"important\"\nplain = \"general\"\n",
            self.issuer
        )
    }

    pub(crate) fn setup(&self) -> OidcSetup {
        OidcSetup::parse(&self.file(), Path::new(""), &|name| (name == "SECRET").then(|| SECRET.to_owned())).unwrap()
    }

    /// The claims of somebody, in answer to a request.
    pub(crate) fn claims(&self, address: &str, subject: &str, name: &str, groups: &[&str]) -> Value {
        json!({
            "iss": self.issuer, "sub": subject, "aud": CLIENT, "exp": NOW_S + 300, "iat": NOW_S, "nonce": asked_for(address)["nonce"],
            "preferred_username": name, "groups": groups,
        })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        token(&self.key, &json!({ "alg": "ES256", "kid": "k1" }), claims)
    }

    /// A code for a token, in answer to a request: what somebody has who signed in there.
    pub(crate) fn code(&self, address: &str, id_token: &str) -> String {
        let code = crate::secret::token();
        self.says.lock().unwrap().codes.insert(code.clone(), (asked_for(address), id_token.to_owned()));
        code
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    /// Answers a path in this way from now on.
    pub(crate) fn say(&self, path: &str, status: u16, content: &str) {
        self.says.lock().unwrap().answers.insert(path.to_owned(), (status, content.to_owned()));
    }

    /// Answers as it should again.
    pub(crate) fn say_as_before(&self) {
        self.says.lock().unwrap().answers.clear();
    }

    pub(crate) fn publish(&self, keys: Vec<Value>) {
        self.says.lock().unwrap().keys = keys;
    }

    pub(crate) fn tell_of(&self, person: Value) {
        self.says.lock().unwrap().person = person;
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.says.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }

    /// Its metadata.
    pub(crate) fn metadata(&self) -> Value {
        metadata(&self.issuer)
    }
}

fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize?tenant=1"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"), "userinfo_endpoint": format!("{issuer}/person"),
        "authorization_response_iss_parameter_supported": true,
    })
}

fn answer(mut stream: TcpStream, issuer: &str, says: &Mutex<Says>) {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let (head, body) = loop {
        let read = stream.read(&mut part).unwrap_or(0);
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        }
        if read == 0 {
            return;
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches("/realm").to_owned();
    let mut says = says.lock().unwrap();
    says.asked.push(path.clone());
    let (status, content) = match says.answers.get(&path) {
        Some((status, content)) => (*status, content.clone()),
        None => match &*path {
            "/.well-known/openid-configuration" => (200, metadata(issuer).to_string()),
            "/keys" => (200, json!({ "keys": says.keys }).to_string()),
            "/token" => tokens(&head, &body, &mut says),
            "/person" if head.to_lowercase().contains("authorization: bearer access") => (200, says.person.to_string()),
            _ => (404, "{}".to_owned()),
        },
    };
    drop(says);
    let more = if status == 302 { "location: /realm/elsewhere\r\n" } else { "" };
    let length = content.len();
    // Whoever asked may have gone.
    let _ = write!(stream, "HTTP/1.1 {status} x\r\nconnection: close\r\n{more}content-length: {length}\r\n\r\n{content}");
}

/// A code for tokens, as RFC 6749 and RFC 7636 have it: once, for the client that it was made for, with the verifier of its challenge.
fn tokens(head: &str, body: &str, says: &mut Says) -> (u16, String) {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let basic = head.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("authorization")));
    let expected = format!("Basic {}", STANDARD.encode("desk+1:s3cret+%2B%25%2F%3A"));
    if basic.map(|(_, value)| value) != Some(&*expected) {
        return (401, json!({ "error": "invalid_client" }).to_string());
    }
    let refused = (400, json!({ "error": "invalid_grant", "error_description": "no" }).to_string());
    let Some((asked, id_token)) = says.codes.remove(&form["code"]) else { return refused };
    let challenge = text(&Sha256::digest(form["code_verifier"].as_bytes()));
    let fits = asked["code_challenge"] == challenge
        && asked["code_challenge_method"] == "S256"
        && asked["redirect_uri"] == form["redirect_uri"]
        && asked["client_id"] == CLIENT
        && form["grant_type"] == "authorization_code";
    if !fits {
        return refused;
    }
    (200, json!({ "access_token": "access", "token_type": "Bearer", "expires_in": 300, "id_token": id_token }).to_string())
}
