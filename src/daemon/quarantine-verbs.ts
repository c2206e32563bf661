import { createHash } from 'node:crypto';
import type { KeptRecord, Store } from '../brokers/store.ts';
import type { Logger } from '../lib/logger.ts';
import { type AdminArgs, type AdminContext, AdminError, type AdminVerb } from '../ops/admin-verb.ts';
import { formatPosition } from '../wire/position.ts';
import { failureFrom, type Reason } from '../wire/reasons.ts';
import { chooseLanes } from './lane-choice.ts';

/** A cluster that the daemon works for, as far as its quarantine is concerned. */
export interface QuarantineEnd {
  readonly cluster: string;
  readonly store: Pick<Store, 'quarantined'>;
}

/** A record as the verbs of the quarantine tell it, one `item` each. */
export interface QuarantineItem {
  /** Names it to the other verbs. */
  readonly id: string;
  readonly cluster: string;
  readonly lane: string;
  readonly stream: string;
  /** `incarnation.sequence` at the lane's source. */
  readonly position: string;
  readonly origin: string;
  readonly subject: string;
  /** Under which it would be stored; absent if the mapping yields nothing. */
  readonly target?: string;
  readonly reason: Reason;
  readonly detail: string;
  readonly headerBytes: number;
  readonly payloadBytes: number;
  /** When it was set aside, ISO 8601. */
  readonly at: string;
  /** Of `quarantine show`: header block and payload, base64. */
  readonly headers?: string;
  readonly payload?: string;
  /** Of `quarantine retry`: where it is stored now, or why it is not. */
  readonly storedAt?: number;
  readonly failed?: Reason;
  readonly failedDetail?: string;
}

interface Found {
  readonly end: QuarantineEnd;
  readonly entry: KeptRecord;
}

/** `quarantine list`, `show`, `retry` and `drop`, over the quarantines of the daemon's clusters. */
export function quarantineVerbs(ends: () => readonly QuarantineEnd[], log: Logger): readonly AdminVerb[] {
  return [
    {
      name: 'quarantine list',
      changes: false,
      async run(args, { item }) {
        const chosen = chooseLanes(args.text('lanes'));
        args.done();
        let count = 0;
        for (const found of await all(ends())) {
          if (!chosen(found.entry.lane)) continue;
          count++;
          await item(itemOf(found));
        }
        return { count };
      },
    },
    {
      name: 'quarantine show',
      changes: false,
      async run(args, { item }) {
        for (const found of await choose(args, ends())) {
          const record = await found.end.store.quarantined.record(found.entry);
          if (record === undefined) throw new AdminError(`${idOf(found)} is gone`);
          const { headers, payload } = record;
          await item({
            ...itemOf(found),
            headers: headers.toString('base64'),
            payload: payload.toString('base64'),
          });
        }
        return {};
      },
    },
    { name: 'quarantine retry', changes: true, run: (args, context) => change(args, context, ends(), retry(log)) },
    { name: 'quarantine drop', changes: true, run: (args, context) => change(args, context, ends(), drop(log)) },
  ];
}

type Change = (found: Found) => Promise<Partial<QuarantineItem>>;

/** What cannot be stored stays, and says why; the others are tried all the same. */
const retry =
  (log: Logger): Change =>
  async ({ end, entry }) => {
    const at = { lane: entry.lane, position: formatPosition(entry.position), subject: entry.subject };
    try {
      const storedAt = await end.store.quarantined.retry(entry);
      log.info('quarantine-retried', { ...at, stream: entry.stream, storedAt });
      return { storedAt };
    } catch (error) {
      const { reason, detail } = failureFrom(error);
      if (reason === 'internal') throw error;
      log.warn('quarantine-retry-failed', { ...at, reason, detail });
      return { failed: reason, failedDetail: detail };
    }
  };

const drop =
  (log: Logger): Change =>
  async ({ end, entry }) => {
    await end.store.quarantined.drop(entry);
    const { lane, subject, origin } = entry;
    log.warn('quarantine-dropped', { lane, position: formatPosition(entry.position), subject, origin });
    return {};
  };

async function change(
  args: AdminArgs,
  { dryRun, item, signal }: AdminContext,
  ends: readonly QuarantineEnd[],
  work: Change,
): Promise<{ count: number; failed: number }> {
  let [count, failed] = [0, 0];
  for (const found of await choose(args, ends)) {
    if (signal.aborted) break;
    const result = dryRun ? {} : await work(found);
    if (result.failed === undefined) count++;
    else failed++;
    await item({ ...itemOf(found), ...result });
  }
  return { count, failed };
}

/** The records of the given lanes, those with the given ids, or all. */
async function choose(args: AdminArgs, ends: readonly QuarantineEnd[]): Promise<readonly Found[]> {
  const [lanes, ids, every] = [args.text('lanes'), args.texts('ids'), args.flag('all')];
  args.done();
  const ways = [lanes !== undefined, ids.length > 0, every].filter((given) => given).length;
  if (ways !== 1) throw new AdminError('say which records: those of lanes, some by their ids, or all');
  const chosen = chooseLanes(lanes);
  const found = await all(ends);
  const unknown = ids.find((id) => !found.some((one) => idOf(one) === id));
  if (unknown !== undefined) throw new AdminError(`there is no record ${unknown}`);
  return found.filter((one) => (ids.length > 0 ? ids.includes(idOf(one)) : chosen(one.entry.lane)));
}

/** Every record of every quarantine, oldest first in each. */
async function all(ends: readonly QuarantineEnd[]): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const end of ends) for (const entry of await end.store.quarantined.list()) found.push({ end, entry });
  return found;
}

function idOf({ end, entry: { stream, lane, position } }: Found): string {
  const text = `${end.cluster} ${stream} ${lane} ${formatPosition(position)}`;
  return createHash('sha256').update(text).digest('hex').slice(0, 10);
}

function itemOf(found: Found): QuarantineItem {
  const { lane, stream, position, origin, subject, target, reason, detail, headerBytes, payloadBytes, at } =
    found.entry;
  return {
    id: idOf(found),
    cluster: found.end.cluster,
    lane,
    stream,
    position: formatPosition(position),
    origin,
    subject,
    ...(target === undefined ? {} : { target }),
    reason,
    detail,
    headerBytes,
    payloadBytes,
    at,
  };
}
