/** Judges a run by what streams hold and what daemons say to each other. Shares no code with what it judges but the frames. */
import type { LanePlan } from '../../src/topology/plan.ts';
import type { SimBroker } from './sim-broker.ts';
import type { SimRecord, SimStream } from './sim-stream.ts';

/** What was done to the world, as far as it excuses something. */
export interface Excuses {
  /** Streams (cluster/stream) into which others write, or to which a record may come late. Their order is not judged. */
  readonly unordered: Set<string>;
  /** Streams that lost their tail, or were made anew. */
  readonly shrunk: Set<string>;
}

export interface JudgedLane {
  readonly plan: LanePlan;
  readonly source: SimStream;
  readonly sink: SimStream;
  readonly sinkBroker: SimBroker;
  /** When the sink first said that it has something of the lane, in ms. */
  beganMs: number | undefined;
  /** Sequence of the source up to which acknowledgements have been judged. */
  acknowledged: number;
}

const laneHeader = /\r\nCauseway-Lane: ([^;]+);([^.;]*)\.(\d+);/;
/** Place and incarnation, place, and the number there. */
const originHeader = /\r\nCauseway-Origin: ((([^/]+\/[^/]+)\/[^/]+)\/\d+)\//;
const pathHeader = /\r\nCauseway-Path: ([^\r]+)\r\n/;

export interface Provenance {
  readonly lane: string;
  readonly incarnation: string;
  readonly position: number;
  /** cluster/stream of everywhere it was. */
  readonly places: readonly string[];
}

export function provenanceOf({ headers }: SimRecord): Provenance | undefined {
  if (headers.length === 0) return undefined;
  const text = headers.toString('latin1');
  const lane = laneHeader.exec(text);
  const origin = originHeader.exec(text)?.[3];
  if (lane === null || origin === undefined) return undefined;
  const path = pathHeader.exec(text)?.[1];
  const places = path === undefined ? [origin] : [origin, ...path.split(',')];
  return { lane: lane[1]!, incarnation: lane[2]!, position: Number(lane[3]), places };
}

/** Whether a record of its source is one that a lane has to carry. */
export function isCarried({ link, kind, from, to, sinkStream }: LanePlan, record: SimRecord): boolean {
  const came = provenanceOf(record);
  if (came === undefined) return true;
  if (came.places.includes(`${to}/${sinkStream}`)) return false;
  return !(kind === 'replicate' && came.lane.startsWith(`${link}/`) && came.lane.endsWith(`/${from}`));
}

/** What is missing of a lane at this moment; undefined if nothing is. What somebody deleted in the sink was there. */
export function missing(lane: JudgedLane, excuses: Excuses): SimRecord | undefined {
  const { plan, source, sink } = lane;
  return source.list.find(
    (record) => !sink.holds(record.id) && isCarried(plan, record) && !isMistaken(lane, record, excuses),
  );
}

/**
 * Two copies of a record that may be. The source where it was first seen lost its tail or was made anew: it is read again from the newest
 * witness on that still holds, or from its first record, in a new sequence space (docs/delivery.md, "Proving the source"), and each lane that
 * leads away from it finds that out for itself.
 */
export function isRepeated(one: SimRecord, other: SimRecord, { shrunk }: Excuses): boolean {
  const [first, second] = [spaceOf(one), spaceOf(other)];
  return first !== undefined && second !== undefined && first.space !== second.space && shrunk.has(first.place);
}

/** A record under a number that was in use before: a lane that was behind when its source lost its tail cannot tell, nor who comes after it. */
export function isMistaken({ sink }: JudgedLane, record: SimRecord, { shrunk }: Excuses): boolean {
  const origin = spaceOf(record);
  if (origin === undefined || !shrunk.has(origin.place)) return false;
  return sink.history.some((other) => other.id !== record.id && spaceOf(other)?.number === origin.number);
}

function spaceOf({ headers }: SimRecord) {
  const found = originHeader.exec(headers.toString('latin1'));
  return found === null ? undefined : { number: found[1]!, space: found[2]!, place: found[3]! };
}

/** What is wrong at the end, when nothing moves any more. */
export function judge(
  lanes: readonly JudgedLane[],
  streams: readonly (readonly [string, SimStream])[],
  excuses: Excuses,
): string[] {
  const wrong: string[] = [];
  for (const [place, stream] of streams) {
    const seen = new Map<string, SimRecord>();
    for (const record of stream.list) {
      const { id, sequence } = record;
      const first = seen.get(id);
      if (first !== undefined && !isRepeated(first, record, excuses))
        wrong.push(`I4: ${place} holds ${id} at ${first.sequence} and at ${sequence}`);
      seen.set(id, record);
    }
  }
  for (const lane of lanes) {
    const { plan } = lane;
    const lacks = missing(lane, excuses);
    if (lacks !== undefined)
      wrong.push(`I2: lane ${plan.id} lacks ${lacks.id} (${lacks.life}.${lacks.sequence} of its source)`);
    wrong.push(...unaccounted(lane, excuses), ...disorder(lane, excuses));
  }
  return wrong;
}

interface LedgerJson {
  readonly lane: string;
  readonly after: { readonly incarnation: string; readonly sequence: number };
  readonly upTo: { readonly incarnation: string; readonly sequence: number };
}

/** Records that the limits of the source took before they were carried, and that the ledger does not name. */
function unaccounted({ plan, source, sink, sinkBroker, beganMs }: JudgedLane, { shrunk }: Excuses): string[] {
  const places = [`${plan.from}/${plan.sourceStream}`, `${plan.to}/${plan.sinkStream}`];
  if (beganMs === undefined || places.some((place) => shrunk.has(place))) return [];
  const stored = new Set(sink.history.map(({ id }) => id));
  const gaps = [...sinkBroker.ledger.values()]
    .map((text) => JSON.parse(text) as LedgerJson)
    .filter(({ lane }) => lane === plan.id);
  const isNamed = (sequence: number) =>
    gaps.some(
      ({ after, upTo }) =>
        after.incarnation !== upTo.incarnation || (after.sequence < sequence && sequence <= upTo.sequence),
    );
  return source.history
    .filter((record) => record.fate === 'expired' && record.fateMs > beganMs && !stored.has(record.id))
    .filter((record) => isCarried(plan, record) && !isNamed(record.sequence))
    .map(({ id, sequence }) => `I2: lane ${plan.id} lost ${id} (${sequence}), and the ledger does not say so`);
}

/** Positions of a lane that stand behind later ones. */
function disorder({ plan, sink }: JudgedLane, { unordered }: Excuses): string[] {
  if (unordered.has(`${plan.to}/${plan.sinkStream}`)) return [];
  const wrong: string[] = [];
  const highest = new Map<string, number>();
  for (const record of sink.list) {
    const came = provenanceOf(record);
    if (came?.lane !== plan.id) continue;
    const { incarnation, position } = came;
    const before = highest.get(incarnation) ?? 0;
    if (position < before) wrong.push(`I2: lane ${plan.id} has ${position} (${record.id}) behind ${before}`);
    highest.set(incarnation, Math.max(position, before));
  }
  return wrong;
}
