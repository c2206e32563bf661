/**
 * The images without Docker: the build steps of the Dockerfile in an empty folder, then what they made as a container would
 * run it: a user who may not write to it, nothing of the project around, the entry point as it is.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, cp, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Image, ImageFolders } from '../../scripts/image-folder.ts';
import { newest } from '../../src/brokers/nats/server-binary.ts';
import { freePorts } from '../../src/lib/free-ports.ts';
import { writeCerts } from '../../src/security/make-certs.ts';
import { root as project } from '../presubmit/tree.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import { type TempDir, tempDir, tempRoot } from '../support/temp.ts';
import { until } from '../support/until.ts';

const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
const buildLimitMs = 240_000;

let dir: TempDir;
let images: ImageFolders;
let nats: NatsServer;
const running = new Set<ChildProcess>();

beforeAll(async () => {
  dir = await tempDir('image');
  nats = await startNats({ name: 'image' });
  const server = (await newest())!;
  const stages = join(dir.path, 'stages');
  await mkdir(stages);
  images = new ImageFolders({
    context: project,
    dir: stages,
    files: (image): Readonly<Record<string, string>> => (/\/nats:/.test(image) ? { '/nats-server': server.path } : {}),
    runLimitMs: buildLimitMs / 2,
  });
  if (!isRoot) return;
  // The user of the image has to get to it; of what lies beside it only the names of the folders are known to nobody.
  for (const path of [tempRoot(), dir.path, stages]) await chmod(path, 0o711);
});

afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  await nats.dispose();
  await makeWritable(dir.path, true);
  await dir.remove();
});

/** Its files as a read-only root has them, or writable again so that they can be removed. */
async function makeWritable(path: string, writable: boolean): Promise<void> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  for (const folder of [path, ...folders]) await chmod(folder, writable ? 0o755 : 0o555);
}

interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

class Container implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome>;
  output = '';

  /** `command` as in the image, with its paths where they lie here. */
  constructor(image: Image, command: readonly string[], env: Readonly<Record<string, string>>) {
    const [program, ...args] = command.map((word) => (word.startsWith('/') ? join(image.root, word) : word));
    expect(program).toBe('node');
    const [uid, gid] = (image.config.user ?? '').split(':').map(Number);
    this.child = spawn(join(dir.path, 'node'), args, {
      cwd: join(image.root, image.config.workdir),
      // Neither HOME nor TMPDIR: there is no place to write to.
      env: { PATH: join(image.root, 'usr/local/bin'), ...image.config.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(isRoot ? { uid: uid!, gid: gid! } : {}),
    });
    running.add(this.child);
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.ended = new Promise((done, failed) => {
      this.child.once('error', failed);
      this.child.once('close', (code) => {
        running.delete(this.child);
        done({ code, output: this.output });
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** Topology file and certificates, as a user mounts them; gives the environment that leads to them. */
async function mount(name: string, natsPlan: unknown): Promise<Readonly<Record<string, string>> & { monitor: string }> {
  const config = join(dir.path, name);
  await writeCerts(config, { trustDomain: 'acme', clusters: [{ cluster: 'hub' }] });
  const [monitor, listen] = await freePorts(2);
  const file = join(config, 'topology.yaml');
  await writeFile(
    file,
    JSON.stringify({
      version: 1,
      cluster: 'hub',
      trustDomain: 'acme',
      tls: { cert: 'hub.crt', key: 'hub.key', ca: 'ca.crt' },
      nats: natsPlan,
      listen: `127.0.0.1:${listen}`,
      monitor: `127.0.0.1:${monitor}`,
      peers: { plant: {} },
    }),
  );
  await chmod(config, 0o755);
  await chmod(join(config, 'hub.key'), 0o644);
  const base = `http://127.0.0.1:${monitor}`;
  return { CAUSEWAY_CONFIG: file, CAUSEWAY_HEALTHCHECK: `${base}/healthz`, monitor: base };
}

async function build(target: string): Promise<Image> {
  const image = await images.build(target);
  await makeWritable(join(image.root, 'app'), false);
  // The Node.js of this machine in place of the image's, where that user can reach it.
  await cp(process.execPath, join(dir.path, 'node'), { force: false });
  return image;
}

async function runs(image: Image, { monitor, ...env }: Awaited<ReturnType<typeof mount>>): Promise<void> {
  const { entrypoint, cmd, healthcheck, stopSignal } = image.config;
  await using daemon = new Container(image, [...entrypoint, ...cmd], env);
  const answers = async (): Promise<boolean> => {
    if (daemon.child.exitCode !== null) throw new Error(`ended with ${daemon.child.exitCode}:\n${daemon.output}`);
    const status = await fetch(`${monitor}/statusz`).catch(() => undefined);
    return status?.ok === true && ((await status.json()) as { nats: { connected: boolean } }).nats.connected;
  };
  await until(answers, { what: () => `the daemon to answer\n${daemon.output}`, deadlineMs: 30_000 });
  if (isRoot) expect((await stat(`/proc/${daemon.child.pid}`)).uid).toBe(65532);
  expect((await fetch(`${monitor}/healthz`)).status).toBe(200);
  expect(await new Container(image, healthcheck, env).ended).toEqual({ code: 0, output: 'healthy\n' });
  daemon.child.kill(stopSignal as NodeJS.Signals);
  const { code, output } = await daemon.ended;
  expect(code, output).toBe(0);
  const without = await new Container(image, healthcheck, env).ended;
  expect(without.code, without.output).toBe(1);
  expect(without.output).toMatch(/\/healthz does not answer: /);
}

test('the image of the daemon', { timeout: buildLimitMs }, async () => {
  const image = await build('causeway');
  expect((await readdir(join(image.root, 'app'))).sort()).toEqual(
    ['LICENSE', 'dist', 'healthcheck.mjs', 'node_modules', 'package.json'].sort(),
  );
  const packages = await readdir(join(image.root, 'app/node_modules'));
  expect(packages).toContain('commander');
  expect(packages).not.toContain('typescript');
  expect(await readdir(image.root)).not.toContain('usr');
  const version = await new Container(image, [...image.config.entrypoint, '--version'], {}).ended;
  expect(version.code, version.output).toBe(0);
  await runs(image, await mount('plain', { servers: [nats.url] }));
});

test('the image with nats-server', { timeout: buildLimitMs }, async () => {
  const image = await build('causeway-embedded');
  const store = join(image.root, 'var/lib/causeway');
  await runs(image, await mount('embedded', { embedded: { store, port: (await freePorts(1))[0] } }));
  expect(await readdir(store)).toContain('jetstream');
  await rm(store, { recursive: true });
});
