/** What the handshakes of a device came to, for metrics. Plain numbers: nobody makes 2^53 handshakes. */

/** Upper bounds in seconds. A handshake in one datacentre takes 1 ms, one over a satellite a second; then it is retried. */
export const HANDSHAKE_SECONDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
];

export class HandshakeStats {
  initiationsSent = 0;
  initiationsReceived = 0;
  completedAsInitiator = 0;
  completedAsResponder = 0;
  /** No answer for REKEY_ATTEMPT_TIME. */
  gaveUp = 0;
  /** From an initiation to its answer: how many took at most HANDSHAKE_SECONDS[i], and the rest in the last place. */
  readonly durations: number[] = Array.from({ length: HANDSHAKE_SECONDS.length + 1 }, () => 0);
  durationSumSeconds = 0;

  answered(durationMs: number): void {
    this.completedAsInitiator++;
    const seconds = durationMs / 1_000;
    this.durationSumSeconds += seconds;
    const bucket = HANDSHAKE_SECONDS.findIndex((bound) => seconds <= bound);
    const at = bucket < 0 ? HANDSHAKE_SECONDS.length : bucket;
    this.durations[at] = (this.durations[at] as number) + 1;
  }
}
