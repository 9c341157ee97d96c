//! Development only: a folder of converted frames as a recording, and the page for recordings.
use std::sync::Arc;

use boxwright_model::frame::{CameraModel, PointCloud};
use boxwright_model::label::{Box3, LabelSource, TrackId};
use boxwright_model::scene::{SceneCamera, SceneFrame, SceneImage};
use boxwright_model::space::{Cuboid, Pose, pose_from_parts};
use boxwright_model::taxonomy::Taxonomy;
use boxwright_model::time::ClipId;
use nalgebra::Vector3;
use serde_json::Value;

fn pose(v: &Value) -> Pose {
    let n: Vec<f64> = v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    pose_from_parts([n[0], n[1], n[2]], [n[3], n[4], n[5], n[6]]).unwrap()
}
fn f(v: &Value) -> f64 {
    v.as_f64().unwrap()
}
fn frames(dir: &str, taxonomy: Arc<Taxonomy>) -> impl Iterator<Item = Result<SceneFrame, std::io::Error>> + use<> {
    let scene: Value = serde_json::from_slice(&std::fs::read(format!("{dir}/scene.json")).unwrap()).unwrap();
    let cameras: Arc<Vec<SceneCamera>> = Arc::new(
        scene["cameras"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| SceneCamera {
                sensor: Arc::from(c["name"].as_str().unwrap()),
                ego_from_sensor: pose(&c["pose"]),
                model: CameraModel {
                    fx_px: f(&c["fx"]),
                    fy_px: f(&c["fy"]),
                    cx_px: f(&c["cx"]),
                    cy_px: f(&c["cy"]),
                    distortion_model: Arc::from(""),
                    distortion: vec![],
                    width_px: c["width"].as_u64().unwrap() as u32,
                    height_px: c["height"].as_u64().unwrap() as u32,
                },
            })
            .collect(),
    );
    let list = scene["frames"].as_array().unwrap().clone();
    list.into_iter().enumerate().map(move |(index, frame)| {
        let raw = std::fs::read(frame["points"].as_str().unwrap())?;
        let mut points = PointCloud::default();
        for p in raw.chunks_exact(16) {
            let g = |i: usize| f32::from_le_bytes(p[i * 4..i * 4 + 4].try_into().unwrap());
            points.x.push(g(0));
            points.y.push(g(1));
            points.z.push(g(2));
            points.intensity.push(g(3));
        }
        let world_from_ego = pose(&frame["pose"]);
        let boxes = frame["boxes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| {
                let v = |k: &str| Vector3::new(f(&b[k][0]), f(&b[k][1]), f(&b[k][2]));
                let cuboid = Cuboid::upright(v("c"), v("s"), f(&b["yaw"]));
                Box3 {
                    sample_id: Arc::from("s"),
                    sample_stamp_ns: 0,
                    stamp_ns: 0,
                    track_id: TrackId { clip: ClipId(1), number: b["track"].as_u64().unwrap() as u32 },
                    class: taxonomy.find(b["cls"].as_str().unwrap()).unwrap(),
                    score: f(&b["score"]),
                    ego_from_box: cuboid,
                    world_from_box: cuboid.transformed(&world_from_ego),
                    velocity_world_mps: [0.0; 2],
                    num_lidar_pts: 1,
                    predicted: b["predicted"].as_bool().unwrap(),
                    source: LabelSource::Auto,
                    evidence: "{}".into(),
                }
            })
            .collect();
        let images = frame["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| SceneImage {
                sensor: Arc::from(i["sensor"].as_str().unwrap()),
                format: Arc::from("jpeg"),
                data: std::fs::read(i["path"].as_str().unwrap()).unwrap().into(),
            })
            .collect();
        Ok(SceneFrame {
            index: index as i64,
            stamp_ns: frame["stamp"].as_i64().unwrap(),
            world_from_ego: Some(world_from_ego),
            points: Arc::new(points),
            images,
            cameras: cameras.clone(),
            boxes,
        })
    })
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let taxonomy = Arc::new(Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml")).unwrap());
    match args[1].as_str() {
        "write" => {
            for dir in &args[2..] {
                let start = std::time::Instant::now();
                let name = dir.rsplit('/').next().unwrap();
                let w = boxwright_review::write_rrd(
                    format!("{dir}.rrd").as_ref(),
                    name,
                    taxonomy.clone(),
                    frames(dir, taxonomy.clone()),
                )
                .unwrap();
                println!("{dir}: {w:?} in {:?}", start.elapsed());
            }
        }
        "serve" => {
            let list = args[3..].iter().map(|p| (p.rsplit('/').next().unwrap().to_owned(), p.into())).collect();
            let server = boxwright_review::serve_recordings(list, args[2].parse().unwrap()).unwrap();
            println!("{}", server.url());
            server.wait();
        }
        "live" => {
            let config = boxwright_review::ViewConfig { web_port: args[2].parse().unwrap(), grpc_port: 0, ..Default::default() };
            let view = boxwright_review::LiveView::start(config.serve(), taxonomy.clone(), config.queue_frames).unwrap();
            println!("{}", view.url());
            for _ in 0..args[4].parse().unwrap() {
                for frame in frames(&args[3], taxonomy.clone()) {
                    view.offer(frame.unwrap());
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            }
            println!("{:?}", view.stats());
            std::thread::sleep(std::time::Duration::from_secs(200));
            println!("{:?}", view.finish(std::time::Duration::from_secs(5)));
        }
        _ => panic!(),
    }
}
