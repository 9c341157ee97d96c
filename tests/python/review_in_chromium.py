#!/usr/bin/env python3
"""Two people review a clip in a real Chromium, and what they leave is read back with DuckDB and pyarrow.

    python review_in_chromium.py PROGRAM DATASET PICTURES [--graded DATASET] [--brokers HOST:PORT --topic TOPIC] [-- more arguments of `review`]

Errors are planted by the second person through the same server: a parked car is shifted and turned, another one is deleted. The first
person takes an item in a race with the second, accepts a track, puts the shifted box back with the mouse and the keys, makes the missed box
with one key, takes it back and again, goes on while the server is killed and gone, and finishes the clip.

Checks: two people never get one item; the box is within 2 cm and 1 degree of where it was; the new box lies where the deleted one did; undo
works after a reload; nothing is lost by kill -9, nor by two pages of one person that are closed while the server is away, and nothing of it is
done to another database that answers at the same address; several tracks are accepted with one key and taken back with one; a second review of
the dataset is refused; a click in the 3D view chooses a track, and a correction is drawn again; revision 1 says all of it and revision 0 is untouched; `verify` passes; a clip above
somebody's clearance is 403; nothing asked for an address outside this machine; verdicts are in the topic.

Prints one JSON object; exit code 0 when all holds, 1 when not, 3 when there is no Chromium or no Playwright.
"""

import argparse
import json
import math
import pathlib
import socket
import subprocess
import sys
import time

from chromium import GL, expect, in_chromium, is_local

# A reviewer's laptop.
WIDTH, HEIGHT = 1366, 768
SHIFT_M, SHIFT_LEFT_M, TURN_RAD = 0.62, -0.35, math.radians(6)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Server:
    """`boxwright review`, started, killed and started again on one port."""

    def __init__(self, program, dataset, more, accounts, listen=None):
        self.listen = listen or f"127.0.0.1:{free_port()}"
        self.command = [program, "review", str(dataset), "--listen", self.listen, "--lease", "90s", *more]
        for account in accounts:
            self.command += ["--account", account]
        self.links = {}
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(self.links) < self.command.count("--account"):
            line = self.process.stdout.readline()
            expect(line, f"the server ended: {self.process.stderr.read() if not line else ''}")
            if line.startswith("review: "):
                url, _, rest = line[len("review: "):].partition("  (")
                self.links[rest.split(",")[0]] = url

    def restart(self):
        self.links = {}
        self.start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


class Reviewer:
    """A person with a browser of their own."""

    def __init__(self, browser, link, seen, scheme="dark", context=None):
        self.context = context or browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme, locale="en-US")
        self.errors, self.seen = [], seen
        self.open(link)

    def open(self, link):
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.seen.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)[:300]))
        self.page.goto(link)
        self.ready()

    def ready(self):
        self.page.wait_for_function("() => window.desk?.ready && window.desk.sweep", timeout=60_000)

    def run(self, script, argument=None):
        return self.page.evaluate(script, argument)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def settled(self):
        self.page.wait_for_function("() => window.desk.outbox.items.length === 0", timeout=60_000)

    def track(self, number):
        return self.run("n => window.desk.clip.tracks[n]", number)

    def choose(self, number, sample):
        row = self.page.locator("#tracks li").nth(self.run("n => [...document.querySelectorAll('#tracks li b')].findIndex(b => b.textContent.endsWith(' ' + n))", number))
        row.click()
        self.page.wait_for_function("n => window.desk.track === n", arg=number)
        self.go_to(sample)

    def go_to(self, sample):
        for _ in range(400):
            at = self.run("() => window.desk.sample")
            if at == sample:
                break
            self.press("." if at < sample else ",")
        self.page.wait_for_timeout(250)
        expect(self.run("() => window.desk.sample") == sample, f"the page is at sample {sample}")

    def perform(self, operation, tracks):
        """What a script does instead of a hand: through the page's own way to the server."""
        return self.run(
            """async ([operation, tracks]) => {
                const { clip } = window.desk, base = Object.fromEntries(tracks.map(t => [t, clip.revs[t] ?? 0]));
                const answer = await fetch(`/api/clips/${encodeURIComponent(clip.vehicle)}/${clip.clip}/operations`, {
                    method: 'POST', headers: { 'x-boxwright': '1' }, body: JSON.stringify({ id: crypto.randomUUID(), base, operation }) });
                return { status: answer.status, body: await answer.json() };
            }""",
            [operation, tracks],
        )

    def get(self, path):
        return self.run("async path => { const a = await fetch(path); return { status: a.status, body: await a.json().catch(() => null) }; }", path)

    def picture(self, path):
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=str(path))


def parked_tracks(person):
    """Parked tracks that are seen well, best first: (number, the sample in which they have most points)."""
    tracks = person.run("() => window.desk.clip.tracks")
    found = []
    for number, track in tracks.items():
        boxes = {int(sample): box for sample, box in track["boxes"].items()}
        best = max(boxes, key=lambda sample: boxes[sample][7])
        if track["verdict"] != "suggested" and track["static"] and len(boxes) > 8 and boxes[best][3] > 3:
            found.append((boxes[best][7], int(number), best))
    return [(number, best) for _, number, best in sorted(found, reverse=True)]


def difference(box, truth):
    """How a box differs, along its own axes, and in heading."""
    dx, dy = truth[0] - box[0], truth[1] - box[1]
    c, s = math.cos(box[6]), math.sin(box[6])
    turn = (truth[6] - box[6] + math.pi) % (2 * math.pi) - math.pi
    return dx * c + dy * s, dy * c - dx * s, turn


def race(ana, bo):
    """Both ask for the next item at the same moment, several times."""
    items = []
    for person in (ana, bo):
        person.run(
            """() => { window.taken = fetch('/api/next', { method: 'POST', headers: { 'x-boxwright': '1' }, body: '{}' })
                .then(a => a.json()).then(a => a.item) }"""
        )
    for person in (ana, bo):
        items.append(person.run("() => window.taken"))
    keys = [(item["vehicle"], item["clip"], item["track"]) for item in items]
    expect(keys[0] != keys[1], f"two people have one item: {keys}")
    for person, (vehicle, clip, track) in zip((ana, bo), keys):
        person.run(
            """([v, c, t]) => fetch(`/api/clips/${encodeURIComponent(v)}/${c}/hold/${t}`, { method: 'DELETE', headers: { 'x-boxwright': '1' } })""",
            [vehicle, clip, track],
        )
    return keys


def put_back(ana, number, sample, truth):
    """Turns and moves the box in the top view with the mouse, then to the centimetre with the keys."""
    plane = "window.desk.views.planes[0]"
    bounds = ana.page.locator("#top").bounding_box()
    middle = (bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2)

    def drag(start, end):
        ana.page.mouse.move(*start)
        ana.page.mouse.down()
        ana.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        ana.page.mouse.move(*end)
        ana.page.mouse.up()
        ana.settled()
        ana.page.wait_for_timeout(200)

    _, _, turn = difference(ana.track(number)["boxes"][str(sample)], truth)
    handle = ana.run(f"() => {plane}.handle.map(v => v / {plane}.ratio)")
    radius = handle[0] - bounds["width"] / 2
    # A hand is not exact: the mouse leaves a sixth of the turn and some centimetres, the keys take them away.
    turn *= 5 / 6
    drag((bounds["x"] + handle[0], bounds["y"] + handle[1]), (middle[0] + radius * math.cos(turn), middle[1] - radius * math.sin(turn)))
    forward, left, _ = difference(ana.track(number)["boxes"][str(sample)], truth)
    forward, left = forward - 0.04, left + 0.03
    scale = ana.run(f"() => {plane}.scale / {plane}.ratio")
    drag(middle, (middle[0] + forward * scale, middle[1] - left * scale))
    after_mouse = difference(ana.track(number)["boxes"][str(sample)], truth)
    waits = []
    for _ in range(60):
        forward, left, turn = difference(ana.track(number)["boxes"][str(sample)], truth)
        if abs(turn) > math.radians(0.2):
            ana.press("Shift+Q" if turn > 0 else "Shift+E")
        elif abs(forward) > 0.008:
            ana.press("Shift+ArrowUp" if forward > 0 else "Shift+ArrowDown")
        elif abs(left) > 0.008:
            ana.press("Shift+ArrowLeft" if left > 0 else "Shift+ArrowRight")
        else:
            break
        ana.page.wait_for_function("() => window.desk.drawn > window.desk.pressed")
        waits.append(ana.run("() => window.desk.drawn - window.desk.pressed"))
        ana.settled()
    return after_mouse, difference(ana.track(number)["boxes"][str(sample)], truth), waits


def waits_offline(person, count):
    person.page.wait_for_function("() => document.getElementById('state').classList.contains('offline')", timeout=20_000)
    expect(person.run("() => window.desk.outbox.items.length") == count, f"{count} operations wait")


def own_names(person, clip, who="ana"):
    history = person.get(f"/api/clips/{clip['vehicle']}/{clip['clip']}/history")["body"]["operations"]
    return [one["name"] for one in history if one["person"] == who]


def two_pages_and_two_databases(browser, arguments, server, ana, clip, first, second):
    """Two pages of one person are cut off and closed: the next page sends what both kept, but only to the database that it was meant for."""
    url = f"http://{server.listen}/"
    other = Reviewer(browser, url, ana.seen, context=ana.context)
    before = len(own_names(ana, clip))
    ana.choose(*first)
    other.choose(*second)
    server.kill()
    ana.press("Shift+PageUp")
    waits_offline(ana, 1)
    other.press("Shift+PageUp")
    waits_offline(other, 1)
    ana.page.close()
    other.page.close()
    # Another database answers at the same address; the same person works there.
    strange = Server(arguments.program, arguments.dataset, [*arguments.more, "--db", f"{arguments.pictures}/other.sqlite"], ["ana=reviewer,core"], server.listen)
    session = ana.context.cookies()
    try:
        ana.open(strange.links["ana"])
        expect(ana.run("() => window.desk.outbox.items.length") == 0 and not own_names(ana, clip), "nothing is done to another database")
        ana.page.close()
    finally:
        strange.stop()
    server.restart()
    ana.context.clear_cookies()
    ana.context.add_cookies(session)
    ana.open(url)
    ana.settled()
    own = own_names(ana, clip)
    expect(own[before:] == ["move", "move"], f"what two pages kept is there: {own[before:]}")
    ana.press("z", "z")
    ana.settled()
    refused = subprocess.run([arguments.program, "review", str(arguments.dataset), "--db", f"{arguments.pictures}/third.sqlite"], capture_output=True, text=True)
    expect(refused.returncode == 1 and "another review works on this dataset" in refused.stderr, f"a second review is refused at its start: {refused}")


def several_at_once(ana):
    """Tracks are chosen with Ctrl, accepted with one key, and taken back with one."""
    ana.page.select_option("#filter-state", "open")
    rows = ana.page.locator("#tracks li")
    expect(rows.count() >= 2, "two tracks are open")
    rows.nth(0).click()
    rows.nth(1).click(modifiers=["Control"])
    chosen = ana.run("() => [...window.desk.chosen]")
    expect(len(chosen) == 2, f"two are chosen: {chosen}")
    ana.press("Space")
    ana.settled()
    verdicts = [ana.track(number)["verdict"] for number in chosen]
    expect(verdicts == ["accepted", "accepted"], f"both are accepted: {verdicts}")
    ana.press("z")
    ana.settled()
    verdicts = [ana.track(number)["verdict"] for number in chosen]
    expect(verdicts == ["open", "open"], f"and both taken back: {verdicts}")
    ana.press("Control+a")
    shown = ana.run("() => window.desk.chosen.size")
    expect(shown == rows.count(), f"all that are shown can be chosen: {shown}")
    ana.press("Escape")
    ana.page.select_option("#filter-state", "all")
    return {"chosen": chosen, "shown": shown}


# Waits until a box in 3D was clicked, at most for so many frames, and where nothing is drawn, for half a minute: beside other tests a frame takes seconds.
FRAMES = """frames => new Promise(done => {
    const hit = () => window.desk.canvas.clicked;
    const look = left => hit() !== null || left === 0 ? done(hit()) : requestAnimationFrame(() => look(left - 1));
    setTimeout(() => done(hit()), 30_000);
    look(frames);
})"""


def canvas(arguments, launch, seen):
    """The viewer in the page: a click on a box in 3D chooses its track, and what is corrected is drawn again."""
    server = Server(arguments.program, arguments.dataset, ["--db", f"{arguments.pictures}/canvas.sqlite"], ["ana=reviewer,core"])
    browser = launch(*GL)
    try:
        ana = Reviewer(browser, server.links["ana"], seen)
        expect(ana.run("() => window.desk.layout") == "map", "without a graphics card nobody is slowed down unasked")
        number, sample = in_front(ana)
        ana.choose(number, sample)
        started = time.monotonic()
        ana.press("v")
        ana.page.wait_for_function("() => ['open', 'failed'].includes(window.desk.canvas?.state)", timeout=400_000)
        expect(ana.run("() => window.desk.canvas.state") == "open", f"the clip is open in 3D: {ana.run('() => window.desk.canvas.error')}")
        opened = time.monotonic() - started
        ana.page.wait_for_timeout(8_000)
        ana.picture(arguments.pictures / "canvas.png")
        # Another track is chosen, and the view of the object stays where it is: a click there must choose what was chosen before.
        other = next(int(one) for one in ana.run("() => window.desk.clip.tracks") if int(one) != number)
        ana.run("() => { window.desk.canvas.look = () => {}; }")
        ana.choose(other, sample)
        # Over the picture until the mouse meets a line of a box: first through that view, whose middle is the box.
        bounds = ana.page.locator("#viewer").bounding_box()
        near = [(row, 0.766 + 0.008 * step) for row in (0.8, 0.75) for step in range(14)]
        far = [(row, column) for row in (0.6, 0.5, 0.85, 0.4) for column in (0.3, 0.4, 0.5, 0.2, 0.6, 0.72, 0.9)]
        # Without a graphics card a frame takes a second under the mouse, and several on a machine that is busy.
        deadline, hit = time.monotonic() + 480, None
        tried = 0
        for row, column in near + far:
            if time.monotonic() > deadline:
                break
            tried += 1
            ana.page.mouse.move(bounds["x"] + column * bounds["width"], bounds["y"] + row * bounds["height"])
            # What lies under the mouse is known some frames after it came there, and a click is on what is known.
            ana.run(FRAMES, 4)
            ana.page.mouse.down()
            ana.page.mouse.up()
            hit = ana.run(FRAMES, 3)
            if hit is not None:
                break
        expect(hit is not None, f"a click in 3D meets a box: none of {tried}")
        ana.page.wait_for_function("n => window.desk.track === n", arg=hit)
        ana.run("() => { delete window.desk.canvas.look; }")
        seq = ana.run("() => window.desk.canvas.seq")
        ana.press("ArrowUp")
        ana.settled()
        ana.page.wait_for_function("s => window.desk.canvas.seq > s", arg=seq, timeout=60_000)
        ana.press("v")
        ana.page.wait_for_timeout(6_000)
        ana.picture(arguments.pictures / "canvas-large.png")
        ana.press("v")
        expect(ana.run("() => window.desk.layout") == "map", "and it can be put away")
        refused = ana.run("() => window.desk.canvas.refused")
        expect(not ana.errors, f"no script error: {ana.errors}")
        return {"open_s": round(opened, 1), "clicked": hit, "not_sent": len(refused)}
    finally:
        browser.close()
        server.stop()


def point_at(ana, x, y):
    """Puts the mouse on a place of the scene."""
    spot = ana.run("([x, y]) => { const s = window.desk.views.scene; return s.toScreen(x, y).map(v => v / s.ratio); }", [x, y])
    bounds = ana.page.locator("#scene").bounding_box()
    ana.page.mouse.move(bounds["x"] + spot[0], bounds["y"] + spot[1])


def read_revision(dataset, vehicle, clip):
    """Boxes of revisions 0 and 1 by DuckDB, and their number by pyarrow."""
    import duckdb
    import pyarrow.dataset as pads

    columns = "revision, track_id, sample_stamp_ns, tx_m, ty_m, length_m, qz, qw, source, evidence"
    rows = duckdb.sql(
        f"select {columns} from read_parquet('{dataset}/box3/**/*.parquet') where clip = {clip} order by revision, track_id, sample_stamp_ns"
    ).fetchall()
    table = pads.dataset(f"{dataset}/box3", format="parquet", partitioning="hive").to_table(columns=["revision", "clip"])
    arrow = [revision for revision, number in zip(table["revision"].to_pylist(), table["clip"].to_pylist()) if number == clip]
    expect(sorted(arrow) == sorted(row[0] for row in rows), "DuckDB and pyarrow read the same rows")
    return [row for row in rows if row[0] == 0], [row for row in rows if row[0] == 1]


def verdicts_of(brokers, topic):
    from confluent_kafka import Consumer

    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "reads-verdicts", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found, deadline = [], time.monotonic() + 60
    while time.monotonic() < deadline and not any(one["kind"] == "finish" for one in found):
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            found.append(json.loads(message.value()))
    consumer.close()
    return found


def review(arguments, browser, seen):
    pictures = arguments.pictures
    pictures.mkdir(parents=True, exist_ok=True)
    server = Server(arguments.program, arguments.dataset, arguments.more, ["ana=reviewer,core", "bo=reviewer,core"])
    said = {}
    try:
        ana, bo = Reviewer(browser, server.links["ana"], seen), Reviewer(browser, server.links["bo"], seen)
        ana.picture(pictures / "scene.png")
        said["race"] = race(ana, bo)
        clip = ana.run("() => ({ vehicle: window.desk.clip.vehicle, clip: window.desk.clip.clip })")
        best = parked_tracks(ana)
        expect(len(best) >= 3, f"three parked cars are seen well: {best}")
        (shifted, at), (missed, seen_at), (clean, clean_at) = best[:3]
        truth = ana.track(shifted)["boxes"][str(at)]
        missed_truth, missed_boxes = ana.track(missed)["boxes"][str(seen_at)], len(ana.track(missed)["boxes"])

        # The second person plants errors.
        expect(bo.perform({"kind": "turn", "track": shifted, "sample": at, "scope": "track", "by_rad": TURN_RAD}, [shifted])["status"] == 200, "turned")
        stale = bo.perform({"kind": "flip", "track": shifted, "sample": at}, [shifted])
        expect(stale["status"] == 409 and stale["body"]["theirs"][0]["name"] == "turn", f"a stale operation is a conflict: {stale}")
        rev = stale["body"]["revs"][str(shifted)]
        bo.run("([t, rev]) => { window.desk.clip.revs[t] = rev; }", [shifted, rev])
        by = [SHIFT_M, SHIFT_LEFT_M, 0]
        expect(bo.perform({"kind": "move", "track": shifted, "sample": at, "scope": "track", "by_box_m": by}, [shifted])["status"] == 200, "moved")
        expect(bo.perform({"kind": "delete", "track": missed}, [missed])["status"] == 200, "deleted")
        ana.page.reload()
        ana.ready()

        # A clean track takes one key.
        ana.choose(clean, clean_at)
        started = time.monotonic()
        ana.press("Space")
        ana.page.wait_for_function("n => window.desk.track !== n", arg=clean)
        said["accept_to_next_ms"] = round(1000 * (time.monotonic() - started))
        ana.settled()
        expect(ana.track(clean)["verdict"] == "accepted" and ana.track(clean)["decided_by"] == "ana", "the track is accepted")

        # A shifted box.
        ana.choose(shifted, at)
        ana.picture(pictures / "shifted.png")
        after_mouse, off, waits = put_back(ana, shifted, at, truth)
        said["key_to_picture_ms"] = {"presses": len(waits), "median": sorted(waits)[len(waits) // 2] if waits else None, "most": max(waits, default=None)}
        said["fixed"] = {"by_mouse": after_mouse, "off_m": math.hypot(*off[:2]), "off_deg": abs(math.degrees(off[2]))}
        expect(math.hypot(*off[:2]) < 0.02 and abs(off[2]) < math.radians(1), f"the box is back within 2 cm and 1 degree: {off}")
        ana.picture(pictures / "fixed.png")

        # A missed box with one key.
        ana.go_to(seen_at)
        before = set(ana.run("() => Object.keys(window.desk.clip.tracks)"))
        point_at(ana, missed_truth[0], missed_truth[1])
        started = time.monotonic()
        ana.press("n")
        ana.page.wait_for_function("n => Object.keys(window.desk.clip.tracks).length > n", arg=len(before), timeout=60_000)
        said["create_s"] = round(time.monotonic() - started, 2)
        ana.settled()
        made = next(iter(set(ana.run("() => Object.keys(window.desk.clip.tracks)")) - before))
        new = ana.track(int(made))
        away = math.hypot(new["boxes"][str(seen_at)][0] - missed_truth[0], new["boxes"][str(seen_at)][1] - missed_truth[1])
        said["created"] = {"track": made, "boxes": len(new["boxes"]), "boxes_before": missed_boxes, "off_m": away, "class": new["class"]}
        expect(away < 0.6 and new["static"] and len(new["boxes"]) >= missed_boxes * 0.9, f"the new box is where the car is: {said['created']}")
        ana.picture(pictures / "created.png")

        # Undo, redo.
        ana.press("z")
        ana.settled()
        expect(ana.track(int(made)) is None, "undo takes the new track away")
        ana.press("Control+Shift+Z")
        ana.settled()
        expect(ana.track(int(made)) is not None, "redo brings it back")

        # The server dies; work goes on, and nothing is lost.
        ana.choose(shifted, at)
        server.kill()
        ana.press("Shift+PageUp", "Shift+PageUp", "Space")
        ana.page.wait_for_function("() => document.getElementById('state').classList.contains('offline')", timeout=20_000)
        expect(ana.run("() => window.desk.outbox.items.length") == 3, "three operations wait")
        ana.picture(pictures / "offline.png")
        server.restart()
        ana.settled()
        ana.page.reload()
        ana.ready()
        history = ana.get(f"/api/clips/{clip['vehicle']}/{clip['clip']}/history")["body"]["operations"]
        own = [one["name"] for one in history if one["person"] == "ana"]
        expect(own[-3:] == ["move", "move", "accept"] and own[0] == "accept" and "create" in own, f"every operation is there: {own}")
        said["operations"] = len(history)
        lifted = ana.track(shifted)["boxes"][str(at)][2] - truth[2]
        expect(abs(lifted - 0.02) < 1e-4, f"what was done without a server is there: {lifted}")
        # Undo after a reload: the accept, the two lifts.
        ana.press("z", "z", "z")
        ana.settled()
        expect(abs(ana.track(shifted)["boxes"][str(at)][2] - truth[2]) < 1e-4, "undo works after a reload")
        # The session ends while nobody answers: what was done waits for the same person, and each builds on the one before it.
        ana.choose(shifted, at)
        server.kill()
        ana.press("Shift+PageUp", "z", "Space")
        ana.page.wait_for_function("() => document.getElementById('state').classList.contains('offline')", timeout=20_000)
        session = ana.context.cookies()
        ana.context.clear_cookies()
        server.restart()
        ana.page.wait_for_selector("dialog[open] input[type=password]", timeout=20_000)
        expect(ana.run("() => window.desk.outbox.items.length") == 3, "three operations wait for a session")
        ana.context.add_cookies(session)
        ana.page.reload()
        ana.ready()
        ana.settled()
        history = ana.get(f"/api/clips/{clip['vehicle']}/{clip['clip']}/history")["body"]["operations"]
        own = [one["name"] for one in history if one["person"] == "ana"]
        expect(own[-3:] == ["move", "undo", "accept"], f"what waited for a session is there: {own}")
        expect(abs(ana.track(shifted)["boxes"][str(at)][2] - truth[2]) < 1e-4, "the move and its undo")
        ana.choose(shifted, at)

        two_pages_and_two_databases(browser, arguments, server, ana, clip, (shifted, at), (int(made), seen_at))
        said["several"] = several_at_once(ana)
        expect(abs(ana.track(shifted)["boxes"][str(at)][2] - truth[2]) < 1e-4, "what two pages did is taken back")
        ana.choose(shifted, at)

        pictures_of_the_rest(ana, pictures)

        # The end.
        ana.page.click("#finish")
        ana.page.click("#finish-anyway")
        ana.page.wait_for_function("() => window.desk.finished", timeout=60_000)
        expect(ana.run("() => window.desk.finished.revision") == 1, "revision 1 is written")
        ana.picture(pictures / "finished.png")
        said["errors"] = ana.errors + bo.errors
        expect(not said["errors"], f"no script error: {said['errors']}")
        if arguments.brokers:
            found = verdicts_of(arguments.brokers, arguments.topic)
            said["verdicts"] = [one["kind"] for one in found]
            expect({"accept", "delete", "finish"} <= set(said["verdicts"]), f"verdicts are in the topic: {said['verdicts']}")
    finally:
        server.stop()

    check_revision(arguments, clip, shifted, at, truth, clean, missed, made)
    verified = subprocess.run([arguments.program, "verify", str(arguments.dataset)], capture_output=True, text=True)
    expect(verified.returncode == 0, f"verify passes: {verified.stdout}")
    diff = subprocess.run([arguments.program, "labels", "diff", str(arguments.dataset), "0", "1", "--json"], capture_output=True, text=True)
    said["diff"] = [[one["track"], one["what"]] for one in json.loads(diff.stdout)]
    expect({"added", "removed"} <= {what for _, what in said["diff"]}, f"the difference is told: {said['diff']}")
    return said


def in_front(person):
    """The track and sample that the front camera sees best."""
    found = []
    for number, track in person.run("() => window.desk.clip.tracks").items():
        for sample, box in track["boxes"].items():
            if 14 < box[0] < 20 and 2 < abs(box[1]) < 5 and 3 < box[3] < 5:
                found.append((box[7], int(number), int(sample)))
    return max(found)[1:]


def pictures_of_the_rest(ana, pictures):
    number, sample = in_front(ana)
    ana.choose(number, sample)
    ana.picture(pictures / "review.png")
    ana.press("?")
    ana.picture(pictures / "keys.png")
    ana.press("Escape")
    ana.page.click("#theme")
    ana.picture(pictures / "light.png")
    ana.page.click("#language")
    ana.picture(pictures / "chinese.png")
    ana.page.click("#language")
    ana.page.click("#theme")


def check_revision(arguments, clip, shifted, at, truth, clean, missed, made):
    old, new = read_revision(arguments.dataset, clip["vehicle"], clip["clip"])
    expect(old and new, "both revisions have boxes")

    def of(rows, number):
        return [row for row in rows if row[1] == f"{clip['clip']}-{int(number):04}"]

    box = min(of(new, shifted), key=lambda row: math.hypot(row[3] - truth[0], row[4] - truth[1]))
    yaw = 2 * math.atan2(box[6], box[7])
    off = math.hypot(box[3] - truth[0], box[4] - truth[1])
    turn = abs((yaw - truth[6] + math.pi) % (2 * math.pi) - math.pi)
    expect(off < 0.02 and turn < math.radians(1), f"revision 1 has the box where it belongs: {off} m, {turn} rad")
    expect(all(row[8] == "human" for row in of(new, shifted)), "it says that a person set it")
    pairs = zip(of(new, clean), of(old, clean), strict=True)
    # Quaternions are normalised when they are read: their last digits may differ.
    unchanged = all(a[2:6] == b[2:6] and a[8] == b[8] and abs(a[6] - b[6]) + abs(a[7] - b[7]) < 1e-6 for a, b in pairs)
    expect(unchanged, "what was accepted is unchanged")
    expect(all(json.loads(row[9])["review"] == {"by": "ana", "verdict": "accepted"} for row in of(new, clean)), "and says who accepted it")
    expect(of(old, missed) and not of(new, missed) and of(new, made), "the deleted track is gone, the new one is there")


def graded(arguments, browser, seen):
    """A clip above somebody's clearance."""
    server = Server(arguments.program, arguments.graded, [], ["low=admin,general", "high=data_user,important"])
    try:
        high = Reviewer(browser, server.links["high"], seen)
        clip = high.run("() => `/api/clips/${encodeURIComponent(window.desk.clip.vehicle)}/${window.desk.clip.clip}`")
        page = browser.new_context().new_page()
        page.on("request", lambda request: seen.append(request.url))
        page.goto(server.links["low"])
        page.wait_for_function("() => window.desk?.ready")
        answers = [page.evaluate("async path => (await fetch(path)).status", path) for path in (clip, f"{clip}/points/0", f"{clip}/history")]
        expect(answers == [403, 403, 403], f"403 without the clearance: {answers}")
        refused = high.perform({"kind": "flip", "track": 0, "sample": 0}, [0])
        expect(refused["status"] == 403, f"a data user changes nothing: {refused}")
    finally:
        server.stop()
    return answers


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("pictures", type=pathlib.Path)
    parser.add_argument("--graded", type=pathlib.Path)
    parser.add_argument("--brokers")
    parser.add_argument("--topic")
    ours = sys.argv[1:]
    end = ours.index("--") if "--" in ours else len(ours)
    arguments = parser.parse_args(ours[:end])
    arguments.more = ours[end + 1 :]
    return arguments


def run(arguments, launch):
    seen, browser = [], launch()
    result = review(arguments, browser, seen)
    if arguments.graded:
        result["graded"] = graded(arguments, browser, seen)
    result["canvas"] = canvas(arguments, launch, seen)
    left = sorted({url for url in seen if not is_local(url)})
    expect(not left, f"no request leaves the machine: {left}")
    return result | {"ok": True, "requests": len(seen)}


def main():
    arguments = parse_arguments()
    return in_chromium(lambda launch: run(arguments, launch))


if __name__ == "__main__":
    sys.exit(main())
