/**
 * All deadlines of a device in one binary heap. Re-arming to a later time only stores the new time: the entry is moved
 * when it comes up. So a packet that pushes a timer out costs an assignment, and ten thousand idle peers cost nothing.
 */
export class Deadline {
  /** Shown in diagnostics: `peer(abcd…wxyz) retransmit-handshake`. */
  readonly name: string;
  readonly #expired: (now: number) => void;
  readonly #queue: Deadlines;
  /** When it expires; Infinity while not armed. */
  at: number = Number.POSITIVE_INFINITY;
  /** Where the heap believes it is, never later than `at`. */
  queuedAt: number = Number.POSITIVE_INFINITY;
  /** Index in the heap, -1 when not in it. */
  position = -1;

  constructor(queue: Deadlines, name: string, expired: (now: number) => void) {
    this.#queue = queue;
    this.name = name;
    this.#expired = expired;
  }

  get isArmed(): boolean {
    return this.at !== Number.POSITIVE_INFINITY;
  }

  /** Sets or moves the deadline. */
  arm(at: number): void {
    this.at = at;
    if (at < this.queuedAt) this.#queue.place(this, at);
  }

  /** A cancelled entry leaves the heap when it comes up. */
  cancel(): void {
    this.at = Number.POSITIVE_INFINITY;
  }

  /** Takes it out of the heap for good. */
  remove(): void {
    this.cancel();
    this.#queue.drop(this);
  }

  fire(now: number): void {
    this.cancel();
    this.#expired(now);
  }
}

export class Deadlines {
  readonly #heap: Deadline[] = [];
  readonly #onEarlier: (at: number) => void;

  /** `onEarlier` is told when the earliest deadline moves forward in time. */
  constructor(onEarlier: (at: number) => void = () => {}) {
    this.#onEarlier = onEarlier;
  }

  create(name: string, expired: (now: number) => void): Deadline {
    return new Deadline(this, name, expired);
  }

  /** The earliest time at which `advance` may have something to do, Infinity when never. */
  get next(): number {
    return this.#heap[0]?.queuedAt ?? Number.POSITIVE_INFINITY;
  }

  /** Armed deadlines, earliest first. */
  armed(): Deadline[] {
    return this.#heap.filter((deadline) => deadline.isArmed).toSorted((a, b) => a.at - b.at);
  }

  /** Fires everything due at `now`, in order of time. Returns `next`. */
  advance(now: number): number {
    for (let head = this.#heap[0]; head !== undefined && head.queuedAt <= now; head = this.#heap[0]) {
      if (head.at === head.queuedAt) {
        this.drop(head);
        head.fire(now);
      } else if (head.isArmed) {
        head.queuedAt = head.at;
        this.#sink(0);
      } else {
        this.drop(head);
      }
    }
    return this.next;
  }

  place(deadline: Deadline, at: number): void {
    deadline.queuedAt = at;
    if (deadline.position < 0) {
      deadline.position = this.#heap.length;
      this.#heap.push(deadline);
    }
    this.#rise(deadline.position);
    if (this.#heap[0] === deadline) this.#onEarlier(at);
  }

  drop(deadline: Deadline): void {
    const { position } = deadline;
    if (position < 0) return;
    const last = this.#heap.pop() as Deadline;
    deadline.position = -1;
    deadline.queuedAt = Number.POSITIVE_INFINITY;
    if (last === deadline) return;
    this.#put(last, position);
    this.#rise(position);
    this.#sink(last.position);
  }

  #put(deadline: Deadline, position: number): void {
    this.#heap[position] = deadline;
    deadline.position = position;
  }

  #rise(from: number): void {
    const deadline = this.#heap[from] as Deadline;
    let position = from;
    while (position > 0) {
      const parent = this.#heap[(position - 1) >> 1] as Deadline;
      if (parent.queuedAt <= deadline.queuedAt) break;
      this.#put(parent, position);
      position = (position - 1) >> 1;
    }
    this.#put(deadline, position);
  }

  #sink(from: number): void {
    const deadline = this.#heap[from] as Deadline;
    let position = from;
    for (;;) {
      let smallest = 2 * position + 1;
      const left = this.#heap[smallest];
      if (!left) break;
      const right = this.#heap[smallest + 1];
      if (right && right.queuedAt < left.queuedAt) smallest++;
      const child = this.#heap[smallest] as Deadline;
      if (child.queuedAt >= deadline.queuedAt) break;
      this.#put(child, position);
      position = smallest;
    }
    this.#put(deadline, position);
  }
}
