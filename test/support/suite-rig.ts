import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { ServerBinary } from '../../src/brokers/nats/server-binary.ts';
import { type NatsServer, startNats } from './nats-launcher.ts';
import { type Client, client, type LinkFixture, makeStream, openLink } from './nats-rig.ts';

/** What the tests of a suite share. */
export interface SuiteRig {
  readonly server: NatsServer;
  readonly nc: Client;
  readonly fixture: LinkFixture;
  /** A stream of its own for each test. */
  readonly stream: string;
}

/** One server for all tests of a suite, which are told of it before each; `config`: of the stream that each of them gets. */
export function onOneServer(
  binary: ServerBinary,
  use: (rig: SuiteRig) => void,
  config: (stream: string) => Record<string, unknown> = () => ({}),
): void {
  let shared: Omit<SuiteRig, 'stream'>;
  let streams = 0;
  beforeAll(async () => {
    const server = await startNats({ binary });
    shared = { server, nc: await client(server.url), fixture: await openLink(server.url) };
  });
  afterAll(async () => {
    await shared.fixture[Symbol.asyncDispose]();
    await shared.nc.close();
    await shared.server.dispose();
  });
  beforeEach(async () => {
    const stream = `S${++streams}`;
    await makeStream(shared.nc, { name: stream, ...config(stream) });
    use({ ...shared, stream });
  });
}
