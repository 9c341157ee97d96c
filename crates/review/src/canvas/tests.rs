//! What the page is sent can be read by Rerun's own decoder, and holds what it says.

use rerun::external::re_log_encoding::Decoder;

use super::*;
use crate::fixture;

fn read(bytes: &[u8]) -> Vec<LogMsg> {
    Decoder::<LogMsg>::decode_eager(std::io::Cursor::new(bytes.to_vec())).unwrap().map(Result::unwrap).collect()
}

fn entities(messages: &[LogMsg]) -> Vec<(String, usize)> {
    let chunk = |message: &LogMsg| match message {
        LogMsg::ArrowMsg(store, arrow) if store.is_recording() => {
            let metadata = arrow.batch.schema().metadata().clone();
            Some((metadata.get("rerun:entity_path").cloned().unwrap_or_default(), arrow.batch.num_rows()))
        }
        _ => None,
    };
    messages.iter().filter_map(chunk).collect()
}

#[test]
fn a_recording_is_whole_however_it_is_cut_and_has_no_boxes() {
    let canvas = Canvas::load(fixture::taxonomy()).unwrap();
    let mut recording = canvas.recording("car 7/85 abc");
    let mut bytes = Vec::new();
    for index in 0..3 {
        let frame = recording.frame(&fixture::frame(index, 500)).unwrap();
        assert!(!frame.is_empty(), "each frame is sent when it is drawn");
        bytes.extend(frame);
    }
    bytes.extend(recording.finish().unwrap());
    let messages = read(&bytes);
    let paths = entities(&messages);
    assert_eq!(paths.iter().filter(|(path, _)| path == "/world/ego/lidar").count(), 3);
    assert!(!paths.iter().any(|(path, _)| path.ends_with("/boxes")), "{paths:?}");
    assert!(messages.iter().any(|message| matches!(message, LogMsg::BlueprintActivationCommand(_))));
    let store = messages.iter().map(LogMsg::store_id).find(|store| store.is_recording()).unwrap();
    assert_eq!(store.recording_id().as_str(), "car 7/85 abc");
}

#[test]
fn boxes_of_all_frames_are_one_message_an_entity_under_the_name_of_their_recording() {
    let canvas = Canvas::load(fixture::taxonomy()).unwrap();
    let frames: Vec<SceneFrame> = (0..4).map(|index| fixture::frame(index, 0)).collect();
    let messages = read(&canvas.boxes("car 7/85 abc", &frames).unwrap());
    assert_eq!(messages[0].store_id().recording_id().as_str(), "car 7/85 abc");
    let mut paths = entities(&messages);
    paths.sort();
    let expected = ["/world/ego/boxes", "/world/ego/cameras/front/boxes", "/world/ego/headings", "/world/ego/labels"]
        .map(|path| (path.to_owned(), 4));
    assert_eq!(paths, expected);
}

#[test]
fn the_focus_is_one_box_or_none() {
    let canvas = Canvas::load(fixture::taxonomy()).unwrap();
    let one = read(&canvas.focus("r", &fixture::frame(0, 0)).unwrap());
    let none = read(&canvas.focus("r", &SceneFrame { boxes: Vec::new(), ..fixture::frame(0, 0) }).unwrap());
    for messages in [&one, &none] {
        assert_eq!(entities(messages), [("/world/ego/focus".to_owned(), 1)]);
    }
}
