// The review page: one Rerun viewer, the recordings to choose from, and keys.
//
// `window.boxwright` says how far the page is, for tests and for people who embed it:
//   state  "loading" → "opening" → "open" (the whole recording is there and stands at its frame), or "failed" with `error`
//   clip, frame, last   place in the list, frame shown, number of the last frame
//   refused             addresses outside of this machine that the viewer wanted to talk to
//
// The address may choose what to open: `?clip=3&frame=40`.
"use strict";

(() => {
  const TIMELINE = "frame";
  const element = (id) => document.getElementById(id);
  const wanted = new URLSearchParams(window.location.search);
  const page = { state: "loading", error: null, clip: null, frame: null, last: null, refused: [] };
  window.boxwright = page;

  let viewer = null;
  let config = null;
  let receiver = null;
  let recording = null;
  let wantedFrame = null;
  // The frame that a key asked for, until the viewer stands there: keys may be faster than a picture.
  let stepTo = null;

  // The stock viewer reports its use to its makers. Such reports end here; the policy of this page would stop them as well, but loudly.
  const fetchFromHere = window.fetch.bind(window);
  window.fetch = (resource, options) => {
    const url = new URL(resource instanceof Request ? resource.url : resource, window.location.href);
    if (url.hostname === window.location.hostname || ["blob:", "data:"].includes(url.protocol)) return fetchFromHere(resource, options);
    page.refused.push(url.href);
    return Promise.resolve(new Response(null, { status: 204 }));
  };

  function message(text, failed = false) {
    element("message").textContent = text;
    element("message").hidden = !text;
    element("message").classList.toggle("failed", failed);
  }

  function fail(error) {
    page.state = "failed";
    page.error = String(error?.message ?? error);
    message(`The viewer cannot go on.\n${page.error}\nReload the page to try again.`, true);
  }

  // The viewer is locked while it reports an event: answer afterwards.
  const onViewerEvent = (json) => setTimeout(() => handle(JSON.parse(json)), 0);

  function handle(event) {
    if (event.type === "recording_open") {
      recording = viewer.get_active_recording_id() ?? event.recording_id ?? null;
    }
  }

  // The viewer has no event for "the data is here", so the page looks at the range of its timeline.
  function look() {
    if (page.state === "failed") return;
    if (viewer.has_panicked()) {
      fail(viewer.panic_message() ?? "it crashed");
      return;
    }
    recording = viewer.get_active_recording_id() ?? recording;
    const range = recording && viewer.get_timeline_time_range(recording, TIMELINE);
    if (range) {
      settle(range);
      show(range);
    }
    setTimeout(look, page.state === "open" ? 150 : 50);
  }

  function settle(range) {
    if (viewer.get_active_timeline(recording) !== TIMELINE) {
      viewer.set_active_timeline(recording, TIMELINE);
      return;
    }
    message("");
    const all = complete(range);
    if (wantedFrame !== null && (range.max >= wantedFrame || all)) {
      viewer.set_time_for_timeline(recording, TIMELINE, Math.min(wantedFrame, range.max));
      wantedFrame = null;
    } else if (all && wantedFrame === null && page.state === "opening") {
      page.state = "open";
    }
  }

  // Whether the viewer has the whole recording: the server knows its last frame. (A live stream is never whole, and a file without an
  // index is taken as it comes.)
  function complete(range) {
    const last = config.clips[page.clip]?.last_frame ?? null;
    return last === null || range.max >= last;
  }

  function show(range) {
    const now = viewer.get_time_for_timeline(recording, TIMELINE);
    const last = config.clips[page.clip]?.last_frame ?? range.max;
    page.frame = now === undefined ? null : Math.floor(now);
    if (page.frame === stepTo) stepTo = null;
    page.last = Math.max(last, range.max);
    const loading = range.max < page.last ? ` · loading ${Math.floor((100 * range.max) / page.last)} %` : "";
    element("frame").textContent = page.frame === null ? "" : `frame ${page.frame} / ${page.last}${loading}`;
  }

  function openClip(index) {
    const clip = config.clips[index];
    if (!clip || index === page.clip) return;
    // One recording at a time: a viewer in a browser has about 2 GB.
    if (receiver) viewer.remove_receiver(receiver);
    page.clip = index;
    page.state = "opening";
    page.frame = page.last = recording = stepTo = null;
    element("clips").value = String(index);
    document.title = `${clip.name} · Boxwright`;
    message(`Opening ${clip.name}…`);
    receiver = new URL(clip.url, window.location.href).href;
    viewer.add_receiver(receiver);
  }

  function openLive() {
    page.state = "opening";
    element("live").hidden = false;
    document.title = "live · Boxwright";
    message("Waiting for the first frame…");
    receiver = `rerun+http://${window.location.hostname}:${config.live_grpc_port}/proxy`;
    viewer.add_receiver(receiver);
  }

  function step(frames) {
    if (!recording || page.frame === null) return;
    viewer.set_playing(recording, false);
    jump((stepTo ?? page.frame) + frames);
  }

  function jump(frame) {
    const range = recording && viewer.get_timeline_time_range(recording, TIMELINE);
    if (!range) return;
    stepTo = Math.min(Math.max(frame, range.min), range.max);
    viewer.set_time_for_timeline(recording, TIMELINE, stepTo);
  }

  let timelineOpen = false;
  function toggleTimeline() {
    timelineOpen = !timelineOpen;
    viewer.override_panel_state("time", timelineOpen ? "expanded" : "collapsed");
  }

  const keys = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    Home: () => jump(-Infinity),
    End: () => jump(Infinity),
    " ": () => {
      stepTo = null;
      if (recording) viewer.set_playing(recording, !viewer.get_playing(recording));
    },
    n: () => openClip(page.clip + 1),
    p: () => openClip(page.clip - 1),
    t: toggleTimeline,
  };

  // Before the viewer sees them: the same key must not act twice.
  function onKey(event) {
    const typing = event.target instanceof HTMLSelectElement || event.ctrlKey || event.altKey || event.metaKey;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (typing || !action || !viewer) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    action();
  }

  function fillList() {
    const list = element("clips");
    for (const [index, clip] of config.clips.entries()) {
      const size = `${(clip.bytes / 1e6).toFixed(clip.bytes < 1e7 ? 1 : 0)} MB`;
      list.add(new Option(`${clip.name}  (${size})`, String(index)));
    }
    list.hidden = config.clips.length === 0;
    element("clip-keys").hidden = config.clips.length < 2;
    list.addEventListener("change", () => {
      openClip(Number(list.value));
      list.blur();
    });
  }

  function wantedClip() {
    const clip = wanted.get("clip");
    const named = config.clips.findIndex((candidate) => candidate.name === clip);
    return named >= 0 ? named : config.clips[Number(clip)] ? Number(clip) : 0;
  }

  async function start() {
    config = await (await fetch("config.json")).json();
    fillList();
    await wasm_bindgen({ module_or_path: "re_viewer_bg.wasm" });
    viewer = new wasm_bindgen.WebHandle({
      url: [],
      hide_welcome_screen: true,
      render_backend: "webgl",
      theme: "dark",
      enable_history: false,
      persist: false,
      panel_state_overrides: { top: "Hidden", blueprint: "Hidden", selection: "Hidden", time: "Collapsed" },
      on_viewer_event: onViewerEvent,
    });
    await viewer.start(element("viewer"));
    window.addEventListener("keydown", onKey, { capture: true });
    const frame = Number.parseInt(wanted.get("frame") ?? "", 10);
    wantedFrame = Number.isNaN(frame) ? null : frame;
    if (config.live_grpc_port) openLive();
    else if (config.clips.length > 0) openClip(wantedClip());
    else throw new Error("there is no recording to show");
    look();
  }

  start().catch(fail);
})();
