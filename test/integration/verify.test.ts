/** `causeway verify` against real daemons and servers: what it finds, what it takes for right, and what it says when it cannot find out. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { headers as makeHeaders } from 'nats';
import { expect, test } from 'vitest';
import type { VerifyItem, VerifyReport } from '../../src/daemon/verify-verb.ts';
import { inProcess } from '../support/in-process.ts';
import { until } from '../support/until.ts';
import { type ClusterSpec, fanIn, type TestCluster, World } from '../support/world.ts';

const lane = 'telemetry/plant-a/hub';

interface Verified {
  readonly code: number | null;
  readonly err: string;
  readonly reports: readonly VerifyReport[];
  /** kind, origin, sequence, and where it stands in the sink. */
  readonly differences: readonly string[];
}

/** Asks the daemon of a cluster. */
async function verify(cluster: TestCluster, ...args: readonly string[]): Promise<Verified> {
  const { code, out, err } = await inProcess(['verify', ...args, '--json', '--config', cluster.file]);
  const items = out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as VerifyItem);
  return {
    code,
    err,
    reports: items.flatMap((item) => ('report' in item ? [item.report] : [])),
    differences: items.flatMap((item) => {
      if (!('difference' in item)) return [];
      const { kind, origin, sequence, sinkSequences } = item.difference;
      return [[kind, origin, sequence, ...sinkSequences].join(' ')];
    }),
  };
}

async function withAdmin(clusters: Readonly<Record<string, ClusterSpec>>): Promise<World> {
  const named = Object.entries(clusters).map(([name, spec]): [string, ClusterSpec] => [
    name,
    { ...spec, topology: { ...spec.topology, admin: { socket: `${name}.sock` } } },
  ]);
  return World.make(Object.fromEntries(named));
}

/** The sequences in the sink of some positions of a lane. */
async function placesOf(sink: TestCluster, stream: string, ofLane: string, positions: readonly number[]) {
  const places = new Map<number, { readonly sequence: number; readonly subject: string }>();
  for (const { sequence, subject, headers } of await sink.read(stream)) {
    const line = headers.find((text) => text.startsWith(`Causeway-Lane: ${ofLane};`));
    const position = Number(/\.(\d+);/.exec(line ?? '')?.[1]);
    if (positions.includes(position)) places.set(position, { sequence, subject });
  }
  return positions.map((position) => places.get(position)!);
}

/** Puts a copy of a message of a sink at its end, with headers as if a lane had written it there. */
async function forge(cluster: TestCluster, stream: string, sequence: number, payload?: string): Promise<number> {
  const nc = await cluster.client();
  const found = (await (await jetstreamManager(nc)).streams.getMessage(stream, { seq: sequence }))!;
  const forged = makeHeaders();
  for (const [key, values] of found.header) {
    if (key.startsWith('Nats-')) continue;
    for (const value of values) forged.append(key, key === 'Causeway-At' ? `${cluster.name}/${stream}/-` : value);
  }
  const { seq } = await jetstream(nc).publish(found.subject, payload ?? found.data, { headers: forged });
  return seq;
}

test('a lane is equal while records go on; what is missing, altered, repeated or invented is named, whoever asks', async () => {
  await using world = await withAdmin(fanIn());
  const hub = world.cluster('hub');
  const plant = world.cluster('plant-a');
  await world.start();
  await using feed = await plant.feed('TELEMETRY', { count: 20_000 });
  await using other = await world.cluster('plant-b').feed('TELEMETRY', { count: 500 });
  await other.reached();
  await world.stored('telemetry/plant-b/hub', 500);
  // While records are on their way.
  await world.stored(lane, 3000);
  const early = await verify(hub, 'telemetry/plant-a');
  expect(early).toMatchObject({ code: 0, differences: [], reports: [{ lane, verdict: 'equal' }] });
  await feed.reached();
  await world.stored(lane, 20_000);
  for (const asked of [hub, plant]) {
    const found = await verify(asked, lane);
    expect(found.code, found.err).toBe(0);
    expect(found.reports).toMatchObject([
      { lane, verdict: 'equal', records: 20_000, positions: { from: 1, upTo: 20_000 }, missing: 0, extra: 0, gaps: 0 },
    ]);
  }
  const both = await verify(hub, 'telemetry');
  expect(both.reports.map((report) => [report.lane, report.verdict]).sort()).toEqual([
    [lane, 'equal'],
    ['telemetry/plant-b/hub', 'equal'],
  ]);

  const [deleted, altered, doubled] = await placesOf(hub, 'FLEET', lane, [7000, 12_345, 19_999]);
  const manager = await jetstreamManager(await hub.client());
  await manager.streams.deleteMessage('FLEET', deleted!.sequence);
  const forged = await forge(hub, 'FLEET', altered!.sequence, 'something else');
  await manager.streams.deleteMessage('FLEET', altered!.sequence);
  const copy = await forge(hub, 'FLEET', doubled!.sequence);
  const expected = [
    'missing plant-a/TELEMETRY 7000',
    `differs plant-a/TELEMETRY 12345 ${forged}`,
    `repeated plant-a/TELEMETRY 19999 ${doubled!.sequence} ${copy}`,
  ].sort();
  for (const asked of [hub, plant]) {
    const found = await verify(asked, lane);
    expect([...found.differences].sort(), found.err).toEqual(expected);
    expect(found).toMatchObject({
      code: 1,
      reports: [{ verdict: 'different', missing: 1, differing: 1, repeated: 1 }],
    });
  }
  const range = await verify(hub, lane, '--since', '8000', '--until', '12000');
  expect(range).toMatchObject({ code: 0, reports: [{ verdict: 'equal', positions: { from: 8000, upTo: 12_000 } }] });
  const sample = await verify(hub, lane, '--sample', '10');
  const [report] = sample.reports;
  expect(report?.verdict === 'unverified' ? 0 : report?.records).toBeGreaterThan(1900);
  expect(report?.verdict === 'unverified' ? 0 : report?.records).toBeLessThan(2100);

  // What the source does not hold any more is nobody's fault; nor is what the sink has let go of.
  const ofPlant = await jetstreamManager(await plant.client());
  await ofPlant.streams.purge('TELEMETRY', { seq: 5001 });
  await ofPlant.streams.deleteMessage('TELEMETRY', 6000);
  const later = await verify(plant, lane);
  expect([...later.differences].sort()).toEqual(expected);
  expect(later.reports).toMatchObject([{ positions: { from: 5001 }, gone: 1 }]);
  const [edge] = await placesOf(hub, 'FLEET', lane, [13_000]);
  await manager.streams.purge('FLEET', { seq: edge!.sequence });
  const last = await verify(hub, lane);
  expect([...last.differences].sort()).toEqual(expected.filter((text) => !text.startsWith('missing')));
  // All but the one that was deleted there, and the one that stands at the end now.
  expect(last.reports).toMatchObject([{ missing: 0, expired: 7999 - 2 }]);
}, 120_000);

test('a record that came by several ways is there, whichever lane stored it; a daemon that goes away in the middle is named', async () => {
  const names = ['a', 'b', 'c'];
  const one = { kind: 'replicate', between: names, stream: 'R', start: 'all' };
  // The whole of R from two of its members: each record comes twice, and most in the name of somebody else.
  const both = {
    kind: 'fan-in',
    from: { cluster: ['a', 'b'], stream: 'R' },
    to: { stream: 'T', subject: 't.{subject}' },
    origins: names,
  };
  const member: ClusterSpec = { streams: { R: { subjects: ['r.>'] } }, links: { one } };
  const grants = [{ to: 'c', read: { stream: 'R' } }];
  await using world = await withAdmin({
    a: { ...member, grants },
    b: { ...member, grants, dial: ['a'] },
    c: { dial: ['a', 'b'], streams: { ...member.streams, T: { subjects: ['t.>'] } }, links: { one, both } },
  });
  await world.start();
  for (const name of names) {
    await using feed = await world.cluster(name).feedShared('R', { count: 300 });
    await feed.reached();
  }
  for (const name of names) await world.cluster(name).holds('R', 900);
  await world.level();
  const [a, c] = [world.cluster('a'), world.cluster('c')];
  const found = [...(await verify(a, 'one')).reports, ...(await verify(c, 'both')).reports];
  const outcome = (report: VerifyReport) => [report.lane, report.verdict, 'records' in report ? report.records : 0];
  expect(found.map(outcome).sort()).toEqual([
    ['both/a/c', 'equal', 900],
    ['both/b/c', 'equal', 900],
    ['one/a/b', 'equal', 300],
    ['one/a/c', 'equal', 300],
    ['one/b/a', 'equal', 300],
    ['one/c/a', 'equal', 300],
  ]);
  expect(await c.count('T')).toBe(900);

  await c.daemon.freeze();
  const asked = verify(a, 'one/c/a');
  // There is one at a time.
  const busy = async () =>
    (await verify(a, 'one/a/b')).reports.some((report) => 'reason' in report && report.reason === 'overloaded');
  await until(busy, { what: 'the verification to be under way' });
  await c.daemon.kill();
  const ended = await asked;
  expect(ended).toMatchObject({ code: 2, reports: [{ lane: 'one/c/a', verdict: 'unverified' }] });
  expect(ended.reports[0]).toMatchObject({ detail: expect.stringContaining('c went away') });
  const late = await verify(a, 'one/c/a');
  expect(late).toMatchObject({ code: 2, reports: [{ reason: 'unreachable', detail: 'c is not connected' }] });
}, 120_000);
