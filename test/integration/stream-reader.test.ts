import type { Msg } from 'nats';
import { describe, expect, test } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import type { NatsLink } from '../../src/brokers/nats/connection.ts';
import { rawPayload } from '../../src/brokers/nats/raw-message.ts';
import { type ReaderTiming, StreamReader, type StreamReaderOptions } from '../../src/brokers/nats/stream-reader.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import { eachServer } from '../support/each-server.ts';
import { startNats } from '../support/nats-launcher.ts';
import {
  api,
  asUser,
  client,
  infoOf,
  makeStream,
  numbered,
  numberOf,
  openLink,
  publishAll,
} from '../support/nats-rig.ts';
import { onOneServer, type SuiteRig } from '../support/suite-rig.ts';
import { until } from '../support/until.ts';

const KiB = 1024;
/** Hundreds of times faster than in life. */
const timing: ReaderTiming = { expiresMs: 600, heartbeatMs: 250, patienceMs: 10_000 };

/** A reader that takes everything as it comes. */
class Reading implements AsyncDisposable {
  readonly numbers: number[] = [];
  readonly sequences: number[] = [];
  readonly failures: Failure[] = [];
  peakOutstanding = 0;
  idle = 0;
  reader!: StreamReader;

  static async start(link: NatsLink, options: Partial<StreamReaderOptions> & { stream: string }): Promise<Reading> {
    const reading = new Reading();
    const prefetchBytes = options.prefetchBytes ?? 256 * KiB;
    const { created } = await infoOf(link.require(), options.stream);
    reading.reader = new StreamReader({
      link,
      created,
      after: 0,
      headersOnly: false,
      prefetchBytes,
      timing,
      message: (message: Msg, sequence) => {
        reading.sequences.push(sequence);
        reading.numbers.push(numberOf(rawPayload(message)));
        reading.peakOutstanding = Math.max(reading.peakOutstanding, reading.reader.outstandingBytes);
        reading.reader.want(prefetchBytes);
      },
      idle: () => reading.idle++,
      failed: (failure) => reading.failures.push(failure),
      ...options,
    });
    return reading;
  }

  async until(count: number): Promise<void> {
    await until(() => this.numbers.length >= count || this.failures.length > 0, {
      what: () => `${count} messages; there are ${this.numbers.length}`,
    });
    if (this.numbers.length < count) throw new Error(JSON.stringify(this.failures));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reader.close();
  }
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

await eachServer('ends', (binary) => {
  let { server, nc, fixture, stream } = {} as SuiteRig;
  onOneServer(binary, (rig) => ({ server, nc, fixture, stream } = rig));

  describe('what is asked for and not delivered', () => {
    const headers = Buffer.from(`NATS/1.0\r\nA: ${'v'.repeat(300)}\r\n\r\n`);
    test.each([
      ['messages', false],
      ['headers only', true],
    ])('is known to the byte, whichever request the server serves: %s', async (_name, headersOnly) => {
      await publishAll(nc, 1, 3000, (number) => ({
        subject: `${stream}.${number % 7}`,
        payload: Buffer.alloc((number * 31) % 997, String(number)),
        ...(number % 3 === 0 ? { headers } : {}),
      }));
      const prefetchBytes = 64 * KiB;
      const options = { stream, prefetchBytes, headersOnly };
      await using reading = await Reading.start(fixture.link, options);
      await until(() => reading.sequences.length === 3000, { what: 'all messages' });
      expect(reading.sequences).toEqual(upTo(3000));
      expect(reading.peakOutstanding).toBeLessThanOrEqual(prefetchBytes);
      // No more is asked for; what was asked for comes to its end unused, and the sum comes out even.
      reading.reader.want(0);
      await until(() => reading.idle > 0 && reading.reader.outstandingBytes === 0, {
        what: () => `nothing outstanding; ${reading.reader.outstandingBytes} bytes are`,
      });
      reading.reader.want(prefetchBytes);
      await publishAll(nc, 3001, 3100, numbered(`${stream}.a`));
      await until(() => reading.sequences.length === 3100, { what: 'the rest' });
      expect(reading.failures).toEqual([]);
    });
  });

  test('goes on over many expired requests, with the same consumer', async () => {
    // Signs of life far enough apart that a busy machine misses none.
    const patient = { ...timing, expiresMs: 800, heartbeatMs: 390 };
    await using reading = await Reading.start(fixture.link, { stream, timing: patient });
    await until(() => reading.reader.consumer !== '', { what: 'a consumer' });
    const { consumer } = reading.reader;
    await until(() => reading.idle >= 8, { what: 'requests to expire' });
    await publishAll(nc, 1, 1, numbered(`${stream}.a`));
    await reading.until(1);
    expect(reading.reader.consumer).toBe(consumer);
  });

  test('a message larger than all it may ask for comes alone', async () => {
    const sizes = [10, 1024 * KiB, 100 * KiB, 20, 1024 * KiB, 1024 * KiB, 30];
    await publishAll(nc, 1, sizes.length, (number) => numbered(`${stream}.a`, sizes[number - 1])(number));
    await using reading = await Reading.start(fixture.link, { stream, prefetchBytes: 16 * KiB });
    await reading.until(sizes.length);
    expect(reading.numbers).toEqual(upTo(sizes.length));
    // One request that takes the largest message there can be.
    expect(reading.peakOutstanding).toBeLessThanOrEqual(1024 * KiB + 64 * KiB);
  });

  test('a consumer deleted in the middle is made anew behind the last message', async () => {
    await publishAll(nc, 1, 5000, numbered(`${stream}.a`, 200));
    await using reading = await Reading.start(fixture.link, { stream, prefetchBytes: 64 * KiB });
    const deleted: string[] = [];
    while (reading.numbers.length < 5000) {
      const { consumer } = reading.reader;
      if (consumer !== '' && deleted.length < 3 && !deleted.includes(consumer)) {
        deleted.push(consumer);
        await call(nc, `${api}.CONSUMER.DELETE.${stream}.${consumer}`);
      }
      await reading.until(Math.min(5000, reading.numbers.length + 100));
    }
    // And while nothing is on its way.
    await call(nc, `${api}.CONSUMER.DELETE.${stream}.${reading.reader.consumer}`).catch(() => undefined);
    await publishAll(nc, 5001, 5010, numbered(`${stream}.a`));
    await reading.until(5010);
    expect(reading.numbers).toEqual(upTo(5010));
    expect(deleted.length).toBeGreaterThan(0);
  });

  test('leaves no consumer behind', async () => {
    await publishAll(nc, 1, 10, numbered(`${stream}.a`));
    const reading = await Reading.start(fixture.link, { stream });
    await reading.until(10);
    reading.reader.restart();
    await until(() => reading.reader.consumer !== '', { what: 'another consumer' });
    reading.reader.restart();
    reading.reader.close();
    const consumers = () => call<{ total: number }>(nc, `${api}.CONSUMER.LIST.${stream}`, {});
    await until(async () => (await consumers()).total === 0, { what: 'no consumers' });
  });

  test('an owner that throws ends its reader, and nobody else', async () => {
    await publishAll(nc, 1, 10, numbered(`${stream}.a`));
    await using other = await Reading.start(fixture.link, { stream });
    await using reading = await Reading.start(fixture.link, {
      stream,
      message: () => {
        throw new Error('a defect in the owner');
      },
    });
    await until(() => reading.failures.length > 0, { what: 'a failure' });
    expect(reading.failures).toMatchObject([{ reason: 'internal' }]);
    expect(reading.failures[0]!.detail).toContain('a defect in the owner');
    await publishAll(nc, 11, 20, numbered(`${stream}.a`));
    await other.until(20);
  });

  test('a server that hangs, and comes back to itself', async () => {
    await using own = await startNats({ binary });
    await using app = await client(own.url);
    await using slow = await openLink(own.url);
    await makeStream(app, { name: 'S' });
    await publishAll(app, 1, 20_000, numbered('S.a', 100));
    await using reading = await Reading.start(slow.link, { stream: 'S', prefetchBytes: 64 * KiB });
    await reading.until(100);
    const { consumer } = reading.reader;
    await own.freeze();
    // Signs of life are missed, and the reader turns to another consumer as soon as it can.
    await until(() => reading.reader.consumer !== consumer, { what: 'missed signs of life' });
    own.thaw();
    await reading.until(20_000);
    expect(reading.numbers).toEqual(upTo(20_000));
  });

  test('a record that the server now would not take', async () => {
    await using own = await startNats({ binary, config: 'max_payload: 1MB' });
    await using app = await client(own.url);
    await makeStream(app, { name: 'S' });
    await publishAll(app, 1, 5, (number) => numbered('S.a', number === 3 ? 900 * KiB : 10)(number));
    await app.close();
    await own.stop();
    await using strict = await startNats({ binary, storeDir: own.storeDir, config: 'max_payload: 64KB' });
    await using link = await openLink(strict.url);
    await using reading = await Reading.start(link.link, { stream: 'S', prefetchBytes: 16 * KiB });
    await reading.until(5);
    expect(reading.numbers).toEqual(upTo(5));
  });

  test('fails by name where it may not pull, and only there', async () => {
    const config = `
      authorization { users: [
        { user: app, password: app },
        { user: bridge, password: bridge, permissions: { publish: { deny: ["$JS.API.CONSUMER.MSG.NEXT.CLOSED.>", "other.>"] } } } ] }`;
    await using own = await startNats({ binary, config });
    await using app = await client(own.url, 'app');
    await using link = await openLink(own.url, asUser('bridge'));
    for (const name of ['OPEN', 'CLOSED']) {
      await makeStream(app, { name });
      await publishAll(app, 1, 10, numbered(`${name}.a`));
    }
    await using open = await Reading.start(link.link, { stream: 'OPEN' });
    await using closed = await Reading.start(link.link, { stream: 'CLOSED' });
    await until(() => closed.failures.length > 0, { what: 'a failure' });
    expect(closed.failures.map(({ reason }) => reason)).toEqual(['nats-permission']);
    expect(closed.failures[0]!.detail).toContain('CLOSED');
    link.link.require().publish('other.subject');
    await open.until(10);
    await publishAll(app, 11, 20, numbered('OPEN.a'));
    await open.until(20);
    expect(open.failures).toEqual([]);
  });
});
