import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { Logger } from '../lib/logger.ts';
import { pause } from '../lib/pause.ts';
import { type AdminVerb, adminPath } from './admin-verb.ts';
import { type AdminRequest, runVerb } from './verb-run.ts';

const maxHeaderBytes = 8 * 1024;
/** Arguments of a verb, as JSON. */
const maxBodyBytes = 64 * 1024;
const maxConnections = 32;
const probeMs = 2_000;
const stopMs = 2_000;

export interface AdminOptions {
  /** Path of the unix socket; its folder is made if it is missing. */
  readonly socket: string;
  readonly verbs: readonly AdminVerb[];
  readonly log: Logger;
}

export interface Admin {
  /** Breaks off what still runs, and takes the socket away. */
  stop(): Promise<void>;
}

/**
 * Starts the admin socket: HTTP over a unix socket that only the daemon's own user may open (mode 0600), for the verbs that look
 * deeper than the monitor does, or change something.
 *
 * A verb is called by `POST` of `{"args": {...}, "dryRun": true}` to its path (`/v1/gaps/list`). The answer is one JSON value a line:
 * any number of `{"progress": ...}` and `{"item": ...}`, and as its last line `{"result": ...}` or `{"error": {...}}`. An answer that
 * ends without one of these was broken off. Whoever closes the connection stops the verb.
 *
 * The file of a socket that nobody answers on, as a killed daemon leaves it, is replaced. Fails if somebody does, or if what is there
 * is no socket.
 */
export async function startAdmin({ socket, verbs, log }: AdminOptions): Promise<Admin> {
  const byPath = new Map(verbs.map((verb) => [adminPath(verb.name), verb]));
  if (byPath.size !== verbs.length) throw new Error('two verbs have one name');
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  const server = createServer(
    // Times out whoever connects and says nothing, or says it slowly. An answer may take as long as it wants.
    { maxHeaderSize: maxHeaderBytes, headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 1_000 },
    (request, response) => {
      const answered = answer(request, response, { byPath, log, stopping: stopping.signal })
        .catch((error: unknown) => {
          log.error('internal-error', { where: 'admin', error });
          response.destroy();
        })
        .finally(() => running.delete(answered));
      running.add(answered);
    },
  );
  server.maxConnections = maxConnections;
  try {
    await listen(server, socket);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`cannot listen on the admin socket ${socket}: ${why}`, { cause });
  }
  server.on('error', (error) => log.error('admin-failed', { error }));
  log.info('admin-listening', { socket });
  return {
    stop: async () => {
      stopping.abort();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // A verb that does not hear the signal holds up nobody.
      await Promise.race([Promise.all(running), pause(stopMs)]);
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Desk {
  readonly byPath: ReadonlyMap<string, AdminVerb>;
  readonly log: Logger;
  readonly stopping: AbortSignal;
}

async function answer(request: IncomingMessage, response: ServerResponse, desk: Desk): Promise<void> {
  const refuse = (code: number, kind: 'usage' | 'unknown-verb', detail: string): void => {
    const body = `${JSON.stringify({ error: { kind, detail } })}\n`;
    response.writeHead(code, { 'Content-Type': 'application/x-ndjson', Connection: 'close' });
    response.end(body);
  };
  // Somebody who goes away in the middle is no failure.
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  const verb = desk.byPath.get(request.url ?? '');
  if (verb === undefined) return refuse(404, 'unknown-verb', 'this daemon has no such verb');
  if (request.method !== 'POST') return refuse(405, 'usage', 'only POST');
  const body = await readBody(request);
  if (body === 'too-large') return refuse(413, 'usage', `a request has at most ${maxBodyBytes} bytes`);
  if (body === 'broken') return void response.destroy();
  const call = parseRequest(body);
  if (call === undefined) return refuse(400, 'usage', 'the body must be {"args": {...}, "dryRun": true or false}');
  if (call.dryRun && !verb.changes) return refuse(400, 'usage', `${verb.name} changes nothing: there is no dry run`);
  await runVerb(verb, call, response, desk);
}

async function readBody(request: IncomingMessage): Promise<string | 'too-large' | 'broken'> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request) {
      bytes += chunk.length;
      if (bytes > maxBodyBytes) return 'too-large';
      chunks.push(chunk);
    }
  } catch {
    // The client went away before it had said everything.
    return 'broken';
  }
  return Buffer.concat(chunks).toString();
}

function parseRequest(text: string): AdminRequest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { args = {}, dryRun = false, ...rest } = value;
  if (!isObject(args) || typeof dryRun !== 'boolean' || Object.keys(rest).length > 0) return undefined;
  return { args, dryRun };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function listen(server: Server, socket: string): Promise<void> {
  mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  try {
    await bind(server, socket);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    if (!lstatSync(socket).isSocket()) throw new Error('there is a file that is no socket', { cause: error });
    if (await isAnswered(socket)) throw new Error('another daemon answers on it', { cause: error });
    rmSync(socket);
    await bind(server, socket);
  }
}

/** Nobody else may open the socket at any moment: it is made with its mode, by the mask. */
async function bind(server: Server, socket: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const before = process.umask(0o177);
    try {
      server.listen(socket, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
  chmodSync(socket, 0o600);
}

/** Somebody listens there: also one who is frozen, and takes the connection without a word. */
function isAnswered(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    const settle = (answered: boolean): void => {
      probe.destroy();
      resolve(answered);
    };
    probe.once('connect', () => settle(true));
    probe.once('error', (error: NodeJS.ErrnoException) =>
      settle(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
    probe.setTimeout(probeMs, () => settle(true));
  });
}
