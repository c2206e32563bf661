import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { until } from '../../test/support/recorder.ts';
import { certificatesOf, HeldCertificates } from '../../test/support/tls.ts';
import type { Certificates } from '../security/identity.ts';
import { type Authority, makeAuthority } from '../security/make-certs.ts';
import type { Address } from '../topology/plan.ts';
import type { Failure } from '../wire/reasons.ts';
import { TlsListener } from './tls-listener.ts';

let acme: Authority;
let hub: Certificates;
let plant: Certificates;
beforeAll(async () => {
  acme = await makeAuthority('acme');
  hub = await certificatesOf(acme, { cluster: 'hub' });
  plant = await certificatesOf(acme, { cluster: 'plant' });
});

const admitted = vi.fn<(socket: TLSSocket) => void>();
const refused = vi.fn<(failure: Failure, remote: string) => void>();
let listener: TlsListener;
beforeEach(async () => {
  admitted.mockReset();
  refused.mockReset();
  listener = await TlsListener.start({
    address: { host: '127.0.0.1', port: 0 },
    certs: new HeldCertificates(hub),
    admit: () => plant.identity,
    onAdmitted: admitted,
    onRefused: refused,
  });
});
afterEach(async () => {
  listener.close();
  await listener.destroy();
});

function port(): Address {
  return listener.address as Address;
}

function dial(options: ConnectionOptions = {}): TLSSocket {
  const { cert, key, ca } = plant;
  const socket = connect({ ...port(), cert, key, ca, ALPNProtocols: ['h2'], ...options });
  socket.on('error', () => {
    // Refusals are looked at from the listener's side.
  });
  return socket;
}

describe('the TLS side of a listener', () => {
  it('passes on who is proven', async () => {
    dial();
    await until(() => admitted.mock.calls.length === 1, 'the connection');
    expect(admitted.mock.calls[0]![0].authorized).toBe(true);
    expect(refused).not.toHaveBeenCalled();
  });

  it('speaks TLS 1.3 and HTTP/2 only', async () => {
    const old = dial({ maxVersion: 'TLSv1.2' });
    const plain = dial({ ALPNProtocols: [] });
    await until(() => old.closed && plain.closed, 'both to be refused');
    expect(admitted).not.toHaveBeenCalled();
  });

  it('does not resume sessions, whose certificates nobody would look at again', async () => {
    const first = dial();
    const session = new Promise<Buffer>((resolve) => first.once('session', resolve));
    await until(() => admitted.mock.calls.length === 1, 'the first connection');
    admitted.mock.calls[0]![0].resume();
    first.resume().write('x');
    const second = dial({ session: await session });
    await until(() => admitted.mock.calls.length === 2, 'the second connection');
    expect(second.isSessionReused()).toBe(false);
  });

  it('says nothing of a probe that only looks whether the port is open', async () => {
    const probe = connectTcp(port());
    await once(probe, 'connect');
    probe.resetAndDestroy();
    dial();
    await until(() => admitted.mock.calls.length === 1, 'a connection after the probe');
    expect(refused).not.toHaveBeenCalled();
  });

  it('cuts connections whose handshake has not been done, too', async () => {
    const lazy = connectTcp(port());
    await once(lazy, 'connect');
    dial();
    await until(() => admitted.mock.calls.length === 1, 'a connection after it');
    listener.close();
    const closed = once(lazy.resume(), 'close');
    await listener.destroy();
    await closed;
  });
});

describe('limits of a listener', () => {
  const limits = { maxHandshakes: 8, maxPerPeer: 3 };

  async function limited(): Promise<void> {
    const made = await TlsListener.start({
      ...limits,
      address: { host: '127.0.0.1', port: 0 },
      certs: new HeldCertificates(hub),
      admit: () => plant.identity,
      onAdmitted: admitted,
      onRefused: refused,
    });
    listener.close();
    await listener.destroy();
    listener = made;
  }

  it('give up the oldest of too many handshakes that are never finished, and keep nobody else out', async () => {
    await limited();
    const lorises: Socket[] = [];
    for (let i = 0; i < 30; i++) {
      const socket = connectTcp(port());
      await once(socket, 'connect');
      // The first bytes of a record that never ends.
      socket.resume().write(Buffer.from([22, 3, 1, 2, 0, 1]));
      socket.on('error', () => {
        // Cut, as it should be.
      });
      lorises.push(socket);
    }
    await until(() => refused.mock.calls.length >= 22, 'the oldest to be given up');
    expect(refused.mock.calls.every(([failure]) => failure.reason === 'overloaded')).toBe(true);
    await until(() => lorises.filter(({ closed }) => closed).length >= 22, 'the oldest to be closed');
    dial();
    await until(() => admitted.mock.calls.length === 1, 'somebody who means it');
    expect(lorises.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(limits.maxHandshakes);
    for (const socket of lorises) socket.destroy();
  });

  it('cut the oldest of too many connections of one cluster', async () => {
    await limited();
    const sockets: TLSSocket[] = [];
    for (let i = 0; i < 5; i++) {
      sockets.push(dial().resume());
      await until(() => admitted.mock.calls.length === i + 1, 'the connection');
      admitted.mock.calls[i]![0].resume();
    }
    await until(() => sockets[0]!.closed && sockets[1]!.closed, 'the oldest two to be cut');
    expect(sockets.slice(2).map(({ closed }) => closed)).toEqual([false, false, false]);
    expect(refused.mock.calls.map(([failure]) => failure.reason)).toEqual(['overloaded', 'overloaded']);
  });
});
