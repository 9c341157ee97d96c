//! `boxwright review`: people decide about the labels of a dataset, in the browser.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use boxwright_desk::canvas::{Canvas, CanvasFile, DrawError, Recording};
use boxwright_desk::{Desk, DeskSetup, OidcSetup, Person, Place, PostgresDefaults, PostgresPlace, SPOOL_BYTES, Store, now_ms};
use boxwright_model::SceneFrame;
use boxwright_pipeline::scenes::Scenes;
use boxwright_review::CanvasRecording;
use boxwright_shard::{Dataset, DatasetLocation};
use boxwright_source::kafka::KafkaConfig;
use boxwright_source::kafka::verdicts::VerdictSink;

use super::{load_config, locate};
use crate::args::ReviewArgs;
use crate::{Outcome, signals, ui};

/// Name of the database beside the tables of a dataset in a folder.
const DATABASE: &str = "review.sqlite";
/// Name of the file beside it that the review of the dataset holds.
const CLAIM: &str = "review.lock";
/// How often the database is looked into for verdicts: nobody waits for them.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// Verdicts that are read at once.
const PUBLISH_AT_ONCE: u32 = 100;
/// The account of whoever starts the review.
const OWNER: &str = "me=admin,core";

pub(crate) fn execute(args: &ReviewArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), args.brokers.as_deref())?;
    let ambient = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let oidc = args.oidc.as_deref().map(|file| OidcSetup::load(file, &ambient)).transpose()?;
    if let Some((setup, port)) = oidc.as_ref().and_then(|setup| Some((setup, setup.own_port()?))) {
        ensure!(
            port == args.listen.port(),
            "expected to listen on port {port}, where browsers come by public_url = {:?}, got --listen {}\nhint: --listen 127.0.0.1:{port}",
            setup.public_url(),
            args.listen
        );
    }
    let taxonomy = Arc::new(config.load_taxonomy()?);
    let location = locate(&args.dataset, &config.store)?;
    let dataset = Dataset::open_at(&location)?;
    if dataset.entry_count()? == 0 {
        bail!("the dataset has no clip yet\nhint: boxwright run fills it");
    }
    let place = database(args, &location)?;
    let _claim = claim(&location, &place)?;
    let store = Store::open(&place)?;
    let (of_scenes, classes) = (dataset.clone(), taxonomy.clone());
    let scenes: boxwright_desk::scene::OpenScenes = Arc::new(move |entry| {
        let scenes = Scenes::open(&of_scenes, std::slice::from_ref(entry), classes.clone())?;
        Ok(Box::new(scenes))
    });
    let lease_ms = i64::try_from(args.lease.as_millis()).unwrap_or(i64::MAX);
    let canvas: Option<Arc<dyn Canvas>> =
        if args.no_canvas { None } else { Some(Arc::new(Viewer(boxwright_review::Canvas::load(taxonomy.clone())?))) };
    let desk = Desk::open(DeskSetup { dataset, taxonomy, store, scenes, lease_ms, spool_bytes: SPOOL_BYTES, canvas, oidc })?;
    let desk = Arc::new(desk);
    for (name, revision) in desk.foreign() {
        ui::say(&format!(
            "warning: clip {}/{} has revision {revision}, which was not written from {place}: it can be looked at and not worked on\n\
             hint: a new --db begins from that revision",
            name.vehicle, name.clip,
        ));
    }
    let continued = desk.continued();
    if let Some((name, revision)) = continued.first() {
        ui::say(&format!(
            "note: {} clips have revisions that were written from another database, {}/{} up to {revision}: {place} goes on from their labels and knows \
             nothing of who decided what\nhint: --db names the database that they were written from",
            continued.len(),
            name.vehicle,
            name.clip
        ));
    }
    // Before anybody can come in: a name that is invited is nobody's at the provider.
    let invited: Vec<(Person, String)> = invited(args)?
        .into_iter()
        .map(|person| desk.invite(&person, now_ms()).map(|key| (person, key)))
        .collect::<Result<_, _>>()?;
    let server = boxwright_desk::serve(desk.clone(), args.listen)?;
    // By TLS where browsers come by TLS: cookies go no other way then.
    let page = desk.provider().filter(|provider| provider.is_by_tls()).map(|provider| provider.public_url().to_owned());
    let page = page.unwrap_or_else(|| server.url());
    for (person, key) in &invited {
        ui::print(&format!("review: {page}#key={key}  ({}, {}, {})", person.name, person.role, person.clearance));
    }
    if invited.is_empty() {
        ui::print(&format!("review: {page}"));
    }
    greet_provider(&desk);
    let publisher = args.brokers.is_some().then(|| publish(desk, config.kafka.clone())).transpose()?;
    let once = if invited.is_empty() { "" } else { "each link signs in once; " };
    ui::say(&format!("{once}Ctrl-C ends the review, and nothing is lost"));
    signals::wait_for_stop()?;
    server.shutdown();
    if let Some((over, thread)) = publisher {
        over.store(true, Ordering::SeqCst);
        // What is not published by then stays in the database and goes out with the next review.
        let _ = thread.join();
    }
    Ok(Outcome::Done)
}

/// Says where people sign in by the provider, and whether it would work now. One that is away keeps nobody from work: links and passwords do
/// without it, those who are in stay in, and it is asked again with the next sign-in.
fn greet_provider(desk: &Desk) {
    let Some(provider) = desk.provider() else { return };
    ui::say(&format!("people sign in by {} at {}", provider.issuer(), provider.public_url()));
    if let Err(error) = desk.check_provider(now_ms()) {
        ui::say(&format!("warning: {error}"));
    }
}

/// Keeps a second review of a dataset out, whatever its database: each would write revisions that the other does not know. The claim ends
/// with the file; in an object store there is none, and the review that finishes second is told so.
fn claim(location: &DatasetLocation, database: &Place) -> anyhow::Result<Option<File>> {
    let Some(folder) = location.folder_path() else { return Ok(None) };
    let path = folder.join(CLAIM);
    let mut file = match File::options().read(true).write(true).create(true).truncate(false).open(&path) {
        Ok(file) => file,
        Err(error) => {
            // Where nothing can be written nobody can finish a clip either, but labels can be looked at.
            tracing::warn!("cannot keep other reviews out by {}: {error}", path.display());
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message.
            let _ = file.read_to_string(&mut holder);
            bail!(
                "another review works on this dataset, with the database {}\nhint: people join it by its links; end it before another one starts",
                holder.trim()
            );
        }
        // Some network file systems have no locks: the review that finishes second is told so, too.
        Err(TryLockError::Error(error)) => tracing::warn!("cannot lock {}: {error}", path.display()),
    }
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{database}"));
    noted.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(file))
}

/// The viewer of the review crate, as the desk wants it: the two do not know each other.
struct Viewer(boxwright_review::Canvas);

impl Canvas for Viewer {
    fn files(&self) -> Vec<CanvasFile> {
        let version = self.0.version();
        vec![
            CanvasFile { path: "/re_viewer.js", kind: "text/javascript", content: self.0.script(), version: version.clone() },
            CanvasFile { path: "/re_viewer_bg.wasm", kind: "application/wasm", content: self.0.module(), version },
        ]
    }

    fn recording(&self, name: &str) -> Box<dyn Recording> {
        Box::new(Encoded(self.0.recording(name)))
    }

    fn boxes(&self, name: &str, frames: &[SceneFrame]) -> Result<Vec<u8>, DrawError> {
        Ok(self.0.boxes(name, frames)?)
    }

    fn focus(&self, name: &str, frame: &SceneFrame) -> Result<Vec<u8>, DrawError> {
        Ok(self.0.focus(name, frame)?)
    }
}

struct Encoded(CanvasRecording);

impl Recording for Encoded {
    fn frame(&mut self, frame: &SceneFrame) -> Result<Vec<u8>, DrawError> {
        Ok(self.0.frame(frame)?)
    }

    fn finish(&mut self) -> Result<Vec<u8>, DrawError> {
        Ok(self.0.finish()?)
    }
}

/// Publishes verdicts from the database, oldest first, until it is told that the review is over. A broker that is away costs nothing: they
/// wait in the database.
fn publish(desk: Arc<Desk>, kafka: KafkaConfig) -> anyhow::Result<(Arc<AtomicBool>, JoinHandle<()>)> {
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    let work = move || {
        let mut sink = None;
        loop {
            let is_last = told.load(Ordering::SeqCst);
            if let Err(error) = publish_waiting(&desk, &kafka, &mut sink) {
                tracing::warn!("verdicts wait in the database: {error:#}");
                sink = None;
            }
            if is_last {
                return;
            }
            std::thread::sleep(PUBLISH_EVERY);
        }
    };
    let thread = std::thread::Builder::new().name("verdicts".to_owned()).spawn(work).context("cannot start the publisher")?;
    Ok((over, thread))
}

fn publish_waiting(desk: &Desk, kafka: &KafkaConfig, sink: &mut Option<VerdictSink>) -> anyhow::Result<()> {
    for one in desk.outgoing(PUBLISH_AT_ONCE)? {
        let sink = match sink {
            Some(sink) => sink,
            None => sink.insert(VerdictSink::connect(kafka)?),
        };
        sink.send(&one.vehicle, &one.id, &one.body)?;
        desk.published(&one.id)?;
    }
    Ok(())
}

/// Who gets a link: those who are named, or whoever started it, unless people sign in by a provider: a service has no link of an administrator
/// in its log that nobody asked for.
fn invited(args: &ReviewArgs) -> anyhow::Result<Vec<Person>> {
    let given: Vec<&str> = args.account.iter().map(String::as_str).collect();
    let all = if given.is_empty() && args.oidc.is_none() { vec![OWNER] } else { given };
    let people: Vec<Person> = all
        .into_iter()
        .map(|text| Person::parse(text).map_err(anyhow::Error::msg).context("--account"))
        .collect::<Result<_, _>>()?;
    let mut names = BTreeSet::new();
    for person in &people {
        // Each link would carry the rights of the last.
        ensure!(
            names.insert(&person.name),
            "--account: expected every name once, got {} twice\nhint: one role a person",
            person.name
        );
    }
    Ok(people)
}

fn database(args: &ReviewArgs, location: &DatasetLocation) -> anyhow::Result<Place> {
    match (&args.db, location.folder_path()) {
        (Some(named), _) => match named.to_str().filter(|text| Place::is_postgres(text)) {
            Some(url) => Ok(Place::Postgres(PostgresPlace::parse(url, &postgres_defaults())?)),
            None => Ok(Place::File(named.clone())),
        },
        (None, Some(folder)) => Ok(Place::File(folder.join(DATABASE))),
        (None, None) => bail!(
            "a dataset in an object store has no place for the review database\nhint: --db FILE names one here, --db postgres://USER@HOST/DATABASE one elsewhere"
        ),
    }
}

/// Who opens a PostgreSQL and with which password, under the names that its own programs use.
fn postgres_defaults() -> PostgresDefaults {
    let ambient = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    let file =
        std::env::var_os("PGPASSFILE").or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pgpass").into_os_string()));
    PostgresDefaults {
        user: ambient("PGUSER").or_else(|| ambient("USER")),
        password: ambient("PGPASSWORD"),
        password_file: file.map(PathBuf::from).and_then(|path| password_file(&path)),
    }
}

/// A password file; one that others may read is not used, as with the other programs of PostgreSQL.
fn password_file(path: &std::path::Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let open_to = std::fs::metadata(path).ok()?.permissions().mode() & 0o077;
    if open_to != 0 {
        tracing::warn!("{} is not used: others may read it\nhint: chmod 600 {}", path.display(), path.display());
        return None;
    }
    // One that cannot be read is none, as one that is not there: the server says what it needs.
    std::fs::read_to_string(path).ok()
}
