/** Judges streams whose records come from many feeds over many ways: by what was published, whatever lanes it took. */
import { createHash } from 'node:crypto';
import { payloadOf } from './feed.ts';
import { perfect, type Stored, type Verdict } from './oracle.ts';

/** What a feed published: records 0 to count - 1. */
export interface Published {
  readonly label: string;
  readonly count: number;
  readonly payloadBytes?: number;
}

const maxExamples = 8;

/** One verdict per label; what nobody published is counted as differing under its own label, or under `''`. */
export function judgeByContent(stream: readonly Stored[], feeds: readonly Published[]): Record<string, Verdict> {
  const seen = new Map(feeds.map(({ label }) => [label, { at: new Map<number, number>(), highest: -1 }]));
  const verdicts = new Map(
    feeds.map(({ label, count }) => [label, { ...perfect(count), stored: 0, examples: [] as string[] }]),
  );
  const strange = { ...perfect(0), examples: [] as string[] };
  for (const { text, digest, sequence } of stream) {
    const [label = '', number = ''] = text.split(' ');
    const feed = feeds.find((one) => one.label === label);
    const n = Number(number);
    const known = seen.get(label);
    const verdict = verdicts.get(label);
    if (feed === undefined || known === undefined || verdict === undefined || !(n < feed.count)) {
      strange.differing++;
      say(strange.examples, `${sequence}: nobody published ${text}`);
      continue;
    }
    verdict.stored++;
    const first = known.at.get(n);
    if (first !== undefined) {
      verdict.duplicated++;
      say(verdict.examples, `${label} ${n} stands at ${first} and at ${sequence}`);
      continue;
    }
    known.at.set(n, sequence);
    if (n < known.highest) {
      verdict.outOfOrder++;
      say(verdict.examples, `${label} ${n} at ${sequence} stands behind ${known.highest}`);
    }
    known.highest = Math.max(known.highest, n);
    if (digest !== digestOf(feed, n)) {
      verdict.differing++;
      say(verdict.examples, `${label} ${n} at ${sequence} has another payload`);
    }
  }
  for (const { label, count } of feeds) {
    const verdict = verdicts.get(label)!;
    for (let n = 0; n < count; n++) {
      if (seen.get(label)!.at.has(n)) continue;
      verdict.lost++;
      say(verdict.examples, `${label} ${n} is missing`);
    }
  }
  return { ...Object.fromEntries(verdicts), ...(strange.differing > 0 ? { '': strange } : {}) };
}

/** What every stream has to be that holds all of these. */
export function allOf(feeds: readonly Published[]): Record<string, Verdict> {
  return Object.fromEntries(feeds.map(({ label, count }) => [label, perfect(count)]));
}

function digestOf({ label, payloadBytes = 128 }: Published, number: number): string {
  return createHash('sha1')
    .update(payloadOf(label, number, payloadBytes))
    .digest('base64');
}

function say(examples: string[], what: string): void {
  if (examples.length < maxExamples) examples.push(what);
}
