import { describe, expect, it } from 'vitest';
import { compile } from './compile.ts';
import { parseTopologyDocument } from './document.ts';
import type { Plan } from './plan.ts';
import { type Starter, starterFile } from './starter.ts';

const plain: Starter = { cluster: 'hub', trustDomain: 'trial', servers: [], peers: new Map(), file: 'hub.yaml' };

function planOf(text: string): Plan {
  const parsed = parseTopologyDocument(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.faults));
  const compiled = compile(parsed.document.value, '/x/hub.yaml', '');
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.faults));
  return compiled.plan;
}

function textOf(more: Partial<Starter> = {}): string {
  const started = starterFile({ ...plain, ...more });
  if (!started.ok) throw new Error(JSON.stringify(started.faults));
  return started.text;
}

/** With every example in use. */
function uncommented(text: string): string {
  return text.replace(/^(\s*)#(?=\S)/gm, '$1');
}

describe('starterFile', () => {
  it.each<[string, Partial<Starter>]>([
    ['a cluster alone', {}],
    [
      'peers',
      {
        peers: new Map([
          ['a', []],
          ['b', ['b.example:7443', '[::1]:7443']],
        ]),
        listen: '[::]:7443',
      },
    ],
    ['an embedded server', { embedded: 'data/my hub: #1' }],
    [
      'names that YAML takes for numbers',
      {
        cluster: '1e3',
        trustDomain: '0',
        peers: new Map([
          ['null', []],
          ['7', []],
        ]),
      },
    ],
    ['servers', { servers: ['nats://a', 'tls://b:1'], monitor: '0.0.0.0:1' }],
  ])('is valid for %s, as it stands and with its examples', (_, more) => {
    const starter = { ...plain, ...more };
    const text = textOf(more);
    const plan = planOf(text);
    expect(plan.cluster).toBe(starter.cluster);
    expect(plan.trustDomain).toBe(starter.trustDomain);
    expect(plan.peers.map(({ cluster }) => cluster).toSorted()).toEqual([...starter.peers.keys()].toSorted());
    expect([plan.links, plan.grants, plan.groups]).toEqual([[], [], []]);

    const whole = planOf(uncommented(text));
    expect(whole.links.map(({ name }) => name)).toEqual(['orders', 'shared']);
    expect(whole.grants).toHaveLength(2);
    expect(whole.groups).toHaveLength(1);
    expect(whole.listen).toBeDefined();
    expect(whole.nats.credentials === undefined).toBe(starter.embedded !== undefined);
  });

  it('says in words what is wrong with what it was given', () => {
    expect(starterFile({ ...plain, servers: ['http://a'] })).toMatchObject({
      ok: false,
      faults: [{ message: expect.stringContaining('http://a') }],
    });
    expect(starterFile({ ...plain, peers: new Map([['hub', ['a:1']]]) }).ok).toBe(false);
    expect(starterFile({ ...plain, listen: 'somewhere' }).ok).toBe(false);
  });
});
