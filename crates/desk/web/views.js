// Pictures: the whole scene from above, a box from three sides at full resolution, and the camera. All of it is drawn by ourselves into
// canvases; points become pixels of one image, so that a sweep of 120k points takes some milliseconds.

import { X, Y, Z, LENGTH, WIDTH, HEIGHT, YAW, PREDICTED, contains, corners, edited, footprint, fromBox, toBox, wrap } from './geometry.js';

const MARGIN_M = 1.6;
const EDGE_PX = 9;
const HANDLE_PX = 22;
const LUT_SIZE = 256;

const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function ramp(stops) {
  const lut = new Uint32Array(LUT_SIZE);
  for (let i = 0; i < LUT_SIZE; i++) {
    const at = i / (LUT_SIZE - 1) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2), share = at - low;
    const [r, g, b] = stops[low].map((value, channel) => Math.round(value + (stops[low + 1][channel] - value) * share));
    lut[i] = 255 << 24 | b << 16 | g << 8 | r;
  }
  return lut;
}

// Points are cold, so that boxes, which are warm, stand out.
const DARK = ramp([[38, 58, 92], [52, 110, 166], [70, 170, 200], [150, 222, 214], [232, 246, 238]]);
const LIGHT = ramp([[190, 202, 220], [110, 150, 196], [44, 112, 160], [16, 78, 118], [6, 36, 66]]);
const lut = () => document.documentElement.dataset.theme === 'light' ? LIGHT : DARK;

// The place of a point in the ramp.
export const COLORS = {
  height: (x, y, z) => (z + 0.5) * 70,
  intensity: (x, y, z, i) => i <= 1 ? i * 255 : i,
  range: (x, y) => Math.hypot(x, y) * 4,
};

class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: false });
    this.fit();
  }

  fit() {
    const ratio = Math.min(devicePixelRatio || 1, 2), { clientWidth, clientHeight } = this.canvas;
    const width = Math.max(1, Math.round(clientWidth * ratio)), height = Math.max(1, Math.round(clientHeight * ratio));
    if (this.image && width === this.canvas.width && height === this.canvas.height) return;
    Object.assign(this.canvas, { width, height });
    this.ratio = ratio;
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  clear() {
    const [r, g, b] = css('--canvas').split(' ').map(Number);
    this.pixels.fill(255 << 24 | b << 16 | g << 8 | r);
  }

  plot(sx, sy, color, size) {
    const { width, height } = this.canvas, x0 = sx | 0, y0 = sy | 0;
    for (let y = y0; y < y0 + size; y++) {
      if (y < 0 || y >= height) continue;
      for (let x = x0; x < x0 + size; x++) if (x >= 0 && x < width) this.pixels[y * width + x] = color;
    }
  }

  show() { this.context.putImageData(this.image, 0, 0); }

  pointer(event) {
    const bounds = this.canvas.getBoundingClientRect();
    return [(event.clientX - bounds.left) * this.ratio, (event.clientY - bounds.top) * this.ratio];
  }

  path(points, close = true) {
    const c = this.context;
    c.beginPath();
    points.forEach(([x, y], i) => i ? c.lineTo(x, y) : c.moveTo(x, y));
    if (close) c.closePath();
  }
}

// The whole scene from above, the vehicle's front to the right.
export class SceneView extends View {
  constructor(canvas, on) {
    super(canvas);
    this.center = [0, 0];
    this.metres = 110;
    this.follow = false;
    this.mouse = null;
    let drag = null;
    canvas.addEventListener('pointerdown', event => {
      drag = { from: this.pointer(event), center: [...this.center], moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener('pointermove', event => {
      const at = this.pointer(event);
      this.mouse = this.toEgo(at);
      if (!drag) return;
      const [dx, dy] = [at[0] - drag.from[0], at[1] - drag.from[1]];
      drag.moved ||= Math.hypot(dx, dy) > 4 * this.ratio;
      if (drag.moved) {
        this.center = [drag.center[0] - dx / this.scale, drag.center[1] + dy / this.scale];
        on.changed();
      }
    });
    canvas.addEventListener('pointerup', event => {
      if (drag && !drag.moved) on.picked(this.hit(...this.toEgo(this.pointer(event))), this.mouse);
      drag = null;
    });
    canvas.addEventListener('wheel', event => {
      event.preventDefault();
      const before = this.toEgo(this.pointer(event));
      this.metres = Math.min(400, Math.max(8, this.metres * Math.exp(event.deltaY * 0.0012)));
      const after = this.toEgo(this.pointer(event));
      this.center = [this.center[0] + before[0] - after[0], this.center[1] + before[1] - after[1]];
      on.changed();
    }, { passive: false });
  }

  get scale() { return this.canvas.width / this.metres; }

  toScreen(x, y) {
    return [this.canvas.width / 2 + (x - this.center[0]) * this.scale, this.canvas.height / 2 - (y - this.center[1]) * this.scale];
  }

  toEgo([sx, sy]) {
    return [this.center[0] + (sx - this.canvas.width / 2) / this.scale, this.center[1] - (sy - this.canvas.height / 2) / this.scale];
  }

  hit(x, y) {
    const hits = (this.boxes ?? []).filter(one => contains(one.box, x, y));
    hits.sort((one, two) => one.box[LENGTH] * one.box[WIDTH] - two.box[LENGTH] * two.box[WIDTH]);
    return hits[0]?.track;
  }

  draw(points, boxes, selected, colorBy) {
    this.fit();
    this.boxes = boxes;
    this.clear();
    const place = COLORS[colorBy], colors = lut(), size = this.metres < 60 ? 2 : 1, big = Math.max(1, Math.round(size * this.ratio));
    const { width, height } = this.canvas, scale = this.scale, ox = width / 2 - this.center[0] * scale, oy = height / 2 + this.center[1] * scale;
    for (let i = 0; i + 3 < (points?.length ?? 0); i += 4) {
      const sx = ox + points[i] * scale, sy = oy - points[i + 1] * scale;
      if (sx < 0 || sy < 0 || sx >= width || sy >= height) continue;
      const at = place(points[i], points[i + 1], points[i + 2], points[i + 3]);
      this.plot(sx, sy, colors[at < 0 ? 0 : at > 255 ? 255 : at | 0], big);
    }
    this.show();
    this.rings();
    for (const one of boxes) if (one.track !== selected) this.box(one, false);
    for (const one of boxes) if (one.track === selected) this.box(one, true);
  }

  rings() {
    const c = this.context;
    c.lineWidth = 1;
    c.strokeStyle = css('--ring');
    c.fillStyle = css('--faint');
    c.font = `${10 * this.ratio}px system-ui, sans-serif`;
    const [x, y] = this.toScreen(0, 0);
    for (const metres of [10, 20, 40, 80]) {
      c.beginPath();
      c.arc(x, y, metres * this.scale, 0, 2 * Math.PI);
      c.stroke();
      c.fillText(`${metres} m`, x + metres * this.scale + 3, y - 3);
    }
    c.fillStyle = css('--ego');
    const [l, w] = [2.3 * this.scale, 0.95 * this.scale];
    this.path([[x + l, y], [x + l * 0.5, y - w], [x - l, y - w], [x - l, y + w], [x + l * 0.5, y + w]]);
    c.fill();
  }

  box({ box, color, verdict, label }, selected) {
    const c = this.context, points = footprint(box).map(([x, y]) => this.toScreen(x, y));
    this.path(points);
    c.globalAlpha = selected ? 0.28 : verdict === 'open' ? 0.14 : 0.05;
    c.fillStyle = color;
    c.fill();
    c.globalAlpha = ['accepted', 'suggested'].includes(verdict) && !selected ? 0.55 : 1;
    c.setLineDash(verdict === 'suggested' ? [1.5 * this.ratio, 3 * this.ratio] : box[PREDICTED] ? [4, 3] : []);
    c.lineWidth = (selected ? 2.5 : 1.4) * this.ratio;
    c.strokeStyle = selected ? css('--accent') : verdict === 'returned' ? css('--bad') : color;
    c.stroke();
    c.setLineDash([]);
    const nose = fromBox(box, box[LENGTH] / 2 + (selected ? 1 : 0.4), 0, 0), middle = fromBox(box, box[LENGTH] / 2, 0, 0);
    this.path([this.toScreen(middle[0], middle[1]), this.toScreen(nose[0], nose[1])], false);
    c.stroke();
    c.globalAlpha = 1;
    if (verdict === 'accepted') {
      const [x, y] = this.toScreen(box[X], box[Y]), s = 3.5 * this.ratio;
      c.strokeStyle = css('--good');
      c.lineWidth = 2 * this.ratio;
      this.path([[x - s, y], [x - s * 0.2, y + s * 0.8], [x + s, y - s * 0.8]], false);
      c.stroke();
    }
    if (selected) {
      const top = points.reduce((best, point) => point[1] < best[1] ? point : best);
      c.font = `600 ${11 * this.ratio}px system-ui, sans-serif`;
      c.fillStyle = css('--accent');
      c.fillText(label, top[0] + 4, top[1] - 6 * this.ratio);
    }
  }
}

// What each side view shows: names of its axes in the frame of the box, and which way they run on the screen.
const PLANES = {
  top: { axes: [0, 1], signs: [1, 1], sizes: [LENGTH, WIDTH] },
  side: { axes: [0, 2], signs: [1, 1], sizes: [LENGTH, HEIGHT] },
  // From behind, so that left is left.
  rear: { axes: [1, 2], signs: [-1, 1], sizes: [WIDTH, HEIGHT] },
};

// A box from one side. The frame of the picture is that of the box as it was before a drag, so points stand still while it is edited.
export class PlaneView extends View {
  constructor(canvas, plane, on) {
    super(canvas);
    this.plane = PLANES[plane];
    this.name = plane;
    this.zoom = 1;
    this.on = on;
    canvas.addEventListener('pointerdown', event => this.start(event));
    canvas.addEventListener('pointermove', event => this.go(event));
    canvas.addEventListener('pointerup', () => this.end());
    canvas.addEventListener('pointercancel', () => { this.dragging = null; on.preview(null); });
    canvas.addEventListener('wheel', event => {
      event.preventDefault();
      this.zoom = Math.min(12, Math.max(0.3, this.zoom * Math.exp(-event.deltaY * 0.0015)));
      on.changed();
    }, { passive: false });
  }

  scaleFor(box) {
    const [a, b] = this.plane.sizes.map(index => box[index] + 2 * MARGIN_M);
    return Math.min(this.canvas.width / a, this.canvas.height / b) * this.zoom;
  }

  toScreen(p) {
    const [i, j] = this.plane.axes, [u, v] = this.plane.signs;
    return [this.canvas.width / 2 + u * p[i] * this.scale, this.canvas.height / 2 - v * p[j] * this.scale];
  }

  draw(points, box, preview, color, colorBy) {
    this.fit();
    this.clear();
    this.box = box;
    if (!box) { this.show(); return; }
    if (!this.dragging) this.scale = this.scaleFor(box);
    this.plotNear(points, box, colorBy);
    this.show();
    this.grid();
    this.outline(box, preview ?? box, color);
  }

  plotNear(points, box, colorBy) {
    const place = COLORS[colorBy], colors = lut(), big = Math.max(2, Math.round(2 * this.ratio)), { width, height } = this.canvas;
    // What is far along the third axis is another thing.
    const depth = [0, 1, 2].find(axis => !this.plane.axes.includes(axis)), reach = box[LENGTH + depth] / 2 + (depth === 2 ? 3 : 0.6);
    const [i0, j0] = this.plane.axes, [u, v] = this.plane.signs, c = Math.cos(box[YAW]), s = Math.sin(box[YAW]);
    for (let i = 0; i + 3 < (points?.length ?? 0); i += 4) {
      const dx = points[i] - box[X], dy = points[i + 1] - box[Y];
      if (dx > 60 || dx < -60 || dy > 60 || dy < -60) continue;
      const p = [dx * c + dy * s, dy * c - dx * s, points[i + 2] - box[Z]];
      if (p[depth] > reach || p[depth] < -reach) continue;
      const sx = width / 2 + u * p[i0] * this.scale, sy = height / 2 - v * p[j0] * this.scale;
      if (sx < -2 || sy < -2 || sx >= width || sy >= height) continue;
      const at = place(points[i], points[i + 1], points[i + 2], points[i + 3]);
      this.plot(sx, sy, colors[at < 40 ? 40 : at > 255 ? 255 : at | 0], big);
    }
  }

  grid() {
    const c = this.context, { width, height } = this.canvas;
    c.strokeStyle = css('--ring');
    c.lineWidth = 1;
    for (let metres = -10; metres <= 10; metres++) {
      const x = width / 2 + metres * this.scale, y = height / 2 + metres * this.scale;
      this.path([[x, 0], [x, height]], false);
      c.stroke();
      this.path([[0, y], [width, y]], false);
      c.stroke();
    }
  }

  outline(box, shown, color) {
    const c = this.context, turn = wrap(shown[YAW] - box[YAW]);
    const middle = toBox(box, shown[X], shown[Y], shown[Z]);
    const half = [shown[LENGTH] / 2, shown[WIDTH] / 2, shown[HEIGHT] / 2];
    const corner = (a, b) => {
      const local = [0, 0, 0];
      local[this.plane.axes[0]] = a * half[this.plane.axes[0]];
      local[this.plane.axes[1]] = b * half[this.plane.axes[1]];
      if (this.name === 'top') {
        const [x, y] = local;
        local[0] = x * Math.cos(turn) - y * Math.sin(turn);
        local[1] = x * Math.sin(turn) + y * Math.cos(turn);
      }
      return this.toScreen(local.map((value, axis) => value + middle[axis]));
    };
    this.path([[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([a, b]) => corner(a, b)));
    c.globalAlpha = 0.1;
    c.fillStyle = color;
    c.fill();
    c.globalAlpha = 1;
    c.strokeStyle = css('--accent');
    c.lineWidth = 1.6 * this.ratio;
    c.setLineDash(shown[PREDICTED] ? [5, 4] : []);
    c.stroke();
    c.setLineDash([]);
    if (this.name !== 'rear') {
      const from = corner(1, 0), to = corner(1, 0), angle = this.name === 'top' ? turn : 0, reach = HANDLE_PX * this.ratio;
      to[0] += Math.cos(angle) * reach;
      to[1] -= Math.sin(angle) * reach;
      this.path([from, to], false);
      c.stroke();
      if (this.name === 'top') {
        c.beginPath();
        c.arc(to[0], to[1], 5 * this.ratio, 0, 2 * Math.PI);
        c.fillStyle = css('--accent');
        c.fill();
        this.handle = to;
      }
    }
    c.font = `${10.5 * this.ratio}px system-ui, sans-serif`;
    c.fillStyle = css('--faint');
    const [a, b] = this.plane.sizes;
    c.fillText(`${shown[a].toFixed(2)} × ${shown[b].toFixed(2)} m`, 8 * this.ratio, this.canvas.height - 8 * this.ratio);
  }

  // What a pointer at a place would take hold of.
  grip([sx, sy]) {
    const box = this.box;
    if (!box) return null;
    if (this.name === 'top' && this.handle && Math.hypot(sx - this.handle[0], sy - this.handle[1]) < 11 * this.ratio) return { kind: 'turn' };
    const [i, j] = this.plane.axes, [u, v] = this.plane.signs, edge = EDGE_PX * this.ratio;
    const at = [u * (sx - this.canvas.width / 2), -v * (sy - this.canvas.height / 2)];
    const half = [box[LENGTH + i] / 2 * this.scale, box[LENGTH + j] / 2 * this.scale];
    const inside = [0, 1].map(k => Math.abs(at[k]) < half[k] + edge);
    for (const k of [0, 1]) {
      // The middle half of a side is its grip, so that a small box can still be moved.
      const near = Math.abs(Math.abs(at[k]) - half[k]) < Math.min(edge, half[k] * 0.5 + 4);
      if (near && inside[1 - k]) return { kind: 'size', axis: k, high: at[k] > 0 };
    }
    return inside[0] && inside[1] ? { kind: 'move' } : null;
  }

  start(event) {
    const at = this.pointer(event), grip = this.grip(at);
    if (!grip || !this.on.editable()) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.dragging = { grip, from: at };
  }

  go(event) {
    const at = this.pointer(event);
    if (!this.dragging) {
      const grip = this.grip(at), kind = grip?.kind;
      this.canvas.style.cursor = kind === 'turn' ? 'grab' : kind === 'move' ? 'move' : kind === 'size' ? (grip.axis ? 'ns-resize' : 'ew-resize') : 'default';
      return;
    }
    this.dragging.operation = this.operation(at);
    this.on.preview(edited(this.box, this.dragging.operation));
  }

  operation(at) {
    const { grip, from } = this.dragging, [i, j] = this.plane.axes, [u, v] = this.plane.signs;
    const by = [u * (at[0] - from[0]) / this.scale, -v * (at[1] - from[1]) / this.scale];
    if (grip.kind === 'turn') {
      const angle = ([x, y]) => Math.atan2(-(y - this.canvas.height / 2), x - this.canvas.width / 2);
      return { kind: 'turn', by_rad: wrap(angle(at) - angle(from)) };
    }
    if (grip.kind === 'move') {
      const local = [0, 0, 0];
      [local[i], local[j]] = by;
      return { kind: 'move', by_box_m: local };
    }
    return { kind: 'size', face: this.facing(grip), by_m: (grip.high ? 1 : -1) * by[grip.axis] };
  }

  // The side of the box that a grip holds: `high` is along the axis of the box.
  facing({ axis, high }) {
    const names = { 0: ['back', 'front'], 1: ['right', 'left'], 2: ['bottom', 'top'] }[this.plane.axes[axis]];
    return names[high ? 1 : 0];
  }

  end() {
    const operation = this.dragging?.operation;
    this.dragging = null;
    if (operation) this.on.done(operation);
  }
}

// The image of the camera that sees the box, with the box drawn in it.
export class CameraView extends View {
  constructor(canvas) {
    super(canvas);
    this.picture = null;
  }

  // The camera in whose image the middle of the box lies most central.
  static choose(cameras, names, box) {
    let best = null;
    for (const camera of cameras.filter(camera => names.includes(camera.sensor))) {
      const at = box ? project(camera, [box[X], box[Y], box[Z]]) : [camera.width / 2, camera.height / 2];
      if (!at || at[0] < 0 || at[1] < 0 || at[0] > camera.width || at[1] > camera.height) continue;
      const off = Math.abs(at[0] / camera.width - 0.5);
      if (!best || off < best.off) best = { camera, off };
    }
    return best?.camera;
  }

  draw(camera, picture, box, color) {
    this.fit();
    const c = this.context, { width, height } = this.canvas;
    this.clear();
    this.show();
    if (!camera || !picture) return;
    // Close to the object, but never closer than the image has pixels for.
    const seen = box ? corners(box).map(corner => project(camera, corner)).filter(Boolean) : [];
    let view = [0, 0, camera.width, camera.height];
    if (seen.length === 8) {
      const xs = seen.map(p => p[0]), ys = seen.map(p => p[1]);
      const w = Math.min(camera.width, Math.max(220, (Math.max(...xs) - Math.min(...xs)) * 2.6)), h = w * height / width;
      const cx = (Math.max(...xs) + Math.min(...xs)) / 2, cy = (Math.max(...ys) + Math.min(...ys)) / 2;
      view = [cx - w / 2, cy - h / 2, w, h];
    } else {
      const h = camera.width * height / width;
      view = [0, (camera.height - h) / 2, camera.width, h];
    }
    const scale = width / view[2], at = ([x, y]) => [(x - view[0]) * scale, (y - view[1]) * scale];
    const [left, top] = at([0, 0]);
    c.drawImage(picture, left, top, camera.width * scale, camera.height * scale);
    if (seen.length !== 8) return;
    c.strokeStyle = color;
    c.lineWidth = 2 * this.ratio;
    const points = seen.map(at);
    for (const [a, b] of [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]]) {
      this.path([points[a], points[b]], false);
      c.stroke();
    }
  }
}

function project(camera, [x, y, z]) {
  const m = camera.sensor_from_ego, row = r => m[4 * r] * x + m[4 * r + 1] * y + m[4 * r + 2] * z + m[4 * r + 3];
  const depth = row(2);
  return depth > 0.2 ? [camera.fx * row(0) / depth + camera.cx, camera.fy * row(1) / depth + camera.cy] : null;
}
