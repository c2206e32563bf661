/** What this machine's Debian is, if it is one. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AptSource, debianMain, parseDeb822, parseOneLine } from './apt-sources.ts';

export interface DebianMachine {
  readonly source: AptSource;
  /** The machine's own release, by the name its sources use. */
  readonly suite: string;
}

/** The machine's Debian, or why its packages cannot be used. */
export async function readMachine(etc = '/etc'): Promise<DebianMachine | string> {
  const release = await readIfThere(join(etc, 'os-release'));
  if (!/^ID="?debian"?$/m.test(release)) return 'this is not Debian';
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if (!(await runs(tool))) return `${tool} does not run`;
  }
  const codename = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(release)?.[1] ?? 'sid';
  const source = debianMain(await readSources(join(etc, 'apt')), codename);
  if (source === undefined) return "no entry of apt's sources has main of this machine's release";
  const suite = source.suites.includes(codename) ? codename : source.suites[0]!;
  return { source, suite };
}

/** In apt's own order: sources.list, then sources.list.d by name. */
async function readSources(apt: string): Promise<AptSource[]> {
  const parts = join(apt, 'sources.list.d');
  const names = await readdir(parts).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const sources = parseOneLine(await readIfThere(join(apt, 'sources.list')));
  for (const name of names.sort()) {
    if (name.endsWith('.list')) sources.push(...parseOneLine(await readIfThere(join(parts, name))));
    if (name.endsWith('.sources')) sources.push(...parseDeb822(await readIfThere(join(parts, name))));
  }
  return sources;
}

async function readIfThere(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function runs(tool: string): Promise<boolean> {
  return new Promise((done) => execFile(tool, ['--version'], { timeout: 10_000 }, (error) => done(error === null)));
}
