import { describe, expect, it } from 'vitest';
import { granted, grantsFor, sinkRights } from './grants.ts';
import { lanesOf } from './lanes.ts';
import type { Grant, LanePlan, LinkPlan } from './plan.ts';

const link: LinkPlan = {
  name: 'telemetry',
  kind: 'fan-in',
  from: { clusters: ['plant-a'], stream: 'TELEMETRY' },
  to: { clusters: ['hub'], stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
  origins: ['edge-*'],
};
const down = lanesOf(link, 'hub')[0]!;
const up: LanePlan = { ...down, declaredBy: 'plant-a', origins: [] };
const read: Grant = { to: 'hub', verb: 'read', stream: 'TELEMETRY' };
const append: Grant = { to: 'plant-a', verb: 'append', stream: 'FLEET' };
const refused = (detail: string) => ({ reason: 'not-granted', detail });

describe('grantsFor', () => {
  const edges = { name: 'edges', match: 'edge-*', except: [] };
  const plan = (...grants: readonly Grant[]) => ({
    peers: [{ cluster: 'edge-7', dial: [] }],
    groups: [edges],
    grants,
  });

  it('gives a member what its group was given, in its own name', () => {
    expect(grantsFor(plan({ ...append, to: 'edges' }), 'edge-1')).toEqual([{ ...append, to: 'edge-1' }]);
  });

  it('gives the group nothing of a cluster with an entry of its own, and the other way round', () => {
    expect(grantsFor(plan({ ...append, to: 'edges' }), 'edge-7')).toEqual([]);
    expect(grantsFor(plan({ ...append, to: 'edge-7' }), 'edge-7')).toHaveLength(1);
    expect(grantsFor(plan({ ...append, to: 'edge-7' }), 'edge-1')).toEqual([]);
  });

  it('gives nothing to a stranger, nor to a member of another group that is called as this one', () => {
    expect(grantsFor(plan({ ...append, to: 'edges' }), 'plant-a')).toEqual([]);
    const two = { ...plan({ ...append, to: 'edges' }), groups: [edges, { name: 'rest', match: 'e*s', except: [] }] };
    expect(grantsFor(two, 'edges')).toEqual([]);
  });
});

describe('granted', () => {
  it('asks for no grant at the end that declares', () => {
    expect(granted(down, [], 'hub')).toBeUndefined();
    expect(granted(up, [], 'plant-a')).toBeUndefined();
  });

  it('lets a declared link read what is granted for reading, and nothing else', () => {
    expect(granted(down, [read], 'plant-a')).toBeUndefined();
    const no = refused('plant-a does not let hub read TELEMETRY');
    expect(granted(down, [], 'plant-a')).toEqual(no);
    expect(granted(down, [{ ...read, to: 'other' }], 'plant-a')).toEqual(no);
    expect(granted(down, [{ ...read, stream: 'OTHER' }], 'plant-a')).toEqual(no);
    expect(granted(down, [{ ...read, verb: 'append' }], 'plant-a')).toEqual(no);
  });

  it('lets a declared link append what is granted for appending, and nothing else', () => {
    expect(granted(up, [append], 'hub')).toBeUndefined();
    const no = refused('hub does not let plant-a append to FLEET');
    expect(granted(up, [], 'hub')).toEqual(no);
    expect(granted(up, [{ ...append, to: 'other' }], 'hub')).toEqual(no);
    expect(granted(up, [{ ...append, stream: 'OTHER' }], 'hub')).toEqual(no);
    expect(granted(up, [{ ...append, verb: 'read' }], 'hub')).toEqual(no);
  });

  it('sees at once when the link can write nothing that is granted', () => {
    expect(granted(up, [{ ...append, subjects: ['other.>'] }], 'hub')).toEqual(
      refused('hub lets plant-a append to FLEET, but not under fleet.{origin}.{subject}'),
    );
    expect(granted(up, [{ ...append, subjects: ['other.>', 'fleet.plant-a.>'] }], 'hub')).toBeUndefined();
    expect(granted(up, [{ ...append, subjects: ['other.>'] }, append], 'hub')).toBeUndefined();
  });

  it('lets nobody declare links between others', () => {
    expect(granted({ ...down, declaredBy: 'mallory' }, [{ ...read, to: 'mallory' }], 'plant-a')).toEqual(
      refused('mallory is no end of telemetry/plant-a/hub, which it declares'),
    );
    expect(granted(down, [read], 'plant-c')).toEqual(refused('plant-c is no end of telemetry/plant-a/hub'));
  });
});

describe('sinkRights', () => {
  const allowed = (lane: LanePlan, grants: readonly Grant[]): boolean[] =>
    ['a.b.c', 'b.x', 'b.x.y', 'c', '$JS.x'].map((subject) => sinkRights(lane, grants).allows(subject));

  it('filters subjects only where a grant names them', () => {
    expect(allowed(down, [])).toEqual([true, true, true, true, true]);
    expect(allowed(up, [{ ...append, subjects: ['a.>'] }, append])).not.toContain(false);
    const both: Grant[] = [
      { ...append, subjects: ['a.>'] },
      { ...append, subjects: ['b.*'] },
      { ...append, to: 'other', subjects: ['c'] },
    ];
    expect(allowed(up, both)).toEqual([true, true, false, false, false]);
    expect(allowed(up, [])).not.toContain(true);
  });

  it('takes records of the peer itself, and of others only as far as its own file goes', () => {
    const names = ['plant-a', 'edge-1', 'hub', 'plant-b'];
    const accepted = (lane: LanePlan, grants: readonly Grant[]): string[] =>
      names.filter((name) => sinkRights(lane, grants).acceptsOrigin(name));
    expect(accepted(down, []), 'the link of the own file').toEqual(['plant-a', 'edge-1']);
    expect(accepted({ ...up, origins: ['*'] }, [append]), 'what the declarer says counts for nothing').toEqual([
      'plant-a',
    ]);
    expect(
      accepted(up, [
        { ...append, origins: ['edge-*'] },
        { ...append, to: 'other', origins: ['*'] },
      ]),
    ).toEqual(['plant-a', 'edge-1']);
  });

  it('lets a stream be made within the largest grant that allows it', () => {
    const lane = { ...up, create: { subjects: ['fleet.>'], maxBytes: 2048, replicas: 1 } };
    const why = (...grants: readonly Grant[]) => sinkRights(lane, grants).mayNotCreate;
    expect(sinkRights(up, [append]).mayNotCreate).toBeUndefined();
    expect(sinkRights({ ...lane, declaredBy: 'hub' }, []).mayNotCreate).toBeUndefined();
    expect(why(append)).toEqual(refused('hub does not let plant-a create FLEET'));
    const small: Grant = { ...append, create: { maxBytes: 1024 } };
    expect(why(small)).toEqual(refused('hub lets plant-a create FLEET with 1KiB, not with 2KiB'));
    expect(why(small, { ...append, create: { maxBytes: 2048 } })).toBeUndefined();
  });

  it('has another key whenever something in it is another', () => {
    const grants: (readonly Grant[])[] = [
      [append],
      [],
      [{ ...append, subjects: ['a'] }],
      [{ ...append, origins: ['a'] }],
      [{ ...append, create: { maxBytes: 1 } }],
    ];
    expect(new Set(grants.map((some) => sinkRights(up, some).key)).size).toBe(grants.length);
    expect(sinkRights(up, [append]).key).toBe(sinkRights({ ...up }, [{ ...append }]).key);
  });
});
