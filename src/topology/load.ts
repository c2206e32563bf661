import { createHash } from 'node:crypto';
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { checkPlan } from './check.ts';
import { compile } from './compile.ts';
import { parseTopologyDocument } from './document.ts';
import type { Plan, SecretRef } from './plan.ts';
import { problemAt, rememberPositions } from './positions.ts';
import { type Fault, inReadingOrder, type Path, type Problem, quote } from './problem.ts';

export type LoadedTopology =
  | { readonly ok: true; readonly plan: Plan; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** A topology for ten thousand links is smaller than this; anything larger is another kind of file. */
const maxFileBytes = 1024 * 1024;
/** Whoever has more than this to mend starts at the top anyway. */
const maxProblems = 100;

/**
 * Reads one topology file and compiles it. All problems come at once; nothing is thrown for whatever the file holds. Looks
 * at no other file and at no secret: that is `checkFiles`. What takes several files to know is `checkGraph`.
 */
export function loadTopology(path: string): LoadedTopology {
  const text = readText(path);
  if (typeof text !== 'string') return { ok: false, problems: [{ severity: 'error', file: path, ...text }] };
  const parsed = parseTopologyDocument(text);
  if (!parsed.ok) return failed(parsed.faults.map((fault) => ({ severity: 'error', file: path, ...fault })));
  const { document } = parsed;
  if (document.value === null) {
    const message = 'the file is empty';
    return failed([
      { severity: 'error', file: path, message, fix: 'write at least version, cluster, trustDomain, tls and nats' },
    ]);
  }
  const compiled = compile(document.value, resolve(path), createHash('sha256').update(text).digest('hex'));
  if (!compiled.ok) {
    return failed(
      compiled.faults.map(({ path: where, on, message, fix }) => {
        return { severity: 'error', file: path, ...document.locate(where, on), message, fix };
      }),
    );
  }
  rememberPositions(compiled.plan, path, document);
  const problems = inReadingOrder(checkPlan(compiled.plan));
  if (problems.some(({ severity }) => severity === 'error')) return failed(problems);
  return { ok: true, plan: compiled.plan, warnings: problems };
}

function failed(problems: readonly Problem[]): LoadedTopology {
  const ordered = inReadingOrder(problems);
  if (ordered.length <= maxProblems) return { ok: false, problems: ordered };
  const { file } = ordered[0]!;
  const message = `${ordered.length - maxProblems} more problems are not shown`;
  const rest: Problem = { severity: 'error', file, message, fix: 'mend those above first' };
  return { ok: false, problems: [...ordered.slice(0, maxProblems), rest] };
}

/** The text of a file, bounded, without a byte order mark. */
function readText(path: string): string | Fault {
  let bytes: Buffer;
  try {
    bytes = readBounded(path);
  } catch (error) {
    return unreadable(error, 'give the path of a topology file');
  }
  if (bytes.length > maxFileBytes) {
    return { message: 'the file is larger than 1 MiB', fix: 'give the path of a topology file' };
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // The decoder says only that it failed; the message below says what that means.
    return { message: 'the file is not text in UTF-8', fix: 'save it as UTF-8' };
  }
}

/** At most one byte more than a topology file may have, whatever the path leads to. */
function readBounded(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(maxFileBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const read = readSync(file, buffer, length, buffer.length - length, null);
      if (read === 0) break;
      length += read;
    }
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

function unreadable(error: unknown, fix: string): Fault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { message: 'the file does not exist', fix };
    case 'EISDIR':
      return { message: 'this is a directory', fix };
    case 'EACCES':
    case 'EPERM':
      return { message: 'the file may not be read', fix: 'let the user of the daemon read it' };
    default:
      return { message: `the file cannot be read (${code || String(error)})`, fix };
  }
}

/**
 * What a daemon would miss when it starts with this Plan: certificate and secret files that cannot be read, environment
 * variables that are not set. Reads no secret.
 */
export function checkFiles(plan: Plan, env: Readonly<Record<string, string | undefined>>): Problem[] {
  const problems: Problem[] = [];
  const add = (path: Path, fault: Fault): void => {
    problems.push(problemAt(plan, path, fault, 'value'));
  };
  const file = (path: Path, name: string): void => {
    const fault = fileFault(name);
    if (fault !== undefined) add(path, fault);
  };
  const secret = (key: string, ref: SecretRef | undefined): void => {
    if (ref === undefined) return;
    if ('file' in ref) {
      file(['nats', key, 'file'], ref.file);
    } else if ((env[ref.env] ?? '') === '') {
      const message = `the environment variable ${quote(ref.env)} is not set`;
      add(['nats', key, 'env'], { message, fix: 'set it for the daemon' });
    }
  };
  for (const [key, name] of Object.entries(plan.tls)) file(['tls', key], name);
  for (const [key, name] of Object.entries(plan.nats.tls ?? {})) file(['nats', 'tls', key], name);
  const { credentials, nkey, user, password, token } = plan.nats;
  for (const [key, ref] of Object.entries({ credentials, nkey, user, password, token })) secret(key, ref);
  return inReadingOrder(problems);
}

function fileFault(name: string): Fault | undefined {
  const named = (fault: Fault): Fault => ({ message: `${name}: ${fault.message}`, fix: fault.fix });
  try {
    const found = statSync(name);
    if (found.isDirectory()) return named({ message: 'this is a directory', fix: 'give the path of a file' });
    if (found.isFile() && found.size === 0)
      return named({ message: 'the file is empty', fix: 'put the right one in its place' });
    accessSync(name, constants.R_OK);
    return undefined;
  } catch (error) {
    return named(unreadable(error, 'give the path of a file, relative to the topology file or absolute'));
  }
}
