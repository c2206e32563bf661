/**
 * apt with everything of its own: sources, lists, status and cache lie in one folder. It needs no root and leaves the
 * machine's apt as it is; of the machine it uses the mirror, the keyrings and the settings of the network.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AptSource, formatDeb822 } from './apt-sources.ts';
import type { DebianMachine } from './debian-machine.ts';

export class AptError extends Error {
  override readonly name = 'AptError';
  /** The signature is by a key that the keyring does not hold. */
  readonly keyMissing: boolean;

  constructor(message: string, keyMissing: boolean) {
    super(message);
    this.keyMissing = keyMissing;
  }
}

const commandLimitMs = 240_000;

/**
 * Downloads `name` for this machine's architecture from `suite` and unpacks it. Gives the folder it was unpacked into, below `dir`.
 * Throws an AptError if it cannot be had or its signatures cannot be verified.
 */
export async function fetchPackage(source: AptSource, suite: string, name: string, dir: string): Promise<string> {
  for (const folder of ['lists/partial', 'cache/archives/partial', 'empty', 'download', 'unpacked']) {
    await mkdir(join(dir, folder), { recursive: true });
  }
  await writeFile(join(dir, 'status'), '');
  await writeFile(join(dir, 'debian.sources'), formatDeb822(source, suite));
  const config = join(dir, 'apt.conf');
  await writeFile(config, aptConfig(dir));
  await execute('apt-get', ['-q', '-c', config, 'update'], dir);
  await execute('apt-get', ['-q', '-c', config, 'download', name], join(dir, 'download'));
  const [archive] = (await readdir(join(dir, 'download'))).filter((file) => file.endsWith('.deb'));
  if (archive === undefined) throw new AptError(`apt-get downloaded no ${name}`, false);
  const unpacked = join(dir, 'unpacked');
  await execute('dpkg-deb', ['-x', join(dir, 'download', archive), unpacked], dir);
  return unpacked;
}

/**
 * As fetchPackage. Newer suites are signed by keys that an old machine may not know. Those keys come in a package of the
 * machine's own release, which it can verify: so what is fetched is always verified.
 */
export async function fetchVerified(machine: DebianMachine, suite: string, name: string, dir: string): Promise<string> {
  const { source } = machine;
  try {
    return await fetchPackage(source, suite, name, join(dir, 'first'));
  } catch (error) {
    if (!(error instanceof AptError && error.keyMissing) || suite === machine.suite) throw error;
    const keys = await fetchPackage(source, machine.suite, 'debian-archive-keyring', join(dir, 'keys'));
    const keyring = join(keys, 'usr/share/keyrings/debian-archive-keyring.gpg');
    const renewed: AptSource = { ...source, trust: { ...source.trust, 'Signed-By': keyring } };
    return fetchPackage(renewed, suite, name, join(dir, 'second'));
  }
}

/** Read after the machine's own configuration (-c), so that it can take back what would reach beyond our folder. */
function aptConfig(dir: string): string {
  const path = (...parts: readonly string[]): string => JSON.stringify(join(dir, ...parts));
  return [
    // Hooks of the machine refresh its package catalogues after an update; its pins and default release know other suites.
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '#clear APT::Default-Release;',
    `Dir::Etc::sourcelist ${path('debian.sources')};`,
    `Dir::Etc::sourceparts ${path('empty')};`,
    `Dir::Etc::preferences ${path('empty', 'none')};`,
    `Dir::Etc::preferencesparts ${path('empty')};`,
    `Dir::State ${path()};`,
    `Dir::State::lists ${path('lists')};`,
    `Dir::State::status ${path('status')};`,
    `Dir::Cache ${path('cache')};`,
    'Dir::Cache::pkgcache "";',
    'Dir::Cache::srcpkgcache "";',
    // As root, apt would fetch as the user _apt, who cannot write here.
    'APT::Sandbox::User "";',
    // A list that could not be fetched is an error and not a warning.
    'APT::Update::Error-Mode "any";',
    'Acquire::Languages "none";',
    'Acquire::Retries "1";',
    'Acquire::http::Timeout "20";',
    'Acquire::https::Timeout "20";',
    '',
  ].join('\n');
}

function execute(command: string, args: readonly string[], cwd: string): Promise<void> {
  const options = { cwd, timeout: commandLimitMs, env: { ...process.env, LC_ALL: 'C' }, maxBuffer: 16 * 1024 * 1024 };
  return new Promise((done, failed) => {
    execFile(command, args, options, (error, _stdout, stderr) => {
      if (error === null) return done();
      const keyMissing = stderr.includes('NO_PUBKEY');
      const why =
        error.killed === true ? `no end after ${commandLimitMs / 1000} s` : complaint(stderr) || error.message;
      failed(
        new AptError(keyMissing ? `signed by a key that the keyring lacks: ${why}` : `${command}: ${why}`, keyMissing),
      );
    });
  });
}

/** The first complaint in apt's output: errors before warnings. */
function complaint(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  return lines.find((line) => line.startsWith('E:')) ?? lines.find((line) => line !== '') ?? '';
}
