import { afterAll, beforeAll, expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { eachServer } from '../support/each-server.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import {
  api,
  type Client,
  client,
  infoOf,
  type LinkFixture,
  makeStream,
  openLink,
  readAll,
} from '../support/nats-rig.ts';
import { type RigLane, RigSession, SinkRig } from '../support/sink-rig.ts';
import { until } from '../support/until.ts';

const direct: RigLane = { id: 'one/plant/hub' };
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

await eachServer('ends', (binary) => {
  let server: NatsServer;
  let nc: Client;
  let one: LinkFixture;
  let two: LinkFixture;
  let streams = 0;
  beforeAll(async () => {
    server = await startNats({ binary });
    nc = await client(server.url);
    one = await openLink(server.url);
    two = await openLink(server.url);
  });
  afterAll(async () => {
    await one[Symbol.asyncDispose]();
    await two[Symbol.asyncDispose]();
    await nc.close();
    await server.dispose();
  });
  const stored = async (stream: string) =>
    (await readAll(nc, stream)).map((record) => Number(record.header('Causeway-Origin')[0]!.split('/')[3]));
  /** The server has forgotten the message ids of what the stream holds. */
  const forgotten = async (stream: string) => {
    const { state, config } = await infoOf(nc, stream);
    const windowMs = Number((config as { duplicate_window?: number }).duplicate_window) / 1e6;
    const newest = Date.parse(String((state as { last_ts?: string }).last_ts));
    await until(() => Date.now() > newest + 2 * windowMs, { what: 'the end of the duplicate window' });
  };

  test.each([false, true])(
    'a lane that another daemon of this name served meanwhile goes on behind what that one stored; shared: %s',
    async (shared) => {
      const stream = `S${++streams}`;
      const subject = `${stream}.x`;
      await makeStream(nc, { name: stream, duplicate_window: 100_000_000 });
      await using a = new SinkRig(one.link, stream, { shared }).start();
      await using b = new SinkRig(two.link, stream, { shared }).start();
      for (const [turn, rig] of [a, b, a, b].entries()) {
        const session = await rig.open(direct);
        expect(session.cursor).toBe(turn * 10);
        await session.bring(subject, range(turn * 10 + 1, turn * 10 + 10));
        if (turn % 2 === 0) session.close();
        await forgotten(stream);
      }
      expect(await stored(stream)).toEqual(range(1, 40));
      // The one that lost the lane in the middle of a session took nothing with it.
      const last = await a.open(direct);
      await last.bring(subject, range(last.cursor + 1, 45));
      expect(await stored(stream)).toEqual(range(1, 45));
    },
  );

  test('a session whose lane another daemon has won is superseded at its next checkpoint, and stops', async () => {
    const stream = `S${++streams}`;
    const subject = `${stream}.x`;
    await makeStream(nc, { name: stream });
    await using a = new SinkRig(one.link, stream).start();
    await using b = new SinkRig(two.link, stream).start();
    const older = await a.open(direct);
    await older.bring(subject, range(1, 10));
    const newer = await b.open(direct);
    expect(newer.cursor).toBe(10);
    await newer.bring(subject, range(11, 20));
    expect(older.ended).toBeUndefined();
    // It does not know yet. What it brings is there already, and the write that would say so fails.
    older.send(subject, range(11, 12));
    await until(() => older.ended !== undefined, { what: 'the older session to be ended' });
    expect(older.ended).toMatchObject({ reason: 'superseded' });
    older.send(subject, range(13, 14));
    await newer.bring(subject, range(21, 30));
    expect(newer.ended).toBeUndefined();
    expect(await stored(stream)).toEqual(range(1, 30));
  });

  test('what another daemon passed without storing it stays passed', async () => {
    const stream = `S${++streams}`;
    await makeStream(nc, { name: stream });
    await using a = new SinkRig(one.link, stream).start();
    const first = await a.open(direct);
    await first.bring(`${stream}.x`, range(1, 10));
    first.close();
    {
      await using b = new SinkRig(two.link, stream).start();
      const copy = { id: 'two/plant/hub' };
      await (await b.open(copy)).bring(`${stream}.x`, range(1, 30));
      const session = await b.open(direct);
      await session.bring(`${stream}.x`, range(11, 30));
      expect(session.duplicates).toBe(20);
    }
    expect((await a.open(direct)).cursor).toBe(30);
  });

  test('a session that is given up while it opens does not win the lane', async () => {
    const stream = `S${++streams}`;
    await makeStream(nc, { name: stream });
    await using a = new SinkRig(one.link, stream).start();
    await a.open({ id: 'other/plant/hub' });
    const opened = range(1, 20).map(async () => {
      const controller = new AbortController();
      const opening = new RigSession(direct).open(a.sink, controller.signal);
      controller.abort();
      return opening;
    });
    for (const result of await Promise.allSettled(opened))
      expect(result).toMatchObject({ status: 'rejected', reason: { failure: { reason: 'draining' } } });
    expect(await a.store.checkpoint(stream, direct.id, 1)).toBeUndefined();
    const session = await a.open(direct);
    await session.bring(`${stream}.x`, range(1, 10));
    // Nor does it end the one that there is.
    const late = new RigSession(direct).open(a.sink, AbortSignal.abort());
    await expect(late).rejects.toMatchObject({ failure: { reason: 'draining' } });
    expect(session.ended).toBeUndefined();
  });

  test('buckets that are gone while the connection is not are made again, and nothing is lost', async () => {
    const stream = `S${++streams}`;
    const subject = `${stream}.x`;
    const idle = { id: 'idle/plant/hub' };
    await makeStream(nc, { name: stream });
    await using a = new SinkRig(one.link, stream).start();
    const resting = await a.open(idle);
    await resting.bring(subject, range(1, 5));
    resting.close();
    const session = await a.open(direct);
    await session.bring(subject, range(1, 10));
    await a.store.saveLearned('plant', ['x']);
    const gap = { lane: direct.id, after: { incarnation: 'inc', sequence: 1 }, reason: 'expired', at: 'now' } as const;
    await a.store.recordGap({ ...gap, upTo: { incarnation: 'inc', sequence: 2 } }, 1);
    const remove = (name: string) => call(nc, `${api}.STREAM.DELETE.KV_${name}`);
    // Read, written, listed: whatever comes first makes it anew.
    for (const use of [
      () => a.store.roster(),
      () => a.store.saveLearned('plant', ['x']),
      () => a.store.origins(stream, 1),
      () => a.store.checkpoint(stream, 'no/such/lane', 1),
    ]) {
      await remove('CAUSEWAY');
      await until(() => use().then(() => true), { what: 'the bucket' });
    }
    await remove('CAUSEWAY_GAPS');
    await a.store.recordGap({ ...gap, upTo: { incarnation: 'inc', sequence: 3 } }, 1);
    const kept = async (lane: string) => (await a.store.checkpoint(stream, lane, 1))?.checkpoint.cursor?.sequence;
    // The session goes on meanwhile, and what it tells is written down, with what was known before.
    await session.bring(subject, range(11, 20));
    await until(async () => (await kept(direct.id)) === 20, { what: 'the checkpoint of the session' });
    await until(async () => (await kept(idle.id)) === 5, { what: 'the checkpoint of the lane that rests' });
    expect(session.ended).toBeUndefined();
    await remove('CAUSEWAY');
    session.close();
    const again = await a.open(direct);
    await again.bring(subject, range(again.cursor + 1, 30));
    expect([again.cursor, await stored(stream)]).toEqual([20, [...range(1, 10), ...range(11, 30)]]);
  });
});
