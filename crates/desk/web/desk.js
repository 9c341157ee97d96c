// The review page: what is open, what is chosen, what was pressed. The server holds the labels; here is what they look like at the moment.

import { Outbox, Refused, ask, clipPath, newId, points as fetchPoints, same } from './api.js';
import { Canvas, isDrawnByHardware, isPossible } from './canvas.js';
import { HEIGHT, KEYED, LENGTH, POINTS, PREDICTED, WIDTH, X, Y, YAW, foreseen } from './geometry.js';
import { GROUPS, actionOf, choosePreset, currentPreset, keysOf, presets, shown } from './keys.js';
import { CameraView, COLORS, PlaneView, SceneView } from './views.js';
import { switchLanguage, translate, word } from './words.js';

const $ = id => document.getElementById(id);
// Sweeps kept: about 2 MB each.
const SWEEPS = 40, IMAGES = 24;
const PLAY_MS = 100, TOAST_MS = 3500;
const STEP = { move: 0.05, fineMove: 0.01, turn: Math.PI / 180, fineTurn: Math.PI / 900, size: 0.05, fineSize: 0.01 };
const ERRORS = ['missing', 'extra', 'class', 'position', 'size', 'heading', 'half_turn', 'id_switch', 'time', 'guideline'];

const app = {
  person: null, classes: [], clip: null, sample: 0, track: null, item: null, passed: [], history: [], scope: null, preview: null,
  colorBy: 'height', shownAt: 0, decided: 0, spentMs: 0, playing: null, merging: false, box: null, sweep: null, held: null, ready: false,
  chosen: new Set(), anchor: null, filter: { class: '', state: 'all' }, canvas: null, layout: 'map',
};
// For tests and for those who look under the hood.
window.desk = app;

const el = (name, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...children);
  return element;
};

class Cache {
  constructor(most, load) { Object.assign(this, { most, load, kept: new Map() }); }

  get(key) {
    let found = this.kept.get(key);
    if (found) this.kept.delete(key);
    else {
      found = this.load(key);
      found.catch(() => this.kept.delete(key));
    }
    this.kept.set(key, found);
    if (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
    return found;
  }
}

const sweeps = new Cache(SWEEPS, fetchPoints);
const images = new Cache(IMAGES, async path => createImageBitmap(await (await fetch(path)).blob()));

const scene = new SceneView($('scene'), { changed: redraw, picked });
const onPlane = {
  changed: redraw,
  editable: () => currentBox() && mayEdit(),
  preview: box => { app.preview = box; redraw(); },
  done: operation => { app.preview = null; edit(operation); },
};
const planes = ['top', 'side', 'rear'].map(name => new PlaneView($(name), name, onPlane));
const cameraView = new CameraView($('camera'));
app.views = { scene, planes };
let outbox = null;

// What is chosen.

const track = () => app.clip?.tracks[app.track];
const currentBox = () => track()?.boxes[app.sample];
const colorOf = name => `rgb(${(app.classes.find(one => one.name === name)?.color ?? [200, 200, 200]).join(',')})`;
const mayEdit = () => app.person && app.person.role !== 'data_user';
const mayOversee = () => ['lead', 'admin'].includes(app.person?.role);
const mayDecide = () => ['reviewer', 'lead', 'admin'].includes(app.person?.role);
const samplesOf = of => Object.keys(of.boxes).map(Number).sort((a, b) => a - b);
const scopeOf = of => app.scope ?? (of.static ? 'track' : 'box');

// Drawing, at most once a frame.

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function draw() {
  if (!app.clip) return;
  const boxes = Object.entries(app.clip.tracks).flatMap(([number, one]) => {
    const box = Number(number) === Number(app.track) && app.preview ? app.preview : one.boxes[app.sample];
    return box ? [{ track: Number(number), box, color: colorOf(one.class), verdict: one.verdict, label: `${one.class} ${number}` }] : [];
  });
  const box = currentBox();
  if (scene.follow && box) scene.center = [box[X], box[Y]];
  scene.draw(app.sweep, boxes, app.track === null ? null : Number(app.track), app.colorBy);
  for (const plane of planes) plane.draw(app.sweep, box, app.preview, track() ? colorOf(track().class) : '', app.colorBy);
  cameraView.draw(app.picture?.camera, app.picture?.bitmap, app.picture?.sees ? app.preview ?? box : null, css('--accent'));
  strip();
  app.drawn = performance.now();
}

const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function strip() {
  const canvas = $('strip'), ratio = devicePixelRatio || 1, width = canvas.clientWidth * ratio | 0, height = canvas.clientHeight * ratio | 0;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const c = canvas.getContext('2d'), count = app.clip.samples.length, w = width / count, of = track();
  c.fillStyle = css('--raised');
  c.fillRect(0, 0, width, height);
  const most = of ? Math.max(10, ...Object.values(of.boxes).map(box => box[POINTS])) : 1;
  for (let s = 0; s < count; s++) {
    const box = of?.boxes[s];
    if (!box) continue;
    const h = Math.max(3, Math.sqrt(box[POINTS] / most) * (height - 6));
    c.globalAlpha = box[PREDICTED] ? 0.35 : 0.85;
    c.fillStyle = box[KEYED] ? css('--info') : colorOf(of.class);
    c.fillRect(s * w + 0.5, height - h, Math.max(1, w - 1), h);
  }
  c.globalAlpha = 1;
  if (of && of.worst !== null) {
    c.fillStyle = css('--bad');
    c.fillRect(of.worst * w, 0, Math.max(2, w), 3);
  }
  c.strokeStyle = css('--accent');
  c.lineWidth = 2 * ratio;
  c.strokeRect(app.sample * w, 1, Math.max(3, w), height - 2);
  $('frame').textContent = `${app.sample + 1} / ${count}`;
}

// The list and the card.

function order() {
  const all = Object.entries(app.clip?.tracks ?? {});
  const rank = one => one.verdict === 'accepted' ? 1 : 0;
  return all.sort(([a, one], [b, two]) => rank(one) - rank(two) || two.saved_s - one.saved_s || a - b);
}

const SHOWN = {
  all: () => true, open: one => one.verdict === 'open', clean: one => one.verdict === 'open' && one.clean, returned: one => one.verdict === 'returned', suggested: one => one.verdict === 'suggested', accepted: one => one.verdict === 'accepted',
};
const isShown = one => (!app.filter.class || one.class === app.filter.class) && SHOWN[app.filter.state](one);
const shownTracks = () => order().filter(([, one]) => isShown(one)).map(([number]) => Number(number));

// A click chooses one; with Ctrl it adds to or takes from several, with Shift it chooses all from the last one to here.
function clicked(number, event) {
  if (event.shiftKey || event.ctrlKey || event.metaKey) {
    if (app.track !== null && !app.chosen.size) app.chosen.add(app.track);
    if (event.shiftKey) {
      const all = shownTracks(), from = all.indexOf(app.anchor ?? app.track), to = all.indexOf(number);
      for (const one of all.slice(Math.min(from < 0 ? to : from, to), Math.max(from, to) + 1)) app.chosen.add(one);
    } else if (!app.chosen.delete(number)) app.chosen.add(number);
    app.anchor = number;
    refresh();
    return;
  }
  app.chosen.clear();
  app.anchor = number;
  choose(number);
}

function list() {
  for (const number of app.chosen) if (!app.clip?.tracks[number]) app.chosen.delete(number);
  const all = order();
  const rows = all.filter(([, one]) => isShown(one)).map(([number, one]) => {
    const row = el('li', { role: 'option', className: `is-${one.verdict}`, onclick: event => clicked(Number(number), event) });
    const isChosen = app.chosen.has(Number(number));
    row.classList.toggle('is-chosen', isChosen);
    row.setAttribute('aria-selected', String(Number(number) === app.track || isChosen));
    const swatch = el('span', { className: 'swatch' });
    swatch.style.background = colorOf(one.class);
    const marks = { accepted: '✓', returned: '↩', open: `${Math.max(0, one.saved_s).toFixed(0)} s`, suggested: `? ${(100 * one.score).toFixed(0)} %` };
    const detail = `${Object.keys(one.boxes).length} × ${word(one.static ? 'static' : 'moving')}${one.findings?.length ? ` · ${one.findings.map(said => said.rule).join(' ')}` : ''}`;
    row.append(swatch, el('span', { className: 'name' }, el('b', { textContent: `${one.class} ${number}` }), el('small', { textContent: detail })),
      el('span', { className: `mark ${one.verdict}`, textContent: marks[one.verdict], title: word('expected') }));
    return row;
  });
  $('tracks').replaceChildren(...rows);
  $('tracks').querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
  const left = all.filter(([, one]) => one.verdict !== 'accepted').length;
  $('count').textContent = rows.length === all.length ? all.length : `${rows.length} / ${all.length}`;
  $('left').textContent = left;
  $('progress').firstElementChild.style.width = `${all.length ? 100 * (all.length - left) / all.length : 0}%`;
  $('pace').textContent = app.decided ? `${(app.spentMs / app.decided / 1000).toFixed(1)} ${word('perTrack')}` : '';
  $('bulk').hidden = app.chosen.size < 2 || !mayEdit();
  $('bulk-count').textContent = `${app.chosen.size} ${word('chosen')}`;
  $('bulk-accept').hidden = !mayDecide();
}

function filters() {
  const classes = app.classes.map(one => one.name), chosen = app.filter;
  $('filter-class').replaceChildren(el('option', { value: '', textContent: word('allClasses') }), ...classes.map(name => el('option', { value: name, textContent: name, selected: name === chosen.class })));
  $('filter-state').replaceChildren(...Object.keys(SHOWN).map(name => el('option', { value: name, textContent: word(`show_${name}`), selected: name === chosen.state })));
  $('bulk-class').replaceChildren(el('option', { value: '', textContent: word('class_n') }), ...classes.map(name => el('option', { value: name, textContent: name })));
}

function card() {
  const of = track(), box = app.preview ?? currentBox(), place = $('card');
  if (!of) { place.replaceChildren(el('p', { className: 'empty', textContent: word('noTrack') })); return; }
  const swatch = el('span', { className: 'swatch' });
  swatch.style.background = colorOf(of.class);
  const verdict = of.verdict === 'open' ? '' : of.verdict === 'suggested' ? word('suggestedText') : `${of.verdict === 'accepted' ? '✓' : '↩'} ${of.decided_by ?? ''}${of.error ? ` · ${errorWord(of.error)}` : ''}`;
  const title = el('div', { className: 'title' }, swatch, `${of.class} ${app.track}`, el('small', { textContent: of.score.toFixed(2), title: word('score') }), el('span', { className: `verdict ${of.verdict}`, textContent: verdict }));
  const fact = (value, unit) => el('span', {}, el('b', { textContent: value }), ` ${unit}`);
  const facts = el('div', { className: 'facts' });
  if (box) {
    facts.append(fact([LENGTH, WIDTH, HEIGHT].map(i => box[i].toFixed(2)).join(' × '), 'm'), fact(Math.hypot(box[X], box[Y]).toFixed(1), 'm'),
      fact((box[YAW] * 180 / Math.PI).toFixed(1), '°'), fact(box[POINTS], word('points')));
    if (box[PREDICTED]) facts.append(el('span', { textContent: word('predicted') }));
    if (box[KEYED]) facts.append(el('span', { textContent: word('keyed') }));
  }
  const button = (action, className, label) => el('button', { className, onclick: () => act(action, {}), title: word(action) }, label ?? word(action), el('kbd', { textContent: shown(keysOf(action)[0] ?? '') }));
  const actions = el('div', { className: 'actions' });
  if (mayDecide()) actions.append(button('accept', 'yes'), button('reject', 'no'));
  if (mayEdit()) actions.append(button('delete', 'no', word('remove')), button('scopeNext', 'scope', word(`scope_${scopeOf(of)}`)));
  const said = (of.findings ?? []).map(one => el('p', { className: 'finding' }, el('b', { textContent: one.rule }), ` ${one.message}`));
  if (of.evidence) said.push(el('p', { className: 'finding', textContent: because(of.evidence) }));
  place.replaceChildren(title, facts, ...said, actions);
}

// Why it is as it is, in the labeller's own terms: names and numbers, lists left out.
const because = evidence => Object.entries(evidence).filter(([, value]) => ['number', 'string', 'boolean'].includes(typeof value)).map(([name, value]) => `${name} ${value}`).join(' · ');

const errorWord = error => word(error === 'size' ? 'size_e' : error);

function status() {
  const chip = $('state'), count = outbox?.items.length ?? 0;
  chip.className = `chip ${outbox && !outbox.online ? 'offline' : count ? 'waiting' : ''}`;
  chip.textContent = outbox && !outbox.kept ? `${word('notKept')} · ${count} ${word('waiting')}` : outbox && !outbox.online ? `${word('offline')} · ${count} ${word('waiting')}` : count ? `${count} ${word('waiting')}` : word('saved');
  app.pending = count;
}

function refresh() {
  list();
  card();
  status();
  $('color').textContent = `${word('color')} ${word(app.colorBy)}`;
  $('follow').textContent = scene.follow ? `${track()?.class ?? ''} ${app.track ?? ''}` : word('scene');
  redraw();
}

let toastTimer = 0;
function toast(text, bad = false) {
  const place = $('toast');
  place.textContent = text;
  place.className = bad ? 'bad' : '';
  place.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { place.hidden = true; }, TOAST_MS);
}

// Going about.

async function show(sample) {
  if (!app.clip) return;
  app.sample = Math.min(app.clip.samples.length - 1, Math.max(0, sample));
  app.preview = null;
  const wanted = app.sample, path = s => `${clipPath(app.clip)}/points/${s}`;
  const [sweep] = await Promise.all([sweeps.get(path(wanted)).catch(() => null), look(wanted)]);
  if (app.sample !== wanted) return;
  app.sweep = sweep;
  card();
  redraw();
  app.canvas?.look(app.track, app.sample);
  // The neighbours are likely to be next.
  for (const near of [wanted + 1, wanted - 1]) if (near >= 0 && near < app.clip.samples.length) sweeps.get(path(near)).catch(() => {});
}

async function look(sample) {
  const names = app.clip.samples[sample].images, sees = CameraView.choose(app.clip.cameras, names, currentBox());
  const camera = sees ?? app.clip.cameras.find(one => names.includes(one.sensor));
  const bitmap = camera && await images.get(`${clipPath(app.clip)}/images/${sample}/${encodeURIComponent(camera.sensor)}`).catch(() => null);
  if (app.sample === sample) app.picture = camera && bitmap ? { camera, bitmap, sees: Boolean(sees) } : null;
}

async function choose(number, sample) {
  if (app.merging) { merge(number); return; }
  app.track = number;
  app.scope = null;
  app.preview = null;
  app.shownAt = performance.now();
  for (const plane of planes) plane.zoom = 1;
  const of = track();
  if (of && sample === undefined) sample = of.boxes[app.sample] ? app.sample : of.worst ?? app.sample;
  await show(sample ?? app.sample);
  refresh();
  if (of && mayEdit()) hold();
}

// The chosen track is kept from others, the one before is given back.
async function hold() {
  if (app.track === null || !app.clip) return;
  const path = `${clipPath(app.clip)}/hold/${app.track}`, before = app.held;
  app.held = path;
  try {
    if (before && before !== path) ask('DELETE', before, {}).catch(() => {});
    const { held } = await ask('POST', path, {});
    if (!held) toast(word('heldBy'), true);
  } catch { /* The outbox tells of a lost connection. */ }
}

function picked(number, at) {
  if (app.creating) { app.creating = false; create(at); return; }
  if (number !== undefined) choose(number);
  else if (app.merging) { app.merging = false; toast(''); $('toast').hidden = true; }
}

async function next() {
  if (!mayEdit()) return;
  if (app.track !== null && track() && track().verdict !== 'accepted') app.passed.push([app.clip.vehicle, app.clip.clip, app.track]);
  // What is decided but not stored yet must not come again.
  const onTheWay = outbox.items.filter(item => ['accept', 'delete', 'bulk'].includes(item.operation.kind)).flatMap(item => item.tracks.map(track => [item.clip.vehicle, item.clip.clip, track]));
  try {
    const answer = await ask('POST', '/api/next', { after: [...app.passed, ...onTheWay] });
    if (!answer.item && app.passed.length) { app.passed = []; return next(); }
    if (!answer.item) { app.track = null; refresh(); toast(word('doneText')); return; }
    await go(answer.item);
  } catch (error) {
    // Without the server the page goes on by itself through what it has.
    const left = order().find(([number, one]) => one.verdict !== 'accepted' && Number(number) !== app.track);
    if (left) choose(Number(left[0]), left[1].worst ?? undefined);
    else toast(error.message, true);
  }
}

async function go(item, back = false) {
  if (!app.clip || !same(app.clip, item)) await open(item);
  if (!back) app.history.push({ vehicle: item.vehicle, clip: item.clip, track: item.track, sample: item.sample });
  await choose(item.track, item.sample ?? undefined);
}

// Edits.

function edit(operation, number = app.track) {
  const of = app.clip?.tracks[number];
  if (!of || !mayEdit()) return;
  const full = { track: number, ...operation };
  if (['move', 'size', 'turn', 'flip', 'shrink', 'ground'].includes(operation.kind)) Object.assign(full, { sample: app.sample, scope: scopeOf(of) });
  if (['copy_size', 'split', 'extend', 'delete_box'].includes(operation.kind)) full.sample = app.sample;
  perform(full, [number]);
}

function perform(operation, tracks) {
  const now = performance.now(), spent = now - app.shownAt;
  app.shownAt = now;
  app.spentMs += spent;
  if (['accept', 'delete'].includes(operation.kind) || (operation.kind === 'bulk' && operation.each.what !== 'relabel')) app.decided += tracks.length;
  for (const number of tracks) {
    const seen = app.clip.tracks[number] && foreseen(app.clip.tracks[number], operation);
    if (seen) app.clip.tracks[number] = seen;
    else if (seen === null) delete app.clip.tracks[number];
  }
  outbox.push(app.clip, tracks, app.clip.revs, operation, spent);
  refresh();
}

// Several tracks at once: one operation, one undo.
function all(each) {
  const tracks = [...app.chosen].filter(number => app.clip.tracks[number]).sort((a, b) => a - b);
  app.chosen.clear();
  if (tracks.length && mayEdit() && (each.what !== 'accept' || mayDecide())) perform({ kind: 'bulk', tracks, each }, tracks);
  if (each.what === 'delete' && !track()) app.track = null;
  refresh();
}

function create(at) {
  if (!at) return;
  toast(word('working'));
  perform({ kind: 'create', sample: app.sample, at_ego_m: at }, []);
}

function merge(number) {
  app.merging = false;
  const from = app.track;
  if (number === from) return;
  app.track = number;
  perform({ kind: 'merge', track: from, into: number }, [from, number]);
}

// What the server says.

const server = {
  changed: () => { status(); },
  done(item, answer) {
    if (!app.clip || !same(item.clip, app.clip)) return;
    const fresh = Object.keys(answer.tracks).filter(number => !(number in app.clip.tracks));
    for (const [number, state] of Object.entries(answer.tracks)) {
      app.clip.revs[number] = answer.revs[number];
      // What was done since is on its way and shown already.
      if (outbox.pending(app.clip, Number(number))) continue;
      if (state) app.clip.tracks[number] = state;
      else delete app.clip.tracks[number];
    }
    app.clip.seq = answer.seq;
    app.canvas?.changed(answer.samples);
    app.clip.unfinished = true;
    if (item.operation.kind === 'create' && fresh.length) { $('toast').hidden = true; choose(Number(fresh[0]), item.operation.sample); }
    if (['undo', 'redo'].includes(item.operation.kind)) {
      const number = Number(Object.keys(answer.tracks)[0]);
      if (app.clip.tracks[number] && number !== app.track) choose(number);
    }
    refresh();
  },
  refused(item, error) {
    if (error.status === 401) { signIn(); return; }
    toast(error.message, true);
    reload(item);
  },
  conflict(item, sides) {
    if (app.clip && same(item.clip, app.clip)) {
      for (const [number, state] of Object.entries(sides.tracks)) {
        app.clip.revs[number] = sides.revs[number];
        if (state) app.clip.tracks[number] = state; else delete app.clip.tracks[number];
      }
      app.canvas?.changed(null);
    }
    refresh();
    const last = sides.theirs.at(-1);
    const text = sides.held_by ? `${sides.held_by} ${word('heldBy')}` : `${last?.person ?? ''} (${last ? word(last.name) : ''}) ${word('conflictText')}`;
    const again = () => { dialog().close(); if (app.clip && same(item.clip, app.clip)) perform(item.operation, item.tracks.filter(number => app.clip.tracks[number])); };
    const buttons = [el('button', { className: 'primary', textContent: word('theirs'), onclick: () => dialog().close() })];
    if (!sides.held_by) buttons.unshift(el('button', { className: 'plain', textContent: `${word('mineAgain')}: ${word(item.operation.kind)}`, onclick: again }));
    open_dialog(el('h3', { textContent: word('conflict') }), el('p', { textContent: text }), el('div', { className: 'buttons' }, ...buttons));
  },
};

async function reload(item) {
  if (app.clip && same(item.clip, app.clip) && !outbox.items.some(other => same(other.clip, app.clip))) await open(app.clip, app.track, app.sample);
}

// Keys.

const MOVES = { forward: [1, 0, 0], backward: [-1, 0, 0], leftwards: [0, 1, 0], rightwards: [0, -1, 0], up: [0, 0, 1], down: [0, 0, -1] };
// Length grows forward, width to the left, height upward.
const SIZES = { longer: ['front', 1], shorter: ['front', -1], wider: ['left', 1], narrower: ['left', -1], taller: ['top', 1], lower: ['top', -1] };

function act(action, { fine = false, number } = {}) {
  if (action in MOVES) return currentBox() && edit({ kind: 'move', by_box_m: MOVES[action].map(v => v * (fine ? STEP.fineMove : STEP.move)) });
  if (action in SIZES) { const [face, sign] = SIZES[action]; return currentBox() && edit({ kind: 'size', face, by_m: sign * (fine ? STEP.fineSize : STEP.size) }); }
  switch (action) {
    case 'accept': if (app.chosen.size > 1) { all({ what: 'accept' }); break; } if (track() && mayDecide()) { edit({ kind: 'accept' }); next(); } break;
    case 'reject': if (track() && mayDecide()) why(); break;
    case 'next': next(); break;
    case 'previous': app.history.pop(); if (app.history.length) go(app.history.at(-1), true); break;
    case 'create': if (mayEdit()) { if (scene.mouse && $('scene').matches(':hover')) create(scene.mouse); else { app.creating = true; toast(word('create')); } } break;
    case 'undo': case 'redo': if (app.clip && mayEdit()) perform({ kind: action }, []); break;
    case 'turnLeft': case 'turnRight': currentBox() && edit({ kind: 'turn', by_rad: (action === 'turnLeft' ? 1 : -1) * (fine ? STEP.fineTurn : STEP.turn) }); break;
    case 'flip': case 'shrink': case 'ground': case 'copy_size': case 'delete_box': if (currentBox()) edit({ kind: action }); break;
    case 'interpolate': case 'split': case 'extend': if (track()) edit({ kind: action }); break;
    case 'delete': if (app.chosen.size > 1) { all({ what: 'delete' }); break; } if (track() && mayEdit()) { edit({ kind: 'delete' }); app.track = null; next(); } break;
    case 'merge': if (track() && mayEdit()) { app.merging = true; toast(word('mergeHint')); } break;
    case 'class_n': if (app.chosen.size > 1 && app.classes[number - 1]) { all({ what: 'relabel', class: app.classes[number - 1].name }); break; } if (track() && app.classes[number - 1]) edit({ kind: 'relabel', class: app.classes[number - 1].name }); break;
    case 'frameBack': show(app.sample - 1); break;
    case 'frameOn': show(app.sample + 1); break;
    case 'worst': if (track()) show(track().worst ?? app.sample); break;
    case 'play': play(); break;
    case 'scopeNext': if (track()) { const all = ['box', 'onward', 'track']; app.scope = all[(all.indexOf(scopeOf(track())) + 1) % 3]; refresh(); } break;
    case 'color': { const all = Object.keys(COLORS); app.colorBy = all[(all.indexOf(app.colorBy) + 1) % all.length]; refresh(); break; }
    case 'follow': scene.follow = !scene.follow; scene.metres = scene.follow ? 36 : 110; if (!scene.follow) scene.center = [0, 0]; refresh(); break;
    case 'history': if (track()) showHistory(); break;
    case 'remark': if (app.clip) showRemarks(); break;
    case 'help': showKeys(); break;
    case 'chooseAll': app.chosen = new Set(shownTracks()); refresh(); break;
    case 'canvas': nextLayout(); break;
    case 'pace': if (mayOversee()) showPace(); break;
  }
}

// Before the viewer sees them: the same key must not act twice. (The viewer keeps a hidden field for typing in; that one is not of ours.)
addEventListener('keydown', event => {
  const typing = document.activeElement?.closest('header, main, dialog') && ['INPUT', 'TEXTAREA', 'SELECT'].includes(document.activeElement.tagName);
  if (dialog().open || typing) return;
  if (event.key === 'Escape') { app.merging = app.creating = false; $('toast').hidden = true; if (app.chosen.size) { app.chosen.clear(); refresh(); } return; }
  const { action, fine, number } = actionOf(event);
  if (!action) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (event.repeat && ['accept', 'reject', 'delete', 'create', 'next'].includes(action)) return;
  app.pressed = performance.now();
  act(action, { fine, number });
}, { capture: true });

// The 3D view: beside the whole scene, or in its place, or not at all.

const LAYOUTS = ['map', 'both', 'canvas'];

function nextLayout() {
  if (!app.hasCanvas) return;
  setLayout(LAYOUTS[(LAYOUTS.indexOf(app.layout) + 1) % LAYOUTS.length]);
  localStorage.setItem('boxwright.layout', app.layout);
}

function setLayout(layout) {
  app.layout = layout;
  $('stage').dataset.layout = layout;
  if (layout !== 'map') openCanvas();
  redraw();
}

async function openCanvas() {
  if (!app.canvas) {
    app.canvas = new Canvas($('viewer'), {
      picked: number => { if (app.clip.tracks[number] && number !== app.track) choose(number); },
      said: (state, error) => { $('space-state').textContent = { loading: word('loading3d'), opening: word('opening3d'), failed: `${word('failed3d')} ${error}` }[state] ?? ''; },
    });
    await app.canvas.start();
  }
  if (app.clip) {
    app.canvas.look(app.track, app.sample);
    await app.canvas.open(app.clip);
  }
}

// Asked for by the person, or drawn by a graphics card: only after the first picture, which it must not keep waiting.
function firstLayout() {
  $('layout').hidden = !app.hasCanvas;
  if (!app.hasCanvas) return;
  const asked = localStorage.getItem('boxwright.layout');
  (window.requestIdleCallback ?? setTimeout)(() => setLayout(LAYOUTS.includes(asked) ? asked : isDrawnByHardware() ? 'both' : 'map'));
}

function play() {
  if (app.playing) { clearInterval(app.playing); app.playing = null; return; }
  app.playing = setInterval(() => {
    const at = track() ? samplesOf(track()) : app.clip.samples.map((_, s) => s);
    const after = at.find(s => s > app.sample) ?? at[0];
    show(after);
  }, PLAY_MS);
}

// Dialogs.

const dialog = () => $('dialog');
function open_dialog(...content) {
  dialog().replaceChildren(...content);
  if (!dialog().open) dialog().showModal();
}
const closing = () => el('div', { className: 'buttons' }, el('button', { className: 'plain', textContent: word('close'), onclick: () => dialog().close() }));

function why() {
  const give = error => { dialog().close(); edit({ kind: 'reject', error }); next(); };
  const choices = ERRORS.map((error, index) => el('button', { onclick: () => give(error) }, el('kbd', { textContent: String((index + 1) % 10) }), errorWord(error)));
  open_dialog(el('h3', { textContent: word('why') }), el('div', { className: 'choices' }, ...choices), closing());
  dialog().onkeydown = event => { const error = /^[0-9]$/.test(event.key) && ERRORS[(Number(event.key) + 9) % 10]; if (error) { event.preventDefault(); dialog().onkeydown = null; give(error); } };
}

function showKeys() {
  const groups = GROUPS.map(group => el('div', {}, ...group.flatMap(action => [el('span', { textContent: word(action) }), el('span', {}, ...keysOf(action).map(key => el('kbd', { textContent: shown(key) })))])));
  groups[1].append(el('span', { textContent: word('fine') }), el('span'));
  groups[3].append(el('span', { textContent: word('class_n') }), el('kbd', { textContent: '1 … 9' }));
  const chooser = el('select', { onchange: event => { choosePreset(event.target.value); showKeys(); refresh(); } }, ...presets().map(name => el('option', { value: name, textContent: name, selected: name === currentPreset() })));
  open_dialog(el('h3', { textContent: word('help') }), el('div', { className: 'keymap' }, ...groups, el('div', {}, el('span', { textContent: word('preset') }), chooser)), closing());
}

// What an operation was asked to do, beside its name.
function what(request) {
  const metres = value => `${value >= 0 ? '+' : ''}${value.toFixed(2)} m`;
  const said = [];
  if (request.by_box_m) said.push(request.by_box_m.map(metres).join(' '));
  if (request.by_m !== undefined) said.push(`${request.face} ${metres(request.by_m)}`);
  if (request.by_rad !== undefined) said.push(`${(request.by_rad * 180 / Math.PI).toFixed(1)}°`);
  if (request.class ?? request.each?.class) said.push(request.class ?? request.each.class);
  if (request.error) said.push(errorWord(request.error));
  if (request.sample !== undefined) said.push(`${word('frame')} ${request.sample + 1}`);
  if (request.scope) said.push(word(`scope_${request.scope}`));
  return said.join(', ');
}

async function showHistory() {
  const { operations } = await ask('GET', `${clipPath(app.clip)}/history/${app.track}`);
  const undone = new Set(operations.filter(one => one.undoes !== null).map(one => one.undoes));
  const rows = operations.map(one => el('p', {}, el('b', { textContent: word(one.name) }), what(one.request), one.person, undone.has(one.seq) ? el('i', { textContent: word('undone') }) : '', el('small', { textContent: new Date(one.at_ms).toLocaleString() })));
  open_dialog(el('h3', { textContent: `${word('history')}: ${track().class} ${app.track}` }), el('div', { className: 'entries' }, ...(rows.length ? rows : [word('noHistory')])), closing());
}

// How fast people are, by lot and by action; for leads.
async function showPace(answer) {
  const told = answer ?? await ask('GET', '/api/statistics');
  const seconds = value => value === null ? '–' : `${value.toFixed(1)} s`;
  const time = value => value === null ? '–' : value < 90 ? `${value.toFixed(0)} s` : value < 5400 ? `${(value / 60).toFixed(0)} min` : `${(value / 3600).toFixed(1)} h`;
  const cell = (tag, value, index) => el(tag, { textContent: value, className: index > 0 && (tag === 'th' || /^[\d–]/.test(value)) ? 'number' : '' });
  const table = (heads, rows) => el('div', { className: 'scroll' }, el('table', {}, el('tr', {}, ...heads.map((head, index) => cell('th', word(head), index))), ...rows.map(row => el('tr', {}, ...row.map((value, index) => cell('td', String(value), index))))));
  const lots = table(['lot', 'clips', 'tracksLeft', 'decided', 'perDecision', 'forecast'], told.lots.map(one => [one.lot, one.clips, one.left, one.decided, seconds(one.per_track_s), time(one.forecast_s)]));
  const spent = table(['lot', 'person', 'action', 'class', 'count', 'median', 'mean'], told.spent.map(one => [one.lot, one.person, word(one.action), one.class, one.count, seconds(one.median_s), seconds(one.mean_s)]));
  const lot = el('input', { value: '', placeholder: word('lot') });
  const put = async () => { try { showPace(await ask('POST', '/api/lots', { lot: lot.value, clips: [[app.clip.vehicle, app.clip.clip]] })); } catch (error) { toast(error.message, true); } };
  open_dialog(el('h3', { textContent: `${word('pace')} · ${word('forecast')}: ${time(told.forecast_s)}` }), lots, spent,
    el('div', { className: 'buttons' }, ...(app.clip ? [lot, el('button', { className: 'plain', textContent: word('putLot'), onclick: put })] : []), el('button', { className: 'plain', textContent: word('close'), onclick: () => dialog().close() })));
}

async function showRemarks(answer) {
  const { remarks } = answer ?? await ask('GET', `${clipPath(app.clip)}/remarks`), path = `${clipPath(app.clip)}/remarks`;
  const settle = async id => showRemarks(await ask('POST', `${path}/${id}`, {}));
  const rows = remarks.map(one => el('p', {}, el('b', { textContent: one.track === null ? '' : `${one.track}` }), one.error ? errorWord(one.error) : '', one.body, el('small', { textContent: `${one.person} ${one.resolved_by ? `✓ ${one.resolved_by}` : ''}` }),
    one.resolved_by ? '' : el('button', { className: 'plain', textContent: word('resolve'), onclick: () => settle(one.id) })));
  const body = el('textarea'), kind = el('select', {}, el('option', { value: '', textContent: '—' }), ...ERRORS.map(error => el('option', { value: error, textContent: errorWord(error) })));
  const add = async () => {
    const remark = { id: newId(), track: app.track, sample: app.track === null ? null : app.sample, error: kind.value || null, body: body.value };
    try { showRemarks(await ask('POST', path, remark)); } catch (error) { toast(error.message, true); }
  };
  open_dialog(el('h3', { textContent: word('remark') }), el('div', { className: 'entries' }, ...(rows.length ? rows : [word('noRemarks')])), body,
    el('div', { className: 'buttons' }, kind, el('button', { className: 'primary', textContent: word('add'), onclick: add }), el('button', { className: 'plain', textContent: word('close'), onclick: () => dialog().close() })));
}

async function finish(anyway = false) {
  if (!app.clip) return;
  const undecided = Object.values(app.clip.tracks).filter(one => one.verdict !== 'accepted').length;
  if (undecided && !anyway) {
    open_dialog(el('h3', { textContent: word('finish') }), el('p', { textContent: `${undecided} ${word('undecided')}` }), el('div', { className: 'buttons' },
      el('button', { className: 'plain', textContent: word('close'), onclick: () => dialog().close() }),
      el('button', { id: 'finish-anyway', className: 'primary', textContent: word('finishAnyway'), onclick: () => { dialog().close(); finish(true); } })));
    return;
  }
  while (outbox.items.length) await new Promise(resume => setTimeout(resume, 50));
  try {
    const answer = await ask('POST', `${clipPath(app.clip)}/finish`, { anyway });
    app.clip.revision = answer.revision;
    app.finished = answer;
    toast(`${word('written')} ${answer.revision}`);
    clips();
  } catch (error) { toast(error.message, true); }
}

// Starting.

async function clips() {
  const { clips: all } = await ask('GET', '/api/clips');
  const name = one => `${one.vehicle} · ${one.clip} · ${one.open + one.returned} ${word('left')}${one.revision ? ` · ${word('revision')} ${one.revision}` : ''}`;
  $('clips').replaceChildren(...all.map(one => el('option', { value: JSON.stringify([one.vehicle, one.clip]), textContent: name(one), selected: app.clip !== null && same(one, app.clip) })));
  return all;
}

async function open(clip, number = null, sample = 0) {
  toast(word('loading'));
  const answer = await ask('GET', clipPath(clip));
  // What is on its way is shown as done.
  for (const item of outbox.items.filter(item => same(item.clip, answer))) {
    for (const other of item.tracks) {
      const seen = answer.tracks[other] && foreseen(answer.tracks[other], item.operation);
      if (seen) answer.tracks[other] = seen; else if (seen === null) delete answer.tracks[other];
    }
  }
  app.clip = answer;
  // The address leads here again: after a sign-in, or whoever it is sent to.
  history.replaceState(null, '', `#${new URLSearchParams({ vehicle: answer.vehicle, clip: answer.clip })}`);
  app.track = number !== null && answer.tracks[number] ? number : null;
  $('toast').hidden = true;
  app.chosen.clear();
  await show(sample);
  refresh();
  clips();
  if (answer.foreign !== null) toast(word('foreign'), true);
  app.canvas?.open(app.clip);
}

// What the provider of identities is called, where there is one.
let provider;

async function signIn(message = '') {
  provider ??= (await ask('GET', '/oidc').catch(() => null))?.name;
  const name = el('input', { name: 'name', autocomplete: 'username', required: true }), password = el('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true });
  const form = el('form', { onsubmit: async event => {
    event.preventDefault();
    try { await ask('POST', '/api/session', { name: name.value, password: password.value }); dialog().close(); start(); } catch (error) { signIn(error.message); }
  } }, el('h3', { textContent: word('signIn') }), el('label', {}, word('name'), name), el('label', {}, word('password'), password), el('p', { className: 'error told', textContent: message }), el('button', { className: 'primary', textContent: word('signIn') }));
  if (provider) form.append(el('button', { id: 'provider', type: 'button', className: 'plain', textContent: word('signInBy').replace('{}', provider), onclick: signInByProvider }));
  open_dialog(form);
}

// The provider sends people back to where they are now.
async function signInByProvider() {
  try { location.assign((await ask('POST', '/oidc', { origin: location.origin, place: location.hash })).address); } catch (error) { signIn(error.message); }
}

// What was not sent yet stays in this browser, under the name that it was done under.
async function signOut() {
  try { await ask('DELETE', '/api/session'); location.reload(); } catch (error) { toast(error.message, true); }
}

// The clip that the address names, and what to look at in it: #vehicle=V&clip=N&track=T&sample=S. Nothing where it names none, and
// { missing } where that is none of those that are shown here.
function named(all) {
  const place = new URLSearchParams(location.hash.slice(1)), number = name => /^\d+$/.test(place.get(name)) ? Number(place.get(name)) : undefined;
  if (!place.has('vehicle') && !place.has('clip')) return {};
  const clip = all.find(one => same(one, { vehicle: place.get('vehicle'), clip: number('clip') }));
  return clip ? { wanted: [clip, number('track'), number('sample')] } : { missing: `${place.get('vehicle') ?? '?'} · ${place.get('clip') ?? '?'}` };
}

// Not a word of whether it is not there or above somebody's clearance: they cannot know that either.
function sayMissing(missing) {
  if (missing) toast(`${word('noClip')} ${missing.slice(0, 100)}`, true);
}

async function start() {
  translate();
  const key = new URLSearchParams(location.hash.slice(1)).get('key');
  if (key) {
    // The key opens once; it need not stand in the address bar or the history.
    history.replaceState(null, '', location.pathname);
    await ask('POST', '/api/session', { key }).catch(() => {});
  }
  try {
    const { person, classes, lease_ms, database, canvas } = await ask('GET', '/api/me');
    Object.assign(app, { person, classes, database, hasCanvas: canvas && isPossible() });
    holdOn(lease_ms);
    filters();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) { await signIn(); return; }
    throw error;
  }
  $('who').textContent = `${app.person.name} · ${app.person.role}`;
  $('sign-out').hidden = false;
  $('finish').disabled = !mayDecide();
  $('pace-open').hidden = !mayOversee();
  outbox?.close();
  outbox = new Outbox(app.database, app.person.name, server);
  app.outbox = outbox;
  await outbox.adopt();
  const all = await clips();
  const { wanted, missing } = named(all), first = wanted ?? [all.find(one => one.open + one.returned > 0) ?? all[0]];
  if (first[0]) await open(...first); else toast(word('doneText'));
  sayMissing(missing);
  status();
  app.ready = true;
  firstLayout();
}

$('clips').addEventListener('change', event => { const [vehicle, clip] = JSON.parse(event.target.value); event.target.blur(); open({ vehicle, clip }); });
$('undo').addEventListener('click', () => act('undo'));
$('help').addEventListener('click', showKeys);
$('sign-out').addEventListener('click', signOut);
$('finish').addEventListener('click', () => finish());
$('play').addEventListener('click', play);
$('layout').addEventListener('click', nextLayout);
$('pace-open').addEventListener('click', () => showPace());
$('filter-class').addEventListener('change', event => { app.filter.class = event.target.value; event.target.blur(); refresh(); });
$('filter-state').addEventListener('change', event => { app.filter.state = event.target.value; event.target.blur(); refresh(); });
$('bulk-accept').addEventListener('click', () => all({ what: 'accept' }));
$('bulk-delete').addEventListener('click', () => all({ what: 'delete' }));
$('bulk-class').addEventListener('change', event => { const name = event.target.value; event.target.value = ''; event.target.blur(); if (name) all({ what: 'relabel', class: name }); });
$('theme').addEventListener('click', () => {
  const root = document.documentElement.dataset;
  root.theme = root.theme === 'dark' ? 'light' : 'dark';
  localStorage.setItem('boxwright.theme', root.theme);
  refresh();
});
$('language').addEventListener('click', () => { switchLanguage(); filters(); clips(); refresh(); });
$('strip').addEventListener('pointerdown', event => {
  const go = at => { const bounds = $('strip').getBoundingClientRect(); show(Math.floor((at.clientX - bounds.left) / bounds.width * app.clip.samples.length)); };
  go(event);
  $('strip').onpointermove = go;
  $('strip').setPointerCapture(event.pointerId);
  $('strip').onpointerup = () => { $('strip').onpointermove = null; };
});
addEventListener('hashchange', async () => {
  if (!app.ready) return;
  const { wanted, missing } = named(await clips());
  if (wanted) open(...wanted); else sayMissing(missing);
});
// A button that was clicked must not take the next press of the space bar.
addEventListener('click', event => event.target.closest('button')?.blur());
new ResizeObserver(redraw).observe($('stage'));
// Whoever looks at a track keeps it: asked for three times while a lease lasts, so that one lost answer does not lose the track.
let holding = null;
function holdOn(leaseMs) {
  clearInterval(holding);
  holding = setInterval(() => { if (!document.hidden && app.track !== null && mayEdit()) hold(); }, leaseMs / 3);
}
start();
