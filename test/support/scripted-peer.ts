/** A peer that says what a test wants it to say: real gRPC and TLS, no daemon. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { identityOf } from '../../src/security/identity.ts';
import type { Authority, CertificateRequest } from '../../src/security/make-certs.ts';
import type { Channel, ChannelEnd, Dialer, Method } from '../../src/transport/channel.ts';
import { createDialer } from '../../src/transport/grpc-client.ts';
import { type ControlFrame, decodeControl, encodeControl, type Greeting } from '../../src/wire/control.ts';
import { decodeFrame, encodeFrame, type Frame, type Hello } from '../../src/wire/frame.ts';
import type { Failure } from '../../src/wire/reasons.ts';
import { certificatesOf, HeldCertificates } from './tls.ts';
import { until } from './until.ts';
import { trustDomain } from './world.ts';

/** The authority whose files lie in `dir`. */
export async function authorityIn(dir: string): Promise<Authority> {
  const [certificate, key] = await Promise.all([
    readFile(join(dir, 'ca.crt'), 'utf8'),
    readFile(join(dir, 'ca.key'), 'utf8'),
  ]);
  return { trustDomain, certificate, key };
}

/** A stream of a scripted peer, and what came over it. */
export class ScriptedStream {
  readonly channel: Channel;
  readonly control: ControlFrame[] = [];
  readonly frames: Frame[] = [];
  #end: ChannelEnd | undefined;

  constructor(dialer: Dialer, method: Method) {
    this.channel = dialer.open(method, {
      frame: (bytes) => {
        const frame = method === 'control' ? decodeControl(bytes) : decodeFrame(bytes);
        if (frame !== undefined) (method === 'control' ? this.control : this.frames).push(frame as never);
      },
      ended: (end) => {
        this.#end = end;
      },
    });
  }

  /** The reason of the other side's Goodbye, or of the end of the stream. */
  async ended(): Promise<Failure> {
    await until(() => this.#end !== undefined, { what: 'the stream to be ended' });
    const goodbye = [...this.control, ...this.frames].find((frame) => frame.kind === 'goodbye');
    if (goodbye !== undefined) return goodbye;
    return this.#end?.failure ?? { reason: 'connection-lost', detail: 'it ended without a word' };
  }

  async received<K extends (ControlFrame | Frame)['kind']>(
    kind: K,
  ): Promise<Extract<ControlFrame | Frame, { kind: K }>> {
    const found = () => [...this.control, ...this.frames].find((frame) => frame.kind === kind);
    await until(() => found() !== undefined || this.#end !== undefined, { what: `a ${kind}` });
    const frame = found();
    if (frame === undefined) throw new Error(`no ${kind} came: ${JSON.stringify(await this.ended())}`);
    return frame as Extract<ControlFrame | Frame, { kind: K }>;
  }
}

export interface ScriptedPeerOptions {
  /** `127.0.0.1:PORT` of the daemon. */
  readonly address: string;
  /** Cluster of the daemon. */
  readonly expect: string;
  readonly authority: Authority;
  readonly certificate: CertificateRequest;
  /** Whom the peer itself trusts. Default: the authority. */
  readonly trusting?: Authority;
}

export class ScriptedPeer implements AsyncDisposable {
  readonly #dialer: Dialer;

  private constructor(dialer: Dialer) {
    this.#dialer = dialer;
  }

  static async make(options: ScriptedPeerOptions): Promise<ScriptedPeer> {
    const { address, expect, authority, certificate, trusting = authority } = options;
    const [host, port] = address.split(':');
    return new ScriptedPeer(
      createDialer({
        addresses: [{ host: host!, port: Number(port) }],
        expect: { trustDomain, cluster: expect },
        certs: new HeldCertificates(await certificatesOf(authority, certificate, trusting)),
        identify: identityOf,
        maxFrameBytes: 16 * 1024 * 1024,
      }),
    );
  }

  open(method: Method): ScriptedStream {
    return new ScriptedStream(this.#dialer, method);
  }

  /** A control stream with a greeting. */
  greet(greeting: Partial<Greeting> = {}): ScriptedStream {
    const stream = this.open('control');
    const frame: Greeting = {
      kind: 'greeting',
      minVersion: 1,
      maxVersion: 1,
      cluster: 'scripted',
      node: 'script',
      software: 'script/1',
      fileHash: '',
      generation: 1,
      beatMs: 5000,
      file: 'scripted.yaml',
      ...greeting,
    };
    stream.channel.send(encodeControl(frame));
    return stream;
  }

  /** A lane's stream with a Hello of the sender. */
  hello(hello: Pick<Hello, 'lane' | 'linkHash'> & Partial<Hello>): ScriptedStream {
    const stream = this.open('exchange');
    stream.channel.send(
      encodeFrame({
        kind: 'hello',
        minVersion: 1,
        maxVersion: 1,
        role: 'sender',
        node: 'script',
        session: '0123456789abcdef',
        ...hello,
      }),
    );
    return stream;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#dialer.close();
  }
}
