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

/** Which of the versions found: all, the newest, or the oldest and the newest. */
export type Which = 'all' | 'newest' | 'ends';

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
  const oldest = found.length > 1 ? [found.at(-1)!] : [];
  const chosen = which === 'all' ? found : which === 'newest' ? [found[0]!] : [found[0]!, ...oldest];
  for (const binary of chosen) describe(`nats-server ${formatVersion(binary.version)}`, () => tests(binary));
}
