import { createHash } from 'node:crypto';
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { checkPlan } from './check.ts';
import { compile } from './compile.ts';
import { parseTopologyDocument } from './document.ts';
import { valueAt } from './explain.ts';
import { path as pathLeaf, trustDomain } from './leaves.ts';
import { clusterAt } from './names.ts';
import type { NatsPlan, Plan, SecretRef } from './plan.ts';
import { problemAt, rememberPositions } from './positions.ts';
import { type Fault, inReadingOrder, type Path, type Position, type Problem, quote } from './problem.ts';

export type LoadedTopology =
  | { readonly ok: true; readonly plan: Plan; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly named?: NamedAt };

/** Which cluster a file that cannot be used says it is, and where it says so. */
export interface NamedAt extends Position {
  readonly cluster: string;
}

/** A topology for ten thousand links is smaller than this; anything larger is another kind of file. */
const maxFileBytes = 1024 * 1024;
/** Whoever has more than this to mend starts at the top anyway. */
const maxProblems = 100;

export interface LoadOptions {
  /**
   * For a file with `cluster: { from: certificate }`: the name in the certificate at this absolute path, or why it has none.
   * Default: such a file cannot be loaded.
   */
  readonly clusterOf?: (certificate: string, trustDomain: string) => { readonly cluster: string } | Fault;
}

/**
 * Reads one topology file and compiles it. All problems come at once; nothing is thrown for whatever the file holds. Looks
 * at no other file and at no secret: that is `checkFiles`. What takes several files to know is `checkGraph`.
 */
export function loadTopology(path: string, options: LoadOptions = {}): LoadedTopology {
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
  const named = withName(document.value, resolve(path), options);
  const hash = createHash('sha256').update(text).digest('hex');
  const compiled = compile(named.value, resolve(path), hash, named.fault);
  const self = clusterAt(named.value, ['cluster']);
  const namedAt = self === undefined ? undefined : { cluster: self, ...document.locate(['cluster'], 'value') };
  if (!compiled.ok) {
    return failed(
      compiled.faults.map(({ path: where, on, message, fix }) => {
        return { severity: 'error', file: path, ...document.locate(where, on), message, fix };
      }),
      namedAt,
    );
  }
  rememberPositions(compiled.plan, path, document);
  const problems = inReadingOrder(checkPlan(compiled.plan));
  if (problems.some(({ severity }) => severity === 'error')) return failed(problems, namedAt);
  return { ok: true, plan: compiled.plan, warnings: problems };
}

/** The value with the name of the cluster put in, where it says that the certificate has it; `fault`: why that cannot be. */
function withName(
  value: unknown,
  file: string,
  { clusterOf }: LoadOptions,
): { readonly value: unknown; readonly fault?: Fault } {
  if (!isObject(value) || valueAt(value, ['cluster', 'from']) !== 'certificate') return { value };
  const cert = pathLeaf.safeParse(valueAt(value, ['tls', 'cert'])).data;
  const domain = trustDomain.safeParse(valueAt(value, ['trustDomain'])).data;
  // What is wrong with these is told by the schema.
  if (cert === undefined || domain === undefined) return { value };
  const found = clusterOf?.(resolve(dirname(file), cert), domain) ?? {
    message: 'the name of the cluster stands in its certificate',
    fix: 'say which cluster is meant',
  };
  return 'cluster' in found ? { value: { ...value, cluster: found.cluster } } : { value, fault: found };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function failed(problems: readonly Problem[], namedAt?: NamedAt): LoadedTopology {
  const ordered = inReadingOrder(problems);
  const named = namedAt === undefined ? {} : { named: namedAt };
  if (ordered.length <= maxProblems) return { ok: false, problems: ordered, ...named };
  const { file } = ordered[0]!;
  const message = `${ordered.length - maxProblems} more problems are not shown`;
  const rest: Problem = { severity: 'error', file, message, fix: 'mend those above first' };
  return { ok: false, problems: [...ordered.slice(0, maxProblems), rest], ...named };
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
  const secret = (at: Path, ref: SecretRef | undefined): void => {
    if (ref === undefined) return;
    if ('file' in ref) {
      file([...at, 'file'], ref.file);
    } else if ((env[ref.env] ?? '') === '') {
      const message = `the environment variable ${quote(ref.env)} is not set`;
      add([...at, 'env'], { message, fix: 'set it for the daemon' });
    }
  };
  const account = (at: Path, nats: NatsPlan): void => {
    for (const [key, name] of Object.entries(nats.tls ?? {})) file([...at, 'tls', key], name);
    const { credentials, nkey, user, password, token } = nats;
    for (const [key, ref] of Object.entries({ credentials, nkey, user, password, token })) secret([...at, key], ref);
  };
  for (const [key, name] of Object.entries(plan.tls)) file(['tls', key], name);
  account(['nats'], plan.nats);
  for (const { cluster, nats, proxy } of plan.peers) {
    if (nats !== undefined) account(['peers', cluster, 'nats'], nats);
    const at = ['peers', cluster, 'proxy'];
    if (proxy?.ca !== undefined) file([...at, 'ca'], proxy.ca);
    secret([...at, 'user'], proxy?.user);
    secret([...at, 'password'], proxy?.password);
  }
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
