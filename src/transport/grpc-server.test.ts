import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Recorder, until } from '../../test/support/recorder.ts';
import { openRecorded, openThrough, TransportFixture } from '../../test/support/transport.ts';
import { type Authority, makeAuthority } from '../security/make-certs.ts';

let acme: Authority;
beforeAll(async () => {
  acme = await makeAuthority('acme');
});

let fixture: TransportFixture;
beforeEach(async () => {
  fixture = await TransportFixture.make(acme);
});
afterEach(() => fixture.close());

describe('a listener', () => {
  it('says when its address is taken', async () => {
    const { listener } = await fixture.listen();
    await expect(fixture.listen({ address: listener.address })).rejects.toThrow(/EADDRINUSE/);
  });

  it('passes on a refusal of the owner, and when to come back', async () => {
    const refusal = { reason: 'overloaded', detail: 'später', retryAfterMs: 2500 } as const;
    const { listener } = await fixture.listen({ accept: () => refusal });
    const dialer = await fixture.dialer({ addresses: [listener.address] });
    expect(await openRecorded(dialer).said.untilEnded()).toEqual({ failure: refusal });
  });

  it('survives an owner that throws when asked', async () => {
    const { listener } = await fixture.listen({
      accept: () => {
        throw new Error('a defect in the owner');
      },
    });
    const dialer = await fixture.dialer({ addresses: [listener.address] });
    const { failure } = await openRecorded(dialer).said.untilEnded();
    expect(failure).toEqual({ reason: 'internal', detail: expect.stringContaining('a defect in the owner') });
  });

  it('delivers what the owner sends while it accepts, and takes its end or abort', async () => {
    const said = [new Recorder(), new Recorder()];
    let asked = 0;
    const { listener } = await fixture.listen({
      accept: (channel) => {
        channel.send(Buffer.from('welcome'));
        if (asked === 0) channel.end();
        else channel.abort({ reason: 'internal', detail: 'no' });
        return said[asked++]!;
      },
    });
    const dialer = await fixture.dialer({ addresses: [listener.address] });
    const ended = openRecorded(dialer);
    expect(await ended.said.untilEnded()).toEqual({});
    expect(ended.said.frames.map(String)).toEqual(['welcome']);
    expect(await said[0]!.untilEnded()).toEqual({});

    const aborted = openRecorded(dialer);
    expect((await aborted.said.untilEnded()).failure?.reason).toBe('connection-lost');
    expect(await said[1]!.untilEnded()).toEqual({ failure: { reason: 'internal', detail: 'no' } });
  });

  it('takes no new streams once told so, and keeps those it has', async () => {
    const hub = await fixture.listen();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { near, far } = await openThrough(dialer, hub);
    const refusal = { reason: 'draining', detail: 'handing over' } as const;
    hub.listener.refuseNew(refusal);
    expect(await openRecorded(dialer).said.untilEnded()).toEqual({ failure: refusal });
    near.channel.send(Buffer.from('goes on'));
    await far.said.untilFrames(2);
  });

  it('cuts the streams of a peer that the plan has lost', async () => {
    let known = true;
    const hub = await fixture.listen({ knownPeer: () => known });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { near, far } = await openThrough(dialer, hub);
    hub.listener.recheck();
    near.channel.send(Buffer.from('goes on'));
    await far.said.untilFrames(2);
    known = false;
    hub.listener.recheck();
    expect((await near.said.untilEnded()).failure?.reason).toBe('peer-unknown');
    expect((await far.said.untilEnded()).failure?.reason).toBe('peer-unknown');
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('peer-unknown');
  });

  it('opens no more streams on a connection than it allows', async () => {
    const hub = await fixture.listen({ maxStreams: 2 });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], connectTimeoutMs: 500 });
    const [{ near }] = [await openThrough(dialer, hub), await openThrough(dialer, hub)];
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('peer-silent');
    expect(near.said.ends).toEqual([]);
  });

  it.each(['dialer', 'listener'] as const)('names a frame that is too large, sent by the %s', async (sender) => {
    const hub = await fixture.listen({ maxFrameBytes: 10_000 });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], maxFrameBytes: 10_000 });
    const { near, far } = await openThrough(dialer, hub);
    const [from, to] = sender === 'dialer' ? [near, far] : [far, near];
    from.channel.send(Buffer.alloc(10_000));
    await to.said.untilFrames(sender === 'dialer' ? 2 : 1);
    from.channel.send(Buffer.alloc(10_001));
    expect((await to.said.untilEnded()).failure?.reason).toBe('frame-too-large');
    const expected = sender === 'dialer' ? 'frame-too-large' : 'connection-lost';
    expect((await from.said.untilEnded()).failure?.reason).toBe(expected);
  });
});

describe('a listener that stops', () => {
  it('waits for streams that end by themselves', async () => {
    const hub = await fixture.listen();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { near, far } = await openThrough(dialer, hub);
    const stopped = hub.listener.stop(60_000);
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('draining');
    far.channel.send(Buffer.from('a last word'));
    far.channel.end();
    await stopped;
    expect(near.said.frames.map(String)).toEqual(['a last word']);
    expect(await near.said.untilEnded()).toEqual({});
    expect(await far.said.untilEnded()).toEqual({});
    expect((await openRecorded(dialer).said.untilEnded()).failure?.reason).toBe('unreachable');
  });

  it('cuts after the grace those that do not, and says why', async () => {
    const hub = await fixture.listen();
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const { near, far } = await openThrough(dialer, hub);
    await hub.listener.stop(20);
    expect((await far.said.untilEnded()).failure?.reason).toBe('draining');
    expect((await near.said.untilEnded()).failure?.reason).toBe('draining');
  });

  it('does not hang on a peer that reads nothing', async () => {
    const windowBytes = 65_536;
    const hub = await fixture.listen({ windowBytes });
    const dialer = await fixture.dialer({ addresses: [hub.listener.address], windowBytes });
    const { near, far } = await openThrough(dialer, hub);
    near.channel.pause();
    for (let index = 0; index < 100; index += 1) far.channel.send(Buffer.alloc(64 * 1024));
    await until(
      () => near.channel.peer.fingerprint !== '' && far.channel.queuedBytes < 6_000_000,
      'the window to fill',
    );
    await hub.listener.stop(20);
    expect((await far.said.untilEnded()).failure?.reason).toBe('draining');
    expect((await near.said.untilEnded()).failure).toBeDefined();
  });

  it('stops twice', async () => {
    const { listener } = await fixture.listen();
    await Promise.all([listener.stop(0), listener.stop(0)]);
    await listener.stop(0);
  });
});
