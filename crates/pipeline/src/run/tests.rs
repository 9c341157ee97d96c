//! Partitions that fall silent, and vehicles that run far ahead in one of them, with a source that does what it is told.

use boxwright_model::{FrameHeader, SensorKind, SourcePosition, StampRef};
use boxwright_source::{Encoding, SourceError};
use bytes::Bytes;

use super::*;

const VEHICLE: &str = "car";
const LIDAR: &str = "lidar";
const POSES: &str = "poses";
/// Far more than `max_buffered_frames`.
const SWEEPS: i64 = 2000;

/// How long nothing comes.
const SILENCE: Duration = Duration::from_millis(30);

/// Topics of one partition, read in the order of the script as far as they are not held back.
struct Script {
    steps: VecDeque<Step>,
    held_back: BTreeSet<PartitionId>,
    /// Times in a row that nothing could be given although there is more.
    stuck: u32,
}

enum Step {
    Assigned,
    Revoked,
    Message(&'static str, i64),
    Rejected(&'static str),
    Quiet(&'static str),
    /// Nothing comes for a while.
    Nothing,
}

fn partition(topic: &str) -> PartitionId {
    PartitionId { topic: topic.into(), partition: 0 }
}

fn message(topic: &'static str, index: i64) -> SourceEvent {
    let (kind, sensor) = if topic == LIDAR { (SensorKind::Lidar, "top") } else { (SensorKind::Transform, "tf") };
    let header = FrameHeader {
        vehicle: VEHICLE.into(),
        sensor: sensor.into(),
        kind,
        stamp_ns: 1_700_000_000_000_000_000 + index * 100_000_000,
        stamp_ref: StampRef::default(),
        arrival_ns: None,
        seq: None,
        grade: "open".into(),
        position: SourcePosition { topic: topic.into(), partition: 0, offset: index },
    };
    let payload = Bytes::from_static(b"never decoded");
    SourceEvent::Record(Record { header, schema: "any".into(), encoding: Encoding::Protobuf, payload, trace_parent: None })
}

impl Source for Script {
    fn next_event(&mut self, timeout: Duration) -> Result<Option<SourceEvent>, SourceError> {
        let is_free = |step: &Step| match step {
            Step::Message(topic, _) => !self.held_back.contains(&partition(topic)),
            Step::Assigned | Step::Revoked | Step::Rejected(_) | Step::Quiet(_) | Step::Nothing => true,
        };
        if self.steps.is_empty() {
            return Ok(Some(SourceEvent::End));
        }
        let Some(step) = self.steps.iter().position(is_free).and_then(|index| self.steps.remove(index)) else {
            self.stuck += 1;
            assert!(self.stuck < 100, "{} steps are left, and all of them are held back: {:?}", self.steps.len(), self.held_back);
            std::thread::sleep(timeout);
            return Ok(None);
        };
        self.stuck = 0;
        Ok(Some(match step {
            Step::Assigned => SourceEvent::Assigned(vec![partition(LIDAR), partition(POSES)]),
            Step::Revoked => SourceEvent::Revoked(vec![partition(LIDAR), partition(POSES)]),
            Step::Message(topic, index) => message(topic, index),
            Step::Rejected(topic) => SourceEvent::Rejected(Rejected {
                position: SourcePosition { topic: topic.into(), partition: 0, offset: 7 },
                key: None,
                headers: Vec::new(),
                payload: None,
                reason: "schema".into(),
                message: "expected a point cloud, got nonsense".into(),
            }),
            Step::Quiet(topic) => SourceEvent::Quiet(partition(topic)),
            Step::Nothing => {
                std::thread::sleep(SILENCE);
                return Ok(None);
            }
        }))
    }

    fn commit(&mut self, _offsets: &[(PartitionId, i64)]) -> Result<(), SourceError> {
        Ok(())
    }

    fn dead_letter(&mut self, rejected: &Rejected) -> Result<(), SourceError> {
        panic!("nothing is wrong with {:?}", rejected.position)
    }

    fn hold_back(&mut self, partitions: &BTreeSet<PartitionId>) -> Result<(), SourceError> {
        self.held_back.clone_from(partitions);
        Ok(())
    }
}

fn dry_run(quiet_after_ms: u64, steps: impl Iterator<Item = Step>) -> Report {
    run_script(quiet_after_ms, 6000, None, steps)
}

fn dry_run_until_idle(session_timeout_ms: u32, stop_when_idle: Option<Duration>, steps: impl Iterator<Item = Step>) -> Report {
    run_script(100, session_timeout_ms, stop_when_idle, steps)
}

fn run_script(
    quiet_after_ms: u64,
    session_timeout_ms: u32,
    stop_when_idle: Option<Duration>,
    steps: impl Iterator<Item = Step>,
) -> Report {
    let mut config = Config::embedded().unwrap();
    (config.kafka.quiet_after_ms, config.kafka.session_timeout_ms) = (quiet_after_ms, session_timeout_ms);
    let taxonomy = Arc::new(config.load_taxonomy().unwrap());
    let job = RunJob { stop_when_idle, ..RunJob::new(Arc::new(config), taxonomy, None) };
    run(&mut Script { steps: steps.collect(), held_back: BTreeSet::new(), stuck: 0 }, job).unwrap()
}

fn sweeps() -> impl Iterator<Item = Step> {
    (0..SWEEPS).map(|index| Step::Message(LIDAR, index))
}

#[test]
fn what_was_held_back_for_a_partition_is_read_when_that_falls_silent() {
    // The sweeps run ahead and are held back for the poses, of which the last news is that no more come.
    let poses = (0..10).map(|index| Step::Message(POSES, index));
    let report = dry_run(100, [Step::Assigned].into_iter().chain(sweeps()).chain(poses).chain([Step::Quiet(POSES)]));
    assert_eq!((report.frames, report.forced_out_of_order, report.late), (SWEEPS as u64 + 10, 0, 0), "{report:?}");
}

#[test]
fn a_vehicle_does_not_wait_for_a_partition_that_was_silent_before_it_was_heard_of() {
    let report = dry_run(100, [Step::Assigned, Step::Quiet(POSES), Step::Quiet(LIDAR)].into_iter().chain(sweeps()));
    assert_eq!((report.frames, report.forced_out_of_order), (SWEEPS as u64, 0), "{report:?}");
}

#[test]
fn the_first_messages_of_a_vehicle_are_waited_for_where_it_was_silent_before() {
    // The sweeps are there first, and the poses of the same five seconds right behind them: sooner than silence is believed.
    let silent = [Step::Assigned, Step::Quiet(POSES), Step::Quiet(LIDAR)];
    let burst = [LIDAR, POSES].into_iter().flat_map(|topic| (0..50).map(move |index| Step::Message(topic, index)));
    let report = dry_run(60_000, silent.into_iter().chain(burst));
    assert_eq!((report.frames, report.late, report.forced_out_of_order), (100, 0, 0), "{report:?}");
}

#[test]
fn a_run_ends_when_idle_only_where_every_partition_is_at_its_end() {
    // The poses are at their end; of the sweeps nothing comes for long, because the broker is slow, and then all of them.
    let slow = [Step::Assigned, Step::Message(POSES, 0), Step::Quiet(POSES)].into_iter().chain((0..5).map(|_| Step::Nothing));
    let then = (0..20).map(|index| Step::Message(LIDAR, index)).chain([Step::Quiet(LIDAR)]);
    // What cannot be used is a sign that more is to come, too.
    let then = then
        .chain([Step::Rejected(POSES)])
        .chain((0..5).map(|_| Step::Nothing))
        .chain([Step::Message(POSES, 1), Step::Quiet(POSES)]);
    // Then nothing more is to come, and what comes all the same is for the next run.
    let late = (0..5).map(|_| Step::Nothing).chain([Step::Message(LIDAR, 20)]);
    let report = dry_run_until_idle(6000, Some(SILENCE * 2), slow.chain(then).chain(late));
    assert_eq!(report.frames, 22, "{report:?}");
}

#[test]
fn a_worker_that_was_taken_for_dead_may_come_back_before_its_run_ends() {
    let silence = || (0..5).map(|_| Step::Nothing);
    let read = || (0..20).map(|index| Step::Message(LIDAR, index)).chain([Step::Quiet(LIDAR), Step::Quiet(POSES)]);
    let steps =
        || [Step::Assigned].into_iter().chain(read()).chain([Step::Revoked]).chain(silence()).chain([Step::Assigned]).chain(read());
    let report = dry_run_until_idle(6000, Some(SILENCE * 2), steps());
    assert_eq!(report.frames, 40, "read again: {report:?}");
    // Not for ever: the partitions may be another worker's for good.
    let report = dry_run_until_idle(1, Some(SILENCE * 2), steps());
    assert_eq!(report.frames, 20, "{report:?}");
}
