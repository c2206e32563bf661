import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inProcess } from '../../test/support/in-process.ts';
import { type TempDir, tempDir } from '../../test/support/temp.ts';
import type { LedgerEntry } from '../brokers/store.ts';
import { type GapEnd, gapVerbs } from '../daemon/gap-verbs.ts';
import { silentLogger } from '../lib/logger.ts';
import { type Admin, startAdmin } from '../ops/admin.ts';
import { FailureError } from '../wire/reasons.ts';

let dir: TempDir;
let admin: Admin;
let down: string | undefined;
const gap = (lane: string, first: number, last: number): LedgerEntry => ({
  lane,
  after: { incarnation: 'one', sequence: first - 1 },
  upTo: { incarnation: 'one', sequence: last },
  reason: 'expired',
  at: '2026-01-02T03:04:05.000Z',
});
const ledger: LedgerEntry[] = [
  gap('orders/east/hub', 1, 1000),
  gap('orders/west/hub', 5, 5),
  { ...gap('other/east/hub', 3, 3), upTo: { incarnation: 'two', sequence: 9 } },
];

beforeAll(async () => {
  dir = await tempDir('gaps');
  const store: GapEnd['store'] = {
    gaps: async () => {
      if (down !== undefined) throw new FailureError('nats-unreachable', down);
      const gaps = ledger.map((one, i) => ({ ...one, key: `${one.lane} ${i}`, revision: 1 }));
      return { place: { created: '', revision: 1 }, whole: true, gaps, removed: [] };
    },
    acknowledgeGap: async ({ key }, acknowledged) => {
      const at = Number(key.split(' ')[1]);
      ledger[at] = { ...ledger[at]!, acknowledged };
    },
  };
  admin = await startAdmin({
    socket: join(dir.path, 'hub.sock'),
    verbs: gapVerbs(() => [{ cluster: 'hub', store, gaps: { look: async () => undefined } }]),
    log: silentLogger,
  });
  await writeFile(join(dir.path, 'hub.yaml'), `${topology}admin: { socket: hub.sock }\n`);
  await writeFile(join(dir.path, 'silent.yaml'), topology);
  await writeFile(join(dir.path, 'gone.yaml'), `${topology}admin: { socket: gone.sock }\n`);
});
afterAll(async () => {
  await admin.stop();
  await dir.remove();
});

const topology = `version: 1
cluster: hub
trustDomain: acme
tls: { cert: certs/hub.crt, key: certs/hub.key, ca: certs/ca.crt }
nats: { servers: ["nats://127.0.0.1:4222"] }
`;
const path = (name: string): string => join(dir.path, name);
const list = (...args: readonly string[]) => inProcess(['gaps', 'list', ...args, '--config', path('hub.yaml')]);

describe('gaps list', () => {
  it('shows every gap of the ledger, with what is not known as such', async () => {
    const { code, out } = await list();
    expect(code).toBe(0);
    expect(out.split('\n').map((line) => line.split(/ {2,}/).slice(1))).toEqual([
      ['LANE', 'REASON', 'RECORDS', 'AFTER', 'UP TO', 'SINCE'],
      ['orders/east/hub', 'expired', '1,000', 'one.0', 'one.1000', '2026-01-02T03:04:05.000Z'],
      ['orders/west/hub', 'expired', '1', 'one.4', 'one.5', '2026-01-02T03:04:05.000Z'],
      ['other/east/hub', 'expired', 'unknown', 'one.2', 'two.9', '2026-01-02T03:04:05.000Z'],
      [],
    ]);
  });

  it.each([
    ['orders', ['orders/east/hub', 'orders/west/hub']],
    ['orders/east', ['orders/east/hub']],
    ['orders/hub', ['orders/east/hub', 'orders/west/hub']],
    ['orders/west/hub', ['orders/west/hub']],
    ['orders/hub/west', []],
    ['order', []],
  ])('%s', async (lanes, expected) => {
    const { out } = await list(lanes, '--json');
    const shown = out.split('\n').filter((line) => line !== '');
    expect(shown.map((line) => JSON.parse(line).lane)).toEqual(expected);
  });

  it('finds the daemon by the environment and by its socket, too', async () => {
    const byFile = await inProcess(['gaps', 'list'], { CAUSEWAY_CONFIG: path('hub.yaml') });
    const bySocket = await inProcess(['gaps', 'list', '--socket', path('hub.sock')]);
    expect([byFile.code, bySocket.code]).toEqual([0, 0]);
    expect(bySocket.out).toBe(byFile.out);
  });

  it.each([
    ['a/b/c/d', 2, '"a/b/c/d" is not LINK, LINK/PEER or LINK/FROM/TO'],
    ['/', 2, 'is not LINK'],
  ])('refuses %s', async (lanes, code, why) => {
    const finished = await list(lanes);
    expect(finished).toMatchObject({ code, out: '' });
    expect(finished.err).toContain(why);
  });

  it('says what is in the way of the daemon', async () => {
    down = 'not connected';
    try {
      expect(await list()).toEqual({ code: 1, out: '', err: 'causeway: nats-unreachable: not connected\n' });
    } finally {
      down = undefined;
    }
  });
});

describe('gaps ack', () => {
  const ack = (...args: readonly string[]) =>
    inProcess(['gaps', 'ack', ...args, '--config', path('hub.yaml')], { USER: 'alice' });
  const open = async () =>
    (await list('--open', '--json')).out.split('\n').flatMap((line) => (line ? [JSON.parse(line)] : []));

  it('says what it would do, and does nothing', async () => {
    const { code, out } = await ack('orders', '--dry-run');
    expect([code, out.trimEnd().split('\n').at(-1)]).toEqual([0, '2 gaps would be acknowledged']);
    expect(await open()).toHaveLength(3);
  });

  it.each([[[]], [['orders', '--all']], [['--id', 'x', '--all']]])('wants to know which: %j', async (args) => {
    expect(await ack(...args)).toMatchObject({ code: 2, err: expect.stringContaining('say which gaps') });
  });

  it('knows nothing of an id that there is not', async () => {
    const [{ id }] = await open();
    expect(await ack('--id', id, '--id', '0123456789')).toMatchObject({
      code: 2,
      err: expect.stringContaining('there is no gap 0123456789'),
    });
    expect(await open()).toHaveLength(3);
  });

  it('acknowledges by id, lane, and all, and keeps who, when and why', async () => {
    const [{ id }] = await open();
    expect((await ack('--id', id, '--note', 'known')).out).toMatch(/by alice: known\n1 gap acknowledged\n$/);
    expect((await ack('orders/west', '--by', 'bob')).out).toMatch(/1 gap acknowledged\n$/);
    expect((await open()).map(({ lane }) => lane)).toEqual(['other/east/hub']);
    expect((await ack('orders')).out).toBe('nothing to acknowledge\n');
    expect((await ack('--all')).out).toMatch(/1 gap acknowledged\n$/);
    expect(await list('--open')).toMatchObject({ out: 'no gaps that wait to be acknowledged\n' });
    expect(ledger.map(({ acknowledged }) => [acknowledged?.by, acknowledged?.note])).toEqual([
      ['alice', 'known'],
      ['bob', undefined],
      ['alice', undefined],
    ]);
  });
});

describe('without a daemon to ask', () => {
  it.each([
    ['silent.yaml', 5, 'has no admin socket: add admin: { socket: PATH } to it and restart the daemon'],
    ['gone.yaml', 5, 'there is no admin socket'],
    ['missing.yaml', 3, 'Name the admin socket with --socket'],
  ])('says so: %s', async (file, code, why) => {
    const finished = await inProcess(['gaps', 'list', '--config', path(file)]);
    expect(finished).toMatchObject({ code, out: '' });
    expect(finished.err).toContain(why);
  });

  it.each([
    ['says something else', (write: (text: string) => void) => write('hello\n'), 5, 'is not a Causeway daemon'],
    ['breaks off', (write: (text: string) => void) => write('{"item": {}}\n'), 1, 'broke off "gaps list"'],
    [
      'is older',
      (write: (text: string) => void) => write('{"error": {"kind": "unknown-verb", "detail": ""}}\n'),
      1,
      'of another version than this program',
    ],
  ])('and what answers %s', async (name, answer, code, why) => {
    const socket = path(`${name.replaceAll(' ', '-')}.sock`);
    const server = createServer((_, response) => {
      answer((text) => response.write(text));
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    try {
      const finished = await inProcess(['gaps', 'list', '--json', '--socket', socket]);
      expect(finished.code).toBe(code);
      expect(finished.err).toContain(why);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
