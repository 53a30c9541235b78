/** How full a queue is, in its own unit: packets, messages or bytes. */
export interface QueueFill {
  /** What waits; undefined where nobody tells. */
  readonly depth: number | undefined;
  readonly capacity: number;
  /** What found it full, since it exists; undefined where that is not counted. */
  readonly dropped: number | undefined;
}
