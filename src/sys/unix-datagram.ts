/** Datagrams to a unix socket, which Node has none of. */
import { systemError } from './errno.ts';
import { libc } from './libc.ts';
import { Block } from './memory.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 0o2004002;
/** struct sockaddr_un: the family, then the path. */
const SOCKADDR_UN = { family: 0, path: 2, size: 110 } as const;

/** The sending end of a datagram socket at a path, or with a leading `@` at an abstract address (unix(7)). */
export class UnixDatagramSender {
  readonly #fd: number;

  /** Throws SystemError when nobody listens there. */
  constructor(path: string) {
    const system = libc();
    this.#fd = system.socket(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw systemError('open a unix datagram socket', system.errno());
    const { block, size } = unixAddress(path);
    if (size > SOCKADDR_UN.size || system.connect(this.#fd, block.address, size) < 0) {
      const errno = system.errno();
      system.close(this.#fd);
      throw systemError(`connect to ${path}`, errno);
    }
  }

  /** Throws SystemError when it is not taken. */
  send(text: string): void {
    const bytes = Buffer.from(text);
    const block = new Block(Math.max(1, bytes.length));
    block.u8.set(bytes);
    if (libc().send(this.#fd, block.address, bytes.length, 0) < 0)
      throw systemError('send a unix datagram', libc().errno());
  }

  close(): void {
    libc().close(this.#fd);
  }
}

/** As the kernel wants it; `size` counts no bytes behind the name, which would belong to an abstract one. */
export function unixAddress(path: string): { readonly block: Block; readonly size: number } {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  const size = SOCKADDR_UN.path + name.length;
  const block = new Block(Math.max(SOCKADDR_UN.size, size));
  block.view.setUint16(SOCKADDR_UN.family, AF_UNIX, true);
  block.u8.set(name, SOCKADDR_UN.path);
  return { block, size };
}
