import { expect, it } from 'vitest';
import { problemsOf, type WrongFile } from '../../test/support/problems.ts';

/** Lines 1 to 7 of a sound file; what a case adds starts in line 8. */
const head = `version: 1
cluster: hub
trustDomain: acme
tls: { cert: hub.crt, key: hub.key, ca: ca.crt }
nats: { servers: [nats://n1] }
listen: 0.0.0.0:7443
peers: { plant-a: {}, plant-b: {} }
`;

/** The sound file with one of its lines replaced. */
function line(number: number, text: string): string {
  return head
    .split('\n')
    .map((old, index) => (index === number - 1 ? text : old))
    .join('\n');
}

const options =
  'version, cluster, trustDomain, tls, nats, listen, monitor, admin, memory, standby, peers, links, grants';
const quoting = 'check the indentation, and put texts that hold ": ", "#", "{" or "[" in quotes';
const variables = 'there are {subject}, {origin}, {from}, and {1}, {2} ... for the tokens of the subject';

const cases: readonly WrongFile[] = [
  // YAML
  [
    'an empty file',
    '# nothing\n',
    'f.yaml: the file is empty. write at least version, cluster, trustDomain, tls and nats',
  ],
  [
    'a text',
    'hello',
    'f.yaml:1:1: a text stands where keys and values belong. write keys and values, starting with version: 1',
  ],
  [
    'a list',
    '- a',
    'f.yaml:1:1: a list stands where keys and values belong. write keys and values, starting with version: 1',
  ],
  ['a tab', 'tls:\n\tcert: a\n', 'f.yaml:2:1: a tab stands where YAML wants spaces. indent with spaces'],
  [
    'crooked indentation',
    'tls:\n  cert: a\n key: b\n',
    'f.yaml:3:1: this line is indented differently from its neighbours. align it with them',
  ],
  [
    'a line too deep',
    'tls:\n  cert: a\n    key: b\n',
    'f.yaml:2:9: line 3 is indented deeper than line 2, which already has a value. align it with its neighbours',
  ],
  [
    'two values in a line',
    'a: b: c\n',
    'f.yaml:1:4: a second ": " stands in this line. put the text in quotes, or begin a new line',
  ],
  ['junk behind a text', 'a: "x" y\n', `f.yaml:1:8: not valid YAML: unexpected scalar at node end. ${quoting}`],
  [
    'an open quote',
    'cluster: "hub',
    'f.yaml:1:14: not valid YAML: missing closing quote. close what was opened before',
  ],
  [
    'a bare IPv6 address',
    'listen: [::]:7443',
    'f.yaml:1:13: a text with brackets stands here without quotes. put it in quotes',
  ],
  [
    'two bad lines',
    'a: {s: fleet.{origin}.x}\nb: [::]:1\n',
    'f.yaml:1:14: a text with brackets stands here without quotes. put it in quotes',
    'f.yaml:2:1: a text with brackets stands here without quotes. put it in quotes',
  ],
  [
    'two documents',
    'a: 1\n---\nb: 2\n',
    'f.yaml:2:1: the file holds several documents. one file describes one cluster: take out everything from the second "---" on',
  ],
  [
    'a link among the peers',
    `${line(7, 'peers:')}  plant-a: {}
  orders:
    kind: fan-in
    from: { cluster: plant-a, stream: ORDERS }
    to:
      stream: ALL
    start: all
`,
    'f.yaml:9:3: "orders" under peers looks like a link. it belongs under links: at the top level',
  ],
  ['a key twice', `${head}listen: 0.0.0.0:1\n`, 'f.yaml:8:1: the key "listen" stands here twice. keep one of the two'],
  [
    'an alias',
    'a: &x [1]\nb: *x\n',
    'f.yaml:1:7: YAML anchors and aliases are not used in a topology file. write the value out',
    'f.yaml:2:4: YAML anchors and aliases are not used in a topology file. put a text that begins with "*" in quotes, as "*-edge"',
  ],
  [
    'a tag',
    'a: !!binary eA==\n',
    'f.yaml:1:4: YAML tags are not used in a topology file. take out the word that starts with "!"',
  ],
  ['a key that is a list', '? [a]\n: 1\n', 'f.yaml:1:3: a key must be a plain text. write it as key: value'],
  ['a prototype', `${head}__proto__: { version: 1 }\n`, 'f.yaml:8:1: unknown key "__proto__". take it out'],
  ['a merge key', `${head}<<: {}\n`, `f.yaml:8:1: unknown key "<<". known here: ${options}`],
  [
    'deep nesting',
    '['.repeat(500_000),
    'f.yaml:1:101: nested deeper than 100 levels. check the brackets and the indentation',
  ],

  // keys and types
  ['an unknown key', `${head}gateway: {}\n`, `f.yaml:8:1: unknown key "gateway". known here: ${options}`],
  [
    'a misspelt key that is required',
    line(2, 'clutser: hub'),
    'f.yaml:2:1: unknown key "clutser". did you mean "cluster"?',
  ],
  [
    'a misspelt key inside',
    line(4, 'tls: { cert: a, kye: b, ca: c }'),
    'f.yaml:4:17: unknown key "kye". did you mean "key"?',
  ],
  [
    'an option of a later version',
    `${head}links:\n  t: { kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F }, class: bulk }\n`,
    'f.yaml:9:80: unknown key "class". known here: kind, from, to, between, stream, start, previously, sourced, gaps, origins',
  ],
  [
    'a file with next to nothing',
    'version: 1\n',
    'f.yaml:1:1: "cluster" is missing. add it, as cluster: hub',
    'f.yaml:1:1: "trustDomain" is missing. add it, as trustDomain: acme',
    'f.yaml:1:1: "tls" is missing. add it, as tls: { cert: certs/hub.crt, key: certs/hub.key, ca: certs/ca.crt }',
    'f.yaml:1:1: "nats" is missing. add it, as nats: { servers: [nats://127.0.0.1:4222] }',
  ],
  [
    'a missing key inside',
    line(4, 'tls: { cert: a, ca: c }'),
    'f.yaml:4:1: "key" is missing. add it, as key: certs/hub.key',
  ],
  ['another version', line(1, 'version: 2'), 'f.yaml:1:10: must be 1, not 2. write 1'],
  ['a version in quotes', line(1, 'version: "1"'), 'f.yaml:1:10: must be 1, not "1". write 1'],
  [
    'a key without value',
    line(6, 'listen:'),
    'f.yaml:6:1: "listen" has no value. write it as 0.0.0.0:7443, or take the key out',
  ],
  [
    'a number for a name',
    line(2, 'cluster: 7'),
    'f.yaml:2:10: "cluster" must be a cluster name, not the number 7. put it in quotes if it is meant: "7"',
  ],
  [
    'a number for an address',
    line(6, 'listen: 7443'),
    'f.yaml:6:9: "listen" must be an address, not the number 7443. write it as 0.0.0.0:7443',
  ],
  [
    'a text for a mapping',
    line(4, 'tls: hub.pem'),
    'f.yaml:4:6: "tls" must be an identity, not a text. write it as { cert: certs/hub.crt, key: certs/hub.key, ca: certs/ca.crt }',
  ],
  [
    'a text for a list',
    line(7, 'peers: { plant-a: { dial: "a:1" } }'),
    'f.yaml:7:27: "dial" must be a list of addresses, not a text. write it as [hub.example:7443]',
  ],
  [
    'an empty list',
    line(7, 'peers: { plant-a: { dial: [] } }'),
    'f.yaml:7:27: the list is empty. name at least one, as [hub.example:7443], or take the key out',
  ],
  [
    'a mapping for a list',
    `${head}grants: { to: hub }\n`,
    'f.yaml:8:9: "grants" must be a list of grants, not a mapping. write it as [{ to: hub, read: { stream: TELEMETRY } }]',
  ],

  // names and addresses
  [
    'a bad cluster name',
    line(2, 'cluster: Hub'),
    'f.yaml:2:10: "Hub" is not a cluster name. use 1 to 32 of the characters a-z, 0-9 and "-"',
  ],
  [
    'a bad peer name',
    line(7, 'peers: { plant-a: {}, Plant_B: {} }'),
    'f.yaml:7:23: "Plant_B" is not a cluster name. use 1 to 32 of the characters a-z, 0-9 and "-"',
  ],
  [
    'a bad trust domain',
    line(3, 'trustDomain: spiffe://acme'),
    'f.yaml:3:14: "spiffe://acme" is not a trust domain. use a-z, 0-9, ".", "_" and "-", as in the certificates: spiffe://TRUST-DOMAIN/CLUSTER',
  ],
  ['an address without port', line(6, 'listen: 0.0.0.0'), 'f.yaml:6:9: "0.0.0.0" has no port. write 0.0.0.0:7443'],
  [
    'an address without host',
    line(6, 'listen: :7443'),
    'f.yaml:6:9: ":7443" is not an address. say which addresses, as 0.0.0.0:7443 for all',
  ],
  [
    'IPv6 without brackets',
    line(6, 'listen: "::1:7443"'),
    'f.yaml:6:9: "::1:7443" is not an address. put an IPv6 address in brackets: "[::1]:7443"',
  ],
  [
    'a port out of range',
    line(6, 'listen: 0.0.0.0:74430'),
    'f.yaml:6:9: "0.0.0.0:74430" is not an address. write HOST:PORT, as 0.0.0.0:7443',
  ],
  [
    'an address with scheme',
    line(7, 'peers: { plant-a: { dial: ["https://a:1"] } }'),
    'f.yaml:7:28: "https://a:1" is not an address. leave out the scheme: hub.example:7443',
  ],
  [
    'dialling port 0',
    line(7, 'peers: { plant-a: { dial: ["a:0"] } }'),
    'f.yaml:7:28: "a:0" has no port that can be dialled. write hub.example:7443',
  ],
  [
    'one port for two',
    `${head}monitor: 127.0.0.1:7443\n`,
    'f.yaml:8:10: "monitor" and "listen" want the same port. change one of them',
  ],

  // nats
  [
    'neither servers nor embedded',
    line(5, 'nats: { domain: hub }'),
    'f.yaml:5:1: neither "servers" nor "embedded" is given. add servers: [nats://HOST:4222], or embedded: { store: PATH }',
  ],
  [
    'servers and embedded',
    line(5, 'nats: { servers: [nats://n1], embedded: { store: d }, token: { env: T } }'),
    'f.yaml:5:9: "servers" and "embedded" exclude each other. keep the one that is meant',
    'f.yaml:5:55: "token" has no meaning for an embedded server. take it out: it is reached over loopback only',
  ],
  [
    'a server without scheme',
    line(5, 'nats: { servers: [n1:4222] }'),
    'f.yaml:5:19: "n1:4222" is not a NATS server URL. write nats://HOST:PORT, or tls://HOST:PORT',
  ],
  [
    'a password in a URL',
    line(5, 'nats: { servers: ["nats://me:hunter2@n1"] }'),
    'f.yaml:5:19: the URL holds a name or password. take it out and give nats.user and nats.password, or nats.token, as { file: PATH } or { env: NAME }',
  ],
  [
    'a literal secret',
    line(5, 'nats: { servers: [nats://n1], token: hunter2 }'),
    'f.yaml:5:38: "token" holds a secret itself. write { file: PATH } or { env: NAME }; a topology file holds no secrets',
  ],
  [
    'a secret for a variable',
    line(5, 'nats: { servers: [nats://n1], token: { env: "hunter-2" } }'),
    'f.yaml:5:45: this is not the name of an environment variable. use letters, digits and "_", without "$", as NATS_PASSWORD',
  ],
  [
    'a secret given twice',
    line(5, 'nats: { servers: [nats://n1], token: { env: T, file: t } }'),
    'f.yaml:5:31: "token" is given twice, as file and as env. keep one of the two',
  ],
  [
    'a secret that says nothing',
    line(5, 'nats: { servers: [nats://n1], token: {} }'),
    'f.yaml:5:31: "token" says nothing. write { file: PATH } or { env: NAME }',
  ],
  [
    'a user alone',
    line(5, 'nats: { servers: [nats://n1], user: { env: U } }'),
    'f.yaml:5:31: "user" is given without "password". add password: { file: PATH } or { env: NAME }',
  ],
  [
    'two ways to log in',
    line(5, 'nats: { servers: [nats://n1], token: { env: T }, nkey: { env: N } }'),
    'f.yaml:5:31: "nkey" and "token" are two ways to log in. keep one of them',
  ],
  [
    'half a client certificate',
    line(5, 'nats: { servers: [nats://n1], tls: { cert: c } }'),
    'f.yaml:5:38: "cert" is given without "key". add key: PATH',
  ],
  [
    'a port that is none',
    line(5, 'nats: { embedded: { store: d, port: 70000 } }'),
    'f.yaml:5:37: a port must be at most 65535. change it, as 4222',
  ],

  // peers
  [
    'oneself as a peer',
    line(7, 'peers: { hub: {} }'),
    'f.yaml:7:10: "hub" is this cluster. name the other clusters here',
  ],
  [
    'a peer that cannot be reached',
    line(6, ''),
    'f.yaml:7:10: "plant-a" cannot be reached: it has no "dial", and this daemon does not listen. add dial: ["HOST:PORT"] here, or listen: HOST:PORT at the top',
    'f.yaml:7:23: "plant-b" cannot be reached: it has no "dial", and this daemon does not listen. add dial: ["HOST:PORT"] here, or listen: HOST:PORT at the top',
  ],

  // links
  [
    'an unknown kind',
    link('{ kind: fanin, from: { cluster: plant-a, stream: T }, to: { stream: F } }'),
    'f.yaml:9:14: must be "fan-in" or "fan-out" or "replicate", not "fanin". did you mean "fan-in"?',
  ],
  [
    'a misspelt cluster',
    link('{ kind: fan-in, from: { cluster: plnat-a, stream: T }, to: { stream: F } }'),
    'f.yaml:9:39: the cluster "plnat-a" is unknown: it is not among the peers. did you mean "plant-a"?',
  ],
  [
    'an unknown cluster in a list',
    link('{ kind: fan-in, from: { cluster: [plant-a, depot], stream: T }, to: { stream: F } }'),
    'f.yaml:9:49: the cluster "depot" is unknown: it is not among the peers. add it to peers, as depot: { dial: ["HOST:PORT"] }, or {} if it dials us',
  ],
  [
    'a cluster twice',
    link('{ kind: fan-in, from: { cluster: [plant-a, plant-a], stream: T }, to: { stream: F } }'),
    'f.yaml:9:49: "plant-a" stands here twice. take one out',
  ],
  [
    'a bad name in a list',
    link('{ kind: fan-in, from: { cluster: [plant-a, 7], stream: T }, to: { stream: F } }'),
    'f.yaml:9:49: this entry must be a cluster name, not the number 7. put it in quotes if it is meant: "7"',
  ],
  [
    'a mapping for a cluster',
    link('{ kind: fan-in, from: { cluster: {}, stream: T }, to: { stream: F } }'),
    'f.yaml:9:39: "cluster" must be a cluster name or a list of them, not a mapping. write it as [plant-a, plant-b]',
  ],
  [
    'a stream into itself',
    link('{ kind: fan-in, from: { stream: T }, to: { stream: T } }'),
    'f.yaml:9:3: the link "t" leads from the stream "T" to itself. give "cluster" at the end that is elsewhere',
  ],
  [
    'both ends here',
    link('{ kind: fan-in, from: { cluster: hub, stream: T }, to: { stream: F } }'),
    'f.yaml:9:3: both ends of the link "t" are this cluster. give "cluster" at the end that is elsewhere',
  ],
  [
    'neither end here',
    link('{ kind: fan-in, from: { cluster: plant-a, stream: T }, to: { cluster: plant-b, stream: F } }'),
    'f.yaml:9:3: neither end of the link "t" is this cluster. leave "cluster" out at the end that is here, or declare the link in the file of plant-a or plant-b',
  ],
  [
    'a list that ends elsewhere',
    link('{ kind: fan-in, from: { cluster: [hub], stream: T }, to: { cluster: plant-a, stream: F } }'),
    'f.yaml:9:40: "hub" is this cluster. name a peer here',
  ],
  [
    'a stream with a dot',
    link('{ kind: fan-in, from: { cluster: plant-a, stream: a.b }, to: { stream: F } }'),
    'f.yaml:9:56: "a.b" is not a stream name. use 1 to 255 characters without dots, wildcards (* >), slashes and white space',
  ],
  [
    'a stream of ours',
    link('{ kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: KV_CAUSEWAY } }'),
    'f.yaml:9:75: "KV_CAUSEWAY" is reserved for Causeway itself. choose a stream of your own',
  ],
  [
    'an unknown variable',
    link('{ kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F, subject: "{peer}.x" } }'),
    `f.yaml:9:87: the subject template "{peer}.x" has an unknown variable "{peer}". ${variables}`,
  ],
  [
    'an open brace',
    link('{ kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F, subject: "a.{1" } }'),
    'f.yaml:9:87: the subject template "a.{1" has a "{" without its counterpart. variables are written {subject}, {origin}, {from}, {1}, {2} ...',
  ],
  [
    'a template of the server',
    link('{ kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F, subject: "$JS.{1}" } }'),
    'f.yaml:9:87: the subject template "$JS.{1}" starts in a space that belongs to the server. start it with another word',
  ],
  [
    'a bad link name',
    `${head}links:\n  T.1: { kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F } }\n`,
    'f.yaml:9:3: "T.1" is not a link name. use 1 to 64 of the characters a-z, 0-9 and "-"',
  ],
  [
    'two links, one flow',
    `${link('{ kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F } }')}  u: { kind: fan-in, from: { cluster: plant-a, stream: T }, to: { stream: F, subject: "u.{subject}" } }\n`,
    'f.yaml:10:3: the links "t" and "u" both carry plant-a/T into hub/F, where their records collide. keep one of them, or give one another sink stream',
  ],

  // grants
  [
    'a grant to nobody known',
    grant('{ to: depot, read: { stream: T } }'),
    'f.yaml:9:11: the cluster "depot" is unknown: it is not among the peers. add it to peers, as depot: { dial: ["HOST:PORT"] }, or {} if it dials us',
  ],
  [
    'a grant to oneself',
    grant('{ to: hub, read: { stream: T } }'),
    'f.yaml:9:11: "hub" is this cluster. name a peer here',
  ],
  [
    'a grant of nothing',
    grant('{ to: plant-a }'),
    'f.yaml:9:5: this grant allows nothing. add read: { stream: NAME } or append: { stream: NAME }',
  ],
  [
    'a misspelt verb',
    grant('{ to: plant-a, raed: { stream: T } }'),
    'f.yaml:9:20: unknown key "raed". did you mean "read"?',
  ],
  [
    'two verbs',
    grant('{ to: plant-a, read: { stream: T }, append: { stream: T } }'),
    'f.yaml:9:5: this grant has more than one verb. write a grant for each of them',
  ],
  [
    'a pattern of the server',
    grant('{ to: plant-a, append: { stream: T, subjects: ["$JS.>"] } }'),
    'f.yaml:9:52: "$JS.>" is not a subject pattern that a link may write. subjects of the server ($..., _INBOX...) are left alone',
  ],
  [
    'a pattern with > in the middle',
    grant('{ to: plant-a, append: { stream: T, subjects: [a.b, "a.>.b"] } }'),
    'f.yaml:9:57: "a.>.b" is not a subject pattern: ">" before its end. write tokens joined by dots, as fleet.*.status or fleet.>',
  ],
];

function link(body: string): string {
  return `${head}links:\n  t: ${body}\n`;
}

function grant(body: string): string {
  return `${head}grants:\n  - ${body}\n`;
}

it.each(cases)('says what is wrong with %s', (_, text, ...expected) => {
  expect(problemsOf(text)).toEqual(expected);
});

it('finds nothing wrong with the file that the cases start from', () => {
  expect(problemsOf(head)).toEqual([]);
});

it('tells everything at once, in the order of the file', () => {
  const text = `version: 1
cluster: hub
trustDomain: ACME
tls: { cert: a, key: b }
nats: { servers: [nats://n1], pasword: { env: P } }
listen: 7443
peers: { plant-a: {} }
links:
  a: { kind: fan-in, from: { cluster: plant-b, stream: a.b }, to: { stream: F }, class: bulk }
  b: { kind: fan-in, from: { cluster: plant-c, stream: T }, to: { stream: F } }
grants:
  - { to: plant-d, read: { steam: T } }
`;
  const places = problemsOf(text).map((problem) => problem.split(':').slice(1, 3).join(':'));
  expect(places).toEqual(['3:14', '4:1', '5:31', '6:9', '9:39', '9:56', '9:82', '10:39', '12:11', '12:28']);
});

it('shows no more problems than somebody would read', () => {
  const problems = problemsOf(`${head}${Array.from({ length: 500 }, (_, i) => `key-${i}: 1\n`).join('')}`);
  expect(problems).toHaveLength(101);
  expect(problems.at(-1)).toBe('f.yaml: 400 more problems are not shown. mend those above first');
});

it('never repeats a secret', () => {
  for (const text of [
    line(5, 'nats: { servers: ["nats://me:hunter2@n1"] }'),
    line(5, 'nats: { servers: "nats://me:hunter2@n1" }'),
    line(5, 'nats: { servers: [nats://n1], password: hunter2 }'),
    line(5, 'nats: { servers: [nats://n1], password: [hunter2] }'),
    line(5, 'nats: { servers: [nats://n1], password: { env: "hunter2 " } }'),
    line(5, 'nats: { servers: [nats://n1], password: { literal: hunter2 } }'),
    line(5, 'nats: { servers: [nats://n1], password: "hunter2 }'),
    line(5, 'nats: { servers: [nats://n1], password: {x}hunter2 }'),
    line(5, '"hunter2" hunter2'),
  ]) {
    const problems = problemsOf(text);
    expect(problems).not.toEqual([]);
    expect(problems.join('\n')).not.toContain('hunter2');
  }
});

it('takes a byte order mark, and refuses bytes that are not UTF-8 and files that are too large', () => {
  expect(problemsOf(`\uFEFF${head}`)).toEqual([]);
  expect(problemsOf(`\uFEFF${line(1, 'version: 2')}`)).toEqual(['f.yaml:1:10: must be 1, not 2. write 1']);
  expect(problemsOf(Uint8Array.of(0x61, 0xff, 0xfe))).toEqual([
    'f.yaml: the file is not text in UTF-8. save it as UTF-8',
  ]);
  expect(problemsOf(`${head}# ${'x'.repeat(1024 * 1024)}`)).toEqual([
    'f.yaml: the file is larger than 1 MiB. give the path of a topology file',
  ]);
});
