/** As `causeway run FILE`, with connections that are made anew as often as the test says: a daemon as it ships has no option for that. */
import { serve } from '../../src/cli/serve.ts';
import { startDaemon } from '../../src/daemon/daemon.ts';
import { createLogger } from '../../src/ops/log.ts';
import { clusterOfCertificate } from '../../src/security/certs.ts';
import { loadTopology } from '../../src/topology/load.ts';

const { ROTATE_EVERY_MS, ROTATE_DRAIN_MS } = process.env;
const loaded = loadTopology(process.argv[3]!, { clusterOf: clusterOfCertificate });
if (!loaded.ok) throw new Error(`the topology cannot be used: ${JSON.stringify(loaded.problems)}`);
const log = createLogger({ level: 'debug' });
const rotation = { everyMs: Number(ROTATE_EVERY_MS), drainMs: Number(ROTATE_DRAIN_MS) };
const start = () => startDaemon(loaded.plan, { log, version: '0.0.0', rotation });
const code = await serve(start, { log, drainTimeoutMs: 10_000, signals: process });
log.flush();
process.exit(code);
