import { afterEach, expect, test } from 'vitest';
import { type RecordedChannel, until } from '../../test/support/recorder.ts';
import { openThrough, TransportFixture } from '../../test/support/transport.ts';

let fixture: TransportFixture;

afterEach(() => fixture.close());

const rounds = 5;

/**
 * Resets the connection in the very moment before `end` writes: in the event of a frame, behind which the event loop first
 * writes and only then reads.
 */
async function resetBeforeWrite(reset: () => void, end: RecordedChannel, other: RecordedChannel): Promise<void> {
  end.said.onFrame = () => {
    reset();
    for (let i = 0; i < 8; i++) end.channel.send(Buffer.alloc(128 * 1024));
  };
  other.channel.send(Buffer.from('now'));
  await until(() => end.said.ends.length > 0, 'the end of the channel', 3000);
  expect(end.said.ends[0]?.failure?.reason).toBe('connection-lost');
}

test('a dialer whose write is the first to meet a reset notices it', async () => {
  fixture = await TransportFixture.make();
  const hub = await fixture.listen();
  const proxy = await fixture.proxy(hub.listener.address);
  for (let round = 0; round < rounds; round++) {
    const dialer = await fixture.dialer({ addresses: [proxy.address] });
    const { near, far } = await openThrough(dialer, hub, 'exchange');
    await resetBeforeWrite(() => proxy.cut(), near, far);
  }
});

test('a listener whose write is the first to meet a reset notices it', async () => {
  fixture = await TransportFixture.make();
  const hub = await fixture.listen();
  const proxy = await fixture.proxy(hub.listener.address);
  for (let round = 0; round < rounds; round++) {
    const dialer = await fixture.dialer({ addresses: [proxy.address] });
    const { near, far } = await openThrough(dialer, hub, 'exchange');
    await resetBeforeWrite(() => proxy.cut(), far, near);
  }
});
