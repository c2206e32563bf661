import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Channel } from '../../src/transport/channel.ts';
import { type RecordedChannel, until } from './recorder.ts';

const frameBytes = 64 * 1024;

/** What the suite needs of a transport. Windows must be 64 KiB, and frames of 8 MiB be allowed. */
export interface ChannelHarness {
  /** Opens a channel; both ends are attached. */
  open(): Promise<{ readonly near: RecordedChannel; readonly far: RecordedChannel }>;
  close(): Promise<void>;
}

/** What every Channel does, whatever carries it. */
export function describeChannel(name: string, makeHarness: () => Promise<ChannelHarness>): void {
  let harness: ChannelHarness;
  beforeEach(async () => {
    harness = await makeHarness();
  });
  afterEach(() => harness.close());

  const directions = ['from the dialer to the listener', 'from the listener to the dialer'] as const;
  describe.each(directions)(`a channel over ${name}, %s`, (direction) => {
    async function open(): Promise<{ readonly from: RecordedChannel; readonly to: RecordedChannel }> {
      const { near, far } = await harness.open();
      return direction === directions[0] ? { from: near, to: far } : { from: far, to: near };
    }

    it('keeps frames whole and in order', async () => {
      const { from, to } = await open();
      const sizes = Array.from({ length: 300 }, (_, index) => (index * 7919) % 5000);
      for (const [index, size] of sizes.entries()) from.channel.send(numbered(index, size + 4));
      await to.said.untilFrames(sizes.length);
      expect(to.said.frames.map((frame) => [frame.readUInt32BE(0), frame.length])).toEqual(
        sizes.map((size, index) => [index, size + 4]),
      );
    });

    it('carries an empty frame and a large one', async () => {
      const { from, to } = await open();
      const large = Buffer.alloc(7 * 1024 * 1024, 'causeway');
      from.channel.send(Buffer.alloc(0));
      from.channel.send(large);
      await to.said.untilFrames(2);
      expect(to.said.frames[0]).toHaveLength(0);
      expect(to.said.frames[1]!.equals(large)).toBe(true);
    });

    it('counts bytes until they are taken', async () => {
      const { from, to } = await open();
      let takenBytes = 0;
      const left: number[] = [];
      const total = 60 * frameBytes;
      from.said.inside(() => {
        for (let index = 0; index < 60; index += 1) {
          from.channel.send(numbered(index, frameBytes), () => {
            takenBytes += frameBytes;
            left.push(from.channel.queuedBytes);
          });
        }
        expect(from.channel.queuedBytes).toBe(total);
      });
      await to.said.untilFrames(60);
      await until(() => takenBytes === total, 'all frames to be taken');
      expect(from.channel.queuedBytes).toBe(0);
      expect(left.every((queued) => queued % frameBytes === 0 && queued < total)).toBe(true);
      expect(left).toEqual([...left].sort((a, b) => b - a));
    });

    it('holds the sender back while the receiver is paused', async () => {
      const { from, to } = await open();
      to.channel.pause();
      const count = 80;
      let taken = 0;
      for (let index = 0; index < count; index += 1) {
        from.channel.send(numbered(index, frameBytes), () => {
          taken += 1;
        });
      }
      // The other direction goes on, and shows that time has passed.
      await roundTrips(to, from, 50);
      expect(to.said.frames).toHaveLength(0);
      expect(taken).toBeLessThan(count / 2);
      expect(from.channel.queuedBytes).toBe((count - taken) * frameBytes);
      to.channel.resume();
      await to.said.untilFrames(count);
      expect(to.said.frames.map((frame) => frame.readUInt32BE(0))).toEqual(Array.from({ length: count }, (_, n) => n));
      await until(() => from.channel.queuedBytes === 0, 'the rest to be taken');
    });

    it('writes what is queued before it ends', async () => {
      const { from, to } = await open();
      for (let index = 0; index < 80; index += 1) from.channel.send(numbered(index, frameBytes));
      from.said.inside(() => from.channel.end());
      from.channel.send(Buffer.from('after the end'));
      expect(await to.said.untilEnded()).toEqual({});
      expect(await from.said.untilEnded()).toEqual({});
      expect(to.said.frames).toHaveLength(80);
      expect(from.channel.queuedBytes).toBe(0);
    });

    it('ends after what the other side had sent before, paused or not', async () => {
      const { from, to } = await open();
      from.channel.pause();
      for (let index = 0; index < 20; index += 1) to.channel.send(numbered(index, 1000));
      await until(() => to.channel.queuedBytes === 0, 'the frames to be under way');
      from.channel.end();
      expect(await from.said.untilEnded()).toEqual({});
      expect(await to.said.untilEnded()).toEqual({});
    });

    it('drops what is queued when it is aborted', async () => {
      const { from, to } = await open();
      to.channel.pause();
      let taken = 0;
      for (let index = 0; index < 80; index += 1) {
        from.channel.send(numbered(index, frameBytes), () => {
          taken += 1;
        });
      }
      await until(() => taken > 0, 'a first frame to be taken');
      const failure = { reason: 'internal', detail: 'a test' } as const;
      from.said.inside(() => from.channel.abort(failure));
      const takenAtAbort = taken;
      expect(from.channel.queuedBytes).toBe(0);
      expect(await from.said.untilEnded()).toEqual({ failure });
      expect((await to.said.untilEnded()).failure?.reason).toBe('connection-lost');
      expect(taken).toBe(takenAtAbort);
      expect(to.said.frames.length).toBeLessThan(80);
    });

    it('ends once, whatever is called how often', async () => {
      const { from, to } = await open();
      from.said.inside(() => {
        from.channel.end();
        from.channel.abort({ reason: 'internal', detail: 'first' });
        from.channel.abort({ reason: 'internal', detail: 'second' });
        from.channel.end();
        from.channel.send(Buffer.from('x'));
        from.channel.pause();
        from.channel.resume();
      });
      to.channel.end();
      await Promise.all([from.said.untilEnded(), to.said.untilEnded()]);
      await barrier();
      to.channel.abort({ reason: 'internal', detail: 'late' });
      to.channel.send(Buffer.from('x'));
      await barrier();
      for (const { said } of [from, to]) {
        expect(said.ends).toHaveLength(1);
        expect(said.late).toBe(0);
        expect(said.synchronous).toBe(0);
      }
      expect(from.said.ends[0]?.failure?.detail).toBe('first');
    });

    it('survives an owner that throws', async () => {
      const { from, to } = await open();
      to.said.onFrame = () => {
        throw new Error('a defect in the owner');
      };
      from.channel.send(Buffer.from('x'));
      expect((await to.said.untilEnded()).failure).toEqual({
        reason: 'internal',
        detail: expect.stringContaining('a defect in the owner'),
      });
      expect((await from.said.untilEnded()).failure?.reason).toBe('connection-lost');
    });

    it('is one of many that do not mix', async () => {
      const pairs = await Promise.all(Array.from({ length: 40 }, open));
      for (const [index, { from, to }] of pairs.entries()) {
        // One that is not read must not hold the others.
        if (index === 0) to.channel.pause();
        for (let frame = 0; frame < 30; frame += 1) from.channel.send(numbered(index * 1000 + frame, 4096));
      }
      await Promise.all(pairs.slice(1).map(({ to }) => to.said.untilFrames(30)));
      pairs[0]!.to.channel.resume();
      await pairs[0]!.to.said.untilFrames(30);
      for (const [index, { to }] of pairs.entries()) {
        const numbers = to.said.frames.map((frame) => frame.readUInt32BE(0));
        expect(numbers).toEqual(Array.from({ length: 30 }, (_, frame) => index * 1000 + frame));
      }
    });

    /** Lets a clean and useless channel come and go: whatever was under way before is done after it. */
    async function barrier(): Promise<void> {
      const { from, to } = await open();
      from.channel.end();
      await Promise.all([from.said.untilEnded(), to.said.untilEnded()]);
    }
  });
}

function numbered(index: number, size: number): Buffer {
  const frame = Buffer.alloc(size);
  frame.writeUInt32BE(index, 0);
  return frame;
}

/** Frames against the direction of the test, one after the other. */
async function roundTrips(sender: RecordedChannel, receiver: RecordedChannel, count: number): Promise<void> {
  const sent: Channel = sender.channel;
  for (let index = 1; index <= count; index += 1) {
    sent.send(Buffer.from('ping'));
    await receiver.said.untilFrames(index);
  }
}
