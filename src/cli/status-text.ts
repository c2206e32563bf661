import { formatCount, formatDuration, orUnknown } from '../lib/format.ts';
import type { Health } from '../ops/health.ts';
import { lagText } from '../ops/lag-text.ts';
import type { DaemonStatus, LaneStatus, LinkStatus, PeerStatus } from '../ops/status.ts';
import { printable, renderTable } from './table.ts';

/** A status for a terminal: the daemon, its peers, its lanes, links that were refused, and the verdict. */
export function renderStatus(status: DaemonStatus, health: Health): string {
  const { nowMs } = status;
  const refused = status.links.filter(({ accepted }) => !accepted);
  return [
    `${daemonLines(status)}\n`,
    status.peers.length === 0
      ? 'no peers\n'
      : renderTable(
          ['PEER', 'STATE', 'SINCE', 'RTT', 'CLOCK', 'SOFTWARE', 'NEXT TRY', 'REASON'],
          status.peers.map((peer) => peerRow(peer, nowMs)),
        ),
    status.lanes.length === 0
      ? 'no lanes\n'
      : renderTable(
          ['LANE', 'ROLE', 'STATE', 'SINCE', 'LAG', 'STORED', 'RECORDS', 'DUPLICATES', 'LOST', 'NEXT TRY', 'REASON'],
          status.lanes.map((lane) => laneRow(lane, nowMs)),
        ),
    ...(refused.length === 0
      ? []
      : [renderTable(['REFUSED LINK', 'DECLARED BY', 'WITH', 'REASON'], refused.map(linkRow))]),
    health.ok ? 'healthy\n' : `unhealthy:\n${health.problems.map(({ text }) => `  ${printable(text)}\n`).join('')}`,
  ].join('\n');
}

function daemonLines(status: DaemonStatus): string {
  const { nats, nowMs, file } = status;
  const sinceNats = formatDuration(nowMs - nats.sinceMs);
  const server = [nats.server, nats.version, nats.embedded ? 'embedded' : undefined].filter(
    (part) => part !== undefined,
  );
  const rows: [string, string][] = [
    ['cluster', `${status.cluster} (node ${status.node}, ${status.software})`],
    ['up', `${formatDuration(nowMs - status.startedAtMs)}${status.draining ? ', draining' : ''}`],
    ['topology', `${file.path} (generation ${file.generation}, hash ${file.hash.slice(0, 12)})`],
    ['peer port', listening(status)],
    [
      'nats',
      nats.connected
        ? `connected for ${sinceNats}${server.length === 0 ? '' : ` (${server.join(', ')})`}`
        : `away for ${sinceNats}${because(nats)}`,
    ],
  ];
  return rows.map(([name, text]) => `${name.padEnd(10)} ${printable(text)}`).join('\n');
}

function listening({ listen, ready }: DaemonStatus): string {
  if (listen === undefined) return 'none, only dials';
  return ready ? listen : `${listen}, not listening yet`;
}

function peerRow(peer: PeerStatus, nowMs: number): string[] {
  const { connected } = peer;
  // Round trip and clock of a peer that is away belong to the past.
  const measured = (ms: number | undefined): string =>
    connected ? orUnknown(ms, (known) => `${known.toFixed(1)}ms`) : '';
  return [
    peer.peer,
    connected ? 'connected' : 'disconnected',
    formatDuration(nowMs - peer.sinceMs),
    measured(peer.rttMs),
    measured(peer.clockOffsetMs),
    orUnknown(peer.software, String),
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
    words(lane),
  ];
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
