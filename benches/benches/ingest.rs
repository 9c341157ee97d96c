//! `cargo bench --bench ingest`: how fast `run` takes messages in with its stages switched off, beside librdkafka's plain consumer on the
//! same broker and data, in one run and by turns.
//!
//! The broker is the one named by `BOXWRIGHT_TEST_BROKERS` (`bash tests/kafka run cargo bench --bench ingest`), or else the embedded one.
//! Both sides are timed over the last two thirds of the bytes: joining a group does not count, nor that `run` waits a second
//! (`[kafka] quiet_after_ms`) for topics in which nothing is before it lets the first frame of a vehicle pass. Bytes and not messages,
//! because a plain consumer reads thousands of small poses before the sweeps of the same time. Prints a line a round and the median
//! ratio.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints, and cannot go on without its input"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use boxwright_benches::taxonomy;
use boxwright_model::SensorKind;
use boxwright_pipeline::{Config, Progress, RunJob, StopSignal, run};
use boxwright_source::broker::EmbeddedBroker;
use boxwright_source::kafka::topics::{self, TopicPlan};
use boxwright_source::kafka::{KafkaConfig, KafkaSink, KafkaSource};
use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording};
use rdkafka::consumer::{BaseConsumer, Consumer};

/// Sweeps of 120k points, some 3 MB each: far more than the order holds back (3 s of the drive), few enough for the page cache.
const SWEEPS: i64 = 900;
const ROUNDS: usize = 7;
const PERIOD_NS: i64 = 100_000_000;

fn main() {
    let embedded =
        std::env::var("BOXWRIGHT_TEST_BROKERS").err().map(|_| EmbeddedBroker::start(([127, 0, 0, 1], 0).into(), None).unwrap());
    let mut config = Config::embedded().unwrap();
    config.kafka.brokers =
        embedded.as_ref().map_or_else(|| std::env::var("BOXWRIGHT_TEST_BROKERS").unwrap(), EmbeddedBroker::address);
    config.kafka.topic_prefix = format!("ingest-{}", std::process::id());
    config.kafka.session_timeout_ms = 3000;
    topics::create(&config.kafka, &TopicPlan { partitions: 1, replication: 1, ..TopicPlan::for_config(&config.kafka) }).unwrap();
    let (messages, bytes) = produce(&config.kafka);
    println!(
        "{messages} messages, {:.0} MB, broker: {}",
        bytes as f64 / 1e6,
        if embedded.is_some() { "embedded" } else { "Apache Kafka" }
    );

    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let name = |side: &str| format!("{side}-{}-{round}", std::process::id());
        let plain = consume(&KafkaConfig { group_id: name("plain"), ..config.kafka.clone() }, bytes);
        let ours = ingest(&config, name("ours"), bytes);
        ratios.push(plain.as_secs_f64() / ours.as_secs_f64());
        let rate = |took: Duration| bytes as f64 * 2.0 / 3.0 / 1e6 / took.as_secs_f64();
        println!("round {round}: librdkafka {:.0} MB/s, run {:.0} MB/s, ratio {:.2}", rate(plain), rate(ours), ratios[round]);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2} (lowest {:.2}, highest {:.2})", ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1]);
}

/// A drive of one vehicle: at every sweep two pictures and five poses. The payloads are those of one moment of the synthetic drive
/// throughout, which is allowed because nothing decodes them here.
fn produce(config: &KafkaConfig) -> (u64, u64) {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 0.4, ..SyntheticConfig::default() }).unwrap();
    let messages: Vec<OutgoingMessage> = std::iter::from_fn(|| drive.next_message().unwrap()).collect();
    let first_of = |kind| messages.iter().find(|message| message.kind == kind).unwrap();
    let (sweep, pose) = (first_of(SensorKind::Lidar), first_of(SensorKind::Transform));
    let mut templates = vec![(sweep.clone(), 0)];
    let mut cameras: Vec<_> = messages.iter().filter(|message| message.kind == SensorKind::Camera).collect();
    cameras.sort_by_key(|message| message.sensor.clone());
    cameras.dedup_by_key(|message| message.sensor.clone());
    templates.extend(cameras.into_iter().map(|message| (message.clone(), PERIOD_NS / 2)));
    templates.extend((0..5).map(|index| (pose.clone(), index * PERIOD_NS / 5)));
    templates.sort_by_key(|(_, shift_ns)| *shift_ns);

    let mut sink = KafkaSink::connect(config).unwrap();
    let (mut count, mut bytes) = (0, 0);
    for index in 0..SWEEPS {
        for (template, shift_ns) in &templates {
            let stamp_ns = sweep.stamp_ns + index * PERIOD_NS + shift_ns;
            sink.send(&OutgoingMessage { stamp_ns, seq: count, ..template.clone() }).unwrap();
            count += 1;
            bytes += template.payload.len() as u64;
        }
    }
    sink.flush(Duration::from_secs(120)).unwrap();
    (count, bytes)
}

/// librdkafka as it is: poll, look at the payload's length, go on. What is fetched at once and ahead is its own default.
fn consume(config: &KafkaConfig, bytes: u64) -> Duration {
    let mut options = config.consumer_config().unwrap();
    options.set("fetch.max.bytes", "52428800").set("queued.max.messages.kbytes", "65536").set("fetch.queue.backoff.ms", "1000");
    let consumer: BaseConsumer = options.create().unwrap();
    let topics = config.topics();
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let (mut count, mut first) = (0, None);
    while count < bytes {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            count += message.payload_len() as u64;
            if count >= bytes / 3 {
                first.get_or_insert_with(Instant::now);
            }
        }
    }
    first.unwrap().elapsed()
}

/// `run` without a dataset: headers are read, messages ordered and accounted, clips cut.
fn ingest(config: &Config, group_id: String, bytes: u64) -> Duration {
    let mut config = config.clone();
    config.kafka.group_id = group_id;
    let mut source = KafkaSource::connect(&config.kafka).unwrap();
    let (progress, stop) = (Arc::new(Progress::default()), Arc::new(StopSignal::default()));
    let watch = {
        let (progress, stop) = (progress.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut first = None;
            loop {
                let count = progress.bytes.load(Ordering::Relaxed);
                if count >= bytes / 3 {
                    first.get_or_insert_with(Instant::now);
                }
                if count >= bytes {
                    stop.drain();
                    return first.unwrap().elapsed();
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        })
    };
    let job = RunJob { progress, stop, ..RunJob::new(Arc::new(config), taxonomy(), None) };
    run(&mut source, job).unwrap();
    watch.join().unwrap()
}
