import { expect, it } from 'vitest';
import { problemsOf, type WrongFile } from '../../test/support/problems.ts';

/** What people write who know what they want of an option, and not how it is said. wrong-files.test.ts has the basics. */

const head = `version: 1
cluster: hub
trustDomain: acme
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: { servers: [nats://n1] }
listen: 0.0.0.0:7443
`;
const known = `${head}peers: { a: {}, b: {}, edges: { match: "edge-*", except: [edge-13] }, there: { nats: { servers: [nats://n2] } } }
`;

/** `head` has 6 lines; what these add starts in line 7, 9, 9 and 9. */
const peers = (body: string): string => `${head}peers: ${body}\n`;
const link = (body: string): string => `${known}links:\n  t: ${body}\n`;
const links = (...bodies: string[]): string => `${known}links:\n${bodies.map((body) => `  ${body}\n`).join('')}`;
const grant = (body: string): string => `${known}grants:\n  - ${body}\n`;

const cases: readonly WrongFile[] = [
  [
    'a group that is dialled',
    peers('{ edges: { match: "edge-*", dial: ["e:1"] } }'),
    'f.yaml:7:36: members of a group dial us. take "dial" out, or "match"',
  ],
  [
    'a group with servers',
    peers('{ edges: { match: "edge-*", nats: { servers: [nats://n2] } } }'),
    'f.yaml:7:36: a group has no NATS servers of its own. take "nats" out, or "match"',
  ],
  [
    'a peer that is dialled and served',
    peers('{ there: { dial: ["t:1"], nats: { servers: [nats://n2] } } }'),
    'f.yaml:7:19: "dial" and "nats" are two ways to reach the peer. keep "nats" if this daemon reaches the servers of the peer itself, "dial" if a daemon runs there',
  ],
  [
    'a number of members without a pattern',
    peers('{ a: { expect: 40 } }'),
    'f.yaml:7:15: "expect" is only for a group. add match: PATTERN, or take it out',
  ],
  [
    'a regular expression for a pattern',
    peers('{ edges: { match: "^edge-[0-9]+$" } }'),
    'f.yaml:7:26: "^edge-[0-9]+$" is not a pattern of cluster names. use the characters a-z, 0-9 and "-", and "*" for any run of them',
  ],
  [
    'a list for a pattern',
    peers('{ edges: { match: [edge-1, edge-2] } }'),
    'f.yaml:7:26: "match" must be a pattern of cluster names, not a list. write it as "edge-*"',
  ],
  [
    'a pattern for an exception',
    peers('{ edges: { match: "edge-*", except: ["edge-1*"] } }'),
    'f.yaml:7:45: "edge-1*" is not a cluster name. use 1 to 32 of the characters a-z, 0-9 and "-"',
  ],
  [
    'exceptions that are none',
    peers('{ edges: { match: "edge-*", except: [plant-1, edge-1, edge-1] } }'),
    'f.yaml:7:45: "plant-1" does not fit "edge-*" anyway. take it out, or correct the name',
    'f.yaml:7:62: "edge-1" stands here twice. take one out',
  ],
  [
    'members to expect that are none',
    peers('{ edges: { match: "edge-*", except: [edge-13], expect: [edge-13, plant-1, edge-2, edge-7] }, edge-7: {} }'),
    'f.yaml:7:64: "edge-13" is no member of the group: it stands under "except". take it out, or correct the name',
    'f.yaml:7:73: "plant-1" is no member of the group: it does not fit "edge-*". take it out, or correct the name',
    'f.yaml:7:90: "edge-7" is no member of the group: it has an entry of its own among the peers. take it out, or correct the name',
  ],
  [
    'nobody to expect',
    peers('{ edges: { match: "edge-*", expect: 0 } }'),
    'f.yaml:7:44: the number must be at least 1. change it, as 40',
  ],
  [
    'groups that overlap',
    peers('{ edges: { match: "edge-*" }, edge-a: { match: "edge-a*" } }'),
    'f.yaml:7:55: names can fit both "edges" (edge-*) and "edge-a" (edge-a*). choose patterns that no name fits at once',
  ],
  [
    'a group of which this cluster would be',
    peers('{ all: { match: "*" } }'),
    'f.yaml:7:24: this cluster, "hub", fits the group itself. narrow the pattern, or add except: [hub]',
  ],
  [
    'a group that has nobody to dial',
    peers('{ edges: { match: "edge-*" } }').replace('listen: 0.0.0.0:7443\n', ''),
    'f.yaml:6:10: "edges" cannot be reached: its members dial us, and this daemon does not listen. add listen: HOST:PORT at the top',
  ],
  [
    'servers of a peer in the wrong place',
    peers('{ there: { servers: [nats://n2] } }'),
    'f.yaml:7:19: unknown key "servers". it belongs into "nats"',
  ],
  [
    'a peer at the servers of this cluster',
    peers('{ there: { nats: { servers: [nats://n1] } } }'),
    'f.yaml:7:37: "there" would be the same NATS account as this cluster. give the servers of the other cluster, or another account or domain at these',
  ],
  [
    'an embedded server for a peer',
    peers('{ there: { nats: { embedded: { store: d } } } }'),
    'f.yaml:7:19: "servers" is missing. add it, as servers: [nats://127.0.0.1:4222]',
    'f.yaml:7:27: unknown key "embedded". known here: servers, credentials, nkey, user, password, token, tls, domain',
  ],
  [
    'a served peer without servers',
    peers('{ there: { nats: {} } }'),
    'f.yaml:7:19: "servers" is missing. add it, as servers: [nats://127.0.0.1:4222]',
  ],
  [
    'a literal secret for a peer',
    peers('{ there: { nats: { servers: [nats://n2], token: hunter2 } } }'),
    'f.yaml:7:56: "token" holds a secret itself. write { file: PATH } or { env: NAME }; a topology file holds no secrets',
  ],
  [
    'a name from somewhere else',
    head.replace('cluster: hub', 'cluster: { name: hub }'),
    'f.yaml:2:1: "from" is missing. add it, as from: certificate',
    'f.yaml:2:12: unknown key "name". known here: from',
  ],
  [
    'a file for a fleet without a certificate, and another fault',
    head.replace('cluster: hub', 'cluster: { from: certificate }').replace('listen: 0.0.0.0:7443', 'listen: x'),
    'f.yaml:2:10: the name of the cluster stands in its certificate. say which cluster is meant',
    'f.yaml:6:9: "x" has no port. write 0.0.0.0:7443',
  ],
  [
    'a fan-in into a group',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { cluster: edges, stream: F } }'),
    'f.yaml:9:70: a fan-in link has one sink. name one cluster, or make the link a fan-out',
  ],
  [
    'a fan-out from a list',
    link('{ kind: fan-out, from: { cluster: [a, b], stream: T }, to: { stream: F } }'),
    'f.yaml:9:40: a fan-out link has one source. name one cluster, or make the link a fan-in',
  ],
  [
    'many sources and many sinks',
    link('{ kind: fan-out, from: { cluster: edges, stream: T }, to: { cluster: [a, b], stream: F } }'),
    'f.yaml:9:40: a fan-out link has one source. name one cluster',
  ],
  [
    'a fan-out from elsewhere into a group',
    link('{ kind: fan-out, from: { cluster: a, stream: T }, to: { cluster: edges, stream: F } }'),
    'f.yaml:9:40: the link "t" has many clusters at one end and "a" at the other. let that end be this cluster, or declare the link in the file of a',
  ],
  [
    'a member of a group in the place of the group',
    link('{ kind: fan-in, from: { cluster: edge-1, stream: T }, to: { stream: F } }'),
    'f.yaml:9:39: the cluster "edge-1" has no entry of its own: it is a member of the group "edges". name the group, or add edge-1: {} to the peers, which takes it out of the group',
  ],
  [
    'two ends elsewhere, one of them served',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { cluster: there, stream: F } }'),
    'f.yaml:9:3: neither end of the link "t" is this cluster. leave "cluster" out at the end that is here; clusters that are served have links with this one only',
  ],
  [
    'origins where they have no effect',
    link('{ kind: fan-in, from: { stream: T }, to: { cluster: a, stream: F }, origins: ["edge-*"] }'),
    'f.yaml:9:74: "origins" has no effect here: the records are stored at a. take it out, and put it into the grant for hub in the file of a',
  ],
  [
    'origins without their list',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, origins: "edge-*" }'),
    'f.yaml:9:83: "origins" must be a list of patterns of cluster names, not a text. write it as ["edge-*"]',
  ],
  [
    'a cluster beside the ends',
    link('{ kind: fan-in, cluster: a, from: { stream: T }, to: { stream: F } }'),
    'f.yaml:9:22: unknown key "cluster". it belongs into "from" or "to"',
  ],
  [
    'a subject beside the sink',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, subject: "x.{subject}" }'),
    'f.yaml:9:74: unknown key "subject". it belongs into "to"',
  ],
  [
    'a stream to make beside the sink',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, create: { maxBytes: 1GiB } }'),
    'f.yaml:9:74: unknown key "create". it belongs into "to"',
  ],
  [
    'a start at the source',
    link('{ kind: fan-in, from: { cluster: a, stream: T, start: all }, to: { stream: F } }'),
    'f.yaml:9:53: unknown key "start". it belongs one level up, beside "from"',
  ],
  [
    'a fan-in between members',
    link('{ kind: fan-in, between: [hub, a], stream: T }'),
    'f.yaml:9:22: "between" is for replicate links. write "from" and "to", or make the link a replicate',
    'f.yaml:9:41: "stream" is for replicate links. write "from" and "to", or make the link a replicate',
  ],
  [
    'a replicate link with ends',
    link('{ kind: replicate, from: { stream: T }, to: { cluster: a, stream: T } }'),
    'f.yaml:9:3: a replicate link has to say what happens to records that are there already. add start: all to bring every member what the others hold, or start: new',
    'f.yaml:9:25: "from" is not for a replicate link, whose ends are all alike. write between: [CLUSTER, CLUSTER] and stream: NAME',
    'f.yaml:9:46: "to" is not for a replicate link, whose ends are all alike. write between: [CLUSTER, CLUSTER] and stream: NAME',
  ],
  [
    'a replicate link without a start',
    link('{ kind: replicate, between: [hub, a], stream: T }'),
    'f.yaml:9:3: a replicate link has to say what happens to records that are there already. add start: all to bring every member what the others hold, or start: new',
  ],
  [
    'a replicate link of others',
    link('{ kind: replicate, between: [a, b], stream: T, start: all }'),
    'f.yaml:9:34: this cluster, "hub", is no member of the link "t". add hub, or take the link out',
  ],
  [
    'a replicate link of one',
    link('{ kind: replicate, between: [hub], stream: T, start: all }'),
    'f.yaml:9:34: the list is too short. name at least 2, as [hub, berlin]',
  ],
  [
    'a group in a replicate link',
    link('{ kind: replicate, between: [hub, edges], stream: T, start: all }'),
    'f.yaml:9:40: "edges" is a group; the members of a replicate link are named one by one. name the clusters, and give each an entry among the peers',
  ],
  [
    'a member of a group in a replicate link',
    link('{ kind: replicate, between: [hub, edge-1], stream: T, start: all }'),
    'f.yaml:9:40: the cluster "edge-1" has no entry of its own: it is a member of the group "edges". add edge-1: {} to the peers, which takes it out of the group',
  ],
  [
    'a served member among three',
    link('{ kind: replicate, between: [hub, a, there], stream: T, start: all }'),
    'f.yaml:9:43: "there" is served by this daemon and cannot reach "a". run a daemon there and give "dial" instead of "nats", or take one of the two out',
  ],
  [
    'a start that is none',
    link('{ kind: replicate, between: [hub, a], stream: T, start: now }'),
    'f.yaml:9:62: "now" is not a start. write all, new, fromMirror, a sequence (1000), or a time with its zone (2026-11-01T00:00:00Z)',
  ],
  [
    'a sequence below the first',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, start: 0 }'),
    'f.yaml:9:81: the number must be at least 1. change it, as all',
  ],
  [
    'a yes for a start',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, start: true }'),
    'f.yaml:9:81: "start" must be all, new, fromMirror, a sequence or a time, not true. write it as all',
  ],
  [
    'a date for a start',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, start: 2026-11-01 }'),
    'f.yaml:9:81: "2026-11-01" is not a start. write all, new, fromMirror, a sequence (1000), or a time with its zone (2026-11-01T00:00:00Z)',
  ],
  [
    'a time without its zone',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, start: 2026-11-01T00:00:00 }'),
    'f.yaml:9:81: "2026-11-01T00:00:00" is not a start. write all, new, fromMirror, a sequence (1000), or a time with its zone (2026-11-01T00:00:00Z)',
  ],
  [
    'a day that does not exist',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, start: 2026-02-30T00:00:00Z }'),
    'f.yaml:9:81: "2026-02-30T00:00:00Z" is not a start. write all, new, fromMirror, a sequence (1000), or a time with its zone (2026-11-01T00:00:00Z)',
  ],
  [
    'a mapping for a start',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, start: { time: 2026-02-28T00:00:00Z } }'),
    'f.yaml:9:81: "start" must be all, new, fromMirror, a sequence or a time, not a mapping. write it as all',
  ],
  [
    'one sequence for two sources',
    link('{ kind: fan-in, from: { cluster: [a, b], stream: T }, to: { stream: F }, start: 1000 }'),
    'f.yaml:9:86: warning: the link "t" starts at sequence 1000 in the stream of every source, where the numbers mean different records. give a time, or a link of its own to each source',
  ],
  [
    'a link that was itself before',
    link('{ kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, previously: t }'),
    'f.yaml:9:74: the link "t" cannot have been "t" before: that is its name. write the name that it had before, or take "previously" out',
  ],
  [
    'a former name that is still in use',
    links(
      't: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, previously: u }',
      'u: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: G } }',
    ),
    'f.yaml:9:74: the link "t" was previously "u", which is still declared. take the old link out, or "previously" if the two are different links',
  ],
  [
    'a former name of two links',
    links(
      't: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F }, previously: old }',
      'u: { kind: fan-in, from: { cluster: [a, b], stream: T }, to: { stream: G }, previously: old }',
    ),
    'f.yaml:10:79: the links "u" and "t" were both previously "old". only one can go on where that one stood: take "previously" out of the other',
  ],
  [
    'a stream to make of no size',
    link('{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: {} } }'),
    'f.yaml:9:73: "maxBytes" is missing. add it, as maxBytes: 1GiB',
    'f.yaml:9:73: "create" needs "subjects": the subject template "{subject}" does not say where they begin. add subjects: ["orders.>"], those of the source stream',
  ],
  [
    'a yes for a stream to make',
    link('{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: true } }'),
    'f.yaml:9:81: "create" must be a mapping with "maxBytes", not true. write it as { maxBytes: 1GiB }',
  ],
  [
    'a stream to make of unknown subjects',
    link('{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GiB } } }'),
    'f.yaml:9:73: "create" needs "subjects": the subject template "{subject}" does not say where they begin. add subjects: ["orders.>"], those of the source stream',
  ],
  [
    'a misspelt list of subjects',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GiB, subject: t } } }',
    ),
    'f.yaml:9:99: unknown key "subject". did you mean "subjects"?',
  ],
  [
    'a unit that is close',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GB, subjects: ["t.>"] } } }',
    ),
    'f.yaml:9:93: "1GB" is not a size. write a number and B, KiB, MiB, GiB or TiB, as 64MiB',
  ],
  [
    'a bare number and a bare text',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1073741824, subjects: "t.>" } } }',
    ),
    'f.yaml:9:93: "maxBytes" must be a size, not the number 1073741824. write it as 1GiB',
    'f.yaml:9:115: "subjects" must be a list of subject patterns, not a text. write it as ["firmware.>"]',
  ],
  [
    'a stream of all subjects',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GiB, subjects: [">"] } } }',
    ),
    'f.yaml:9:110: no stream can own ">": subjects of the server would be in it. begin it with a word, as orders.>',
  ],
  [
    'a stream whose subjects begin with anything',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GiB, subjects: ["*.t"] } } }',
    ),
    'f.yaml:9:110: no stream can own "*.t": subjects of the server would be in it. begin it with a word, as orders.>',
  ],
  [
    'a stream whose subjects overlap',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GiB, subjects: ["t.>", "t.x"] } } }',
    ),
    'f.yaml:9:117: "t.x" overlaps with "t.>", which no server takes in one stream. keep the wider of the two, or narrow one',
  ],
  [
    'a stream that would not own what the link writes',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, subject: "x.{subject}", create: { maxBytes: 1GiB, subjects: ["t.>"] } } }',
    ),
    'f.yaml:9:123: the link writes "x.>", of which the new stream would own nothing. let "subjects" cover it, as ["x.>"], or change "subject"',
  ],
  [
    'too many replicas and an age in words',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GiB, subjects: ["t.>"], maxAge: 7 days, replicas: 7 } } }',
    ),
    'f.yaml:9:126: "7 days" is not a duration. write a number and ms, s, m, h or d, as 30s or 7d',
    'f.yaml:9:144: a number of replicas must be at most 5. change it, as 3',
  ],
  [
    'an option that streams have and links do not',
    link(
      '{ kind: fan-out, from: { stream: T }, to: { cluster: a, stream: F, create: { maxBytes: 1GiB, subjects: ["t.>"], maxAge: 3600, storage: memory } } }',
    ),
    'f.yaml:9:126: "maxAge" must be a duration, not the number 3600. write it as 7d',
    'f.yaml:9:132: unknown key "storage". known here: subjects, maxBytes, maxAge, replicas',
  ],
  [
    'one stream made in two ways',
    links(
      't: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F, subject: "f.a.{subject}", create: { maxBytes: 1GiB } } }',
      'u: { kind: fan-in, from: { cluster: b, stream: T }, to: { stream: F, subject: "f.b.{subject}", create: { maxBytes: 1GiB } } }',
    ),
    'f.yaml:10:98: warning: the link "t" would make hub/F in another way; whichever lane comes first makes it. write the same "create" at both, with all "subjects"',
  ],
  [
    'two streams made with one subject',
    links(
      't: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: F, subject: "f.{subject}", create: { maxBytes: 1GiB } } }',
      'u: { kind: fan-in, from: { cluster: b, stream: T }, to: { stream: G, subject: "f.b.{subject}", create: { maxBytes: 1GiB } } }',
    ),
    'f.yaml:10:98: hub/G cannot be made with "f.b.>": the link "t" makes F with subjects that overlap. a subject belongs to one stream of an account: narrow the subjects of one',
  ],
  [
    'what comes back from a peer',
    links(
      'down: { kind: fan-out, from: { stream: F }, to: { cluster: a, stream: T } }',
      'up: { kind: fan-in, from: { cluster: a, stream: T }, to: { stream: G } }',
    ),
    'f.yaml:10:3: up/a/hub brings records of hub, in whose name "a" may not speak. add origins: [hub] to this link',
  ],
  [
    'a cycle through a group',
    links(
      'down: { kind: fan-out, from: { stream: F }, to: { cluster: edges, stream: T } }',
      'up: { kind: fan-in, from: { cluster: edges, stream: T }, to: { stream: F } }',
    ),
    'f.yaml:10:3: warning: links form a cycle: edges/T -> hub/F -> edges/T; records that have been round are dropped. take a link out if this is not meant',
  ],
  [
    'a grant to a list',
    grant('{ to: [a, b], read: { stream: T } }'),
    'f.yaml:9:11: "to" must be a cluster name, not a list. write it as hub',
  ],
  [
    'a stream without its mapping',
    grant('{ to: a, read: T }'),
    'f.yaml:9:20: "read" must be a mapping with "stream", not a text. write it as { stream: TELEMETRY }',
  ],
  [
    'a grant without its verb',
    grant('{ to: a, stream: T }'),
    'f.yaml:9:14: unknown key "stream". it belongs into "read" or "consume" or "append"',
  ],
  [
    'origins inside of what may be appended',
    grant('{ to: a, append: { stream: T, origins: [b] } }'),
    'f.yaml:9:35: unknown key "origins". it belongs one level up, beside "append"',
  ],
  [
    'a right to make inside of what may be appended',
    grant('{ to: a, append: { stream: T, create: { maxBytes: 1GiB } } }'),
    'f.yaml:9:35: unknown key "create". it belongs one level up, beside "append"',
  ],
  [
    'subjects beside what may be appended',
    grant('{ to: a, append: { stream: T }, subjects: ["a.>"] }'),
    'f.yaml:9:37: unknown key "subjects". it belongs into "append"',
  ],
  [
    'a right to make of no size',
    grant('{ to: a, append: { stream: T }, create: {} }'),
    'f.yaml:9:37: "maxBytes" is missing. add it, as maxBytes: 1GiB',
  ],
  [
    'a right to make for reading',
    grant('{ to: a, read: { stream: T }, create: { maxBytes: 1GiB } }'),
    'f.yaml:9:35: "create" says nothing about reading. take it out, or put it into a grant with "append"',
  ],
  [
    'an origin that is no name',
    grant('{ to: a, append: { stream: T }, origins: [Edge_1] }'),
    'f.yaml:9:47: "Edge_1" is not a pattern of cluster names. use the characters a-z, 0-9 and "-", and "*" for any run of them',
  ],
  [
    'a grant to a member of a group',
    grant('{ to: edge-1, read: { stream: T } }'),
    'f.yaml:9:11: the cluster "edge-1" has no entry of its own: it is a member of the group "edges". name the group, or add edge-1: {} to the peers, which takes it out of the group',
  ],
  [
    'a grant to a served peer',
    grant('{ to: there, read: { stream: T } }'),
    'f.yaml:9:11: "there" is served by this daemon and declares no links. take the grant out: the links of this file need none',
  ],
  [
    'a size without a unit',
    `${head}memory: 64\n`,
    'f.yaml:7:9: "memory" must be a size, not the number 64. write it as 256MiB',
  ],
  [
    'memory that would not hold one batch of each lane',
    `memory: 1MiB\n${link('{ kind: fan-in, from: { cluster: [a, b, edges], stream: T }, to: { stream: F } }').replace('except: [edge-13]', 'expect: 40')}`,
    'f.yaml:1:9: 1MiB is too little memory for the 42 lanes of this file. write 6MiB at least, with which each lane moves one batch at a time, or leave "memory" out',
  ],
  [
    'memory for both ends of a lane in one daemon',
    `memory: 100KiB\n${link('{ kind: fan-in, from: { cluster: there, stream: T }, to: { stream: F } }')}`,
    'f.yaml:1:9: 100KiB is too little memory for the lane of this file. write 1MiB at least, with which each lane moves one batch at a time, or leave "memory" out',
  ],
  [
    'a verb that there is not',
    grant('{ to: a, write: { stream: T } }'),
    'f.yaml:9:14: unknown key "write". known here: to, read, consume, append, create, origins',
  ],
  [
    'a grant from a peer',
    grant('{ from: a, read: { stream: T } }'),
    'f.yaml:9:5: "to" is missing. add it, as to: hub',
    'f.yaml:9:7: unknown key "from". known here: to, read, consume, append, create, origins',
  ],
];

it.each(cases)('says what is wrong with %s', (_, text, ...expected) => {
  expect(problemsOf(text)).toEqual(expected);
});

it('finds nothing wrong with what the cases start from', () => {
  expect(problemsOf(known)).toEqual([]);
});
