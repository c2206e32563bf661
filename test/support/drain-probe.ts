/** What tests of streams that are drained share. */
import { expect } from 'vitest';
import { call } from '../../src/brokers/nats/api.ts';
import type { NatsLink } from '../../src/brokers/nats/connection.ts';
import { JetStreamSource } from '../../src/brokers/nats/js-source.ts';
import type { ReaderTiming } from '../../src/brokers/nats/stream-reader.ts';
import { plentyOfMemory } from './memory.ts';
import { api, type Client, infoOf, numberOf } from './nats-rig.ts';
import { type ProbeOptions, SourceProbe } from './source-probe.ts';
import { until } from './until.ts';

export const drainTiming: ReaderTiming = { expiresMs: 600, heartbeatMs: 250, patienceMs: 30_000 };
export const drainLane = 'l/a/b';
export const drainConsumer = 'causeway_l_a_b';

/** A lane that drains a stream. */
export function drainProbe(
  link: NatsLink,
  stream: string,
  options: ProbeOptions & { readonly lane?: string } = {},
): SourceProbe {
  const source = new JetStreamSource({
    link,
    cluster: 'c',
    stream,
    batchBytes: 32 * 1024,
    prefetchBytes: 256 * 1024,
    memory: plentyOfMemory(),
    timing: drainTiming,
    consume: { lane: options.lane ?? drainLane },
  });
  return new SourceProbe(source, options);
}

export function numbersOf(probe: SourceProbe): number[] {
  return probe.records.map(({ payload }) => numberOf(payload));
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

/** The oracle of a stream whose record number n holds n: nothing lost, nothing twice, in order, nothing wrong. */
export function expectAll(probe: SourceProbe, from: number, to: number): void {
  expect(numbersOf(probe)).toEqual(range(from, to));
  expect([probe.gaps, probe.failures, probe.faults]).toEqual([[], [], []]);
}

export async function untilHolds(nc: Client, stream: string, count: number): Promise<void> {
  let messages: number | undefined;
  await until(
    async () => {
      messages = (await infoOf(nc, stream)).state.messages;
      return messages === count;
    },
    { what: () => `${stream} to hold ${count} records; it has ${messages}`, deadlineMs: 30_000 },
  );
}

export function deleteConsumerOf(nc: Client, stream: string, name = drainConsumer): Promise<unknown> {
  return call(nc, `${api}.CONSUMER.DELETE.${stream}.${name}`);
}
