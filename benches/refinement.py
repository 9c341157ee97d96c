#!/usr/bin/env python3
"""What `boxwright track --refine` does to the boxes of a learned detector, on real drives: `python benches/refinement.py PROGRAM DATA`.

PROGRAM is `boxwright`, DATA the folder of the real drives; needs numpy. PointRCNN's boxes of ten KITTI tracking sequences are tracked twice, without lidar
points and without poses, once as they come and once refined: the same tracks and frames. Boxes as tracked are matched to people's (Car or
Pedestrian) in each frame, the best 3D overlap first and none below 0.25, and stay matched; tracks of at least five frames count.

The constants of the refinement were chosen on the sequences of `tuned_on`; those of `held_out` were not looked at for it. One line of JSON has for both,
before and after: mean 3D overlap (IoU), and the shares in % of boxes above 0.7 and 0.8 (cars) or 0.5 and 0.6 (pedestrians); and of all boxes
the shares in % whose overlap fell at all (by more than the digits of the text, 0.0001), fell by more than 0.05, and rose by more than 0.05.
"""
import json
import os
import subprocess
import sys
import tarfile
import tempfile

import numpy as np

TUNED_ON = ["0000", "0003", "0005", "0009", "0017"]
HELD_OUT = ["0002", "0004", "0007", "0011", "0020"]
CLASSES = {"Car": (0.7, 0.8), "Pedestrian": (0.5, 0.6)}
MATCHED, LEAST_FRAMES, MUCH = 0.25, 5, 0.05


def boxes_of(file, kind):
    """(frame, track) of every box of a class in KITTI's text, and x, y, z, length, width, height, yaw with x forward and z up."""
    found = {}
    for line in open(file):
        words = line.split()
        if words[2] == kind:
            h, w, l, x, y, z, ry = map(float, words[10:17])
            found[int(words[0]), int(words[1])] = (z, -x, h / 2 - y, l, w, h, -ry - np.pi / 2)
    return found


def corners(box):
    cos, sin = np.cos(box[6]), np.sin(box[6])
    return [(box[0] + u * cos - v * sin, box[1] + u * sin + v * cos)
            for u, v in ((box[3] / 2, box[4] / 2), (-box[3] / 2, box[4] / 2), (-box[3] / 2, -box[4] / 2), (box[3] / 2, -box[4] / 2))]


def common_area(a, b):
    """Area that two rectangles share: the one, cut by the sides of the other (Sutherland and Hodgman, 1974)."""
    left, cutter = corners(a), corners(b)
    for (x0, y0), (x1, y1) in zip(cutter, cutter[1:] + cutter[:1]):
        side = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for x, y in left]
        cut = []
        for at, ((px, py), here) in enumerate(zip(left, side)):
            (qx, qy), there = left[(at + 1) % len(left)], side[(at + 1) % len(left)]
            if here >= 0:
                cut.append((px, py))
            if (here >= 0) != (there >= 0):
                share = here / (here - there)
                cut.append((px + share * (qx - px), py + share * (qy - py)))
        left = cut
        if not left:
            return 0.0
    return abs(sum(px * qy - qx * py for (px, py), (qx, qy) in zip(left, left[1:] + left[:1]))) / 2


def overlap(a, b):
    if np.hypot(a[0] - b[0], a[1] - b[1]) > a[3] + b[3]:
        return 0.0
    height = min(a[2] + a[5] / 2, b[2] + b[5] / 2) - max(a[2] - a[5] / 2, b[2] - b[5] / 2)
    if height <= 0:
        return 0.0
    common = common_area(a, b) * height
    return common / (a[3] * a[4] * a[5] + b[3] * b[4] * b[5] - common)


def pairs(labels, truth):
    """Keys of labels and truth that belong together, and how far they overlap."""
    frames = {}
    for key in truth:
        frames.setdefault(key[0], []).append(key)
    every = [(overlap(labels[key], truth[other]), key, other) for key in labels for other in frames.get(key[0], [])]
    taken = set()
    for value, key, other in sorted(every, reverse=True):
        if value >= MATCHED and not {("label", key), ("truth", other)} & taken:
            taken |= {("label", key), ("truth", other)}
            yield key, other, value


def overlaps(data, results, sequence, kind):
    before, after = (boxes_of(os.path.join(results, name, f"{sequence}.txt"), kind) for name in ("tracked", "refined"))
    assert before.keys() == after.keys(), f"{sequence}: refinement changed which boxes there are"
    frames = {}
    for _, track in before:
        frames[track] = frames.get(track, 0) + 1
    truth = boxes_of(os.path.join(data, "label_02", f"{sequence}.txt"), kind)
    return [(value, overlap(after[key], truth[other])) for key, other, value in pairs(before, truth) if frames[key[1]] >= LEAST_FRAMES]


def summary(found, limits):
    before, after = np.array(found).reshape(-1, 2).T
    percent = lambda which: round(100 * float(np.mean(which)), 2)
    side = lambda values: {"mean": round(float(values.mean()), 4), **{f"above_{limit}": percent(values > limit) for limit in limits}}
    return {"boxes": len(before), "before": side(before), "after": side(after), "worse": percent(after < before - 1e-4),
            "much_worse": percent(after < before - MUCH), "much_better": percent(after > before + MUCH)}


def main(program, data):
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(os.path.join(data, "kitti_tracking/kitti_tracking_dev.tar.xz")) as archive:
            archive.extractall(folder, filter="data")
        for name, more in (("tracked", []), ("refined", ["--refine"])):
            subprocess.run([program, "track", "--detections", os.path.join(folder, "detections_pointrcnn"), "--out", os.path.join(folder, name), *more],
                           check=True, capture_output=True)
        result = {}
        for kind, limits in CLASSES.items():
            found = {sequence: overlaps(folder, folder, sequence, kind) for sequence in TUNED_ON + HELD_OUT}
            for name, sequences in (("tuned_on", TUNED_ON), ("held_out", HELD_OUT), ("all", TUNED_ON + HELD_OUT)):
                result.setdefault(kind, {})[name] = summary([one for sequence in sequences for one in found[sequence]], limits)
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
