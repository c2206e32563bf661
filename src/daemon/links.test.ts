import { describe, expect, it } from 'vitest';
import { lanesOf, linkHash, linkToJson } from '../topology/lanes.ts';
import type { Grant, LinkPlan, PeerPlan, Plan } from '../topology/plan.ts';
import type { DeclaredLink } from '../wire/control.ts';
import { declarationFor, judge, linksWith, ownLanes, verdictOf } from './links.ts';
import { servedPlan } from './served.ts';

function planOf(cluster: string, parts: Partial<Plan> = {}): Plan {
  return {
    cluster,
    trustDomain: 'acme',
    tls: { cert: '/a', key: '/b', ca: '/c' },
    nats: { servers: ['nats://n'] },
    monitor: { host: '127.0.0.1', port: 7444 },
    peers: [],
    groups: [],
    links: [],
    grants: [],
    file: `/etc/${cluster}.yaml`,
    hash: '1',
    ...parts,
  };
}

const peer = (cluster: string): PeerPlan => ({ cluster, dial: [] });
const fanIn = (from: string, to: string, more: Partial<LinkPlan> = {}): LinkPlan => ({
  name: 't',
  kind: 'fan-in',
  from: { clusters: [from], stream: 'T' },
  to: { clusters: [to], stream: 'F', subject: '{subject}' },
  origins: [],
  ...more,
});
const replicate = (...clusters: readonly string[]): LinkPlan => ({
  name: 'r',
  kind: 'replicate',
  from: { clusters, stream: 'R' },
  to: { clusters, stream: 'R', subject: '{subject}' },
  start: { at: 'all' },
  origins: [],
});
const declared = (link: LinkPlan): DeclaredLink => ({ name: link.name, hash: linkHash(link), body: linkToJson(link) });
const read: Grant = { to: 'hub', verb: 'read', stream: 'T' };

describe('what is declared to a peer', () => {
  const edges = { name: 'edges', match: 'edge-*', except: [] };
  const hub = planOf('hub', {
    peers: [peer('a'), peer('b')],
    groups: [edges],
    links: [fanIn('edges', 'hub'), { ...replicate('a', 'b', 'hub'), name: 'r' }],
  });

  it('is what concerns it, without the names of others', () => {
    expect(declarationFor(hub, 'edge-1').map(({ body }) => body)).toEqual([linkToJson(fanIn('edge-1', 'hub'))]);
    expect(declarationFor(hub, 'a').map(({ body }) => body)).toEqual([linkToJson(replicate('a', 'hub'))]);
    expect(declarationFor(hub, 'plant')).toEqual([]);
  });

  it('gives the lanes with that peer, of which this cluster is one end', () => {
    expect(ownLanes(hub, 'a').map(({ plan, role, peer: other }) => [plan.id, role, other])).toEqual([
      ['r/a/hub', 'receiver', 'a'],
      ['r/hub/a', 'sender', 'a'],
    ]);
    expect(ownLanes(hub, 'edge-1').map(({ plan }) => plan.id)).toEqual(['t/edge-1/hub']);
  });
});

describe('a link that a peer declares', () => {
  const judged = (link: DeclaredLink, plan: Plan, from = 'hub') => judge(link, from, plan, 'hub.yaml');

  it('runs within the grants', () => {
    const link = fanIn('a', 'hub');
    const ok = judged(declared(link), planOf('a', { peers: [peer('hub')], grants: [read] }));
    expect(ok.failure).toBeUndefined();
    expect(ok.lanes.map(({ plan, role }) => [plan.id, role, plan.declaredBy])).toEqual([['t/a/hub', 'sender', 'hub']]);
    expect(verdictOf(ok)).toEqual({ link: 't', hash: linkHash(link), detail: '' });
    const no = judged(declared(link), planOf('a', { peers: [peer('hub')] }));
    expect(no.lanes).toEqual([]);
    expect(verdictOf(no)).toMatchObject({ reason: 'not-granted', detail: 'a does not let hub read T' });
  });

  it.each([
    ['whose body is not that of its hash', { ...declared(fanIn('a', 'hub')), hash: '0' }, 'bad-frame'],
    ['whose body is not that of its name', { ...declared(fanIn('a', 'hub')), name: 'u' }, 'bad-frame'],
    ['of others', declared(fanIn('b', 'hub')), 'link-conflict'],
    ['between a third cluster and this one', declared(fanIn('b', 'a')), 'link-conflict'],
    ['that is no JSON', { name: 't', hash: '0', body: '{' }, 'bad-frame'],
    ['that replicates, and is not in the own file', declared(replicate('a', 'hub')), 'link-conflict'],
  ])('is refused if it is one %s', (_, link, reason) => {
    const plan = planOf('a', { peers: [peer('hub'), peer('b')], grants: [read, { ...read, verb: 'append' }] });
    expect(judged(link, plan)).toMatchObject({ failure: { reason }, lanes: [] });
  });

  it('needs no grant, and adds no lane, where the own file declares it alike', () => {
    const link = fanIn('a', 'hub');
    const plan = planOf('a', { peers: [peer('hub')], links: [{ ...link, origins: ['x'] }] });
    expect(judged(declared(link), plan)).toEqual({ name: 't', hash: linkHash(link), lanes: [] });
    const members = planOf('a', { peers: [peer('hub'), peer('b')], links: [replicate('a', 'b', 'hub')] });
    expect(judged(declared(replicate('a', 'hub')), members).failure).toBeUndefined();
  });

  it('is a conflict where the own file says otherwise: both files are named, and the difference', () => {
    const plan = planOf('a', {
      peers: [peer('hub')],
      grants: [read],
      links: [fanIn('a', 'hub', { start: { at: 'new' } })],
    });
    expect(judged(declared(fanIn('a', 'hub')), plan).failure).toEqual({
      reason: 'link-conflict',
      detail: 'a.yaml and hub.yaml of hub disagree on link t: start new in a.yaml, none in hub.yaml of hub',
    });
    const detail = 'hub.yaml of hub declares the replicate link r between a and hub, a.yaml does not';
    expect(judged(declared(replicate('a', 'hub')), planOf('a', { peers: [peer('hub')] })).failure?.detail).toBe(detail);
  });

  it('has a name of its own beside a link to another cluster that is called the same', () => {
    const plan = planOf('a', { peers: [peer('hub'), peer('b')], grants: [read], links: [fanIn('b', 'a')] });
    expect(judged(declared(fanIn('a', 'hub')), plan).lanes.map((lane) => lane.plan.id)).toEqual(['t/a/hub']);
  });
});

describe('a cluster that is served', () => {
  const there = { cluster: 'there', dial: [], nats: { servers: ['nats://m'] } };
  const other = { ...there, cluster: 'other' };
  const create = { subjects: ['x.>'], maxBytes: 5, replicas: 1 };
  const links: LinkPlan[] = [
    fanIn('there', 'here'),
    fanIn('here', 'there', {
      name: 'u',
      to: { clusters: ['there'], stream: 'G', subject: 'x', create },
      origins: ['e'],
    }),
    replicate('here', 'other', 'there'),
    fanIn('other', 'here', { name: 'v' }),
  ];
  const here = planOf('here', { peers: [there, other, peer('far')], links });

  it('has a plan that agrees to every link of the file with it, and to nothing else', () => {
    const served = servedPlan(here, there);
    expect(served.nats).toBe(there.nats);
    for (const { name, hash, body } of declarationFor(here, 'there')) {
      const verdict = judge({ name, hash, body }, 'here', served, undefined);
      expect(verdict.failure, name).toBeUndefined();
    }
    const greedy = declared(fanIn('there', 'here', { from: { clusters: ['there'], stream: 'SECRET' } }));
    expect(judge(greedy, 'here', served, undefined).failure?.reason).toBe('not-granted');
    expect(served.grants.find(({ stream }) => stream === 'G')).toMatchObject({
      create: { maxBytes: 5 },
      origins: ['e'],
    });
  });

  it('has the lanes that the own cluster of the daemon has with it', () => {
    const served = servedPlan(here, there);
    const theirs = [
      ...ownLanes(served, 'here'),
      ...declarationFor(here, 'there').flatMap((link) => judge(link, 'here', served, undefined).lanes),
    ];
    const key = ({ plan }: { plan: { id: string; linkHash: string } }): string => `${plan.id} ${plan.linkHash}`;
    expect(theirs.map(key).toSorted()).toEqual(ownLanes(here, 'there').map(key).toSorted());
  });

  it('replicates with others that are served, and knows nobody else', () => {
    const served = servedPlan(here, there);
    expect(served.peers.map(({ cluster }) => cluster)).toEqual(['here', 'other']);
    expect(linksWith(served, 'other')).toEqual(linksWith(servedPlan(here, other), 'there'));
    expect(lanesOf(linksWith(served, 'other')[0]!, 'there').map(({ id }) => id)).toEqual([
      'r/other/there',
      'r/there/other',
    ]);
    expect(linksWith(served, 'far')).toEqual([]);
    expect(() => servedPlan(here, peer('far'))).toThrow('far is not served');
  });
});
