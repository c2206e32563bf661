import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lanesOf, linkBetween, linkDifference, linkFromJson, linkHash, linkToJson } from './lanes.ts';
import type { LinkPlan } from './plan.ts';

const link: LinkPlan = {
  name: 'telemetry',
  kind: 'fan-in',
  from: { clusters: ['plant-a'], stream: 'TELEMETRY' },
  to: { clusters: ['hub'], stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
  origins: [],
};
const json =
  '{"from":{"clusters":["plant-a"],"stream":"TELEMETRY"},"kind":"fan-in","name":"telemetry","to":{"clusters":["hub"],"stream":"FLEET","subject":"fleet.{origin}.{subject}"}}';
const create = { subjects: ['b.>', 'a.>'], maxBytes: 1024, maxAgeMs: 1000, replicas: 3 };
const three = ['a', 'b', 'c'];
const ring: LinkPlan = {
  name: 'orders',
  kind: 'replicate',
  from: { clusters: three, stream: 'ORDERS' },
  to: { clusters: three, stream: 'ORDERS', subject: '{subject}' },
  start: { at: 'all' },
  origins: ['edge-*'],
};

describe('lanesOf', () => {
  it('makes one lane of each source', () => {
    const many = { ...link, from: { ...link.from, clusters: ['plant-a', 'plant-b'] }, origins: ['edge-*'] };
    const lanes = lanesOf(many, 'hub');
    expect(lanes.map(({ id }) => id)).toEqual(['telemetry/plant-a/hub', 'telemetry/plant-b/hub']);
    expect(lanes[0]).toEqual({
      id: 'telemetry/plant-a/hub',
      link: 'telemetry',
      kind: 'fan-in',
      from: 'plant-a',
      to: 'hub',
      sourceStream: 'TELEMETRY',
      sinkStream: 'FLEET',
      subject: 'fleet.{origin}.{subject}',
      shared: false,
      origins: ['edge-*'],
      declaredBy: 'hub',
      linkHash: linkHash(link),
    });
  });

  it('makes one lane of each sink, with what it may create, where it starts and what it was called', () => {
    const more = { start: { at: 'sequence', sequence: 7 }, previously: 'old' } as const;
    const out: LinkPlan = {
      ...link,
      kind: 'fan-out',
      from: { ...link.from, clusters: ['hub'] },
      to: { ...link.to, clusters: ['x', 'y'], create },
      ...more,
    };
    const lanes = lanesOf(out, 'hub');
    expect(lanes.map(({ id, previously }) => [id, previously])).toEqual([
      ['telemetry/hub/x', 'old/hub/x'],
      ['telemetry/hub/y', 'old/hub/y'],
    ]);
    for (const lane of lanes) expect(lane).toMatchObject({ start: more.start, create, shared: false });
    const [shared] = lanesOf({ ...out, to: { ...out.to, shared: true } }, 'hub');
    expect(shared).toMatchObject({ shared: true });
  });

  it('leads from every member of a replicate link to every other, and never to itself', () => {
    const ids = lanesOf(ring, 'a').map(({ id }) => id);
    expect(ids.toSorted()).toEqual(['a/b', 'a/c', 'b/a', 'b/c', 'c/a', 'c/b'].map((pair) => `orders/${pair}`));
    expect(lanesOf(ring, 'a').every(({ shared }) => shared)).toBe(true);
  });
});

describe('linkBetween', () => {
  const none = { peers: [], groups: [] };
  const edges = { name: 'edges', match: 'edge-*', except: ['edge-13'] };

  it('is no more than the two, and nothing where no lane leads from the one to the other', () => {
    expect(linkBetween(ring, none, 'a', 'c')?.from.clusters).toEqual(['a', 'c']);
    expect(linkBetween(ring, none, 'a', 'd')).toBeUndefined();
    expect(linkBetween(link, none, 'hub', 'plant-b')).toBeUndefined();
  });

  it('puts the member in the place of its group', () => {
    const fleet = { ...link, from: { ...link.from, clusters: ['edges'] } };
    const file = { peers: [{ cluster: 'edge-7', dial: [] }], groups: [edges] };
    expect(linkBetween(fleet, file, 'hub', 'edge-1')?.from.clusters).toEqual(['edge-1']);
    expect(linkBetween(fleet, file, 'hub', 'edge-13'), 'an exception').toBeUndefined();
    expect(linkBetween(fleet, file, 'hub', 'edge-7'), 'an entry of its own beats the group').toBeUndefined();
    expect(linkBetween(fleet, file, 'hub', 'plant-1')).toBeUndefined();
  });

  it('does not take a cluster for the group of that name', () => {
    const file = { peers: [], groups: [edges, { name: 'all-e', match: 'e*s', except: [] }] };
    const fleet = { ...link, from: { ...link.from, clusters: ['edges'] } };
    expect(linkBetween(fleet, file, 'hub', 'edges')).toBeUndefined();
  });
});

describe('the canonical JSON of a link', () => {
  it('is the same whatever order the declaration was written in', () => {
    expect(linkToJson(link)).toBe(json);
    const { to, from, kind, name } = ring;
    const end = { stream: from.stream, clusters: from.clusters.toReversed() };
    const start = { at: 'all' } as const;
    const turned: LinkPlan = { start, origins: [], to: { ...to, ...end }, name, from: end, kind };
    expect(linkToJson(turned)).toBe(linkToJson(ring));
    expect(linkHash(turned)).toBe(linkHash(ring));
    const made = { ...link, to: { ...link.to, create } };
    const subjects = create.subjects.toReversed();
    expect(linkHash({ ...made, to: { ...made.to, create: { ...create, subjects } } })).toBe(linkHash(made));
    expect(linkHash(link)).toMatch(/^[0-9a-f]{32}$/);
  });

  it('is another for every other declaration', () => {
    const others: LinkPlan[] = [
      { ...link, name: 'other' },
      { ...link, from: { ...link.from, clusters: ['plant-b'] } },
      { ...link, from: { ...link.from, stream: 'OTHER' } },
      { ...link, to: { ...link.to, clusters: ['hub-2'] } },
      { ...link, to: { ...link.to, stream: 'OTHER' } },
      { ...link, to: { ...link.to, subject: '{subject}' } },
      { ...link, kind: 'fan-out' },
      { ...link, start: { at: 'all' } },
      { ...link, start: { at: 'new' } },
      { ...link, start: { at: 'sequence', sequence: 1 } },
      { ...link, start: { at: 'time', timeMs: 1 } },
      { ...link, previously: 'other' },
      { ...link, sourced: false },
      { ...link, to: { ...link.to, create } },
      { ...link, to: { ...link.to, create: { ...create, replicas: 1 } } },
      { ...link, to: { ...link.to, create: { ...create, maxAgeMs: 1 } } },
      { ...link, to: { ...link.to, shared: true } },
      { ...link, gaps: 'park' },
    ];
    expect(new Set([link, ...others].map(linkHash)).size).toBe(others.length + 1);
  });

  it('leaves out what each end decides for itself', () => {
    expect(linkHash({ ...link, origins: ['edge-*'] })).toBe(linkHash(link));
  });
});

describe('linkDifference', () => {
  const difference = (one: LinkPlan, other: LinkPlan) => linkDifference(one, other, ['a.yaml', 'b.yaml']);

  it('says in words what differs', () => {
    expect(difference(link, { ...link, origins: ['x'] })).toBeUndefined();
    const made = { ...link, to: { ...link.to, create } };
    expect(difference(link, made)).toBe(
      'create.subjects none in a.yaml, a.>, b.> in b.yaml; create.maxBytes none in a.yaml, 1024 in b.yaml; create.maxAge none in a.yaml, 1000ms in b.yaml; create.replicas none in a.yaml, 3 in b.yaml',
    );
    expect(difference(made, { ...made, to: { ...made.to, create: { ...create, maxBytes: 5 } } })).toBe(
      'create.maxBytes 1024 in a.yaml, 5 in b.yaml',
    );
    const timed = { ...link, start: { at: 'time', timeMs: 0 }, previously: 'old' } as const;
    expect(difference(timed, { ...link, start: { at: 'sequence', sequence: 7 } })).toBe(
      'start 1970-01-01T00:00:00.000Z in a.yaml, 7 in b.yaml; previously old in a.yaml, none in b.yaml',
    );
    expect(difference(link, { ...link, start: { at: 'new' } })).toBe('start none in a.yaml, new in b.yaml');
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
    [
      'another kind',
      change(['kind'], 'service'),
      'link-conflict',
      'at kind: must be "fan-in" or "fan-out" or "replicate", not "service"',
    ],
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
    ['a source twice', change(['from', 'clusters'], ['a', 'a']), 'link-conflict', 'a cluster stands twice in the link'],
    [
      'one cluster at both ends',
      change(['to', 'clusters'], ['plant-a']),
      'link-conflict',
      'the link begins and ends at one cluster',
    ],
    [
      'third clusters',
      change(['from', 'clusters'], ['a', 'b']),
      'link-conflict',
      'it names more clusters than these two',
    ],
    [
      'a crowd',
      change(['from', 'clusters'], ['a', 'b', 'c']),
      'link-conflict',
      'at from.clusters: the list has more than 2 entries',
    ],
    ['members that are not alike', change(['kind'], 'replicate'), 'link-conflict', 'its two ends are not alike'],
    [
      'a start of its own',
      change(['start'], { at: 'now' }),
      'link-conflict',
      'at start.at: must be "all" or "new" or "fromMirror", not "now"',
    ],
    [
      'a time beyond all times',
      change(['start'], { at: 'time', timeMs: 1e300 }),
      'link-conflict',
      'at start.timeMs: this must be at most 9007199254740991',
    ],
    [
      'a stream to make without subjects',
      change(['to', 'create'], { subjects: [], maxBytes: 1, replicas: 1 }),
      'link-conflict',
      'at to.create.subjects: the list is empty',
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

/** Names of clusters, few enough to meet. */
const clusterNames = ['hub', 'a', 'b', 'edge-1', 'edge-2', 'edge-13'] as const;
const cluster = fc.constantFrom(...clusterNames);
const edges = { name: 'edges', match: 'edge-*', except: ['edge-13'] };

/** Links as a file of `self` may declare them: many ends at most at one side, groups among them. */
function declaredLinks(self: string): fc.Arbitrary<LinkPlan> {
  const stream = fc.stringMatching(/^[A-Z_]{1,20}$/).filter((text) => !/^(KV_|OBJ_)?CAUSEWAY/.test(text));
  const name = fc.stringMatching(/^[a-z0-9-]{1,20}$/);
  const others = fc
    .uniqueArray(fc.constantFrom('edges', ...clusterNames.filter((one) => one !== self)), { minLength: 1 })
    .map((list) => list.toSorted());
  const start = fc.option(
    fc.oneof(
      fc.constantFrom('all' as const, 'new' as const, 'fromMirror' as const).map((at) => ({ at })),
      fc.integer({ min: 1 }).map((sequence) => ({ at: 'sequence' as const, sequence })),
      fc.integer({ min: 0 }).map((timeMs) => ({ at: 'time' as const, timeMs })),
    ),
    { nil: undefined },
  );
  const created = fc.option(
    fc.record(
      {
        subjects: fc.uniqueArray(fc.constantFrom('a.>', 'b', 'c.*'), { minLength: 1 }),
        maxBytes: fc.integer({ min: 1 }),
        maxAgeMs: fc.integer({ min: 1 }),
        replicas: fc.integer({ min: 1, max: 5 }),
      },
      { requiredKeys: ['subjects', 'maxBytes', 'replicas'] },
    ),
    { nil: undefined },
  );
  return fc
    .record({
      name,
      kind: fc.constantFrom('fan-in' as const, 'fan-out' as const, 'replicate' as const),
      streams: fc.tuple(stream, stream),
      others,
      start,
      created,
      previously: fc.option(name, { nil: undefined }),
      sourced: fc.boolean(),
      origins: fc.array(fc.constantFrom('edge-*', 'x')),
    })
    .map(({ name: linkName, kind, streams, others: many, start: at, created: made, previously, sourced, origins }) => {
      const common = {
        name: linkName,
        kind,
        origins,
        ...(at === undefined ? {} : { start: at }),
        ...(previously === undefined ? {} : { previously }),
        // The default is not said.
        ...(sourced === (kind !== 'replicate') ? {} : { sourced }),
      };
      if (kind === 'replicate') {
        const end = { clusters: [self, ...many.filter((one) => one !== 'edges')].toSorted(), stream: streams[0] };
        return { ...common, from: end, to: { ...end, subject: '{subject}' } };
      }
      const sink = { stream: streams[1], subject: 'x.{1}', ...(made === undefined ? {} : { create: made }) };
      const [from, to] = kind === 'fan-in' ? [many, [self]] : [[self], many];
      return { ...common, from: { clusters: from, stream: streams[0] }, to: { ...sink, clusters: to } };
    });
}

describe('a declaration that crosses the wire', () => {
  const file = { peers: ['a', 'b', 'edge-2'].map((name) => ({ cluster: name, dial: [] })), groups: [edges] };
  const between = fc
    .tuple(
      declaredLinks('hub'),
      cluster.filter((name) => name !== 'hub'),
    )
    .map(([whole, other]) => ({ whole, other, link: linkBetween(whole, file, 'hub', other) }));

  it('comes back as it was, but for what the declarer decides alone', () => {
    fc.assert(
      fc.property(between, ({ link: sent }) => {
        if (sent === undefined) return;
        const parsed = linkFromJson(linkToJson(sent));
        const create = sent.to.create;
        const sorted = create && { ...create, subjects: create.subjects.toSorted() };
        const to = { ...sent.to, ...(sorted === undefined ? {} : { create: sorted }) };
        expect(parsed).toEqual({ ok: true, link: { ...sent, to, origins: [] } });
        expect(parsed.ok && linkToJson(parsed.link)).toBe(linkToJson(sent));
      }),
    );
  });

  it('gives both ends the same lanes under the same hash, each from its own view', () => {
    fc.assert(
      fc.property(between, ({ whole, other, link: ours }) => {
        if (ours === undefined) return;
        const parsed = linkFromJson(linkToJson(ours));
        if (!parsed.ok) throw new Error(parsed.failure.detail);
        const view = (one: LinkPlan): string[] =>
          lanesOf(one, 'hub').map(({ origins: _, ...lane }) => JSON.stringify(lane));
        const mine = { ...ours, to: { ...ours.to, ...(ours.to.create && { create: sortedCreate(ours.to.create) }) } };
        expect(view(parsed.link)).toEqual(view(mine));
        // The other end, if it declares a replicate link in its own file, comes to the same from there.
        if (whole.kind !== 'replicate') return;
        const there = linkBetween(whole, { peers: [], groups: [] }, other, 'hub');
        expect(there && linkHash(there)).toBe(linkHash(ours));
      }),
    );
  });

  it('leads only between the two, and says nothing of third clusters', () => {
    fc.assert(
      fc.property(between, ({ other, link: sent }) => {
        if (sent === undefined) return;
        for (const { from, to } of lanesOf(sent, 'hub'))
          expect([from, to].toSorted()).toEqual(['hub', other].toSorted());
        const { from, to } = JSON.parse(linkToJson(sent)) as {
          from: { clusters: string[] };
          to: { clusters: string[] };
        };
        for (const name of [...from.clusters, ...to.clusters]) expect(['hub', other]).toContain(name);
      }),
    );
  });
});

function sortedCreate(given: NonNullable<LinkPlan['to']['create']>): NonNullable<LinkPlan['to']['create']> {
  return { ...given, subjects: given.subjects.toSorted() };
}
