import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Arena } from '../../../src/core/arena.ts';
import { libc } from '../../../src/sys/libc.ts';
import { fdWatcher } from '../../../src/sys/readiness.ts';
import { LinuxOffloadPort } from '../../../src/tun/linux-offload-port.ts';
import { VIRTIO_NET_HDR, VIRTIO_NET_HDR_GSO_TCPV4 } from '../../../src/tun/offload/virtio.ts';
import { wasmChecksums } from '../../../src/wasm/checksums.ts';
import { ipv4Packet } from '../../kit/packets.ts';

/** False, or why descriptors cannot be read here. */
function whyNot(): string | false {
  try {
    libc();
    return false;
  } catch (error) {
    if (process.env['CULVERT_REQUIRE_INTEROP'] === '1') throw error;
    return `SKIPPED: ${String(error)}`;
  }
}

const skip = whyNot();

/** A port on a file, which a read empties as it does a TUN: here what one read of a TUN would bring. */
function withRead(
  gsoType: number,
  packet: Uint8Array,
  use: (port: LinuxOffloadPort, at: number) => void,
): void {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-port-'));
  try {
    const header = new Uint8Array(VIRTIO_NET_HDR.size);
    header[VIRTIO_NET_HDR.gsoType] = gsoType;
    writeFileSync(join(folder, 'read'), Buffer.concat([header, packet]));
    const fd = openSync(join(folder, 'read'), 'r');
    const arena = new Arena({ bytes: 1 << 20 });
    const at = arena.alloc(65_536);
    const checksums = wasmChecksums(arena);
    use(new LinuxOffloadPort({ fd, arena, checksums, udp: true, watcher: fdWatcher, onGone: () => {} }), at);
    closeSync(fd);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const packet = ipv4Packet('10.0.0.1', '10.0.0.2', 100);

test('hands out a packet that fits, exactly', { skip }, () => {
  withRead(0, packet, (port, at) => {
    assert.equal(port.read(at, 100), 100);
    assert.equal(port.read(at, 100), 0);
    assert.equal(port.malformed, 0);
  });
});

test('drops and counts a packet that does not fit, and goes on', { skip }, () => {
  withRead(0, packet, (port, at) => {
    assert.equal(port.read(at, 99), 0);
    assert.equal(port.malformed, 1);
    assert.equal(port.read(at, 65_535), 0);
    assert.equal(port.malformed, 1);
  });
});

test('drops and counts a read whose offload header contradicts the packet', { skip }, () => {
  withRead(VIRTIO_NET_HDR_GSO_TCPV4, packet, (port, at) => {
    assert.equal(port.read(at, 65_535), 0);
    assert.equal(port.malformed, 1);
  });
});
