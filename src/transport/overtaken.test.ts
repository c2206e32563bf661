import { expect, test, vi } from 'vitest';
import { openThrough, TransportFixture } from '../../test/support/transport.ts';

/** What was knocked at, by whoever dials. */
const knocks = vi.hoisted(() => [] as { readonly port: number; readonly opened: () => void; ended: boolean }[]);

vi.mock('./knock.ts', () => ({
  knock: ({ port }: { readonly port: number }, _wanted: () => boolean, opened: () => void) => {
    const one = { port, opened, ended: false };
    knocks.push(one);
    return () => {
      one.ended = true;
    };
  },
}));

test('an attempt that is overtaken by the return of the network is made anew, once, and nobody is told', async () => {
  const fixture = await TransportFixture.make();
  try {
    const hub = await fixture.listen();
    const { port } = hub.listener.address;
    const dialer = await fixture.dialer({ addresses: [hub.listener.address] });
    const opening = openThrough(dialer, hub);
    expect(knocks).toMatchObject([{ port }]);
    // Before TCP can have had its answer.
    knocks[0]!.opened();
    const { near, far } = await opening;
    expect(knocks).toMatchObject([{ port, ended: true }]);
    near.channel.send(Buffer.from('one'));
    await vi.waitFor(() => expect(far.said.frames.map(String)).toContain('one'));
    expect(hub.accepted.length).toBe(1);
    expect(near.said.ends).toEqual([]);
    // Where there is a connection, nobody needs to knock.
    await openThrough(dialer, hub);
    await vi.waitFor(() => expect(knocks.slice(1).every(({ ended }) => ended)).toBe(true));
  } finally {
    await fixture.close();
  }
});
