// What simple edits look like, for the moment until the server has made them. The server's answer replaces all of it: the one place where
// edits are computed is crates/desk/src/geometry.rs. A box is a row [x, y, z, length, width, height, yaw, points, predicted, keyed] in the
// ego frame of its sample.

export const X = 0, Y = 1, Z = 2, LENGTH = 3, WIDTH = 4, HEIGHT = 5, YAW = 6, POINTS = 7, PREDICTED = 8, KEYED = 9;

const FACES = { front: [0, 1], back: [0, -1], left: [1, 1], right: [1, -1], top: [2, 1], bottom: [2, -1] };

export function wrap(angle) {
  return angle - 2 * Math.PI * Math.floor((angle + Math.PI) / (2 * Math.PI));
}

// From the ego frame into the frame of a box, and back.
export function toBox(box, x, y, z) {
  const c = Math.cos(box[YAW]), s = Math.sin(box[YAW]), dx = x - box[X], dy = y - box[Y];
  return [dx * c + dy * s, dy * c - dx * s, z - box[Z]];
}

export function fromBox(box, a, b, c) {
  const cos = Math.cos(box[YAW]), sin = Math.sin(box[YAW]);
  return [box[X] + a * cos - b * sin, box[Y] + a * sin + b * cos, box[Z] + c];
}

export function footprint(box) {
  const l = box[LENGTH] / 2, w = box[WIDTH] / 2;
  return [[l, w], [-l, w], [-l, -w], [l, -w]].map(([a, b]) => fromBox(box, a, b, 0));
}

export function corners(box) {
  const l = box[LENGTH] / 2, w = box[WIDTH] / 2, h = box[HEIGHT] / 2;
  return [-h, h].flatMap(z => [[l, w], [-l, w], [-l, -w], [l, -w]].map(([a, b]) => fromBox(box, a, b, z)));
}

export function contains(box, x, y) {
  const [a, b] = toBox(box, x, y, 0);
  return Math.abs(a) <= box[LENGTH] / 2 + 0.2 && Math.abs(b) <= box[WIDTH] / 2 + 0.2;
}

function moved(box, [a, b, c]) {
  const row = [...box];
  [row[X], row[Y], row[Z]] = fromBox(box, a, b, c);
  return row;
}

export function edited(box, operation) {
  switch (operation.kind) {
    case 'move': return moved(box, operation.by_box_m);
    case 'size': {
      const [axis, sign] = FACES[operation.face];
      const by = [0, 0, 0];
      by[axis] = sign * operation.by_m / 2;
      const row = moved(box, by);
      row[LENGTH + axis] = Math.max(0.05, row[LENGTH + axis] + operation.by_m);
      return row;
    }
    case 'turn': { const row = [...box]; row[YAW] = wrap(row[YAW] + operation.by_rad); return row; }
    case 'flip': { const row = [...box]; row[YAW] = wrap(row[YAW] + Math.PI); return row; }
    default: return box;
  }
}

// A track as an operation will leave it, as far as that can be shown at once; undefined where only the server knows.
export function foreseen(track, operation) {
  switch (operation.kind) {
    case 'accept': return { ...track, verdict: 'accepted' };
    case 'reject': return { ...track, verdict: 'returned', error: operation.error };
    case 'relabel': return { ...track, class: operation.class, verdict: 'open' };
    case 'delete': return null;
    case 'bulk': return foreseen(track, { kind: operation.each.what, class: operation.each.class });
    case 'move': case 'size': case 'turn': case 'flip': {
      const boxes = { ...track.boxes };
      for (const key of Object.keys(boxes)) {
        const sample = Number(key);
        const meant = operation.scope === 'track' || sample === operation.sample
          || (operation.scope === 'onward' && sample >= operation.sample);
        if (meant) boxes[key] = edited(boxes[key], operation);
      }
      return { ...track, boxes, verdict: 'open' };
    }
    default: return undefined;
  }
}
