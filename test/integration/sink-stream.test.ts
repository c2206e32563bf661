import { createHash } from 'node:crypto';
import { cp, rename, rm } from 'node:fs/promises';
import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { spacesFromJson } from '../../src/dedupe/origin-snapshot.ts';
import type { CreatePlan } from '../../src/topology/plan.ts';
import { FailureError } from '../../src/wire/reasons.ts';
import { eachServer } from '../support/each-server.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import {
  api,
  asUser,
  type Client,
  client,
  infoOf,
  type LinkFixture,
  makeStream,
  numbered,
  openLink,
  publishAll,
  readAll,
} from '../support/nats-rig.ts';
import { type RigLane, SinkRig } from '../support/sink-rig.ts';
import { until } from '../support/until.ts';

const origin = (n: number) => `plant/S/inc/${n}/1700000000${String(n).padStart(9, '0')}`;
const direct: RigLane = { id: 'one/plant/hub' };
const redundant: RigLane = { id: 'two/plant/hub' };
const relayed: RigLane = { id: 'far/edge/hub', origin };
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

await eachServer('ends', (binary) => {
  describe('a server that is shared', () => {
    let server: NatsServer;
    let nc: Client;
    let fixture: LinkFixture;
    let stream: string;
    let subject: string;
    let streams = 0;
    beforeAll(async () => {
      server = await startNats({ binary });
      nc = await client(server.url);
      fixture = await openLink(server.url);
    });
    afterAll(async () => {
      await fixture[Symbol.asyncDispose]();
      await nc.close();
      await server.dispose();
    });
    beforeEach(async () => {
      stream = `S${++streams}`;
      subject = `${stream}.x`;
    });
    const rig = (options = {}) => new SinkRig(fixture.link, stream, options).start();
    const bucket = async () => new Kvm(jetstream(nc)).open('CAUSEWAY');
    const checkpoint = async (lane: string) =>
      (await (await bucket()).get(`checkpoint.${stream}.${lane}`))?.json<{
        sinkSequence: number;
        witnessSink: number;
      }>();
    /** Sessions one after the other, until everything up to record `last` is stored. */
    const carry = (one: SinkRig, lane: RigLane, last: number) =>
      until(
        async () => {
          const session = await one.open(lane);
          session.send(subject, range(session.cursor + 1, last));
          await until(() => session.ended !== undefined || session.stored === last, { what: 'an answer' });
          return session.stored === last;
        },
        { what: `record ${last} of ${lane.id}` },
      );
    const stored = async () => (await readAll(nc, stream)).map((record) => record.header('Causeway-Origin')[0]);

    test.each([false, true])(
      'I4: a copy that comes after a restart is known, although nothing of it was read again; shared: %s',
      async (shared) => {
        await makeStream(nc, { name: stream });
        {
          await using first = rig({ shared });
          const session = await first.open(direct);
          await session.bring(subject, range(1, 500));
          await session.bring(subject, range(501, 600));
        }
        expect(await checkpoint(direct.id)).toMatchObject({ sinkSequence: 600, witnessSink: 600 });
        await using second = rig({ shared });
        for (const lane of [redundant, relayed]) {
          const session = await second.open(lane);
          await session.bring(subject, range(1, 610));
          expect(session).toMatchObject(
            lane === redundant ? { duplicates: 600, records: 10 } : { duplicates: 610, records: 0 },
          );
        }
        expect(await stored()).toEqual(range(1, 610).map(origin));
        expect(second.log.of('sink-read')).toEqual([{ from: 600, last: 600 }]);
      },
    );

    test('I4: the same where the sink holds none of these records any more', async () => {
      await makeStream(nc, { name: stream, max_msgs: 50 });
      {
        await using first = rig();
        await (await first.open(direct)).bring(subject, range(1, 300));
      }
      await using second = rig();
      const session = await second.open(redundant);
      await session.bring(subject, range(1, 300));
      expect(session).toMatchObject({ duplicates: 300, records: 0 });
    });

    test.each(['nothing', 'nonsense', 'another version'])(
      '%s in the place of what was kept: the sink is read from its first record',
      async (what) => {
        await makeStream(nc, { name: stream });
        {
          await using first = rig();
          await (await first.open(direct)).bring(subject, range(1, 100));
        }
        const kv = await bucket();
        const key = `origins.${stream}`;
        if (what === 'nothing') await kv.delete(key);
        else await kv.put(key, what === 'nonsense' ? '{' : '{"v":2}');
        {
          await using second = rig();
          const session = await second.open(redundant);
          await session.bring(subject, range(1, 110));
          expect(session).toMatchObject({ duplicates: 100, records: 10 });
          expect(second.log.of('origins-unreadable')).toHaveLength(what === 'nothing' ? 0 : 1);
        }
        // And it is kept again.
        const kept = (await kv.get(key))?.json<{ v: number; upTo: number; spaces: string }>();
        const spaces = spacesFromJson(kept?.spaces);
        expect(kept).toMatchObject({ v: 2, upTo: 110 });
        expect([...(spaces?.get('plant/S/inc')?.set.bounds() ?? [])]).toEqual([1, 110]);
      },
    );

    test('I3: what is kept of a stream that was deleted and made again counts for nothing', async () => {
      await makeStream(nc, { name: stream });
      {
        await using first = rig();
        await (await first.open(direct)).bring(subject, range(1, 100));
      }
      await call(nc, `${api}.STREAM.DELETE.${stream}`);
      await makeStream(nc, { name: stream });
      // Longer than the old one was.
      await publishAll(nc, 1, 200, numbered(`${stream}.local`));
      await using second = rig();
      const session = await second.open(redundant);
      expect(second.log.of('sink-regressed')).toHaveLength(1);
      await session.bring(subject, range(1, 100));
      const again = await second.open(direct);
      expect([session.records, again.cursor]).toEqual([100, 0]);
    });

    test.each(['saveOrigins', 'saveCheckpoint'] as const)(
      'I3: nothing is stored in a sink that lost records before what was kept of it is written over: %s',
      async (write) => {
        await makeStream(nc, { name: stream });
        {
          await using first = rig();
          await (await first.open(direct)).bring(subject, range(1, 10));
        }
        await call(nc, `${api}.STREAM.DELETE.${stream}`);
        await makeStream(nc, { name: stream });
        await using second = new SinkRig(fixture.link, stream);
        const refused = vi.spyOn(second.store, write).mockRejectedValue(new FailureError('sink-blocked', 'no quorum'));
        second.start();
        await until(() => second.sink.failure?.detail === 'no quorum', {
          what: () => `${second.sink.failure?.detail}`,
        });
        refused.mockRestore();
        const session = await second.open(direct);
        expect(session.cursor).toBe(0);
        await session.bring(subject, range(1, 10));
      },
    );

    test('more than fits into one value is kept in parts, one set of them at a time', async () => {
      await makeStream(nc, { name: stream });
      // Far apart, so that nothing joins, and such that they do not pack well.
      const hash = (n: number) => createHash('sha256').update(String(n)).digest().readUIntBE(0, 5);
      const numbers = range(0, 60_000).map((n) => n * 2 ** 36 + Math.floor(hash(n) / 16));
      const many: RigLane = { ...relayed, origin: (n) => origin(n).replace(`/${n}/`, `/${numbers[n]}/`) };
      const keys = async () => {
        const found: string[] = [];
        for await (const key of await (await bucket()).keys(`origins.${stream}.>`)) found.push(key);
        return found.map((key) => key.split('.')[2]);
      };
      const lastKept = async () => (await (await bucket()).get(`origins.${stream}`))?.json<{ upTo: number }>().upTo;
      const slots: string[] = [];
      for (const upTo of [40_000, 59_990]) {
        await using one = rig();
        const session = await one.open(many);
        for (let n = session.cursor + 1; n <= upTo; n += 10_000)
          await session.bring(subject, range(n, Math.min(upTo, n + 9_999)));
        await one.sink.stop();
        expect(await lastKept()).toBe(upTo);
        const found = await keys();
        expect([found.length > 1 || upTo < 50_000, new Set(found).size]).toEqual([true, 1]);
        slots.push(found[0]!);
      }
      expect(slots).toEqual([expect.stringMatching(/^[ab]$/), expect.stringMatching(/^[ab]$/)]);
      await using last = rig();
      const copy = await last.open({ ...many, id: 'other/edge/hub' });
      for (let n = 1; n < 59_990; n += 10_000) await copy.bring(subject, range(n, Math.min(59_990, n + 9_999)));
      expect(copy).toMatchObject({ records: 0, duplicates: 59_990 });
    });

    test('a lane that rests does not hold back the scans, and gives way to whoever serves it', async () => {
      await makeStream(nc, { name: stream });
      await using one = rig();
      const [idle, served] = [{ id: 'idle/plant/hub' }, { id: 'served/mill/hub' }];
      for (const lane of [idle, served]) {
        const session = await one.open(lane);
        await session.bring(subject, [1, 2, 3]);
        session.close();
        await until(async () => ((await checkpoint(lane.id))?.witnessSink ?? 0) > 0, {
          what: 'the checkpoint of a lane that rests',
        });
      }
      // Another daemon takes one of them over: the first one's write comes to nothing.
      await using other = rig();
      const theirs = await other.open(served);
      const busy = await one.open(direct);
      // An end of its own: what the idle lane's source has is another stream's.
      await busy.bring(subject, range(10, 12_000));
      await until(async () => ((await checkpoint(idle.id))?.sinkSequence ?? 0) > 10_000, {
        what: 'a checkpoint that keeps up',
      });
      await one.sink.stop();
      expect((await checkpoint(served.id))?.sinkSequence).toBe(6);
      expect(theirs.ended).toBeUndefined();
      // It says the same as before of the lane itself.
      await using last = rig();
      expect((await last.open(idle)).cursor).toBe(3);
    });

    test('an origin that the own end did not agree to ends the session, and nothing is skipped', async () => {
      await makeStream(nc, { name: stream });
      await using one = rig();
      const origins = (n: number) => (n < 5 ? origin(n) : origin(n).replace('plant', 'mill'));
      let accepted = ['plant'];
      const lane = { ...relayed, origin: origins, acceptsOrigin: (cluster: string) => accepted.includes(cluster) };
      const first = await one.open(lane);
      first.send(subject, range(1, 9));
      await until(() => first.ended, { what: 'the end' });
      expect(first.ended).toMatchObject({ reason: 'origin-refused', detail: expect.stringContaining('mill') });
      accepted = ['plant', 'mill'];
      const second = await one.open(lane);
      expect(second.cursor).toBe(4);
      await second.bring(subject, range(5, 9));
      expect(await stored()).toEqual(range(1, 9).map(origins));
    });

    test('somebody else’s record under the id of one of ours is not taken for it', async () => {
      await makeStream(nc, { name: stream, duplicate_window: 4_000_000_000 });
      const id = `${origin(3).replace(/[^/]+(?=\/\d+\/\d+$)\//, '')}@hub/${stream}`;
      const taken = `NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`;
      await publishAll(nc, 1, 1, () => ({
        subject: `${stream}.y`,
        payload: Buffer.from('z'),
        headers: Buffer.from(taken),
      }));
      await using one = rig({ shared: true });
      const session = await one.open(direct);
      session.send(subject, range(1, 5));
      await until(() => session.ended, { what: 'the end' });
      expect(session.ended).toMatchObject({ reason: 'id-taken', detail: expect.stringContaining('message id') });
      // Once the server has forgotten the id, the record has its place.
      await carry(one, direct, 5);
      expect((await stored()).filter((one) => one !== undefined).sort()).toEqual(range(1, 5).map(origin));
    });

    describe('a missing sink', () => {
      const plan = (change: Partial<CreatePlan> = {}): CreatePlan => ({
        subjects: [`${stream}.>`],
        maxBytes: 1_000_000,
        replicas: 1,
        ...change,
      });

      test('is made as the lane says, once, by whoever comes first', async () => {
        const rigs = [rig(), rig(), rig()];
        for (const [i, one] of rigs.entries()) {
          one.sink.create(`lane${i}`, plan({ maxBytes: 1_000_000 + i, maxAgeMs: 60_000 }));
          one.sink.create(`other${i}`, plan({ maxBytes: 2_000_000 + i }));
        }
        const session = await rigs[0]!.open(direct);
        await session.bring(subject, range(1, 10));
        await Promise.all(rigs.map((one) => one.open({ id: `l${rigs.indexOf(one)}/mill/hub` })));
        const { config } = await infoOf(nc, stream);
        expect(config).toMatchObject({
          subjects: [`${stream}.>`],
          retention: 'limits',
          storage: 'file',
          discard: 'old',
          max_age: 60_000_000_000,
          num_replicas: 1,
          allow_direct: true,
        });
        expect((config as { max_bytes?: number }).max_bytes).toBeLessThan(1_000_003);
        expect(rigs.flatMap(({ log }) => log.of('sink-made')).length).toBeGreaterThan(0);
        for (const one of rigs) await one.sink.stop();
      });

      test('that exists is not altered; one that is deleted is made again', async () => {
        await makeStream(nc, { name: stream, max_bytes: 5_000_000 });
        await using one = rig();
        one.sink.create(direct.id, plan({ maxBytes: 1_000_000 }));
        await (await one.open(direct)).bring(subject, range(1, 3));
        expect((await infoOf(nc, stream)).config).toMatchObject({ max_bytes: 5_000_000 });
        await call(nc, `${api}.STREAM.DELETE.${stream}`);
        const again = await one.open(redundant);
        again.send(subject, range(1, 3));
        await until(async () => (await infoOf(nc, stream)).config, { what: 'the stream' });
        await carry(one, redundant, 4);
        expect((await stored()).length).toBe(4);
        expect((await infoOf(nc, stream)).config).toMatchObject({ max_bytes: 1_000_000 });
      });

      test('without a plan, or with one that the server does not take, stays missing and says why', async () => {
        await using one = rig();
        await until(() => one.sink.failure?.reason === 'sink-missing', { what: 'it' });
        one.sink.create(direct.id, plan({ subjects: ['$JS.API.>'] }));
        const cannot = () => one.sink.failure?.detail.includes(`${stream} cannot be made`);
        await until(cannot, { what: () => `the reason: ${JSON.stringify(one.sink.failure)}` });
        one.sink.create(direct.id, plan({ replicas: 3 }));
        await until(() => cannot() && /replicas/.test(one.sink.failure!.detail), {
          what: () => `the other reason: ${JSON.stringify(one.sink.failure)}`,
        });
        expect(one.sink.failure?.reason).toBe('sink-missing');
        one.sink.create(direct.id, undefined);
        await until(() => !cannot(), { what: 'no plan' });
        one.sink.create(direct.id, plan());
        await (await one.open(direct)).bring(subject, [1]);
      });
    });
  });

  test('I3: a server that comes back with less, filled up by others meanwhile, gets again what it lost', async () => {
    await using server = await startNats({ binary });
    await using fixture = await openLink(server.url);
    {
      await using nc = await client(server.url);
      await makeStream(nc, { name: 'S' });
    }
    await using one = new SinkRig(fixture.link, 'S', { shared: true }).start();
    await (await one.open(direct)).bring('S.x', range(1, 50));
    const copy = `${server.storeDir}-then`;
    await server.stop();
    await cp(server.storeDir, copy, { recursive: true });
    await server.start();
    const session = await one.open(direct);
    await session.bring('S.x', range(51, 100));
    await server.stop();
    await rm(server.storeDir, { recursive: true });
    await rename(copy, server.storeDir);
    {
      // Where the daemon does not see it.
      await using elsewhere = await startNats({ binary, storeDir: server.storeDir });
      await using nc = await client(elsewhere.url);
      await publishAll(nc, 1, 200, numbered('S.local'));
    }
    await server.start();
    await until(() => session.ended, { what: 'the end of the session' });
    const again = await one.open(direct);
    await again.bring('S.x', range(again.cursor + 1, 110));
    await using nc = await client(server.url);
    const found = (await readAll(nc, 'S')).flatMap((record) => record.header('Causeway-Origin'));
    expect(found).toEqual(range(1, 110).map(origin));
  });

  test('a user who may not make streams is told so', async () => {
    const users = `authorization { users: [
      { user: app, password: app }
      { user: daemon, password: daemon, permissions: { publish: { deny: "$JS.API.STREAM.CREATE.S" } } }
    ] }`;
    await using server = await startNats({ binary, config: users });
    await using fixture = await openLink(server.url, asUser('daemon'));
    await using one = new SinkRig(fixture.link, 'S').start();
    one.sink.create(direct.id, { subjects: ['S.>'], maxBytes: 1_000_000, replicas: 1 });
    await until(() => one.sink.failure?.reason === 'nats-permission', { what: () => JSON.stringify(one.sink.failure) });
    expect(one.sink.failure?.detail).toContain('STREAM.CREATE.S');
  });
});
