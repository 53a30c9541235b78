/** What systemd is to a service: a unix datagram socket (sd_notify(3)). */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { libc } from '../../src/sys/libc.ts';
import { Block } from '../../src/sys/memory.ts';
import { unixAddress } from '../../src/sys/unix-datagram.ts';

export interface Listener {
  readonly path: string;
  /** The next datagram, undefined when none waits. */
  next(): string | undefined;
}

/** Ends with the test. `isAbstract`: without a file. */
export function listenForNotices(t: TestContext, isAbstract = false): Listener {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-notify-'));
  const path = isAbstract ? `@${directory}` : join(directory, 'notify');
  const system = libc();
  const fd = system.socket(1, 0o2004002, 0);
  const { block, size } = unixAddress(path);
  assert.equal(system.bind(fd, block.address, size), 0);
  t.after(() => {
    system.close(fd);
    rmSync(directory, { recursive: true, force: true });
  });
  const buffer = new Block(4096);
  return {
    path,
    next: () => {
      const length = system.recv(fd, buffer.address, buffer.size, 0);
      return length < 0 ? undefined : Buffer.from(buffer.u8.subarray(0, length)).toString();
    },
  };
}
