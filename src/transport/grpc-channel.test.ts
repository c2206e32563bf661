import { beforeAll } from 'vitest';
import { describeChannel } from '../../test/support/channel-conformance.ts';
import { type RecordedChannel, Recorder } from '../../test/support/recorder.ts';
import { certificatesOf, HeldCertificates } from '../../test/support/tls.ts';
import { type Certificates, identityOf } from '../security/identity.ts';
import { makeAuthority } from '../security/make-certs.ts';
import { createDialer } from './grpc-client.ts';
import { startListener } from './grpc-server.ts';

let hub: Certificates;
let plant: Certificates;
beforeAll(async () => {
  const authority = await makeAuthority('acme');
  hub = await certificatesOf(authority, { cluster: 'hub' });
  plant = await certificatesOf(authority, { cluster: 'plant' });
});

describeChannel('gRPC with mutual TLS', async () => {
  const accepted: ((far: RecordedChannel) => void)[] = [];
  const tuning = { maxFrameBytes: 8 * 1024 * 1024, windowBytes: 65_536, identify: identityOf };
  const listener = await startListener({
    ...tuning,
    address: { host: '127.0.0.1', port: 0 },
    certs: new HeldCertificates(hub),
    trustDomain: 'acme',
    knownPeer: () => true,
    accept: (channel) => {
      const said = new Recorder();
      accepted.shift()!({ channel, said });
      return said;
    },
  });
  const dialer = createDialer({
    ...tuning,
    addresses: [listener.address],
    expect: { trustDomain: 'acme', cluster: 'hub' },
    certs: new HeldCertificates(plant),
  });
  return {
    open: async () => {
      const far = new Promise<RecordedChannel>((resolve) => accepted.push(resolve));
      const said = new Recorder();
      return { near: { channel: dialer.open('exchange', said), said }, far: await far };
    },
    close: async () => {
      dialer.close();
      await listener.stop(0);
    },
  };
});
