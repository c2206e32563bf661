import { describe, expect, it } from 'vitest';
import { describeChannel } from '../../test/support/channel-conformance.ts';
import { Recorder } from '../../test/support/recorder.ts';
import { memoryPair } from './memory.ts';

describeChannel('memory', async () => ({
  open: async () => {
    const [near, far] = memoryPair({ windowBytes: 64 * 1024 });
    const [nearSaid, farSaid] = [new Recorder(), new Recorder()];
    near.attach(nearSaid);
    far.attach(farSaid);
    return { near: { channel: near, said: nearSaid }, far: { channel: far, said: farSaid } };
  },
  close: async () => undefined,
}));

describe('a pair in memory', () => {
  it('keeps frames and the end until events are attached', async () => {
    const [near, far] = memoryPair({ method: 'control', clusters: ['hub', 'plant'] });
    expect([near.peer.cluster, far.peer.cluster, near.method]).toEqual(['plant', 'hub', 'control']);
    const [nearSaid, farSaid] = [new Recorder(), new Recorder()];
    near.attach(nearSaid);
    near.send(Buffer.from('a'));
    near.end();
    far.attach(farSaid);
    expect(await farSaid.untilEnded()).toEqual({});
    expect(farSaid.frames.map(String)).toEqual(['a']);
    expect(await nearSaid.untilEnded()).toEqual({});
  });
});
