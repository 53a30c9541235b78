import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { joinByVeth, Namespace, requireRoot } from '../../kit/netns.ts';

test(
  'two namespaces joined by veth reach each other and vanish when closed',
  {
    skip: requireRoot({ programs: ['ping'] }),
  },
  async () => {
    const a = Namespace.create();
    const b = Namespace.create();
    joinByVeth(
      { namespace: a, link: 'eth0', addresses: ['10.9.0.1/24', 'fd09::1/64'] },
      { namespace: b, link: 'eth0', addresses: ['10.9.0.2/24', 'fd09::2/64'] },
    );
    a.exec('ping', ['-c1', '-W2', '10.9.0.2']);
    a.exec('ping', ['-c1', '-W2', 'fd09::2']);
    assert.equal(a.try('ping', ['-c1', '-W1', '203.0.113.1']).status, 2);
    const child = b.spawn('sleep', ['60']);
    await Promise.all([a.close(), b.close()]);
    assert.equal(child.signalCode, 'SIGKILL');
    assert.ok(!existsSync(a.path) && !existsSync(b.path));
  },
);
