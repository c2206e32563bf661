import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { appendFilter, granted, lanesOf, linkFromJson, linkHash, linkToJson } from './lanes.ts';
import type { Grant, LanePlan, LinkPlan } from './plan.ts';

const link: LinkPlan = {
  name: 'telemetry',
  kind: 'fan-in',
  from: { clusters: ['plant-a', 'plant-b'], stream: 'TELEMETRY' },
  to: { cluster: 'hub', stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
};
const json =
  '{"from":{"clusters":["plant-a","plant-b"],"stream":"TELEMETRY"},"kind":"fan-in","name":"telemetry","to":{"cluster":"hub","stream":"FLEET","subject":"fleet.{origin}.{subject}"}}';

describe('lanesOf', () => {
  it('makes one lane of each source', () => {
    const lanes = lanesOf(link, 'hub');
    expect(lanes.map(({ id }) => id)).toEqual(['telemetry/plant-a/hub', 'telemetry/plant-b/hub']);
    expect(lanes[1]).toEqual({
      id: 'telemetry/plant-b/hub',
      link: 'telemetry',
      from: 'plant-b',
      to: 'hub',
      sourceStream: 'TELEMETRY',
      sinkStream: 'FLEET',
      subject: 'fleet.{origin}.{subject}',
      declaredBy: 'hub',
      linkHash: linkHash(link),
    });
  });
});

describe('the canonical JSON of a link', () => {
  it('is the same whatever order the declaration was written in', () => {
    const { to, from, kind, name } = link;
    const turned = { to, name, from: { stream: from.stream, clusters: from.clusters.toReversed() }, kind };
    expect(linkToJson(link)).toBe(json);
    expect(linkToJson(turned)).toBe(json);
    expect(linkHash(turned)).toBe(linkHash(link));
    expect(linkHash(link)).toMatch(/^[0-9a-f]{32}$/);
  });

  it('is another for every other declaration', () => {
    const others: LinkPlan[] = [
      { ...link, name: 'other' },
      { ...link, from: { ...link.from, clusters: ['plant-a'] } },
      { ...link, from: { ...link.from, stream: 'OTHER' } },
      { ...link, to: { ...link.to, cluster: 'hub-2' } },
      { ...link, to: { ...link.to, stream: 'OTHER' } },
      { ...link, to: { ...link.to, subject: '{subject}' } },
    ];
    expect(new Set([link, ...others].map(linkHash)).size).toBe(others.length + 1);
  });

  it('comes back as the link', () => {
    const name = fc.stringMatching(/^[a-z0-9-]{1,32}$/);
    const stream = fc.stringMatching(/^[A-Z_]{1,20}$/).filter((text) => !/^(KV_|OBJ_)?CAUSEWAY/.test(text));
    const links = fc
      .record({ name, clusters: fc.uniqueArray(name, { minLength: 2, maxLength: 5 }), source: stream, sink: stream })
      .map(({ name: linkName, clusters: [to, ...from], source, sink }): LinkPlan => {
        const ends = {
          from: { clusters: from.toSorted(), stream: source },
          to: { cluster: to!, stream: sink, subject: 'x.{1}' },
        };
        return { name: linkName, kind: 'fan-in', ...ends };
      });
    fc.assert(
      fc.property(links, (one) => {
        expect(linkFromJson(linkToJson(one))).toEqual({ ok: true, link: one });
      }),
    );
  });
});

describe('a link that another cluster sends', () => {
  const change = (path: readonly string[], value: unknown): string => {
    const copy = JSON.parse(json) as Record<string, unknown>;
    const parent = path.slice(0, -1).reduce((at, key) => at[key] as Record<string, unknown>, copy);
    parent[path.at(-1)!] = value;
    return JSON.stringify(copy);
  };

  it.each([
    ['no JSON', '{', 'bad-frame', 'a link that is not JSON'],
    ['nesting without end', '['.repeat(60_000), 'bad-frame', 'a link that is not JSON'],
    ['too much', `${json}${' '.repeat(65536)}`, 'bad-frame', 'a link of more than 65536 characters'],
    ['a list', '[]', 'link-conflict', 'at its top: a list stands where keys and values belong'],
    ['another kind', change(['kind'], 'fan-out'), 'link-conflict', 'at kind: must be "fan-in", not "fan-out"'],
    ['an option that is not known here', change(['class'], 'bulk'), 'link-conflict', 'at its top: unknown key "class"'],
    ['an option inside', change(['from', 'start'], 'new'), 'link-conflict', 'at from: unknown key "start"'],
    ['a prototype', json.replace('{', '{"__proto__":{},'), 'link-conflict', 'at its top: unknown key "__proto__"'],
    ['a name that is none', change(['name'], 'a/b'), 'link-conflict', 'at name: "a/b" is not a link name'],
    [
      'a stream of ours',
      change(['from', 'stream'], 'KV_CAUSEWAY'),
      'link-conflict',
      'at from.stream: "KV_CAUSEWAY" is reserved for Causeway itself',
    ],
    [
      'a subject of the server',
      change(['to', 'subject'], '$JS.{1}'),
      'link-conflict',
      'at to.subject: the subject template "$JS.{1}" starts in a space that belongs to the server',
    ],
    ['nothing to read from', change(['from', 'clusters'], []), 'link-conflict', 'at from.clusters: the list is empty'],
    [
      'a source twice',
      change(['from', 'clusters'], ['a', 'a']),
      'link-conflict',
      'a source cluster stands twice in the link',
    ],
    [
      'one cluster at both ends',
      change(['to', 'cluster'], 'plant-b'),
      'link-conflict',
      'the link begins and ends at one cluster',
    ],
    ['a missing part', change(['to', 'subject'], undefined), 'link-conflict', 'at to.subject: "subject" is missing'],
  ])('is refused with %s', (_, text, reason, detail) => {
    expect(linkFromJson(text)).toEqual({ ok: false, failure: { reason, detail } });
  });

  it('is refused in few words, however many it uses', () => {
    const parsed = linkFromJson(change([`x${'y'.repeat(50_000)}`], 1));
    expect(!parsed.ok && parsed.failure.detail.length).toBeLessThan(200);
  });

  it('never makes linkFromJson throw', () => {
    fc.assert(fc.property(fc.json(), (text) => typeof linkFromJson(text).ok === 'boolean'));
  });
});

describe('granted', () => {
  const down = lanesOf(link, 'hub')[0]!;
  const up: LanePlan = { ...down, declaredBy: 'plant-a' };
  const read: Grant = { to: 'hub', verb: 'read', stream: 'TELEMETRY' };
  const append: Grant = { to: 'plant-a', verb: 'append', stream: 'FLEET' };
  const refused = (detail: string) => ({ reason: 'not-granted', detail });

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

  it('filters subjects only where a grant names them', () => {
    expect(appendFilter(down, [])).toBeUndefined();
    expect(appendFilter(up, [append])).toBeUndefined();
    expect(appendFilter(up, [{ ...append, subjects: ['a.>'] }, append])).toBeUndefined();
    const both = appendFilter(up, [
      { ...append, subjects: ['a.>'] },
      { ...append, subjects: ['b.*'] },
      { ...append, to: 'other', subjects: ['c'] },
    ]);
    expect(['a.b.c', 'b.x', 'b.x.y', 'c', '$JS.x'].map((subject) => both?.(subject))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(appendFilter(up, [])?.('a')).toBe(false);
  });
});
