#!/usr/bin/env python3
"""A scripted reviewer works through a clip with planted errors, at the pace of a person, and says what the seconds went into.

    python scripted_reviewer.py PROGRAM DATASET [--pictures FOLDER] [--seed N] [--open-only] [-- more arguments of `review`]

The labels of DATASET are taken for the truth (the demo's, for example). A second person plants errors in them through the server: tracks that
are shifted, turned, deleted (missing), doubled (extra), and two whose ids are exchanged half-way. Then the reviewer goes through the queue
with real keys and a real mouse in a real Chromium. What a person would see, the script knows by comparing with the truth; what a person would
take to see it, it waits for, in full, so that the page's own clock measures the same:

    look   1.2 s   at a track that has come up, before anything is decided (the page shows it from three sides and in the camera)
    think  1.35 s  before a correction (the M of the keystroke-level model, Card, Moran and Newell 1980)
    key    0.28 s  a key (its K for an average typist)
    point  1.1 s   the mouse to a place, and as much for a drag (its P)
    scan   2.0 s   over the whole scene for objects without a box, once every ten samples

Everything else is what page and server take, under whatever load the machine has, and is reported apart (`wait`). A box counts as right within
10 cm and 2 degrees. Then the clip is finished, and a new browser opens it again: seconds and bytes to its first picture, to all labels and to
the recording for the 3D view.

What the program only suggests is no truth: the reviewer deletes it.

Prints one JSON object; exit code 0 when everything that was planted is mended, 1 when not, 3 when there is no Chromium or no Playwright.
"""

import argparse
import math
import pathlib
import random
import sys
import time

from chromium import expect, in_chromium
from review_in_chromium import Reviewer, Server, difference, parked_tracks, point_at

LOOK_S, THINK_S, KEY_S, POINT_S, SCAN_S, SCAN_EVERY = 1.2, 1.35, 0.28, 1.1, 2.0, 10
RIGHT_M, RIGHT_RAD = 0.10, math.radians(2)
SHIFT_M, TURN_RAD = (0.55, -0.3), math.radians(9)
# Another track has come up, or there is none left. Between a deleted one and the next, none is chosen.
NEXT_IS_HERE = """n => window.desk.track === null ? Object.values(window.desk.clip.tracks).every(t => t.verdict === 'accepted') : window.desk.track !== n"""
# A reviewer who is still at it after so many items is going in circles.
MOST_ITEMS = 400


class Hand:
    """The reviewer: acts, waits as long as a person would, and keeps the account."""

    def __init__(self, person):
        self.person, self.page = person, person.page
        self.kind, self.account, self.waits = None, {}, []

    def on(self, kind):
        self.kind = kind

    def spend(self, what, seconds):
        row = self.account.setdefault(self.kind, {"times": 0, "look": 0.0, "think": 0.0, "key": 0.0, "point": 0.0, "scan": 0.0, "wait": 0.0})
        row[what] += seconds

    def person_takes(self, what, seconds):
        time.sleep(seconds)
        self.spend(what, seconds)

    def machine(self, work):
        """Does something that the page or the server takes time for."""
        started = time.monotonic()
        result = work()
        self.spend("wait", time.monotonic() - started)
        return result

    def key(self, key, answer="window.desk.drawn > window.desk.pressed || document.getElementById('dialog').open"):
        """Presses it and waits for what the page answers: a picture, unless another answer is named."""
        self.person_takes("key", KEY_S)

        def press():
            self.page.keyboard.press(key)
            self.page.wait_for_function(f"() => {answer}", timeout=60_000)

        self.machine(press)
        took = self.person.run("() => window.desk.drawn - window.desk.pressed")
        if took > 0:
            self.waits.append(took)

    def drag(self, start, end):
        self.person_takes("point", 2 * POINT_S)

        def go():
            self.page.mouse.move(*start)
            self.page.mouse.down()
            self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
            self.page.mouse.move(*end)
            self.page.mouse.up()
            self.person.settled()

        self.machine(go)

    def point(self, x, y):
        self.person_takes("point", POINT_S)
        self.machine(lambda: point_at(self.person, x, y))


def boxes_of(track):
    return {int(sample): box for sample, box in track["boxes"].items()}


def off(box, truth):
    forward, left, turn = difference(box, truth)
    return math.hypot(forward, left), abs(turn)


def is_right(box, truth):
    away, turn = off(box, truth)
    return away < RIGHT_M and turn < RIGHT_RAD


def counterpart(box, truth, sample):
    """The true track whose box lies where this one does: (number, distance)."""
    found = [(math.hypot(box[0] - boxes[sample][0], box[1] - boxes[sample][1]), number) for number, boxes in truth.items() if sample in boxes]
    return min(found, default=(math.inf, None))[::-1]


def seen_at(person, sample):
    """Boxes of labels that the page has in a sample: (number, x, y)."""
    return person.run("s => Object.entries(window.desk.clip.tracks).filter(([, t]) => t.verdict !== 'suggested' && t.boxes[s]).map(([n, t]) => [Number(n), t.boxes[s][0], t.boxes[s][1]])", sample)


def numbers(person):
    return set(person.run("() => Object.keys(window.desk.clip.tracks).map(Number)"))


def go_to(hand, sample):
    """A click on the strip of samples."""
    if hand.person.run("() => window.desk.sample") == sample:
        return
    hand.person_takes("point", POINT_S)
    bounds, count = hand.page.locator("#strip").bounding_box(), hand.person.run("() => window.desk.clip.samples.length")
    drawn = hand.person.run("() => window.desk.drawn")

    def click():
        hand.page.mouse.click(bounds["x"] + (sample + 0.5) / count * bounds["width"], bounds["y"] + bounds["height"] / 2)
        hand.page.wait_for_function("([s, d]) => window.desk.sample === s && window.desk.drawn > d", arg=[sample, drawn])

    hand.machine(click)


def plant(bo, truth, seed):
    """Plants the errors; returns what was planted where."""
    chance = random.Random(seed)

    def perform(operation, tracks):
        answer = bo.perform(operation, tracks)
        expect(answer["status"] == 200, f"planted: {operation}: {answer}")
        bo.run("([revs]) => Object.assign(window.desk.clip.revs, revs)", [answer["body"]["revs"]])
        return answer["body"]

    good = parked_tracks(bo)
    expect(len(good) >= 7, f"seven parked cars are seen well: {good}")
    chance.shuffle(good)
    planted = {"shifted": [], "turned": [], "missing": [], "extra": [], "swapped": []}
    for number, best in good[:2]:
        perform({"kind": "move", "track": number, "sample": best, "scope": "track", "by_box_m": [*SHIFT_M, 0]}, [number])
        planted["shifted"].append(number)
    for number, best in good[2:4]:
        perform({"kind": "turn", "track": number, "sample": best, "scope": "track", "by_rad": TURN_RAD}, [number])
        planted["turned"].append(number)
    for number, best in good[4:6]:
        box = truth[number][best]
        made = perform({"kind": "create", "sample": best, "at_ego_m": box[:2]}, [])
        planted["extra"].append(next(int(track) for track in made["tracks"]))
    for number, _ in good[6:8]:
        perform({"kind": "delete", "track": number}, [number])
        planted["missing"].append(number)
    # Two that are seen together long enough exchange their ids half-way.
    used = {number for some in planted.values() for number in some}
    rest = sorted((n for n in truth if n not in used), key=lambda n: -len(truth[n]))
    for one in rest:
        pair = next(((two, sorted(set(truth[one]) & set(truth[two]))) for two in rest if two != one and len(set(truth[one]) & set(truth[two])) > 12), None)
        if pair:
            two, both = pair
            middle = both[len(both) // 2]
            halves = []
            for number in (one, two):
                made = perform({"kind": "split", "track": number, "sample": middle}, [number])
                halves.append(next(int(track) for track in made["tracks"] if int(track) != number))
            perform({"kind": "merge", "track": halves[0], "into": two}, [halves[0], two])
            perform({"kind": "merge", "track": halves[1], "into": one}, [halves[1], one])
            planted["swapped"] = [one, two, middle]
            break
    return planted


def mend_place(hand, number, sample, truth):
    """By mouse in the top view, then by keys, as long as it is not right."""
    ana, plane = hand.person, "window.desk.views.planes[0]"
    bounds = ana.page.locator("#top").bounding_box()
    middle = (bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2)

    def now():
        return difference(ana.track(number)["boxes"][str(sample)], truth)

    if abs(now()[2]) > RIGHT_RAD:
        hand.person_takes("think", THINK_S)
        handle = ana.run(f"() => {plane}.handle.map(v => v / {plane}.ratio)")
        radius, turn = handle[0] - bounds["width"] / 2, now()[2] * 0.9
        hand.drag((bounds["x"] + handle[0], bounds["y"] + handle[1]), (middle[0] + radius * math.cos(turn), middle[1] - radius * math.sin(turn)))
    if math.hypot(*now()[:2]) > RIGHT_M:
        hand.person_takes("think", THINK_S)
        scale, (forward, left, _) = ana.run(f"() => {plane}.scale / {plane}.ratio"), now()
        # A hand is not exact.
        hand.drag(middle, (middle[0] + (forward - 0.04) * scale, middle[1] - (left + 0.03) * scale))
    for _ in range(30):
        forward, left, turn = now()
        if abs(turn) > RIGHT_RAD:
            hand.key("q" if turn > 0 else "e")
        elif abs(forward) > RIGHT_M * 0.7:
            hand.key("ArrowUp" if forward > 0 else "ArrowDown")
        elif abs(left) > RIGHT_M * 0.7:
            hand.key("ArrowLeft" if left > 0 else "ArrowRight")
        else:
            break
        hand.machine(ana.settled)


def choose_in_list(hand, number):
    """A click on a track in the list."""
    index = "n => [...document.querySelectorAll('#tracks li b')].findIndex(b => b.textContent.endsWith(' ' + n))"
    row = hand.page.locator("#tracks li").nth(hand.person.run(index, number))
    hand.person_takes("point", POINT_S)
    hand.machine(lambda: (row.scroll_into_view_if_needed(), row.click()))


def mend_swap(hand, number, truth):
    """The track is another object from some sample on: split both there, and put the halves together the other way round."""
    ana = hand.person
    boxes = boxes_of(ana.track(number))
    owners = {sample: counterpart(box, truth, sample)[0] for sample, box in boxes.items()}
    first = owners[min(owners)]
    at = min((sample for sample in owners if owners[sample] != first), default=None)
    if at is None:
        return False
    other_object = owners[at]
    hand.on("swapped")
    hand.person_takes("think", THINK_S)
    tracks = {int(n): boxes_of(t) for n, t in ana.run("() => window.desk.clip.tracks").items()}
    partner = next(n for n, own in tracks.items() if n != number and at in own and counterpart(own[at], truth, at)[0] == first)
    halves = []
    for one in (number, partner):
        before = numbers(ana)
        if ana.run("() => window.desk.track") != one:
            choose_in_list(hand, one)
        # The track opens where it jumps; a click on the strip of samples does the rest.
        go_to(hand, at)
        hand.key("x")
        hand.machine(ana.settled)
        halves.append(next(iter(numbers(ana) - before)))
    for half, into in ((halves[0], partner), (halves[1], number)):
        choose_in_list(hand, half)
        hand.key("m", answer="window.desk.merging")
        choose_in_list(hand, into)
        hand.machine(ana.settled)
    mended = [boxes_of(ana.track(one)) for one in (number, partner)]
    expect(all(len({counterpart(box, truth, s)[0] for s, box in own.items()}) == 1 for own in mended), f"{number} and {partner} ({first}, {other_object}) are one object each")
    return True


def scan(hand, truth, samples):
    """Over the whole scene for objects without a box; each that is found is made with one key."""
    ana, made = hand.person, []
    for sample in range(0, samples, SCAN_EVERY):
        hand.on("scan")
        go_to(hand, sample)
        hand.person_takes("scan", SCAN_S)
        hand.account["scan"]["times"] += 1
        there = seen_at(ana, sample)
        for number, boxes in truth.items():
            box = boxes.get(sample)
            # A person sees what is near and has points.
            if box is None or box[7] < 60 or math.hypot(box[0], box[1]) > 45:
                continue
            if any(math.hypot(x - box[0], y - box[1]) < 1.5 for _, x, y in there):
                continue
            hand.on("missing")
            hand.person_takes("think", THINK_S)
            hand.point(box[0], box[1])
            before = numbers(ana)
            hand.person_takes("key", KEY_S)
            hand.machine(lambda: (ana.press("n"), ana.settled()))
            new = numbers(ana) - before
            expect(new, f"an object was made at {box[:2]} of sample {sample}")
            made.append((number, new.pop()))
            there = seen_at(ana, sample)
            hand.account["missing"]["times"] += 1
    return made


def work_through(hand, truth):
    """The queue, item by item, until nothing is left."""
    ana, seen = hand.person, 0
    hand.on("accept")
    hand.key("Tab")
    while seen < MOST_ITEMS:
        number = ana.run("() => window.desk.track")
        if number is None:
            break
        seen += 1
        track = ana.track(number)
        if track["verdict"] == "accepted":
            break
        sample, boxes = ana.run("() => window.desk.sample"), boxes_of(track)
        sample = sample if sample in boxes else min(boxes)
        owner, away = counterpart(boxes[sample], truth, sample)
        # Two boxes in each other are seen at once, and which of them came later says the list.
        twins = number not in truth and any(n != number and math.hypot(x - boxes[sample][0], y - boxes[sample][1]) < 1.5 for sample in boxes for n, x, y in seen_at(ana, sample))
        kind = "accept"
        hand.on(kind)
        if track["verdict"] == "suggested" or twins:
            kind = "suggested" if track["verdict"] == "suggested" else "extra"
            hand.on(kind)
            hand.person_takes("look", LOOK_S)
            hand.key("Delete")
        else:
            hand.person_takes("look", LOOK_S)
            if len({counterpart(box, truth, s)[0] for s, box in boxes.items() if counterpart(box, truth, s)[1] < 2.0}) > 1 and number in truth:
                kind = "swapped" if mend_swap(hand, number, truth) else kind
                if kind == "swapped" and ana.run("() => window.desk.track") != number:
                    choose_in_list(hand, number)
            elif owner is not None and number in truth and away < 2.0 and not is_right(boxes[sample], truth[owner][sample]):
                kind = "turned" if off(boxes[sample], truth[owner][sample])[1] > RIGHT_RAD else "shifted"
                hand.account.setdefault(kind, dict.fromkeys(hand.account["accept"], 0.0) | {"times": 0})
                # The look was at this kind of track.
                hand.account["accept"]["look"] -= LOOK_S
                hand.on(kind)
                hand.spend("look", LOOK_S)
                mend_place(hand, number, sample, truth[owner][sample])
            hand.key("Space")
        hand.account[kind]["times"] += 1
        hand.machine(lambda before=number: ana.page.wait_for_function(NEXT_IS_HERE, arg=before, timeout=60_000))
        hand.machine(ana.settled)
    return seen


def opening(browser, link_of, seen):
    """A new browser on a server that has just started: seconds and bytes to what a person waits for."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page, bytes_by = context.new_page(), {}

    def count(request):
        kind = "sweeps" if "/points/" in request.url else "images" if "/images/" in request.url else "labels" if "/api/" in request.url else "page"
        bytes_by[kind] = bytes_by.get(kind, 0) + request.sizes()["responseBodySize"]

    page.on("request", lambda request: seen.append(request.url))
    page.on("requestfinished", count)
    started = time.monotonic()
    page.goto(link_of)
    page.wait_for_function("() => window.desk?.drawn && window.desk.sweep", timeout=600_000)
    first = time.monotonic() - started
    page.wait_for_timeout(1500)
    clip = page.evaluate("() => ({ samples: window.desk.clip.samples.length, points: window.desk.sweep.length / 4, tracks: Object.keys(window.desk.clip.tracks).length })")
    again = page.evaluate("""async () => { const t = performance.now(), { vehicle, clip } = window.desk.clip;
        await (await fetch(`/api/clips/${encodeURIComponent(vehicle)}/${clip}`)).json(); return performance.now() - t; }""")
    recording = page.evaluate("""async () => {
        const { vehicle, clip } = window.desk.clip, path = `/api/clips/${encodeURIComponent(vehicle)}/${clip}/canvas`;
        const answer = await fetch(path, { method: 'POST', headers: { 'x-boxwright': '1' }, body: '{}' });
        if (!answer.ok) return null;
        const { url, recording } = await answer.json(), t = performance.now(), reader = (await fetch(url)).body.getReader();
        let bytes = 0, first = null;
        for (;;) { const { done, value } = await reader.read(); if (done) break; first ??= performance.now() - t; bytes += value.length; }
        const all = performance.now() - t, u = performance.now();
        const boxes = await (await fetch(`${path}/boxes`, { method: 'POST', headers: { 'x-boxwright': '1' }, body: JSON.stringify({ recording }) })).arrayBuffer();
        return { bytes, first_bytes_ms: first, all_ms: all, boxes_bytes: boxes.byteLength, boxes_ms: performance.now() - u };
    }""")
    context.close()
    return {"first_picture_s": round(first, 2), "labels_again_ms": round(again), "bytes": bytes_by, "clip": clip, "recording": recording}


def run(arguments, browser):
    server = Server(arguments.program, arguments.dataset, arguments.more, ["ana=lead,core", "bo=reviewer,core"])
    seen = []
    if arguments.open_only:
        try:
            return {"ok": True, "opening": opening(browser, server.links["ana"], seen)}
        finally:
            server.stop()
    try:
        bo = Reviewer(browser, server.links["bo"], seen)
        truth = {int(n): boxes_of(t) for n, t in bo.run("() => window.desk.clip.tracks").items() if t["verdict"] != "suggested"}
        samples, true_boxes = bo.run("() => window.desk.clip.samples.length"), sum(map(len, truth.values()))
        planted = plant(bo, truth, arguments.seed)
        bo.context.close()
        ana = Reviewer(browser, server.links["ana"], seen)
        hand = Hand(ana)
        made = scan(hand, truth, samples)
        found = {number for number, _ in made}
        expect(set(planted["missing"]) <= found, f"every missing object was found: {planted['missing']} in {sorted(found)}")
        items = work_through(hand, truth)
        left = ana.run("() => Object.entries(window.desk.clip.tracks).filter(([, t]) => t.verdict !== 'accepted').map(([n]) => n)")
        expect(not left, f"every track is decided about: {left}")
        for kind in ("shifted", "turned"):
            for number in planted[kind]:
                worst = max(off(box, truth[number][s]) for s, box in boxes_of(ana.track(number)).items())
                expect(worst[0] < RIGHT_M and worst[1] < RIGHT_RAD, f"track {number} ({kind}) is right in every sample: {worst}")
        expect(not any(ana.track(number) for number in planted["extra"]), "the doubled tracks are gone")
        if arguments.pictures:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            ana.picture(arguments.pictures / "worked.png")
            ana.page.click("#pace-open")
            ana.page.wait_for_selector("dialog[open] table")
            ana.picture(arguments.pictures / "pace.png")
            ana.press("Escape")
        measured = ana.get("/api/statistics")["body"]
        expect(not ana.errors, f"no script error: {ana.errors}")
    finally:
        server.stop()
    server.restart()
    try:
        opened = opening(browser, server.links["ana"], seen)
    finally:
        server.stop()

    rows = {}
    for kind, row in hand.account.items():
        total = sum(value for name, value in row.items() if name != "times")
        rows[kind] = {name: round(value, 2) for name, value in row.items()} | {"s": round(total, 2), "s_each": round(total / max(1, row["times"]), 2), "s_per_true_box": round(total / true_boxes, 4)}
    whole = sum(row["s"] for row in rows.values())
    parts = {part: round(sum(row[part] for row in rows.values()), 1) for part in ("look", "think", "key", "point", "scan", "wait")}
    waits = sorted(hand.waits)
    return {
        "ok": True, "assumed_s": {"look": LOOK_S, "think": THINK_S, "key": KEY_S, "point": POINT_S, "scan": SCAN_S, "scan_every_samples": SCAN_EVERY},
        "clip": {"samples": samples, "true_tracks": len(truth), "true_boxes": true_boxes}, "planted": planted, "items": items, "made": len(made),
        "by_action": rows, "by_part_s": parts, "total_s": round(whole, 1),
        "s_per_true_box": round(whole / true_boxes, 4), "s_per_true_box_at_2_hz": round(whole / true_boxes * 5, 3), "s_per_true_track": round(whole / len(truth), 2),
        "dominates": max(rows, key=lambda kind: rows[kind]["s"]), "dominates_part": max(parts, key=parts.get),
        "key_to_picture_ms": {"presses": len(waits), "median": round(waits[len(waits) // 2]), "p95": round(waits[int(len(waits) * 0.95)]), "most": round(waits[-1])},
        "page_measured": {"lots": measured["lots"], "forecast_s": measured["forecast_s"]}, "opening": opened,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--pictures", type=pathlib.Path)
    parser.add_argument("--open-only", action="store_true", help="only say what it takes to open the clip")
    parser.add_argument("--seed", type=int, default=1)
    ours = sys.argv[1:]
    end = ours.index("--") if "--" in ours else len(ours)
    arguments = parser.parse_args(ours[:end])
    arguments.more = ours[end + 1 :]
    return in_chromium(lambda launch: run(arguments, launch()))


if __name__ == "__main__":
    sys.exit(main())
