/**
 * The state of the link behind a TUN descriptor, wherever the link is. An interface may be renamed and moved to another
 * network namespace while its descriptor stays here, so everything is asked through the descriptor: it knows the name
 * (TUNGETIFF) and the namespace (TUNGETDEVNETNS), and rtnetlink reads links of other namespaces by their id.
 */
import { closeSync, fstatSync, statSync } from 'node:fs';
import { SystemError } from '../core/errors.ts';
import type { QueueFill } from '../core/queue.ts';
import { EBADF, EBADFD, EIO, errnoName, systemError } from '../sys/errno.ts';
import { libc } from '../sys/libc.ts';
import { Block } from '../sys/memory.ts';
import { RouteClient } from '../sys/route-client.ts';
import { IFF_RUNNING, type Link } from '../sys/rtnetlink.ts';
import { IFREQ, readName } from '../sys/structs.ts';

const TUNGETIFF = 0x8004_54d2;
const TUNGETDEVNETNS = 0x54e3;

export type LinkState =
  | { readonly kind: 'present'; readonly name: string; readonly up: boolean; readonly mtu: number }
  | { readonly kind: 'gone'; readonly reason: string };

/** Name and IFF_* flags of the device behind a descriptor. Throws SystemError: EBADFD when it is deleted. */
export function describeTun(fd: number): { name: string; flags: number } {
  const request = new Block(IFREQ.size);
  if (libc().ioctl(fd, TUNGETIFF, request.address) < 0) throw systemError('TUNGETIFF', libc().errno());
  return {
    name: readName(request.u8, IFREQ.name, IFREQ.nameSize),
    flags: request.view.getUint16(IFREQ.flags, true),
  };
}

export class TunLink {
  readonly #fd: number;
  readonly #client: RouteClient = new RouteClient();
  /** Inode of the namespace in which the client asks: that of this thread when the device was opened. */
  readonly #home: number = statSync('/proc/thread-self/ns/net').ino;
  /** Ids of other namespaces by inode; an interface rarely sees more than one. */
  readonly #namespaceIds = new Map<number, number>();
  #last: LinkState;

  constructor(fd: number) {
    this.#fd = fd;
    this.#last = { kind: 'present', name: describeTun(fd).name, up: false, mtu: 0 };
  }

  /** Asks the kernel. Where rights do not reach (the other namespace belongs to somebody else), the MTU stays as it was. */
  read(): LinkState {
    if (this.#last.kind === 'gone') return this.#last;
    try {
      const { name } = describeTun(this.#fd);
      const link = this.#find(name);
      this.#last = {
        kind: 'present',
        name,
        up: link ? (link.flags & IFF_RUNNING) !== 0 : this.#acceptsWrites(),
        mtu: link?.mtu ?? this.#last.mtu,
      };
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      // EBADFD: the interface is deleted. EBADF: this descriptor is closed. Anything else passes (ENOBUFS, ENOMEM).
      if (error.errno === EBADFD || error.errno === EBADF) {
        this.#last = { kind: 'gone', reason: `the interface was deleted (${errnoName(error.errno)})` };
      }
    }
    return this.#last;
  }

  /** Packets that wait to be read. How many, no device of this kind tells; undefined when it is out of reach. */
  fill(): QueueFill | undefined {
    try {
      const link = this.#find(describeTun(this.#fd).name);
      return link && { depth: undefined, capacity: link.txQueueLength, dropped: link.txDropped };
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    }
  }

  setMtu(mtu: number): void {
    const link = this.#find(describeTun(this.#fd).name);
    if (link) this.#client.setLinkMtu(link.index, mtu);
  }

  /** Undefined when it is out of reach, or was renamed just now. */
  #find(name: string): Link | undefined {
    const namespace = libc().ioctl(this.#fd, TUNGETDEVNETNS, 0);
    // Kernels before 5.7 do not have the request: then it is here or out of reach.
    if (namespace < 0) return this.#client.link(name);
    try {
      const { ino } = fstatSync(namespace);
      return this.#client.link(name, ino === this.#home ? undefined : this.#namespaceId(ino, namespace));
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    } finally {
      closeSync(namespace);
    }
  }

  #namespaceId(inode: number, fd: number): number {
    const known = this.#namespaceIds.get(inode);
    if (known !== undefined) return known;
    const id = this.#client.namespaceId(fd);
    this.#namespaceIds.set(inode, id);
    return id;
  }

  /**
   * The last resort, as in wireguard-go: a write of nothing fails with EIO while the interface is down and otherwise
   * with EINVAL. Recent kernels answer EINVAL in both cases, so this errs towards "up".
   */
  #acceptsWrites(): boolean {
    return libc().write(this.#fd, 0, 0) >= 0 || libc().errno() !== EIO;
  }

  close(): void {
    this.#client.close();
  }
}
