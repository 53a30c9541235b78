import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { test } from 'node:test';
import {
  type LogOptions,
  calm,
  createLogger,
  isJournal,
  levelFromEnvironment,
  parseLogFormat,
  parseLogLevel,
  writerTo,
} from '../../../src/app/log.ts';
import { hushed } from '../../../src/app/cli-log.ts';

function collect(options: Partial<LogOptions>): { lines: string[]; options: LogOptions } {
  const lines: string[] = [];
  return {
    lines,
    options: {
      format: 'json',
      level: 'debug',
      isColoured: false,
      write: (line) => lines.push(line),
      now: () => new Date(2026, 10, 22, 9, 5, 7),
      interfaceName: 'wg0',
      ...options,
    },
  };
}

test('JSON is one object a line with time, level, event, text and fields', () => {
  const { lines, options } = collect({});
  const peer = createLogger(options).child({ iface: 'wg0' }).child({ peer: 'abcd…wxyz' });
  peer.log('debug', 'handshake_completed', { attempt: 2, missing: undefined });
  assert.equal(lines.length, 1);
  assert.ok(lines[0]?.endsWith('}\n') === true);
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    time: new Date(2026, 10, 22, 9, 5, 7).toISOString(),
    level: 'debug',
    event: 'handshake_completed',
    msg: 'Handshake completed',
    iface: 'wg0',
    peer: 'abcd…wxyz',
    attempt: 2,
  });
});

test('wireguard-go lines carry DEBUG or ERROR, the interface, and the date as Go writes it', () => {
  const { lines, options } = collect({ format: 'wireguard-go' });
  const logger = createLogger(options);
  logger.log('info', 'uapi_listener_started');
  logger.log('error', 'uapi_set_failed', { reason: 'port 7: EADDRINUSE', errno: -98 });
  logger
    .child({ peer: 'peer(abcd…wxyz)', iface: 'wg0' })
    .log('debug', 'handshake_initiation_sent', { attempt: 1 });
  assert.deepEqual(lines, [
    'DEBUG: (wg0) 2026/11/22 09:05:07 UAPI listener started\n',
    'ERROR: (wg0) 2026/11/22 09:05:07 UAPI set failed: reason="port 7: EADDRINUSE" errno=-98\n',
    'DEBUG: (wg0) 2026/11/22 09:05:07 peer(abcd…wxyz) - Handshake initiation sent: attempt=1\n',
  ]);
});

test('words that are abbreviations are written as such', () => {
  const { lines, options } = collect({ format: 'pretty' });
  for (const event of ['http_served', 'grpc_stream_closed', 'tls_files_read', 'tun_gone'])
    createLogger(options).log('info', event);
  assert.deepEqual(
    lines.map((line) => line.slice(15).trim()),
    ['HTTP served', 'gRPC stream closed', 'TLS files read', 'TUN gone'],
  );
});

test('pretty lines are for people, coloured on request', () => {
  const { lines, options } = collect({ format: 'pretty' });
  createLogger(options).log('info', 'device_up', { port: 51820 });
  createLogger({ ...options, isColoured: true }).log('warn', 'dns_not_set');
  assert.deepEqual(lines, [
    '09:05:07 info  Device up: port=51820\n',
    '09:05:07 \x1b[33mwarn \x1b[0m DNS not set\n',
  ]);
});

test('a level lets through what is as important or more', () => {
  for (const [level, expected] of [
    ['silent', 0],
    ['error', 1],
    ['warn', 2],
    ['info', 3],
    ['debug', 4],
  ] as const) {
    const { lines, options } = collect({ level });
    const logger = createLogger(options);
    for (const one of ['error', 'warn', 'info', 'debug'] as const) logger.log(one, 'x');
    assert.equal(lines.length, expected, level);
  }
});

test('a descriptor that cannot be written to does not matter', () => {
  writerTo(999_999)('lost\n');
});

test('the level comes from LOG_LEVEL, else WG_LOG_LEVEL, else it is error', () => {
  assert.equal(levelFromEnvironment({}), 'error');
  assert.equal(levelFromEnvironment({ LOG_LEVEL: 'verbose' }), 'debug');
  assert.equal(levelFromEnvironment({ LOG_LEVEL: 'debug' }), 'debug');
  assert.equal(levelFromEnvironment({ LOG_LEVEL: 'silent', WG_LOG_LEVEL: 'debug' }), 'silent');
  assert.equal(levelFromEnvironment({ WG_LOG_LEVEL: 'info' }), 'info');
  assert.equal(levelFromEnvironment({ LOG_LEVEL: 'nonsense' }), 'error');
});

test('flags for level and format name what they take', () => {
  assert.equal(parseLogLevel('--log-level', 'warn'), 'warn');
  assert.equal(parseLogFormat('--log-format', 'json'), 'json');
  assert.equal(parseLogFormat('--log-format', 'journal'), 'journal');
  assert.throws(() => parseLogLevel('--log-level', 'loud'), { code: 'usage' });
  assert.throws(() => parseLogFormat('--log-format', 'xml'), { code: 'usage' });
});

test('journal lines begin with their priority and leave time and colour to the journal', () => {
  const { lines, options } = collect({ format: 'journal', isColoured: true });
  const logger = createLogger(options);
  for (const level of ['error', 'warn', 'info', 'debug'] as const)
    logger.log(level, 'device_up', { port: 7 });
  assert.deepEqual(
    lines,
    [3, 4, 6, 7].map((priority) => `<${priority}>Device up: port=7\n`),
  );
});

test('a descriptor is the journal when JOURNAL_STREAM has its device and inode', () => {
  const { dev, ino } = fstatSync(0);
  assert.equal(isJournal({ JOURNAL_STREAM: `${dev}:${ino}` }, 0), true);
  assert.equal(isJournal({ JOURNAL_STREAM: `${dev}:${ino + 1}` }, 0), false);
  assert.equal(isJournal({ JOURNAL_STREAM: `${dev}:${ino}` }, 999_999), false);
  assert.equal(isJournal({ JOURNAL_STREAM: 'x' }, 0), false);
  assert.equal(isJournal({}, 0), false);
});

test('a warning is said once a minute for each reason and peer, then with how many were not said', () => {
  const { lines, options } = collect({ format: 'pretty' });
  let now = 0;
  const logger = calm(createLogger(options), () => now).child({ peer: 'a' });
  const warn = (reason: string) => logger.log('warn', 'not_sent', { reason });
  for (let i = 0; i < 5; i++) warn('full');
  warn('other');
  logger.child({ peer: 'b' }).log('warn', 'not_sent', { reason: 'full' });
  for (let i = 0; i < 3; i++) logger.log('error', 'bad');
  assert.equal(lines.length, 6);
  now = 59_999;
  warn('full');
  assert.equal(lines.length, 6);
  now = 60_000;
  warn('full');
  assert.match(lines.at(-1) ?? '', /reason=full repeated=5\n$/);
  now = 120_000;
  warn('full');
  assert.match(lines.at(-1) ?? '', /reason=full\n$/);
});

test('warnings without end are not remembered without end', () => {
  const { lines, options } = collect({});
  const logger = calm(createLogger(options), () => 0);
  for (let i = 0; i < 1_000; i++) logger.log('warn', 'x', { reason: `r${i}` });
  assert.equal(lines.length, 1_000);
});

test('a hushed logger says what is wrong, and the rest only when the screen is free', () => {
  const { lines, options } = collect({});
  let isHushed = true;
  const logger = hushed(createLogger(options), () => isHushed).child({ iface: 'wg0' });
  logger.log('info', 'ordinary');
  logger.log('debug', 'ordinary');
  logger.log('warn', 'wrong');
  isHushed = false;
  logger.log('info', 'later');
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { event: string; iface: string }).event),
    ['wrong', 'later'],
  );
});
