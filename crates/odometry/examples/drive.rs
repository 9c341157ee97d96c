//! dev
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "dev")]
use boxwright_model::PointCloud;
use boxwright_odometry::{Odometry, OdometryConfig};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = std::path::Path::new(&args[1]);
    let deskewed = args.iter().any(|a| a == "--deskewed");
    let mut odometry = Odometry::new(&OdometryConfig::default());
    let mut ms = Vec::new();
    for line in std::fs::read_to_string(dir.join("sweeps.txt")).unwrap().lines() {
        let (stamp, file) = line.split_once(' ').unwrap();
        let stamp_ns: i64 = stamp.parse().unwrap();
        let bytes = std::fs::read(dir.join(file)).unwrap();
        let f: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let col = |k: usize| f.iter().skip(k).step_by(4).copied().collect::<Vec<f32>>();
        let points = PointCloud {
            x: col(0),
            y: col(1),
            z: col(2),
            time_offset_ns: Some(col(3).iter().map(|s| (s * 1e9) as i32).collect()),
            ..PointCloud::default()
        };
        let t = std::time::Instant::now();
        let out = odometry.sweep(stamp_ns, &points, deskewed);
        ms.push(t.elapsed().as_secs_f64() * 1e3);
        match out {
            Ok(p) => {
                let m = p.to_homogeneous();
                println!(
                    "{stamp_ns} {:.3} {}",
                    ms.last().unwrap(),
                    (0..12).map(|i| m[(i / 4, i % 4)].to_string()).collect::<Vec<_>>().join(" ")
                )
            }
            Err(e) => println!("{stamp_ns} {:.3} lost {}", ms.last().unwrap(), e.describe()),
        }
    }
}
