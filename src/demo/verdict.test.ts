import { describe, expect, it } from 'vitest';
import { applications, lanes } from './lanes.ts';
import type { SentRecord } from './records.ts';
import { clusters } from './topologies.ts';
import { judge } from './verdict.ts';

const pace = { startMs: Date.UTC(2026, 0, 1), perSecond: 100 };
const sent = 5;

/** What each stream holds, by `STREAM cluster`. */
type Streams = Map<string, SentRecord[]>;

/** All streams, when every application has sent its records and every lane has carried them. */
function whole(): Streams {
  const streams: Streams = new Map();
  const put = (stream: string, cluster: string, { subject, payload }: SentRecord, added = ''): void => {
    const key = `${stream} ${cluster}`;
    streams.set(key, [...(streams.get(key) ?? []), { subject: `${added}${subject}`, payload }]);
  };
  for (let n = 1; n <= sent; n++) {
    for (const { stream, cluster, make } of applications) put(stream, cluster, make(cluster, n, pace));
    for (const { stream, to, from, added } of lanes) put(stream, to, from.make(from.cluster, n, pace), added);
  }
  return streams;
}

const equal = new Map(lanes.map(({ lane }) => [lane, 'equal']));

function verdictOf(streams: Streams, verified: ReadonlyMap<string, string> = equal) {
  const senders = new Map(
    applications.map(({ name, cluster, make }) => [name, { sent, record: (n: number) => make(cluster, n, pace) }]),
  );
  return judge(
    async (cluster, stream, observe) => {
      for (const { subject, payload } of streams.get(`${stream} ${cluster}`) ?? []) observe(subject, payload);
    },
    senders,
    verified,
  );
}

describe('judge', () => {
  it('has a line for each of the ten lanes, and a sentence', async () => {
    const { clean, lines } = await verdictOf(whole());
    expect(lines.slice(1, -2).map((line) => line.split(' ')[0])).toEqual(lanes.map(({ lane }) => lane));
    expect(lines).toHaveLength(13);
    expect(lines.at(-1)).toBe('Every record is wherever it belongs: once, in order, unchanged.');
    expect(clean).toBe(true);
  });

  it.each(
    lanes.map(({ lane, stream, to, from, added }) => ({ lane, key: `${stream} ${to}`, begins: added + from.begins })),
  )('tells a record of $lane that is missing', async ({ lane, key, begins }) => {
    const streams = whole();
    const held = streams.get(key)!;
    held.splice(
      held.findIndex(({ subject }) => subject.startsWith(begins)),
      1,
    );
    const { clean, lines } = await verdictOf(streams);
    expect(lines.find((line) => line.startsWith(lane))).toMatch(/ 5 +4 +0 +0 +1 +equal$/);
    expect(lines.at(-1)).toContain(`NOT CLEAN: ${lane}.`);
    expect(clean).toBe(false);
  });

  it.each(clusters)('tells that orders of %s came back to it', async (cluster) => {
    const streams = whole();
    const held = streams.get(`ORDERS ${cluster}`)!;
    held.push(held.find(({ subject }) => subject.startsWith(`order.${cluster}.`))!);
    const { clean, lines } = await verdictOf(streams);
    expect(lines.find((line) => line.startsWith(`ORDERS of ${cluster} itself`))).toMatch(/ 5 +6 +1 +0 +0$/);
    expect(clean).toBe(false);
  });

  it('tells of a lane that its daemons find different, and of one that they do not speak of', async () => {
    const [first, second, ...rest] = lanes.map(({ lane }) => lane);
    const found = new Map([[first!, 'different'], ...rest.map((lane) => [lane, 'equal'] as const)]);
    const { clean, lines } = await verdictOf(whole(), found);
    expect(lines.find((line) => line.startsWith(first!))).toMatch(/ 5 +5 +0 +0 +0 +different$/);
    expect(lines.find((line) => line.startsWith(second!))).toMatch(/ 5 +5 +0 +0 +0 +no answer$/);
    expect(lines.at(-1)).toContain(`NOT CLEAN: ${first}, ${second}.`);
    expect(clean).toBe(false);
  });

  it('tells of records that are of no lane', async () => {
    const streams = whole();
    streams.get('FLEET hub')!.push({ subject: 'fleet.nobody.press.1', payload: '{}' });
    const { clean, lines } = await verdictOf(streams);
    expect(lines).toContain('1 record in FLEET at hub belongs to no lane.');
    expect(clean).toBe(false);
  });
});
