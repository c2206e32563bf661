import { formatBytes, formatCount, formatDuration, orUnknown } from '../lib/format.ts';
import { isAway } from './fleet.ts';
import { escapeHtml } from './html.ts';
import { lagText } from './lag-text.ts';
import { answeredText, lastSeenText, neverSeenText } from './peer-text.ts';
import type { DaemonStatus, GroupStatus, LaneState, LaneStatus, LinkStatus, PeerStatus } from './status.ts';

/** Of more names than this the rest is counted. */
const mostNames = 20;

/** How a state looks. */
export type Tone = 'good' | 'busy' | 'bad' | 'off';

const tones: Readonly<Record<LaneState, Tone>> = {
  starting: 'busy',
  'catching-up': 'busy',
  live: 'good',
  blocked: 'bad',
  draining: 'busy',
  disconnected: 'bad',
  gap: 'bad',
  parked: 'bad',
  'link-conflict': 'bad',
  stopped: 'off',
};

/** Cells of a group. */
export function groupRow(group: GroupStatus): string[] {
  return [
    `${escapeHtml(group.group)} <small>${escapeHtml(group.match)}</small>`,
    group.expected === undefined ? 'not said' : formatCount(group.expected),
    orUnknown(group.seen, formatCount),
    formatCount(group.connected),
    escapeHtml(neverSeenText(group, mostNames)),
  ];
}

/** Cells of a lane. `away`: its peer is a member of a group that is not there. */
export function laneRow(lane: LaneStatus, { nowMs }: DaemonStatus, away: boolean): string[] {
  // That a device is away is no alarm; what is parked or lost stays one.
  const tone = away && lane.state === 'disconnected' ? 'off' : tones[lane.state];
  return [
    `${escapeHtml(lane.lane)} <small>${lane.role === 'sender' ? 'out' : 'in'}</small>`,
    stateCell(tone, lane.state, lane, nowMs),
    ago(lane.sinceMs, nowMs),
    escapeHtml(lagText(lane, nowMs)),
    orUnknown(lane.storedSequence, formatCount),
    formatCount(lane.recordsTotal),
    orUnknown(lane.inflightBytes, formatBytes),
  ];
}

const directions: Readonly<Record<PeerStatus['direction'], string>> = {
  'we-dial': 'we dial',
  'dials-us': 'dials us',
  'served-here': 'served here',
};

/** Cells of a peer. */
export function peerRow(peer: PeerStatus, status: DaemonStatus): string[] {
  const { nowMs } = status;
  const { connected, group, direction, file, generation } = peer;
  const about = [...(group === undefined ? [] : [`of ${group}`]), directions[direction]].join(' · ');
  const answered = answeredText(peer, status);
  const runs =
    file === undefined ? '' : `<small>${escapeHtml(file)}, generation ${orUnknown(generation, String)}</small>`;
  const behind = answered === '' ? '' : `<small class="busy">has answered our file: ${answered}</small>`;
  return [
    `${escapeHtml(peer.peer)} <small>${escapeHtml(about)}</small>`,
    stateCell(peerTone(peer), connected ? 'connected' : 'disconnected', peer, nowMs),
    ago(peer.sinceMs, nowMs),
    connected ? 'now' : lastSeenText(peer, nowMs),
    orUnknown(peer.rttMs, (ms) => `${ms.toFixed(1)} ms`),
    `${escapeHtml(orUnknown(peer.software, String))}${runs}${behind}`,
  ];
}

function peerTone(peer: PeerStatus): Tone {
  if (peer.connected) return peer.reason === undefined ? 'good' : 'bad';
  return isAway(peer) ? 'off' : 'bad';
}

/** Cells of a link. */
export function linkRow(link: LinkStatus): string[] {
  const state = link.accepted ? 'accepted' : 'refused';
  return [
    escapeHtml(link.link),
    escapeHtml(link.declaredBy),
    escapeHtml(link.peer),
    stateCell(link.accepted ? 'good' : 'bad', state, link),
  ];
}

interface Because {
  readonly reason?: string;
  readonly detail?: string;
  readonly nextTryMs?: number;
}

function stateCell(tone: Tone, state: string, why: Because, nowMs = 0): string {
  const next =
    why.nextTryMs === undefined ? undefined : `next try in ${formatDuration(Math.max(0, why.nextTryMs - nowMs))}`;
  const notes = [why.reason, why.detail, next].filter((note) => note !== undefined && note !== '');
  const small = notes.length === 0 ? '' : `<small>${notes.map((note) => escapeHtml(String(note))).join(' · ')}</small>`;
  return `<span class="state ${tone}">${escapeHtml(state)}</span>${small}`;
}

function ago(sinceMs: number, nowMs: number): string {
  return formatDuration(nowMs - sinceMs);
}
