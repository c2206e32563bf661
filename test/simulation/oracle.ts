/** Judges a run by what streams hold and what daemons say to each other. Shares no code with what it judges but the frames. */
import type { LanePlan } from '../../src/topology/plan.ts';
import { isPoisonous, type SimBroker } from './sim-broker.ts';
import type { SimRecord, SimStream } from './sim-stream.ts';

export interface JudgedLane {
  readonly plan: LanePlan;
  readonly source: SimStream;
  readonly sink: SimStream;
  readonly sinkBroker: SimBroker;
  /** Two daemons write the sink. */
  raced: boolean;
  /** When the sink first said that it has something of the lane, in ms. */
  beganMs: number | undefined;
  /** Sequence of the source up to which acknowledgements have been judged. */
  acknowledged: number;
}

const laneHeader = /\r\nCauseway-Lane: ([^;]+);([^.;]*)\.(\d+);/;
const originHeader = /\r\nCauseway-Origin: ([^/]+\/[^/]+)\//;
/** Without a sequence: it was not known beforehand. */
const idModeHeader = /\r\nCauseway-At: [^\r]*\/-\r\n/;
const pathHeader = /\r\nCauseway-Path: ([^\r]+)\r\n/;

export interface Provenance {
  readonly lane: string;
  readonly incarnation: string;
  readonly position: number;
  readonly inIdMode: boolean;
  /** cluster/stream of everywhere it was. */
  readonly places: readonly string[];
}

export function provenanceOf({ headers }: SimRecord): Provenance | undefined {
  if (headers.length === 0) return undefined;
  const text = headers.toString('latin1');
  const lane = laneHeader.exec(text);
  const origin = originHeader.exec(text)?.[1];
  if (lane === null || origin === undefined) return undefined;
  const path = pathHeader.exec(text)?.[1];
  const places = path === undefined ? [origin] : [origin, ...path.split(',')];
  return {
    lane: lane[1]!,
    incarnation: lane[2]!,
    position: Number(lane[3]),
    inIdMode: idModeHeader.test(text),
    places,
  };
}

/** Whether a record of its source is one that a lane has to carry. */
export function isCarried({ link, kind, from, to, sinkStream }: LanePlan, record: SimRecord): boolean {
  const came = provenanceOf(record);
  if (came === undefined) return true;
  if (came.places.includes(`${to}/${sinkStream}`)) return false;
  return !(kind === 'replicate' && came.lane.startsWith(`${link}/`) && came.lane.endsWith(`/${from}`));
}

/** What is missing of a lane at this moment; undefined if nothing is. What somebody deleted in the sink was there. */
export function missing(lane: JudgedLane): SimRecord | undefined {
  const { plan, source, sink } = lane;
  return source.list.find((record) => !sink.holds(record.id) && isCarried(plan, record) && !isSetAside(lane, record));
}

/** The quarantine beside the sink has a record that the sink does not take, as it is. */
export function isSetAside({ plan, sinkBroker }: JudgedLane, { payload, subject, sequence }: SimRecord): boolean {
  if (!isPoisonous(payload)) return false;
  return [...sinkBroker.quarantine.values()].some(
    (kept) =>
      kept.lane === plan.id &&
      kept.position.sequence === sequence &&
      kept.subject === subject.toString() &&
      kept.payload.equals(payload),
  );
}

/** What is wrong at the end, when nothing moves any more. `shrunk`: streams (cluster/stream) that lost their tail, or were made anew. */
export function judge(
  lanes: readonly JudgedLane[],
  streams: readonly (readonly [string, SimStream])[],
  shrunk: ReadonlySet<string>,
): string[] {
  const wrong: string[] = [];
  for (const [place, stream] of streams) {
    if (stream.mayRepeat) continue;
    const seen = new Map<string, SimRecord>();
    for (const record of stream.taken) {
      const { id, sequence } = record;
      const first = seen.get(id);
      if (first !== undefined) wrong.push(`I4: ${place} holds ${id} at ${first.sequence} and at ${sequence}`);
      seen.set(id, record);
    }
  }
  for (const lane of lanes) {
    const { plan } = lane;
    const lacks = missing(lane);
    if (lacks !== undefined)
      wrong.push(`I2: lane ${plan.id} lacks ${lacks.id} (${lacks.life}.${lacks.sequence} of its source)`);
    wrong.push(...unaccounted(lane, shrunk), ...disorder(lane), ...wronglySetAside(lane));
  }
  return wrong;
}

/** What the sink would have taken. */
function wronglySetAside({ plan, sinkBroker }: JudgedLane): string[] {
  return [...sinkBroker.quarantine.values()]
    .filter(({ lane, payload }) => lane === plan.id && !isPoisonous(payload))
    .map(({ position }) => `I2: lane ${plan.id} set ${position.sequence} aside, which its sink takes`);
}

interface LedgerJson {
  readonly lane: string;
  readonly after: { readonly incarnation: string; readonly sequence: number };
  readonly upTo: { readonly incarnation: string; readonly sequence: number };
}

/** Records that the limits of the source took before they were carried, and that the ledger does not name. */
function unaccounted(lane: JudgedLane, shrunk: ReadonlySet<string>): string[] {
  const { plan, source, sink, sinkBroker, beganMs } = lane;
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
    .filter((record) => isCarried(plan, record) && !isNamed(record.sequence) && !isSetAside(lane, record))
    .map(({ id, sequence }) => `I2: lane ${plan.id} lost ${id} (${sequence}), and the ledger does not say so`);
}

/**
 * Positions of a lane that stand behind later ones. That may be in one case: another writer's record, or one of the other daemon where there
 * are two, took the place of one that was refused, and so the one behind it went through; in id mode, which goes with other writers, the
 * number of those is not bounded by theirs (docs/delivery.md).
 */
function disorder({ plan, sink, raced }: JudgedLane): string[] {
  const wrong: string[] = [];
  /** Of each incarnation, ascending. */
  const runs = new Map<string, { readonly position: number; readonly at: number; readonly inIdMode: boolean }[]>();
  /** One that may come again counts where it came first. */
  const seen = new Set<string>();
  for (const [at, record] of sink.taken.entries()) {
    const came = provenanceOf(record);
    if (came?.lane !== plan.id || (sink.mayRepeat && seen.has(record.id))) continue;
    seen.add(record.id);
    const { incarnation, position, inIdMode } = came;
    const run = runs.get(incarnation) ?? [];
    runs.set(incarnation, run);
    const passed = run.findIndex((one) => one.position > position);
    if (passed < 0) {
      run.push({ position, at, inIdMode });
      continue;
    }
    const between = sink.taken.slice((run[passed - 1]?.at ?? -1) + 1, run[passed]!.at);
    const ofOthers = (one: SimRecord) =>
      provenanceOf(one)?.lane === undefined || (raced && provenanceOf(one)?.lane !== plan.id);
    if (inIdMode || run[passed]!.inIdMode || between.some(ofOthers)) continue;
    wrong.push(`I2: lane ${plan.id} has ${position} (${record.id}) behind ${run[passed]!.position}`);
  }
  return wrong;
}
