import type { ServerHttp2Session } from 'node:http2';
import { Metadata, ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { until } from '../../test/support/recorder.ts';
import { openThrough, TransportFixture } from '../../test/support/transport.ts';
import { http2Seam } from './http2-seam.ts';

const frameBytes = 64 * 1024;
const frames = 12;

let fixture: TransportFixture;
beforeEach(async () => {
  fixture = await TransportFixture.make();
});
afterEach(() => fixture.close());

/** Most bytes of an upload that were under way at once on a line with a round trip of 50 ms. */
async function bytesUnderWay(windowBytes: number | undefined): Promise<number> {
  const hub = await fixture.listen({ windowBytes });
  const line = await fixture.proxy({ ...hub.listener.address, delayMs: 25 });
  const dialer = await fixture.dialer({ addresses: [line.address] });
  const { near, far } = await openThrough(dialer, hub);
  for (let index = 0; index < frames; index += 1) near.channel.send(Buffer.alloc(frameBytes));
  await far.said.untilFrames(1 + frames);
  return line.peakBytesToTarget;
}

describe('the seam into HTTP/2', () => {
  it('lets an upload fill a long line, which without it is limited to 64 KiB per round trip', async () => {
    const withoutSeam = 65_535;
    expect(await bytesUnderWay(withoutSeam)).toBeLessThan(1.5 * withoutSeam);
    expect(await bytesUnderWay(undefined)).toBeGreaterThan(4 * withoutSeam);
  });

  it('fills a line of any length up to the window', async () => {
    const hub = await fixture.listen();
    const line = await fixture.proxy(hub.listener.address);
    const dialer = await fixture.dialer({ addresses: [line.address] });
    const { near } = await openThrough(dialer, hub);
    line.freeze();
    for (let index = 0; index < frames; index += 1) near.channel.send(Buffer.alloc(frameBytes));
    await until(() => line.bytesToTarget > frames * frameBytes, 'all to be under way, with nothing coming back');
    await until(() => near.channel.queuedBytes === 0, 'all to be taken');
  });

  it('raises the windows of a session once, and finds the stream of a call', () => {
    const session = { destroyed: false, settings: vi.fn(), setLocalWindowSize: vi.fn() };
    const stream = { session: session as unknown as ServerHttp2Session };
    const missing = vi.fn();
    const seam = http2Seam(1_000_000, missing);
    const request = new Metadata();
    const call = {
      stream,
      start: (listener: { onReceiveMetadata(m: Metadata): void }) => listener.onReceiveMetadata(request),
    };
    type Args = Parameters<ServerInterceptor>;
    for (let index = 0; index < 2; index += 1) {
      const intercepted = seam.interceptor({} as Args[0], call as unknown as Args[1]);
      intercepted.start({
        onReceiveMetadata: () => undefined,
        onReceiveMessage: () => undefined,
        onReceiveHalfClose: () => undefined,
        onCancel: () => undefined,
      });
    }
    expect(session.settings.mock.calls).toEqual([[{ initialWindowSize: 1_000_000 }]]);
    expect(session.setLocalWindowSize.mock.calls).toEqual([[1_000_000]]);
    expect(seam.streamOf(request)).toBe(stream);
    expect(missing).not.toHaveBeenCalled();
  });

  it('says once when gRPC has changed inside, and lets calls pass', () => {
    const missing = vi.fn();
    const seam = http2Seam(1_000_000, missing);
    type Args = Parameters<ServerInterceptor>;
    for (let index = 0; index < 2; index += 1) {
      expect(seam.interceptor({} as Args[0], {} as Args[1])).toBeInstanceOf(ServerInterceptingCall);
    }
    expect(missing.mock.calls).toEqual([[expect.stringContaining('64 KiB')]]);
  });
});
