import { describe, expect, it } from 'vitest';
import { adoptable, diffPlans, pendingOptions } from './diff.ts';
import type { LinkPlan, Plan } from './plan.ts';

const link: LinkPlan = {
  name: 't',
  kind: 'fan-in',
  from: { clusters: ['a'], stream: 'T' },
  to: { clusters: ['hub'], stream: 'F', subject: '{subject}' },
  origins: [],
};
const plan: Plan = {
  cluster: 'hub',
  trustDomain: 'acme',
  tls: { cert: '/a', key: '/b', ca: '/c' },
  nats: { servers: ['nats://n'] },
  listen: { host: '0.0.0.0', port: 7443 },
  monitor: { host: '127.0.0.1', port: 7444 },
  peers: [{ cluster: 'a', dial: [] }],
  groups: [{ name: 'edges', match: 'edge-*', except: [] }],
  links: [link],
  grants: [{ to: 'a', verb: 'read', stream: 'T' }],
  file: '/hub.yaml',
  hash: '1',
};
const none = { added: [], removed: [], changed: [] };

describe('diffPlans', () => {
  it('finds nothing where only the order, or the text, is another', () => {
    const two = { ...plan, links: [link, { ...link, name: 'u' }] };
    const turned = { ...two, links: two.links.toReversed(), hash: '2' };
    expect(diffPlans(two, turned)).toEqual({ peers: none, links: none, grantsChanged: false });
  });

  it('names links, peers and groups that come, go and change', () => {
    const after: Plan = {
      ...plan,
      peers: [{ cluster: 'b', dial: [] }],
      groups: [{ name: 'edges', match: 'e-*', except: [] }],
      links: [
        { ...link, origins: ['x'] },
        { ...link, name: 'u' },
      ],
      grants: [],
    };
    expect(diffPlans(plan, after)).toEqual({
      peers: { added: ['b'], removed: ['a'], changed: ['edges'] },
      links: { added: ['u'], removed: [], changed: ['t'] },
      grantsChanged: true,
    });
  });
});

describe('a plan that a running daemon takes over', () => {
  const { listen: _, ...rest } = plan;
  const next: Plan = { ...rest, trustDomain: 'other', nats: { servers: ['nats://m'] }, links: [], hash: '2' };

  it('keeps what cannot change while it runs, and says which options wait', () => {
    expect(pendingOptions(plan, next)).toEqual(['trustDomain', 'nats', 'listen']);
    expect(adoptable(plan, next)).toEqual({ ...plan, links: [], hash: '2' });
    expect(pendingOptions(plan, { ...plan, links: [], peers: [], grants: [] })).toEqual([]);
  });

  it('does not begin to listen, nor to take commands', () => {
    const more = { ...plan, admin: { socket: '/run/admin.sock' } };
    expect(pendingOptions(rest, more)).toEqual(['listen', 'admin']);
    expect(adoptable(rest, more)).toEqual(rest);
    expect(adoptable(more, rest)).toEqual(more);
  });
});
