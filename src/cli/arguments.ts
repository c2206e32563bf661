import { InvalidArgumentError } from 'commander';
import { patternFault } from '../topology/subjects.ts';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** What a timer of Node can hold. */
const maxMs = 2 ** 31 - 1;

/** `30s`, `500ms`, `2m`, `1h` as milliseconds; units are written out, as in the topology file. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+)(ms|s|m|h)$/.exec(text);
  const ms = match === null ? Number.NaN : Number(match[1]) * (unitsMs[match[2] ?? ''] ?? Number.NaN);
  if (!(ms <= maxMs)) throw new InvalidArgumentError('Write a number and its unit, such as 30s, 500ms or 2m.');
  return ms;
}

/** A whole number of days, from 1. */
export function parseDays(text: string): number {
  const days = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (days < 1) throw new InvalidArgumentError('Write a whole number of days, from 1.');
  return days;
}

/** A parser of whole numbers between two bounds, both included. */
export function parseWhole(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(number >= min && number <= max))
      throw new InvalidArgumentError(`Write a whole number from ${min} to ${max}.`);
    return number;
  };
}

/** The name of a cluster, as in a topology file. */
export function parseCluster(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^[a-z0-9-]{1,32}$/.test(text)) {
    throw new InvalidArgumentError('A cluster is named by 1 to 32 of a-z, 0-9 and -.');
  }
  return before.includes(text) ? before : [...before, text];
}

/** A trust domain, as in a topology file. */
export function parseTrustDomain(text: string): string {
  if (!/^[a-z0-9][a-z0-9._-]{0,254}$/.test(text)) {
    throw new InvalidArgumentError(
      'A trust domain is written with a-z, 0-9, ., _ and -, such as acme or acme.example.',
    );
  }
  return text;
}

/** A DNS name or an IP address; the option may be given several times. */
export function parseHost(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^[A-Za-z0-9*._:-]+$/.test(text)) throw new InvalidArgumentError('Write a DNS name or an IP address.');
  return [...before, text];
}

/** Base URL of a monitor, from a URL or from `host:port`. */
export function parseMonitor(text: string): URL {
  const full = /^https?:\/\//.test(text) ? text : `http://${text}`;
  if (!URL.canParse(full)) throw new InvalidArgumentError('Write a URL such as http://127.0.0.1:7444.');
  const url = new URL(full);
  return new URL(`${url.pathname.replace(/\/$/, '')}/`, url);
}

/** Version of a nats-server, as its `--version` prints it or without the last number. */
export function parseServerVersion(text: string): readonly [number, number, number] {
  const match = /^v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,4}))?$/.exec(text);
  const [major, minor, patch] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3] ?? 0)];
  if (match === null) throw new InvalidArgumentError('Write it as 2.14 or 2.14.5.');
  if (major < 2 || (major === 2 && minor < 9))
    throw new InvalidArgumentError('Causeway needs nats-server 2.9 or later.');
  return [major, minor, patch];
}

/** `STREAM=SUBJECT,SUBJECT`, several times: subjects of streams by name. */
export function parseStreamSubjects(
  text: string,
  before: ReadonlyMap<string, readonly string[]> = new Map(),
): ReadonlyMap<string, readonly string[]> {
  const at = text.indexOf('=');
  const subjects = text.slice(at + 1).split(',');
  if (at < 1) throw new InvalidArgumentError('Write a stream and its subjects, as ORDERS=order.>,refund.>');
  const fault = subjects.map(patternFault).find((found) => found !== undefined);
  if (fault !== undefined) throw new InvalidArgumentError(`${fault.message}: ${fault.fix}.`);
  return new Map([...before, [text.slice(0, at), subjects]]);
}
