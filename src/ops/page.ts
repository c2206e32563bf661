import { createHash } from 'node:crypto';
import { formatBytes, formatCount, formatDuration, orUnknown } from '../lib/format.ts';
import { healthz } from './health.ts';
import { lagText } from './lag-text.ts';
import { pageScript, pageStyle } from './page-assets.ts';
import type { DaemonStatus, LaneState, LaneStatus, LinkStatus, PeerStatus } from './status.ts';

/** For the page's Content-Security-Policy: its own style and script and nothing else. */
export const pagePolicy = [
  "default-src 'none'",
  `style-src '${hashSource(pageStyle)}'`,
  `script-src '${hashSource(pageScript)}'`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

type Tone = 'good' | 'busy' | 'bad' | 'off';

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

/** The status as a page that needs nothing else; its script fetches it again and swaps what is inside `main`. */
export function renderPage(status: DaemonStatus): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(status.cluster)} · Causeway</title>
<style>${pageStyle}</style>
</head>
<body>
<p id="stale" role="status" hidden></p>
<main>
${renderMain(status)}
</main>
<script>${pageScript}</script>
</body>
</html>
`;
}

function renderMain(status: DaemonStatus): string {
  return [
    header(status),
    problems(status),
    table(
      'Lanes',
      ['lane', 'state', 'since', 'lag', 'stored', 'records', 'in flight'],
      status.lanes.map((l) => laneRow(l, status)),
    ),
    table(
      'Peers',
      ['peer', 'state', 'since', 'round trip', 'software'],
      status.peers.map((peer) => peerRow(peer, status)),
    ),
    table('Links', ['link', 'declared by', 'with', 'verdict'], status.links.map(linkRow)),
    `<footer>As of ${new Date(status.nowMs).toISOString()} · <a href="/statusz">statusz</a> · <a href="/metrics">metrics</a> · <a href="/healthz?verbose">healthz</a></footer>`,
  ].join('\n');
}

function header(status: DaemonStatus): string {
  const { nats, file } = status;
  const natsWords = nats.connected
    ? `NATS ${nats.version ?? ''}${nats.embedded ? ' (embedded)' : ''}`
    : `NATS away${nats.reason === undefined ? '' : `: ${nats.reason}`}`;
  const facts = [
    status.software,
    `node ${status.node}`,
    `up ${formatDuration(status.nowMs - status.startedAtMs)}`,
    natsWords,
    status.listen === undefined ? 'only dials' : `listens on ${status.listen}`,
    `file ${file.path}, generation ${file.generation}`,
    `${formatBytes(status.memory.rssBytes)} resident`,
    ...(status.draining ? ['draining'] : []),
  ];
  return `<header><h1>${escapeHtml(status.cluster)}</h1><p>${facts.map(escapeHtml).join(' · ')}</p></header>`;
}

function problems(status: DaemonStatus): string {
  const health = healthz(status);
  if (health.ok) return '<p class="verdict good">Healthy</p>';
  return `<ul class="verdict bad">${health.problems.map(({ text }) => `<li>${escapeHtml(text)}</li>`).join('')}</ul>`;
}

function laneRow(lane: LaneStatus, { nowMs }: DaemonStatus): string[] {
  return [
    escapeHtml(lane.lane),
    stateCell(tones[lane.state], lane.state, lane, nowMs),
    ago(lane.sinceMs, nowMs),
    escapeHtml(lagText(lane, nowMs)),
    orUnknown(lane.storedSequence, formatCount),
    formatCount(lane.recordsTotal),
    orUnknown(lane.inflightBytes, formatBytes),
  ];
}

function peerRow(peer: PeerStatus, { nowMs }: DaemonStatus): string[] {
  return [
    `${escapeHtml(peer.peer)} <small>${peer.direction === 'we-dial' ? 'we dial' : 'dials us'}</small>`,
    stateCell(peer.connected ? 'good' : 'bad', peer.connected ? 'connected' : 'disconnected', peer, nowMs),
    ago(peer.sinceMs, nowMs),
    orUnknown(peer.rttMs, (ms) => `${ms.toFixed(1)} ms`),
    escapeHtml(orUnknown(peer.software, String)),
  ];
}

function linkRow(link: LinkStatus): string[] {
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

/** The cells are HTML; the column's name goes into each, for narrow screens. */
function table(title: string, columns: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return `<section><h2>${title}</h2><p class="none">none</p></section>`;
  const head = columns.map((column) => `<th scope="col">${column}</th>`).join('');
  const body = rows.map(
    (row) => `<tr>${row.map((cell, i) => `<td data-label="${columns[i]}">${cell}</td>`).join('')}</tr>`,
  );
  return `<section><h2>${title}</h2><table><thead><tr>${head}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></section>`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

function hashSource(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
