/** Two ends of a pipe that keeps messages apart (socketpair(2), AF_UNIX), both non-blocking: a stand-in for a TUN. */
import { systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 0o2004002;

export class PacketPair {
  /** Descriptors. What is written to one is read from the other. */
  readonly near: number;
  readonly far: number;

  constructor() {
    const block = new Block(8);
    if (libc().socketpair(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0, block.address) < 0) {
      throw systemError('socketpair', libc().errno());
    }
    this.near = block.view.getInt32(0, true);
    this.far = block.view.getInt32(4, true);
  }

  close(): void {
    libc().close(this.near);
    libc().close(this.far);
  }
}
