// The Rerun viewer in the page: the clip in 3D, with its cameras and the object that is looked at. It comes after everything else and can
// be left out: the page works without it, and whatever goes wrong here stays here.
//
// Sweeps and images come as one recording from a signed address that the viewer reads by itself. Boxes come through a channel, those of the
// samples that changed. Times are numbers of samples: nanoseconds do not fit into the viewer's numbers here.

import { ask, bytesOf, clipPath, same } from './api.js';

const TIMELINE = 'frame', BOXES = '/world/ego/boxes', CHANNEL = 'labels';
const LOOK_MS = 100, CHANGED_MS = 120, AGAIN_MS = 2000, WAKE_MS = 2000, OPEN_S = 300;

// Whether a graphics card would draw it. Where a processor must, it takes its time from everything else, so people have to ask for it.
export function isDrawnByHardware() {
  try {
    const gl = document.createElement('canvas').getContext('webgl2'), info = gl?.getExtension('WEBGL_debug_renderer_info');
    const name = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : '';
    gl?.getExtension('WEBGL_lose_context')?.loseContext();
    return gl !== null && name !== '' && !/swiftshader|llvmpipe|software|basic render/i.test(name);
  } catch { return false; }
}

// Costs nothing to ask; whether there really is a picture shows when the viewer starts.
export const isPossible = () => typeof WebAssembly === 'object' && typeof WebGL2RenderingContext === 'function';

// The stock viewer reports its use to its makers. Such reports end here; the policy of the page would stop them as well, but loudly.
const refused = [];
function keepFetchHere() {
  const fetchFromHere = window.fetch.bind(window);
  window.fetch = (resource, options) => {
    const url = new URL(resource instanceof Request ? resource.url : resource, location.href);
    if (url.hostname === location.hostname || ['blob:', 'data:'].includes(url.protocol)) return fetchFromHere(resource, options);
    refused.push(url.href);
    return Promise.resolve(new Response(null, { status: 204 }));
  };
}

function load(path) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement('script'), { src: path, onload: resolve, onerror: () => reject(new Error(`cannot load ${path}`)) });
    document.head.append(script);
  });
}

const pause = ms => new Promise(resume => setTimeout(resume, ms));

export class Canvas {
  constructor(element, { picked, said }) {
    Object.assign(this, { element, on: { picked, said }, viewer: null, clip: null, recording: null, receiver: null, sample: 0, track: null });
    this.tracks = {};
    this.stale = new Set();
    this.clicked = null;
    this.state = 'closed';
    this.refused = refused;
  }

  say(state, error = null) {
    this.state = state;
    this.error = error && String(error.message ?? error);
    this.on.said(state, this.error);
  }

  async start() {
    this.say('loading');
    try {
      if (!isPossible()) throw new Error('this browser has no WebGL 2 or no WebAssembly');
      keepFetchHere();
      await load('/re_viewer.js');
      // Defined by that script.
      await wasm_bindgen({ module_or_path: '/re_viewer_bg.wasm' });
      const viewer = new wasm_bindgen.WebHandle({
        url: [], hide_welcome_screen: true, render_backend: 'webgl', theme: 'dark', enable_history: false, persist: false,
        panel_state_overrides: { top: 'Hidden', blueprint: 'Hidden', selection: 'Hidden', time: 'Hidden' },
        // The viewer is locked while it tells: answer afterwards.
        on_viewer_event: json => setTimeout(() => this.told(JSON.parse(json)), 0),
      });
      await viewer.start(this.element);
      viewer.open_channel(CHANNEL, CHANNEL);
      this.viewer = viewer;
      this.watch();
    } catch (error) { this.fail(error); }
  }

  fail(error) {
    this.viewer = null;
    this.say('failed', error);
  }

  watch() {
    if (!this.viewer) return;
    if (this.viewer.has_panicked()) { this.fail(this.viewer.panic_message() ?? 'the viewer crashed'); return; }
    setTimeout(() => this.watch(), 1000);
  }

  told(event) {
    if (event.type !== 'selection_change') return;
    const box = event.items.find(item => item.type === 'entity' && item.entity_path === BOXES && item.instance_id !== undefined);
    const track = box && this.tracks[this.sample]?.[box.instance_id];
    if (track === undefined) return;
    this.clicked = track;
    this.on.picked(track);
  }

  // One clip at a time: a viewer in a browser has about 2 GB.
  async open(clip) {
    if (!this.viewer || (this.clip && same(this.clip, clip))) return;
    const wanted = this.clip = { vehicle: clip.vehicle, clip: clip.clip };
    this.say('opening');
    try {
      if (this.receiver) this.viewer.remove_receiver(this.receiver);
      this.receiver = this.recording = null;
      const { recording, url } = await ask('POST', `${clipPath(clip)}/canvas`, {});
      if (this.clip !== wanted) return;
      this.receiver = new URL(url, location.href).href;
      this.viewer.add_receiver(this.receiver);
      // Boxes come when the recording is there: it is the recording's then, and goes with it.
      for (let waited = 0; !this.range(recording); waited += LOOK_MS) {
        if (this.clip !== wanted || !this.viewer) return;
        if (waited > OPEN_S * 1000) {
          const has = performance.getEntriesByName(this.receiver).some(entry => entry.responseEnd > 0);
          throw new Error(`the recording did not open within ${OPEN_S} s${has ? ', although it has arrived' : ''}`);
        }
        // The viewer draws when something comes; if it misses that, it draws at this.
        if (waited % WAKE_MS === 0) window.dispatchEvent(new Event('resize'));
        await pause(LOOK_MS);
      }
      this.recording = recording;
      await this.boxes(null);
      this.say('open');
      this.look(this.track, this.sample);
    } catch (error) {
      // The next clip is another try.
      this.clip = null;
      this.say('failed', error);
    }
  }

  range(recording) {
    if (this.viewer?.get_active_recording_id() !== recording) return null;
    return this.viewer.get_timeline_time_range(recording, TIMELINE) ?? null;
  }

  async boxes(samples) {
    const { recording } = this, answer = await bytesOf(`${clipPath(this.clip)}/canvas/boxes`, { recording, samples });
    if (recording !== this.recording || !this.viewer) return;
    const length = new DataView(answer).getUint32(0, true), told = JSON.parse(new TextDecoder().decode(new Uint8Array(answer, 4, length)));
    this.viewer.send_rrd_to_channel(CHANNEL, new Uint8Array(answer, 4 + length));
    Object.assign(this.tracks, told.tracks);
    this.seq = told.seq;
  }

  // Boxes of these samples are others now; without a list, those of all.
  changed(samples) {
    if (!this.recording) return;
    for (const sample of samples ?? Object.keys(this.tracks)) this.stale.add(Number(sample));
    clearTimeout(this.soon);
    this.soon = setTimeout(async () => {
      const now = [...this.stale];
      this.stale.clear();
      if (!now.length || !this.recording) return;
      // What could not be had is asked for again.
      await this.boxes(now).catch(() => setTimeout(() => this.changed(now), AGAIN_MS));
      this.focused = null;
      this.look(this.track, this.sample);
    }, CHANGED_MS);
  }

  // What is looked at, and when.
  look(track, sample) {
    Object.assign(this, { track, sample });
    const range = this.recording && this.range(this.recording);
    if (!range) return;
    if (this.viewer.get_active_timeline(this.recording) !== TIMELINE) this.viewer.set_active_timeline(this.recording, TIMELINE);
    this.viewer.set_time_for_timeline(this.recording, TIMELINE, sample);
    // What is not there yet is shown when it is.
    clearTimeout(this.again);
    if (range.max < sample) this.again = setTimeout(() => this.look(this.track, this.sample), 500);
    const wanted = `${track} ${sample}`;
    if (this.focused === wanted) return;
    this.focused = wanted;
    const { recording } = this;
    bytesOf(`${clipPath(this.clip)}/canvas/focus`, { recording, track, sample }).then(bytes => {
      if (this.recording === recording && this.focused === wanted) this.viewer?.send_rrd_to_channel(CHANNEL, new Uint8Array(bytes));
    }).catch(() => { this.focused = null; });
  }
}
