/** A process with an embedded server and nothing else, for tests that kill it: `embedded-host.ts BINARY STORE PORT`. */
import { EmbeddedServer } from '../../src/brokers/nats/embedded.ts';
import { silentLogger } from '../../src/lib/logger.ts';

const [path, store, port] = process.argv.slice(2) as [string, string, string];
const server = new EmbeddedServer({
  plan: { store, port: Number(port) },
  binary: { path, version: [2, 9, 0] },
  serverName: 'host',
  log: silentLogger,
  onHealth: (failure) => {
    process.stdout.write(`${JSON.stringify({ up: failure === undefined, pid: server.pid, url: server.url })}\n`);
  },
});
await server.start(new AbortController().signal);
