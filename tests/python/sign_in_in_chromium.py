#!/usr/bin/env python3
"""People sign in to a review by a provider of identities in a real Chromium.

    python sign_in_in_chromium.py PROGRAM DATASET ISSUER PORT FILE

ISSUER is the provider of `tests/oidc`, PORT the one that it sends people back to on 127.0.0.1, FILE the configuration for `--oidc`. The provider is
reached as localhost and the desk as 127.0.0.1: two sites to a browser, so that cookies that are kept from cross-site requests are.

ana opens a link to a track of a clip, signs in at the provider, is at that track, accepts it and signs out; her session is over, and she comes in again. A
link to a clip that is not there says so, and one with a sample that is no number opens all the same. bo, whose groups give him nothing, is refused with
both sides. A local account stays its owner's until the administrator gives it away, and then has no session of before. The provider tells names and
groups (here: the address of mail) as userinfo only.

Prints one JSON object; exit code 0 when all holds, 1 when not, 3 when there is no Chromium or no Playwright.
"""

import json
import subprocess
import sys
from urllib.parse import quote, urlencode, urlsplit

from chromium import expect, in_chromium, is_local

SECRET = "secret"
# The provider's name has an address, too.
BOTH_SITES = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"
READY = "() => window.desk?.ready && window.desk.clip"


class Server:
    def __init__(self, program, dataset, port, file):
        self.port = port
        command = [program, "review", dataset, "--listen", f"127.0.0.1:{port}", "--no-canvas", "--account", "me=admin,core", "--oidc", file]
        # The program gets the secret by its environment, and says it nowhere.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"OIDC_SECRET": SECRET, "PATH": "/usr/bin:/bin"})
        line = self.process.stdout.readline()
        expect(line.startswith("review: "), f"the server ended: {self.process.stderr.read() if not line else line}")
        self.link = line[len("review: "):].partition("  (")[0]
        self.page = self.link.partition("#")[0]

    def stop(self):
        self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        expect("warning" not in err and "panicked" not in err, f"the server says {err}")


def at_provider(page, name, issuer):
    page.wait_for_url(f"{issuer}**")
    page.fill("#username", name)
    page.fill("#password", "verysecure")
    page.click("button[type=submit]")


def refused_at_provider(page, name, issuer):
    """Signs in at the provider and comes back without getting in: what the page says."""
    page.click("#provider")
    at_provider(page, name, issuer)
    page.locator("dialog .error").wait_for()
    expect(ask(page, "GET", "/api/me")[0] == 401, "and is in all the same")
    return page.inner_text("dialog .error")


def ask(page, method, path, body=None):
    return page.evaluate(
        """async ([method, path, body]) => {
            const answer = await fetch(path, { method, headers: { 'x-boxwright': '1' }, body: body && JSON.stringify(body) });
            return [answer.status, await answer.json().catch(() => null)];
        }""",
        [method, path, body],
    )


def work(launch, program, dataset, issuer, port, file):
    expect(urlsplit(issuer).hostname == "localhost", "the provider must be another site than the desk")
    server = Server(program, dataset, port, file)
    try:
        return sign_in(launch(BOTH_SITES), server, issuer)
    finally:
        server.stop()


def sign_in(browser, server, issuer):
    seen, told = [], []

    def window(context):
        page = context.new_page()
        page.on("request", lambda request: seen.append(request.url))
        page.on("pageerror", lambda error: told.append(str(error)[:300]))
        return page

    def someone():
        context = browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-US")
        return context, window(context)

    # The administrator, by the link; which clips there are.
    _, admin = someone()
    admin.goto(server.link)
    admin.wait_for_function(READY)
    clips = ask(admin, "GET", "/api/clips")[1]["clips"]
    wanted = clips[0]
    # Not what opens by itself: that would be no track, and the first sample.
    track = admin.evaluate("() => Number(Object.keys(desk.clip.tracks).find(number => desk.clip.tracks[number].verdict === 'open'))")
    place = "#" + urlencode({"vehicle": wanted["vehicle"], "clip": wanted["clip"], "track": track, "sample": 3})

    context, ana = someone()
    ana.goto(server.page + place)
    button = ana.locator("#provider")
    button.wait_for()
    expect(button.inner_text() == "Sign in with the works", button.inner_text())
    button.click()
    at_provider(ana, "ana", issuer)
    ana.wait_for_url(f"{server.page}#**")
    ana.wait_for_function(READY)
    at = ana.evaluate("() => [desk.clip.vehicle, desk.clip.clip, desk.track, desk.sample]")
    expect(at == [wanted["vehicle"], wanted["clip"], track, 3], f"expected to be at {place}, got {at}")
    person, got = {"name": "ana", "role": "reviewer", "clearance": "core"}, ana.evaluate("() => desk.person")
    expect(got == person, f"expected {person}, got {got}")
    cookies = {cookie["name"]: cookie for cookie in context.cookies(server.page)}
    session = cookies[f"boxwright_desk_{server.port}"]
    expect(session["sameSite"] == "Strict" and session["httpOnly"], f"the session's cookie is {session}")
    binding = cookies[f"boxwright_desk_{server.port}_sign_in"]
    expect(binding["sameSite"] == "Lax" and binding["httpOnly"], f"the cookie of the sign-in is {binding}")
    expect("code=" not in ana.url and "state=" not in ana.url, f"the address keeps {ana.url}")
    ana.keyboard.press("Space")
    ana.wait_for_function("() => desk.decided === 1 && desk.outbox.items.length === 0")
    history = ask(ana, "GET", f"/api/clips/{quote(wanted['vehicle'])}/{wanted['clip']}/history/{track}")[1]["operations"]
    expect([(one["name"], one["person"]) for one in history] == [("accept", "ana")], f"the history of track {track} is {history}")

    ana.click("#sign-out")
    ana.locator("#provider").wait_for()
    expect(ask(ana, "GET", "/api/me")[0] == 401, "her session is not over")
    ana.click("#provider")
    at_provider(ana, "ana", issuer)
    ana.wait_for_function(READY)
    expect(ana.evaluate("track => desk.clip.tracks[track].verdict", track) == "accepted", "what she did is gone")

    # Addresses that somebody has mistyped.
    for more, expected in [({"clip": wanted["clip"] + 1000}, f"None of the clips that you may see: {wanted['vehicle']} · {wanted['clip'] + 1000}"), ({"sample": "x"}, "")]:
        page = window(context)
        page.goto(server.page + "#" + urlencode({"vehicle": wanted["vehicle"], "clip": wanted["clip"], **more}))
        page.wait_for_function(READY)
        said = page.evaluate("() => document.getElementById('toast').hidden ? '' : document.getElementById('toast').textContent")
        expect(said == expected, f"with {more}: expected {expected!r}, got {said!r}")
        page.close()

    # Somebody who has no group here.
    _, bo = someone()
    bo.goto(server.page)
    said = refused_at_provider(bo, "bo", issuer)
    expect("expected membership of one of ana@example.com, me@example.com, got bo@example.com" in said and "hint: " in said, said)

    # The name of a local account; in Chinese.
    _, other = someone()
    other.goto(server.page)
    other.locator("#provider").wait_for()
    other.evaluate("() => localStorage.setItem('boxwright.language', 'zh')")
    other.reload()
    other.locator("#provider").wait_for()
    expect(other.inner_text("#provider") == "使用 the works 登录", other.inner_text("#provider"))
    said = refused_at_provider(other, "me", issuer)
    expect('expected an account "me" that is yours' in said and 'the subject "u-3"' in said, said)
    # The administrator gives it to them.
    given = ask(admin, "POST", "/api/people", {"name": "me", "role": "admin", "clearance": "core", "subject": "u-3"})
    expect(given[0] == 200, f"expected 200, got {given}")
    expect(ask(admin, "GET", "/api/me")[0] == 401, "the session of whoever had the account goes on")
    other.goto(server.page)
    other.click("#provider")
    at_provider(other, "me", issuer)
    other.wait_for_function(READY)
    expect(other.evaluate("() => desk.person.role") == "reviewer", "the rights are not those of the provider")

    expect(not told, f"the page failed: {told}")
    strangers = sorted({url for url in seen if not is_local(url)})
    expect(not strangers, f"asked for {strangers}")
    return {"ok": True, "clip": wanted["clip"], "track": track}


if __name__ == "__main__":
    program, dataset, issuer, port, file = sys.argv[1:]
    sys.exit(in_chromium(lambda launch: work(launch, program, dataset, issuer, int(port), file)))
