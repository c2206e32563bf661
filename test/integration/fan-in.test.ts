import { createInbox } from 'nats';
import { describe, expect, test } from 'vitest';
import { RawHeaders } from '../../src/brokers/nats/raw-message.ts';
import { atLeast } from '../../src/brokers/nats/server-binary.ts';
import { eachServer } from '../support/each-server.ts';
import { header, perfect } from '../support/oracle.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, type TestCluster, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';
const judged = [{ lane, stream: 'TELEMETRY' }];
const sink = { cluster: 'hub', stream: 'FLEET' };

describe('who dials', () => {
  const specs = fanIn(['plant-a']);
  const { hub, 'plant-a': plant } = specs as { readonly hub: ClusterSpec; readonly 'plant-a': ClusterSpec };

  test('the hub dials a plant that listens, and records flow towards the hub all the same', async () => {
    await using world = await World.make({ hub: { ...hub, dial: ['plant-a'] }, 'plant-a': { ...plant, dial: [] } });
    await world.start();
    await using feed = await world.cluster('plant-a').feed('TELEMETRY', { count: 5_000 });
    await feed.reached();
    await world.stored(lane, 5_000);
    expect(await world.cluster('hub').daemon.peer('plant-a')).toMatchObject({ connected: true, direction: 'we-dial' });
    expect(await world.cluster('plant-a').daemon.peer('hub')).toMatchObject({ connected: true, direction: 'dials-us' });
    expect((await world.judge(sink, judged)).verdicts).toEqual({ [lane]: perfect(5_000) });
  });

  test('where both dial, they settle on one connection, and start again each on its own', async () => {
    await using world = await World.make({ hub: { ...hub, dial: ['plant-a'] }, 'plant-a': plant });
    const { daemon } = world.cluster('hub');
    await world.start();
    await using feed = await world.cluster('plant-a').feed('TELEMETRY', { count: 2_000 });
    await world.stored(lane, 2_000);
    await world.cluster('plant-a').daemon.kill();
    feed.allow(4_000);
    await world.cluster('plant-a').daemon.start();
    await world.stored(lane, 4_000);
    await daemon.kill();
    feed.allow(6_000);
    await daemon.start();
    await world.stored(lane, 6_000);
    // Settled: the lane stays as it is over some beats of both ends.
    const before = await daemon.lane(lane);
    const measured = (await daemon.peer('plant-a')).sinceMs;
    await until(async () => (await daemon.status()).nowMs > before.sinceMs + 6_000, { what: 'six seconds of quiet' });
    expect((await daemon.lane(lane)).reconnectsTotal).toBe(before.reconnectsTotal);
    expect((await daemon.peer('plant-a')).sinceMs).toBe(measured);
    expect((await world.judge(sink, judged)).verdicts).toEqual({ [lane]: perfect(6_000) });
  });

  test('a plant declares a link into the hub within a grant of the hub', async () => {
    const link = {
      kind: 'fan-in',
      from: { stream: 'TELEMETRY' },
      to: { cluster: 'hub', stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
    };
    await using world = await World.make({
      hub: {
        ...hub,
        links: {},
        grants: [{ to: 'plant-a', append: { stream: 'FLEET', subjects: ['fleet.plant-a.>'] } }],
      },
      'plant-a': { ...plant, links: { telemetry: link }, grants: [] },
    });
    await world.start();
    await using feed = await world.cluster('plant-a').feed('TELEMETRY', { count: 2_000 });
    await feed.reached();
    await world.stored(lane, 2_000);
    expect((await world.judge(sink, judged)).verdicts).toEqual({ [lane]: perfect(2_000) });
  });
});

await eachServer('ends', (binary) => {
  test('records of every shape arrive as they were: repeated keys, reserved headers, nothing at all, 900 KiB', async () => {
    const specs = fanIn(['plant-a']);
    const ttl = atLeast(binary.version, 2, 11) ? { allow_msg_ttl: true } : {};
    const stream = { subjects: ['telemetry.>'], allow_rollup_hdrs: true, ...ttl };
    const plantSpec = { ...specs['plant-a'], streams: { TELEMETRY: stream } };
    await using world = await World.make({ ...specs, 'plant-a': plantSpec }, { binary });
    const plant = world.cluster('plant-a');
    await world.start();
    const shapes: readonly (readonly [lines: readonly string[], payload: Buffer])[] = [
      [[], Buffer.alloc(0)],
      [['Key: one', 'Key: two', 'key: three', 'Key: one'], Buffer.from('repeated keys')],
      [['Empty:', 'Spaces:   kept as they are  ', 'Colons: a:b:c'], Buffer.from('odd values')],
      [['Utf8: Überdruck — 7 bar'], Buffer.from('not ASCII')],
      [['Nats-Expected-Last-Sequence: 4', 'Mine: yes'], Buffer.from('expected')],
      [['Nats-Msg-Id: a', 'Nats-Expected-Stream: TELEMETRY'], Buffer.alloc(0)],
      [['Nats-TTL: 1h'], Buffer.from('lives for an hour, where the server knows how')],
      [
        ['Causeway-Lane: forged/x/y;1.1;0', 'Causeway-At: hub/FLEET/8', 'Causeway-Origin: x/y/z/1/1000000001'],
        Buffer.from('x'),
      ],
      [['Nats-Rollup: sub', 'Status: 503'], Buffer.from('looks like a status')],
      [[], Buffer.alloc(900 * 1024, 'large')],
      [['Big: header'], Buffer.alloc(900 * 1024, 7)],
      [Array.from({ length: 200 }, (_, i) => `H-${i}: ${'v'.repeat(100)}`), Buffer.from('many headers')],
      [[], Buffer.from('last')],
    ];
    for (const [index, [lines, payload]] of shapes.entries()) {
      const sequence = await publish(plant, `telemetry.shape.${index}`, lines, payload);
      expect(sequence).toBe(index + 1);
    }
    await world.stored(lane, shapes.length);
    const { verdicts, foreign } = await world.judge(sink, judged);
    expect(verdicts).toEqual({ [lane]: perfect(shapes.length) });
    expect(foreign).toEqual([]);
    const stored = await world.cluster('hub').read('FLEET');
    // What the source's server was told is carried under another name, or left behind where it is about the source alone.
    expect(header(stored[5]!, 'Causeway-Msg-Id')).toBe('a');
    expect(header(stored[6]!, 'Causeway-TTL')).toBe('1h');
    expect(header(stored[8]!, 'Causeway-Rollup')).toBe('sub');
    expect(stored.flatMap(({ headers }) => headers).filter((line) => /^Causeway-Expected/i.test(line))).toEqual([]);
    expect(stored.map(({ bytes }) => bytes)).toEqual(shapes.map(([, payload]) => payload.length));
  });

  test('another writer on the sink stream at 200 records a second: each of ours is stored once', async () => {
    const count = 20_000;
    const specs = fanIn(['plant-a']);
    const links = { telemetry: { ...(specs.hub!.links!.telemetry as object), start: 'all' } };
    await using world = await World.make({ ...specs, hub: { ...specs.hub!, links } }, { binary });
    const [hub, plant] = [world.cluster('hub'), world.cluster('plant-a')];
    await hub.link('telemetry', { start: 'all' });
    await world.start();
    await using feed = await plant.feed('TELEMETRY', { count, perSecond: 5_000 });
    const client = await hub.client();
    let others = 0;
    const other = setInterval(() => client.publish('fleet.other', String(others++)), 5);
    try {
      await feed.reached();
      await world.stored(lane, count);
    } finally {
      clearInterval(other);
    }
    await client.flush();
    const { verdicts, foreign } = await world.judge(sink, judged);
    const verdict = verdicts[lane]!;
    console.info(JSON.stringify(verdict), foreign.length, others, (await hub.daemon.lane(lane)).mode);
    expect(verdict).toMatchObject({ sent: count, stored: count, lost: 0, duplicated: 0, differing: 0 });
    expect(foreign.length).toBe(others);
    // Only records that were in flight when the first foreign one came may stand behind later ones.
    expect(verdict.outOfOrder).toBeLessThan(4_096);
    expect((await hub.daemon.lane(lane)).mode).toBe('id');
  });
});

/** Publishes one record as it is; returns the sequence it got. */
async function publish(
  cluster: TestCluster,
  subject: string,
  lines: readonly string[],
  payload: Buffer,
): Promise<number> {
  const client = await cluster.client();
  const inbox = createInbox();
  const answer = new Promise<{ readonly seq?: number }>((resolve, reject) => {
    client.subscribe(inbox, {
      max: 1,
      timeout: 5_000,
      callback: (error, message) => (error === null ? resolve(message.json()) : reject(error)),
    });
  });
  const block = lines.length === 0 ? undefined : Buffer.from(`NATS/1.0\r\n${lines.join('\r\n')}\r\n\r\n`);
  client.publish(subject, payload, {
    reply: inbox,
    ...(block === undefined ? {} : { headers: new RawHeaders(block).asHeaders }),
  });
  const { seq } = await answer;
  if (seq === undefined) throw new Error(`${subject} was refused: ${JSON.stringify(await answer)}`);
  return seq;
}
