import { formatCount, formatDuration, orUnknown } from '../lib/format.ts';
import { foldLanes, foldPeers } from '../ops/fleet.ts';
import type { Health } from '../ops/health.ts';
import { lagText } from '../ops/lag-text.ts';
import { answeredText, lastSeenText, neverSeenText, pendingText } from '../ops/peer-text.ts';
import type {
  DaemonStatus,
  GroupStatus,
  LaneStatus,
  LinkStatus,
  NatsStatus,
  PeerStatus,
  StandbyStatus,
} from '../ops/status.ts';
import { printable, renderTable } from './table.ts';

/** Of more problems than this, or names of members, the rest is counted. */
const most = 20;

export interface StatusTextOptions {
  /** Everything, also of long lists what is in order. */
  readonly all?: boolean;
}

/** A status for a terminal: the daemon, its groups, peers and lanes, links that were refused, and the verdict. */
export function renderStatus(status: DaemonStatus, health: Health, options: StatusTextOptions = {}): string {
  const { nowMs, groups } = status;
  const { all = false } = options;
  const refused = status.links.filter(({ accepted }) => !accepted);
  const peers = all ? { shown: status.peers, summary: '' } : foldPeers(status);
  const lanes = all ? { shown: status.lanes, summary: '' } : foldLanes(status);
  return [
    `${daemonLines(status)}\n`,
    ...(groups.length === 0
      ? []
      : [
          renderTable(
            ['GROUP', 'MATCH', 'EXPECTED', 'SEEN', 'CONNECTED', 'NEVER SEEN'],
            groups.map((group) => groupRow(group, all)),
          ),
        ]),
    list(
      'peers',
      ['PEER', 'GROUP', 'STATE', 'SINCE', 'LAST SEEN', 'RTT', 'CLOCK', 'SOFTWARE', 'ANSWERED', 'NEXT TRY', 'REASON'],
      peers.shown.map((peer) => peerRow(peer, status)),
      peers.summary,
    ),
    list(
      'lanes',
      ['LANE', 'ROLE', 'STATE', 'SINCE', 'LAG', 'STORED', 'RECORDS', 'DUPLICATES', 'LOST', 'NEXT TRY', 'REASON'],
      lanes.shown.map((lane) => laneRow(lane, nowMs)),
      lanes.summary,
    ),
    ...(refused.length === 0
      ? []
      : [renderTable(['REFUSED LINK', 'DECLARED BY', 'WITH', 'REASON'], refused.map(linkRow))]),
    verdict(health, all),
  ].join('\n');
}

/** A table, and what was left out of it. */
function list(what: string, columns: readonly string[], rows: readonly (readonly string[])[], summary: string): string {
  const left = summary === '' ? '' : `${what} in order: ${summary} (--all shows them)\n`;
  if (rows.length > 0) return `${renderTable(columns, rows)}${left}`;
  return left === '' ? `no ${what}\n` : left;
}

function verdict({ ok, problems }: Health, all: boolean): string {
  if (ok) return 'healthy\n';
  const shown = all ? problems : problems.slice(0, most);
  const left = problems.length - shown.length;
  const lines = shown.map(({ text }) => `  ${printable(text)}\n`);
  return `unhealthy:\n${lines.join('')}${left === 0 ? '' : `  and ${left} more (--all shows them)\n`}`;
}

function daemonLines(status: DaemonStatus): string {
  const { nats, nowMs, file } = status;
  const rows: readonly (readonly [string, string])[] = [
    ['cluster', `${status.cluster} (node ${status.node}, ${status.software})`],
    ['up', `${formatDuration(nowMs - status.startedAtMs)}${status.draining ? ', draining' : ''}`],
    ['topology', `${file.path} (generation ${file.generation}, hash ${file.hash.slice(0, 12)}${loaded(status)})`],
    ...(file.error === undefined ? [] : ([['bad file', file.error]] as const)),
    ...(file.pending === undefined ? [] : ([['pending', pendingText(file.pending)]] as const)),
    ...(status.standby === undefined ? [] : ([['role', standbyText(status.standby, nowMs)]] as const)),
    ['peer port', listening(status)],
    ['nats', natsText(nats, nowMs)],
    ...status.served.map((one) => ['serves', `${one.cluster}, its nats ${natsText(one, nowMs)}`] as const),
  ];
  return rows.map(([name, text]) => `${name.padEnd(10)} ${printable(text)}`).join('\n');
}

/** Which of several daemons this is. */
function standbyText({ state, sinceMs, holder, reason, detail }: StandbyStatus, nowMs: number): string {
  const since = formatDuration(nowMs - sinceMs);
  const why = because({ reason, detail });
  if (state === 'active') return `active for ${since}${why}`;
  if (state === 'alone') return `active for ${since}, without a lease${why}`;
  return `standing by for ${since}, ${holder === undefined ? 'no active daemon is known' : `${holder} is active`}${why}`;
}

/** When a plan was loaded that is not the one of the start. */
function loaded({ file, nowMs }: DaemonStatus): string {
  return file.generation === 1 ? '' : `, loaded ${formatDuration(nowMs - file.loadedAtMs)} ago`;
}

function natsText(nats: NatsStatus, nowMs: number): string {
  const since = formatDuration(nowMs - nats.sinceMs);
  if (!nats.connected) return `away for ${since}${because(nats)}`;
  const server = [nats.server, nats.version, nats.embedded ? 'embedded' : undefined].filter(
    (part) => part !== undefined,
  );
  return `connected for ${since}${server.length === 0 ? '' : ` (${server.join(', ')})`}`;
}

function listening({ listen, ready }: DaemonStatus): string {
  if (listen === undefined) return 'none, only dials';
  return ready ? listen : `${listen}, not listening yet`;
}

function groupRow(group: GroupStatus, all: boolean): string[] {
  return [
    group.group,
    group.match,
    group.expected === undefined ? 'not said' : formatCount(group.expected),
    orUnknown(group.seen, formatCount),
    formatCount(group.connected),
    neverSeenText(group, all ? Number.POSITIVE_INFINITY : most),
  ];
}

function peerRow(peer: PeerStatus, status: DaemonStatus): string[] {
  const { nowMs } = status;
  const { connected } = peer;
  // Round trip and clock of a peer that is away belong to the past.
  const measured = (ms: number | undefined): string =>
    connected ? orUnknown(ms, (known) => `${known.toFixed(1)}ms`) : '';
  return [
    peer.peer,
    peer.group ?? '',
    connected ? 'connected' : 'disconnected',
    formatDuration(nowMs - peer.sinceMs),
    connected ? '' : lastSeenText(peer, nowMs),
    measured(peer.rttMs),
    measured(peer.clockOffsetMs),
    connected ? orUnknown(peer.software, String) : '',
    answeredText(peer, status),
    nextTry(peer.nextTryMs, nowMs),
    words(peer),
  ];
}

function laneRow(lane: LaneStatus, nowMs: number): string[] {
  return [
    lane.lane,
    lane.role,
    lane.state,
    formatDuration(nowMs - lane.sinceMs),
    lagText(lane, nowMs),
    orUnknown(lane.storedSequence, formatCount),
    formatCount(lane.recordsTotal),
    formatCount(lane.duplicatesTotal),
    formatCount(lane.lostTotal),
    nextTry(lane.nextTryMs, nowMs),
    [words(lane), sourcedText(lane)].filter((text) => text !== '').join('; '),
  ];
}

/** What is left out on purpose is said all the same: the stream may be fed that way. */
function sourcedText({ sourcedDropsTotal: count }: LaneStatus): string {
  return count === 0 ? '' : `${formatCount(count)} that JetStream copied left out (sourced)`;
}

function linkRow(link: LinkStatus): string[] {
  return [link.link, link.declaredBy, link.peer, words(link)];
}

function nextTry(atMs: number | undefined, nowMs: number): string {
  if (atMs === undefined) return '';
  return atMs <= nowMs ? 'now' : `in ${formatDuration(atMs - nowMs)}`;
}

interface Because {
  readonly reason?: string;
  readonly detail?: string;
}

function words({ reason, detail }: Because): string {
  return [reason, detail].filter((part) => part !== undefined && part !== '').join(': ');
}

function because(why: Because): string {
  const text = words(why);
  return text === '' ? '' : `: ${text}`;
}
