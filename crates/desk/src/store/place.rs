//! Where the database is: a file here, or a PostgreSQL elsewhere. A password is never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::error::DeskError;

/// How long a connection may take to come about: somebody waits for their answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A server that acknowledges nothing for so long is gone. Everybody waits meanwhile.
const SILENT: Duration = Duration::from_secs(10);

/// How an address looks.
const FORM: &str = "postgres://USER@HOST:PORT/DATABASE, or postgres:///DATABASE?host=/var/run/postgresql";

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// SQLite.
    File(PathBuf),
    /// PostgreSQL.
    Postgres(PostgresPlace),
}

/// A database of a PostgreSQL server, and who opens it.
#[derive(Clone)]
pub struct PostgresPlace {
    pub(super) config: Config,
    /// Without the password.
    shown: String,
}

/// What the environment says for an address that does not say it.
#[derive(Clone, Default)]
pub struct PostgresDefaults {
    /// Who opens the database.
    pub user: Option<String>,
    /// Their password.
    pub password: Option<String>,
    /// Content of a password file, with lines `host:port:database:user:password`.
    pub password_file: Option<String>,
}

impl Place {
    /// Whether a text is the address of a PostgreSQL and not the name of a file.
    #[must_use]
    pub fn is_postgres(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(place) => write!(f, "{place}"),
        }
    }
}

impl fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PostgresPlace {
    /// Reads `postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?OPTION=VALUE]`.
    ///
    /// # Errors
    /// When it is not one, or asks for TLS, which this program does not speak to a database.
    pub fn parse(text: &str, defaults: &PostgresDefaults) -> Result<Self, DeskError> {
        let refused = |why: String, hint: &str| {
            // The text may hold a password wherever it is broken, so none of it is told.
            DeskError::Open { database: "that --db names".to_owned(), why, hint: hint.to_owned() }
        };
        let mut config: Config = text.parse().map_err(|error| refused(format!("no address: {}", told(&error)), FORM))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refused("expected a host, got none".to_owned(), FORM));
        }
        if config.get_ssl_mode() == SslMode::Require {
            let hint = "a Unix socket, loopback, or a tunnel that has TLS (ssh -L, stunnel); then without sslmode=require";
            return Err(refused("it asks for TLS, which this program does not speak to a database".to_owned(), hint));
        }
        if let (None, Some(user)) = (config.get_user(), &defaults.user) {
            config.user(user);
        }
        if config.get_password().is_some() {
            tracing::warn!(
                "the password in --db stands in the list of processes, where others can read it\nhint: PGPASSWORD or ~/.pgpass"
            );
        } else if let Some(password) = defaults.password.clone().or_else(|| from_file(&config, defaults.password_file.as_deref()?))
        {
            config.password(password);
        }
        if !is_near(&config) {
            tracing::warn!(
                "the connection to the review database has no TLS: keep it within a network that you trust, or in a tunnel"
            );
        }
        config.ssl_mode(SslMode::Disable);
        config.application_name("boxwright review").connect_timeout(CONNECT_TIMEOUT);
        // A standby takes no operations.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        // A server whose machine or network is gone says nothing: without these the first to notice would be a person after two hours.
        config.tcp_user_timeout(SILENT).keepalives_idle(SILENT).keepalives_interval(SILENT / 3).keepalives_retries(3);
        let shown = shown(&config);
        Ok(Self { config, shown })
    }
}

/// An error of the client with what it came from; its own words leave that out.
pub(super) fn told(error: &postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

fn hosts(config: &Config) -> Vec<(String, u16)> {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let name = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    if config.get_hosts().is_empty() {
        return config.get_hostaddrs().iter().enumerate().map(|(index, ip)| (ip.to_string(), port(index))).collect();
    }
    config.get_hosts().iter().enumerate().map(|(index, host)| (name(host), port(index))).collect()
}

fn is_near(config: &Config) -> bool {
    hosts(config).iter().all(|(host, _)| {
        host.starts_with('/') || host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// The address without the password and with the one option that chooses among databases in one: the search path.
fn shown(config: &Config) -> String {
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let hosts: Vec<String> = hosts(config).iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let options = config.get_options().map(|options| format!(" ({options})")).unwrap_or_default();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{user}{}/{database}{options}", hosts.join(","))
}

/// The password of the first line that fits, as the other programs of PostgreSQL read the file: `*` fits everything, a backslash takes a
/// colon or itself literally, and a line that begins with # is none.
fn from_file(config: &Config, content: &str) -> Option<String> {
    let (host, port) = hosts(config).into_iter().next()?;
    let host = if host.starts_with('/') { "localhost".to_owned() } else { host };
    let user = config.get_user()?;
    let wanted = [host, port.to_string(), config.get_dbname().unwrap_or(user).to_owned(), user.to_owned()];
    content.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [names @ .., password] = fields.as_slice() else { return None };
        let fits = names.len() == wanted.len() && names.iter().zip(&wanted).all(|(name, wanted)| name == "*" || name == wanted);
        fits.then(|| password.clone())
    })
}

fn fields(line: &str) -> Vec<String> {
    let (mut all, mut field, mut letters) = (Vec::new(), String::new(), line.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => field.extend(letters.next()),
            ':' => all.push(std::mem::take(&mut field)),
            _ => field.push(letter),
        }
    }
    all.push(field);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> PostgresPlace {
        PostgresPlace::parse(text, &PostgresDefaults::default()).unwrap()
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let with = place("postgres://ana:s3cret@db.example:5433/review?options=-csearch_path%3Dmonday");
        assert_eq!(with.to_string(), "postgres://ana@db.example:5433/review (-csearch_path=monday)");
        let config = format!("{with:?} {:?} {:?}", Place::Postgres(with.clone()), with.config);
        assert!(!config.contains("s3cret"), "{config}");
        for broken in [
            "postgres://ana:s3cret@db:port/x",
            "postgres://ana:s3cret@[::1",
            "postgres://ana:s3cret@h/d?s3cret",
            "postgres://ana:s3cret",
        ] {
            let told = PostgresPlace::parse(broken, &PostgresDefaults::default()).map(|place| place.to_string());
            let told = told.unwrap_or_else(|error| error.to_string());
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn the_environment_says_what_the_address_does_not() {
        let password_file = Some("# ours\nother:*:*:*:no\nlocalhost:*:review:ana:a\\:b\\\\c\n*:*:*:*:late\n".to_owned());
        let defaults = PostgresDefaults { user: Some("ana".to_owned()), password: None, password_file };
        let of = |text: &str, defaults: &PostgresDefaults| {
            let config = PostgresPlace::parse(text, defaults).unwrap().config;
            String::from_utf8(config.get_password().unwrap().to_vec()).unwrap()
        };
        assert_eq!(of("postgres:///review?host=/var/run/postgresql", &defaults), "a:b\\c");
        assert_eq!(of("postgres://localhost/review", &defaults), "a:b\\c");
        assert_eq!(of("postgres://bo@localhost/review", &defaults), "late");
        assert_eq!(of("postgres://ana:own@localhost/review", &defaults), "own");
        let both = PostgresDefaults { password: Some("from the environment".to_owned()), ..defaults };
        assert_eq!(of("postgres://localhost/review", &both), "from the environment");
    }

    #[test]
    fn an_address_that_wants_tls_is_refused_and_not_opened_without() {
        for wants in ["require", "verify-full"] {
            let address = format!("postgres://ana@db.example/review?sslmode={wants}");
            let refused = PostgresPlace::parse(&address, &PostgresDefaults::default()).unwrap_err().to_string();
            assert!(refused.contains("hint: ") && (refused.contains("TLS") || refused.contains("sslmode")), "{refused}");
        }
    }
}
