import { describe, expect, it } from 'vitest';
import type { GroupPlan, LinkPlan, PeerPlan, Plan } from './plan.ts';
import type { Problem } from './problem.ts';
import { drawSvg, graphFormats, renderGraph } from './render-graph.ts';

function plan(cluster: string, more: Partial<Plan> = {}): Plan {
  return {
    ...{ cluster, trustDomain: 'acme', tls: { cert: 'a', key: 'b', ca: 'c' }, nats: { servers: ['nats://n'] } },
    ...{ monitor: { host: '127.0.0.1', port: 0 }, peers: [], groups: [], links: [], grants: [] },
    ...{ file: `/x/${cluster}.yaml`, hash: 'h' },
    ...more,
  };
}

const peer = (cluster: string, dial = false): PeerPlan => ({ cluster, dial: dial ? [{ host: cluster, port: 1 }] : [] });

function link(
  name: string,
  kind: LinkPlan['kind'],
  from: readonly string[],
  to: readonly string[],
  stream = 'S',
): LinkPlan {
  const subject = kind === 'fan-in' ? 'all.{origin}.{subject}' : '{subject}';
  return { name, kind, from: { clusters: from, stream }, to: { clusters: to, stream, subject }, origins: [] };
}

const edges: GroupPlan = { name: 'edges', match: 'edge-*', except: [], expect: 40 };
const sites = Array.from({ length: 12 }, (_, i) => `site-${i}`);
const all: readonly Plan[] = [
  plan('hub', {
    listen: { host: '0.0.0.0', port: 7443 },
    peers: [...sites.map((site) => peer(site)), peer('alone', true)],
    groups: [edges],
    links: [
      link('telemetry', 'fan-in', ['edges', ...sites], ['hub']),
      link('firmware', 'fan-out', ['hub'], ['edges']),
      link('orders', 'replicate', ['hub', 'site-0'], ['hub', 'site-0']),
    ],
  }),
  plan('site-0', { peers: [peer('hub', true)] }),
];
const problem: Problem = { severity: 'error', file: '/x/hub.yaml', message: 'this is <wrong> & "odd"', fix: 'mend it' };

describe('svg', () => {
  it('draws every box and line once, and the same each time', async () => {
    const svg = await drawSvg(all, []);
    expect(await drawSvg(all.toReversed(), [])).toBe(svg);
    // Fan-in: 13 sources and the sink; fan-out and replicate: two halves each; one connection without a link.
    expect(svg.match(/<path class="line s-fan-in"/g)).toHaveLength(14 + 1);
    expect(svg.match(/<path class="line s-fan-out"/g)).toHaveLength(2 + 1);
    expect(svg.match(/<path class="line s-replicate"/g)).toHaveLength(2 + 1);
    expect(svg.match(/<path class="connection/g)).toHaveLength(1 + 1);
    expect(svg.match(/class="f-replicate" d=/g), 'a head at each end').toHaveLength(2 + 2);
    for (const words of ['edge-* · 40 expected', 'listens on :7443', 'no file given', 'as all.{origin}.{subject}'])
      expect(svg).toContain(`>${words}</text>`);
  });

  it('stands alone: well formed, with a title, for both schemes, and loads nothing', async () => {
    const svg = await drawSvg(all, [problem], 'A <title> & "more"');
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox="0 0 [\d.]+ [\d.]+" width="[\d.]+"/);
    expect(svg).toContain('<title>A &lt;title&gt; &amp; &quot;more&quot;</title>');
    expect(svg).toContain('@media (prefers-color-scheme: dark)');
    expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.toMatch(
      /https?:|url\(|href|@import|<script|NaN|undefined/,
    );
    expect(openTags(svg)).toEqual([]);
  });

  it('shows problems by number, in the tooltip and in full', async () => {
    const svg = await drawSvg(all, [problem]);
    expect(svg).toContain('1: /x/hub.yaml: this is &lt;wrong&gt; &amp; &quot;odd&quot;. mend it</title>');
    expect(svg).toContain('>/x/hub.yaml: this is &lt;wrong&gt; &amp; &quot;odd&quot;. mend it</text>');
    expect(svg.match(/>1<\/text>/g), 'at the cluster and in the list').toHaveLength(2);
  });

  it('draws the arrow towards the sink and the ring at the end that dials', async () => {
    const svg = await drawSvg([plan('a', { peers: [peer('b')], links: [link('up', 'fan-out', ['a'], ['b'])] })], []);
    const drawn = svg.slice(0, svg.indexOf('this cluster dials'));
    const half = (about: string): string[] =>
      drawn.split('<g>').filter((part) => part.startsWith(`<title>${about}</title><path`));
    const [source = '', sink = ''] = half('a to b');
    expect([source.includes('f-fan-out'), source.includes('ring')]).toEqual([false, false]);
    expect([sink.includes('f-fan-out'), sink.includes('ring')]).toEqual([true, true]);
  });

  it('draws what is empty', async () => {
    expect(await drawSvg([plan('hub')], [])).toContain('>hub</text>');
  });
});

/** Tags of a text that are never closed, or closed in the wrong order. */
function openTags(xml: string): string[] {
  const open: string[] = [];
  for (const [, closing, name, empty] of xml.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (closing === '') {
      if (empty === '') open.push(name!);
    } else if (open.pop() !== name) return [`</${name}>`];
  }
  return open;
}

const odd = 'S<&>"\\N#`日';
const oddly: readonly Plan[] = [
  plan('end', { peers: [peer('graph')], links: [link('subgraph', 'fan-in', ['graph'], ['end'], odd)] }),
];

describe('names that mean something to a drawing language', () => {
  it('stay text in dot, which Graphviz reads', async () => {
    const dot = await renderGraph('dot', oddly, []);
    expect(dot).toContain('S&lt;&amp;&gt;&quot;\\N#`日</FONT>');
    expect(dot).toContain('S<&>\\"\\\\N#`日');
    // Graphviz takes it: it lays out the drawing.
    expect(await drawSvg(oddly, [])).toContain('>S&lt;&amp;&gt;&quot;\\N#`日</text>');
  });

  it('stay text in mermaid', async () => {
    const mermaid = await renderGraph('mermaid', oddly, [], 'A "title": #1');
    expect(mermaid).toMatch(/^---\ntitle: "A \\"title\\": #1"\n---\nflowchart LR\n/);
    expect(mermaid).toContain('n0["end<br/>streams: S#60;#38;#62;#34;#92;N#35;#96;日"]');
    // Ids are ours: `end` and `graph` are words of the language.
    expect(mermaid).toContain('  n1 --- l0\n  l0 --> n0\n');
  });
});

it('mermaid has every node and line, in the direction of the records', async () => {
  const mermaid = await renderGraph('mermaid', all, [problem]);
  const lines = mermaid.split('\n').filter((line) => / (---|-->|<-->|-\.-) /.test(line));
  expect(lines).toHaveLength(14 + 2 + 2 + 1);
  expect(lines.filter((line) => line.includes(' --> '))).toEqual(['  l0 --> n2', '  l1 --> n1']);
  expect(lines).toContain('  n1 --- l0');
  expect(lines).toContain('  n2 --- l1');
  expect(lines.filter((line) => line.includes(' <--> '))).toHaveLength(2);
  expect(mermaid).toContain('[["edges<br/>edge-#42; · 40 expected<br/>dials hub<br/>streams: S"]]');
  expect(mermaid).toContain('classDef faulty');
});

it('json is the graph', async () => {
  const graph = JSON.parse(await renderGraph('json', all, [problem]));
  expect(Object.keys(graph)).toEqual(['version', 'nodes', 'edges', 'connections', 'problems']);
  expect(graph.version).toBe(1);
  expect(graph.problems).toEqual([problem]);
  expect(graph.nodes.find((node: { id: string }) => node.id === 'hub').problems).toEqual([0]);
});

it.each(graphFormats)('%s ends with a line break and is the same twice', async (format) => {
  const text = await renderGraph(format, all, [problem]);
  expect(text.endsWith('\n') && !text.endsWith('\n\n')).toBe(true);
  expect(await renderGraph(format, all, [problem])).toBe(text);
});
