import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../lib/logger.ts';
import type { Address } from '../topology/plan.ts';
import { activez, healthz, knownLinks, livez, readyz } from './health.ts';
import type { Metrics } from './metrics.ts';
import { pagePolicy, renderPage } from './page.ts';
import type { DaemonStatus } from './status.ts';

const maxHeaderBytes = 8 * 1024;
const maxUrlBytes = 1024;
const maxConnections = 100;

export interface MonitorOptions {
  /** Port 0 takes a free one. */
  readonly address: Address;
  /** Called once per request that needs it. */
  readonly status: () => DaemonStatus;
  readonly metrics: Pick<Metrics, 'render' | 'contentType'>;
  readonly log: Logger;
}

export interface Monitor {
  /** The bound address. */
  readonly address: Address;
  /** Ends every connection. */
  stop(): Promise<void>;
}

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Route = (query: URLSearchParams) => Answer | Promise<Answer>;

/**
 * Starts the read-only endpoints. Nothing here changes anything, and nothing shows a secret. Fails when the address cannot
 * be bound, with the address in the message.
 */
export async function startMonitor(options: MonitorOptions): Promise<Monitor> {
  const { address, log } = options;
  const routes = makeRoutes(options);
  const server = createServer(
    // Times out whoever connects and says nothing, or says it slowly.
    { maxHeaderSize: maxHeaderBytes, headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 15_000 },
    (request, response) => {
      answer(routes, request)
        .catch((thrown: unknown): Answer => {
          log.error('internal-error', { where: 'monitor', error: thrown });
          return plain(500, 'internal error; the log has the details');
        })
        .then((result) => send(response, result))
        .catch((thrown: unknown) => response.destroy(thrown instanceof Error ? thrown : undefined));
    },
  );
  server.maxConnections = maxConnections;
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: Error): void => {
      reject(
        new Error(`cannot listen on the monitor address ${address.host}:${address.port}: ${cause.message}`, { cause }),
      );
    };
    server.once('error', failed);
    server.listen(address.port, address.host, () => {
      server.off('error', failed);
      server.on('error', (error) => log.error('monitor-failed', { error }));
      resolve();
    });
  });
  // A server that listens on a host and a port has an address of this shape.
  const bound = server.address() as AddressInfo;
  log.info('monitor-listening', { host: bound.address, port: bound.port });
  return {
    address: { host: bound.address, port: bound.port },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function makeRoutes({ status, metrics }: MonitorOptions): ReadonlyMap<string, Route> {
  return new Map<string, Route>([
    ['/livez', () => plain(200, livez().text)],
    [
      '/readyz',
      () => {
        const { ok, text } = readyz(status());
        return plain(ok ? 200 : 503, text);
      },
    ],
    [
      '/activez',
      () => {
        const { ok, text } = activez(status());
        return plain(ok ? 200 : 503, text);
      },
    ],
    ['/healthz', (query) => health(status(), query)],
    ['/metrics', async () => ({ code: 200, type: metrics.contentType, body: await metrics.render(status()) })],
    ['/statusz', () => json(200, status())],
    [
      '/',
      () => ({
        code: 200,
        type: 'text/html; charset=utf-8',
        body: renderPage(status()),
        headers: { 'Content-Security-Policy': pagePolicy },
      }),
    ],
  ]);
}

/** Plain text with a line per problem; with `verbose` JSON with everything known of each. */
function health(status: DaemonStatus, query: URLSearchParams): Answer {
  const link = query.get('link') ?? undefined;
  const known = knownLinks(status);
  // One that stands by has no links, and is judged as a whole.
  if (link !== undefined && status.standby?.state === 'standby') return health(status, withoutLink(query));
  if (link !== undefined && !known.includes(link)) {
    return plain(404, `no link of this name; known: ${known.length === 0 ? 'none' : known.join(', ')}`);
  }
  const result = healthz(status, link === undefined ? {} : { link });
  const code = result.ok ? 200 : 503;
  if (query.has('verbose')) return json(code, { cluster: status.cluster, link, ...result });
  return plain(code, result.ok ? 'healthy' : result.problems.map(({ text }) => text).join('\n'));
}

function withoutLink(query: URLSearchParams): URLSearchParams {
  const rest = new URLSearchParams(query);
  rest.delete('link');
  return rest;
}

async function answer(routes: ReadonlyMap<string, Route>, request: IncomingMessage): Promise<Answer> {
  const target = request.url ?? '/';
  if (request.method !== 'GET') return { ...plain(405, 'only GET'), headers: { Allow: 'GET', Connection: 'close' } };
  if (target.length > maxUrlBytes) return { ...plain(414, 'URL too long'), headers: { Connection: 'close' } };
  const [path = '/', search = ''] = target.split(/\?(.*)/s);
  const route = routes.get(path);
  if (route === undefined) return plain(404, `not here; try ${[...routes.keys()].join(' ')}`);
  return await route(new URLSearchParams(search));
}

function plain(code: number, text: string): Answer {
  return { code, type: 'text/plain; charset=utf-8', body: `${text}\n` };
}

function json(code: number, value: unknown): Answer {
  return { code, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value, null, 2)}\n` };
}

function send(response: ServerResponse, { code, type, body, headers }: Answer): void {
  response.writeHead(code, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    ...headers,
  });
  response.end(body);
}
