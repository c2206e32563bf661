import { describe, expect, it } from 'vitest';
import type { LinkPlan, Plan } from '../../topology/plan.ts';
import { permissionsOf } from './permissions.ts';

const plan: Plan = {
  cluster: 'hub',
  trustDomain: 'acme',
  tls: { cert: 'c', key: 'k', ca: 'a' },
  nats: { servers: ['nats://n1:4222'] },
  monitor: { host: '127.0.0.1', port: 7444 },
  peers: [{ cluster: 'plant', dial: [] }],
  groups: [{ name: 'edges', match: 'edge-*', except: [] }],
  links: [],
  grants: [],
  file: 'hub.yaml',
  hash: '',
};

function link(from: string, to: string, subject: string, more: Partial<LinkPlan> = {}): LinkPlan {
  return {
    name: 'l',
    kind: 'fan-in',
    from: { clusters: [from], stream: 'S' },
    to: { clusters: [to], stream: 'T', subject },
    origins: [],
    ...more,
  };
}

/** What may be published, without the buckets. */
function publishable(change: Partial<Plan>, subjects: Readonly<Record<string, readonly string[]>> = {}, minor = 10) {
  const result = permissionsOf({ ...plan, ...change }, [2, minor, 0], new Map(Object.entries(subjects)));
  if (!result.ok) throw new Error(result.unclear.map(({ stream, detail }) => `${stream}: ${detail}`).join('; '));
  return result.permissions.publish
    .map(({ subject }) => subject)
    .filter((subject) => !/CAUSEWAY|API\.INFO$/.test(subject));
}

const reading = (stream: string) =>
  ['STREAM.INFO', 'STREAM.MSG.GET', 'CONSUMER.CREATE', 'CONSUMER.MSG.NEXT', 'CONSUMER.DELETE'].map(
    (verb) => `$JS.API.${verb}.${stream}${verb.startsWith('CONSUMER') ? '.*' : ''}`,
  );

describe('permissionsOf', () => {
  it('reads a source, whether a link or a grant says so', () => {
    const source = [...reading('S'), '$JS.API.CONSUMER.INFO.S.*'];
    expect(publishable({ links: [link('hub', 'plant', '{subject}')] })).toEqual(source);
    expect(publishable({ grants: [{ to: 'plant', verb: 'read', stream: 'S' }] })).toEqual(source);
  });

  it('writes to a sink what the template can give, and no more than the stream takes', () => {
    const links = [link('plant', 'hub', 'fleet.{from}.{subject}')];
    expect(publishable({ links })).toEqual([...reading('T'), 'fleet.plant.>']);
    expect(publishable({ links }, { T: ['fleet.*.order.*', 'other'] })).toEqual([
      ...reading('T'),
      'fleet.plant.order.*',
    ]);
    expect(publishable({ links: [link('edges', 'hub', 'fleet.{from}.{subject}')] })).toContain('fleet.*.>');
  });

  it('does not allow everything where the file does not say the subjects', () => {
    const links = [link('plant', 'hub', '{subject}')];
    expect(() => publishable({ links })).toThrow('T: the file does not say its subjects');
    expect(() => publishable({ links: [link('edges', 'hub', '{from}.{subject}')] })).toThrow('does not say');
    expect(publishable({ links }, { T: ['order.>', 'refund.*'] })).toEqual([...reading('T'), 'order.>', 'refund.*']);
    expect(() => publishable({ links: [link('plant', 'hub', 'a.{subject}')] }, { T: ['b.>'] })).toThrow(
      'come under a.>',
    );
    expect(() => publishable({ grants: [{ to: 'plant', verb: 'append', stream: 'T' }] })).toThrow('does not say');
  });

  it('makes a stream only where that may be needed, and knows its subjects then', () => {
    const to = {
      clusters: ['hub'],
      stream: 'T',
      subject: '{subject}',
      create: { subjects: ['order.>'], maxBytes: 1, replicas: 1 },
    };
    const making = [...reading('T'), '$JS.API.STREAM.CREATE.T', 'order.>'];
    expect(publishable({ links: [link('plant', 'hub', '{subject}', { to })] })).toEqual(making);
    const append = { to: 'plant', verb: 'append', stream: 'T', subjects: ['order.>'] } as const;
    expect(publishable({ grants: [{ ...append, create: { maxBytes: 1 } }] })).toEqual(making);
    expect(publishable({ grants: [append] })).not.toContain('$JS.API.STREAM.CREATE.T');
  });

  it('has a stream that is source and sink once', () => {
    const end = { clusters: ['hub', 'plant'], stream: 'S' };
    const replicate = link('', '', '', { kind: 'replicate', from: end, to: { ...end, subject: '{subject}' } });
    expect(publishable({ links: [replicate] }, { S: ['order.>'] })).toEqual([
      ...reading('S'),
      '$JS.API.CONSUMER.INFO.S.*',
      'order.>',
    ]);
  });

  it('leaves out what concerns other clusters, and the ledger where nothing is stored', () => {
    const result = permissionsOf(plan, [2, 9, 0], new Map());
    const subjects = result.ok ? result.permissions.publish.map(({ subject }) => subject) : [];
    expect(subjects).toContain('$KV.CAUSEWAY.>');
    expect(subjects.filter((subject) => subject.includes('GAPS'))).toEqual([]);
  });

  it('uses the prefix of the domain, and flow control as the version writes it', () => {
    const nats = { ...plan.nats, domain: 'd' };
    const all = (minor: number) => {
      const result = permissionsOf({ ...plan, nats }, [2, minor, 0], new Map());
      return result.ok ? result.permissions.publish.map(({ subject }) => subject) : [];
    };
    expect(all(13).filter((subject) => !subject.startsWith('$JS.d.API.'))).toEqual(['$JS.FC.KV_CAUSEWAY.>']);
    expect(all(13)).toContain('$JS.d.API.$KV.CAUSEWAY.>');
    expect(all(14)).toContain('$JS.FC.*.*.KV_CAUSEWAY.>');
  });
});
