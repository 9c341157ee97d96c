//! What an administrator writes (`--oidc FILE`): which provider, who gets in, and as what.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::shown;
use crate::error::DeskError;
use crate::people::{Grade, Role};

/// Where the provider sends people back to, below the address of the desk.
pub(crate) const CALLBACK: &str = "/oidc/callback";
/// Groups that a message tells of: an account may have hundreds.
const GROUPS_TOLD: usize = 12;
/// Longest secret file.
const SECRET_BYTES: u64 = 4_096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    issuer: String,
    client_id: String,
    client_secret_env: Option<String>,
    client_secret_file: Option<PathBuf>,
    public_url: String,
    #[serde(default = "default_scopes")]
    scopes: Vec<String>,
    #[serde(default = "default_name_claim")]
    name_claim: String,
    #[serde(default = "default_groups_claim")]
    groups_claim: String,
    #[serde(default = "default_session_hours")]
    session_hours: u32,
    roles: BTreeMap<String, Role>,
    #[serde(default)]
    clearances: BTreeMap<String, Grade>,
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).to_vec()
}

fn default_name_claim() -> String {
    "preferred_username".to_owned()
}

fn default_groups_claim() -> String {
    "groups".to_owned()
}

fn default_session_hours() -> u32 {
    12
}

/// A secret. It is shown nowhere.
#[derive(Clone)]
pub(crate) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A provider of identities (OpenID Connect), and what its groups may here.
#[derive(Clone, Debug)]
pub struct OidcSetup {
    /// What the button says.
    pub(crate) name: String,
    /// Who signs ID tokens, exactly as it says itself.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// None for a public client, which PKCE alone protects.
    pub(crate) secret: Option<Secret>,
    /// Where browsers reach the desk.
    pub(crate) public: Url,
    /// With spaces between.
    pub(crate) scopes: String,
    /// Claim that accounts are named by.
    pub(crate) name_claim: String,
    /// Claim with the groups.
    pub(crate) groups_claim: String,
    /// How long a session lasts at most.
    pub(crate) session_ms: i64,
    roles: BTreeMap<String, Role>,
    clearances: BTreeMap<String, Grade>,
}

impl OidcSetup {
    /// Reads the file, and the secret from where it says. `environment` gives a variable of the environment.
    ///
    /// # Errors
    /// When one of the two cannot be read, or something in the file is not as it must be.
    pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, DeskError> {
        let refused =
            |(why, hint): (String, &str)| DeskError::OidcSetup { file: path.display().to_string(), why, hint: hint.to_owned() };
        let text =
            std::fs::read_to_string(path).map_err(|error| refused((error.to_string(), "configs/oidc.toml is an example")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder, environment).map_err(refused)
    }

    /// The same of what stands in the file; the file of a secret is looked for from `folder`.
    pub(crate) fn parse(
        text: &str,
        folder: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, (String, &'static str)> {
        let file: File = toml::from_str(text).map_err(|error| (error.to_string(), "configs/oidc.toml has every key"))?;
        let issuer = web_address(&file.issuer).map_err(|why| (format!("issuer: {why}"), "it is what the provider calls itself"))?;
        if issuer.query().is_some() {
            return Err((
                "issuer: expected an address without a query, got one".to_owned(),
                "it is what the provider calls itself",
            ));
        }
        let hint = "where browsers reach the review; the provider must know this address with /oidc/callback as a redirect URI";
        let public = web_address(&file.public_url).map_err(|why| (format!("public_url: {why}"), hint))?;
        if public.path() != "/" || public.query().is_some() {
            return Err((format!("public_url: expected a host without a path, got {}", file.public_url), hint));
        }
        for (key, value) in [("name", &file.name), ("client_id", &file.client_id)] {
            if value.trim().is_empty() || value.chars().any(char::is_control) {
                return Err((format!("{key}: expected a text, got {value:?}"), "configs/oidc.toml is an example"));
            }
        }
        if !file.scopes.iter().any(|scope| scope == "openid") || file.scopes.iter().any(|scope| scope.contains(char::is_whitespace))
        {
            return Err((
                format!("scopes: expected openid among single words, got {:?}", file.scopes),
                "scopes = [\"openid\", \"profile\"]",
            ));
        }
        if file.roles.is_empty() {
            return Err(("[roles]: expected a group, got none".to_owned(), "without one nobody gets in: group = \"reviewer\""));
        }
        if !(1..=12).contains(&file.session_hours) {
            let why = format!("session_hours: expected 1 to 12, got {}", file.session_hours);
            return Err((why, "other sessions last 12 hours, too"));
        }
        let secret = secret(&file, folder, environment)?;
        Ok(Self {
            name: file.name,
            issuer: file.issuer,
            client_id: file.client_id,
            secret,
            public,
            scopes: file.scopes.join(" "),
            name_claim: file.name_claim,
            groups_claim: file.groups_claim,
            session_ms: i64::from(file.session_hours) * 3_600_000,
            roles: file.roles,
            clearances: file.clearances,
        })
    }

    /// The provider, as it calls itself.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where browsers reach the desk.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.public.as_str()
    }

    /// Whether browsers reach the desk by TLS.
    #[must_use]
    pub fn is_by_tls(&self) -> bool {
        self.public.scheme() == "https"
    }

    /// The port at which browsers reach the desk itself, without anything between that takes TLS off: the desk must listen there.
    #[must_use]
    pub fn own_port(&self) -> Option<u16> {
        self.public.port_or_known_default().filter(|_| !self.is_by_tls())
    }

    /// Scheme, host and port, as browsers write them.
    pub(crate) fn origin(&self) -> String {
        self.public.origin().ascii_serialization()
    }

    /// Where the provider sends people back to.
    pub(crate) fn redirect_uri(&self) -> String {
        format!("{}{CALLBACK}", self.origin())
    }

    /// What members of these groups may: the role with the most rights, and the strictest grade.
    ///
    /// # Errors
    /// With both sides, when none of the groups has a role.
    pub(crate) fn rights(&self, groups: &[String]) -> Result<(Role, Grade), String> {
        let roles = groups.iter().filter_map(|group| self.roles.get(group)).copied();
        let Some(role) = roles.max_by_key(|role| role.rights()) else {
            let needed: Vec<String> = self.roles.keys().cloned().collect();
            return Err(format!(
                "expected membership of one of {}, got {}\nhint: an administrator puts you into one of them, or gives a group of yours a role under \
                 [roles]; groups are read from the claim {}",
                list(&needed),
                list(groups),
                self.groups_claim
            ));
        };
        let grade = groups.iter().filter_map(|group| self.clearances.get(group)).max();
        Ok((role, grade.copied().unwrap_or(Grade::Unclassified)))
    }

    /// The name and the groups in claims; none where there is no such claim, or null.
    pub(crate) fn name_and_groups(&self, claims: &Map<String, Value>) -> (Option<String>, Option<Vec<String>>) {
        let name = claim(claims, &self.name_claim).and_then(Value::as_str).map(str::to_owned);
        let groups = claim(claims, &self.groups_claim).filter(|found| !found.is_null()).map(|found| match found {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        });
        (name, groups)
    }
}

/// A claim by its name, or else by its way through nested ones (`realm_access.roles`). Names may have dots of their own: those of some
/// providers are addresses.
fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

fn list(groups: &[String]) -> String {
    let told: Vec<String> = groups.iter().take(GROUPS_TOLD).map(|group| shown(group)).collect();
    match groups.len() {
        0 => "none".to_owned(),
        count if count > GROUPS_TOLD => format!("{} and {} more", told.join(", "), count - GROUPS_TOLD),
        _ => told.join(", "),
    }
}

fn secret(
    file: &File,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, (String, &'static str)> {
    let found = match (&file.client_secret_env, &file.client_secret_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(("expected client_secret_env or client_secret_file, got both".to_owned(), "leave one of them out"));
        }
        (Some(name), None) => environment(name).ok_or_else(|| {
            (format!("client_secret_env: expected a secret in {name}, got none"), "export it before the review starts")
        })?,
        (None, Some(path)) => {
            let path = folder.join(path);
            let unread = |why: String| (format!("client_secret_file: {}: {why}", path.display()), "one line, the secret itself");
            let length = std::fs::metadata(&path).map_err(|error| unread(error.to_string()))?.len();
            if length > SECRET_BYTES {
                return Err(unread(format!("expected at most {SECRET_BYTES} bytes, got {length}")));
            }
            std::fs::read_to_string(&path).map_err(|error| unread(error.to_string()))?
        }
    };
    let secret = found.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.contains('\n') {
        return Err(("expected a client secret of one line, got none".to_owned(), "neither key for a public client"));
    }
    Ok(Some(Secret(secret.to_owned())))
}

/// An address that secrets may be sent to: `https`, or `http` on this machine.
pub(super) fn web_address(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("expected an address, got {}: {error}", shown(text)))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_near(&url)) {
        return Err(format!("expected https (http on this machine only), got {}", shown(text)));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("expected an address without a name, a password or a fragment, got one".to_owned());
    }
    Ok(url)
}

/// Whether an address is on this machine.
pub(super) fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
