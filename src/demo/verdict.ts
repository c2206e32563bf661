import { formatCount } from '../lib/format.ts';
import { applications, beginsAt, type DemoLane, lanes, sinks } from './lanes.ts';
import type { SentRecord } from './records.ts';
import { verdictTable } from './tables.ts';
import { isClean, type LaneVerdict, Tally } from './tally.ts';

/** How everything came through. */
export interface Verdict {
  readonly clean: boolean;
  /** For people: a table and a sentence. */
  readonly lines: readonly string[];
}

interface Counted {
  readonly sent: number;
  readonly tally: Tally;
}

/** An application that has sent its records 1 to `sent`. */
export interface Sender {
  readonly sent: number;
  record(n: number): SentRecord;
}

/** Gives every record of a stream at a cluster to `observe`, from the first to the last. */
export type ReadStream = (
  cluster: string,
  stream: string,
  observe: (subject: string, payload: string) => void,
) => Promise<void>;

/**
 * Reads every sink and compares it with what was sent. `senders`: by the name of the application; `verified`: by lane, what its daemons found
 * when they compared its two ends.
 */
export async function judge(
  read: ReadStream,
  senders: ReadonlyMap<string, Sender>,
  verified: ReadonlyMap<string, string>,
): Promise<Verdict> {
  const ofLanes = new Map<DemoLane, LaneVerdict>();
  const own: LaneVerdict[] = [];
  const strange: string[] = [];
  for (const { cluster, stream, lanes: into } of sinks) {
    const counted = new Map(into.map((lane) => [lane, countedOf(lane, senders)]));
    // What is published at the sink itself has to be there as well, once.
    const ownCounted = applications
      .filter((application) => application.cluster === cluster && application.stream === stream)
      .map((from) =>
        countedOf({ lane: `${stream} of ${cluster} itself`, from, to: cluster, stream, added: '' }, senders),
      );
    const tallies = [...counted.values(), ...ownCounted].map(({ tally }) => tally);
    let unknown = 0;
    await read(cluster, stream, (subject, payload) => {
      if (!tallies.some((tally) => tally.observe(subject, payload))) unknown++;
    });
    for (const [lane, { sent, tally }] of counted) ofLanes.set(lane, tally.verdict(sent));
    own.push(...ownCounted.map(({ sent, tally }) => tally.verdict(sent)));
    if (unknown > 0) {
      const records = unknown === 1 ? '1 record' : `${formatCount(unknown)} records`;
      strange.push(`${records} in ${stream} at ${cluster} ${unknown === 1 ? 'belongs' : 'belong'} to no lane.`);
    }
  }
  return summary(
    lanes.map((lane) => ({ ...ofLanes.get(lane)!, verified: verified.get(lane.lane) ?? 'no answer' })),
    own,
    strange,
  );
}

function summary(ofLanes: readonly LaneVerdict[], own: readonly LaneVerdict[], strange: readonly string[]): Verdict {
  const wrongOwn = own.filter((verdict) => !isClean(verdict));
  const wrong = [...ofLanes.filter((verdict) => !isClean(verdict) || verdict.verified !== 'equal'), ...wrongOwn];
  const clean = wrong.length === 0 && strange.length === 0;
  return {
    clean,
    lines: [
      ...verdictTable([...ofLanes, ...wrongOwn]),
      '',
      ...strange,
      clean
        ? 'Every record is wherever it belongs: once, in order, unchanged.'
        : `NOT CLEAN${wrong.length === 0 ? '' : `: ${wrong.map(({ lane }) => lane).join(', ')}`}. This must not happen: please report it, with the logs.`,
    ],
  };
}

function countedOf(lane: DemoLane, senders: ReadonlyMap<string, Sender>): Counted {
  const application = senders.get(lane.from.name)!;
  const tally = new Tally({
    lane: lane.lane,
    begins: beginsAt(lane),
    record: (n) => {
      const { subject, payload } = application.record(n);
      return { subject: `${lane.added}${subject}`, payload };
    },
  });
  return { sent: application.sent, tally };
}
