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
    /// The first creation is carried out and not answered.
    TimesOut,
    /// The first creation meets another that comes to nothing, and is refused without being done.
    Conflicts,
}

#[derive(Debug)]
struct Whimsical {
    inner: Arc<InMemory>,
    whim: Whim,
    calls: AtomicUsize,
    creates: AtomicUsize,
    bytes_read: AtomicUsize,
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
        let is_first = creates && self.creates.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first && self.whim == Whim::Conflicts {
            return Err(Error::AlreadyExists { path: location.to_string(), source: "409".into() });
        }
        let done = self.inner.put_opts(location, payload, options).await?;
        if is_first && self.whim == Whim::TimesOut {
            return Err(Error::Generic { store: "whimsical", source: "timed out".into() });
        }
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
        let head = options.head;
        let found = self.inner.get_opts(location, options).await?;
        if !head {
            self.bytes_read.fetch_add((found.range.end - found.range.start) as usize, Ordering::SeqCst);
        }
        Ok(found)
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
        self.location_with_store(whim).0
    }

    fn location_with_store(&self, whim: Whim) -> (DatasetLocation, Arc<Whimsical>) {
        let [calls, creates, bytes_read] = [0, 0, 0].map(AtomicUsize::new);
        let store = Arc::new(Whimsical { inner: self.bucket.clone(), whim, calls, creates, bytes_read });
        let remote = Remote::new(store.clone(), ObjectPath::from("fleet/a"), self.spool.path().to_owned()).unwrap();
        (DatasetLocation { store: Store::remote("mem://bucket/fleet/a", remote) }, store)
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

#[test]
fn an_entry_that_timed_out_is_looked_for_and_one_that_met_another_is_tried_again() {
    for (whim, ours) in [(Whim::TimesOut, false), (Whim::Conflicts, true)] {
        let bench = Bench::new();
        bench.dataset(Whim::Sound).unwrap();
        let dataset = Dataset::open_at(&bench.location(whim)).unwrap();
        let outcome = write(&dataset, 1000).unwrap();
        assert_eq!(matches!(outcome, SealOutcome::Sealed(_)), ours, "{whim:?}: {outcome:?}");
        assert_whole(&bench.dataset(Whim::Sound).unwrap(), 2);
    }
}

/// A shard larger than what a reader keeps of it.
fn long_clip(dataset: &Dataset) -> Vec<crate::CameraRow> {
    let rows: Vec<_> = (0..60).map(|seed| fixtures::camera_row(seed, 500_000)).collect();
    let mut writer = fixtures::writer(dataset, 3);
    rows.iter().for_each(|row| writer.camera(row).unwrap());
    for seed in 0..20 {
        writer.lidar(&fixtures::lidar_row(seed, 40_000)).unwrap();
    }
    writer.seal(SealInfo::default()).unwrap();
    rows
}

#[test]
fn a_large_shard_is_read_in_place_in_few_requests() {
    let bench = Bench::new();
    let written = Dataset::open_or_create_at(&bench.location(Whim::Sound), fixtures::grid()).unwrap();
    let images = long_clip(&written);
    let (location, store) = bench.location_with_store(Whim::Sound);
    let dataset = Dataset::open_at(&location).unwrap();
    let entry = dataset.entries().unwrap().remove(0);
    let reader = ClipReader::open(&dataset, &entry).unwrap();
    store.calls.store(0, Ordering::SeqCst);
    store.bytes_read.store(0, Ordering::SeqCst);
    assert!(reader.camera().unwrap().map(std::result::Result::unwrap).eq(images), "images differ");
    assert_eq!(reader.lidar().unwrap().map(std::result::Result::unwrap).count(), 20);
    let (calls, read, bytes) = (store.calls.load(Ordering::SeqCst), store.bytes_read.load(Ordering::SeqCst) as u64, entry.bytes());
    assert!(bytes > 30 << 20, "{bytes}");
    assert!(read < bytes * 3 / 2, "{read} of {bytes} bytes were read");
    assert!((calls as u64) < bytes >> 19, "{calls} requests for {bytes} bytes");
}

#[test]
fn a_store_that_goes_away_while_a_shard_is_read_is_not_taken_for_a_damaged_file() {
    let bench = Bench::new();
    long_clip(&Dataset::open_or_create_at(&bench.location(Whim::Sound), fixtures::grid()).unwrap());
    let mut failures = 0;
    for dies_at in 0..30 {
        let read = || {
            let dataset = Dataset::open_at(&bench.location(Whim::DiesAt(dies_at)))?;
            let entry = dataset.entries()?.remove(0);
            ClipReader::open(&dataset, &entry)?.camera()?.collect::<std::result::Result<Vec<_>, ShardError>>()
        };
        if let Err(error) = read() {
            failures += 1;
            assert!(matches!(error, ShardError::Store { .. }), "died at {dies_at}: {error}");
        }
    }
    assert!(failures > 10, "{failures}");
}
