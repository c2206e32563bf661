import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import { FailureError } from '../../src/wire/reasons.ts';
import { eachServer } from '../support/each-server.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import {
  api,
  asUser,
  type Client,
  changeStream,
  client,
  infoOf,
  makeStream,
  openLink,
  readAll,
} from '../support/nats-rig.ts';
import { type RigLane, SinkRig } from '../support/sink-rig.ts';
import { until } from '../support/until.ts';

const lane: RigLane = { id: 'up/plant/hub' };
const other: RigLane = { id: 'up/mill/hub' };
const users = `max_payload: 4096
authorization { users: [
  { user: app, password: app }
  { user: daemon, password: daemon, permissions: { publish: { deny: ["*.forbidden"] } } }
] }`;

await eachServer('all', (binary) => {
  describe('a sink that refuses some records for good', () => {
    let server: NatsServer;
    let nc: Client;
    let streams = 0;
    beforeAll(async () => {
      server = await startNats({ binary, config: users });
      nc = await client(server.url, 'app');
    });
    afterAll(async () => {
      await nc.close();
      await server.dispose();
    });
    const setUp = async () => {
      const stream = `Q${++streams}`;
      await makeStream(nc, { name: stream, max_msg_size: 3000 });
      const fixture = await openLink(server.url, asUser('daemon'));
      const rig = () => new SinkRig(fixture.link, stream, { writer: { subjectPatienceMs: 0 } }).start();
      const payloads = async () => (await readAll(nc, stream)).map(({ text }) => text.trimEnd());
      return { stream, fixture, rig, payloads };
    };

    test('too large with our headers, and forbidden: set aside, and stored again once that is mended', async () => {
      const { stream, fixture, rig, payloads } = await setUp();
      await using _ = fixture;
      await using one = rig();
      const store = one.store.quarantined;
      const session = await one.open(lane);
      await session.bring(`${stream}.x`, [1, 2]);
      // Within max_payload as its application wrote it, and beyond it with what Causeway adds.
      await session.bring(`${stream}.x`, [3], 4000);
      await session.bring(`${stream}.x`, [4]);
      await session.bring(`${stream}.forbidden`, [5]);
      // What the server takes, and the stream does not.
      await session.bring(`${stream}.x`, [6], 3500);
      const second = await one.open(other);
      await second.bring(`${stream}.x`, [1]);
      await session.bring(`${stream}.x`, [7]);
      const expected = [1, 2, 4].map((n) => `${lane.id}:${n}`).concat(`${other.id}:1`, `${lane.id}:7`);
      expect(await payloads()).toEqual(expected);
      const entries = async () => (await store.list()).filter((entry) => entry.stream === stream);
      const [large, forbidden, beyond] = await entries();
      const inc = (sequence: number) => ({ lane: lane.id, position: { incarnation: 'inc', sequence } });
      expect(large).toMatchObject({ ...inc(3), reason: 'record-refused', payloadBytes: 4000 });
      expect(forbidden).toMatchObject({ ...inc(5), reason: 'nats-permission', target: `${stream}.forbidden` });
      expect(beyond).toMatchObject({ ...inc(6), reason: 'record-refused', payloadBytes: 3500 });
      expect((await store.record(large!))?.payload.toString()).toBe(`${lane.id}:3`.padEnd(4000));
      // What is refused still stays where it is.
      await expect(store.retry(large!)).rejects.toMatchObject({ failure: { reason: 'record-refused' } });
      await expect(store.retry(beyond!)).rejects.toMatchObject({ failure: { reason: 'record-refused' } });
      await changeStream(nc, stream, { max_msg_size: -1 });
      const at = await store.retry((await entries())[2]!);
      expect((await infoOf(nc, stream)).state.last_seq).toBe(at);
      const [stored] = (await readAll(nc, stream)).slice(-1);
      expect(stored!.text.trimEnd()).toBe(`${lane.id}:6`);
      expect(stored!.header('Causeway-Quarantine')).toEqual([`${lane.id};inc.6`]);
      expect((await entries()).map(({ position }) => position.sequence).sort()).toEqual([3, 5]);
      // The lane goes on behind a record that nobody expected.
      await session.bring(`${stream}.x`, [8, 9, 10]);
      for (const entry of await entries()) await store.drop(entry);
      expect(await entries()).toEqual([]);
    });

    test('I1, I4: killed between the quarantine and the cursor, the same record is one entry; retried twice it is stored once', async () => {
      const { stream, fixture, rig, payloads } = await setUp();
      await using _ = fixture;
      await using first = rig();
      const session = await first.open(lane);
      await session.bring(`${stream}.x`, [1]);
      const { sink } = first;
      // Nothing of what comes is written down any more: a kill.
      first.store.saveCheckpoint = () => Promise.reject(new FailureError('sink-blocked', 'killed'));
      await session.bring(`${stream}.x`, [2], 3500);
      await using second = rig();
      const again = await second.open(lane);
      expect(again.cursor).toBe(1);
      await again.bring(`${stream}.x`, [2], 3500);
      await again.bring(`${stream}.x`, [3]);
      expect(sink).not.toBe(second.sink);
      const [entry, ...more] = (await second.store.quarantined.list()).filter((one) => one.stream === stream);
      expect(more).toEqual([]);
      await changeStream(nc, stream, { max_msg_size: -1 });
      // Stored, and killed before the entry was gone.
      const { drop } = second.store.quarantined;
      second.store.quarantined.drop = () => Promise.reject(new Error('killed'));
      await expect(second.store.quarantined.retry(entry!)).rejects.toThrow();
      second.store.quarantined.drop = drop;
      const [left] = (await second.store.quarantined.list()).filter((one) => one.stream === stream);
      await second.store.quarantined.retry(left!);
      expect((await payloads()).filter((text) => text === `${lane.id}:2`)).toHaveLength(1);
      expect((await second.store.quarantined.list()).filter((one) => one.stream === stream)).toEqual([]);
    });

    test('a quarantine that is full parks the lane, and only that, until there is room', async () => {
      const { stream, fixture, rig, payloads } = await setUp();
      await using _ = fixture;
      const quarantine = async (max_bytes: number) => {
        const config = { name: 'CAUSEWAY_QUARANTINE', subjects: ['$CAUSEWAY.QUARANTINE.>'], discard: 'new' };
        const exists = (await infoOf(nc, 'CAUSEWAY_QUARANTINE').catch(() => undefined)) !== undefined;
        await call(nc, `${api}.STREAM.${exists ? 'UPDATE' : 'CREATE'}.CAUSEWAY_QUARANTINE`, {
          ...config,
          retention: 'limits',
          storage: 'file',
          num_replicas: 1,
          max_msgs_per_subject: 1,
          max_bytes,
        });
      };
      await quarantine(2000);
      await using one = rig();
      const session = await one.open(lane);
      await session.bring(`${stream}.x`, [1]);
      session.send(`${stream}.x`, [2], 3500);
      await until(() => session.ended, { what: 'the end of the session' });
      expect(session.ended).toMatchObject({ reason: 'quarantine-full' });
      const second = await one.open(other);
      await second.bring(`${stream}.x`, [1]);
      await quarantine(1_000_000);
      const again = await one.open(lane);
      expect(again.cursor).toBe(1);
      await again.bring(`${stream}.x`, [2], 3500);
      await again.bring(`${stream}.x`, [3]);
      expect(await payloads()).toEqual([`${lane.id}:1`, `${other.id}:1`, `${lane.id}:3`]);
    });

    test('what another stream took of a record is not in the quarantine, and nothing passes', async () => {
      const { stream, fixture, rig } = await setUp();
      await using _ = fixture;
      const subjects = (names: readonly string[]) => changeStream(nc, 'CAUSEWAY_QUARANTINE', { subjects: [...names] });
      await subjects(['elsewhere']);
      await makeStream(nc, { name: `${stream}-ALL`, subjects: ['$CAUSEWAY.QUARANTINE.>'] });
      await using one = rig();
      const session = await one.open(lane);
      await session.bring(`${stream}.x`, [1]);
      session.send(`${stream}.x`, [2], 3500);
      await until(() => session.ended, { what: 'the end of the session' });
      expect(session.ended).toMatchObject({ reason: 'quarantine-unavailable' });
      await call(nc, `${api}.STREAM.DELETE.${stream}-ALL`, {});
      await subjects(['$CAUSEWAY.QUARANTINE.>']);
      const again = await one.open(lane);
      expect(again.cursor).toBe(1);
      await again.bring(`${stream}.x`, [2], 3500);
      const entries = (await one.store.quarantined.list()).filter((entry) => entry.stream === stream);
      expect(entries).toHaveLength(1);
    });
  });
});
