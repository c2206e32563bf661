import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { daemonStatus, laneStatus, nowMs } from '../../test/support/daemon-status.ts';
import type { LogFields, Logger } from '../lib/logger.ts';
import { silentLogger } from '../lib/logger.ts';
import { createMetrics } from './metrics.ts';
import { type Monitor, startMonitor } from './monitor.ts';
import type { DaemonStatus } from './status.ts';

interface Reply {
  readonly code: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

const running: Monitor[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((monitor) => monitor.stop()));
});

async function start(status: () => DaemonStatus = daemonStatus, log: Logger = silentLogger): Promise<Monitor> {
  const address = { host: '127.0.0.1', port: 0 };
  const monitor = await startMonitor({ address, status, metrics: createMetrics({ version: '1.0.0' }), log });
  running.push(monitor);
  return monitor;
}

function get(monitor: Monitor, path: string, method = 'GET', headers: Record<string, string> = {}): Promise<Reply> {
  const { host, port } = monitor.address;
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        resolve({ code: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() });
      });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

const sick = () =>
  daemonStatus({ lanes: [laneStatus({ state: 'parked', reason: 'sink-subject', detail: 'no <owner>' })] });

describe('probes', () => {
  it('answer for a healthy daemon', async () => {
    const monitor = await start();
    for (const path of ['/livez', '/readyz', '/healthz', '/healthz?link=telemetry']) {
      expect((await get(monitor, path)).code, path).toBe(200);
    }
  });

  it('answer 503 with the reasons, and stay ready and alive', async () => {
    const monitor = await start(sick);
    const reply = await get(monitor, '/healthz');
    expect([reply.code, reply.body]).toEqual([503, 'lane telemetry/plant-a/hub is parked: sink-subject, no <owner>\n']);
    expect((await get(monitor, '/readyz')).code).toBe(200);
    expect((await get(monitor, '/livez')).code).toBe(200);
    const verbose = JSON.parse((await get(monitor, '/healthz?link=telemetry&verbose')).body);
    expect(verbose).toMatchObject({ cluster: 'hub', link: 'telemetry', ok: false, problems: [{ kind: 'parked' }] });
  });

  it('know no link but those of the daemon', async () => {
    const reply = await get(await start(), '/healthz?link=nope');
    expect([reply.code, reply.body]).toEqual([404, 'no link of this name; known: telemetry\n']);
  });

  it('tell which of several daemons is active, and judge one that stands by as a whole', async () => {
    const standby = (state: 'active' | 'standby' | 'alone') =>
      start(() =>
        daemonStatus({
          standby: { state, sinceMs: nowMs, holder: 'hub-2-x', takeoversTotal: 0 },
          links: [],
          lanes: [],
        }),
      );
    expect((await get(await start(), '/activez')).code).toBe(200);
    expect((await get(await start(() => daemonStatus({ ready: false })), '/activez')).code).toBe(503);
    for (const state of ['active', 'alone'] as const)
      expect((await get(await standby(state), '/activez')).code).toBe(200);
    const idle = await standby('standby');
    expect(await get(idle, '/activez')).toMatchObject({ code: 503, body: 'standing by for hub-2-x\n' });
    for (const path of ['/readyz', '/healthz', '/healthz?link=orders'])
      expect((await get(idle, path)).code, path).toBe(200);
  });

  it('say unready while the peer port is not open', async () => {
    const monitor = await start(() => daemonStatus({ ready: false }));
    expect((await get(monitor, '/readyz')).code).toBe(503);
  });

  it('keep livez alive when the status cannot be made, and log it', async () => {
    const logged: [string, LogFields | undefined][] = [];
    const log: Logger = { ...silentLogger, error: (event, fields) => logged.push([event, fields]) };
    const monitor = await start(() => {
      throw new Error('secret particulars');
    }, log);
    const reply = await get(monitor, '/statusz');
    expect(reply.code).toBe(500);
    expect(reply.body).not.toContain('particulars');
    expect((await get(monitor, '/livez')).code).toBe(200);
    expect(logged.map(([event]) => event)).toEqual(['internal-error']);
  });
});

describe('what is shown', () => {
  it('statusz is the status', async () => {
    const reply = await get(await start(), '/statusz');
    expect(JSON.parse(reply.body)).toEqual(daemonStatus());
    expect(reply.headers['content-type']).toContain('application/json');
  });

  it('metrics are in the format of Prometheus', async () => {
    const reply = await get(await start(), '/metrics');
    expect(reply.headers['content-type']).toContain('text/plain; version=0.0.4');
    expect(reply.body).toContain('\ncauseway_healthy 1\n');
  });

  it('the page shows lanes and escapes what came from elsewhere', async () => {
    const reply = await get(await start(sick), '/');
    expect(reply.headers['content-type']).toContain('text/html');
    expect(reply.body).toContain('telemetry/plant-a/hub');
    expect(reply.body).toContain('no &lt;owner&gt;');
    expect(reply.body).not.toContain('<owner>');
    expect(reply.body).not.toMatch(/(src|href)="(https?:)?\/\//);
  });

  it('the page says unknown where something is unknown', async () => {
    const unknown = laneStatus({ lagRecords: undefined, lagSeconds: undefined });
    const reply = await get(await start(() => daemonStatus({ lanes: [unknown] })), '/');
    expect(reply.body).toContain('<td data-label="lag">unknown</td>');
  });
});

describe('the port', () => {
  it('takes GET only and knows its paths', async () => {
    const monitor = await start();
    for (const method of ['POST', 'HEAD', 'DELETE', 'OPTIONS']) {
      const reply = await get(monitor, '/statusz', method);
      expect([reply.code, reply.headers.allow]).toEqual([405, 'GET']);
    }
    expect((await get(monitor, '/admin')).code).toBe(404);
    expect((await get(monitor, '/constructor')).code).toBe(404);
  });

  it('bounds what it reads', async () => {
    const monitor = await start();
    expect((await get(monitor, `/healthz?link=${'x'.repeat(2_000)}`)).code).toBe(414);
    expect((await get(monitor, '/livez', 'GET', { 'x-long': 'x'.repeat(20_000) })).code).toBe(431);
  });

  it('forbids framing, sniffing, caching and everything foreign', async () => {
    const monitor = await start();
    for (const path of ['/', '/statusz', '/nope']) {
      const { headers } = await get(monitor, path);
      expect(headers['content-security-policy']).toContain("default-src 'none'");
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['cache-control']).toBe('no-store');
    }
  });

  it('stops although somebody keeps a connection open', async () => {
    const monitor = await start();
    const socket = connect(monitor.address.port, monitor.address.host);
    await new Promise((resolve) => socket.once('connect', resolve));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await monitor.stop();
    await closed;
  });

  it('says which address is taken', async () => {
    const { address } = await start();
    const again = startMonitor({
      address,
      status: daemonStatus,
      metrics: createMetrics({ version: '1' }),
      log: silentLogger,
    });
    await expect(again).rejects.toThrow(`cannot listen on the monitor address 127.0.0.1:${address.port}`);
  });
});
