/** A daemon behind a proxy: records flow through it, and what it will not do, or must not, is named. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { badLane, GoodAndBad } from '../support/good-and-bad.ts';
import { HttpProxy } from '../support/http-proxy.ts';
import { foreignCertificate } from '../support/tls.ts';
import { until } from '../support/until.ts';

let all: GoodAndBad;

beforeAll(async () => {
  all = await GoodAndBad.start();
});

afterAll(async () => {
  await all?.[Symbol.asyncDispose]();
});

afterEach(async () => {
  await all.goesOn();
  await all.plantB.daemon.kill();
});

const through = (proxy: HttpProxy, more = {}) => ({
  peers: { hub: { dial: [all.listen], proxy: { url: proxy.url, ...more } } },
});

test('a plant behind a proxy that demands a password reaches the hub, once it is right', async () => {
  const proxy = await HttpProxy.start({ login: 'plant:right' });
  const [user, password] = [join(all.world.dir, 'proxy-user'), join(all.world.dir, 'proxy-password')];
  await Promise.all([writeFile(user, 'plant\n'), writeFile(password, 'wrong\n')]);
  try {
    await using _b = await all.plantBWith(through(proxy, { user: { file: user }, password: { file: password } }));
    await all.plantB.showsPeer('hub', 'proxy-refused');
    const { detail } = await all.plantB.daemon.peer('hub');
    expect(detail).toMatch(/through the proxy 127\.0\.0\.1:\d+: the proxy answers 407 .*does not accept the name/);
    expect(all.plantB.daemon.lastRun()).not.toMatch(/wrong/);
    await writeFile(password, 'right\n');
    await until(async () => (await all.plantB.daemon.peer('hub')).connected, { what: 'the hub', deadlineMs: 60_000 });
    await until(async () => (await all.hub.daemon.lane(badLane)).state === 'live', { what: 'the lane to run' });
    expect(new Set(proxy.asked)).toEqual(new Set([all.listen]));
  } finally {
    await proxy.stop();
  }
});

test('a proxy that opens TLS is identity-lost, and turns the plant unhealthy', async () => {
  const proxy = await HttpProxy.start({ terminate: await foreignCertificate('hub.example') });
  try {
    await using _b = await all.plantBWith(through(proxy));
    await all.plantB.showsPeer('hub', 'identity-lost');
    expect((await all.plantB.daemon.peer('hub')).detail).toMatch(/signed by "CN=Corporate Gateway"/);
    expect((await all.plantB.daemon.healthz()).code).toBe(503);
  } finally {
    await proxy.stop();
  }
});
