import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGraph } from './check.ts';
import { granted, grantsFor } from './grants.ts';
import { lanesOf, linkFromJson, linkHash, linkToJson } from './lanes.ts';
import { loadTopology } from './load.ts';
import type { Grant, LinkPlan, Plan } from './plan.ts';
import { formatProblem } from './problem.ts';

const folder = mkdtempSync(join(tmpdir(), 'causeway-consume-'));
afterAll(() => rmSync(folder, { recursive: true }));

function load(cluster: string, text: string) {
  const file = join(folder, `${cluster}.yaml`);
  writeFileSync(
    file,
    `version: 1\ncluster: ${cluster}\ntrustDomain: acme\ntls: { cert: a, key: b, ca: c }\nnats: { servers: ["nats://n:4222"] }\nlisten: 127.0.0.1:0\n${text}\n`,
  );
  return loadTopology(file);
}

function problemsOf(text: string): string[] {
  const loaded = load('hub', `peers: { a: { dial: ["a:1"] }, b: { dial: ["b:1"] } }\n${text}`);
  const found = loaded.ok ? loaded.warnings : loaded.problems;
  return found.map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''));
}

function planOf(cluster: string, text: string): Plan {
  const loaded = load(cluster, text);
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded.plan;
}

const jobs = '{ kind: fan-in, from: { cluster: a, stream: JOBS, consume: true }, to: { stream: JOBS } }';

describe('a link that drains its source', () => {
  it('is a fan-in that begins at the first record', () => {
    expect(problemsOf(`links: { jobs: ${jobs} }`)).toEqual([]);
    expect(problemsOf(`links: { jobs: ${jobs.replace(/}$/, ', start: all }')} }`)).toEqual([]);
    expect(problemsOf(`links: { jobs: ${jobs.replace(/}$/, ', start: new }')} }`)).toEqual([
      'hub.yaml:8:113: a stream that is drained is carried from its first record on. take "start" out, or write start: all',
    ]);
    const out = '{ kind: fan-out, from: { stream: JOBS, consume: true }, to: { cluster: a, stream: JOBS } }';
    expect(problemsOf(`links: { jobs: ${out} }`)).toEqual([
      'hub.yaml:8:55: "consume" is only for fan-in links. a record is gone once it is acknowledged: use a fan-in link to one cluster, and fan out from there',
    ]);
    expect(problemsOf(`links: { jobs: ${jobs.replace('consume: true', 'consume: false')} }`)).toHaveLength(1);
  });

  it('has its stream for itself', () => {
    const other = jobs.replace('to: { stream: JOBS }', 'to: { stream: OTHER }');
    expect(problemsOf(`links: { jobs: ${jobs}, more: ${other} }`)).toEqual([
      'hub.yaml:8:129: the link "more" drains a/JOBS, which "jobs" drains too. keep one of them, and let links to elsewhere begin at the sink of that one',
    ]);
    expect(problemsOf(`links: { jobs: ${jobs}, more: ${other.replace(', consume: true', '')} }`)).toEqual([
      'hub.yaml:8:129: the link "jobs" drains a/JOBS, which "more" reads too. keep one of them, and let links to elsewhere begin at the sink of that one',
    ]);
    expect(problemsOf(`links: { jobs: ${jobs}, more: ${other.replace('cluster: a', 'cluster: b')} }`)).toEqual([]);
  });

  it('needs a grant of its own, which does for nothing else', () => {
    const hub = planOf('hub', `peers: { a: { dial: ["a:1"] } }\nlinks: { jobs: ${jobs} }`);
    const graph = (grants: string): string[] =>
      checkGraph([hub, planOf('a', `peers: { hub: {} }\ngrants: [${grants}]`)]).map((problem) =>
        formatProblem(problem).replaceAll(`${folder}/`, ''),
      );
    expect(graph('{ to: hub, consume: { stream: JOBS } }')).toEqual([]);
    const missing =
      'hub.yaml:8:10: no grant for jobs/a/hub: a does not let hub consume JOBS. add to the grants in a.yaml: - { to: hub, consume: { stream: JOBS } }';
    expect(graph('')).toEqual([missing]);
    expect(graph('{ to: hub, read: { stream: JOBS } }')).toEqual([
      missing,
      'a.yaml:8:10: warning: no link of hub.yaml reads JOBS. take the grant out, or correct the stream',
    ]);
    expect(problemsOf('grants: [{ to: a, consume: { stream: S }, origins: [b] }]')).toEqual([
      'hub.yaml:8:43: "origins" says nothing about consuming. take it out, or put it into a grant with "append"',
    ]);
    const [lane] = lanesOf(hub.links[0]!, 'hub');
    const grants: readonly Grant[] = [{ to: 'hub', verb: 'consume', stream: 'JOBS' }];
    const plan = { peers: [{ cluster: 'hub', dial: [] }], groups: [], grants };
    expect(granted(lane!, grantsFor(plan, 'hub'), 'a')).toBeUndefined();
    const { consume: _, ...reads } = lane!;
    expect(granted(reads, grants, 'a')?.reason).toBe('not-granted');
  });

  it('crosses the wire as what it is, and only as that', () => {
    const link: LinkPlan = {
      name: 'jobs',
      kind: 'fan-in',
      from: { clusters: ['a'], stream: 'JOBS', consume: true },
      to: { clusters: ['hub'], stream: 'JOBS', subject: '{subject}' },
      origins: [],
    };
    expect(linkFromJson(linkToJson(link))).toEqual({ ok: true, link });
    const reads: LinkPlan = { ...link, from: { clusters: ['a'], stream: 'JOBS' } };
    expect(linkHash(reads)).not.toBe(linkHash(link));
    for (const wrong of [
      { ...link, kind: 'fan-out' as const },
      { ...link, start: { at: 'new' as const } },
    ])
      expect(linkFromJson(linkToJson(wrong))).toMatchObject({ ok: false, failure: { reason: 'link-conflict' } });
  });
});
