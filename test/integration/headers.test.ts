import { Kvm } from '@nats-io/kv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { call, messageAt } from '../../src/brokers/nats/api.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import { readProvenance } from '../../src/brokers/nats/provenance.ts';
import { RawHeaders } from '../../src/brokers/nats/raw-message.ts';
import { atLeast, formatVersion } from '../../src/brokers/nats/server-binary.ts';
import { binaries } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import { api, type Client, client, infoOf, type LinkFixture, makeStream, openLink } from '../support/nats-rig.ts';
import { type DrivenRecord, SinkDriver } from '../support/sink-driver.ts';
import { SourceProbe } from '../support/source-probe.ts';
import { until } from '../support/until.ts';

/** A server, and connections to it. */
interface Site {
  readonly version: string;
  readonly server: NatsServer;
  readonly nc: Client;
  readonly fixture: LinkFixture;
}

const found = await binaries();
const newest = found[0]?.version ?? [0, 0, 0];
/** Every version, newest first. */
const sites: Site[] = [];

beforeAll(async () => {
  for (const binary of found) {
    const server = await startNats({ binary });
    const nc = await client(server.url);
    sites.push({ version: formatVersion(binary.version), server, nc, fixture: await openLink(server.url) });
  }
});

afterAll(async () => {
  for (const { server, nc, fixture } of sites) {
    await fixture[Symbol.asyncDispose]();
    await nc.close();
    await server.dispose();
  }
});

/** A header block. */
function block(...lines: string[]): Buffer {
  return Buffer.from(`NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`, 'latin1');
}

function linesOf(headers: Buffer): string[] {
  return headers.toString('latin1').split('\r\n').slice(1, -2);
}

/** Publishes as it is, and returns the answer. */
async function publish(nc: Client, subject: string, payload: string, headers?: Buffer): Promise<string> {
  const options = headers === undefined ? {} : { headers: new RawHeaders(headers).asHeaders };
  return (await nc.request(subject, payload, { timeout: 5000, ...options })).string();
}

async function publishWell(nc: Client, subject: string, payload: string, ...lines: string[]): Promise<void> {
  expect(await publish(nc, subject, payload, block(...lines))).toMatch(/"seq":\s*[1-9]/);
}

/** All that a stream holds, as the source of a lane reads it. */
async function readOut({ nc, fixture: { link } }: Site, stream: string): Promise<DrivenRecord[]> {
  const { state } = await infoOf(nc, stream);
  const bounds = { batchBytes: 65_536, prefetchBytes: 1 << 20, memory: plentyOfMemory() };
  const probe = new SourceProbe(new JetStreamSource({ link, cluster: 'plant', stream, ...bounds })).open();
  await probe.untilRecords(state.messages);
  probe.close();
  return probe.records.map(({ subject, payload, headers, seconds }) => ({ subject, payload, headers, seconds }));
}

let sinks = 0;

/** Puts records into a new stream, each of them or the test fails; returns what is stored, as raw messages. */
async function store(
  site: Site,
  records: readonly DrivenRecord[],
  config: Record<string, unknown> = {},
): Promise<{ readonly subject: string; readonly headers: Buffer; readonly payload: Buffer; readonly rest: Buffer }[]> {
  const { nc, fixture } = site;
  const name = `SINK${++sinks}`;
  await makeStream(nc, { name, ...config });
  await using driver = new SinkDriver(fixture.link, name);
  const lane = {
    id: 'all/plant/hub',
    record: (number: number) => records[number - 1]!,
    map: (subject: string) => `${name}.${subject}`,
  };
  driver.feed(lane, records.length);
  await driver.untilStored(lane.id, records.length);
  expect([driver.refused, driver.failure, driver.modes]).toEqual([[], undefined, []]);
  const stored = [];
  for (let sequence = 1; sequence <= records.length; sequence++) {
    const { subject, headers, payload } = (await messageAt(nc, api, name, sequence))!;
    const { headers: rest } = readProvenance(headers, `hub/${name}`, sequence);
    stored.push({ subject: subject.slice(name.length + 1), headers, payload, rest });
  }
  return stored;
}

/** What nobody but a server may act upon, as older servers store it and applications copy it. */
const hostile = [
  'Nats-TTL: 3600',
  'Nats-TTL: 0',
  'Nats-Rollup: sub',
  'Nats-Rollup: all',
  'Nats-Rollup: nonsense',
  'Nats-Marker-Reason: MaxAge',
  'Nats-Stream-Source: S 1 > > a x',
  'Nats-Incr: +1',
  'Nats-Counter-Sources: {}',
  'Nats-Schedule: @every 1s',
  'Nats-Schedule-Target: elsewhere',
  'Nats-Schedule-TTL: 5s',
  'Nats-Schedule-Next: purge',
  'Nats-Scheduler: a',
  'Nats-Batch-Id: b',
  'Nats-Batch-Sequence: 1',
  'Nats-Batch-Commit: 1',
  'Nats-Expected-Stream: OTHER',
  'Nats-Expected-Last-Sequence: 99',
  'Nats-Expected-Last-Subject-Sequence: 77',
  'Nats-Expected-Last-Subject-Sequence-Subject: foo',
  'Nats-Expected-Last-Msg-Id: x',
  'Nats-Msg-Id: same',
  'Nats-Msg-Id: same',
  'Nats-Trace-Dest: trace.here',
  'Nats-Trace-Dest: trace.here\r\nNats-Trace-Only: true',
  'Nats-Trace-Hop: 1',
  'Nats-Required-Api-Level: 99',
  'Nats-Stream: S\r\nNats-Subject: s\r\nNats-Sequence: 5\r\nNats-Time-Stamp: now\r\nNats-Last-Sequence: 4',
  'Nats-Num-Pending: 3\r\nNats-UpTo-Sequence: 9\r\nNats-Msg-Size: 3',
  'Nats-Request-Info: {}',
  'Nats-Service-Error: no',
  'Nats-Pin-Id: 1',
  'Nats-Of-A-Server-To-Come: x',
];
const stripped =
  /^Nats-(Expected-|Batch-|Required-Api|(Stream|Subject|Sequence|Time-Stamp|Last-Sequence|Num-Pending|UpTo-Sequence|Msg-Size):)/;

/** Where the sink allows nothing of it. */
function expected(line: string): string[] {
  if (stripped.test(line)) return [];
  return [/^Nats-(?!Service-)/.test(line) ? `Causeway-${line.slice(5)}` : line];
}

const odd: DrivenRecord[] = [
  ['nothing at all', undefined, ''],
  ['no payload', block('A: 1'), ''],
  ['no headers', undefined, 'x'],
  ['binary values', block('bin: \x00\x01\xff\x80\n\x7f', '\xe9t\xe9: \xfc'), '\0\xff'],
  ['repeated keys', block('A:1', 'a: 2', 'A:  3  ', 'A:', 'A:1'), 'x'],
  ['odd case', block('nats-ttl: 5', 'NATS-MSG-ID: 7', 'nats-Expected-Stream: X', 'Nats-msg-id: 1'), 'x'],
  ['many', block(...Array.from({ length: 900 }, (_, i) => `Key-${i}: ${'v'.repeat(50)}`)), 'x'],
  ['64 KiB', block(`A: ${'x'.repeat(65_000)}`), 'x'],
].map(([subject, headers, payload]) => ({
  subject: (subject as string).replaceAll(' ', '-'),
  payload: Buffer.from(payload as string, 'latin1'),
  ...(headers === undefined ? {} : { headers: headers as Buffer }),
}));

describe.skipIf(found.length === 0)('headers, from any server to any other', () => {
  test('what is the application’s arrives byte for byte, over two hops', async () => {
    const [first, last] = [sites[0]!, sites.at(-1)!];
    for (const [from, to] of [
      [first, last],
      [last, first],
    ] as const) {
      const stream = `ODD${++sinks}`;
      await makeStream(from.nc, { name: stream });
      for (const { subject, payload, headers } of odd)
        expect(await publish(from.nc, `${stream}.${subject}`, payload.toString('latin1'), headers)).not.toMatch(
          /error/,
        );
      const read = await readOut(from, stream);
      const once = await store(to, read);
      const twice = await store(
        from,
        once.map(({ subject, rest, payload }) => ({ subject, headers: rest, payload })),
      );
      const none = Buffer.alloc(0);
      // As it begins with `Nats-`.
      const renamed = (headers: Buffer) =>
        Buffer.from(headers.toString('latin1').replace('Nats-msg-id', 'Causeway-msg-id'), 'latin1');
      for (const hop of [once, twice])
        for (const [i, { headers = none }] of odd.entries()) expect(hop[i]!.rest).toEqual(renamed(headers));
      expect(twice.map(({ payload }) => payload)).toEqual(read.map(({ payload }) => payload));
    }
  });

  test('a status in the first line stays, where servers keep it', async () => {
    const oldest = sites.at(-1)!;
    const records = ['NATS/1.0 404 Not there\r\nA: 1\r\n\r\n', 'NATS/1.0 503\r\n\r\n'].map((headers) => ({
      subject: 'x',
      payload: Buffer.alloc(0),
      headers: Buffer.from(headers),
    }));
    const stored = await store(oldest, records);
    if (!atLeast(found.at(-1)!.version, 2, 11))
      expect(stored.map(({ rest }) => rest)).toEqual(records.map(({ headers }) => headers));
    await store(sites[0]!, records);
  });

  test('what NATS reserves is neither refused nor does it take effect', async () => {
    const oldest = sites.at(-1)!;
    const name = `OLD${++sinks}`;
    await makeStream(oldest.nc, { name });
    const records = hostile.map((line, i) => ({
      subject: `s${i}`,
      payload: Buffer.from(line),
      headers: block('A: 1', line, 'B: 2'),
    }));
    // The oldest server stores most of them as they are, so that they do come.
    for (const { subject, headers } of records) await publish(oldest.nc, `${name}.${subject}`, 'x', headers);
    expect((await infoOf(oldest.nc, name)).state.messages).toBeGreaterThan(20);
    for (const site of sites) {
      const allowed = { allow_rollup_hdrs: true, allow_msg_ttl: true, allow_msg_schedules: true, allow_atomic: true };
      for (const config of [{}, allowed]) {
        // A server does not say what it does not know, and newer ones refuse it.
        const known = found[sites.indexOf(site)]!.version;
        const stored = await store(site, records, atLeast(known, 2, 12) ? config : { allow_rollup_hdrs: true });
        for (const [i, { rest, payload }] of stored.entries()) {
          const line = hostile[i]!;
          expect(payload.toString()).toBe(line);
          const lines = ['A: 1', ...line.split('\r\n').flatMap(expected), 'B: 2'];
          if (line === 'Nats-TTL: 3600' && config === allowed && atLeast(known, 2, 12))
            expect(linesOf(rest)[1]).toMatch(/^Nats-TTL: 1s$/);
          else expect([line, linesOf(rest)]).toEqual([line, lines]);
        }
      }
    }
  });
});

/** Streams of the newest server that its features have written: each makes its stream and returns how many messages are to be there. */
const written: Readonly<Record<string, (nc: Client, stream: string) => Promise<void>>> = {
  'an atomic batch': async (nc, name) => {
    await makeStream(nc, { name, allow_atomic: true });
    for (let i = 1; i < 4; i++)
      nc.publish(`${name}.a`, `${i}`, {
        headers: new RawHeaders(block('Nats-Batch-Id: b1', `Nats-Batch-Sequence: ${i}`)).asHeaders,
      });
    await publishWell(nc, `${name}.a`, '4', 'Nats-Batch-Id: b1', 'Nats-Batch-Sequence: 4', 'Nats-Batch-Commit: 1');
    await until(async () => (await infoOf(nc, name)).state.messages === 4, { what: 'the batch' });
  },
  sources: async (nc, name) => {
    await makeStream(nc, { name: `${name}-ORIGIN` });
    for (let i = 0; i < 3; i++) await publishWell(nc, `${name}-ORIGIN.a`, `${i}`, `Nats-Msg-Id: ${i}`);
    await makeStream(nc, { name, sources: [{ name: `${name}-ORIGIN` }] });
    await until(async () => (await infoOf(nc, name)).state.messages === 3, { what: 'sourced messages' });
  },
  'TTLs and their markers': async (nc, name) => {
    const ages = { max_age: 1e9, subject_delete_marker_ttl: 60e9 };
    await makeStream(nc, { name, allow_msg_ttl: true, allow_rollup_hdrs: true, ...ages });
    await publishWell(nc, `${name}.hour`, 'x', 'Nats-TTL: 1h');
    await publishWell(nc, `${name}.ever`, 'x', 'Nats-TTL: never');
    await publishWell(nc, `${name}.soon`, 'x');
    const marker = async () => (await messageAt(nc, api, name, 4))?.headers.toString();
    expect(await until(marker, { what: 'a marker' })).toMatch(/Nats-Marker-Reason/);
  },
  'a KV bucket': async (nc, name) => {
    const kv = await new Kvm(nc).create(name, { history: 5 });
    await kv.put('a', '1');
    await kv.put('a', '2');
    await kv.put('b', '1');
    await kv.delete('a');
    await kv.put('c', '1');
    await kv.purge('b');
  },
  counters: async (nc, name) => {
    await makeStream(nc, { name, allow_msg_counter: true });
    for (const step of ['+1', '+41', '-2']) await publishWell(nc, `${name}.a`, '', `Nats-Incr: ${step}`);
  },
  schedules: async (nc, name) => {
    await makeStream(nc, { name, allow_msg_schedules: true, allow_msg_ttl: true, allow_rollup_hdrs: true });
    const at = new Date(Date.now() + 1000).toISOString().replace(/\.\d+/, '');
    const lines = [`Nats-Schedule: @at ${at}`, `Nats-Schedule-Target: ${name}.out`, 'Nats-Schedule-TTL: 1m'];
    await publishWell(nc, `${name}.plan`, 'x', ...lines);
    await publishWell(nc, `${name}.later`, 'x', 'Nats-Schedule: @every 1h', `Nats-Schedule-Target: ${name}.often`);
    await until(async () => (await infoOf(nc, name)).state.last_seq > 2, { what: 'a scheduled message' });
  },
  republish: async (nc, name) => {
    await makeStream(nc, { name });
    await makeStream(nc, { name: `${name}-FROM`, republish: { src: '>', dest: `${name}.>` } });
    for (let i = 0; i < 3; i++) await publishWell(nc, `${name}-FROM.a`, `${i}`, 'A: 1');
    await until(async () => (await infoOf(nc, name)).state.messages === 3, { what: 'republished messages' });
  },
};

describe.runIf(atLeast(newest, 2, 14))('streams that the newest server has written by itself', () => {
  test.each(Object.entries(written))('%s: every record arrives on every server', async (how, write) => {
    const from = sites[0]!;
    const name = `W${++sinks}`;
    await write(from.nc, name);
    const records = await readOut(from, how === 'a KV bucket' ? `KV_${name}` : name);
    expect(records.length).toBeGreaterThan(1);
    const reserved = records.flatMap(({ headers }) => linesOf(headers ?? Buffer.alloc(0)));
    expect(reserved.some((line) => /^(Nats-|KV-)/.test(line))).toBe(true);
    for (const site of sites) {
      const stored = await store(site, records);
      for (const [i, { subject, payload, rest }] of stored.entries()) {
        const { headers = Buffer.alloc(0), ...record } = records[i]!;
        expect([subject, payload]).toEqual([record.subject, record.payload]);
        expect(linesOf(rest)).toEqual(linesOf(headers).flatMap(expected));
      }
    }
  });

  test('a TTL goes on where the sink takes TTLs, and a purge where it is a bucket', async () => {
    const { nc, fixture } = sites[0]!;
    const source = await new Kvm(nc).create('FROM', { history: 5, markerTTL: 60_000 });
    await source.put('kept', '1');
    await source.put('deleted', '1');
    await source.put('purged', '1');
    await source.put('purged', '2');
    await source.create('lives', '1', '1h');
    await source.delete('deleted');
    await source.purge('purged', { ttl: '30m' });
    const records = await readOut(sites[0]!, 'KV_FROM');
    for (const site of sites) {
      await new Kvm(site.nc).create('TO', { history: 5 });
      const ttl = site === sites[0];
      if (ttl) {
        const { config } = await infoOf(nc, 'KV_TO');
        await call(nc, `${api}.STREAM.UPDATE.KV_TO`, { ...config, allow_msg_ttl: true });
      }
      await using driver = new SinkDriver(site.fixture.link, 'KV_TO');
      const lane = {
        id: 'kv/plant/hub',
        record: (number: number) => records[number - 1]!,
        map: (subject: string) => subject.replace('$KV.FROM.', '$KV.TO.'),
      };
      driver.feed(lane, records.length);
      await driver.untilStored(lane.id, records.length);
      expect(driver.refused).toEqual([]);
      const to = await new Kvm(site.nc).open('TO');
      const states = [];
      for (const key of ['kept', 'deleted', 'purged', 'lives']) {
        const entry = await to.get(key);
        states.push([key, entry?.operation, entry?.string()]);
      }
      expect(states).toEqual([
        ['kept', 'PUT', '1'],
        ['deleted', 'DEL', ''],
        ['purged', 'PURGE', ''],
        ['lives', 'PUT', '1'],
      ]);
      const history = async (key: string) => {
        let count = 0;
        for await (const entry of await to.history({ key })) count += entry.length >= 0 ? 1 : 0;
        return count;
      };
      expect([await history('deleted'), await history('purged')]).toEqual([2, 1]);
      const last = async (key: string) =>
        Buffer.from(
          (
            await call<{ message: { hdrs: string } }>(site.nc, `${api}.STREAM.MSG.GET.KV_TO`, {
              last_by_subj: `$KV.TO.${key}`,
            })
          ).message.hdrs,
          'base64',
        ).toString();
      const name = ttl ? 'Nats-TTL' : 'Causeway-TTL';
      expect(await last('lives')).toMatch(new RegExp(`\\r\\n${name}: (1h|3600s|35\\d\\ds)\\r\\n`));
      expect(await last('purged')).toMatch(new RegExp(`\\r\\n${name}: (30m|1800s|17\\d\\ds)\\r\\n`));
    }
    expect(fixture.link.failure).toBeUndefined();
  });

  test('a counter stream takes no records', async () => {
    const { nc, fixture } = sites[0]!;
    await makeStream(nc, { name: 'COUNTS', allow_msg_counter: true });
    await using driver = new SinkDriver(fixture.link, 'COUNTS');
    expect((await driver.sink.facts()).unsuitable).toMatch(/counters/);
  });

  test('a stream whose configuration is changed under the lane is written by the new one', async () => {
    const { nc, fixture } = sites[0]!;
    const name = `SINK${++sinks}`;
    await makeStream(nc, { name: `KV_${name}`, subjects: [`${name}.>`], allow_rollup_hdrs: true });
    await using driver = new SinkDriver(fixture.link, `KV_${name}`);
    const lane = {
      id: 'all/plant/hub',
      record: (number: number) => ({
        subject: `${name}.${number}`,
        payload: Buffer.from('x'),
        headers: block('Nats-Rollup: sub'),
      }),
    };
    driver.feed(lane, 10);
    await driver.untilStored(lane.id, 10);
    const { config } = await infoOf(nc, `KV_${name}`);
    await call(nc, `${api}.STREAM.UPDATE.KV_${name}`, { ...config, allow_rollup_hdrs: false });
    driver.feed(lane, 20);
    await driver.untilStored(lane.id, 20);
    expect(driver.refused).toEqual([]);
    const keys = [];
    for (const sequence of [10, 20]) {
      const { headers } = (await messageAt(nc, api, `KV_${name}`, sequence))!;
      keys.push(/\r\n([\w-]+-Rollup): sub/.exec(headers.toString())?.[1]);
    }
    expect(keys).toEqual(['Nats-Rollup', 'Causeway-Rollup']);
  });
});
