//! Files that are written can be read back by Rerun's own decoder.

use std::io::BufReader;

use rerun::external::re_log_encoding::Decoder;

use super::*;
use crate::fixture;

type Frames = Vec<Result<SceneFrame, std::io::Error>>;

fn read(path: &Path) -> Vec<LogMsg> {
    let file = BufReader::new(File::open(path).unwrap());
    Decoder::<LogMsg>::decode_eager(file).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_recording_reads_back_with_its_layout_first_and_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.rrd");
    let frames: Frames = (0..5).map(|index| Ok(fixture::frame(index, 2000))).collect();
    let written = write_rrd(&path, "vehicle/17", fixture::taxonomy(), frames).unwrap();
    assert_eq!(written.frames, 5);
    assert_eq!(written.bytes, std::fs::metadata(&path).unwrap().len());

    let messages = read(&path);
    let activated = messages.iter().position(|message| matches!(message, LogMsg::BlueprintActivationCommand(_))).unwrap();
    let lidar = |message: &&LogMsg| matches!(message, LogMsg::ArrowMsg(store, arrow) if store.is_recording() && arrow.batch.schema().metadata().values().any(|value| value == "/world/ego/lidar"));
    assert_eq!(messages.iter().filter(lidar).count(), 5);
    assert!(messages.iter().position(|message| lidar(&message)).unwrap() > activated);
    assert_eq!(messages.iter().filter(|message| matches!(message, LogMsg::BlueprintActivationCommand(_))).count(), 1);
    let store = messages.iter().map(LogMsg::store_id).find(|store| store.is_recording()).unwrap();
    assert_eq!(store.recording_id().as_str(), "vehicle/17");
}

#[test]
fn the_last_frame_is_known_from_the_index_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.rrd");
    let frames: Frames = (3..8).map(|index| Ok(fixture::frame(index, 10))).collect();
    write_rrd(&path, "clip", fixture::taxonomy(), frames).unwrap();
    assert_eq!(last_frame(&path), Some(7));
    let whole = std::fs::read(&path).unwrap();
    for broken in
        [&whole[..whole.len() - 9], &whole[..whole.len() / 2], &whole[..3], b"not a recording, but long enough to be one", b""]
    {
        std::fs::write(&path, broken).unwrap();
        assert_eq!(last_frame(&path), None);
    }
}

#[test]
fn an_error_of_the_frames_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.rrd");
    let frames: Frames = vec![Ok(fixture::frame(0, 100)), Err(std::io::Error::other("shard is cut"))];
    let error = write_rrd(&path, "clip", fixture::taxonomy(), frames).unwrap_err();
    assert!(error.to_string().contains("shard is cut"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn no_frame_at_all_is_an_empty_recording_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.rrd");
    assert_eq!(write_rrd(&path, "empty", fixture::taxonomy(), Frames::new()).unwrap().frames, 0);
    assert!(!read(&path).is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let path = Path::new("no-such-folder/clip.rrd");
    let error = write_rrd(path, "clip", fixture::taxonomy(), Frames::new()).unwrap_err();
    assert!(error.to_string().starts_with("cannot create no-such-folder/clip.rrd"), "{error}");
}
