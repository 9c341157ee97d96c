#!/usr/bin/env python3
"""Opens a review page in a real Chromium and judges what is seen.

    python view_in_chromium.py URL OUT.png [--wait SECONDS] [--frame N] [--classes RGB,RGB,...] [--allow-empty]

Waits until the page says that its recording is open (`window.boxwright.state`), then until the picture shows points and boxes and stands
still, and saves it. Checks:

* lidar: many pixels of many cold colours in the 3D view (the left part of the page),
* boxes: pixels of the classes' colours (`--classes`, as hex; default: those of configs/taxonomy.toml that no point can have),
* privacy: no request went anywhere but 127.0.0.1. What the page itself refused to send is listed apart; it went nowhere.

Prints one JSON object; exit code 0 when all holds, 1 when not, 2 for bad arguments, 3 when there is no Chromium or no Playwright.
Needs Playwright (PyPI), Pillow and NumPy, and a Chromium of the system. WebGL is drawn in software, so a picture
may take minutes on a busy machine: show it a few frames of some ten thousand points. A live view must have come to rest, for a page that is
redrawn all the time gives no picture.
"""

import argparse
import io
import pathlib
import sys
import time
from urllib.parse import urlsplit

from chromium import GL, in_chromium, is_local

WIDTH, HEIGHT = 1600, 900
# What of the page is the 3D view: left of this share, below the header.
SCENE_SHARE, HEADER_PX = 0.6, 70


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--wait", type=float, default=180, help="seconds until the picture must be there")
    parser.add_argument("--frame", type=int, help="frame to look at")
    parser.add_argument("--classes", help="class colours as hex, separated by commas")
    parser.add_argument("--allow-empty", action="store_true", help="do not ask for boxes")
    return parser.parse_args()


def class_colors(given):
    if given:
        return [tuple(bytes.fromhex(color)) for color in given.split(",")]
    import tomllib

    taxonomy = pathlib.Path(__file__).parents[2] / "configs" / "taxonomy.toml"
    colors = [tuple(c["color_rgb"]) for c in tomllib.loads(taxonomy.read_text())["class"]]
    # Grey and the like cannot be told from text and points.
    return [color for color in colors if max(color) - min(color) > 100]


def judge(png, colors):
    """Counts of the picture: points and boxes in the 3D view."""
    import numpy as np
    from PIL import Image

    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    scene = picture[HEADER_PX:, : int(picture.shape[1] * SCENE_SHARE)]
    red, green, blue = scene[..., 0], scene[..., 1], scene[..., 2]
    # Points are cold: more blue than red, and clearly brighter than the background.
    cold = (blue > red + 15) & (blue > 50)
    shades = len({tuple(shade) for shade in (scene[cold] // 8)})
    boxes = 0
    for color in colors:
        away = np.abs(scene - np.array(color)).max(axis=-1)
        boxes += int((away <= 12).sum())
    return {"point_pixels": int(cold.sum()), "point_shades": shades, "box_pixels": boxes}


def enough(counts, allow_empty):
    points = counts["point_pixels"] > 5000 and counts["point_shades"] > 20
    return points and (allow_empty or counts["box_pixels"] > 150)


class Requests:
    """What the browser asked for."""

    def __init__(self, page):
        self.local, self.left = 0, set()
        page.on("request", self.seen)

    def seen(self, request):
        if is_local(request.url):
            self.local += 1
        else:
            self.left.add(request.url)


def with_frame(url, frame):
    if frame is None:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}frame={frame}"


def look(page, arguments, colors):
    """The last picture and its counts: when it is good and stands still, or when the time is up."""
    deadline = time.monotonic() + arguments.wait
    left_ms = lambda: max(1.0, deadline - time.monotonic()) * 1000  # noqa: E731
    page.goto(with_frame(arguments.url, arguments.frame), wait_until="load")
    page.wait_for_function("() => ['open', 'failed'].includes(window.boxwright?.state)", timeout=left_ms())
    before = None
    while True:
        png = page.screenshot(timeout=left_ms())
        counts = judge(png, colors)
        if (enough(counts, arguments.allow_empty) and counts == before) or time.monotonic() > deadline:
            return png, counts
        before = counts
        page.wait_for_timeout(700)


def run(arguments, launch):
    colors = class_colors(arguments.classes)
    start = time.monotonic()
    browser = launch(*GL)
    try:
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark")
        page = context.new_page()
        requests, errors = Requests(page), []
        page.on("pageerror", lambda error: errors.append(str(error)[:300]))
        page.on("console", lambda line: errors.append(line.text[:300]) if line.type == "error" else None)
        png, counts = look(page, arguments, colors)
        arguments.out.write_bytes(png)
        state = page.evaluate("() => ({ ...window.boxwright })")
    finally:
        browser.close()
    seen = enough(counts, arguments.allow_empty)
    return {
        "ok": bool(seen and state["state"] == "open" and not requests.left),
        "seconds": round(time.monotonic() - start, 1),
        "page": state,
        **counts,
        "requests_local": requests.local,
        "requests_that_left": sorted(requests.left),
        "console_errors": errors[:10],
        "picture": str(arguments.out),
    }


def main():
    arguments = parse_arguments()
    return in_chromium(lambda launch: run(arguments, launch))


if __name__ == "__main__":
    sys.exit(main())
