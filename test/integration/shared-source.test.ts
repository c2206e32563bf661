import { describe, expect, test } from 'vitest';
import type { ExportRules, Source, SourceEvents } from '../../src/brokers/broker.ts';
import { call } from '../../src/brokers/nats/api.ts';
import type { NatsLink } from '../../src/brokers/nats/connection.ts';
import { SharedSource } from '../../src/brokers/nats/shared-source.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { startNats } from '../support/nats-launcher.ts';
import { api, client, makeStream, numbered, numberOf, openLink, publishAll } from '../support/nats-rig.ts';
import { describeSource } from '../support/source-conformance.ts';
import { type ProbeOptions, SourceProbe } from '../support/source-probe.ts';
import { onOneServer, type SuiteRig } from '../support/suite-rig.ts';
import { until } from '../support/until.ts';

const KiB = 1024;
/** A shared reader that was of use to nobody leaves the lanes alone for half a minute. */
const deadlineMs = 50_000;
const timing = { expiresMs: 600, heartbeatMs: 250, patienceMs: 30_000 };

function hubOf(link: NatsLink, stream: string, ringBytes = 1024 * KiB): SharedSource {
  return new SharedSource({
    link,
    cluster: 'c',
    stream,
    batchBytes: 32 * KiB,
    prefetchBytes: 256 * KiB,
    ringBytes,
    memory: plentyOfMemory(),
    timing,
  });
}

function lane(hub: SharedSource, options: ProbeOptions & { readonly rules?: ExportRules } = {}): SourceProbe {
  return new SourceProbe(hub.lane(options.rules), options);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

const sequencesOf = (probe: SourceProbe) => probe.records.map(({ position }) => position.sequence);
const numbersOf = (probe: SourceProbe) => probe.records.map(({ payload }) => numberOf(payload));

/** The oracle of a stream whose record number n holds n: nothing lost, nothing twice, in order, for each lane. */
function expectAll(probes: readonly SourceProbe[], count: number): void {
  for (const probe of probes) {
    expect(sequencesOf(probe)).toEqual(range(1, count));
    expect(numbersOf(probe)).toEqual(range(1, count));
    expect([probe.gaps, probe.failures, probe.faults]).toEqual([[], [], []]);
  }
}

/** Two lanes that are allowed the same, of which one is tested. */
function twins(hub: SharedSource, attached: (count: number) => void): Source & { readonly ahead: () => number } {
  const tested = hub.lane();
  const other = hub.lane();
  const ignored: SourceEvents = { opened() {}, batch() {}, gap() {}, head() {}, failed() {} };
  return {
    open(opening, events) {
      tested.open(opening, {
        opened: (at) => events.opened(at),
        batch: (batch) => {
          attached(hub.attached);
          events.batch(batch);
        },
        gap: (after, upTo, reason) => events.gap(after, upTo, reason),
        head: (sequence) => events.head(sequence),
        failed: (failure) => events.failed(failure),
      });
      other.open(opening, ignored);
    },
    pull(bytes) {
      tested.pull(bytes);
      other.pull(bytes);
    },
    settle: (position) => tested.settle(position),
    close() {
      tested.close();
      other.close();
    },
    ahead: () => tested.prefetchedBytes || hub.trunkBytes,
  };
}

await eachServer('ends', (binary) => {
  let { server, nc, fixture, stream } = {} as SuiteRig;
  onOneServer(binary, (rig) => ({ server, nc, fixture, stream } = rig));

  const consumers = async () => (await call<{ total: number }>(nc, `${api}.CONSUMER.NAMES.${stream}`)).total;
  const publish = (from: number, to: number, bytes = 0) => publishAll(nc, from, to, numbered(`${stream}.a`, bytes));

  let mostAttached = 0;
  let conformance = 0;
  for (const shared of [false, true]) {
    describeSource(shared ? 'one of two lanes of a shared source' : 'a lane alone in a shared source', async () => {
      const own = `C${++conformance}`;
      await makeStream(nc, { name: own });
      return {
        append: (from, to, payload, headers) =>
          publishAll(nc, from, to, (number) => ({
            subject: `${own}.a`,
            payload: payload(number),
            ...(headers === undefined ? {} : { headers }),
          })),
        source: ({ batchBytes, prefetchBytes }) => {
          const shares = shared
            ? { prefetchBytes: (prefetchBytes * 3) / 4, ringBytes: prefetchBytes / 4 }
            : { prefetchBytes, ringBytes: 1024 * KiB };
          const hub = new SharedSource({
            link: fixture.link,
            cluster: 'c',
            stream: own,
            batchBytes,
            memory: plentyOfMemory(),
            ...shares,
          });
          if (shared) {
            const source = twins(hub, (count) => {
              mostAttached = Math.max(mostAttached, count);
            });
            return { source, ahead: source.ahead };
          }
          const source = hub.lane();
          return { source, ahead: () => source.prefetchedBytes };
        },
        destroy: () => call(nc, `${api}.STREAM.DELETE.${own}`),
        [Symbol.asyncDispose]: async () => {},
      };
    });
  }

  test('the twins did share a reader', () => {
    expect(mostAttached).toBe(2);
  });

  test('three lanes that are level read the stream once, and the last of them reads for itself', async () => {
    await publish(1, 1000, 100);
    const hub = hubOf(fixture.link, stream);
    const probes = range(1, 3).map(() => lane(hub).open());
    await Promise.all(probes.map((probe) => probe.untilRecords(1000)));
    await until(() => hub.attached === 3, { what: () => `three lanes; ${hub.attached} share`, deadlineMs });
    expect(hub.readers).toBe(1);
    await until(async () => (await consumers()) === 1, { what: 'one consumer' });
    for (let n = 1000; n < 6000; n += 500) await publish(n + 1, n + 500, 100);
    await Promise.all(probes.map((probe) => probe.untilRecords(6000)));
    expect([hub.attached, await consumers()]).toEqual([3, 1]);
    expect(probes.map(({ newest }) => newest)).toEqual([6000, 6000, 6000]);
    const [first, second, third] = probes as [SourceProbe, SourceProbe, SourceProbe];
    first.close();
    expect(hub.attached).toBe(2);
    second.close();
    await until(() => hub.attached === 0, { what: 'the end of sharing' });
    await publish(6001, 6100);
    await third.untilRecords(6100);
    expect([hub.readers, await consumers()]).toEqual([1, 1]);
    expectAll([first, second], 6000);
    expectAll([third], 6100);
    third.close();
    expect(hub.readers).toBe(0);
  });

  test('lanes that are opened again while nothing comes share a reader too', async () => {
    await publish(1, 100);
    const hub = hubOf(fixture.link, stream);
    const before = lane(hub).open();
    await before.untilRecords(100);
    before.close();
    const opening = { cursor: before.position!, witnesses: [before.witness()] };
    const probes = range(1, 3).map(() => lane(hub).open(opening));
    await until(() => hub.attached === 3, { what: 'three lanes' });
    await until(async () => (await consumers()) === 1, { what: 'one consumer' });
    await publish(101, 200);
    await Promise.all(probes.map((probe) => probe.untilRecords(100)));
    for (const probe of probes) {
      expect(numbersOf(probe)).toEqual(range(101, 200));
      expect([probe.gaps, probe.faults]).toEqual([[], []]);
      probe.close();
    }
  });

  test('a lane alone has no trunk', async () => {
    const hub = hubOf(fixture.link, stream);
    const seen = new Set<string>();
    const probe = lane(hub, { ahead: () => Number(seen.add(`${hub.readers}/${hub.attached}`).size) }).open();
    await publish(1, 5000, 200);
    await probe.untilRecords(5000);
    probe.close();
    expect([...seen]).toEqual(['1/0']);
    expectAll([probe], 5000);
  });

  test('one that does not keep up holds nobody up, reads for itself, and comes back', async () => {
    const hub = hubOf(fixture.link, stream);
    // So much at a time, until it is told to go on.
    let open = true;
    const slow = lane(hub, { pulse: () => (open ? 1 << 20 : 0) }).open();
    const fast = [lane(hub).open(), lane(hub).open()];
    const all = [slow, ...fast];
    await publish(1, 100, 500);
    await Promise.all(all.map((probe) => probe.untilRecords(100)));
    await until(() => hub.attached === 3, { what: 'three lanes' });
    open = false;
    slow.pull(0);
    await publish(101, 20_000, 500);
    await Promise.all(fast.map((probe) => probe.untilRecords(20_000)));
    expect(slow.records).toHaveLength(100);
    expect([hub.attached, hub.readers]).toEqual([2, 2]);
    expect(hub.trunkBytes).toBeLessThanOrEqual((1024 + 256 + 32) * KiB);
    open = true;
    slow.pull(1 << 20);
    await slow.untilRecords(20_000);
    await until(() => hub.attached === 3, { what: () => `three lanes; ${hub.attached} share`, deadlineMs });
    await publish(20_001, 20_500, 500);
    await Promise.all(all.map((probe) => probe.untilRecords(20_500)));
    expect(hub.readers).toBe(1);
    for (const probe of all) probe.close();
    expectAll(all, 20_500);
  }, 120_000);

  test('one that stands still close behind makes nobody share', async () => {
    const hub = hubOf(fixture.link, stream);
    await publish(1, 100);
    const blocked = lane(hub, { pulse: () => 0 }).open();
    await until(() => blocked.openedAt !== undefined, { what: 'opened' });
    blocked.pull(1);
    await blocked.untilRecords(1);
    await publish(101, 110);
    // Begun ahead of it: one that comes to the very record where the other stands may share with it.
    const before = lane(hubOf(fixture.link, stream)).open();
    await before.untilRecords(110);
    before.close();
    expect(blocked.records.length).toBeLessThan(110);
    const seen = new Set<string>();
    const free = lane(hub, { ahead: () => Number(seen.add(`${hub.readers}/${hub.attached}`).size) });
    free.open({ cursor: before.position!, witnesses: [before.witness()] });
    for (let number = 110; number < 200; number += 10) await publish(number + 1, number + 10);
    await free.untilRecords(90);
    expect([...seen]).toEqual(['2/0']);
    blocked.pull(1 << 30);
    await blocked.untilRecords(200);
    await until(() => hub.attached === 2, { what: 'both lanes' });
    free.close();
    blocked.close();
    expectAll([blocked], 200);
    expect(sequencesOf(free)).toEqual(range(111, 200));
  });

  test('I5: nothing is read further ahead of the furthest lane than the bound allows, so that it does not fall out', async () => {
    const hub = hubOf(fixture.link, stream);
    let open = true;
    const probes = [1, 2].map(() => lane(hub, { pulse: () => (open ? 1 << 20 : 0) }).open());
    await publish(1, 100, 500);
    await Promise.all(probes.map((probe) => probe.untilRecords(100)));
    await until(() => hub.attached === 2, { what: 'both lanes' });
    open = false;
    for (const probe of probes) probe.pull(0);
    await publish(101, 20_000, 500);
    await until(() => hub.trunkBytes > 512 * KiB, { what: 'reading ahead' });
    // Everything that the server may still send without being asked comes before the answer to this.
    await fixture.link.require().rtt();
    expect(hub.trunkBytes).toBeLessThanOrEqual((1024 + 256 + 32) * KiB);
    expect([hub.attached, hub.readers]).toEqual([2, 1]);
    let least = 2;
    open = true;
    for (const probe of probes) probe.pull(1 << 20);
    await until(
      () => {
        least = Math.min(least, hub.attached);
        return probes.every(({ records }) => records.length === 20_000);
      },
      { what: 'the end' },
    );
    expect(least).toBe(2);
    for (const probe of probes) probe.close();
    expectAll(probes, 20_000);
  });

  test('lanes at different paces through a long backlog', async () => {
    await publish(1, 30_000, 200);
    const hub = hubOf(fixture.link, stream, 256 * KiB);
    const paces = [8 * KiB, 30 * KiB, 31 * KiB, 100 * KiB];
    const probes = paces.map((pace) => lane(hub, { pulse: () => pace }).open());
    await Promise.all(probes.map((probe) => probe.untilRecords(30_000)));
    await until(() => hub.attached === 4, { what: () => `four lanes; ${hub.attached} share`, deadlineMs });
    for (const probe of probes) probe.close();
    expectAll(probes, 30_000);
  }, 120_000);

  describe('what came over other lanes', () => {
    /** Records by number: of the own cluster, from a over link l or m, from b, from d over b. */
    const kinds = [
      undefined,
      { lane: 'l/a/c', origin: 'a/S', path: undefined },
      { lane: 'm/a/c', origin: 'a/S', path: undefined },
      { lane: 'm/b/c', origin: 'b/S', path: undefined },
      { lane: 'm/b/c', origin: 'd/S', path: 'b/S' },
    ];
    const kindOf = (number: number) => kinds[Math.floor(number / 7) % kinds.length];
    const publishMixed = (from: number, to: number) =>
      publishAll(nc, from, to, (number) => {
        const kind = kindOf(number);
        const draft = numbered(`${stream}.a`, 100)(number);
        if (kind === undefined) return draft;
        const headers =
          `NATS/1.0\r\nCauseway-Lane: ${kind.lane};i.${number};${number - 1}\r\n` +
          `Causeway-Origin: ${kind.origin}/i/${number}/1700000000000000001\r\nCauseway-At: c/${stream}/-\r\n` +
          `${kind.path === undefined ? '' : `Causeway-Path: ${kind.path}\r\n`}A: ${number}\r\n\r\n`;
        return { ...draft, headers: Buffer.from(headers) };
      });
    const all: readonly (ExportRules & { readonly left: (kind: (typeof kinds)[number]) => boolean })[] = [
      { sink: 'z/S', imported: () => false, sourced: true, left: () => false },
      { sink: 'a/S', imported: () => false, sourced: true, left: (kind) => kind?.origin === 'a/S' },
      {
        sink: 'b/S',
        imported: () => false,
        sourced: true,
        left: (kind) => kind?.origin === 'b/S' || kind?.path === 'b/S',
      },
      {
        sink: 'b/S',
        imported: (id) => id.startsWith('l/'),
        sourced: true,
        left: (kind) => kind?.lane === 'l/a/c' || kind?.origin === 'b/S' || kind?.path === 'b/S',
      },
      { sink: 'z/S', imported: () => true, sourced: true, left: (kind) => kind !== undefined },
    ];

    test.each([true, false])('is left out lane by lane, and the cursor passes it; shared: %s', async (shared) => {
      const hub = hubOf(fixture.link, stream);
      const probes = all.map((rules) => lane(shared ? hub : hubOf(fixture.link, stream), { rules }).open());
      const behind = async (count: number) => {
        await until(() => probes.every(({ position }) => position?.sequence === count), {
          what: () => `${count}; ${probes.map(({ position }) => position?.sequence)}`,
        });
      };
      await publishMixed(1, 3000);
      await behind(3000);
      if (shared) await until(() => hub.attached === all.length, { what: 'all lanes' });
      await publishMixed(3001, 9000);
      await behind(9000);
      expect(hub.attached).toBe(shared ? all.length : 0);
      all.forEach(({ left }, i) => {
        const probe = probes[i]!;
        probe.close();
        const kept = range(1, 9000).filter((number) => !left(kindOf(number)));
        expect(sequencesOf(probe)).toEqual(kept);
        expect(numbersOf(probe)).toEqual(kept);
        expect(probe.filtered).toBe(9000 - kept.length);
        for (const { headers, identity, position } of probe.records) {
          const kind = kindOf(position.sequence);
          expect(identity.startsWith(kind?.origin ?? '')).toBe(true);
          expect(headers.toString()).toBe(kind === undefined ? '' : `NATS/1.0\r\nA: ${position.sequence}\r\n\r\n`);
        }
        expect([probe.gaps, probe.failures, probe.faults]).toEqual([[], [], []]);
      });
    });

    test.each([true, false])('alone moves the cursor with one batch at a time; shared: %s', async (shared) => {
      const rules = { sink: 'z/S', imported: () => true, sourced: true };
      const hub = hubOf(fixture.link, stream);
      const other = lane(hub).open();
      const probe = lane(shared ? hub : hubOf(fixture.link, stream), { rules, settles: false }).open();
      await publish(1, 1);
      await Promise.all([probe.untilRecords(1), other.untilRecords(1)]);
      if (shared) await until(() => hub.attached === 2, { what: 'both lanes' });
      expect(probe.empty).toHaveLength(1);
      const base = 7 * kinds.length;
      const publishImported = async (from: number, to: number) => {
        for (let n = from; n <= to; n++)
          await publishAll(nc, 1, 1, () => ({
            subject: `${stream}.a`,
            payload: Buffer.from(String(n)),
            headers: Buffer.from(
              `NATS/1.0\r\nCauseway-Lane: l/a/c;i.${n};0\r\nCauseway-Origin: a/S/i/${base + n}/1700000000000000001\r\n` +
                `Causeway-At: c/${stream}/-\r\n\r\n`,
            ),
          }));
      };
      // The very first one tells where the lane begins.
      probe.settle();
      await publishImported(2, 40);
      await other.untilRecords(40);
      await until(() => probe.empty.length === 2, { what: 'the first batch without records' });
      await publishImported(41, 60);
      await other.untilRecords(60);
      expect(probe.empty).toHaveLength(2);
      expect(probe.position!.sequence).toBeLessThan(40);
      probe.settle();
      await until(() => probe.position?.sequence === 60, { what: 'the rest in one' });
      expect(probe.empty).toHaveLength(3);
      // A record does not wait, and takes along what was left out before it.
      await publishImported(61, 62);
      await other.untilRecords(62);
      await publish(63, 63);
      await probe.untilRecords(2);
      expect(probe.position?.sequence).toBe(63);
      expect([probe.empty.length, probe.filtered]).toEqual([3, 61]);
      expect(probe.faults).toEqual([]);
      probe.close();
      other.close();
    });
  });

  test('a purge while the lanes wait is a gap for each of them, from where it stood', async () => {
    await publish(1, 100, 500);
    const hub = hubOf(fixture.link, stream, 128 * KiB);
    let open = true;
    const probes = range(1, 3).map(() => lane(hub, { pulse: () => (open ? 1 << 20 : 0) }).open());
    await Promise.all(probes.map((probe) => probe.untilRecords(100)));
    await until(() => hub.attached === 3, { what: 'three lanes' });
    open = false;
    for (const probe of probes) probe.pull(0);
    await publish(101, 5000, 500);
    await call(nc, `${api}.STREAM.PURGE.${stream}`, { seq: 4001 });
    for (const [i, probe] of probes.entries()) if (i > 0) probe.pull(1 << 30);
    open = true;
    probes[0]!.pull(1 << 20);
    await until(() => probes.every(({ position }) => position?.sequence === 5000), { what: 'the end' });
    for (const probe of probes) {
      const covered = probe.gaps.flatMap(({ after, upTo }) => range(after.sequence + 1, upTo.sequence));
      expect([...sequencesOf(probe), ...covered].sort((a, b) => a - b)).toEqual(range(1, 5000));
      expect(sequencesOf(probe)).toEqual(numbersOf(probe));
      expect(probe.gaps.length).toBeGreaterThan(0);
      expect(probe.gaps.every(({ reason }) => reason === 'expired')).toBe(true);
      expect([probe.failures, probe.faults]).toEqual([[], []]);
    }
    await until(() => hub.attached === 3, { what: 'three lanes again' });
    for (const probe of probes) probe.close();
  });

  test('a stream made anew while the lanes share a reader is found out by each of them', async () => {
    await publish(1, 50);
    const hub = hubOf(fixture.link, stream);
    const probes = range(1, 3).map(() => lane(hub).open());
    await Promise.all(probes.map((probe) => probe.untilRecords(50)));
    await until(() => hub.attached === 3, { what: 'three lanes' });
    const consumers = async () =>
      (await call<{ state: { consumer_count: number } }>(nc, `${api}.STREAM.INFO.${stream}`)).state.consumer_count;
    // A server 2.9 can stand still for good when a stream is deleted while its consumers come and go.
    await until(async () => (await consumers()) === 1, {
      what: 'the consumer of the trunk alone',
    });
    await call(nc, `${api}.STREAM.DELETE.${stream}`);
    await makeStream(nc, { name: stream });
    await publish(1001, 1200);
    const failures = await Promise.all(probes.map((probe) => probe.untilFailed()));
    for (const { reason } of failures) expect(['regressed', 'recreated', 'source-missing']).toContain(reason);
    expect([hub.attached, hub.readers]).toEqual([0, 0]);
    const again = probes.map((probe) => lane(hub).open({ cursor: probe.position!, witnesses: [probe.witness(49)] }));
    await Promise.all(again.map((probe) => probe.untilRecords(200)));
    await until(() => hub.attached === 3, { what: 'three lanes again' });
    await publish(1201, 1300);
    await Promise.all(again.map((probe) => probe.untilRecords(300)));
    for (const [i, probe] of again.entries()) {
      probe.close();
      expect(numbersOf(probes[i]!)).toEqual(range(1, 50));
      expect(numbersOf(probe)).toEqual(range(1001, 1300));
      expect(probe.gaps).toMatchObject([{ after: probes[i]!.position, upTo: { sequence: 0 }, reason: 'recreated' }]);
      // Each names the new one by itself.
      expect(probe.position?.incarnation).toBe(probe.gaps[0]!.upTo.incarnation);
      expect([...probes[i]!.faults, ...probe.faults, ...probe.failures]).toEqual([]);
    }
  });

  test('a server killed under three lanes, twice: each record comes once to each', async () => {
    await using doomed = await startNats({ binary });
    await using writer = await client(doomed.url);
    await using link = await openLink(doomed.url);
    await makeStream(writer, { name: 'S' });
    const count = 40_000;
    await publishAll(writer, 1, count, numbered('S.a', 64));
    const hub = hubOf(link.link, 'S');
    let most = 0;
    const ahead = () => {
      most = Math.max(most, hub.attached);
      return 0;
    };
    const probes = range(1, 3).map(() => lane(hub, { pulse: () => 100 * KiB, ahead }).open());
    for (const share of [0.2, 0.6]) {
      await probes[0]!.untilRecords(count * share);
      await doomed.kill();
      await until(() => link.link.connection === undefined, { what: 'the end of the connection' });
      await doomed.start();
    }
    await Promise.all(probes.map((probe) => probe.untilRecords(count)));
    await publishAll(writer, count + 1, count + 100, numbered('S.a', 64));
    await Promise.all(probes.map((probe) => probe.untilRecords(count + 100)));
    for (const probe of probes) probe.close();
    expect(most).toBe(3);
    expectAll(probes, count + 100);
  });
});
