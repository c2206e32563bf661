import { formatCount, formatDuration } from '../lib/format.ts';
import type { Reason } from '../wire/reasons.ts';
import { isAway, isParked } from './fleet.ts';
import type { DaemonStatus, GapStatus, LaneStatus, LinkStatus } from './status.ts';

/** A lane with a backlog and no progress for this long is stuck, whatever its connection says. */
export const stuckAfterMs = 2 * 60_000;
/** A lane, a peer or the own cluster may be blocked or disconnected for this long before it counts. */
export const outageAfterMs = 2 * 60_000;

/** Why a daemon is not healthy, one value per cause. `text` says it in one line. */
export interface HealthProblem {
  readonly kind: 'stuck' | 'parked' | 'link-conflict' | 'gap' | 'outage' | 'refused' | 'topology' | 'name-taken';
  readonly lane?: string;
  /** Which end of the lane: a daemon that serves both has two of one name. */
  readonly role?: LaneStatus['role'];
  readonly link?: string;
  readonly peer?: string;
  readonly reason?: Reason;
  readonly sinceMs?: number;
  readonly text: string;
}

/** Answer of a probe: fine exactly when there are no problems. */
export interface Health {
  readonly ok: boolean;
  readonly problems: readonly HealthProblem[];
}

/** Whether this daemon can do its work at all. `text` says what is missing. */
export interface Readiness {
  readonly ok: boolean;
  readonly text: string;
}

/** That this is answered is the proof: the event loop turns. It says nothing about the daemon's work. */
export function livez(): Readiness {
  return { ok: true, text: 'alive' };
}

/**
 * Plan loaded and peer port listening. Neither an offline peer nor the own broker's outage makes a daemon unready: an
 * unready hub would be taken out of its Service and cut off every device.
 */
export function readyz(status: Pick<DaemonStatus, 'ready' | 'draining'>): Readiness {
  if (status.draining) return { ok: false, text: 'draining' };
  return status.ready ? { ok: true, text: 'ready' } : { ok: false, text: 'the peer port is not listening yet' };
}

/** Whether this is the daemon that works for its cluster: what stands in front of several of them sends peers to that one. */
export function activez(status: Pick<DaemonStatus, 'ready' | 'draining' | 'standby'>): Readiness {
  const ready = readyz(status);
  if (!ready.ok) return ready;
  const { standby } = status;
  if (standby?.state !== 'standby') return { ok: true, text: 'active' };
  return { ok: false, text: `standing by for ${standby.holder ?? 'nobody that is known'}` };
}

/** Names of all links this daemon knows, sorted. */
export function knownLinks(status: Pick<DaemonStatus, 'links' | 'lanes' | 'gaps'>): readonly string[] {
  return [...new Set([...status.links, ...status.lanes, ...(status.gaps ?? [])].map(({ link }) => link))].sort();
}

/**
 * The one to alert on: progress against backlog. With `link`, only what concerns this link; the caller checks that the
 * link is known.
 *
 * A member of a group may be away: neither that nor its lanes count, unless a link is asked for by name
 * (docs/decisions/0008).
 */
export function healthz(status: DaemonStatus, filter: { readonly link?: string } = {}): Health {
  const concerns = (item: { readonly link: string }): boolean => filter.link === undefined || item.link === filter.link;
  const problems: HealthProblem[] = [];
  if (filter.link === undefined)
    problems.push(
      ...fileProblems(status),
      ...clusterProblems(status),
      ...leaseProblems(status),
      ...peerProblems(status),
    );
  problems.push(...status.links.filter(concerns).flatMap((link) => linkProblem(link, status) ?? []));
  const judge = laneJudge(status, filter.link === undefined);
  problems.push(...status.lanes.filter(concerns).flatMap((lane) => judge(lane) ?? []));
  problems.push(...(status.gaps ?? []).filter(concerns).map((gap) => gapProblem(gap, status)));
  return { ok: problems.length === 0, problems };
}

/** Records are lost, and nobody has said that he knows. */
function gapProblem(gap: GapStatus, { nowMs }: DaemonStatus): HealthProblem {
  const { lane, link, gaps, records, sinceMs, reason } = gap;
  const count = gaps === 1 ? 'a gap' : `${formatCount(gaps)} gaps`;
  const lost = records === undefined ? 'an unknown number of records' : `${formatCount(records)} records`;
  const text = `lane ${lane} has ${count} that nobody acknowledged, of ${lost}, since ${formatDuration(nowMs - sinceMs)}`;
  return { kind: 'gap', lane, role: 'receiver', link, reason, sinceMs, text: because(text, reason, undefined) };
}

/** The daemon runs on, but would not start again. */
function fileProblems({ file }: DaemonStatus): HealthProblem[] {
  if (file.error === undefined) return [];
  const what = `the topology file cannot be used, generation ${file.generation} runs on`;
  return [{ kind: 'topology', reason: 'topology-invalid', text: because(what, 'topology-invalid', file.error) }];
}

function linkProblem(status: LinkStatus, { cluster }: DaemonStatus): HealthProblem | undefined {
  const { link, peer, declaredBy, accepted, reason, detail } = status;
  if (accepted) return undefined;
  const what =
    declaredBy === cluster ? `link ${link} is refused by ${peer}` : `link ${link} of ${peer} is refused here`;
  return { kind: 'refused', link, peer, reason, text: because(what, reason, detail) };
}

/** Judges the lanes of a status. `patient`: with members of groups that may come and go. */
function laneJudge(status: DaemonStatus, patient: boolean): (lane: LaneStatus) => HealthProblem | undefined {
  const members = new Map(
    status.peers.filter(({ group }) => patient && group !== undefined).map((peer) => [peer.peer, peer]),
  );
  const senders = new Set(status.lanes.filter(({ role }) => role === 'sender').map(({ lane }) => lane));
  const receivers = new Set(status.lanes.filter(({ role }) => role === 'receiver').map(({ lane }) => lane));
  return (lane) => {
    const member = members.get(lane.peer);
    // What was waiting while it was away could not move: time counts from its return.
    const away = member !== undefined && isAway(member);
    const twice = senders.has(lane.lane) && receivers.has(lane.lane);
    return laneProblem(lane, status, { away, fromMs: member?.sinceMs ?? 0, twice });
  };
}

interface Circumstances {
  /** The peer is a member of a group and not there. */
  readonly away: boolean;
  /** Nothing counts that was before, Unix ms. */
  readonly fromMs: number;
  /** Both its ends are here, so that its name does not tell which is meant. */
  readonly twice: boolean;
}

function laneProblem(lane: LaneStatus, status: DaemonStatus, circumstances: Circumstances): HealthProblem | undefined {
  const { lane: id, link, from, to, role, peer, reason, detail, sinceMs } = lane;
  const { away, fromMs, twice } = circumstances;
  const name = twice ? `lane ${id}, at its ${role} ${role === 'sender' ? from : to},` : `lane ${id}`;
  const found = (kind: HealthProblem['kind'], what: string): HealthProblem => ({
    kind,
    lane: id,
    role,
    link,
    peer,
    reason,
    sinceMs,
    text: because(`${name} ${what}`, reason, detail),
  });
  const heldMs = status.nowMs - (lane.state === 'blocked' ? sinceMs : Math.max(sinceMs, fromMs));
  switch (lane.state) {
    case 'parked':
      return found('parked', 'is parked');
    case 'link-conflict':
      return found('link-conflict', 'is in conflict');
    case 'gap':
      return found('gap', 'has lost records');
    case 'blocked':
      if (heldMs > outageAfterMs) return found('outage', `is blocked for ${formatDuration(heldMs)}`);
      break;
    case 'disconnected':
      if (heldMs > outageAfterMs && !away) return found('outage', `is disconnected for ${formatDuration(heldMs)}`);
      break;
    case 'starting':
    case 'catching-up':
    case 'live':
    case 'draining':
      break;
    case 'stopped':
      return undefined;
    default:
      lane.state satisfies never;
  }
  if (away) return undefined;
  const stalledMs = stalledFor(lane, status, fromMs);
  if (stalledMs === undefined || stalledMs <= stuckAfterMs) return undefined;
  const backlog = formatCount(lane.lagRecords ?? 0);
  return found('stuck', `has ${backlog} records to go and made no progress for ${formatDuration(stalledMs)}`);
}

/** How long a backlog has been waiting without progress; undefined without a known backlog. */
function stalledFor(lane: LaneStatus, status: DaemonStatus, fromMs: number): number | undefined {
  if (lane.lagRecords === undefined || lane.lagRecords <= 0) return undefined;
  const beganMs = Math.max(lane.backlogSinceMs ?? status.startedAtMs, fromMs);
  return status.nowMs - Math.max(beganMs, lane.progressAtMs ?? beganMs);
}

/** Without a lane nobody else would notice that a cluster of ours is away: learned links live in it. */
function clusterProblems({ nats, served, nowMs, cluster }: DaemonStatus): HealthProblem[] {
  return [{ cluster, ...nats }, ...served].flatMap((one): HealthProblem[] => {
    const { connected, sinceMs, reason, detail } = one;
    const heldMs = nowMs - sinceMs;
    if (connected || heldMs <= outageAfterMs) return [];
    const what = `the NATS servers of ${one.cluster} are away for ${formatDuration(heldMs)}`;
    return [{ kind: 'outage', reason, sinceMs, text: because(what, reason, detail) }];
  });
}

/** That nobody works, or that nobody would take over, shows nowhere else. Servers that are away tell of themselves. */
function leaseProblems({ standby, nats, nowMs }: DaemonStatus): HealthProblem[] {
  if (standby?.failingSinceMs === undefined || !nats.connected) return [];
  const { state, failingSinceMs: sinceMs, reason, detail } = standby;
  if (nowMs - sinceMs <= outageAfterMs) return [];
  const what =
    state === 'alone' ? 'this daemon works without a lease, so none stands by for it' : 'the lease cannot be looked at';
  return [{ kind: 'outage', reason, sinceMs, text: because(what, reason, detail) }];
}

/** A peer that never came has taught us no links, so that no lane tells of it. */
function peerProblems({ peers, nowMs }: DaemonStatus): HealthProblem[] {
  return peers.flatMap((status): HealthProblem[] => {
    const { peer, connected, reason, detail, sinceMs } = status;
    const found = (kind: HealthProblem['kind'], what: string): HealthProblem[] => [
      { kind, peer, reason, sinceMs, text: because(what, reason, detail) },
    ];
    if (connected) return reason === 'name-taken' ? found('name-taken', `the name ${peer} is in use twice`) : [];
    const heldMs = nowMs - sinceMs;
    const parked = isParked(status);
    if (!parked && (isAway(status) || heldMs <= outageAfterMs)) return [];
    return found(parked ? 'parked' : 'outage', `peer ${peer} is not connected for ${formatDuration(heldMs)}`);
  });
}

function because(what: string, reason: Reason | undefined, detail: string | undefined): string {
  const why = [reason, detail].filter((part) => part !== undefined && part !== '').join(', ');
  return why === '' ? what : `${what}: ${why}`;
}
