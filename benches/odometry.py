#!/usr/bin/env python3
"""The odometry beside kiss-icp, on real drives, in one run: `python benches/odometry.py PROGRAM DATA`.

PROGRAM is the tool `egomotion` (target/release/egomotion), DATA the folder of the real drives. kiss-icp runs on one thread with the options that
it ships with. Both get the same sweeps. Three judges:

  reference   relative errors over all stretches of some lengths, as KITTI's odometry benchmark has them: translation in % and turn in
              degrees a metre. The reference is the INS (KITTI) or the poses that the drive came with (PandaSet)
  step        error of the translation from one sweep to the next, median and worst, millimetres
  standing    where people drew the standing vehicles, put into the world by the poses found: spread (root mean square, metres) of the
              centres of each, the mean over vehicles. KITTI's were drawn in each sweep by itself, without any pose; PandaSet's in the world
              by its own poses, so there it is one more distance from these

One line of JSON says all of it; CPU time in milliseconds a sweep is that of one thread.
"""
import json
import math
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
from kiss_icp.config import KISSConfig
from kiss_icp.kiss_icp import KissICP

# Name, lengths of the stretches in metres, and whether the points are as measured. KITTI's points have no times; PandaSet's are free of the
# motion already, as its maker says.
DRIVES = [("kitti_0005", (5, 10, 20, 30, 40)), ("pandaset_002", (2, 4, 6, 8))]


def sweeps_of(data, drive):
    sys.path.insert(0, data)
    import lqx

    seq = json.load(open(os.path.join(data, drive, "seq.json")))
    for frame in seq["frames"]:
        columns = lqx.read(os.path.join(data, drive, frame["lidar"]))
        points = np.zeros((len(columns["x"]), 4), "<f4")
        for at, name in enumerate("xyz"):
            points[:, at] = columns[name]
        yield frame["lidar_ts_ns"], points


def ours(program, sweeps):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "sweeps.txt"), "w") as listing:
            for number, (stamp, points) in enumerate(sweeps):
                points.tofile(os.path.join(folder, f"{number}.bin"))
                listing.write(f"{stamp} {number}.bin\n")
        said = subprocess.run([program, folder, "--deskewed"], check=True, capture_output=True, text=True).stdout
    poses, took = [], []
    for line in said.splitlines():
        words = line.split()
        if words[2] == "lost":
            sys.exit(f"a sweep of a drive without any break is lost: {line}")
        pose = np.eye(4)
        pose[:3] = np.array(words[2:14], float).reshape(3, 4)
        poses.append(pose)
        took.append(float(words[1]))
    return np.array(poses), took


def kiss_icp(sweeps):
    config = KISSConfig()
    config.data.deskew = False
    config.mapping.voxel_size = config.data.max_range / 100.0
    config.registration.max_num_threads = 1
    odometry, poses, took = KissICP(config), [], []
    for _, points in sweeps:
        frame = points[:, :3].astype(np.float64)
        started = time.process_time()
        odometry.register_frame(frame, np.zeros(0))
        took.append(1000 * (time.process_time() - started))
        poses.append(odometry.last_pose.copy())
    return np.array(poses), took


def ins(folder, seq):
    """world_from_lidar by KITTI's OXTS: Mercator, as its development kit places it."""
    radius = 6378137.0
    calibration = dict(line.split(":", 1) for line in open(os.path.join(folder, "calib_imu_to_velo.txt")) if ":" in line)
    lidar_from_imu = np.eye(4)
    lidar_from_imu[:3, :3] = np.array(calibration["R"].split(), float).reshape(3, 3)
    lidar_from_imu[:3, 3] = np.array(calibration["T"].split(), float)
    poses, scale = [], None
    for frame in seq["frames"]:
        packet = open(os.path.join(folder, "oxts/data/%010d.txt" % frame["index"])).read().split()
        lat, lon, alt, roll, pitch, yaw = map(float, packet[:6])
        scale = scale or math.cos(math.radians(lat))
        pose = np.eye(4)
        pose[:3, :3] = turn(2, yaw) @ turn(1, pitch) @ turn(0, roll)
        pose[:3, 3] = [scale * math.radians(lon) * radius, scale * radius * math.log(math.tan(math.radians(90 + lat) / 2)), alt]
        poses.append(pose @ np.linalg.inv(lidar_from_imu))
    return np.array(poses)


def turn(axis, angle):
    matrix, a, b = np.eye(3), (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


def difference(reference, found, i, j):
    return np.linalg.inv(np.linalg.inv(reference[i]) @ reference[j]) @ (np.linalg.inv(found[i]) @ found[j])


def stretches(reference, found, lengths):
    gone = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(reference[:, :3, 3], axis=0), axis=1))])
    percent, degrees = [], []
    for length in lengths:
        for i in range(len(gone)):
            j = int(np.searchsorted(gone, gone[i] + length))
            if j == len(gone):
                break
            off = difference(reference, found, i, j)
            percent.append(100 * np.linalg.norm(off[:3, 3]) / length)
            degrees.append(math.degrees(math.acos(np.clip((np.trace(off[:3, :3]) - 1) / 2, -1, 1))) / length)
    return float(np.mean(percent)), float(np.mean(degrees))


def spread(truth, seq, poses, standing_m):
    tracks = {}
    for number, frame in enumerate(seq["frames"]):
        for box in truth.get(str(frame["index"]), []):
            # Vehicles of at least 50 points are drawn on what was seen of them.
            if box["n_points"] >= 50 and box["cls"] in ("Car", "Van", "Truck", "Pickup Truck", "Medium-sized Truck"):
                tracks.setdefault(box["track_id"], []).append((number, box["center"]))
    spreads = []
    for seen in tracks.values():
        world = np.array([(poses[number] @ np.array(center + [1.0]))[:2] for number, center in seen])
        rms = float(np.sqrt(((world - world.mean(0)) ** 2).sum(1).mean()))
        if len(seen) >= 8 and rms < standing_m:
            spreads.append(rms)
    return float(np.mean(spreads)), len(spreads)


def main(program, data):
    result = {}
    for drive, lengths in DRIVES:
        seq = json.load(open(os.path.join(data, drive, "seq.json")))
        truth = json.load(open(os.path.join(data, drive, "gt/labels.json")))["frames"]
        sweeps = list(sweeps_of(data, drive))
        given = np.array([np.array(frame["world_T_lidar"]).reshape(4, 4) for frame in seq["frames"]])
        reference = ins(os.path.join(data, drive, "raw"), seq) if drive.startswith("kitti") else given
        found = {"boxwright": ours(program, sweeps), "kiss_icp": kiss_icp(sweeps), "reference": (reference, None)}
        result[drive] = {"sweeps": len(sweeps)}
        for name, (poses, took) in found.items():
            percent, degrees = stretches(reference, poses, lengths)
            steps = [1000 * np.linalg.norm(difference(reference, poses, i, i + 1)[:3, 3]) for i in range(len(poses) - 1)]
            # Standing is what moves less than a metre by its own: the same vehicles for all, for none of them is off by so much.
            standing, vehicles = spread(truth, seq, poses, 1.0)
            result[drive][name] = {
                "translation_percent": round(percent, 3),
                "turn_deg_per_m": round(degrees, 4),
                "step_mm": [round(float(np.median(steps)), 1), round(float(np.max(steps)), 1)],
                "standing_m": round(standing, 4),
                "standing_vehicles": vehicles,
            }
            if took:
                result[drive][name]["cpu_ms"] = {"p50": round(float(np.percentile(took, 50)), 1), "p99": round(float(np.percentile(took, 99)), 1)}
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
