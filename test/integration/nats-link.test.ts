import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { streamInfo } from '../../src/brokers/nats/api.ts';
import type { Denied } from '../../src/brokers/nats/connection.ts';
import { natsFailure } from '../../src/brokers/nats/errors.ts';
import { freePorts } from '../../src/lib/free-ports.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import { eachServer } from '../support/each-server.ts';
import { startNats } from '../support/nats-launcher.ts';
import { api, asUser, client, openLink, untilUp } from '../support/nats-rig.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

await eachServer('newest', (binary) => {
  test('a wrong password is named, and heals when it becomes right, without a restart', async () => {
    await using server = await startNats({ binary, config: 'authorization { user: u, password: right }' });
    await using dir = await tempDir('secret');
    const file = join(dir.path, 'password');
    await writeFile(file, 'wrong\n');
    process.env.CAUSEWAY_TEST_LINK_USER = 'u';
    const plan = { user: { env: 'CAUSEWAY_TEST_LINK_USER' }, password: { file } };
    await using fixture = await openLink(server.url, plan, false);
    const { link } = fixture;
    await until(() => link.failure?.reason === 'nats-auth', { what: 'the refusal' });
    expect(link.connection).toBeUndefined();
    expect(() => link.require()).toThrow('nats-auth');
    await writeFile(file, 'right\n');
    await untilUp(fixture);
    expect(link.failure).toBeUndefined();

    // And while it is connected: the next connection is refused, by name again, for as long as it takes.
    await writeFile(file, 'wrong\n');
    await server.restart();
    await until(() => link.failure?.reason === 'nats-auth', { what: 'the refusal after a restart' });
    await writeFile(file, 'right\n');
    await untilUp(fixture);

    // A secret that cannot be read makes the client give up; the link does not.
    await writeFile(join(dir.path, 'moved'), 'right\n');
    const given = link.require();
    process.env.CAUSEWAY_TEST_LINK_USER = '';
    delete process.env.CAUSEWAY_TEST_LINK_USER;
    await server.restart();
    await until(() => link.failure?.detail.includes('CAUSEWAY_TEST_LINK_USER is not set'), { what: 'the lack' });
    expect(link.failure?.reason).toBe('nats-auth');
    process.env.CAUSEWAY_TEST_LINK_USER = 'u';
    await untilUp(fixture);
    expect(link.require()).not.toBe(given);
  });

  test('no server: unreachable, until there is one; and every change is told once', async () => {
    const [port] = await freePorts(1);
    await using fixture = await openLink(`nats://127.0.0.1:${port}`, {}, false);
    const { link } = fixture;
    const told: string[] = [];
    link.listen({
      connected: () => told.push('connected'),
      disconnected: ({ reason }) => told.push(reason),
    });
    await until(() => link.failure?.detail.includes('refused'), { what: 'a refused connection' });
    expect(link.failure?.reason).toBe('nats-unreachable');
    await using server = await startNats({ binary, port: port! });
    await untilUp(fixture);
    await server.kill();
    await until(() => told.length === 2, { what: 'the loss' });
    await server.start();
    await until(() => told.length === 3, { what: 'the return' });
    expect(told).toEqual(['connected', 'nats-unreachable', 'connected']);
    const late: string[] = [];
    const unlisten = link.listen({ connected: () => late.push('connected') });
    await until(() => late.length === 1, { what: 'a late listener' });
    unlisten();
    await server.kill();
    await server.start();
    await until(() => told.length === 5, { what: 'another return' });
    expect(late).toEqual(['connected']);
  });

  test('a clock that is set back keeps no link from its server', async () => {
    await using server = await startNats({ binary });
    await using fixture = await openLink(server.url);
    const given = fixture.link.require();
    const real = Date.now.bind(Date);
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => real() - 3_600_000);
    try {
      await server.restart();
      await until(() => fixture.link.connection !== undefined && fixture.link.connection !== given, {
        what: 'another connection',
      });
      // And this one is kept: the clock has not moved since.
      const next = fixture.link.require();
      await server.stop();
      await until(() => fixture.link.connection === undefined, { what: 'the loss' });
      await server.start();
      await untilUp(fixture);
      expect(fixture.link.require()).toBe(next);
    } finally {
      clock.mockRestore();
    }
  });

  test.each([
    ['before it ever connected', false],
    ['while its server is gone', true],
  ])('stops %s', async (_name, connectFirst) => {
    await using server = await startNats({ binary });
    const { link } = await openLink(server.url, {}, connectFirst);
    await server.kill();
    await until(() => link.failure?.reason === 'nats-unreachable', { what: 'the outage' });
    await link.stop();
    expect(link.connection).toBeUndefined();
  });

  test('a permission that lacks is told with what it was wanted for', async () => {
    const config = `authorization { users: [
      { user: bridge, password: bridge, permissions: { publish: { deny: ["closed.>"] }, subscribe: { deny: ["secret.>"] } } } ] }`;
    await using server = await startNats({ binary, config });
    await using fixture = await openLink(server.url, asUser('bridge'));
    const told: { failure: Failure; denied: Denied }[] = [];
    fixture.link.listen({ denied: (failure, denied) => told.push({ failure, denied }) });
    const nc = fixture.link.require();
    nc.publish('closed.a', 'x');
    nc.subscribe('secret.b', { callback: () => undefined });
    await until(() => told.length === 2, { what: 'two refusals' });
    expect(told.map(({ denied: { operation, subject } }) => ({ operation, subject }))).toEqual([
      { operation: 'publish', subject: 'closed.a' },
      { operation: 'subscription', subject: 'secret.b' },
    ]);
    expect(told.every(({ failure }) => failure.reason === 'nats-permission')).toBe(true);
    expect(fixture.link.failure).toBeUndefined();
  });

  test('what keeps JetStream away has a name', async () => {
    await using without = await startNats({ binary, jetstream: false });
    await using plain = await client(without.url);
    const reasonOf = (asked: Promise<unknown>) =>
      asked.then(
        () => 'none',
        (error: unknown) => natsFailure(error).reason,
      );
    expect(await reasonOf(streamInfo(plain, api, 'S'))).toBe('jetstream-unavailable');
    const config = `
      accounts { WITHOUT { users: [ { user: without, password: without } ] }, WITH { jetstream: enabled, users: [
        { user: with, password: with }, { user: shut, password: shut, permissions: { publish: { deny: ["$JS.API.STREAM.INFO.>"] } } } ] } }`;
    await using server = await startNats({ binary, config });
    await using off = await client(server.url, 'without');
    await using on = await client(server.url, 'with');
    await using shut = await client(server.url, 'shut');
    expect(await reasonOf(streamInfo(off, api, 'S'))).toBe('jetstream-unavailable');
    expect(await reasonOf(streamInfo(on, api, 'S'))).toBe('source-missing');
    expect(await reasonOf(streamInfo(shut, api, 'S'))).toBe('nats-permission');
    await server.freeze();
    expect(await reasonOf(streamInfo(on, api, 'S'))).toBe('nats-unreachable');
    server.thaw();
  });
});
