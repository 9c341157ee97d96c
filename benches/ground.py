#!/usr/bin/env python3
"""The ground stage beside Patchwork++, on real drives, in one run: `python benches/ground.py PROGRAM DATA`.

PROGRAM is the tool `groundflags` (target/release/groundflags), DATA the folder of the real drives. Needs numpy and pypatchworkpp 1.4.1, in an environment
of their own (`pip install numpy pypatchworkpp==1.4.1`). Both get the same sweeps, moved so that the lidar is at the origin; Patchwork++ has the
options that it ships with and the true height of the lidar; ours is not told the height. Points from 2.7 to 75 m are judged. Ours finds the height of the
ground, and how far above it a point is ground depends on what is asked:

  boxwright      0.125 m, the distance that Patchwork++ allows (`th_dist`)
  no_shape       0.22 m, `[label.ground] band_m`: what is lower is no part of a shape, because what lies flat would join what stands

PandaSet, every point has a class. Ground is Ground, Road, the three kinds of road markings, Sidewalk and Driveway; points without a class, smoke,
exhaust, spray and reflections are not scored. Vegetation by two protocols:

  vegetation_not_scored      that of Patchwork++
  low_vegetation_is_ground   that of Patchwork: vegetation lower than 1.30 m below a lidar at 1.723 m is ground, that is lower than 0.423 m above
                             the road; other vegetation is not

  lost                       share in % of the points of vehicles, riders (with their bicycles and motorcycles) and persons that are called ground
  lost_above                 the same of points in the boxes that people drew, more than 0.25 m above their floors

KITTI has no classes of points: `lost_above` alone. The last line of the output is JSON and says all of it (Patchwork++ prints a greeting before). CPU time
in milliseconds a sweep, with the cut by range, is that of one thread.
"""
import json
import lzma
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import pypatchworkpp

# Where the lidar sits in the frame of the points, and its height above the road. PandaSet: x is where the azimuths of the points turn evenly over
# their times, z that of the front camera beside it, and the road is where the classes say, within 10 m, in the middle of all sweeps.
DRIVES = {"kitti_0005": ([0.0, 0.0, 0.0], 1.73), "pandaset_002": ([0.8, 0.0, 1.84], None)}
GROUND, NOT_SCORED, VEGETATION = range(6, 13), range(0, 5), 5
CLASSES = {"vehicle": [13, 14, 15, 16, 17, 19, 20, 22, 23, 27, 28, 29], "rider": [18, 21, 24, 25, 26], "person": [30, 31]}
NEAR_M, FAR_M, ABOVE_M, LOW_VEGETATION_M = 2.7, 75.0, 0.25, 1.723 - 1.30


class Sweep:
    """Points with the lidar at the origin (float32: x, y, z, intensity), classes of the points or None, boxes that people drew."""

    def __init__(self, folder, frame, boxes, lidar):
        columns = lqx.read(os.path.join(folder, frame["lidar"]))
        self.points = np.zeros((len(columns["x"]), 4), "<f4")
        for at, name in enumerate("xyzi"):
            self.points[:, at] = columns[name]
        self.points[:, :3] -= np.array(lidar, "<f4")
        classes = os.path.join(folder, "gt/semseg/%06d.u8.xz" % frame["index"])
        self.classes = np.frombuffer(lzma.open(classes).read(), "u1") if os.path.exists(classes) else None
        self.boxes = [dict(box, center=np.array(box["center"]) - lidar) for box in boxes]
        reach = np.linalg.norm(self.points[:, :3].astype(float), axis=1)
        self.judged = (np.hypot(self.points[:, 0], self.points[:, 1]) >= NEAR_M) & (reach <= FAR_M)

    def above_floors(self):
        """Class of the box that a point is in, more than ABOVE_M above its floor, a mask a class."""
        found = {}
        for box in self.boxes:
            away = self.points[:, :3] - box["center"]
            near = np.flatnonzero(np.hypot(away[:, 0], away[:, 1]) < max(box["size_lwh"]))
            cos, sin = np.cos(box["yaw"]), np.sin(box["yaw"])
            x, y, z = away[near].T
            length, width, height = box["size_lwh"]
            inside = (abs(x * cos + y * sin) < length / 2) & (abs(y * cos - x * sin) < width / 2) & (z < height / 2) & (z > ABOVE_M - height / 2)
            found.setdefault(box["cls"], np.zeros(len(self.points), bool))[near[inside]] = True
        return found


def ours(program, sweeps, band):
    with tempfile.TemporaryDirectory() as folder:
        for number, sweep in enumerate(sweeps):
            sweep.points.tofile(os.path.join(folder, f"{number:06}.bin"))
        said = subprocess.run([program, folder, str(band)], check=True, capture_output=True, text=True).stdout
        flags = [np.fromfile(os.path.join(folder, f"{number:06}.ground"), "u1") == 1 for number in range(len(sweeps))]
    return flags, [float(line.split()[1]) for line in said.splitlines()]


def patchwork(sweeps, height):
    options = pypatchworkpp.Parameters()
    options.sensor_height = height
    method, flags, took = pypatchworkpp.patchworkpp(options), [], []
    for sweep in sweeps:
        started = time.process_time()
        method.estimateGround(sweep.points)
        took.append(1000 * (time.process_time() - started))
        flag = np.zeros(len(sweep.points), bool)
        flag[method.getGroundIndices()] = True
        flags.append(flag)
    return flags, took


def scores(sweeps, flags, road_z, low_vegetation_is_ground):
    right = wrong = missed = 0
    for sweep, flag in zip(sweeps, flags):
        plant = sweep.classes == VEGETATION
        scored = sweep.judged & ~np.isin(sweep.classes, NOT_SCORED)
        truth = np.isin(sweep.classes, GROUND)
        if low_vegetation_is_ground:
            truth = truth | (plant & (sweep.points[:, 2] < road_z + LOW_VEGETATION_M))
        else:
            scored = scored & ~plant
        right += int((truth & flag & scored).sum())
        wrong += int((~truth & flag & scored).sum())
        missed += int((truth & ~flag & scored).sum())
    precision, recall = right / (right + wrong), right / (right + missed)
    return {"precision": percent(precision), "recall": percent(recall), "f1": percent(2 * precision * recall / (precision + recall))}


def share(masks, flags):
    points = sum(int(mask.sum()) for mask in masks)
    lost = sum(int((mask & flag).sum()) for mask, flag in zip(masks, flags))
    return {"points": points, "lost_percent": round(100 * lost / max(points, 1), 3)}


def percent(value):
    return round(100 * value, 2)


def main(program, data):
    result = {}
    for drive, (lidar, height) in DRIVES.items():
        folder = os.path.join(data, drive)
        seq = json.load(open(os.path.join(folder, "seq.json")))
        boxes = json.load(open(os.path.join(folder, "gt/labels.json")))["frames"]
        sweeps = [Sweep(folder, frame, boxes.get(str(frame["index"]), []), lidar) for frame in seq["frames"]]
        above = [sweep.above_floors() for sweep in sweeps]
        if height is None:
            roads = [s.points[(s.classes == 7) & (np.hypot(s.points[:, 0], s.points[:, 1]) < 10), 2] for s in sweeps]
            height = float(-np.median(np.concatenate(roads)))
        result[drive] = {"sweeps": len(sweeps), "lidar_height_m": round(height, 3)}
        methods = {
            "boxwright": ours(program, sweeps, 0.125),
            "no_shape": ours(program, sweeps, 0.22),
            "patchwork_pp": patchwork(sweeps, height),
        }
        for name, (flags, took) in methods.items():
            found = result[drive][name] = {}
            none = np.zeros(0, bool)
            if sweeps[0].classes is not None:
                found["vegetation_not_scored"] = scores(sweeps, flags, -height, False)
                found["low_vegetation_is_ground"] = scores(sweeps, flags, -height, True)
                found["lost"] = {kind: share([np.isin(s.classes, ids) & s.judged for s in sweeps], flags) for kind, ids in CLASSES.items()}
            kinds = sorted({kind for masks in above for kind in masks})
            found["lost_above"] = {
                kind: share([masks.get(kind, none) & s.judged if kind in masks else none for masks, s in zip(above, sweeps)],
                            [flag if kind in masks else none for masks, flag in zip(above, flags)])
                for kind in kinds
            }
            found["cpu_ms"] = {"p50": round(float(np.percentile(took, 50)), 1), "p99": round(float(np.percentile(took, 99)), 1)}
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.path.insert(0, sys.argv[2])
    import lqx

    main(sys.argv[1], sys.argv[2])
