//! People of a team sign in to the review by its provider of identities: a real one, and a real browser that goes to and fro between two sites.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use boxwright_tests::{boxwright, missing, program, root, run_python};

/// The provider of `tests/oidc`, while it is there.
struct Provider {
    folder: tempfile::TempDir,
    issuer: String,
}

impl Provider {
    /// `None` where it cannot be installed here.
    fn start(redirect: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let run = folder.path().join("run");
        let said = script(folder.path(), &["start", &port.to_string(), run.to_str().unwrap(), redirect]);
        match said {
            Ok(()) => Some(Self { folder, issuer: format!("http://localhost:{port}/") }),
            Err(said) if said.contains("Go is not installed") => {
                missing("a provider of identities cannot be installed: Go is missing", "Debian: apt-get install golang-go");
                None
            }
            Err(said) => panic!("{said}"),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = script(self.folder.path(), &["stop", self.folder.path().join("run").to_str().unwrap()]);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn script(folder: &Path, args: &[&str]) -> Result<(), String> {
    // A file and no pipe: the server inherits it, and a pipe would stay open for as long as it runs.
    let log = folder.join("script.log");
    let errors = std::fs::File::create(&log).unwrap();
    let ended =
        Command::new("bash").arg(root().join("tests/oidc")).args(args).stdout(Stdio::null()).stderr(errors).status().unwrap();
    if ended.success() { Ok(()) } else { Err(std::fs::read_to_string(&log).unwrap()) }
}

#[test]
fn people_of_a_team_sign_in_by_its_provider_and_nobody_else_does() {
    let port = free_port();
    let public = format!("http://127.0.0.1:{port}");
    let Some(provider) = Provider::start(&format!("{public}/oidc/callback")) else { return };
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (dataset, file) = (path("dataset"), path("oidc.toml"));
    let setup = format!(
        "name = \"the works\"\nissuer = \"{}\"\nclient_id = \"web\"\nclient_secret_env = \"OIDC_SECRET\"\npublic_url = \"{public}\"\n\
         groups_claim = \"email\"\n[roles]\n\"ana@example.com\" = \"reviewer\"\n\"me@example.com\" = \"reviewer\"\n[clearances]\n\
         \"ana@example.com\" = \"core\"\n\"me@example.com\" = \"core\"\n",
        provider.issuer
    );
    std::fs::write(&file, setup).unwrap();
    boxwright(&["demo", "--dataset", &dataset, "--seconds", "3", "--json"]).expect_code(0);
    let (program, script) = (program(), root().join("tests/python/sign_in_in_chromium.py"));
    let port = port.to_string();
    let args = [script.to_str().unwrap(), program.to_str().unwrap(), &dataset, &provider.issuer, &port, &file];
    if let Some(said) = run_python(&args) {
        println!("{said}");
    }
}
