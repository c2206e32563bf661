import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkFiles, loadTopology } from './load.ts';
import type { Plan } from './plan.ts';
import { formatProblem } from './problem.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'causeway-load-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function load(name: string, text: string): Plan {
  const loaded = loadTopology(write(name, text));
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  expect(loaded.warnings).toEqual([]);
  return loaded.plan;
}

const full = `version: 1
cluster: hub
trustDomain: acme
tls: { cert: certs/hub.crt, key: /etc/hub.key, ca: ../ca.crt }
nats:
  servers: [nats://n1, "tls://[2001:db8::1]:4333"]
  user: { env: NATS_USER }
  password: { file: secrets/password }
  tls: { ca: nats-ca.crt }
  domain: hub
listen: "[::]:0"
monitor: localhost:9000
memory: 64MiB
peers:
  plant-b: {}
  plant-a: { dial: ["a.example:7443", "[::1]:7444"] }
links:
  telemetry: { kind: fan-in, from: { cluster: [plant-b, plant-a], stream: TELEMETRY }, to: { stream: FLEET, subject: "fleet.{origin}.{subject}" } }
  up: { kind: fan-in, from: { stream: FLEET }, to: { cluster: plant-a, stream: COPY } }
grants:
  - { to: plant-a, read: { stream: NEWS } }
  - { to: plant-b, append: { stream: INBOUND, subjects: ["in.b.>"] } }
`;

describe('a plan', () => {
  it('is complete: defaults applied, paths absolute, addresses in parts, ends named', () => {
    const plan = load('full.yaml', full);
    expect(plan).toEqual({
      cluster: 'hub',
      trustDomain: 'acme',
      tls: { cert: join(folder, 'certs/hub.crt'), key: '/etc/hub.key', ca: join(folder, '../ca.crt') },
      nats: {
        servers: ['nats://n1', 'tls://[2001:db8::1]:4333'],
        user: { env: 'NATS_USER' },
        password: { file: join(folder, 'secrets/password') },
        tls: { ca: join(folder, 'nats-ca.crt') },
        domain: 'hub',
      },
      listen: { host: '::', port: 0 },
      monitor: { host: 'localhost', port: 9000 },
      memoryBytes: 64 * 1024 * 1024,
      peers: [
        { cluster: 'plant-b', dial: [] },
        {
          cluster: 'plant-a',
          dial: [
            { host: 'a.example', port: 7443 },
            { host: '::1', port: 7444 },
          ],
        },
      ],
      groups: [],
      links: [
        {
          name: 'telemetry',
          kind: 'fan-in',
          from: { clusters: ['plant-a', 'plant-b'], stream: 'TELEMETRY' },
          to: { clusters: ['hub'], stream: 'FLEET', subject: 'fleet.{origin}.{subject}' },
          origins: [],
        },
        {
          name: 'up',
          kind: 'fan-in',
          from: { clusters: ['hub'], stream: 'FLEET' },
          to: { clusters: ['plant-a'], stream: 'COPY', subject: '{subject}' },
          origins: [],
        },
      ],
      grants: [
        { to: 'plant-a', verb: 'read', stream: 'NEWS' },
        { to: 'plant-b', verb: 'append', stream: 'INBOUND', subjects: ['in.b.>'] },
      ],
      file: join(folder, 'full.yaml'),
      hash: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
  });

  it('has the documented defaults, and an embedded server in place of others', () => {
    const plan = load(
      'small.yaml',
      'version: 1\ncluster: edge\ntrustDomain: acme\ntls: { cert: a, key: b, ca: c }\nnats: { embedded: { store: data } }\n',
    );
    expect(plan).toMatchObject({ monitor: { host: '127.0.0.1', port: 7444 }, peers: [], links: [], grants: [] });
    expect(plan.listen).toBeUndefined();
    expect(plan.nats).toEqual({ servers: [], embedded: { store: join(folder, 'data'), port: 4222 } });
  });

  it('cannot be changed, all the way down', () => {
    const plan = load('frozen.yaml', full);
    const parts: unknown[] = [plan];
    for (const part of parts) {
      if (typeof part !== 'object' || part === null) continue;
      expect(Object.isFrozen(part)).toBe(true);
      parts.push(...Object.values(part));
    }
    expect(parts.length).toBeGreaterThan(50);
  });

  it('has the hash of its text', () => {
    const plan = load('hash-1.yaml', full);
    expect(load('hash-2.yaml', full).hash).toBe(plan.hash);
    expect(load('hash-3.yaml', `${full}# more\n`).hash).not.toBe(plan.hash);
  });
});

describe('a file that cannot be read', () => {
  it.each([
    ['is missing', () => join(folder, 'no.yaml'), 'the file does not exist. give the path of a topology file'],
    [
      'lies below a file',
      () => join(write('f', ''), 'no.yaml'),
      'the file does not exist. give the path of a topology file',
    ],
    ['is a directory', () => folder, 'this is a directory. give the path of a topology file'],
    [
      'has an impossible name',
      () => 'a\0b',
      'the file cannot be read (ERR_INVALID_ARG_VALUE). give the path of a topology file',
    ],
    ['has no end', () => '/dev/zero', 'the file is larger than 1 MiB. give the path of a topology file'],
  ])('%s: one problem, and nothing thrown', (_, path, expected) => {
    const file = path();
    const loaded = loadTopology(file);
    expect(loaded.ok ? [] : loaded.problems.map(formatProblem)).toEqual([`${file}: ${expected}`]);
  });
});

describe('warnings', () => {
  it('do not keep a file from being used', () => {
    const ring = full.replace('to: { cluster: plant-a, stream: COPY }', 'to: { cluster: plant-a, stream: TELEMETRY }');
    const path = write('ring.yaml', ring);
    const loaded = loadTopology(path);
    expect(loaded.ok && loaded.warnings.map(formatProblem)).toEqual([
      `${path}:19:3: warning: links form a cycle: hub/FLEET -> plant-a/TELEMETRY -> hub/FLEET; records that have been round are dropped. take a link out if this is not meant`,
    ]);
  });
});

describe('checkFiles', () => {
  it('points at every file and variable that a daemon would miss', () => {
    const plan = load('files.yaml', full);
    mkdirSync(join(folder, 'certs/hub.crt'), { recursive: true });
    write('nats-ca.crt', '');
    const found = checkFiles(plan, { NATS_USER: '' }).map(formatProblem);
    const gone = 'the file does not exist. give the path of a file, relative to the topology file or absolute';
    const file = join(folder, 'files.yaml');
    expect(found).toEqual([
      `${file}:4:14: ${join(folder, 'certs/hub.crt')}: this is a directory. give the path of a file`,
      `${file}:4:34: /etc/hub.key: ${gone}`,
      `${file}:4:52: ${join(folder, '../ca.crt')}: ${gone}`,
      `${file}:7:16: the environment variable "NATS_USER" is not set. set it for the daemon`,
      `${file}:8:21: ${join(folder, 'secrets/password')}: ${gone}`,
      `${file}:9:14: ${join(folder, 'nats-ca.crt')}: the file is empty. put the right one in its place`,
    ]);
  });

  it('finds nothing when all is there, and needs no file to say where a plan went wrong', () => {
    const text =
      'version: 1\ncluster: edge\ntrustDomain: acme\ntls: { cert: p.pem, key: p.pem, ca: p.pem }\nnats: { servers: [nats://a], token: { env: T } }\n';
    const plan = load('there.yaml', text);
    write('p.pem', 'x');
    expect(checkFiles(plan, { T: 'x' })).toEqual([]);
    const [problem] = checkFiles({ ...plan, nats: { servers: [], token: { env: 'U' } } }, {});
    expect(problem).toEqual({
      severity: 'error',
      file: plan.file,
      message: 'the environment variable "U" is not set',
      fix: 'set it for the daemon',
    });
  });
});
