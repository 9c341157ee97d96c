// Speaks with the server. What a person does is kept in the browser's storage until the server has it, so that neither a lost connection
// nor a closed page loses anything; each operation has an id of its own, so that what is sent twice is done once.

const RETRY_MS = 1000;

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error ?? `the server answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

export async function ask(method, path, body) {
  const headers = method === 'GET' ? {} : { 'x-boxwright': '1', 'content-type': 'application/json' };
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 204) return null;
  const json = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, json);
  return json;
}

export async function points(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
  return new Float32Array(await answer.arrayBuffer());
}

export const clipPath = clip => `/api/clips/${encodeURIComponent(clip.vehicle)}/${clip.clip}`;

// Operations on their way, in order.
export class Outbox {
  constructor(person, { done, conflict, refused, changed }) {
    this.key = `boxwright.outbox.${person}`;
    this.listeners = { done, conflict, refused, changed };
    this.items = JSON.parse(localStorage.getItem(this.key) ?? '[]');
    this.online = true;
    this.sending = false;
  }

  // Whether an operation on a track is still on its way.
  pending(clip, track) {
    return this.items.some(item => same(item.clip, clip) && item.tracks.includes(track));
  }

  push(clip, tracks, revs, operation, spentMs) {
    const base = Object.fromEntries(tracks.map(track => [track, revs[track] ?? 0]));
    this.items.push({ id: crypto.randomUUID(), clip: { vehicle: clip.vehicle, clip: clip.clip }, tracks, base, operation, spentMs });
    this.save();
    this.send();
  }

  save() {
    localStorage.setItem(this.key, JSON.stringify(this.items));
    this.listeners.changed();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    while (this.items.length) {
      const item = this.items[0];
      const body = { id: item.id, base: item.base, operation: item.operation, spent_ms: Math.round(item.spentMs) };
      try {
        const answer = await ask('POST', `${clipPath(item.clip)}/operations`, body);
        this.online = true;
        this.items.shift();
        // What follows was asked for in view of this one, whichever tracks it turns out to have touched.
        for (const later of this.items.filter(later => same(later.clip, item.clip))) {
          for (const track of later.tracks.filter(track => track in answer.revs)) later.base[track] = Math.max(later.base[track], answer.seq);
        }
        this.save();
        this.listeners.done(item, answer);
      } catch (error) {
        if (error instanceof Refused && error.status === 401) {
          // The session is over, not the work: it waits for whoever signs in under this name.
          this.listeners.refused(item, error);
          break;
        }
        if (error instanceof Refused && error.status < 500) {
          this.give(item, error);
          continue;
        }
        // Nobody there, or something broke there: it waits.
        this.online = false;
        this.listeners.changed();
        await new Promise(resume => setTimeout(resume, RETRY_MS));
      }
    }
    this.sending = false;
  }

  // What the server will not do, and what was built on it, is given back.
  give(item, error) {
    this.online = true;
    const fallen = this.items.filter(other => same(other.clip, item.clip)
      && (other === item || (error.status === 409 && other.tracks.some(track => item.tracks.includes(track)))));
    this.items = this.items.filter(other => !fallen.includes(other));
    this.save();
    if (error.status === 409) this.listeners.conflict(item, error.body, fallen.length);
    else this.listeners.refused(item, error);
  }
}

export const same = (one, two) => one.vehicle === two.vehicle && one.clip === two.clip;
