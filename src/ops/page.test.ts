import { describe, expect, it } from 'vitest';
import {
  daemonStatus,
  fleetStatus,
  groupStatus,
  laneStatus,
  nowMs,
  peerStatus,
} from '../../test/support/daemon-status.ts';
import { renderPage } from './page.ts';
import { pageScript, pageStyle } from './page-assets.ts';

/** The inside of `main`: what changes. */
function main(change: Parameters<typeof daemonStatus>[0] = {}): string {
  return mainOf(renderPage(daemonStatus(change)));
}

function mainOf(page: string): string {
  return page.slice(page.indexOf('<main>'), page.indexOf('</main>'));
}

/** Text of each cell in the row of a name, by the names of the columns. */
function cells(html: string, name: string): Record<string, string> {
  const row = html.split('<tr>').find((part) => part.includes(`>${name} <small>`));
  const found = [...(row ?? '').matchAll(/<td data-label="([^"]+)">(.*?)<\/td>/g)];
  return Object.fromEntries(found.map(([, label, text = '']) => [label, text.replace(/<[^>]*>/g, '|')]));
}

describe('the page', () => {
  const { file } = daemonStatus();

  it('has a banner for a file that cannot be used, which it escapes, and one for options that wait', () => {
    const html = main({
      file: { ...file, generation: 3, error: 'hub.yaml:1:1: <b>. Fix it', pending: ['nats', 'tls'] },
    });
    expect(html).toContain(
      '<p class="verdict bad">The topology file cannot be used; generation 3 runs on. hub.yaml:1:1: &lt;b&gt;. Fix it</p>',
    );
    expect(html).toContain('<p class="verdict busy">nats, tls changed in the file; takes effect');
    expect(html).not.toContain('Healthy');
    expect(html.split('cannot be used')).toHaveLength(2);
    expect(main()).not.toContain('cannot be used');
    expect(main({ file: { ...file, pending: ['nats'] } })).toContain('Healthy');
  });

  it('shows groups with who never came', () => {
    const html = main({ groups: [groupStatus({ neverSeen: 2, missing: ['edge-3', 'edge-<9'] })] });
    expect(cells(html, 'edges')).toMatchObject({
      group: 'edges |edge-*|',
      expected: '5',
      seen: '4',
      connected: '3',
      'never seen': '2: edge-3, edge-&lt;9',
    });
    expect(main()).not.toContain('<h2>Groups</h2>');
  });

  it('shows of peers the group, when they were last seen, their file, and whether they know ours', () => {
    const html = main({
      file: { ...file, generation: 3 },
      peers: [
        peerStatus({ peer: 'edge-1', group: 'edges', file: 'edge.yaml', answeredGeneration: 2 }),
        peerStatus({ peer: 'edge-2', group: 'edges', connected: false, lastSeenMs: nowMs - 3 * 3_600_000 }),
        peerStatus({ peer: 'edge-3', group: 'edges', connected: false, lastSeenMs: undefined }),
        peerStatus({ peer: 'berlin', direction: 'served-here', answeredGeneration: 3 }),
      ],
      served: [{ cluster: 'berlin', connected: true, version: '2.11.4', sinceMs: nowMs, embedded: false }],
    });
    expect(cells(html, 'edge-1')).toMatchObject({ peer: 'edge-1 |of edges · dials us|', 'last seen': 'now' });
    expect(cells(html, 'edge-1').runs).toContain('|edge.yaml, generation 2|');
    expect(cells(html, 'edge-1').runs).toContain('|has answered our file: 2 of 3|');
    expect(cells(html, 'edge-2')['last seen']).toBe('3h ago');
    expect(cells(html, 'edge-3')['last seen']).toBe('never');
    expect(cells(html, 'berlin').peer).toBe('berlin |served here|');
    expect(cells(html, 'berlin').runs).not.toContain('answered');
    expect(html).toContain('serves berlin, its NATS 2.11.4');
  });

  it('takes no alarm from a device that is away, and one from a name that is used twice', () => {
    const lane = laneStatus({ lane: 'telemetry/edge-1/hub', peer: 'edge-1', state: 'disconnected', sinceMs: 0 });
    const away = peerStatus({ peer: 'edge-1', group: 'edges', connected: false, sinceMs: 0 });
    const quiet = main({ peers: [away], lanes: [lane] });
    expect(quiet.match(/state off/g)).toHaveLength(2);
    expect(quiet).toContain('Healthy');
    const named = main({ peers: [{ ...away, group: undefined }], lanes: [lane] });
    expect(named.match(/state bad/g)).toHaveLength(2);
    const twice = main({ peers: [peerStatus({ reason: 'name-taken', detail: 'a is connected, b is refused' })] });
    expect(twice).toContain('<span class="state bad">connected</span><small>name-taken · a is connected, b is refused');
  });

  it('folds what is in order of a fleet, under ids by which the script keeps it open', () => {
    const html = mainOf(renderPage(fleetStatus()));
    expect([...html.matchAll(/<details id="([a-z-]+)"><summary>(.*?)<\/summary>/g)].map(([, ...rest]) => rest)).toEqual(
      [
        ['lanes-rest', '80 live, 40 of members that are away'],
        ['peers-rest', '40 connected, 5 never seen'],
        ['links-rest', '40 accepted'],
      ],
    );
    const unfolded = html.replace(/<details.*?<\/details>/gs, '');
    expect(unfolded.match(/>edge-\d+ <small>/g)).toHaveLength(15);
    expect(html.match(/>edge-\d+ <small>/g)).toHaveLength(60);
    expect(html.match(/<tr>/g)!.length).toBeGreaterThan(180);
    expect(main()).not.toContain('<details');
    const lanes = fleetStatus().lanes.map((lane) => ({ ...lane, state: 'parked' as const }));
    expect(renderPage(fleetStatus({ lanes }))).toContain('<details id="problems-rest"><summary>and 100 more</summary>');
    expect(pageScript).toContain("querySelectorAll('details[open]')");
  });

  it('tells both ends of a lane apart', () => {
    const lane = 'orders/hub/berlin';
    const html = main({ lanes: [laneStatus({ lane, role: 'sender' }), laneStatus({ lane, role: 'receiver' })] });
    expect(html).toContain(`${lane} <small>out</small>`);
    expect(html).toContain(`${lane} <small>in</small>`);
  });

  it('closes every tag that it opens, and needs a style for every class', () => {
    const html = renderPage(fleetStatus({ file: { ...file, error: 'x', pending: ['nats'] } }));
    const open: string[] = [];
    for (const [, end, tag = ''] of html
      .replace(/<(style|script)>.*?<\/\1>/gs, '')
      .matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
      if (['meta', 'link', 'br'].includes(tag)) continue;
      if (end === '') open.push(tag);
      else expect(open.pop()).toBe(tag);
    }
    expect(open).toEqual([]);
    const classes = new Set([...html.matchAll(/class="([^"]+)"/g)].flatMap(([, names = '']) => names.split(' ')));
    for (const name of classes) expect(pageStyle).toContain(`.${name}`);
  });
});
