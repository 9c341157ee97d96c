//! Who gets in by a provider of identities, and who does not.

use std::path::Path;

use ring::hmac;
use ring::signature::EcdsaKeyPair;
use serde_json::{Value, json};

use super::fixture::{CLIENT, NOW_MS, NOW_S, ORIGIN, Provider, SECRET, asked_for, new_key, published, text, token};
use super::*;
use crate::desk::{Desk, Entered};
use crate::fixture::{self, person};
use crate::people::{Grade, Role};

struct Bench {
    provider: Provider,
    desk: Desk,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start();
    let dataset = fixture::dataset(&folder.path().join("dataset"), "");
    let oidc = Some(provider.setup());
    let desk = Desk::open(crate::DeskSetup { oidc, ..fixture::setup(dataset, fixture::store(folder.path())) }).unwrap();
    Bench { provider, desk, _folder: folder }
}

impl Bench {
    fn begin(&self) -> Begun {
        self.desk.begin_sign_in(ORIGIN, "#vehicle=car+7&clip=3", None, NOW_MS).unwrap()
    }

    fn brought(&self, begun: &Begun, code: &str) -> Brought {
        let state = asked_for(&begun.address)["state"].clone();
        Brought { state, code: Some(code.to_owned()), issuer: Some(self.provider.issuer.clone()), ..Brought::default() }
    }

    fn finish(&self, begun: &Begun, id_token: &str) -> Result<Entered, DeskError> {
        let code = self.provider.code(&begun.address, id_token);
        self.desk.finish_sign_in(&self.brought(begun, &code), Some(&begun.browser), NOW_MS)
    }

    fn enter(&self, subject: &str, name: &str, groups: &[&str]) -> Result<Entered, DeskError> {
        let begun = self.begin();
        let claims = self.provider.claims(&begun.address, subject, name, groups);
        self.finish(&begun, &self.provider.sign(&claims))
    }

    /// Gives an account to a subject, by an administrator with this clearance.
    fn give(&self, clearance: Grade, name: &str, subject: &str) -> Result<(), DeskError> {
        let root = Person { clearance, ..person("root", Role::Admin) };
        self.desk.put_person(&root, &person(name, Role::Lead), None, Some(subject), NOW_MS)
    }

    /// What the audit says: who, what, more. All at one time, so in no order.
    fn audit(&self) -> Vec<(String, String, String)> {
        let told = self.desk.audit(&person("root", Role::Admin)).unwrap();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let lines = serde_json::to_value(told).unwrap();
        lines.as_array().unwrap().iter().map(|line| (text(line, "person"), text(line, "action"), text(line, "detail"))).collect()
    }

    fn refused(&self, begun: &Begun, id_token: &str) -> String {
        let refused = self.finish(begun, id_token).unwrap_err().to_string();
        assert!(self.desk.people(&person("root", Role::Admin)).unwrap().is_empty(), "{refused}");
        refused
    }
}

#[test]
fn groups_give_role_and_clearance_anew_with_every_sign_in() {
    let bench = bench();
    let entered = bench.enter("s1", "ana", &["labels", "reviews", "looks", "cleared", "plain", "else"]).unwrap();
    assert_eq!(entered.person, Person { name: "ana".to_owned(), role: Role::Reviewer, clearance: Grade::Important });
    assert_eq!(entered.place, "#vehicle=car+7&clip=3");
    assert_eq!(bench.desk.person(&entered.token, NOW_MS + 2 * 3_600_000 - 1).unwrap(), entered.person);
    assert!(bench.desk.person(&entered.token, NOW_MS + 2 * 3_600_000).is_err(), "session_hours");
    assert_eq!(bench.audit(), [("ana".to_owned(), "signed in by oidc".to_owned(), "reviewer important".to_owned())]);

    let again = bench.enter("s1", "ana", &["looks"]).unwrap();
    assert_eq!((again.person.role, again.person.clearance), (Role::DataUser, Grade::Unclassified));
    assert_eq!(bench.desk.person(&entered.token, NOW_MS + 1).unwrap().role, Role::DataUser, "for the older session, too");
    bench.desk.sign_out(&again.token).unwrap();
    assert!(bench.desk.person(&again.token, NOW_MS + 1).is_err());
}

#[test]
fn who_has_no_group_is_refused_with_both_sides() {
    let bench = bench();
    let refused = bench.enter("s1", "ana", &["staff", "cleared"]).unwrap_err();
    let told = refused.to_string();
    assert!(matches!(refused, DeskError::Forbidden(_)), "{told}");
    assert!(told.starts_with("expected membership of one of labels, looks, reviews, got staff, cleared\nhint: "), "{told}");
    assert!(bench.enter("s1", "ana", &[]).unwrap_err().to_string().contains("got none"));
    let audit = bench.audit();
    assert!(audit.len() == 2 && audit.iter().all(|(who, what, _)| who == "ana" && what == "refused by oidc"), "{audit:?}");
    assert!(audit.iter().any(|(_, _, why)| why.ends_with("got none")), "without the hint: {audit:?}");
    // Who had a role and lost it has nothing of it any more, in windows from before either.
    let before = bench.enter("s1", "ana", &["labels"]).unwrap();
    let other = bench.enter("s2", "bo", &["labels"]).unwrap();
    bench.desk.person(&before.token, NOW_MS).unwrap();
    assert!(bench.enter("s1", "ana", &["cleared"]).is_err());
    assert!(bench.desk.person(&before.token, NOW_MS).is_err());
    bench.desk.person(&other.token, NOW_MS).unwrap();
}

type Alter = fn(&mut Value);

#[test]
fn an_id_token_with_anything_wrong_lets_nobody_in() {
    let bench = bench();
    let cases: [(Alter, &str); 16] = [
        (|claims| claims["nonce"] = json!("0".repeat(64)), "another nonce"),
        (|claims| claims["nonce"] = Value::Null, "another nonce"),
        (|claims| claims["aud"] = json!("desk 2"), "expected an ID token for desk 1, got one for desk 2"),
        (|claims| claims["aud"] = json!([CLIENT, "desk 2"]), "authorized party (azp) is desk 1, got none"),
        (|claims| claims["azp"] = json!("desk 2"), "got desk 2"),
        (|claims| claims["azp"] = json!(1), "authorized party"),
        (|claims| claims["iss"] = json!("https://id.example.com"), "got one of https://id.example.com"),
        (|claims| claims["exp"] = json!(NOW_S - 60), "expired 60 s ago"),
        (|claims| claims["exp"] = Value::Null, "expected exp in seconds"),
        (|claims| claims["exp"] = json!("1e300"), "expected exp in seconds"),
        (|claims| claims["exp"] = json!(1e300), "expected exp in seconds"),
        (|claims| claims["iat"] = json!(NOW_S + 61), "61 s from now"),
        (|claims| claims["iat"] = json!(NOW_S - 61), "61 s before it"),
        (|claims| claims["nbf"] = json!(NOW_S + 61), "61 s from now"),
        (|claims| claims["sub"] = json!(""), "with a subject"),
        (|claims| claims["preferred_username"] = json!(" ana"), "expected a name in the claim preferred_username"),
    ];
    for (alter, why) in cases {
        let begun = bench.begin();
        let mut claims = bench.provider.claims(&begun.address, "s1", "ana", &["labels"]);
        alter(&mut claims);
        let told = bench.refused(&begun, &bench.provider.sign(&claims));
        assert!(told.contains(why), "{why}: {told}");
    }
    let audit = bench.audit();
    let is_short = |(_, what, why): &(String, String, String)| what == "refused by oidc" && why.chars().count() <= SHOWN_CHARS + 1;
    assert!(audit.len() == 16 && audit.iter().all(is_short), "{audit:?}");
    for alter in [
        (|claims| claims["aud"] = json!([CLIENT])) as Alter,
        |claims| {
            claims["aud"] = json!(["desk 2", CLIENT]);
            claims["azp"] = json!(CLIENT);
        },
        |claims| claims["exp"] = json!(NOW_S - 59),
        |claims| claims["iat"] = json!(NOW_S as f64 + 59.5),
    ] {
        let begun = bench.begin();
        let mut claims = bench.provider.claims(&begun.address, "s1", "ana", &["labels"]);
        alter(&mut claims);
        bench.finish(&begun, &bench.provider.sign(&claims)).unwrap();
    }
}

#[test]
fn a_signature_that_is_not_the_providers_lets_nobody_in() {
    let bench = bench();
    let begun = || bench.begin();
    let claims = |begun: &Begun| bench.provider.claims(&begun.address, "s1", "ana", &["reviews"]);
    let part = |value: &Value| text(value.to_string().as_bytes());

    for (alg, ending) in [("none", ""), ("None", ""), ("NONE", "AA"), ("", "")] {
        let begun = begun();
        let unsigned = format!("{}.{}.{ending}", part(&json!({ "alg": alg })), part(&claims(&begun)));
        let told = bench.refused(&begun, &unsigned);
        assert!(told.contains("expected an ID token signed by one of RS256"), "{told}");
    }
    // The public key as the secret of a HMAC, in the ways in which it might be written.
    for secret in [bench.provider.public_key(), published(&new_key(), "k1").to_string().into_bytes()] {
        let begun = begun();
        let message = format!("{}.{}", part(&json!({ "alg": "HS256", "kid": "k1" })), part(&claims(&begun)));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let told = bench.refused(&begun, &format!("{message}.{}", text(tag.as_ref())));
        assert!(told.contains("got HS256"), "{told}");
    }
    let other = new_key();
    let headers = [
        (json!({ "alg": "ES256", "kid": "k1" }), "expected the provider's signature"),
        (json!({ "alg": "ES256", "kid": "k9" }), "by the key k9"),
        (json!({ "alg": "ES256" }), "expected the provider's signature"),
        (json!({ "alg": "RS256", "kid": "k1" }), "expected a key of the provider for RS256"),
        // A key that comes with the token is the token's own.
        (json!({ "alg": "ES256", "jwk": published(&other, "k1") }), "expected the provider's signature"),
        (json!({ "alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false }), "critical extensions"),
    ];
    for (header, why) in headers {
        let begun = begun();
        let told = bench.refused(&begun, &token(&other, &header, &claims(&begun)));
        assert!(told.contains(why), "{why}: {told}");
    }
    let begun_now = begun();
    let right = bench.provider.sign(&claims(&begun_now));
    let parts: Vec<&str> = right.split('.').collect();
    let raised = part(&bench.provider.claims(&begun_now.address, "s2", "root", &["reviews"]));
    let told = bench.refused(&begun_now, &format!("{}.{raised}.{}", parts[0], parts[2]));
    assert!(told.contains("expected the provider's signature"), "{told}");
    for broken in ["", "a.b", "a.b.c", "a.b.c.d.e", &format!("{}.{}.", parts[0], parts[1]), &"x".repeat(70_000)] {
        assert!(bench.refused(&begun(), broken).contains("expected"), "{broken:.20}");
    }
}

#[test]
fn signatures_are_checked_as_the_standards_have_it() {
    // RFC 7515, appendices A.2 and A.3.
    let rsa = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs\
               D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV\
               MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let curve = json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let set = json!({ "keys": [{ "kty": "oct", "k": "AyM1" }, { "kty": "RSA", "n": rsa, "e": "AQAB" }, curve, 7] });
    let keys = token::keys(&set).unwrap();
    let body = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let by_rsa = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4\
                  BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
                  hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let by_curve = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    for (header, signature) in [("eyJhbGciOiJSUzI1NiJ9", by_rsa), ("eyJhbGciOiJFUzI1NiJ9", by_curve)] {
        let claims = token::signed(&format!("{header}.{body}.{signature}"), &keys).unwrap();
        assert_eq!(claims["iss"], json!("joe"));
        let altered = body.replacen('J', "K", 1);
        assert!(token::signed(&format!("{header}.{altered}.{signature}"), &keys).is_err());
    }
    let for_encryption = json!({ "keys": [{ "kty": "RSA", "n": rsa, "e": "AQAB", "use": "enc" }] });
    let unfit = token::signed(&format!("eyJhbGciOiJSUzI1NiJ9.{body}.{by_rsa}"), &token::keys(&for_encryption).unwrap());
    assert!(matches!(unfit, Err(Fault::NoKey(why)) if why.contains("for something else")));
}

#[test]
fn a_state_is_good_once_for_its_own_browser_and_for_ten_minutes() {
    let bench = bench();
    let begun = bench.begin();
    let token = bench.provider.sign(&bench.provider.claims(&begun.address, "s1", "ana", &["labels"]));
    let brought = bench.brought(&begun, &bench.provider.code(&begun.address, &token));
    let other = bench.begin();
    for browser in [None, Some(""), Some(&*other.browser)] {
        let refused = bench.desk.finish_sign_in(&brought, browser, NOW_MS).unwrap_err();
        assert!(matches!(&refused, DeskError::SignIn(why) if why.contains("this browser began")), "{refused}");
    }
    let late = bench.desk.finish_sign_in(&brought, Some(&begun.browser), NOW_MS + ON_THE_WAY_MS).unwrap_err();
    assert!(late.to_string().contains("within ten minutes"), "{late}");
    assert_eq!(bench.provider.asked("/token"), 0, "nobody else makes the provider be asked");
    bench.desk.finish_sign_in(&brought, Some(&begun.browser), NOW_MS + ON_THE_WAY_MS - 1).unwrap_err();
    assert_eq!(bench.provider.asked("/token"), 1, "and who has it in time does");

    let begun = bench.begin();
    let token = bench.provider.sign(&bench.provider.claims(&begun.address, "s1", "ana", &["labels"]));
    let code = bench.provider.code(&begun.address, &token);
    bench.desk.finish_sign_in(&bench.brought(&begun, &code), Some(&begun.browser), NOW_MS).unwrap();
    let again = bench.desk.finish_sign_in(&bench.brought(&begun, &code), Some(&begun.browser), NOW_MS).unwrap_err();
    assert!(again.to_string().contains("this browser began"), "{again}");
    // The same code for another sign-in: the provider refuses it, and its PKCE verifier would not fit.
    let next = bench.begin();
    let twice = bench.desk.finish_sign_in(&bench.brought(&next, &code), Some(&next.browser), NOW_MS).unwrap_err();
    assert!(twice.to_string().contains("the provider refused the tokens: invalid_grant\nhint: sign in again"), "{twice}");
    // A code that was made for another sign-in, stolen from it before it was used.
    let (theirs, ours) = (bench.begin(), bench.begin());
    let stolen = bench
        .provider
        .code(&theirs.address, &bench.provider.sign(&bench.provider.claims(&theirs.address, "s2", "bo", &["labels"])));
    assert!(bench.desk.finish_sign_in(&bench.brought(&ours, &stolen), Some(&ours.browser), NOW_MS).is_err());
}

#[test]
fn two_windows_of_a_browser_do_not_hinder_each_other_and_the_oldest_of_many_is_forgotten() {
    let bench = bench();
    let first = bench.begin();
    let second = bench.desk.begin_sign_in(ORIGIN, "", Some(&first.browser), NOW_MS).unwrap();
    assert_eq!(first.browser, second.browser);
    for begun in [&first, &second] {
        bench.finish(begun, &bench.provider.sign(&bench.provider.claims(&begun.address, "s1", "ana", &["labels"]))).unwrap();
    }
    assert_ne!(bench.desk.begin_sign_in(ORIGIN, "", Some("planted"), NOW_MS).unwrap().browser, "planted");

    let begun = bench.begin();
    for later in 0..MOST_ON_THE_WAY {
        bench.desk.begin_sign_in(ORIGIN, "", None, NOW_MS + 1 + later as i64 / 100).unwrap();
    }
    let token = bench.provider.sign(&bench.provider.claims(&begun.address, "s1", "ana", &["labels"]));
    assert!(bench.finish(&begun, &token).unwrap_err().to_string().contains("this browser began"));
}

#[test]
fn a_browser_that_begins_again_and_again_throws_out_only_its_own() {
    let bench = bench();
    let begin = |browser: Option<&str>, at_ms: i64| bench.desk.begin_sign_in(ORIGIN, "", browser, at_ms).unwrap();
    let (theirs, first) = (begin(None, NOW_MS - 2), begin(None, NOW_MS - 1));
    for _ in 1..MOST_ON_THE_WAY {
        begin(Some(&first.browser), NOW_MS);
    }
    let last = begin(Some(&first.browser), NOW_MS);
    let finish = |begun: &Begun| {
        let claims = bench.provider.claims(&begun.address, "s1", "ana", &["labels"]);
        bench.finish(begun, &bench.provider.sign(&claims))
    };
    assert!(finish(&first).unwrap_err().to_string().contains("this browser began"));
    finish(&last).unwrap();
    finish(&theirs).unwrap();
}

#[test]
fn what_is_asked_for_binds_the_answer_and_tells_no_secret() {
    let bench = bench();
    let begun = bench.begin();
    let asked = asked_for(&begun.address);
    assert!(begun.address.starts_with(&format!("{}/authorize?tenant=1&", bench.provider.issuer)), "{}", begun.address);
    assert_eq!((&*asked["response_type"], &*asked["code_challenge_method"]), ("code", "S256"));
    assert_eq!((&*asked["client_id"], &*asked["scope"]), (CLIENT, "openid profile email"));
    assert_eq!(asked["redirect_uri"], format!("{ORIGIN}/oidc/callback"));
    assert_eq!((asked["state"].len(), asked["nonce"].len(), asked["code_challenge"].len()), (64, 64, 43));
    let told = format!("{:?} {begun:?} {:?}", bench.provider.setup(), bench.audit());
    assert!(!told.contains(SECRET) && !begun.address.contains(&begun.browser), "{told}");
    let elsewhere = bench.desk.begin_sign_in("http://localhost:7777", "", None, NOW_MS).unwrap_err();
    assert!(elsewhere.to_string().contains("hint: open the review at http://127.0.0.1:7777/"), "{elsewhere}");
}

#[test]
fn an_account_is_nobodys_because_of_its_name() {
    let bench = bench();
    let root = Person { clearance: Grade::Core, ..person("root", Role::Admin) };
    bench.desk.invite(&person("me", Role::Admin), NOW_MS).unwrap();
    let taken = bench.enter("s1", "me", &["labels"]).unwrap_err().to_string();
    assert!(taken.contains("expected an account \"me\" that is yours, got one that signs in by links or a password"), "{taken}");
    assert!(taken.contains("hint: an administrator gives the account to the subject \"s1\" by POST /api/people"), "{taken}");
    let audit = bench.audit();
    let is_told =
        |(who, what, why): &(String, String, String)| who == "me" && what == "refused by oidc" && why.contains("that is yours");
    assert!(audit.iter().any(is_told), "{audit:?}");
    assert_eq!(bench.desk.people(&root).unwrap()[0].role, Role::Admin, "and nothing of it changed");

    // Another subject with the name of the first; the first called otherwise.
    let ana = bench.enter("s2", "ana", &["labels"]).unwrap().person;
    let other = bench.enter("s3", "ana", &["reviews"]).unwrap_err().to_string();
    assert!(other.contains("got one that belongs to another subject of the provider"), "{other}");
    assert_eq!(bench.enter("s2", "ana maria", &["labels"]).unwrap().person, ana, "one and the same, whatever her name is now");
    assert_eq!(bench.desk.people(&root).unwrap().len(), 2);

    // What an administrator does about it.
    let lead = person("l", Role::Lead);
    assert!(bench.desk.put_person(&lead, &person("me", Role::Lead), None, Some("s1"), NOW_MS).is_err());
    let used = bench.give(Grade::Core, "me", "s2").unwrap_err().to_string();
    assert!(used.contains("got that of \"ana\""), "{used}");
    assert!(bench.give(Grade::Core, "me", &"s".repeat(SUBJECT_CHARS + 1)).is_err());
    bench.give(Grade::Core, "me", "s1").unwrap();
    let me = bench.enter("s1", "me", &["labels"]).unwrap().person;
    assert_eq!((&*me.name, me.role), ("me", Role::Annotator), "with the rights of the provider");
    bench.give(Grade::Core, "ana", "s3").unwrap();
    assert_eq!(bench.enter("s3", "ana", &["reviews"]).unwrap().person.role, Role::Reviewer);
    assert!(bench.enter("s2", "ana", &["labels"]).is_err(), "her old subject has it no more");
    bench.give(Grade::Core, "ana", "").unwrap();
    assert!(bench.enter("s3", "ana", &["labels"]).is_err());
    let high = Person { clearance: Grade::Core, ..person("boss", Role::Lead) };
    bench.desk.invite(&high, NOW_MS).unwrap();
    let low = bench.give(Grade::General, "boss", "s9").unwrap_err();
    assert!(matches!(low, DeskError::Clearance { .. }), "{low}");

    // The other way round: a link for a name that somebody has taken at the provider would raise them.
    bench.enter("s4", "cy", &["looks"]).unwrap();
    let refused = bench.desk.invite(&person("cy", Role::Admin), NOW_MS).unwrap_err().to_string();
    assert!(refused.contains("\"cy\", who signs in by the provider\nhint: --account with another name"), "{refused}");
}

#[test]
fn who_an_account_belonged_to_has_nothing_of_it_once_it_is_anothers() {
    let bench = bench();
    let is_dead = |token: &str| bench.desk.person(token, NOW_MS).is_err();
    let first = bench.enter("s1", "ana", &["reviews"]).unwrap();
    let other = bench.enter("s2", "bo", &["labels"]).unwrap();
    bench.give(Grade::Core, "ana", "s1").unwrap();
    assert!(!is_dead(&first.token), "hers before and after");
    bench.give(Grade::Core, "ana", "s3").unwrap();
    assert!(is_dead(&first.token), "given to another subject");
    let second = bench.enter("s3", "ana", &["reviews"]).unwrap();
    bench.give(Grade::Core, "ana", "").unwrap();
    assert!(is_dead(&second.token), "taken back");
    assert!(!is_dead(&other.token), "bo's has nothing to do with it");
}

#[test]
fn an_account_of_the_provider_is_opened_by_nothing_else() {
    let bench = bench();
    let (root, ana) = (person("root", Role::Admin), person("ana", Role::Reviewer));
    let password = Some("a long walk");
    bench.desk.put_person(&root, &ana, password, None, NOW_MS).unwrap();
    let (session, _) = bench.desk.sign_in("ana", "a long walk", NOW_MS).unwrap();
    let key = bench.desk.invite(&ana, NOW_MS).unwrap();
    bench.give(Grade::Core, "ana", "s1").unwrap();
    assert!(bench.desk.person(&session, NOW_MS).is_err());
    bench.enter("s1", "ana", &["reviews"]).unwrap();
    // Whom the provider refuses has no other way in.
    bench.enter("s1", "ana", &[]).unwrap_err();
    assert!(bench.desk.sign_in("ana", "a long walk", NOW_MS).is_err());
    assert!(bench.desk.sign_in_by_key(&key, NOW_MS).is_err());
    for subject in [None, Some("s1"), Some("s2")] {
        let refused = bench.desk.put_person(&root, &ana, password, subject, NOW_MS).unwrap_err();
        let told = refused.to_string();
        assert!(matches!(refused, DeskError::Forbidden(_)) && told.contains("\nhint: an empty subject takes"), "{told}");
    }
    bench.enter("s1", "ana", &["reviews"]).unwrap();
    bench.desk.put_person(&root, &ana, password, Some(""), NOW_MS).unwrap();
    bench.desk.sign_in("ana", "a long walk", NOW_MS).unwrap();
}

#[test]
fn what_the_id_token_lacks_is_asked_of_the_provider_about_the_same_person() {
    let bench = bench();
    let bare = |begun: &Begun| {
        let mut claims = bench.provider.claims(&begun.address, "s1", "ana", &[]);
        claims.as_object_mut().unwrap().retain(|name, _| !["preferred_username", "groups"].contains(&&**name));
        bench.provider.sign(&claims)
    };
    bench.provider.tell_of(json!({ "sub": "s1", "preferred_username": "ana", "groups": "reviews" }));
    let begun = bench.begin();
    assert_eq!(bench.finish(&begun, &bare(&begun)).unwrap().person.role, Role::Reviewer);
    assert_eq!(bench.provider.asked("/person"), 1);
    bench.enter("s1", "ana", &["labels"]).unwrap();
    assert_eq!(bench.provider.asked("/person"), 1, "and only then");
    bench.provider.tell_of(json!({ "sub": "s2", "preferred_username": "ana", "groups": ["reviews"] }));
    let begun = bench.begin();
    let refused = bench.finish(&begun, &bare(&begun)).unwrap_err().to_string();
    assert!(refused.contains("got those of another one"), "{refused}");
}

#[test]
fn an_answer_of_another_provider_is_refused_before_its_code_is_sent_anywhere() {
    let bench = bench();
    for issuer in [None, Some("https://id.example.com".to_owned())] {
        let begun = bench.begin();
        let brought = Brought { issuer, ..bench.brought(&begun, "code") };
        let refused = bench.desk.finish_sign_in(&brought, Some(&begun.browser), NOW_MS).unwrap_err().to_string();
        assert!(refused.contains("expected an answer of the provider"), "{refused}");
    }
    let begun = bench.begin();
    let (error, description) = (Some("access_denied".to_owned()), Some("not\ntoday".to_owned()));
    let brought = Brought { error, description, code: None, ..bench.brought(&begun, "") };
    let refused = bench.desk.finish_sign_in(&brought, Some(&begun.browser), NOW_MS).unwrap_err().to_string();
    assert_eq!(refused, "the provider refused the sign-in: access_denied (not today)");
    assert_eq!(bench.provider.asked("/token"), 0);
    assert!(bench.audit().is_empty(), "anybody can send that, and the audit is not theirs to fill");
}

#[test]
fn a_new_key_of_the_provider_is_found_and_no_stranger_makes_it_be_asked_again_and_again() {
    let bench = bench();
    bench.enter("s1", "ana", &["labels"]).unwrap();
    assert_eq!(bench.provider.asked("/keys"), 1);
    let next = new_key();
    bench.provider.publish(vec![published(&next, "k2")]);
    let enter = |key: &EcdsaKeyPair, kid: &str, at_ms: i64| {
        let begun = bench.begin();
        let claims = bench.provider.claims(&begun.address, "s1", "ana", &["labels"]);
        let code = bench.provider.code(&begun.address, &token(key, &json!({ "alg": "ES256", "kid": kid }), &claims));
        bench.desk.finish_sign_in(&bench.brought(&begun, &code), Some(&begun.browser), at_ms)
    };
    assert!(enter(&next, "k2", NOW_MS + 29_999).is_err(), "not twice within half a minute");
    enter(&next, "k2", NOW_MS + 30_000).unwrap();
    assert_eq!(bench.provider.asked("/keys"), 2);
    for _ in 0..5 {
        assert!(enter(&new_key(), "k3", NOW_MS + 31_000).is_err());
    }
    assert_eq!(bench.provider.asked("/keys"), 2);
    assert_eq!(bench.provider.asked("/.well-known/openid-configuration"), 1);
}

#[test]
fn a_new_key_under_an_old_name_is_found_too() {
    let next = new_key();
    let mut for_encryption = published(&next, "k1");
    for_encryption["use"] = json!("enc");
    // Another key of that name; one that is for something else.
    for before in [published(&new_key(), "k1"), for_encryption] {
        let bench = bench();
        bench.provider.publish(vec![before]);
        let enter = |at_ms: i64| {
            let begun = bench.begin();
            let claims = bench.provider.claims(&begun.address, "s1", "ana", &["labels"]);
            let code = bench.provider.code(&begun.address, &token(&next, &json!({ "alg": "ES256", "kid": "k1" }), &claims));
            bench.desk.finish_sign_in(&bench.brought(&begun, &code), Some(&begun.browser), at_ms)
        };
        enter(NOW_MS).unwrap_err();
        bench.provider.publish(vec![published(&next, "k1")]);
        enter(NOW_MS + 29_999).unwrap_err();
        assert_eq!(bench.provider.asked("/keys"), 1, "not twice within half a minute");
        enter(NOW_MS + 30_000).unwrap();
        assert_eq!(bench.provider.asked("/keys"), 2);
    }
}

#[test]
fn a_provider_that_does_not_do_its_part_is_named_with_a_hint_and_keeps_nobody_else_from_work() {
    let bench = bench();
    let metadata = "/.well-known/openid-configuration";
    let altered = |key: &str, value: Value| {
        let mut told = bench.provider.metadata();
        told[key] = value;
        told.to_string()
    };
    let cases = [
        (200, altered("issuer", json!("https://id.example.com")), "expected metadata of the issuer http://127.0.0.1:"),
        (200, altered("token_endpoint", json!("http://id.example.com/token")), "token_endpoint: expected https"),
        (200, altered("jwks_uri", json!("file:///etc/passwd")), "jwks_uri: expected https"),
        (200, altered("token_endpoint_auth_methods_supported", json!(["private_key_jwt"])), "got private_key_jwt"),
        (200, "<html>".to_owned(), "expected JSON"),
        (200, " ".repeat(300_000), "expected 262144 bytes at most"),
        (302, "{}".to_owned(), "expected status 200, got 302"),
        (503, "{}".to_owned(), "expected status 200, got 503"),
    ];
    for (index, (status, content, why)) in cases.into_iter().enumerate() {
        bench.provider.say(metadata, status, &content);
        let at_ms = NOW_MS + 10_000 * index as i64;
        let refused = bench.desk.begin_sign_in(ORIGIN, "", None, at_ms).unwrap_err();
        let told = refused.to_string();
        assert!(matches!(refused, DeskError::Provider { .. }) && told.contains(why) && told.contains("\nhint: "), "{told}");
        let asked = bench.provider.asked(metadata);
        assert_eq!(bench.desk.check_provider(at_ms + 2_999).unwrap_err().to_string(), told, "told again without being asked");
        assert_eq!(bench.provider.asked(metadata), asked);
    }
    assert_eq!(bench.provider.asked("/elsewhere"), 0, "nobody is sent on");
    let key = bench.desk.invite(&person("bo", Role::Reviewer), NOW_MS).unwrap();
    bench.desk.sign_in_by_key(&key, NOW_MS).unwrap();
    bench.provider.say_as_before();
    bench.desk.check_provider(NOW_MS + 100_000).unwrap();
    bench.provider.say("/token", 401, "{\"error\":\"invalid_client\"}");
    let wrong = bench.enter("s1", "ana", &["labels"]).unwrap_err().to_string();
    assert!(wrong.contains("got 401 (invalid_client)\nhint: are client_id and the client secret right?"), "{wrong}");
    bench.provider.say("/token", 200, "{\"access_token\":\"access\"}");
    let none = bench.enter("s1", "ana", &["labels"]).unwrap_err().to_string();
    assert!(none.contains("expected an ID token, got none") && !none.contains("access"), "{none}");
}

#[test]
fn people_go_on_in_the_page_and_nowhere_else() {
    for place in ["#vehicle=car+7&clip=3", "#a", ""] {
        assert_eq!(place_in_page(place), place);
    }
    let long = format!("#{}", "a".repeat(PLACE_CHARS));
    for place in
        ["https://evil.example", "//evil.example", "/\\evil", "javascript:alert(1)", "#\"><script>", "#\r\nx", "#é", "# a", &long]
    {
        assert_eq!(place_in_page(place), "", "{place}");
    }
}

#[test]
fn a_file_that_cannot_work_is_refused_with_both_sides() {
    let provider = Provider::start();
    let right = provider.file();
    let parse = |text: &str| OidcSetup::parse(text, Path::new(""), &|name| (name == "SECRET").then(|| "s\n".to_owned()));
    assert_eq!(parse(&right).unwrap().redirect_uri(), format!("{ORIGIN}/oidc/callback"));
    let issuer = format!("issuer = \"{}\"", provider.issuer);
    let public = format!("public_url = \"{ORIGIN}\"");
    let cases = [
        (
            &*issuer,
            "issuer = \"http://id.example.com\"",
            "issuer: expected https (http on this machine only), got http://id.example.com",
        ),
        (&*issuer, "issuer = \"https://a:b@id.example.com\"", "issuer: expected an address without a name"),
        (&*public, "public_url = \"http://review.example.com\"", "public_url: expected https"),
        (&*public, "public_url = \"https://review.example.com/desk\"", "public_url: expected a host without a path"),
        ("SECRET", "OTHER", "expected a secret in OTHER, got none"),
        ("client_secret_env", "client_secret_file", "client_secret_file: SECRET: "),
        ("client_secret_env", "client_secret_file = \"x\"\nclient_secret_env", "got both"),
        ("client_secret_env", "client_secret", "unknown field `client_secret`"),
        ("session_hours = 2", "session_hours = 13", "expected 1 to 12, got 13"),
        ("session_hours = 2", "scopes = [\"profile\"]", "scopes: expected openid among single words"),
        ("\"annotator\"", "\"king\"", "unknown variant `king`"),
        ("\"important\"", "\"secret\"", "unknown variant `secret`"),
        ("labels = \"annotator\"\nreviews = \"reviewer\"\nlooks = \"data_user\"\n", "", "[roles]: expected a group, got none"),
        (CLIENT, " ", "client_id: expected a text"),
    ];
    for (from, to, why) in cases {
        let (told, hint) = parse(&right.replacen(from, to, 1)).unwrap_err();
        assert!(told.contains(why) && !hint.is_empty(), "{why}: {told}");
    }
    let example = include_str!("../../../../configs/oidc.toml");
    let example = OidcSetup::parse(example, Path::new(""), &|_| Some("s".to_owned())).unwrap();
    assert_eq!((example.public_url(), example.session_ms), ("https://review.example.com/", 12 * 3_600_000));
    assert_eq!(example.rights(&["fleet-labels-leads".to_owned()]), Ok((Role::Lead, Grade::Unclassified)));
}

#[test]
fn groups_are_found_where_providers_put_them() {
    let setup = |claim: &str| {
        let mut setup = Provider::start().setup();
        claim.clone_into(&mut setup.groups_claim);
        setup
    };
    let claims = json!({
        "realm_access": { "roles": ["a", 7, "b"] }, "https://example.com/groups": ["c"], "groups": "d", "one": { "two.three": ["e"] }, "null": null,
    });
    let groups = |claim: &str| setup(claim).name_and_groups(claims.as_object().unwrap()).1;
    let some = |all: &[&str]| Some(all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
    assert_eq!(groups("realm_access.roles"), some(&["a", "b"]));
    assert_eq!(groups("https://example.com/groups"), some(&["c"]));
    assert_eq!(groups("groups"), some(&["d"]));
    assert_eq!(groups("one.two.three"), some(&["e"]));
    assert_eq!(groups("realm_access.groups"), None);
    assert_eq!(groups("null"), None, "as good as not given: userinfo may have them");
}
