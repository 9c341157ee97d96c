"""A real Chromium for the scripts beside this file: one of the system that talks to this machine alone.

Needs Playwright (PyPI), and downloads no browser.
"""

import json
import shutil
from urllib.parse import urlsplit

QUIET = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-domain-reliability",
    "--disable-extensions", "--disable-sync", "--metrics-recording-only", "--no-first-run", "--no-pings",
    # Whatever is asked for, no name but this machine's has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
# WebGL without a graphics card.
GL = ["--use-angle=swiftshader", "--use-gl=angle", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


class Wrong(Exception):
    """A promise that was not kept."""


def expect(holds, what):
    if not holds:
        raise Wrong(what)


def is_local(url):
    """Whether a request for it stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme in {"data", "blob"} or parts.hostname in {"127.0.0.1", "localhost", "::1"}


def in_chromium(work):
    """Prints what `work(launch)` gives as one JSON object, where `launch(*flags)` starts a browser. Returns the exit code.

    0 when the object says `ok`, 1 when not or when a promise was not kept, 3 when there is no Chromium or no Playwright.
    """
    executable = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        sync_playwright = None
    if not executable or not sync_playwright:
        print(json.dumps({"ok": False, "error": f"{'Chromium' if not executable else 'Playwright'} is not installed"}))
        return 3
    # Browsers that are still open end with Playwright.
    with sync_playwright() as playwright:
        try:
            result = work(lambda *flags: playwright.chromium.launch(executable_path=executable, headless=True, args=[*QUIET, *flags]))
        except (Wrong, Error) as error:
            result = {"ok": False, "error": str(error)[:2000]}
    print(json.dumps(result, indent=2))
    return 0 if result["ok"] else 1
