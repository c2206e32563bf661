/** Runs tests on the server versions that this machine has. */
import { describe } from 'vitest';
import { formatVersion, locateServers, type ServerBinary } from '../../src/brokers/nats/server-binary.ts';

let located: Promise<readonly ServerBinary[]> | undefined;

/** All servers found, one per version, newest first. What cannot run is named once. */
export function binaries(): Promise<readonly ServerBinary[]> {
  located ??= locateServers(undefined, undefined, (path, reason) => console.warn(`skipped ${path}: ${reason}`)).then(
    (found) => {
      const versions = found.map((one) => formatVersion(one.version));
      return found.filter((_, index) => versions.indexOf(versions[index]!) === index);
    },
  );
  return located;
}

/** Which of the versions found: all, the newest, the oldest and the newest, or the same of those since 2.10. */
export type Which = 'all' | 'newest' | 'ends' | 'ends since 2.10';

/**
 * A `describe` block per server version. Call it with `await` at the top of a test file. Without any server the block is
 * shown as skipped, aloud.
 */
export async function eachServer(which: Which, tests: (binary: ServerBinary) => void): Promise<void> {
  const found = await binaries();
  if (found.length === 0) {
    console.warn('no nats-server found: tests that need one are skipped');
    describe.skip('nats-server: none found', () => tests({ path: '', version: [0, 0, 0] }));
    return;
  }
  const range =
    which === 'ends since 2.10' ? found.filter(({ version: [major, minor] }) => major > 2 || minor >= 10) : found;
  const oldest = range.length > 1 ? [range.at(-1)!] : [];
  const chosen = which === 'all' ? found : which === 'newest' ? [found[0]!] : [found[0]!, ...oldest];
  for (const binary of chosen) describe(`nats-server ${formatVersion(binary.version)}`, () => tests(binary));
}
