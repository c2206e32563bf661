import { createHash } from 'node:crypto';
import { formatBytes, formatDuration } from '../lib/format.ts';
import { foldLanes, foldLinks, foldPeers, isAway } from './fleet.ts';
import { type HealthProblem, healthz } from './health.ts';
import { escapeHtml, table } from './html.ts';
import { pageScript, pageStyle } from './page-assets.ts';
import { groupRow, laneRow, linkRow, peerRow, type Tone } from './page-rows.ts';
import { pendingText } from './peer-text.ts';
import type { DaemonStatus, LaneStatus, NatsStatus, PeerStatus, StandbyStatus } from './status.ts';

/** Of more problems than this the rest is folded away. */
const mostProblems = 20;

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
  const peers = foldPeers(status);
  const lanes = foldLanes(status);
  const links = foldLinks(status);
  const away = new Set(status.peers.filter(isAway).map(({ peer }) => peer));
  const laneRows = (some: readonly LaneStatus[]): string[][] =>
    some.map((lane) => laneRow(lane, status, away.has(lane.peer)));
  const peerRows = (some: readonly PeerStatus[]): string[][] => some.map((peer) => peerRow(peer, status));
  return [
    header(status),
    ...fileBanners(status),
    problems(status),
    ...(status.groups.length === 0
      ? []
      : [
          table({
            title: 'Groups',
            columns: ['group', 'expected', 'seen', 'connected', 'never seen'],
            rows: status.groups.map(groupRow),
          }),
        ]),
    table({
      title: 'Lanes',
      columns: ['lane', 'state', 'since', 'lag', 'stored', 'records', 'in flight'],
      rows: laneRows(lanes.shown),
      rest: { rows: laneRows(lanes.rest), summary: lanes.summary },
    }),
    table({
      title: 'Peers',
      columns: ['peer', 'state', 'since', 'last seen', 'round trip', 'runs'],
      rows: peerRows(peers.shown),
      rest: { rows: peerRows(peers.rest), summary: peers.summary },
    }),
    table({
      title: 'Links',
      columns: ['link', 'declared by', 'with', 'verdict'],
      rows: links.shown.map(linkRow),
      rest: { rows: links.rest.map(linkRow), summary: links.summary },
    }),
    `<footer>As of ${new Date(status.nowMs).toISOString()} · <a href="/statusz">statusz</a> · <a href="/metrics">metrics</a> · <a href="/healthz?verbose">healthz</a></footer>`,
  ].join('\n');
}

function header(status: DaemonStatus): string {
  const { file } = status;
  const facts = [
    status.software,
    `node ${status.node}`,
    `up ${formatDuration(status.nowMs - status.startedAtMs)}`,
    natsWords('NATS', status.nats),
    ...status.served.map((served) => `serves ${served.cluster}, ${natsWords('its NATS', served)}`),
    status.listen === undefined ? 'only dials' : `listens on ${status.listen}`,
    `file ${file.path}, generation ${file.generation}, loaded ${formatDuration(status.nowMs - file.loadedAtMs)} ago`,
    `${formatBytes(status.memory.rssBytes)} resident`,
    `records ${formatBytes(status.memory.usedBytes)} of ${formatBytes(status.memory.budgetBytes)}`,
    ...(status.draining ? ['draining'] : []),
    ...(status.standby === undefined ? [] : [standbyWords(status.standby)]),
  ];
  return `<header><h1>${escapeHtml(status.cluster)}</h1><p>${facts.map(escapeHtml).join(' · ')}</p></header>`;
}

function standbyWords({ state, holder }: StandbyStatus): string {
  if (state === 'standby') return `standby, ${holder ?? 'nobody that is known'} is active`;
  return state === 'active' ? 'active' : 'active without a lease';
}

function natsWords(name: string, nats: NatsStatus): string {
  if (!nats.connected) return `${name} away${nats.reason === undefined ? '' : `: ${nats.reason}`}`;
  return `${name} ${nats.version ?? ''}${nats.embedded ? ' (embedded)' : ''}`;
}

/** What runs is not what the file says. */
function fileBanners({ file }: DaemonStatus): string[] {
  const { error, pending, generation } = file;
  const banner = (tone: Tone, text: string): string => `<p class="verdict ${tone}">${escapeHtml(text)}</p>`;
  return [
    ...(error === undefined
      ? []
      : [banner('bad', `The topology file cannot be used; generation ${generation} runs on. ${error}`)]),
    ...(pending === undefined ? [] : [banner('busy', pendingText(pending))]),
  ];
}

function problems(status: DaemonStatus): string {
  const health = healthz(status);
  if (health.ok) return '<p class="verdict good">Healthy</p>';
  // The file has its banner.
  const others = health.problems.filter(({ kind }) => kind !== 'topology');
  if (others.length === 0) return '';
  const list = (some: readonly HealthProblem[]): string =>
    `<ul class="verdict bad">${some.map(({ text }) => `<li>${escapeHtml(text)}</li>`).join('')}</ul>`;
  const [first, rest] = [others.slice(0, mostProblems), others.slice(mostProblems)];
  if (rest.length === 0) return list(first);
  return `${list(first)}<details id="problems-rest"><summary>and ${rest.length} more</summary>${list(rest)}</details>`;
}

function hashSource(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
