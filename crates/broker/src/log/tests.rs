//! Promises of a partition's log.

use nisshi_sans_io::record::{Record, inflated};

use super::*;

fn batch(texts: &[&str], producer_id: i64, base_sequence: i32) -> Batch {
    let builder = inflated::Batch::builder().producer_id(producer_id).base_sequence(base_sequence).max_timestamp(1000);
    let builder = builder.last_offset_delta(texts.len() as i32 - 1);
    let built = texts
        .iter()
        .enumerate()
        .fold(builder, |builder, (delta, text)| {
            builder.record(Record::builder().offset_delta(delta as i32).value(Some(Bytes::copy_from_slice(text.as_bytes()))))
        })
        .build()
        .unwrap();
    Batch::try_from(built).unwrap()
}

fn offsets(log: &PartitionLog, from: i64, max_bytes: u64) -> Vec<i64> {
    log.find(from, max_bytes).into_iter().map(|found| found.read().unwrap().base_offset).collect()
}

fn refusal(result: Result<i64, AppendError>) -> ErrorCode {
    match result {
        Err(AppendError::Refused(code)) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_go_on_by_the_messages_of_each_batch() {
    let mut log = PartitionLog::in_memory();
    assert_eq!(log.append(batch(&["a", "b", "c"], -1, -1)).unwrap(), 0);
    assert_eq!(log.append(batch(&["d"], -1, -1)).unwrap(), 3);
    assert_eq!((log.low(), log.high()), (0, 4));
    // An offset inside a batch gives the batch.
    assert_eq!(offsets(&log, 1, 1 << 20), [0, 3]);
    assert_eq!(offsets(&log, 3, 1 << 20), [3]);
    assert!(offsets(&log, 4, 1 << 20).is_empty());
}

#[test]
fn a_bound_below_one_batch_still_gives_one() {
    let mut log = PartitionLog::in_memory();
    for _ in 0..3 {
        log.append(batch(&["abc"], -1, -1)).unwrap();
    }
    assert_eq!(offsets(&log, 0, 1), [0]);
}

#[test]
fn a_repeated_batch_is_known_and_a_gap_is_refused() {
    let mut log = PartitionLog::in_memory();
    log.append(batch(&["a", "b"], 7, 0)).unwrap();
    assert_eq!(refusal(log.append(batch(&["a", "b"], 7, 0))), ErrorCode::DuplicateSequenceNumber);
    assert_eq!(refusal(log.append(batch(&["d"], 7, 3))), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(log.append(batch(&["c"], 7, 2)).unwrap(), 2);
    // Another producer has numbers of its own.
    assert_eq!(log.append(batch(&["x"], 8, 0)).unwrap(), 3);
}

#[test]
fn sequences_begin_again_behind_the_largest() {
    assert!(sequence_before(i32::MAX, 0));
    assert!(sequence_before(5, 6));
    assert!(!sequence_before(6, 6));
    assert!(!sequence_before(0, i32::MAX));
    let mut log = PartitionLog::in_memory();
    log.append(batch(&["a"], 7, i32::MAX)).unwrap();
    assert_eq!(log.append(batch(&["b"], 7, 0)).unwrap(), 1);
}

#[test]
fn what_is_no_batch_is_refused() {
    let mut log = PartitionLog::in_memory();
    let old = Batch { magic: 1, ..batch(&["a"], -1, -1) };
    assert_eq!(refusal(log.append(old)), ErrorCode::CorruptMessage);
}

#[test]
fn a_log_on_disk_is_the_same_after_it_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let sent = batch(&["hello", "world"], 7, 0);
    let mut log = PartitionLog::open(dir.path()).unwrap();
    log.append(sent.clone()).unwrap();
    log.append(batch(&["x"], 7, 2)).unwrap();
    drop(log);
    let mut log = PartitionLog::open(dir.path()).unwrap();
    assert_eq!((log.low(), log.high()), (0, 3));
    let read: Vec<_> = log.find(0, 1 << 20).into_iter().map(|found| found.read().unwrap()).collect();
    assert_eq!(read[0].record_data, sent.record_data);
    assert_eq!((read[0].crc, read[1].base_offset), (sent.crc, 2));
    // Producers are known again.
    assert_eq!(refusal(log.append(batch(&["x"], 7, 2))), ErrorCode::DuplicateSequenceNumber);
    assert_eq!(log.append(batch(&["y"], 7, 3)).unwrap(), 3);
}

#[test]
fn a_batch_that_was_cut_off_is_cut_away_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = PartitionLog::open(dir.path()).unwrap();
    log.append(batch(&["first"], -1, -1)).unwrap();
    let whole = std::fs::metadata(dir.path().join(format!("{:020}.log", 0))).unwrap().len();
    log.append(batch(&["second"], -1, -1)).unwrap();
    drop(log);
    for left in [whole + 3, whole + 62] {
        let file = File::options().write(true).open(dir.path().join(format!("{:020}.log", 0))).unwrap();
        file.set_len(left).unwrap();
        let mut log = PartitionLog::open(dir.path()).unwrap();
        assert_eq!(log.high(), 1, "cut to {left}");
        assert_eq!(log.append(batch(&["again"], -1, -1)).unwrap(), 1);
    }
    // A header that was not written any more: zeros.
    let file = File::options().write(true).open(dir.path().join(format!("{:020}.log", 0))).unwrap();
    file.set_len(whole).unwrap();
    file.set_len(whole + 500).unwrap();
    assert_eq!(PartitionLog::open(dir.path()).unwrap().high(), 1);
}

#[test]
fn times_find_the_batch_that_reaches_them() {
    let mut log = PartitionLog::in_memory();
    for time in [100, 200, 300] {
        log.append(Batch { max_timestamp: time, ..batch(&["a"], -1, -1) }).unwrap();
    }
    assert_eq!(log.at_time(150), Some((1, 200)));
    assert_eq!(log.at_time(0), Some((0, 100)));
    assert_eq!(log.at_time(301), None);
}

#[test]
fn forgotten_producers_are_those_that_were_silent_longest() {
    let mut log = PartitionLog::in_memory();
    for id in 0..=MAX_PRODUCERS as i64 {
        log.append(batch(&["a"], id, 0)).unwrap();
    }
    assert_eq!(log.producers.len(), MAX_PRODUCERS);
    assert!(!log.producers.contains_key(&0));
}
