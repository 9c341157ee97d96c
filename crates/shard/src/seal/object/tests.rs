//! An object store that dies, forgets to answer, or lies.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use boxwright_model::{ClipGrid, ClipId};
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::fixtures;
use crate::storage::store::Store;
use crate::verify::{OffsetFate, verify};
use crate::{ClipReader, ClipWriter, DatasetLocation, WriterConfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whim {
    Sound,
    /// From the call of this number on, nothing is answered or done any more.
    DiesAt(usize),
    /// A creation that happened is answered like one that was refused, as after a retry.
    LosesAnswers,
    /// Creates over what is there.
    IgnoresConditions,
}

#[derive(Debug)]
struct Whimsical {
    inner: Arc<InMemory>,
    whim: Whim,
    calls: AtomicUsize,
}

impl fmt::Display for Whimsical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.whim)
    }
}

impl Whimsical {
    fn call(&self) -> Result<()> {
        let count = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.whim {
            Whim::DiesAt(limit) if count >= limit => Err(Error::Generic { store: "whimsical", source: "dead".into() }),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ObjectStore for Whimsical {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.call()?;
        let creates = options.mode == PutMode::Create;
        if self.whim == Whim::IgnoresConditions {
            options.mode = PutMode::Overwrite;
        }
        let done = self.inner.put_opts(location, payload, options).await?;
        if creates && self.whim == Whim::LosesAnswers {
            return Err(Error::AlreadyExists { path: location.to_string(), source: "412".into() });
        }
        Ok(done)
    }

    async fn put_multipart_opts(&self, location: &ObjectPath, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.call()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.call()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<ObjectPath>>) -> BoxStream<'static, Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.call()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// One bucket and a folder to spool in, seen through stores of every whim.
struct Bench {
    bucket: Arc<InMemory>,
    spool: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { bucket: Arc::new(InMemory::new()), spool: tempfile::tempdir().unwrap() }
    }

    fn location(&self, whim: Whim) -> DatasetLocation {
        let store = Arc::new(Whimsical { inner: self.bucket.clone(), whim, calls: AtomicUsize::new(0) });
        let remote = Remote::new(store, ObjectPath::from("fleet/a"), self.spool.path().to_owned()).unwrap();
        DatasetLocation { store: Store::remote("mem://bucket/fleet/a", remote) }
    }

    fn dataset(&self, whim: Whim) -> std::result::Result<Dataset, ShardError> {
        Dataset::open_or_create_at(&self.location(whim), grid())
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.spool.path()).unwrap().count()
    }
}

fn grid() -> ClipGrid {
    ClipGrid::new(1_000_000_000)
}

/// A clip with a sweep that is larger than a part, so that both ways of uploading are taken.
fn write(dataset: &Dataset, points: usize) -> std::result::Result<SealOutcome, ShardError> {
    let key = ClipKey { vehicle: "car/7".into(), clip: ClipId(3), grid: grid(), revision: 0 };
    let mut writer = ClipWriter::create(dataset, key, &WriterConfig::default())?;
    writer.lidar(&fixtures::lidar_row(1, points))?;
    writer.camera(&fixtures::camera_row(2, 9 << 20))?;
    let sources = crate::SourceRange::from_runs("ad.lidar", 3, vec![[1, 2]]).unwrap();
    let counts = crate::ClipCounts {
        frames: 2,
        used: [("lidar".to_owned(), 1), ("camera".to_owned(), 1)].into(),
        ..crate::ClipCounts::default()
    };
    writer.seal(SealInfo { sources: vec![sources], counts, ..SealInfo::default() })
}

/// One entry, its files, nothing else, and all of it whole.
fn assert_whole(dataset: &Dataset, files: usize) {
    dataset.remove_orphans().unwrap();
    let mut found = verify(dataset, |_| {}).unwrap();
    found.settle(|_, _| OffsetFate::Lost);
    assert!(found.is_whole(), "{:?}", found.problems);
    assert_eq!((found.entries, found.files), (1, files as u64));
}

#[test]
fn what_is_sealed_is_read_back_through_the_store() {
    let bench = Bench::new();
    let dataset = bench.dataset(Whim::Sound).unwrap();
    let SealOutcome::Sealed(entry) = write(&dataset, 1000).unwrap() else { panic!("expected ours") };
    assert_eq!(dataset.vehicles().unwrap(), ["car/7"]);
    assert_eq!(dataset.entries().unwrap(), [*entry.clone()]);
    let reader = ClipReader::open(&dataset, &entry).unwrap();
    assert_eq!(reader.lidar().unwrap().next().unwrap().unwrap(), fixtures::lidar_row(1, 1000));
    assert_eq!(reader.camera().unwrap().next().unwrap().unwrap(), fixtures::camera_row(2, 9 << 20));
    assert_whole(&Dataset::open_at(&bench.location(Whim::Sound)).unwrap(), 2);
    assert_eq!(bench.spooled(), 0);
}

#[test]
fn of_two_writers_the_first_wins_and_the_second_leaves_nothing() {
    for points in [1000, 1001] {
        let bench = Bench::new();
        let dataset = bench.dataset(Whim::Sound).unwrap();
        let SealOutcome::Sealed(first) = write(&dataset, 1000).unwrap() else { panic!("expected ours") };
        let SealOutcome::AlreadySealed(second) = write(&dataset, points).unwrap() else { panic!("expected theirs") };
        assert_eq!(first, second);
        assert!(dataset.unlisted().unwrap().is_empty());
        assert_whole(&dataset, 2);
    }
}

#[test]
fn a_writer_that_dies_at_any_call_leaves_nothing_that_the_next_one_does_not_mend() {
    let mut failures = 0;
    for dies_at in 0..40 {
        let bench = Bench::new();
        bench.dataset(Whim::Sound).unwrap();
        let died = Dataset::open_at(&bench.location(Whim::DiesAt(dies_at))).and_then(|dataset| write(&dataset, 999)).is_err();
        failures += usize::from(died);
        let dataset = bench.dataset(Whim::Sound).unwrap();
        dataset.remove_orphans().unwrap();
        write(&dataset, 1000).unwrap();
        assert_whole(&dataset, 2);
        // What the dead writer had uploaded under other names is gone as well.
        assert!(dataset.unlisted().unwrap().is_empty(), "died at {dies_at}");
    }
    assert!((5..40).contains(&failures), "{failures}");
}

#[test]
fn an_entry_whose_answer_was_lost_counts_as_sealed_and_keeps_its_files() {
    let bench = Bench::new();
    bench.dataset(Whim::Sound).unwrap();
    let dataset = Dataset::open_at(&bench.location(Whim::LosesAnswers)).unwrap();
    assert!(matches!(write(&dataset, 1000).unwrap(), SealOutcome::AlreadySealed(_)));
    assert_whole(&bench.dataset(Whim::Sound).unwrap(), 2);
}

#[test]
fn a_store_without_conditional_writes_is_refused() {
    let bench = Bench::new();
    let error = bench.dataset(Whim::IgnoresConditions).unwrap_err();
    assert!(matches!(error, ShardError::Unconditional { .. }), "{error}");
}
