import { formatCount, formatDuration } from '../lib/format.ts';
import { isReason, type Reason, reasons } from '../wire/reasons.ts';
import type { DaemonStatus, LaneStatus, PeerStatus } from './status.ts';

/** A lane with a backlog and no progress for this long is stuck, whatever its connection says. */
export const stuckAfterMs = 2 * 60_000;
/** A lane, a peer or the own cluster may be blocked or disconnected for this long before it counts. */
export const outageAfterMs = 2 * 60_000;

/** Why a daemon is not healthy, one value per cause. `text` says it in one line. */
export interface HealthProblem {
  readonly kind: 'stuck' | 'parked' | 'link-conflict' | 'gap' | 'outage' | 'refused';
  readonly lane?: string;
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

/** Names of all links this daemon knows, sorted. */
export function knownLinks(status: Pick<DaemonStatus, 'links' | 'lanes'>): readonly string[] {
  return [...new Set([...status.links, ...status.lanes].map(({ link }) => link))].sort();
}

/**
 * The one to alert on: progress against backlog. With `link`, only what concerns this link; the caller checks that the
 * link is known.
 */
export function healthz(status: DaemonStatus, filter: { readonly link?: string } = {}): Health {
  const concerns = (item: { readonly link: string }): boolean => filter.link === undefined || item.link === filter.link;
  const problems: HealthProblem[] = [];
  if (filter.link === undefined) problems.push(...ownClusterProblems(status), ...peerProblems(status));
  for (const { link, peer, accepted, reason, detail } of status.links.filter(concerns)) {
    if (accepted) continue;
    problems.push({ kind: 'refused', link, peer, reason, text: because(`link ${link} is refused`, reason, detail) });
  }
  for (const lane of status.lanes.filter(concerns)) {
    const problem = laneProblem(lane, status);
    if (problem !== undefined) problems.push(problem);
  }
  return { ok: problems.length === 0, problems };
}

function laneProblem(lane: LaneStatus, status: DaemonStatus): HealthProblem | undefined {
  const { lane: id, link, peer, reason, detail, sinceMs } = lane;
  const found = (kind: HealthProblem['kind'], what: string): HealthProblem => ({
    kind,
    lane: id,
    link,
    peer,
    reason,
    sinceMs,
    text: because(`lane ${id} ${what}`, reason, detail),
  });
  const heldMs = status.nowMs - sinceMs;
  switch (lane.state) {
    case 'parked':
      return found('parked', 'is parked');
    case 'link-conflict':
      return found('link-conflict', 'is in conflict');
    case 'gap':
      return found('gap', 'has lost records');
    case 'blocked':
    case 'disconnected':
      if (heldMs > outageAfterMs) return found('outage', `is ${lane.state} for ${formatDuration(heldMs)}`);
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
  const stalledMs = stalledFor(lane, status);
  if (stalledMs === undefined || stalledMs <= stuckAfterMs) return undefined;
  const backlog = formatCount(lane.lagRecords ?? 0);
  return found('stuck', `has ${backlog} records to go and made no progress for ${formatDuration(stalledMs)}`);
}

/** How long a backlog has been waiting without progress; undefined without a known backlog. */
function stalledFor(lane: LaneStatus, status: DaemonStatus): number | undefined {
  if (lane.lagRecords === undefined || lane.lagRecords <= 0) return undefined;
  const beganMs = lane.backlogSinceMs ?? status.startedAtMs;
  return status.nowMs - Math.max(beganMs, lane.progressAtMs ?? beganMs);
}

/** Without a lane nobody else would notice that the own cluster is away: learned links live in it. */
function ownClusterProblems({ nats, nowMs, cluster }: DaemonStatus): HealthProblem[] {
  const heldMs = nowMs - nats.sinceMs;
  if (nats.connected || heldMs <= outageAfterMs) return [];
  const what = `the NATS servers of ${cluster} are away for ${formatDuration(heldMs)}`;
  return [
    { kind: 'outage', reason: nats.reason, sinceMs: nats.sinceMs, text: because(what, nats.reason, nats.detail) },
  ];
}

/** A peer that never came has taught us no links, so that no lane tells of it. */
function peerProblems({ peers, nowMs }: DaemonStatus): HealthProblem[] {
  const problems: HealthProblem[] = [];
  for (const peer of peers) {
    const heldMs = nowMs - peer.sinceMs;
    const parked = isParked(peer);
    if (peer.connected || !(parked || heldMs > outageAfterMs)) continue;
    problems.push({
      kind: parked ? 'parked' : 'outage',
      peer: peer.peer,
      reason: peer.reason,
      sinceMs: peer.sinceMs,
      text: because(`peer ${peer.peer} is not connected for ${formatDuration(heldMs)}`, peer.reason, peer.detail),
    });
  }
  return problems;
}

function isParked({ reason }: PeerStatus): boolean {
  // A status may come from a daemon of another version, with a reason that this one does not know.
  return reason !== undefined && isReason(reason) && reasons[reason].retry === 'park';
}

function because(what: string, reason: Reason | undefined, detail: string | undefined): string {
  const why = [reason, detail].filter((part) => part !== undefined && part !== '').join(', ');
  return why === '' ? what : `${what}: ${why}`;
}
