/**
 * The C library through koffi. Every pointer is declared as a 64-bit integer and passed as a plain number (user
 * addresses lie below 2^47, which a double holds exactly): such calls cost about 50 ns and allocate nothing. In return
 * the caller answers for the address and the length, which is why only src/sys and the two data ports built on it may
 * call these functions, always with memory of `Block` or `Arena` and lengths checked there.
 *
 * Loaded on first use, so that this module can be imported on any machine.
 */
import { createRequire } from 'node:module';
import type koffiModule from 'koffi';
import { AppError } from '../core/errors.ts';

type Koffi = typeof koffiModule;

/** Results below zero mean failure; then `errno()` has the reason until the next call. */
export interface Libc {
  open(path: string, flags: number): number;
  close(fd: number): number;
  read(fd: number, address: number, size: number): number;
  write(fd: number, address: number, size: number): number;
  writev(fd: number, vector: number, count: number): number;
  /** With a pointer, or an integer where the request takes one. */
  ioctl(fd: number, request: number, argument: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  socket(family: number, type: number, protocol: number): number;
  /** Writes two descriptors of 32 bits each. */
  socketpair(family: number, type: number, protocol: number, address: number): number;
  bind(fd: number, address: number, size: number): number;
  connect(fd: number, address: number, size: number): number;
  getsockname(fd: number, address: number, sizeAddress: number): number;
  getsockopt(fd: number, level: number, name: number, address: number, sizeAddress: number): number;
  setsockopt(fd: number, level: number, name: number, address: number, size: number): number;
  send(fd: number, address: number, size: number, flags: number): number;
  recv(fd: number, address: number, size: number, flags: number): number;
  sendmmsg(fd: number, vector: number, count: number, flags: number): number;
  recvmmsg(fd: number, vector: number, count: number, flags: number, timeout: number): number;
  poll(fds: number, count: number, timeoutMs: number): number;
  schedYield(): number;
  eventfd(initial: number, flags: number): number;
  /** Of the calling thread only, both. */
  prctl(option: number, value: number): number;
  capset(header: number, data: number): number;
  /** Both move the calling thread only. */
  unshare(flags: number): number;
  setns(fd: number, type: number): number;
  errno(): number;
  /** Address of the first byte; valid while the buffer lives, and only for buffers that never move. */
  address(bytes: Uint8Array): number;
  readonly koffi: Koffi;
}

/** Struct layouts and ioctl numbers in this folder hold for these (64 bit, little endian, asm-generic). */
const ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64'];

let loaded: Libc | undefined;

/** Throws AppError `unavailable` where there is no Linux or no koffi. */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

/** True when `libc()` works. */
export function hasLibc(): boolean {
  try {
    libc();
    return true;
  } catch {
    return false;
  }
}

function load(): Libc {
  if (process.platform !== 'linux' || !ARCHITECTURES.includes(process.arch)) {
    throw new AppError(
      'unavailable',
      `system calls: need 64-bit Linux, this is ${process.platform} ${process.arch}`,
    );
  }
  let koffi: Koffi;
  try {
    koffi = createRequire(import.meta.url)('koffi') as Koffi;
  } catch (cause) {
    throw new AppError('unavailable', 'system calls: the package koffi does not load', {
      cause,
      hint: 'reinstall with optional dependencies, they hold its binary for this machine',
    });
  }
  return bindFunctions(koffi);
}

function openLibrary(koffi: Koffi): ReturnType<Koffi['load']> {
  // The process's own symbols serve glibc and musl alike. A Node linked statically has none to give.
  const own = koffi.load(null);
  try {
    own.func('int recvmmsg(int, int64_t, uint32_t, int, int64_t)');
    return own;
  } catch {
    return koffi.load('libc.so.6');
  }
}

function bindFunctions(koffi: Koffi): Libc {
  const library = openLibrary(koffi);
  const open = library.func('int open(const char *path, int flags, ...)');
  const ioctl = library.func('int ioctl(int fd, uint64_t request, ...)');
  const fcntl = library.func('int fcntl(int fd, int command, ...)');
  const prctl = library.func('int prctl(int option, ...)');
  return {
    open: (path, flags) => open(path, flags) as number,
    close: library.func('int close(int fd)'),
    read: library.func('int64_t read(int fd, int64_t address, int64_t size)'),
    write: library.func('int64_t write(int fd, int64_t address, int64_t size)'),
    writev: library.func('int64_t writev(int fd, int64_t vector, int count)'),
    ioctl: (fd, request, argument) => ioctl(fd, request, 'int64_t', argument) as number,
    fcntl: (fd, command, argument) => fcntl(fd, command, 'int64_t', argument) as number,
    socket: library.func('int socket(int family, int type, int protocol)'),
    socketpair: library.func('int socketpair(int family, int type, int protocol, int64_t address)'),
    bind: library.func('int bind(int fd, int64_t address, uint32_t size)'),
    connect: library.func('int connect(int fd, int64_t address, uint32_t size)'),
    getsockname: library.func('int getsockname(int fd, int64_t address, int64_t size)'),
    getsockopt: library.func('int getsockopt(int fd, int level, int name, int64_t address, int64_t size)'),
    setsockopt: library.func('int setsockopt(int fd, int level, int name, int64_t address, uint32_t size)'),
    send: library.func('int64_t send(int fd, int64_t address, int64_t size, int flags)'),
    recv: library.func('int64_t recv(int fd, int64_t address, int64_t size, int flags)'),
    sendmmsg: library.func('int sendmmsg(int fd, int64_t vector, uint32_t count, int flags)'),
    recvmmsg: library.func(
      'int recvmmsg(int fd, int64_t vector, uint32_t count, int flags, int64_t timeout)',
    ),
    poll: library.func('int poll(int64_t fds, uint64_t count, int timeout)'),
    schedYield: library.func('int sched_yield()'),
    eventfd: library.func('int eventfd(uint32_t initial, int flags)'),
    prctl: (option, value) =>
      prctl(option, 'uint64_t', value, 'uint64_t', 0, 'uint64_t', 0, 'uint64_t', 0) as number,
    capset: library.func('int capset(int64_t header, int64_t data)'),
    unshare: library.func('int unshare(int flags)'),
    setns: library.func('int setns(int fd, int type)'),
    errno: () => koffi.errno(),
    address: (bytes) => Number(koffi.address(bytes)),
    koffi,
  };
}
