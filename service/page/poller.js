// Asks for every answer at its own pace: one request at a time, none while nobody looks.

const PATIENCE_MS = 15_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

// sources(): {key: {path, every}} with `every` in seconds. answered(key, body), refused(key, detail)
// for an answer that is a problem, lost() where nothing answers, back() when it does again.
export class Poller {
  #sources;
  #listener;
  #due = new Map();
  #paths = new Map();
  #timer = null;
  #asking = false;
  #failures = 0;

  constructor(sources, listener) {
    this.#sources = sources;
    this.#listener = listener;
    document.addEventListener("visibilitychange", () => this.wake());
    addEventListener("online", () => this.retry());
  }

  // What is asked for may have changed: new paths are due at once.
  wake() {
    for (const [key, { path }] of Object.entries(this.#sources())) {
      if (this.#paths.get(key) === path) continue;
      this.#paths.set(key, path);
      this.#due.set(key, 0);
    }
    this.#arrange();
  }

  retry() {
    this.#failures = 0;
    for (const key of this.#due.keys()) this.#due.set(key, 0);
    this.wake();
  }

  #arrange() {
    clearTimeout(this.#timer);
    if (this.#asking || document.hidden) return;
    const [key, at] = this.#next();
    const wait = this.#failures ? this.#pause() : Math.max(at - Date.now(), 0);
    this.#timer = setTimeout(() => this.#ask(key), wait);
  }

  #next() {
    const due = Object.keys(this.#sources()).map((key) => [key, this.#due.get(key) ?? 0]);
    return due.reduce((first, one) => (one[1] < first[1] ? one : first));
  }

  #pause() {
    return Math.min(FIRST_RETRY_MS * 2 ** (this.#failures - 1), LONGEST_RETRY_MS);
  }

  async #ask(key) {
    const { path, every } = this.#sources()[key];
    this.#asking = true;
    const answer = await fetched(path, every);
    this.#asking = false;
    try {
      if (answer) this.#take(key, path, every, answer);
      else this.#lose();
    } finally {
      this.#arrange();
    }
  }

  #take(key, path, every, { ok, body }) {
    if (this.#failures) this.#regained(key);
    const wanted = this.#sources()[key]?.path === path;
    this.#due.set(key, wanted ? Date.now() + every * 1000 : 0);
    if (!wanted) return;
    if (ok) this.#listener.answered(key, body);
    else this.#listener.refused(key, body.detail);
  }

  #lose() {
    this.#failures += 1;
    this.#listener.lost(this.#pause() / 1000);
  }

  #regained(key) {
    this.#failures = 0;
    for (const other of this.#due.keys()) if (other !== key) this.#due.set(other, 0);
    this.#listener.back();
  }
}

// The answer's body; null where nothing answers in time, or something that is no answer of ours.
async function fetched(path, every) {
  try {
    const answer = await fetch(path, {
      // Pages that look at the same may share an answer that is no older than this.
      headers: { "Cache-Control": `max-age=${Math.max(Math.floor(every / 2), 1)}` },
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return { ok: answer.ok, body: await answer.json() };
  } catch {
    return null;
  }
}
