import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { delimiter, dirname, join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { expect, test } from 'vitest';
import { EmbeddedServer } from '../../src/brokers/nats/embedded.ts';
import { commandOf, isAlive } from '../../src/brokers/nats/process-info.ts';
import { atLeast, type ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { freePorts } from '../../src/lib/free-ports.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import { eachServer } from '../support/each-server.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

interface Fixture extends AsyncDisposable {
  readonly server: EmbeddedServer;
  readonly store: string;
  readonly health: readonly (Failure | undefined)[];
  /** The last word on health. */
  readonly now: () => Failure | undefined | 'never told';
  readonly events: readonly string[];
}

async function embedded(binary: ServerBinary, port = 0, givenStore?: string): Promise<Fixture> {
  const dir = await tempDir('embedded');
  const store = givenStore ?? join(dir.path, 'store');
  const health: (Failure | undefined)[] = [];
  const events: string[] = [];
  const note = (event: string): void => void events.push(event);
  const log: Logger = { ...silentLogger, info: note, warn: note, error: note };
  const onHealth = (failure: Failure | undefined): void => void health.push(failure);
  const server = new EmbeddedServer({ plan: { store, port }, binary, serverName: 'emb', log, onHealth });
  return {
    server,
    store,
    health,
    now: () => (health.length === 0 ? 'never told' : health.at(-1)),
    events,
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await dir.remove();
    },
  };
}

const { signal } = new AbortController();

async function publish(url: string): Promise<number> {
  const nc = await connect({ servers: url });
  try {
    await (await jetstreamManager(nc)).streams.add({ name: 'S', subjects: ['s'] });
    return (await jetstream(nc).publish('s', 'x')).seq;
  } finally {
    await nc.close();
  }
}

/** A daemon stand-in with an embedded server, as a process of its own that can be killed. */
async function hostProcess(binary: ServerBinary, store: string, port: number, path: string | undefined) {
  const script = new URL('../support/embedded-host.ts', import.meta.url).pathname;
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', script, binary.path, store, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PATH: path },
  });
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  return { child, ...(JSON.parse(line.toString()) as { up: boolean; pid: number; url: string }) };
}

await eachServer('ends', (binary) => {
  test('stores what it is given, over an orderly stop and a new start', async () => {
    const [port] = (await freePorts(1)) as [number];
    const dir = await tempDir('store');
    for (const expected of [1, 2]) {
      await using fixture = await embedded(binary, port, dir.path);
      await fixture.server.start(signal);
      expect(fixture.now()).toBeUndefined();
      expect(fixture.server.url).toBe(`nats://127.0.0.1:${port}`);
      expect(await publish(fixture.server.url)).toBe(expected);
      const { pid } = fixture.server;
      await fixture.server.stop();
      expect(isAlive(pid)).toBe(false);
    }
    expect(existsSync(join(dir.path, 'owner.json'))).toBe(false);
    await dir.remove();
  });

  test('syncs always where the server knows how, and says so where not', async () => {
    await using fixture = await embedded(binary);
    await fixture.server.start(signal);
    const config = await readFile(join(fixture.store, 'nats-server.conf'), 'utf8');
    const knows = atLeast(binary.version, 2, 10);
    expect(config.includes('"sync_interval":"always"')).toBe(knows);
    expect(fixture.events.includes('embedded-sync-unsupported')).toBe(!knows);
  });

  test('comes back on the same port with its store when it dies', async () => {
    await using fixture = await embedded(binary);
    await fixture.server.start(signal);
    const { url, pid } = fixture.server;
    expect(await publish(url)).toBe(1);
    process.kill(pid, 'SIGKILL');
    await until(() => fixture.server.pid !== 0 && fixture.server.pid !== pid && fixture.now() === undefined, {
      what: 'a new server',
    });
    expect(fixture.health.map((one) => one?.reason)).toEqual([undefined, 'embedded-down', undefined]);
    expect(fixture.health[1]?.detail).toContain('SIGKILL');
    expect(fixture.server.url).toBe(url);
    expect(await publish(url)).toBe(2);
  });
});

await eachServer('newest', (binary) => {
  test('a port that is taken is a failure that names it, and ends when the port is free', async () => {
    const holder: Server = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as { port: number };
    await using fixture = await embedded(binary, port);
    await fixture.server.start(signal);
    expect(fixture.now()).toMatchObject({ reason: 'embedded-down' });
    expect((fixture.now() as Failure).detail).toMatch(/address already in use/);
    holder.close();
    await until(() => fixture.now() === undefined, { what: 'the server to start on the freed port' });
  });

  test('a binary that is not there is a failure, not an exception', async () => {
    await using fixture = await embedded({ path: join(dirname(binary.path), 'no-such-server'), version: [2, 10, 0] });
    await fixture.server.start(signal);
    expect(fixture.now()).toMatchObject({ reason: 'embedded-down' });
  });

  test('a second daemon does not touch a store in use, and takes it when it is given free', async () => {
    await using first = await embedded(binary);
    await first.server.start(signal);
    const { pid } = first.server;
    await using second = await embedded(binary, 0, first.store);
    await second.server.start(signal);
    expect((second.now() as Failure).detail).toContain(`used by process ${process.pid}`);
    expect(isAlive(pid)).toBe(true);
    await first.server.stop();
    await until(() => second.now() === undefined, { what: 'the second daemon to take the store' });
  });

  test('abort ends a server that was started', async () => {
    await using fixture = await embedded(binary);
    const abort = new AbortController();
    await fixture.server.start(abort.signal);
    const { pid } = fixture.server;
    abort.abort();
    await until(() => !isAlive(pid), { what: 'the server to end' });
    await fixture.server.stop();
  });

  test.runIf(process.platform === 'linux')('dies with a daemon that is killed', async () => {
    await using dir = await tempDir('killed');
    const [port] = (await freePorts(1)) as [number];
    const host = await hostProcess(binary, dir.path, port, process.env.PATH);
    expect(host.up).toBe(true);
    host.child.kill('SIGKILL');
    await until(async () => (await commandOf(host.pid)) === undefined, { what: 'the server to end with its daemon' });
  });

  test('an orphan of a killed daemon, even a frozen one, is ended before its store is used', async () => {
    await using dir = await tempDir('orphan');
    const [port] = (await freePorts(1)) as [number];
    // Without setpriv on PATH the server cannot be tied to its daemon's life, as on other platforms.
    const host = await hostProcess(binary, dir.path, port, ['', 'nowhere'].join(delimiter));
    process.kill(host.pid, 'SIGSTOP');
    host.child.kill('SIGKILL');
    await once(host.child, 'exit');
    expect(await commandOf(host.pid)).toContain(dir.path);
    await using next = await embedded(binary, port, dir.path);
    await next.server.start(signal);
    expect(next.now()).toBeUndefined();
    expect(next.events).toContain('embedded-orphan-ended');
    expect(await commandOf(host.pid)).toBeUndefined();
    expect(await publish(next.server.url)).toBe(1);
  });
});
