import { createServer } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { until } from '../../test/support/until.ts';
import { freePorts } from '../lib/free-ports.ts';
import { knock } from './knock.ts';

let stop: (() => void) | undefined;
const server = createServer();
afterEach(async () => {
  stop?.();
  await new Promise((resolve) => server.close(resolve));
});

test('knocks until somebody opens, which is told once', async () => {
  const [port] = (await freePorts(1)) as [number];
  const opened = vi.fn<() => void>();
  const tried = vi.fn(() => true);
  stop = knock({ host: 'localhost', port }, tried, opened, 5);
  await until(() => tried.mock.calls.length > 5, { what: 'some knocks' });
  expect(opened).not.toHaveBeenCalled();
  let visits = 0;
  let visitors = 0;
  server.on('connection', (socket) => {
    visits++;
    visitors++;
    socket.on('error', () => undefined).once('close', () => visitors--);
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(port, 'localhost', resolve));
  await until(() => opened.mock.calls.length === 1 && visits > 0 && visitors === 0, { what: 'a knock to be heard' });
  const knocks = tried.mock.calls.length;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(opened).toHaveBeenCalledTimes(1);
  expect(tried.mock.calls.length).toBe(knocks);
});

test('nobody knocks any more when it is not wanted', async () => {
  const [port] = (await freePorts(1)) as [number];
  let visits = 0;
  server.on('connection', (socket) => {
    visits++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const opened = vi.fn<() => void>();
  const wanted = vi.fn(() => false);
  stop = knock({ host: '127.0.0.1', port }, wanted, opened, 5);
  await until(() => wanted.mock.calls.length > 0, { what: 'the question' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([wanted.mock.calls.length, visits, opened.mock.calls.length]).toEqual([1, 0, 0]);
});
