//! KITTI raw's `tracklet_labels.xml`: one tracklet an object, one pose a frame, in the frame of the lidar.

use std::path::Path;

use boxwright_model::Cuboid;
use nalgebra::Vector3;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::times::FrameTimes;
use crate::error::{EvalError, read_text};
use crate::labels::{FrameNumbers, LabelSet, Object};

/// Deepest nesting that is followed: KITTI's has six levels.
const MAX_DEPTH: usize = 32;
/// Truncation of a pose outside the image of the left colour camera.
const OUT_OF_IMAGE: f64 = 2.0;

/// What is known of a tracklet while its poses are read.
#[derive(Default)]
struct Tracklet {
    class: String,
    size_hwl: [f64; 3],
    first_frame: f64,
    poses: f64,
}

/// What is known of a pose.
#[derive(Default)]
struct TrackletPose {
    position: [f64; 3],
    yaw: f64,
    occlusion: f64,
    truncation: f64,
}

/// Reads the file.
///
/// # Errors
/// When it cannot be read, is no XML, or a number in it is none.
pub fn read(path: &Path, times: Option<&FrameTimes>) -> Result<LabelSet, EvalError> {
    let text = read_text(path)?;
    let mut set = LabelSet::new(path, if times.is_some() { FrameNumbers::StampNs } else { FrameNumbers::Index });
    (set.has_scores, set.frames_are_complete) = (false, times.is_some());
    for stamp in times.into_iter().flat_map(FrameTimes::stamps) {
        set.frame_mut(&"".into(), stamp);
    }
    let mut reader = Reader::from_str(&text);
    reader.config_mut().trim_text(true);
    let mut names: Vec<String> = Vec::new();
    let (mut tracklet, mut pose, mut number) = (Tracklet::default(), TrackletPose::default(), 0);
    loop {
        let event = reader
            .read_event()
            .map_err(|e| EvalError::format(path, format!("byte {}: expected XML, got {e}", reader.buffer_position())))?;
        match event {
            Event::Start(start) => names.push(String::from_utf8_lossy(start.name().as_ref()).into_owned()),
            Event::Text(value) => {
                let value = value.decode().map_err(|e| EvalError::format(path, format!("expected UTF-8 text, got {e}")))?;
                keep(&names, value.trim(), &mut tracklet, &mut pose).map_err(|message| EvalError::format(path, message))?;
            }
            Event::End(_) => {
                match depth_of_item(&names) {
                    Some(2) => {
                        add(&mut set, path, times, &tracklet, &pose, number)?;
                        tracklet.poses += 1.0;
                        pose = TrackletPose::default();
                    }
                    Some(1) => {
                        tracklet = Tracklet::default();
                        number += 1;
                    }
                    _ => {}
                }
                names.pop();
            }
            Event::Eof => break,
            _ => {}
        }
        if names.len() > MAX_DEPTH {
            return Err(EvalError::format(path, format!("expected at most {MAX_DEPTH} levels of elements, got more")));
        }
    }
    if number == 0 {
        return Err(EvalError::format(
            path,
            "expected <tracklets> with at least one <item>, got none\nhint: KITTI raw's tracklet_labels.xml",
        ));
    }
    Ok(set)
}

/// How many `item` elements enclose, where the innermost element is one.
fn depth_of_item(names: &[String]) -> Option<usize> {
    let items = names.iter().filter(|name| *name == "item").count();
    names.last().filter(|name| *name == "item").map(|_| items)
}

fn keep(names: &[String], value: &str, tracklet: &mut Tracklet, pose: &mut TrackletPose) -> Result<(), String> {
    let items = names.iter().filter(|name| *name == "item").count();
    let Some(name) = names.last() else { return Ok(()) };
    let place = match (items, name.as_str()) {
        (1, "objectType") => {
            value.clone_into(&mut tracklet.class);
            return Ok(());
        }
        (1, "h") => &mut tracklet.size_hwl[0],
        (1, "w") => &mut tracklet.size_hwl[1],
        (1, "l") => &mut tracklet.size_hwl[2],
        (1, "first_frame") => &mut tracklet.first_frame,
        (2, "tx") => &mut pose.position[0],
        (2, "ty") => &mut pose.position[1],
        (2, "tz") => &mut pose.position[2],
        (2, "rz") => &mut pose.yaw,
        (2, "occlusion") => &mut pose.occlusion,
        (2, "truncation") => &mut pose.truncation,
        _ => return Ok(()),
    };
    *place = value.parse().map_err(|_| format!("<{name}>: expected a number, got {value:?}"))?;
    Ok(())
}

fn add(
    set: &mut LabelSet,
    path: &Path,
    times: Option<&FrameTimes>,
    tracklet: &Tracklet,
    pose: &TrackletPose,
    number: usize,
) -> Result<(), EvalError> {
    let frame = tracklet.first_frame + tracklet.poses;
    let [height, width, length] = tracklet.size_hwl;
    let [x, y, z] = pose.position;
    let cuboid = Cuboid::upright(Vector3::new(x, y, z + height / 2.0), Vector3::new(length, width, height), pose.yaw);
    let mut object = Object::new(&tracklet.class, cuboid);
    object.track = Some(number.to_string().into());
    object.occlusion = pose.occlusion as i32;
    object.truncation = pose.truncation;
    object.ignored = pose.truncation >= OUT_OF_IMAGE;
    if let Some(name) = object.broken_number().or((!(0.0..1e9).contains(&frame)).then_some("frame")) {
        return Err(EvalError::format(path, format!("tracklet {number}, frame {frame}: expected a finite {name}, got another")));
    }
    let key = match times {
        None => Some(frame as i64),
        // Poses outside the frames that are there have nothing to be compared with.
        Some(times) => times.stamp_of(frame as i64),
    };
    if let Some(key) = key {
        set.frame_mut(&"".into(), key).objects.push(object);
    }
    Ok(())
}
