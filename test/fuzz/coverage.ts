/** Block coverage of this process, by V8's own counters: which characters of which source have run. */
import { Session, type Profiler } from 'node:inspector';

/** Offsets in sources, by URL. */
export type Places = Map<string, Set<number>>;

export class Coverage {
  readonly #session = new Session();
  readonly #isWatched: (url: string) => boolean;
  /** For each script one byte for each character of its source: 1 = has run. */
  readonly #covered = new Map<string, Uint8Array>();
  #total = 0;

  constructor(isWatched: (url: string) => boolean) {
    this.#isWatched = isWatched;
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Characters of source that have run so far. */
  get total(): number {
    return this.#total;
  }

  /** What ran since the last call to any method, and never before. */
  takeNew(): Places {
    const fresh: Places = new Map();
    this.#take((url, ran) => {
      let covered = this.#covered.get(url);
      if (covered === undefined || covered.length < ran.length) {
        const grown = new Uint8Array(ran.length);
        if (covered) grown.set(covered);
        this.#covered.set(url, (covered = grown));
      }
      for (let i = 0; i < ran.length; i++) {
        if (ran[i] === 0 || covered[i] === 1) continue;
        covered[i] = 1;
        this.#total++;
        const places = fresh.get(url);
        if (places) places.add(i);
        else fresh.set(url, new Set([i]));
      }
    });
    return fresh;
  }

  /** Takes out of `places` what ran since the last call to any method; true when there was something. */
  takeFrom(places: Places): boolean {
    let any = false;
    this.#take((url, ran) => {
      const wanted = places.get(url);
      for (const at of wanted ?? []) {
        if (ran[at] !== 1) continue;
        wanted?.delete(at);
        any = true;
      }
      if (wanted?.size === 0) places.delete(url);
    });
    return any;
  }

  close(): void {
    this.#session.disconnect();
  }

  #take(use: (url: string, ran: Uint8Array) => void): void {
    // The answer comes before `post` returns: the session is connected to this very thread.
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error) throw error;
      for (const script of answer.result) if (this.#isWatched(script.url)) use(script.url, painted(script));
    });
  }
}

function painted({ functions }: Profiler.ScriptCoverage): Uint8Array {
  let size = 0;
  for (const { ranges } of functions) for (const { endOffset } of ranges) size = Math.max(size, endOffset);
  const ran = new Uint8Array(size);
  // Outer functions come before inner ones, and the ranges of each likewise: the last one that covers a place holds.
  for (const { ranges } of functions)
    for (const { startOffset, endOffset, count } of ranges)
      ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  return ran;
}
