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

// An answer that is not JSON.
export async function bytesOf(path, body) {
  const headers = { 'x-boxwright': '1', 'content-type': 'application/json' };
  const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
  return answer.arrayBuffer();
}

export async function points(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
  return new Float32Array(await answer.arrayBuffer());
}

export const clipPath = clip => `/api/clips/${encodeURIComponent(clip.vehicle)}/${clip.clip}`;

// An id that nobody else makes; browsers have one of their own only where the address counts as safe.
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('');
}

// Operations on their way, in order. What is kept is kept under the database that it is meant for, the person, and a name of this page's
// own: another dataset may listen at the same address tomorrow, and two pages of one person must not write over each other. A page holds a
// lock as long as it lives; what it leaves behind is taken over by whichever page of the same person gets that lock.
export class Outbox {
  constructor(database, person, { done, conflict, refused, changed }) {
    this.database = database;
    // The bar stands in no name, so that no name is the beginning of another one's.
    this.prefix = `boxwright.outbox.${database}|${encodeURIComponent(person)}|`;
    this.key = this.prefix + newId();
    this.listeners = { done, conflict, refused, changed };
    this.items = [];
    this.online = true;
    this.kept = true;
    this.sending = false;
    this.closed = false;
    this.waitingFor = new Set();
    navigator.locks?.request(this.key, () => new Promise(release => { this.release = release; }));
    this.onStorage = event => { if (event.newValue && event.key?.startsWith(this.prefix) && event.key !== this.key) this.takeOver(event.key); };
    addEventListener('storage', this.onStorage);
  }

  // Lets another outbox of this person take over; what is on its way is done once all the same.
  close() {
    this.closed = true;
    removeEventListener('storage', this.onStorage);
    this.release?.();
  }

  // Takes what pages that are gone have left behind, and waits for what those leave that are still there.
  async adopt() {
    const others = Object.keys(localStorage).filter(key => key.startsWith(this.prefix) && key !== this.key);
    await Promise.all(others.map(key => this.takeOver(key)));
  }

  async takeOver(key) {
    if (this.waitingFor.has(key)) return;
    this.waitingFor.add(key);
    const take = () => {
      this.waitingFor.delete(key);
      if (this.closed) return;
      const left = JSON.parse(localStorage.getItem(key) ?? '[]');
      this.items.push(...left.filter(item => !this.items.some(other => other.id === item.id)));
      this.save();
      localStorage.removeItem(key);
      if (left.length) this.send();
    };
    // Without locks it cannot be known who is still there. What two pages send is done once.
    if (!navigator.locks) { take(); return; }
    const isFree = await navigator.locks.request(key, { ifAvailable: true }, lock => { if (lock) take(); return lock !== null; });
    if (!isFree) navigator.locks.request(key, take);
  }

  // Whether an operation on a track is still on its way.
  pending(clip, track) {
    return this.items.some(item => same(item.clip, clip) && item.tracks.includes(track));
  }

  push(clip, tracks, revs, operation, spentMs) {
    const base = Object.fromEntries(tracks.map(track => [track, revs[track] ?? 0]));
    const item = { id: newId(), page: this.key, clip: { vehicle: clip.vehicle, clip: clip.clip }, tracks, base, operation, spentMs };
    this.items.push(item);
    this.save();
    this.send();
  }

  save() {
    try {
      if (this.items.length) localStorage.setItem(this.key, JSON.stringify(this.items));
      else localStorage.removeItem(this.key);
      this.kept = true;
    } catch {
      // No room: the page says so, and goes on sending from memory.
      this.kept = false;
    }
    this.listeners.changed();
  }

  async send() {
    if (this.sending || this.closed) return;
    this.sending = true;
    while (this.items.length && !this.closed) {
      const item = this.items[0];
      const body = { id: item.id, database: this.database, base: item.base, operation: item.operation, spent_ms: Math.round(item.spentMs) };
      try {
        const answer = await ask('POST', `${clipPath(item.clip)}/operations`, body);
        if (this.closed) break;
        this.online = true;
        this.items.shift();
        // What follows was asked for in view of this one, whichever tracks it turns out to have touched; what another page asked for was not.
        for (const later of this.items.filter(later => same(later.clip, item.clip) && later.page === item.page)) {
          for (const track of later.tracks.filter(track => track in answer.revs)) later.base[track] = Math.max(later.base[track], answer.seq);
        }
        this.save();
        this.listeners.done(item, answer);
      } catch (error) {
        if (this.closed) break;
        if (error instanceof Refused && error.status === 401) {
          // The session is over, not the work: it waits for whoever signs in under this name.
          this.listeners.refused(item, error);
          break;
        }
        if (error instanceof Refused && error.status === 421) {
          // Another database answers here now. What is kept waits for its own.
          this.close();
          location.reload();
          break;
        }
        if (error instanceof Refused && error.status < 500 && error.status !== 429) {
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
      && (other === item || (error.status === 409 && other.page === item.page && other.tracks.some(track => item.tracks.includes(track)))));
    this.items = this.items.filter(other => !fallen.includes(other));
    this.save();
    if (error.status === 409) this.listeners.conflict(item, error.body, fallen.length);
    else this.listeners.refused(item, error);
  }
}

export const same = (one, two) => one.vehicle === two.vehicle && one.clip === two.clip;
