import { expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import type { NatsLink } from '../../src/brokers/nats/connection.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import { drainTiming, expectAll, numbersOf, range, untilHolds } from '../support/drain-probe.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { startNats } from '../support/nats-launcher.ts';
import { api, client, makeStream, numbered, openLink, publishAll } from '../support/nats-rig.ts';
import { SourceProbe } from '../support/source-probe.ts';

function probeOf(link: NatsLink, stream: string): SourceProbe {
  const bounds = { batchBytes: 32 * 1024, prefetchBytes: 256 * 1024, memory: plentyOfMemory(), timing: drainTiming };
  return new SourceProbe(new JetStreamSource({ link, cluster: 'c', stream, ...bounds }));
}

await eachServer('ends', (binary) => {
  test('a mirror is read in place of its upstream, from the same cursor, and notices when both were made anew', async () => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using fixture = await openLink(server.url);
    const make = async (): Promise<void> => {
      await makeStream(nc, { name: 'UP', subjects: ['up.>'] });
      await makeStream(nc, { name: 'MIRROR', subjects: undefined, mirror: { name: 'UP' } });
    };
    await make();
    await publishAll(nc, 1, 200, numbered('up.a'));
    const first = probeOf(fixture.link, 'UP').open();
    await first.untilRecords(200);
    first.close();

    // Made later than its upstream: only the witness says that it is the same.
    const opening = { cursor: first.records[99]!.position, witnesses: [first.witness(99)] };
    await untilHolds(nc, 'MIRROR', 200);
    const second = probeOf(fixture.link, 'MIRROR').open(opening);
    await second.untilRecords(100);
    expect(second.records[0]!.position).toEqual(first.records[100]!.position);
    await publishAll(nc, 201, 300, numbered('up.a'));
    await second.untilRecords(200);
    second.close();
    expect(second.openedAt).toEqual(opening.cursor);
    expectAll(second, 101, 300);

    // The upstream is gone: what the mirror has of it is still read.
    await call(nc, `${api}.STREAM.DELETE.UP`);
    const third = probeOf(fixture.link, 'MIRROR').open(opening);
    await third.untilRecords(200);
    third.close();
    expectAll(third, 101, 300);

    // Both are made anew, with as many records.
    await call(nc, `${api}.STREAM.DELETE.MIRROR`);
    await make();
    await publishAll(nc, 1001, 1300, numbered('up.a'));
    await untilHolds(nc, 'MIRROR', 300);
    const fourth = probeOf(fixture.link, 'MIRROR').open({ cursor: third.position!, witnesses: [third.witness()] });
    await fourth.untilRecords(300);
    fourth.close();
    expect(fourth.gaps).toMatchObject([{ after: { sequence: 300 }, upTo: { sequence: 0 }, reason: 'recreated' }]);
    expect(numbersOf(fourth)).toEqual(range(1001, 1300));
    expect(fourth.faults).toEqual([]);
  });
});
