import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Recorder } from '../../test/support/recorder.ts';
import { certificatesOf, HeldCertificates } from '../../test/support/tls.ts';
import { openRecorded, openThrough, TransportFixture } from '../../test/support/transport.ts';
import { type Certificates, type Identify, identityOf } from '../security/identity.ts';
import { type Authority, makeAuthority } from '../security/make-certs.ts';
import type { Failure } from '../wire/reasons.ts';

const past = { notBefore: new Date('2001-01-01T00:00:00Z'), notAfter: new Date('2001-02-01T00:00:00Z') };
const future = { notBefore: new Date('2090-01-01T00:00:00Z'), notAfter: new Date('2091-01-01T00:00:00Z') };

let acme: Authority;
let stranger: Authority;
let elsewhere: Authority;
beforeAll(async () => {
  acme = await makeAuthority('acme');
  stranger = await makeAuthority('acme');
  elsewhere = { ...acme, trustDomain: 'elsewhere' };
});

let fixture: TransportFixture;
beforeEach(async () => {
  fixture = await TransportFixture.make(acme);
});
afterEach(() => fixture.close());

interface Dialled {
  readonly said: Recorder;
  readonly failure: Failure | undefined;
  /** What the listener said of it, if it was refused as a connection. */
  readonly refused: readonly Failure[];
}

/** Dials with one certificate a listener with another. */
async function dial(plant: Certificates, hub?: Certificates, known = (_cluster: string) => true): Promise<Dialled> {
  const certs = new HeldCertificates(hub ?? (await certificatesOf(acme, { cluster: 'hub' })));
  const { listener, refused, accepted } = await fixture.listen({ certs, knownPeer: known });
  const dialer = await fixture.dialer({ addresses: [listener.address], certs: new HeldCertificates(plant) });
  const { channel, said } = openRecorded(dialer);
  channel.send(Buffer.from('never seen'));
  const { failure } = await said.untilEnded();
  expect(accepted).toEqual([]);
  expect(said.ends).toHaveLength(1);
  return { said, failure, refused };
}

describe('the identity of the dialer', () => {
  it('reaches the listener, and the other way round', async () => {
    const plant = await certificatesOf(acme, { cluster: 'plant' });
    const hub = await fixture.listen();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], certs: new HeldCertificates(plant) });
    const { near, far } = await openThrough(dialer, hub, 'control');
    expect(far.channel.peer).toEqual(plant.identity);
    expect(near.channel.peer).toEqual(hub.certs.current?.identity);
    expect([near.channel.method, far.channel.method]).toEqual(['control', 'control']);
    expect(dialer.address).toEqual(hub.listener.address);
  });

  it('is refused as certificate-untrusted when another authority signed it', async () => {
    const { failure, refused } = await dial(await certificatesOf(stranger, { cluster: 'plant' }, acme));
    expect(failure).toMatchObject({ reason: 'certificate-untrusted', detail: expect.stringContaining('listener') });
    expect(refused).toMatchObject([{ reason: 'certificate-untrusted' }]);
  });

  it.each([
    ['over', past],
    ['still to come', future],
  ])('is refused as certificate-expired when its time is %s', async (_what, validity) => {
    const { failure, refused } = await dial(await certificatesOf(acme, { cluster: 'plant', ...validity }));
    expect(failure?.reason).toBe('certificate-expired');
    expect(refused).toMatchObject([{ reason: 'certificate-expired' }]);
  });

  it('is refused as certificate-missing when there is none', async () => {
    const { ca, identity } = await certificatesOf(acme, { cluster: 'plant' });
    const nothing = { ca, identity } as Certificates;
    const { failure, refused } = await dial(nothing);
    expect(failure?.reason).toBe('certificate-missing');
    expect(refused).toMatchObject([{ reason: 'certificate-missing' }]);
  });

  it('is refused as identity-mismatch when it is of another trust domain', async () => {
    const { failure } = await dial(await certificatesOf(elsewhere, { cluster: 'plant' }));
    expect(failure).toMatchObject({ reason: 'identity-mismatch', detail: expect.stringContaining('elsewhere') });
  });

  it('is refused as peer-unknown when the plan has no such peer', async () => {
    const plant = await certificatesOf(acme, { cluster: 'plant' });
    const { failure } = await dial(plant, undefined, (cluster) => cluster !== 'plant');
    expect(failure).toEqual({ reason: 'peer-unknown', detail: 'the topology file here has no peer plant' });
  });
});

describe('the identity of the listener', () => {
  it.each([
    ['certificate-untrusted', 'another authority signed it', () => certificatesOf(stranger, { cluster: 'hub' }, acme)],
    ['certificate-expired', 'its time is over', () => certificatesOf(acme, { cluster: 'hub', ...past })],
    ['certificate-expired', 'its time is still to come', () => certificatesOf(acme, { cluster: 'hub', ...future })],
    ['identity-mismatch', 'it is another cluster', () => certificatesOf(acme, { cluster: 'berlin' })],
    ['identity-mismatch', 'it is of another trust domain', () => certificatesOf(elsewhere, { cluster: 'hub' })],
  ] as const)('is refused as %s when %s', async (reason, _what, hub) => {
    const { failure } = await dial(await certificatesOf(acme, { cluster: 'plant' }), await hub());
    expect(failure?.reason).toBe(reason);
    expect(failure?.detail).toMatch(/^127\.0\.0\.1:\d+: /);
  });

  it('is not taken from the name that was dialled', async () => {
    const berlin = await certificatesOf(acme, { cluster: 'berlin', hosts: ['hub', 'hub.example'] });
    const { failure } = await dial(await certificatesOf(acme, { cluster: 'plant' }), berlin);
    expect(failure?.detail).toMatch(/is for acme\/berlin, not for acme\/hub/);
  });
});

describe('our own certificate', () => {
  it('is named by the dialer when there is none to use', async () => {
    const certs = new HeldCertificates(undefined);
    const dialer = await fixture.dialer({ addresses: [{ host: '127.0.0.1', port: 1 }], certs });
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('certificate-unusable');
    certs.failure = { reason: 'certificate-expired', detail: 'it is over' };
    expect((await openRecorded(dialer).said.untilEnded()).failure).toEqual(certs.failure);
  });

  it('may come later to a listener', async () => {
    const certs = new HeldCertificates(undefined);
    const hub = await fixture.listen({ certs });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('unreachable');
    certs.set(await certificatesOf(acme, { cluster: 'hub' }));
    await openThrough(dialer, hub);
  });

  it('is renewed for new connections while open streams go on', async () => {
    const hub = await fixture.listen();
    const certs = new HeldCertificates(await certificatesOf(acme, { cluster: 'plant' }));
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], certs });
    const first = await openThrough(dialer, hub);

    certs.set(await certificatesOf(acme, { cluster: 'plant' }));
    hub.certs.set(await certificatesOf(acme, { cluster: 'hub' }));
    const second = await openThrough(dialer, hub);
    expect(second.far.channel.peer).toEqual(certs.current?.identity);
    expect(second.near.channel.peer).toEqual(hub.certs.current?.identity);
    expect(second.far.channel.peer.fingerprint).not.toBe(first.far.channel.peer.fingerprint);

    first.near.channel.send(Buffer.from('still here'));
    await first.far.said.untilFrames(2);
    first.near.channel.end();
    expect(await first.far.said.untilEnded()).toEqual({});
  });
});

describe('a certificate that ends while a stream is open', () => {
  /** Reads certificates as everybody does, but one of them ends a moment after it was looked at, or has ended already. */
  class ShortLived {
    readonly #fingerprint: string;
    leftMs = 200;

    constructor(certificates: Certificates) {
      this.#fingerprint = certificates.identity.fingerprint;
    }

    readonly identify: Identify = (certificate) => {
      const found = identityOf(certificate);
      if ('reason' in found || found.fingerprint !== this.#fingerprint) return found;
      return { ...found, notAfterMs: Date.now() + this.leftMs };
    };
  }

  it('ends the stream of the dialer that holds it, with certificate-expired', async () => {
    const certs = new HeldCertificates(await certificatesOf(acme, { cluster: 'plant' }));
    const short = new ShortLived(certs.current!);
    const hub = await fixture.listen({ identify: short.identify });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], certs });
    const { near, far } = await openThrough(dialer, hub);
    expect((await near.said.untilEnded()).failure?.reason).toBe('certificate-expired');
    expect((await far.said.untilEnded()).failure?.reason).toBe('certificate-expired');
    short.leftMs = 0;
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('certificate-expired');

    certs.set(await certificatesOf(acme, { cluster: 'plant' }));
    await openThrough(dialer, hub);
  });

  it('has the dialer open anew if it was renewed in the meantime', async () => {
    const certs = new HeldCertificates(await certificatesOf(acme, { cluster: 'plant' }));
    const hub = await fixture.listen({ identify: new ShortLived(certs.current!).identify });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], certs });
    const renewed = await certificatesOf(acme, { cluster: 'plant' });
    const { near } = await openThrough(dialer, hub);
    certs.set(renewed);
    expect((await near.said.untilEnded()).failure?.reason).toBe('rotated');
  });

  it('has the dialer open anew when it is that of the listener, to see whether it was renewed', async () => {
    const hub = await fixture.listen();
    const short = new ShortLived(hub.certs.current!);
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], identify: short.identify });
    const { near } = await openThrough(dialer, hub);
    hub.certs.set(await certificatesOf(acme, { cluster: 'hub' }));
    expect((await near.said.untilEnded()).failure?.reason).toBe('rotated');
    const { near: next } = await openThrough(dialer, hub);
    expect(next.channel.peer).toEqual(hub.certs.current?.identity);
  });
});
