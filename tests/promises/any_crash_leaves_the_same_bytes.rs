//! A simulated broker whose every whim follows from a seed: how partitions interleave, when they are quiet, when they are taken away and
//! given back, and when the worker dies in the middle of it. The pipeline is the real one, on real files. Whatever the seed, the dataset
//! comes out as that of an undisturbed run, and every message has one end.
//!
//! It takes thousands of message boundaries into reach that killing a process only hits by chance; the processes are killed elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boxwright_model::{SensorKind, SourcePosition};
use boxwright_pipeline::{Config, PipelineError, Report, RunJob, run};
use boxwright_shard::{Dataset, OffsetFate, verify};
use boxwright_source::record::{parse_headers, topic_name};
use boxwright_source::synthetic::{SyntheticCamera, SyntheticConfig, SyntheticDrive, SyntheticLidar};
use boxwright_source::{OutgoingMessage, PartitionId, Record, Recording, Rejected, Source, SourceError, SourceEvent};
use boxwright_tests::files_below;
use bytes::Bytes;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const PARTITIONS: i32 = 2;
const KINDS: [SensorKind; 4] = [SensorKind::Lidar, SensorKind::Camera, SensorKind::Calibration, SensorKind::Transform];

/// What outlives a worker: the messages, the offsets of the group, the dead letters.
#[derive(Default)]
struct Broker {
    logs: BTreeMap<PartitionId, Vec<Record>>,
    committed: Mutex<BTreeMap<PartitionId, i64>>,
    dead: Mutex<BTreeSet<SourcePosition>>,
}

impl Broker {
    /// Three vehicles in two partitions a topic, each with a message of every unhappy kind.
    fn new() -> Self {
        let mut broker = Self::default();
        for vehicle in 0..3_u64 {
            let camera = SyntheticCamera {
                name: "front".to_owned(),
                width_px: 64,
                height_px: 36,
                hfov_deg: 70.0,
                yaw_deg: 0.0,
                pitch_down_deg: 2.0,
                position_m: [1.7, 0.0, 1.5],
                quality: 60,
            };
            let config = SyntheticConfig {
                seed: vehicle,
                seconds: 6.0,
                vehicle: format!("car-{vehicle}"),
                pose_rate_hz: 20.0,
                lidar: SyntheticLidar { beams: 16, columns: 300, ..SyntheticLidar::default() },
                cameras: vec![camera],
                ..SyntheticConfig::default()
            };
            let mut drive = SyntheticDrive::new(config).unwrap();
            let messages = std::iter::from_fn(|| drive.next_message().unwrap()).collect();
            let partition = (vehicle % PARTITIONS as u64) as i32;
            spoil(messages).into_iter().for_each(|message| broker.produce(partition, message));
        }
        broker
    }

    fn produce(&mut self, partition: i32, message: OutgoingMessage) {
        let topic: Arc<str> = topic_name("sim", message.kind).into();
        let log = self.logs.entry(PartitionId { topic: topic.clone(), partition }).or_default();
        let position = SourcePosition { topic, partition, offset: log.len() as i64 };
        let headers = message.headers();
        let by_name = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let (header, schema, encoding) = parse_headers(position, Some(message.vehicle.as_bytes()), &by_name).unwrap();
        log.push(Record { header, schema, encoding, payload: message.payload, trace_parent: None });
    }

    fn committed(&self, partition: &PartitionId) -> i64 {
        self.committed.lock().unwrap().get(partition).copied().unwrap_or(0)
    }
}

/// A drive with a frame that is late, one that comes twice, one whose clock is a day ahead and one that nobody can decode.
fn spoil(mut messages: Vec<OutgoingMessage>) -> Vec<OutgoingMessage> {
    let sweeps: Vec<usize> = (0..messages.len()).filter(|index| messages[*index].kind == SensorKind::Lidar).collect();
    let of = |index: usize| sweeps[index];
    let broken = OutgoingMessage { payload: Bytes::from_static(b"\xff\xff\xff"), ..messages[of(12)].clone() };
    let copy = messages[of(20)].clone();
    let ahead = OutgoingMessage { stamp_ns: copy.stamp_ns + 86_400_000_000_000, ..copy.clone() };
    let late = messages[of(25)].clone();
    messages[of(12)] = broken;
    // From the back, so that the places before stay what they are.
    messages.insert(of(45) + 1, late);
    messages.remove(of(25));
    messages.insert(of(20) + 1, ahead);
    messages.insert(of(20) + 1, copy);
    messages
}

/// One worker's connection.
struct Connection {
    broker: Arc<Broker>,
    rng: ChaCha8Rng,
    next: BTreeMap<PartitionId, i64>,
    quiet: BTreeSet<PartitionId>,
    held_back: BTreeSet<PartitionId>,
    events: VecDeque<SourceEvent>,
    /// Given back as soon as the pipeline has let go of them.
    revoked: Vec<PartitionId>,
    /// The worker dies when so many events have come.
    dies_after: Option<u64>,
    whims: bool,
}

impl Connection {
    fn new(broker: &Arc<Broker>, seed: u64, dies_after: Option<u64>, whims: bool) -> Self {
        let all: Vec<PartitionId> = KINDS
            .iter()
            .flat_map(|kind| (0..PARTITIONS).map(|partition| PartitionId { topic: topic_name("sim", *kind).into(), partition }))
            .collect();
        let next = all.iter().map(|partition| (partition.clone(), broker.committed(partition))).collect();
        Self {
            broker: broker.clone(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            next,
            quiet: BTreeSet::new(),
            held_back: BTreeSet::new(),
            events: VecDeque::from([SourceEvent::Assigned(all)]),
            revoked: Vec::new(),
            dies_after,
            whims,
        }
    }

    fn has_more(&self, partition: &PartitionId) -> bool {
        self.next[partition] < self.broker.logs.get(partition).map_or(0, Vec::len) as i64
    }

    fn is_owned(&self, partition: &PartitionId) -> bool {
        !self.revoked.contains(partition)
    }

    /// All topics' partitions of one number go, as a `range` assignor takes them.
    fn revoke(&mut self) -> SourceEvent {
        let number = self.rng.random_range(0..PARTITIONS);
        self.revoked = self.next.keys().filter(|partition| partition.partition == number).cloned().collect();
        SourceEvent::Revoked(self.revoked.clone())
    }

    fn draw(&mut self) -> Option<SourceEvent> {
        if self.whims && self.revoked.is_empty() && self.rng.random_ratio(1, 300) {
            return Some(self.revoke());
        }
        let readable = self.next.keys().filter(|p| self.is_owned(p) && self.has_more(p) && !self.held_back.contains(p));
        let readable: Vec<_> = readable.cloned().collect();
        let at_end = self.next.keys().filter(|p| self.is_owned(p) && !self.has_more(p) && !self.quiet.contains(p));
        let at_end: Vec<_> = at_end.cloned().collect();
        if readable.is_empty() && at_end.is_empty() {
            return self.revoked.is_empty().then_some(SourceEvent::End);
        }
        let pick = self.rng.random_range(0..readable.len() + usize::from(!at_end.is_empty()));
        let Some(partition) = readable.get(pick) else {
            let partition = at_end[self.rng.random_range(0..at_end.len())].clone();
            self.quiet.insert(partition.clone());
            return Some(SourceEvent::Quiet(partition));
        };
        let offset = self.next[partition];
        self.next.insert(partition.clone(), offset + 1);
        Some(SourceEvent::Record(self.broker.logs[partition][offset as usize].clone()))
    }
}

impl Source for Connection {
    fn next_event(&mut self, _timeout: Duration) -> Result<Option<SourceEvent>, SourceError> {
        if let Some(left) = &mut self.dies_after {
            *left = left.checked_sub(1).ok_or(SourceError::Kafka { action: "living".to_owned(), message: "killed".to_owned() })?;
        }
        let event = self.events.pop_front();
        Ok(event.or_else(|| self.draw()))
    }

    fn commit(&mut self, offsets: &[(PartitionId, i64)]) -> Result<(), SourceError> {
        let mut committed = self.broker.committed.lock().unwrap();
        for (partition, offset) in offsets {
            let before = committed.insert(partition.clone(), *offset).unwrap_or(0);
            assert!(before <= *offset, "{partition}: committed {before}, then {offset}");
        }
        Ok(())
    }

    fn dead_letter(&mut self, rejected: &Rejected) -> Result<(), SourceError> {
        self.broker.dead.lock().unwrap().insert(rejected.position.clone());
        Ok(())
    }

    fn revocation_done(&mut self) {
        // Nobody else was there: they come back, from what is committed.
        let back = std::mem::take(&mut self.revoked);
        for partition in &back {
            self.next.insert(partition.clone(), self.broker.committed(partition));
            self.quiet.remove(partition);
        }
        self.events.push_back(SourceEvent::Assigned(back));
    }

    fn hold_back(&mut self, partitions: &BTreeSet<PartitionId>) -> Result<(), SourceError> {
        self.held_back.clone_from(partitions);
        Ok(())
    }
}

fn config() -> Config {
    let mut config = Config::embedded().unwrap();
    config.clip.length_s = 1;
    config.run.lanes = 2;
    config
}

fn live(broker: &Arc<Broker>, dataset: &Path, seed: u64, dies_after: Option<u64>, whims: bool) -> Result<Report, PipelineError> {
    let config = Arc::new(config());
    let dataset = Dataset::open_or_create(dataset, config.grid()).unwrap();
    dataset.remove_orphans().unwrap();
    let job = RunJob {
        taxonomy: Arc::new(config.load_taxonomy().unwrap()),
        config,
        dataset: Some(dataset),
        view: None,
        progress: Arc::default(),
        metrics: Arc::default(),
        stop: Arc::default(),
        stop_when_idle: None,
        more_to_come: Arc::default(),
    };
    run(&mut Connection::new(broker, seed, dies_after, whims), job)
}

/// Everything but the temporary files of workers whose threads are still letting go.
fn contents(dataset: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = files_below(dataset);
    files.retain(|path, _| path.extension().is_none_or(|extension| extension != "tmp"));
    files
}

fn assert_whole(broker: &Broker, dataset: &Path) {
    let mut found = verify::verify(&Dataset::open(dataset).unwrap(), |_| {}).unwrap();
    found.settle(|_, _| OffsetFate::Lost);
    assert!(found.is_whole(), "{:?}", found.problems);
    let produced: usize = broker.logs.values().map(Vec::len).sum();
    assert_eq!(found.messages, produced as u64);
    assert_eq!((found.ends["late"], found.ends["duplicate"], found.ends["dead_lettered"]), (6, 3, 3), "{:?}", found.ends);
}

#[test]
fn whatever_the_seed_the_dataset_is_that_of_an_undisturbed_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::new();
    let whole = folder.path().join("whole");
    let undisturbed = Arc::new(broker);
    let report = live(&undisturbed, &whole, 0, None, false).unwrap();
    assert_eq!((report.late, report.forced_out_of_order, report.dead_lettered), (6, 0, 3));
    assert_eq!(report.late_by_reason["stamp_ahead"], 3, "{report:?}");
    assert_whole(&undisturbed, &whole);
    let expected = contents(&whole);
    let messages: u64 = undisturbed.logs.values().map(|log| log.len() as u64).sum();
    broker = Broker { logs: undisturbed.logs.clone(), ..Broker::default() };

    let mut deaths = 0;
    for seed in 1..=12_u64 {
        let broker = Arc::new(Broker { logs: broker.logs.clone(), ..Broker::default() });
        let dataset = folder.path().join(format!("seed-{seed}"));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for life in 0..40 {
            // The last lives are long enough to reach the end, whatever is read again.
            let dies_after = if life < 6 { Some(rng.random_range(1..messages)) } else { None };
            match live(&broker, &dataset, seed * 1000 + life, dies_after, true) {
                Ok(_) => break,
                Err(PipelineError::Source(_)) => deaths += 1,
                Err(error) => panic!("seed {seed}, life {life}: {error}"),
            }
        }
        assert_whole(&broker, &dataset);
        let got = contents(&dataset);
        assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "seed {seed}");
        let differing: Vec<_> = expected.iter().filter(|(path, bytes)| got[*path] != **bytes).map(|(path, _)| path).collect();
        assert!(differing.is_empty(), "seed {seed}: {differing:?}");
        assert_eq!(broker.dead.lock().unwrap().len(), 3, "seed {seed}");
    }
    assert!(deaths > 20, "only {deaths} deaths");
}
