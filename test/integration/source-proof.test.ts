import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { call, messageAt, messageFrom } from '../../src/brokers/nats/api.ts';
import { proveStart, stillTheSame } from '../../src/brokers/nats/source-proof.ts';
import { type Position, payloadDigest, type Witness } from '../../src/wire/position.ts';
import { eachServer } from '../support/each-server.ts';
import { type NatsServer, startNats } from '../support/nats-launcher.ts';
import { api, type Client, client, infoOf, makeStream, numbered, publishAll } from '../support/nats-rig.ts';

await eachServer('ends', (binary) => {
  let server: NatsServer;
  let nc: Client;
  let stream: string;
  let streams = 0;
  /** Of the stream as it was made. */
  let label: string;
  beforeAll(async () => {
    server = await startNats({ binary });
    nc = await client(server.url);
  });
  afterAll(async () => {
    await nc.close();
    await server.dispose();
  });
  beforeEach(async () => {
    stream = `S${++streams}`;
    await makeStream(nc, { name: stream });
    await publishAll(nc, 1, 100, numbered(`${stream}.a`));
    label = Math.floor(Date.parse((await infoOf(nc, stream)).created)).toString(36);
  });

  const at = (sequence: number, incarnation = label): Position => ({ incarnation, sequence });

  async function witness(sequence: number, change: Partial<Witness> = {}): Promise<Witness> {
    const found = await messageAt(nc, api, stream, sequence);
    const { seconds = 0, nanos = 0, payload = Buffer.alloc(0) } = found ?? {};
    return { position: at(sequence), seconds, nanos, digest: payloadDigest(payload), ...change };
  }

  async function prove(cursor: Position | undefined, witnesses: readonly Witness[]) {
    return proveStart(nc, api, await infoOf(nc, stream), { ...(cursor === undefined ? {} : { cursor }), witnesses });
  }

  describe('where a source goes on', () => {
    test('without a cursor: at the first record there is, under a label of the stream’s making', async () => {
      const first = await prove(undefined, []);
      expect(first).toEqual({ at: { incarnation: expect.stringMatching(/^[a-z0-9]{8}$/), sequence: 0 }, begins: true });
      await call(nc, `${api}.STREAM.PURGE.${stream}`, { seq: 41 });
      expect(await prove(undefined, [])).toEqual({ at: { ...first.at, sequence: 40 }, begins: true });
      await call(nc, `${api}.STREAM.PURGE.${stream}`);
      expect((await prove(undefined, [])).at.sequence).toBe(100);
    });

    test('an empty stream: before its first record', async () => {
      await call(nc, `${api}.STREAM.DELETE.${stream}`);
      await makeStream(nc, { name: stream });
      expect((await prove(undefined, [])).at.sequence).toBe(0);
    });

    test('the newest witness that can speak decides', async () => {
      const [w50, w80] = [await witness(50), await witness(80)];
      expect(await prove(at(90), [w80, w50])).toEqual({ at: at(90) });
      const { seconds, nanos } = w80;
      expect(await prove(at(80), [w80, w50])).toEqual({ at: at(80), time: { seconds, nanos } });
      // Deleted since: it proves nothing, the older one does.
      await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq: 80 });
      expect(await prove(at(90), [w80, w50])).toEqual({ at: at(90) });
      const other = { ...w50, nanos: (w50.nanos + 1) % 1e9 };
      expect(await prove(at(90), [w80, other])).toMatchObject({ gap: { reason: 'recreated', upTo: { sequence: 0 } } });
    });

    test.each([
      ['time', { nanos: 1 }],
      ['payload', { digest: payloadDigest(Buffer.from('other')) }],
    ])('a record with another %s is another one', async (_name, change) => {
      const start = await prove(at(90), [await witness(90, change), await witness(70), await witness(30)]);
      expect(start.gap).toMatchObject({ after: at(90), upTo: { sequence: 70 }, reason: 'regressed' });
      expect(start.at).toEqual(start.gap!.upTo);
      expect(start.at.incarnation).not.toBe(label);
    });

    test('a stream that ends before the cursor lost its tail, whatever older records say', async () => {
      const start = await prove(at(150), [await witness(150), await witness(100)]);
      expect(start.gap).toMatchObject({ after: at(150), upTo: { sequence: 100 }, reason: 'regressed' });
      expect((await prove(at(150), [])).gap).toMatchObject({ upTo: { sequence: 0 }, reason: 'recreated' });
    });

    test('lanes of a stream that was made anew call it as one does that begins there; one that lost all it held, by a new name', async () => {
      for (const sequence of [20, 200, 300]) expect((await prove(at(sequence, 'kb0000000'), [])).at).toEqual(at(0));
      for (const known of [label, `${label}x1`])
        expect((await prove(at(200, known), [])).at.incarnation).toMatch(new RegExp(`^${label}[a-z0-9]{4}$`));
    });

    test('I9: a label is not given again when the clock is set back', async () => {
      const now = vi.spyOn(Date, 'now').mockReturnValue(0);
      const { incarnation } = (await prove(at(200, `${label}9zz9`), [])).at;
      now.mockRestore();
      expect([label, `${label}9zz9`]).not.toContain(incarnation);
    });

    test('a cursor that nothing is left to prove is believed of the stream that gave it its label, and of no other', async () => {
      expect(await prove(at(60), [])).toEqual({ at: at(60) });
      expect(await prove(at(60, `${label}9zz9`), [])).toEqual({ at: at(60, `${label}9zz9`) });
      const gone = await witness(60, { position: at(60, 'kb0000000') });
      await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq: 60 });
      expect(await prove(gone.position, [gone])).toEqual({
        at: at(0),
        gap: { after: gone.position, upTo: at(0), reason: 'recreated' },
      });
    });

    test('witnesses of an earlier incarnation say nothing', async () => {
      const old = await witness(60, { position: at(60, 'old'), nanos: 1 });
      expect(await prove(at(60), [old])).toEqual({ at: at(60) });
      // And do not stand in for those that do.
      expect((await prove(at(90), [old, await witness(80, { nanos: 1 })])).gap?.reason).toBe('recreated');
    });

    test('what was deleted behind the cursor is a gap, on top of nothing else', async () => {
      const kept = [await witness(50)];
      await call(nc, `${api}.STREAM.PURGE.${stream}`, { seq: 81 });
      expect(await prove(at(50), kept)).toEqual({
        at: at(80),
        gap: { after: at(50), upTo: at(80), reason: 'expired' },
      });
      expect(await prove(at(80), kept)).toEqual({ at: at(80) });
    });
  });

  describe('a reader that had to let go', () => {
    const seen = async (sequence: number, nanos?: number) => {
      const { created } = await infoOf(nc, stream);
      const found = await witness(sequence);
      const time = { seconds: found.seconds, nanos: nanos ?? found.nanos };
      return { created, sequence, time };
    };

    test('goes on behind a record that is still the same, though the stream says it was made anew', async () => {
      expect(await stillTheSame(nc, api, stream, { ...(await seen(60)), created: 'earlier' })).toBeUndefined();
    });

    test('does not where the record is another one', async () => {
      expect((await stillTheSame(nc, api, stream, await seen(60, 1)))?.reason).toBe('regressed');
    });

    test('goes on behind a record that is gone, or was never read, if nothing else changed', async () => {
      const known = await seen(60);
      await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq: 60 });
      expect(await stillTheSame(nc, api, stream, known)).toBeUndefined();
      expect(await stillTheSame(nc, api, stream, { ...known, time: undefined })).toBeUndefined();
      expect((await stillTheSame(nc, api, stream, { ...known, created: 'earlier' }))?.reason).toBe('recreated');
      expect((await stillTheSame(nc, api, stream, { ...known, sequence: 101 }))?.reason).toBe('regressed');
    });
  });

  test('messages are found by their sequence, or the next one', async () => {
    await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq: 50 });
    await call(nc, `${api}.STREAM.MSG.DELETE.${stream}`, { seq: 100 });
    const sequenceOf = async (found: Promise<{ sequence: number } | undefined>) => (await found)?.sequence;
    expect(await sequenceOf(messageAt(nc, api, stream, 49))).toBe(49);
    expect(await sequenceOf(messageAt(nc, api, stream, 50))).toBeUndefined();
    expect(await sequenceOf(messageAt(nc, api, stream, 1000))).toBeUndefined();
    expect(await sequenceOf(messageFrom(nc, api, stream, 50))).toBe(51);
    expect(await sequenceOf(messageFrom(nc, api, stream, 100))).toBeUndefined();
    await expect(messageAt(nc, api, 'NONE', 1)).rejects.toMatchObject({ code: 10059 });
  });
});
