import { join } from 'node:path';
import { afterAll, beforeEach, expect, it } from 'vitest';
import { inProcess } from '../../test/support/in-process.ts';
import { type TempDir, tempDir } from '../../test/support/temp.ts';
import type { KeptRecord, QuarantineStore } from '../brokers/store.ts';
import { quarantineVerbs } from '../daemon/quarantine-verbs.ts';
import { silentLogger } from '../lib/logger.ts';
import { type Admin, startAdmin } from '../ops/admin.ts';
import { FailureError } from '../wire/reasons.ts';

const entry = (lane: string, sequence: number): KeptRecord => ({
  lane,
  stream: 'ORDERS',
  position: { incarnation: 'one', sequence },
  seconds: 1,
  nanos: 2,
  subject: 'order.x',
  target: 'fleet.order.x',
  origin: `east/ORDERS/one/${sequence}/1000000002`,
  reason: 'record-refused',
  detail: 'too large',
  at: '2026-01-02T03:04:05.000Z',
  headerBytes: 0,
  payloadBytes: 5,
  revision: sequence,
  parts: 1,
});
let kept: KeptRecord[] = [];
let dir: TempDir | undefined;
let admin: Admin | undefined;
const store: QuarantineStore = {
  list: async () => kept,
  record: async (one) => ({ ...one, headers: Buffer.alloc(0), payload: Buffer.from('he\x1bllo') }),
  drop: async (one) => {
    kept = kept.filter((other) => other !== one);
  },
  retry: async (one) => {
    if (one.position.sequence === 3) throw new FailureError('record-refused', 'too large still');
    await store.drop(one);
    return 17;
  },
};

beforeEach(async () => {
  kept = [entry('orders/east/hub', 1), entry('orders/west/hub', 2), entry('orders/west/hub', 3)];
  dir ??= await tempDir('quarantine');
  const ends = () => [{ cluster: 'hub', store: { quarantined: store } }];
  const verbs = quarantineVerbs(ends, silentLogger);
  admin ??= await startAdmin({ socket: join(dir.path, 'hub.sock'), verbs, log: silentLogger });
});
afterAll(async () => {
  await admin?.stop();
  await dir?.remove();
});

const quarantine = (...args: readonly string[]) =>
  inProcess(['quarantine', ...args, '--socket', join(dir!.path, 'hub.sock')]);

it('lists and shows, a table for people and lines for programs', async () => {
  const list = await quarantine('list', 'orders/west');
  expect(list.out.split('\n')[0]).toMatch(/^ID +LANE +POSITION +SUBJECT +BYTES +REASON +SINCE/);
  expect(list.out).toMatch(/orders\/west\/hub +one\.2 +order\.x +5 +record-refused/);
  expect(list.out).not.toContain('east');
  const json = await quarantine('list', '--json');
  const items = json.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(items).toMatchObject([
    { position: 'one.1', target: 'fleet.order.x' },
    { position: 'one.2' },
    { position: 'one.3' },
  ]);
  const show = await quarantine('show', '--id', items[0].id);
  expect(show.out).toContain('record-refused, too large');
  expect(show.out).toContain('he.llo');
  const raw = await quarantine('show', '--id', items[0].id, '--json');
  expect(Buffer.from(JSON.parse(raw.out).payload, 'base64').toString()).toBe('he\x1bllo');
  kept = [];
  expect((await quarantine('list')).out).toBe('no records in quarantine\n');
});

it('stores again what can be stored, says why the rest stays, and fails for it', async () => {
  const dry = await quarantine('retry', '--all', '--dry-run');
  expect([dry.code, dry.out.trimEnd().split('\n').at(-1)]).toEqual([0, '3 records would be stored again']);
  expect(kept).toHaveLength(3);
  const retried = await quarantine('retry', '--all');
  expect([retried.code, retried.out.trimEnd().split('\n').at(-1)]).toEqual([1, '2 records stored again']);
  expect(retried.out).toContain('ORDERS 17');
  expect(retried.out).toContain('record-refused: too large still');
  expect(kept.map(({ position }) => position.sequence)).toEqual([3]);
});

it('drops what was chosen, and nothing when nothing was', async () => {
  expect((await quarantine('drop')).code).toBe(2);
  expect((await quarantine('drop', '--id', 'nothing')).code).toBe(2);
  expect(kept).toHaveLength(3);
  expect((await quarantine('drop', 'orders/east')).out).toContain('1 record dropped');
  expect(kept.map(({ lane }) => lane)).toEqual(['orders/west/hub', 'orders/west/hub']);
});
