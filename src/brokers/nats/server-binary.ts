/** Finds the nats-server binaries of this machine. Nothing asks for an exact version: what is there is used, and reported. */
import { execFile } from 'node:child_process';
import { readdir, realpath, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export type ServerVersion = readonly [major: number, minor: number, patch: number];

export interface ServerBinary {
  /** Absolute path, symbolic links resolved. */
  readonly path: string;
  readonly version: ServerVersion;
}

/** Told about each binary that is there and cannot be used. */
export type OnSkipped = (path: string, reason: string) => void;

const name = 'nats-server';
/** Where packages put it although PATH of an ordinary user often leaves these out. */
const usualDirs: readonly string[] = ['/usr/sbin', '/usr/local/sbin'];
/** A healthy binary answers in 20 ms, a busy machine takes its time, and one that hangs must not hang us. */
const defaultLimitMs = 10_000;

/** Where `npm start` and `npm test` keep the servers they fetched: same depth below the project from src and from dist. */
export function projectCache(): string {
  return resolve(fileURLToPath(import.meta.url), '../../../../.cache/nats-server');
}

/**
 * Every usable nats-server, newest first; of equal versions the one found first. `NATS_SERVER` (one path, or several
 * separated as in PATH) is an explicit choice: if set, nothing else is looked at. Otherwise PATH, the usual system
 * directories, then `extraDirs` and the folders right below them. Each binary is asked for its version, within a limit.
 */
export async function locateServers(
  env: NodeJS.ProcessEnv = process.env,
  extraDirs: readonly string[] = [projectCache()],
  onSkipped: OnSkipped = () => undefined,
  versionLimitMs = defaultLimitMs,
): Promise<ServerBinary[]> {
  const chosen = splitPath(env.NATS_SERVER).map((path) => resolve(path));
  const candidates = chosen.length > 0 ? chosen : await searchedPaths(env, extraDirs);
  const seen = new Set<string>();
  const found: ServerBinary[] = [];
  for (const candidate of candidates) {
    const path = await resolvedFile(candidate);
    if (path === undefined) {
      if (chosen.length > 0) onSkipped(candidate, 'NATS_SERVER names a file that does not exist');
      continue;
    }
    if (seen.has(path)) continue;
    seen.add(path);
    const version = await readVersion(path, versionLimitMs);
    if (typeof version === 'string') onSkipped(path, version);
    else found.push({ path, version });
  }
  return found.sort((a, b) => compareVersions(b.version, a.version));
}

/** The newest usable nats-server, or undefined. */
export async function newest(
  env: NodeJS.ProcessEnv = process.env,
  extraDirs: readonly string[] = [projectCache()],
): Promise<ServerBinary | undefined> {
  return (await locateServers(env, extraDirs))[0];
}

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. */
export function compareVersions(a: ServerVersion, b: ServerVersion): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/** True if `version` is `major.minor.patch` or later. */
export function atLeast(version: ServerVersion, major: number, minor: number, patch = 0): boolean {
  return compareVersions(version, [major, minor, patch]) >= 0;
}

export function formatVersion(version: ServerVersion): string {
  return version.join('.');
}

function splitPath(value: string | undefined): string[] {
  return (value ?? '').split(delimiter).filter((part) => part !== '');
}

async function searchedPaths(env: NodeJS.ProcessEnv, extraDirs: readonly string[]): Promise<string[]> {
  // A relative entry of PATH would make the answer depend on the working directory.
  const dirs = [...splitPath(env.PATH).filter(isAbsolute), ...usualDirs];
  for (const extra of extraDirs) {
    dirs.push(extra);
    for (const below of await foldersIn(extra)) dirs.push(below);
  }
  return dirs.map((dir) => join(dir, name));
}

async function foldersIn(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(dir, entry.name));
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

async function resolvedFile(path: string): Promise<string | undefined> {
  try {
    const real = await realpath(path);
    return (await stat(real)).isFile() ? real : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES';
}

/** The version that the binary itself prints, or why it cannot be used (a newer libc wanted, another architecture). */
async function readVersion(path: string, limitMs: number): Promise<ServerVersion | string> {
  return new Promise((done) => {
    execFile(path, ['--version'], { timeout: limitMs, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      if (error !== null) {
        const said = stderr.trim().split('\n')[0];
        const why = error.killed === true ? `no answer within ${limitMs / 1000} s` : said || error.message;
        done(`does not run: ${why}`);
        return;
      }
      const numbers = /v?(\d+)\.(\d+)\.(\d+)/.exec(stdout);
      if (numbers === null) done(`prints no version: ${JSON.stringify(stdout.slice(0, 80))}`);
      else done([Number(numbers[1]), Number(numbers[2]), Number(numbers[3])]);
    });
  });
}
