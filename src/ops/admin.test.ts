import { once } from 'node:events';
import { existsSync, linkSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TempDir, tempDir } from '../../test/support/temp.ts';
import { until } from '../../test/support/until.ts';
import type { LogFields, Logger } from '../lib/logger.ts';
import { FailureError } from '../wire/reasons.ts';
import { type Admin, startAdmin } from './admin.ts';
import { AdminError, type AdminVerb } from './admin-verb.ts';

let dir: TempDir;
let socket: string;
const started: Admin[] = [];
const logged: { readonly event: string; readonly fields: LogFields }[] = [];
beforeEach(async () => {
  dir = await tempDir('admin');
  socket = join(dir.path, 'run', 'admin.sock');
  logged.length = 0;
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((admin) => admin.stop()));
  await dir.remove();
});

const note = (event: string, fields: LogFields = {}): void => void logged.push({ event, fields });
const log: Logger = { debug: () => undefined, info: note, warn: note, error: note, child: () => log };

async function start(...verbs: readonly (Partial<AdminVerb> & Pick<AdminVerb, 'run'>)[]): Promise<Admin> {
  const named = verbs.map((verb) => ({ name: 'do it', changes: false, ...verb }));
  const admin = await startAdmin({ socket, verbs: named, log });
  started.push(admin);
  return admin;
}

interface Answered {
  readonly code: number | undefined;
  readonly lines: readonly unknown[];
}

/** Sends a body and reads the whole answer. */
async function post(path: string, body: string | object, method = 'POST'): Promise<Answered> {
  const asked = request({ socketPath: socket, path, method, agent: false });
  asked.on('error', () => undefined);
  asked.end(typeof body === 'string' ? body : JSON.stringify(body));
  const [response] = await once(asked, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  const lines = text.split('\n').filter((line) => line !== '');
  return { code: response.statusCode, lines: lines.map((line) => JSON.parse(line)) };
}

describe('the admin socket', () => {
  it('runs a verb with its arguments and answers line by line', async () => {
    await start({
      async run(args, { progress, item }) {
        const [name, times] = [args.text('name'), args.count('times')];
        args.done();
        progress({ done: 0 });
        await item({ name });
        await item({ times });
        return { ok: true };
      },
    });
    expect(await post('/v1/do/it', { args: { name: 'a', times: 2 } })).toEqual({
      code: 200,
      lines: [{ progress: { done: 0 } }, { item: { name: 'a' } }, { item: { times: 2 } }, { result: { ok: true } }],
    });
  });

  it.each([
    ['a path that is no verb', '/v1/do', '{}', 404, 'unknown-verb'],
    ['a body that is no JSON', '/v1/do/it', '{', 400, 'usage'],
    ['a key that there is not', '/v1/do/it', '{"arg": {}}', 400, 'usage'],
    ['a dry run of what changes nothing', '/v1/do/it', '{"dryRun": true}', 400, 'usage'],
    ['an argument that there is not', '/v1/do/it', '{"args": {"nmae": "a"}}', 400, 'usage'],
    ['an argument of another kind', '/v1/do/it', '{"args": {"name": 1}}', 400, 'usage'],
    ['more than it takes', '/v1/do/it', `{"args": {"name": "${'x'.repeat(70_000)}"}}`, 413, 'usage'],
  ])('refuses %s', async (_, path, body, code, kind) => {
    await start({
      async run(args) {
        args.text('name');
        args.done();
      },
    });
    expect(await post(path, body)).toMatchObject({ code, lines: [{ error: { kind } }] });
  });

  it('takes POST only', async () => {
    await start({ run: async () => undefined });
    expect((await post('/v1/do/it', '', 'GET')).code).toBe(405);
  });

  it('tells what was in the way, and of a defect to the log', async () => {
    const thrown: Error[] = [
      new AdminError('no such lane'),
      new FailureError('nats-unreachable', 'away'),
      new Error('a defect'),
    ];
    await start({
      run: async () => {
        throw thrown.shift();
      },
    });
    expect(await post('/v1/do/it', {})).toEqual({
      code: 400,
      lines: [{ error: { kind: 'usage', detail: 'no such lane' } }],
    });
    expect(await post('/v1/do/it', {})).toEqual({
      code: 503,
      lines: [{ error: { kind: 'failed', reason: 'nats-unreachable', detail: 'away' } }],
    });
    expect(await post('/v1/do/it', {})).toMatchObject({ code: 503, lines: [{ error: { reason: 'internal' } }] });
    expect(logged.map(({ event }) => event)).toEqual(['admin-listening', 'internal-error']);
  });

  it('keeps an account of what changes something, and passes the dry run on', async () => {
    await start({ changes: true, run: async (args, { dryRun }) => ({ was: args.text('lane'), dryRun }) });
    expect((await post('/v1/do/it', { args: { lane: 'a' }, dryRun: true })).lines).toEqual([
      { result: { was: 'a', dryRun: true } },
    ]);
    const audits = logged.filter(({ event }) => event === 'audit').map(({ fields }) => fields);
    expect(audits).toMatchObject([
      { verb: 'do it', args: { lane: 'a' }, by: 'admin socket', dryRun: true, outcome: 'begun' },
      { outcome: 'done' },
    ]);
  });

  it('stops a verb whose caller goes away', async () => {
    let stopped = false;
    await start({
      async run(_, { signal, progress }) {
        progress('begun');
        await once(signal, 'abort');
        stopped = true;
      },
    });
    const asked = request({ socketPath: socket, path: '/v1/do/it', method: 'POST', agent: false });
    asked.on('error', () => undefined);
    asked.end('{}');
    const [response] = await once(asked, 'response');
    response.on('error', () => undefined);
    response.destroy();
    await until(() => stopped, { what: () => 'the verb to stop' });
  });

  it('holds an item back while the caller does not read', async () => {
    let written = 0;
    await start({
      async run(_, { item, signal }) {
        for (; written < 2_000 && !signal.aborted; written++) await item('x'.repeat(10_000));
      },
    });
    const asked = request({ socketPath: socket, path: '/v1/do/it', method: 'POST', agent: false });
    asked.on('error', () => undefined);
    asked.end('{}');
    const [response] = await once(asked, 'response');
    let before = -1;
    await until(
      () => {
        const still = written === before;
        before = written;
        return still;
      },
      { everyMs: 200, what: () => 'the verb to wait' },
    );
    expect(written).toBeLessThan(2_000);
    let bytes = 0;
    for await (const chunk of response) bytes += chunk.length;
    expect(bytes).toBeGreaterThan(2_000 * 10_000);
  });

  it('ends what still runs when the daemon stops', async () => {
    let running = false;
    const admin = await start({
      async run(_, { signal }) {
        running = true;
        await once(signal, 'abort');
        throw new Error('broken off');
      },
    });
    const answer = post('/v1/do/it', {});
    await until(() => running, { what: () => 'the verb to run' });
    await admin.stop();
    expect((await answer).lines.at(-1)).toMatchObject({ error: { kind: 'stopping' } });
    expect(existsSync(socket)).toBe(false);
  });
});

describe('the file of the socket', () => {
  const idle = { run: async () => 'here' };

  it('is for its owner only, and so is the folder that was made for it', async () => {
    await start(idle);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir.path, 'run')).mode & 0o777).toBe(0o700);
  });

  it('is left alone where somebody answers', async () => {
    await start(idle);
    await expect(start(idle)).rejects.toThrow(/admin socket .*admin.sock: another daemon answers on it/);
    expect((await post('/v1/do/it', {})).lines).toEqual([{ result: 'here' }]);
  });

  it('is left alone where it is no socket', async () => {
    socket = join(dir.path, 'file');
    await writeFile(socket, 'precious');
    await expect(start(idle)).rejects.toThrow('a file that is no socket');
    expect(statSync(socket).isFile()).toBe(true);
  });

  it('is replaced where a daemon that was killed left it', async () => {
    // A second name of the file stays when its server closes, and nobody answers there any more.
    socket = join(dir.path, 'admin.sock');
    const server = createServer().listen(`${socket}.other`);
    await once(server, 'listening');
    linkSync(`${socket}.other`, socket);
    await new Promise((resolve) => server.close(resolve));
    expect(statSync(socket).isSocket()).toBe(true);
    await start(idle);
    expect((await post('/v1/do/it', {})).lines).toEqual([{ result: 'here' }]);
  });
});
