import { request } from 'node:http';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { type AdminFailure, type AdminLine, adminPath } from '../ops/admin-verb.ts';
import { clusterOfCertificate } from '../security/certs.ts';
import { loadTopology } from '../topology/load.ts';
import { type Cli, CliError } from './cli.ts';
import { chooseFile } from './config-file.ts';
import { exitCodes } from './exit-codes.ts';

/** Options of every command that goes to the admin socket. */
export interface AdminOptions {
  readonly config?: string;
  readonly socket?: string;
}

/** How a verb is called. */
export interface AdminCall {
  readonly verb: string;
  readonly args?: Readonly<Record<string, unknown>>;
  readonly dryRun?: boolean;
  readonly onItem?: (item: unknown) => void;
  readonly onProgress?: (progress: unknown) => void;
}

/** Adds the options by which a command finds the daemon. Its action passes them to `callAdmin`. */
export function withAdminOptions(command: Command): Command {
  return command
    .option('-c, --config <FILE>', 'topology file of the daemon, which says where its admin socket is')
    .option('--socket <PATH>', 'the admin socket itself');
}

/**
 * Has the daemon run a verb, and returns its result. Throws CliError with the exit code for whatever comes between; Ctrl-C ends the
 * process, by which the daemon stops the verb.
 */
export async function callAdmin(cli: Cli, options: AdminOptions, call: AdminCall): Promise<unknown> {
  const socket = options.socket ?? socketOf(cli, options.config);
  for await (const line of linesOf(socket, call)) {
    if ('item' in line) call.onItem?.(line.item);
    else if ('progress' in line) call.onProgress?.(line.progress);
    else if ('result' in line) return line.result;
    else throw errorOf(line.error, call.verb);
  }
  throw new CliError(exitCodes.failed, `the daemon broke off "${call.verb}" before it was done`);
}

/** The admin socket as the topology file has it. */
function socketOf(cli: Cli, config: string | undefined): string {
  const file = chooseFile(cli, undefined, config);
  const loaded = loadTopology(file, { clusterOf: clusterOfCertificate });
  if (!loaded.ok) {
    const [first] = loaded.problems;
    const why = `${file} cannot be used${first === undefined ? '' : `: ${first.message}`}`;
    throw new CliError(
      exitCodes.topologyInvalid,
      `${why}. Name the admin socket with --socket, or the file with --config`,
    );
  }
  const { admin } = loaded.plan;
  if (admin !== undefined) return admin.socket;
  const fix = 'add admin: { socket: PATH } to it and restart the daemon, or name the socket with --socket';
  throw new CliError(exitCodes.unreachable, `${file} has no admin socket: ${fix}`);
}

async function* linesOf(socket: string, { verb, args = {}, dryRun = false }: AdminCall): AsyncGenerator<AdminLine> {
  const body = JSON.stringify({ args, dryRun });
  const asked = request({
    socketPath: socket,
    path: adminPath(verb),
    method: 'POST',
    agent: false,
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
  });
  const answer = new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    asked.once('response', resolve);
    asked.once('error', (error) => reject(unreachable(socket, error)));
  });
  asked.end(body);
  const response = await answer;
  try {
    // A connection that breaks ends the lines, and the last of them is missing then.
    response.on('error', () => undefined);
    for await (const text of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY }))
      yield parseLine(text, socket);
  } finally {
    response.destroy();
  }
}

function parseLine(text: string, socket: string): AdminLine {
  try {
    const value: unknown = JSON.parse(text);
    if (
      typeof value === 'object' &&
      value !== null &&
      ['item', 'progress', 'result', 'error'].some((key) => key in value)
    )
      return value as AdminLine;
  } catch {
    // Told below, as anything else that is not a line of an answer.
  }
  throw new CliError(exitCodes.unreachable, `what answers at ${socket} is not a Causeway daemon`);
}

function unreachable(socket: string, error: NodeJS.ErrnoException): CliError {
  const told = (code: 1 | 5, why: string): CliError => new CliError(code, why, { cause: error });
  switch (error.code) {
    case 'ENOENT':
      return told(exitCodes.unreachable, `no daemon answers: there is no admin socket ${socket}. Does the daemon run?`);
    case 'ECONNREFUSED':
      return told(exitCodes.unreachable, `no daemon answers at ${socket}: it does not run, or was killed`);
    case 'EACCES':
    case 'EPERM':
      return told(exitCodes.failed, `${socket} may be opened by the user of the daemon only: run this as that user`);
    default:
      return told(exitCodes.unreachable, `no daemon answers at ${socket}: ${error.message}`);
  }
}

function errorOf({ kind, reason, detail }: AdminFailure, verb: string): CliError {
  if (kind === 'usage') return new CliError(exitCodes.usage, detail);
  if (kind === 'unknown-verb')
    return new CliError(
      exitCodes.failed,
      `the daemon does not know "${verb}": it is of another version than this program`,
    );
  return new CliError(exitCodes.failed, reason === undefined ? detail : `${reason}: ${detail}`);
}
