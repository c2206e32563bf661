import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { causeway } from '../../test/support/causeway.ts';
import { daemonStatus, laneStatus } from '../../test/support/daemon-status.ts';
import { inProcess } from '../../test/support/in-process.ts';
import { type TempDir, tempDir } from '../../test/support/temp.ts';
import { silentLogger } from '../lib/logger.ts';
import { createMetrics } from '../ops/metrics.ts';
import { type Monitor, startMonitor } from '../ops/monitor.ts';
import type { DaemonStatus } from '../ops/status.ts';

let dir: TempDir;
const monitors: Monitor[] = [];
beforeAll(async () => {
  dir = await tempDir('cli');
  await writeFile(join(dir.path, 'hub.yaml'), topology);
  await writeFile(join(dir.path, 'bad.yaml'), topology.replace('cluster: hub', 'cluster: Hub\ncolour: red'));
});
afterAll(async () => {
  await Promise.all(monitors.map((monitor) => monitor.stop()));
  await dir.remove();
});

const topology = `version: 1
cluster: hub
trustDomain: acme
tls: { cert: certs/hub.crt, key: certs/hub.key, ca: certs/ca.crt }
nats: { servers: ["nats://127.0.0.1:4222"] }
listen: 127.0.0.1:7443
peers:
  plant-a: {}
links:
  telemetry: { kind: fan-in, from: { cluster: plant-a, stream: TELEMETRY }, to: { stream: FLEET } }
`;

const path = (name: string): string => join(dir.path, name);

async function monitorOf(status: DaemonStatus): Promise<string> {
  const address = { host: '127.0.0.1', port: 0 };
  const metrics = createMetrics({ version: '1' });
  const monitor = await startMonitor({ address, status: () => status, metrics, log: silentLogger });
  monitors.push(monitor);
  return `${monitor.address.host}:${monitor.address.port}`;
}

describe('usage', () => {
  it('prints the version of package.json', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await causeway(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });

  it('lists its commands', async () => {
    const { code, out } = await inProcess(['--help']);
    expect(code).toBe(0);
    for (const command of ['run', 'check', 'graph', 'init', 'certs', 'status', 'schema', 'demo'])
      expect(out).toMatch(new RegExp(`^ {2}${command} `, 'm'));
  });

  it.each(['run', 'check', 'graph', 'init', 'certs', 'status', 'schema', 'demo'])(
    '%s has help with examples',
    async (command) => {
      const { code, out } = await inProcess([command, '--help']);
      expect(code).toBe(0);
      expect(out).toContain(`Usage: causeway ${command}`);
      expect(out).toMatch(/^Examples:\n {2}(\w+=\S+ )?causeway /m);
    },
  );

  it.each([
    [[], 'Usage: causeway'],
    [['chekc'], 'Did you mean check?'],
    [['check'], "missing required argument 'FILE'"],
    [['check', '--what'], "unknown option '--what'"],
    [['certs', 'hub'], "required option '--trust-domain <NAME>' not specified"],
    [['certs', '--trust-domain', 'acme', 'Hub'], 'A cluster is named by'],
    [['run', '--drain-timeout', '5'], 'Write a number and its unit'],
    [['run', 'a.yaml', '--config', 'b.yaml'], 'two files were given'],
    [['run', 'a.yaml', 'b.yaml'], 'too many arguments'],
    [['status', '--monitor', 'x y'], 'Write a URL'],
  ])('%j is bad usage: 2, said in words', async (args, words) => {
    const { code, out, err } = await inProcess(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(words);
    expect(err).not.toMatch(/^\s+at /m);
  });

  it('ends as a process with the same code and words', async () => {
    const { code, out, err } = await causeway(['chekc']);
    expect([code, out]).toEqual([2, '']);
    expect(err).toBe("causeway: unknown command 'chekc'\n(Did you mean check?)\n");
  });

  it('does not take a log level that there is not', async () => {
    const { code, err } = await inProcess(['run', 'x.yaml'], { CAUSEWAY_LOG: 'loud' });
    expect([code, err]).toEqual([2, 'causeway: CAUSEWAY_LOG is "loud"; it takes debug, info, warn, error, silent\n']);
  });
});

describe('check', () => {
  it('says what a good file holds', async () => {
    const { code, out } = await causeway(['check', 'hub.yaml', './hub.yaml'], { cwd: dir.path });
    expect([code, out]).toEqual([0, 'hub.yaml: cluster hub, 1 peer, 1 link, 0 grants\nok\n']);
  });

  it('says aloud what a link drains', async () => {
    await writeFile(path('drains.yaml'), topology.replace('stream: TELEMETRY', 'stream: TELEMETRY, consume: true'));
    const { code, out } = await inProcess(['check', path('drains.yaml')]);
    expect([code, out]).toEqual([0, expect.stringContaining(': a record goes from there once hub/')]);
  });

  it('shows every problem of every file with its place', async () => {
    const { code, out } = await causeway(['check', 'bad.yaml', 'none.yaml', 'hub.yaml'], { cwd: dir.path });
    expect(code).toBe(3);
    expect(out).toMatch(/^bad\.yaml:2:10: .*Hub/m);
    expect(out).toMatch(/^bad\.yaml:3:1: unknown key "colour"/m);
    expect(out).toMatch(/^none\.yaml: the file does not exist/m);
    expect(out).toContain('the graph was checked without 2 files\n3 errors\n');
  });
});

describe('run', () => {
  it('refuses a file that is wrong, with 3', async () => {
    const { code, out, err } = await causeway(['run', 'bad.yaml'], { cwd: dir.path });
    expect([code, out]).toEqual([3, '']);
    expect(err).toMatch(/^bad\.yaml:3:1: /m);
  });

  it('refuses a file whose certificates are missing, and takes it from the environment', async () => {
    const { code, err } = await inProcess(['run'], { CAUSEWAY_CONFIG: path('hub.yaml') });
    expect(code).toBe(3);
    expect(err).toMatch(/^\S+hub\.yaml:4:14: .*hub\.crt: the file does not exist/m);
  });

  it('looks in one place when it is told none', async () => {
    const { code, err } = await inProcess(['run'], { CAUSEWAY_CONFIG: '' });
    expect([code, err]).toEqual([3, expect.stringContaining('/etc/causeway/topology.yaml: ')]);
  });
});

describe('certs', () => {
  it('writes, keeps, replaces, and says what to do next', async () => {
    const args = ['--trust-domain', 'acme', '--days', '30', '--host', 'bridge.example', 'hub', 'plant-a'];
    const first = await causeway(['certs', ...args], { cwd: dir.path });
    expect(first.code).toBe(0);
    expect(first.out).toContain('wrote  certs/ca.crt and ca.key');
    expect(first.out).toContain('tls: { cert: certs/hub.crt, key: certs/hub.key, ca: certs/ca.crt }');
    const files = ['ca.crt', 'ca.key', 'hub.crt', 'hub.key', 'plant-a.crt', 'plant-a.key'];
    expect((await readdir(join(dir.path, 'certs'))).sort()).toEqual(files);

    const certificate = await readFile(join(dir.path, 'certs/hub.crt'), 'utf8');
    const again = (...args: string[]) =>
      inProcess(['certs', '--trust-domain', 'acme', '--dir', path('certs'), 'hub', ...args]);
    expect((await again()).out).toContain(`kept   ${path('certs/hub.crt')}`);
    expect((await again('--force')).out).toContain(`wrote  ${path('certs/hub.crt')} and hub.key`);
    expect(await readFile(join(dir.path, 'certs/hub.crt'), 'utf8')).not.toBe(certificate);

    const other = await inProcess(['certs', '--trust-domain', 'other', '--dir', path('certs'), 'hub']);
    expect(other).toMatchObject({ code: 1, out: '' });
    expect(other.err).toMatch(/^causeway: identity-mismatch: .*\n$/);
  });
});

describe('schema', () => {
  it('is JSON Schema', async () => {
    const { code, out } = await inProcess(['schema']);
    expect([code, JSON.parse(out).type]).toEqual([0, 'object']);
  });
});

describe('status', () => {
  it('shows a healthy daemon', async () => {
    const { code, out } = await inProcess(['status', '--monitor', await monitorOf(daemonStatus())]);
    expect(code).toBe(0);
    expect(out).toContain('telemetry/plant-a/hub');
  });

  it('prints JSON, and fails with 4 for one that is not healthy', async () => {
    const sick = daemonStatus({ lanes: [laneStatus({ state: 'gap', reason: 'expired' })] });
    const { code, out } = await inProcess(['status', '--json', '--monitor', `http://${await monitorOf(sick)}/`]);
    expect([code, JSON.parse(out)]).toEqual([4, sick]);
  });

  it('says that no daemon answers, with 5', async () => {
    const monitor = await monitorOf(daemonStatus());
    await monitors.find(({ address }) => monitor.endsWith(`:${address.port}`))?.stop();
    const { code, out, err } = await causeway(['status', '--monitor', monitor]);
    expect([code, out]).toEqual([5, '']);
    expect(err).toMatch(/^causeway: no daemon answers at http:.*ECONNREFUSED.*\n$/);
    const debug = await inProcess(['status', '--monitor', monitor], { CAUSEWAY_DEBUG: '1' });
    expect(debug.err).toMatch(/^ {4}at /m);
  });
});
