//! A dataset in a bucket of a real S3-compatible server is the dataset that a folder would hold, whoever dies or meets on the way there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use boxwright_model::Taxonomy;
use boxwright_pipeline::Config;
use boxwright_shard::{ClipReader, Dataset, DatasetLocation, StoreConfig};
use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::{Ended, files_below, kitti_raw, missing, program, root, wait};

use crate::support::TestBroker;

const KEY: &str = "boxwright";
const SECRET: &str = "boxwright-secret";

/// A server of its own for each test, over a folder.
struct S3 {
    folder: tempfile::TempDir,
    port: u16,
}

impl S3 {
    /// `None` where it cannot be installed here.
    fn start() -> Option<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { folder: tempfile::tempdir().unwrap(), port: free.local_addr().unwrap().port() };
        drop(free);
        server.up().then_some(server)
    }

    /// Starts it, or starts it again. False where it cannot be installed.
    fn up(&self) -> bool {
        let output = self.script(&["start", &self.port.to_string(), self.folder.path().to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("Go is not installed") {
            missing("an S3-compatible server cannot be installed: Go is missing", "Debian: apt-get install golang-go");
            return false;
        }
        assert!(output.status.success(), "{said}");
        true
    }

    fn kill(&self) {
        let _ = self.script(&["kill", self.folder.path().to_str().unwrap()]);
    }

    fn script(&self, args: &[&str]) -> std::process::Output {
        let log = tempfile::NamedTempFile::new().unwrap();
        // stderr goes to a file: the server inherits it, and a pipe would stay open for as long as it runs.
        let errors = log.reopen().unwrap();
        let status =
            Command::new("bash").arg(root().join("tests/s3")).args(args).stdout(Stdio::null()).stderr(errors).status().unwrap();
        std::process::Output { status, stdout: Vec::new(), stderr: std::fs::read(log.path()).unwrap() }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Objects below a prefix, as the server keeps them.
    fn objects(&self, prefix: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = self.folder.path().join("data/boxwright").join(prefix);
        if folder.is_dir() { files_below(&folder) } else { BTreeMap::new() }
    }

    /// Paths of the objects below a prefix.
    fn names(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let top = self.folder.path().join("data/boxwright").join(prefix);
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            // What is listed while objects come and go may be gone.
            for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() { folders.push(path) } else { found.push(path.strip_prefix(&top).unwrap().to_owned()) }
            }
        }
        found
    }

    fn dataset(&self, url: &str) -> Dataset {
        let mut config = StoreConfig::default();
        let options = [("aws_access_key_id", KEY), ("aws_secret_access_key", SECRET), ("aws_allow_http", "true")];
        config.options.extend(options.map(|(name, value)| (name.to_owned(), value.to_owned())));
        config.options.insert("aws_endpoint".to_owned(), self.endpoint());
        config.spool_dir = self.folder.path().join("spool");
        Dataset::open_at(&DatasetLocation::parse(url, &config, &[]).unwrap()).unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A drive in a broker, a server, and configurations for both.
struct Bench {
    broker: TestBroker,
    s3: S3,
    out: tempfile::TempDir,
}

/// What a drive gives that the machine needs: clips of two seconds.
fn drive() -> Vec<OutgoingMessage> {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 6.0, ..SyntheticConfig::default() }).unwrap();
    std::iter::from_fn(|| drive.next_message().unwrap()).collect()
}

impl Bench {
    fn start() -> Option<Self> {
        let s3 = S3::start()?;
        let broker = TestBroker::start(2);
        broker.produce(drive());
        Some(Self { broker, s3, out: tempfile::tempdir().unwrap() })
    }

    /// A configuration of a consumer group of its own, with more lines.
    fn config(&self, group: &str, more: &str) -> String {
        let file = self.out.path().join(format!("{group}.toml"));
        let kafka = self.broker.config();
        let text = format!(
            "[clip]\nlength_s = 2\n[kafka]\ntopic_prefix = \"{}\"\ngroup_id = \"{}\"\nsession_timeout_ms = 3000\n[store]\n\
             retry_timeout_s = 2\nspool_dir = {:?}\n[store.options]\naws_allow_http = \"true\"\n{more}",
            kafka.topic_prefix,
            self.broker.group(group),
            self.out.path().join("spool")
        );
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// A run, with credentials and endpoint in the environment as fleets have them.
    fn start_run(&self, group: &str, dataset: &str, more: &str) -> Child {
        let config = self.config(group, more);
        let args = [
            "run",
            "--config",
            &config,
            "--brokers",
            &self.broker.address(),
            "--dataset",
            dataset,
            "--stop-when-idle",
            "4s",
            "--json",
        ];
        self.spawn(&args, SECRET)
    }

    fn spawn(&self, args: &[&str], secret: &str) -> Child {
        let environment = [
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_ENDPOINT_URL", &self.s3.endpoint()),
            ("AWS_REGION", "us-east-1"),
        ];
        let mut command = Command::new(program());
        command.args(args).envs(environment).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, group: &str, dataset: &str) -> Ended {
        wait(self.start_run(group, dataset, ""))
    }

    /// What a run into a folder gives.
    fn in_a_folder(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = self.out.path().join("folder");
        self.run("folder", folder.to_str().unwrap()).expect_code(0);
        let mut files = files_below(&folder);
        files.retain(|path, _| !path.ends_with(".seal.lock"));
        files
    }

    fn spool_is_empty(&self) -> bool {
        files_below(&self.out.path().join("spool")).is_empty()
    }
}

/// The bytes of every shard by the name that it has in a folder, and what every entry says but for the names of objects and what follows
/// from them.
fn comparable(files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, Vec<u8>> {
    let plain = |path: &str| match path.strip_suffix(".parquet").and_then(|stem| stem.rsplit_once('.')) {
        Some((stem, _hash)) => format!("{stem}.parquet"),
        None => path.to_owned(),
    };
    let mut comparable = BTreeMap::new();
    for (path, bytes) in files {
        let mut bytes = bytes.clone();
        if path.starts_with("manifest") {
            let mut entry: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for file in entry["files"].as_array_mut().unwrap() {
                file["path"] = plain(file["path"].as_str().unwrap()).into();
            }
            if let Some(previous) = entry["previous"].as_object_mut() {
                previous.remove("sha256");
            }
            bytes = entry.to_string().into_bytes();
        }
        assert!(comparable.insert(plain(path.to_str().unwrap()).into(), bytes).is_none(), "two objects of {}", path.display());
    }
    comparable
}

fn assert_same(expected: &BTreeMap<PathBuf, Vec<u8>>, got: &BTreeMap<PathBuf, Vec<u8>>) {
    let (expected, got) = (comparable(expected), comparable(got));
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    let differing: Vec<_> = expected.iter().filter(|(path, bytes)| got[*path] != **bytes).map(|(path, _)| path).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// Waits for something to be so, or for the program to end.
fn until(child: &mut Child, so: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(120);
    while !so() && child.try_wait().unwrap().is_none() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn taxonomy() -> Taxonomy {
    Config::embedded().unwrap().load_taxonomy().unwrap()
}

#[test]
fn a_bucket_holds_what_a_folder_holds_and_is_read_and_viewed_like_one() {
    let Some(bench) = Bench::start() else { return };
    let folder = bench.in_a_folder();
    let url = "s3://boxwright/drives/one";
    bench.run("bucket", url).expect_code(0);
    assert_same(&folder, &bench.s3.objects("drives/one"));
    assert!(bench.spool_is_empty());

    let (local, remote) = (Dataset::open(&bench.out.path().join("folder")).unwrap(), bench.s3.dataset(url));
    let entries = remote.entries().unwrap();
    assert!(entries.len() >= 3, "{}", entries.len());
    for (entry, local_entry) in entries.iter().zip(local.entries().unwrap()) {
        let (here, there) = (ClipReader::open(&local, &local_entry).unwrap(), ClipReader::open(&remote, entry).unwrap());
        there.verify().unwrap();
        assert_eq!(here.boxes(&taxonomy()).unwrap(), there.boxes(&taxonomy()).unwrap());
        assert!(here.lidar().unwrap().map(Result::unwrap).eq(there.lidar().unwrap().map(Result::unwrap)));
    }

    let view = |dataset: &str, name: &str| {
        let file = bench.out.path().join(name);
        let config = bench.config("view", "");
        let ended =
            wait(bench.spawn(&["view", dataset, "--config", &config, "--save", file.to_str().unwrap()], SECRET)).expect_code(0);
        assert!(std::fs::metadata(file).unwrap().len() > 100_000);
        ended.out.split(": ").nth(1).unwrap().split(',').next().unwrap().to_owned()
    };
    assert_eq!(view(url, "bucket.rrd"), view(bench.out.path().join("folder").to_str().unwrap(), "folder.rrd"));
}

#[test]
fn a_worker_killed_while_it_uploads_and_started_again_gives_the_same_bytes() {
    let Some(bench) = Bench::start() else { return };
    let folder = bench.in_a_folder();
    let is_entry = |path: &PathBuf| path.starts_with("manifest");
    // Killed with the first object of a clip, then between its entry and the next, then between two objects of the next.
    let entries = || bench.s3.names("killed").iter().filter(|path| is_entry(path)).count();
    let shards = || bench.s3.names("killed").iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")).count();
    let mut interrupted = 0;
    for moment in 0..3 {
        let mut child = bench.start_run("killed", "s3://boxwright/killed", "");
        let (entries_before, shards_before) = (entries(), shards());
        until(&mut child, || match moment {
            0 => shards() > shards_before,
            1 => entries() > entries_before,
            _ => shards() > shards_before + 1,
        });
        interrupted += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        let _ = wait(child);
    }
    assert_eq!(interrupted, 3, "the worker had ended before it was killed");
    bench.run("killed", "s3://boxwright/killed").expect_code(0);
    assert_same(&folder, &bench.s3.objects("killed"));
    assert!(bench.spool_is_empty());
}

#[test]
fn a_store_that_goes_away_ends_the_run_with_a_hint_and_the_next_run_goes_on() {
    let Some(bench) = Bench::start() else { return };
    let folder = bench.in_a_folder();
    let mut child = bench.start_run("outage", "s3://boxwright/outage", "");
    until(&mut child, || bench.s3.names("outage").iter().any(|path| path.starts_with("manifest")));
    bench.s3.kill();
    let ended = wait(child).expect_code(1);
    assert!(ended.err.contains("s3://boxwright/outage/") && ended.err.contains("hint:"), "{}", ended.err);
    assert!(bench.s3.up());
    bench.run("outage", "s3://boxwright/outage").expect_code(0);
    assert_same(&folder, &bench.s3.objects("outage"));
}

#[test]
fn two_workers_with_different_bytes_at_once_leave_one_of_each_clip() {
    let Some(bench) = Bench::start() else { return };
    // Two groups read everything; the levels of compression make their bytes differ.
    let url = "s3://boxwright/rivals";
    let rivals: Vec<Child> =
        [1, 9].map(|level| bench.start_run(&format!("rival-{level}"), url, &format!("[shard]\nzstd_level = {level}\n"))).into();
    rivals.into_iter().for_each(|rival| drop(wait(rival).expect_code(0)));
    let dataset = bench.s3.dataset(url);
    dataset.remove_orphans().unwrap();
    let entries = dataset.entries().unwrap();
    let folder = bench.in_a_folder();
    assert_eq!(entries.len(), folder.keys().filter(|path| path.starts_with("manifest")).count());
    let mut expected = 1 + entries.len();
    for entry in &entries {
        ClipReader::open(&dataset, entry).unwrap().verify().unwrap();
        expected += entry.files.len();
    }
    assert_eq!(bench.s3.names("rivals").len(), expected, "{:?}", bench.s3.names("rivals"));
}

#[test]
fn a_wrong_bucket_and_a_wrong_key_are_errors_with_a_hint() {
    let Some(bench) = Bench::start() else { return };
    let config = bench.config("wrong", "");
    let view = |url: &str, secret: &str| wait(bench.spawn(&["view", url, "--config", &config], secret)).expect_code(1).err;
    let said = view("s3://no-such-bucket/x", SECRET);
    assert!(said.contains("hint: the bucket does not exist"), "{said}");
    let said = view("s3://boxwright/x", "wrong");
    assert!(said.contains("hint: look at the credentials"), "{said}");
    let said = view("s3://boxwright/x", SECRET);
    assert!(said.contains("s3://boxwright/x is not a dataset"), "{said}");
}

#[test]
fn a_real_drive_whose_shards_go_in_parts_has_the_same_bytes() {
    let Some(drive) = kitti_raw() else { return };
    let Some(s3) = S3::start() else { return };
    let bench = Bench { broker: TestBroker::start(1), s3, out: tempfile::tempdir().unwrap() };
    let config = bench.out.path().join("kitti.toml").to_str().unwrap().to_owned();
    std::fs::write(&config, "[store.options]\naws_allow_http = \"true\"\n").unwrap();
    let folder = bench.out.path().join("folder");
    let run = |dataset: &str| {
        let args = ["run", "--config", &config, "--from", "kitti-raw", drive.to_str().unwrap(), "--dataset", dataset, "--json"];
        wait(bench.spawn(&args, SECRET)).expect_code(0)
    };
    run(folder.to_str().unwrap());
    run("s3://boxwright/kitti");
    let (local, remote) = (Dataset::open(Path::new(&folder)).unwrap(), bench.s3.dataset("s3://boxwright/kitti"));
    let (here, there) = (local.entries().unwrap(), remote.entries().unwrap());
    let contents = |entry: &boxwright_shard::ManifestEntry| {
        entry.files.iter().map(|file| (file.table, file.sha256.clone(), file.bytes, file.rows)).collect::<Vec<_>>()
    };
    assert_eq!(here.iter().map(contents).collect::<Vec<_>>(), there.iter().map(contents).collect::<Vec<_>>());
    there.iter().for_each(|entry| ClipReader::open(&remote, entry).unwrap().verify().unwrap());
    let in_parts = there.iter().flat_map(|entry| &entry.files).filter(|file| file.bytes > 32 << 20);
    let in_parts: Vec<_> = in_parts.map(|file| file.path.contains(&format!(".{}.parquet", &file.sha256[..12]))).collect();
    assert!(!in_parts.is_empty() && in_parts.iter().all(|hashed| *hashed), "{in_parts:?}");
}
