"""Random tracking cases: HOTA, CLEAR and identity of `boxwright eval` beside TrackEval, to 1e-6.

    python check_tracking.py BOXWRIGHT [CASES]
"""
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import trackeval

FRAMES = 25


def line(frame, track, kind, truncated, occluded, box, score=None):
    left, top, right, bottom = box
    text = f"{frame} {track} {kind} {truncated} {occluded} 0 {left:.2f} {top:.2f} {right:.2f} {bottom:.2f} 1.5 1.7 4.2 1 1.6 20 0"
    return text if score is None else f"{text} {score:.3f}"


def moved(rng, box, by):
    return [side + rng.uniform(-by, by) for side in box]


def make(rng, sequence, gt, tracker):
    """Objects that drift through the image, hidden, cut off and of neighbouring classes; labels that miss, switch and invent."""
    truth, labels = [], []
    objects = []
    for track in range(rng.randint(1, 7)):
        left, top = rng.uniform(0, 900), rng.uniform(100, 200)
        size = rng.uniform(20, 160)
        kind = rng.choice(["Car", "Car", "Car", "Van", "Pedestrian", "Pedestrian", "Person", "Cyclist"])
        objects.append([track, kind, [left, top, left + size, top + size * rng.uniform(0.3, 0.9)], rng.uniform(-9, 9), rng.randint(0, 10)])
    name = {track: track for track in range(9)}
    for frame in range(FRAMES):
        if rng.random() < 0.3:
            left = rng.uniform(0, 900)
            truth.append(line(frame, -1, "DontCare", -1, -1, [left, 100, left + rng.uniform(30, 200), 250]))
        if rng.random() < 0.08:
            a, b = rng.sample(range(9), 2)
            name[a], name[b] = name[b], name[a]
        for track, kind, box, speed, born in objects:
            box[0] += speed
            box[2] += speed
            if frame < born or rng.random() < 0.05:
                continue
            truth.append(line(frame, track, kind, rng.choice([0] * 8 + [0.4, 1]), rng.choice([0, 0, 0, 1, 2, 3]), box))
            if rng.random() < 0.85:
                claimed = kind if rng.random() < 0.9 else rng.choice(["Car", "Pedestrian"])
                labels.append(line(frame, name[track], claimed, -1, -1, moved(rng, box, 9), rng.random()))
        if rng.random() < 0.4:
            left = rng.uniform(0, 900)
            # Identities below 0 are none; those of another class may be the same.
            labels.append(line(frame, rng.choice([-1, 50, 51, 52, 53, 54]), "Car", -1, -1, [left, 150, left + rng.uniform(10, 90), 150 + rng.uniform(10, 60)], rng.random()))
    # The last frame has something, so that both sides count the same frames; the first sequence has both classes, the others may lack one.
    box = [10.0, 100.0, 110.0, 200.0]
    for track, kind in [(90, "Car"), (90, "Pedestrian"), (90, "Cyclist")]:
        if kind == "Cyclist" or sequence == "0000" or rng.random() < 0.5:
            truth.append(line(FRAMES - 1, track, kind, 0, 0, box))
            labels.append(line(FRAMES - 1, track + 1, kind, -1, -1, box, 0.9))
    (gt / f"{sequence}.txt").write_text("\n".join(truth) + "\n")
    (tracker / f"{sequence}.txt").write_text("\n".join(labels) + "\n")


def official(root, kind):
    dataset = trackeval.datasets.Kitti2DBox({
        "GT_FOLDER": str(root / "gt"), "TRACKERS_FOLDER": str(root / "trackers"), "SPLIT_TO_EVAL": "training",
        "CLASSES_TO_EVAL": [kind], "PRINT_CONFIG": False})
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR({"PRINT_CONFIG": False}), trackeval.metrics.Identity({"PRINT_CONFIG": False})]
    config = {"PRINT_RESULTS": False, "PRINT_CONFIG": False, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False, "PLOT_CURVES": False,
              "TIME_PROGRESS": False, "PRINT_ONLY_COMBINED": True, "USE_PARALLEL": False, "BREAK_ON_ERROR": True}
    found, _ = trackeval.Evaluator(config).evaluate([dataset], metrics)
    return found["Kitti2DBox"]["ours"]["COMBINED_SEQ"][kind]


def ours(program, root, protocol, kind):
    done = subprocess.run([program, "eval", str(root / "trackers/ours/data"), str(root / "gt/label_02"), "--protocol", protocol,
                           "--class", kind.capitalize(), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["result"][kind.capitalize()]


def compare(want, got, names, place):
    for name in names:
        a, b = np.asarray(want[name], float), np.asarray(got[name], float)
        assert a.shape == b.shape and np.all(np.abs(a - b) <= 1e-6), f"{place} {name}: expected {a}, got {b}"


def main():
    program, cases = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    numbers = 0
    for case in range(cases):
        rng = random.Random(case)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            gt, tracker = root / "gt/label_02", root / "trackers/ours/data"
            gt.mkdir(parents=True)
            tracker.mkdir(parents=True)
            sequences = [f"{number:04}" for number in range(rng.randint(1, 3))]
            for sequence in sequences:
                make(rng, sequence, gt, tracker)
            seqmap = "".join(f"{sequence} empty 000000 {FRAMES:06}\n" for sequence in sequences)
            (root / "gt/evaluate_tracking.seqmap.training").write_text(seqmap)
            for kind in ["car", "pedestrian"]:
                want = official(root, kind)
                place = f"case {case} {kind}"
                hota = ours(program, root, "hota", kind)["hota"]
                names = ["HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA", "HOTA_TP", "HOTA_FN", "HOTA_FP"]
                compare(want["HOTA"], hota, names, place)
                clear = ours(program, root, "clear", kind)
                names = ["MOTA", "MOTP", "MODA", "sMOTA", "MOTAL", "IDSW", "Frag", "MT", "PT", "ML", "CLR_Re", "CLR_Pr", "CLR_F1", "CLR_TP",
                         "CLR_FN", "CLR_FP", "CLR_Frames", "MTR", "PTR", "MLR", "FP_per_frame"]
                compare(want["CLEAR"], clear["clear"], names, place)
                compare(want["Identity"], clear["identity"], ["IDF1", "IDR", "IDP", "IDTP", "IDFN", "IDFP"], place)
                numbers += 12 * 19 + len(names) + 6
    print(f"{cases} cases, {numbers} numbers equal to TrackEval's")


main()
