import { identityOf } from '../../src/security/identity.ts';
import { type Authority, makeAuthority } from '../../src/security/make-certs.ts';
import type { Address } from '../../src/topology/plan.ts';
import type { Dialer, Listener, Method } from '../../src/transport/channel.ts';
import { createDialer, type DialerOptions } from '../../src/transport/grpc-client.ts';
import { type ListenerOptions, startListener } from '../../src/transport/grpc-server.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import { type ChaosOptions, ChaosProxy } from './chaos-proxy.ts';
import { type RecordedChannel, Recorder, until } from './recorder.ts';
import { certificatesOf, HeldCertificates } from './tls.ts';

const defaults = { maxFrameBytes: 1024 * 1024, identify: identityOf };

/** A listener `hub` of the trust domain `acme`, with what reached it. */
export interface TestListener {
  /** It listens on a port, unless told otherwise. */
  readonly listener: Listener & { readonly address: Address };
  readonly accepted: RecordedChannel[];
  readonly refused: Failure[];
  readonly certs: HeldCertificates;
}

/** Dialers `plant`, listeners `hub`, and lines between them; `close` ends them all. */
export class TransportFixture {
  readonly authority: Authority;
  readonly #closing: (() => Promise<void> | void)[] = [];

  private constructor(authority: Authority) {
    this.authority = authority;
  }

  static async make(authority?: Authority): Promise<TransportFixture> {
    return new TransportFixture(authority ?? (await makeAuthority('acme')));
  }

  async listen(options: Partial<ListenerOptions> & { readonly certs?: HeldCertificates } = {}): Promise<TestListener> {
    const certs = options.certs ?? new HeldCertificates(await certificatesOf(this.authority, { cluster: 'hub' }));
    const accepted: RecordedChannel[] = [];
    const refused: Failure[] = [];
    const listener = (await startListener({
      ...defaults,
      address: { host: '127.0.0.1', port: 0 },
      trustDomain: 'acme',
      knownPeer: () => true,
      accept: (channel) => {
        const said = new Recorder();
        accepted.push({ channel, said });
        return said;
      },
      onRefused: (failure) => refused.push(failure),
      ...options,
      certs,
    })) as TestListener['listener'];
    this.#closing.unshift(() => listener.stop(0));
    return { listener, accepted, refused, certs };
  }

  async dialer(options: Partial<DialerOptions> & Pick<DialerOptions, 'addresses'>): Promise<Dialer> {
    const dialer = createDialer({
      ...defaults,
      expect: { trustDomain: 'acme', cluster: 'hub' },
      ...options,
      certs: options.certs ?? new HeldCertificates(await certificatesOf(this.authority, { cluster: 'plant' })),
    });
    this.#closing.unshift(() => dialer.close());
    return dialer;
  }

  async proxy(target: ChaosOptions & { readonly host: string; readonly port: number }): Promise<ChaosProxy> {
    const proxy = await ChaosProxy.start(target, target);
    this.#closing.unshift(() => proxy.stop());
    return proxy;
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0)) await close();
  }
}

/** Opens a channel and keeps what it says. */
export function openRecorded(dialer: Dialer, method: Method = 'exchange'): RecordedChannel {
  const said = new Recorder();
  return { channel: dialer.open(method, said), said };
}

/** Opens a channel that must be accepted, and returns both ends. */
export async function openThrough(
  dialer: Dialer,
  { accepted }: TestListener,
  method?: Method,
): Promise<{ readonly near: RecordedChannel; readonly far: RecordedChannel }> {
  const before = accepted.length;
  const near = openRecorded(dialer, method);
  near.channel.send(Buffer.from('hello'));
  await until(() => accepted.length > before || near.said.ends.length > 0, 'the stream to be accepted');
  const far = accepted[before];
  if (far === undefined) throw new Error(`not accepted: ${JSON.stringify(near.said.ends)}`);
  await far.said.untilFrames(1);
  return { near, far };
}
