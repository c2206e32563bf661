/** A peer that is not who or what it should be is named at both ends where that can be, and everything else goes on. */
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { issue, makeAuthority } from '../../src/security/make-certs.ts';
import { BatchBuilder } from '../../src/wire/batch.ts';
import type { Reason } from '../../src/wire/reasons.ts';
import { badLane, GoodAndBad, ghostLane, goodLane } from '../support/good-and-bad.ts';
import { authorityIn, type ScriptedPeer } from '../support/scripted-peer.ts';
import { until } from '../support/until.ts';

let all: GoodAndBad;

beforeAll(async () => {
  all = await GoodAndBad.start();
});

afterAll(async () => {
  await all?.[Symbol.asyncDispose]();
});

afterEach(async () => {
  // Whatever was wrong in the test: everything else goes on.
  await all.goesOn();
  await all.plantB.daemon.kill();
});

describe('a certificate', () => {
  test('of an authority that is not trusted is refused by name at both ends', async () => {
    const foreign = await makeAuthority('acme');
    await writeFile(join(all.world.dir, 'foreign-ca.crt'), foreign.certificate);
    const pem = await issue(foreign, { cluster: 'plant-b' });
    await writeFile(join(all.world.dir, 'foreign.crt'), pem.certificate);
    await writeFile(join(all.world.dir, 'foreign.key'), pem.key);
    await using _b = await all.plantBWith({ tls: { cert: 'foreign.crt', key: 'foreign.key', ca: 'ca.crt' } });
    await all.plantB.showsPeer('hub', 'certificate-untrusted');
    await all.hub.logs('connection-refused', 'certificate-untrusted');
    expect((await all.plantB.daemon.healthz()).code).toBe(503);
  });

  test('of the hub that the plant does not trust is refused by the plant', async () => {
    const foreign = await makeAuthority('acme');
    await writeFile(join(all.world.dir, 'foreign-ca.crt'), foreign.certificate);
    await using _b = await all.plantBWith({ tls: { cert: 'plant-b.crt', key: 'plant-b.key', ca: 'foreign-ca.crt' } });
    await all.plantB.showsPeer('hub', 'certificate-untrusted');
  });

  test('that has ended is refused by name at both ends', async () => {
    const certificate = { cluster: 'ghost', notBefore: new Date(0), notAfter: new Date(Date.now() - 60_000) };
    await using ghost = await all.ghost({ certificate });
    expect((await ghost.greet().ended()).reason).toBe('certificate-expired');
    await all.hub.logs('connection-refused', 'certificate-expired');
  });

  test('of another trust domain is refused by name at both ends, though the authority is trusted', async () => {
    const authority = { ...(await authorityIn(all.world.dir)), trustDomain: 'elsewhere' };
    await using ghost = await all.ghost({ authority });
    expect((await ghost.greet().ended()).reason).toBe('identity-mismatch');
    await all.hub.logs('connection-refused', 'identity-mismatch');
  });

  test('of a cluster that the hub has no peer for is refused by name at both ends', async () => {
    await using ghost = await all.ghost({ certificate: { cluster: 'stranger' } });
    expect((await ghost.greet().ended()).reason).toBe('peer-unknown');
    await all.hub.logs('connection-refused', 'peer-unknown');
  });

  test('of another cluster than the one that was dialled is refused by the dialler', async () => {
    const peers = { 'plant-a': { dial: [all.listen] } };
    await using _b = await all.plantBWith({ peers, grants: [] });
    await all.plantB.showsPeer('plant-a', 'identity-mismatch');
    expect((await all.plantB.daemon.peer('plant-a')).detail).toMatch(/acme\/hub, not for acme\/plant-a/);
  });

  test('that is replaced by a good one while the daemon runs is used without a restart', async () => {
    const foreign = await issue(await makeAuthority('acme'), { cluster: 'plant-b' });
    await writeFile(join(all.world.dir, 'renewed.crt'), foreign.certificate);
    await writeFile(join(all.world.dir, 'renewed.key'), foreign.key);
    await using _b = await all.plantBWith({ tls: { cert: 'renewed.crt', key: 'renewed.key', ca: 'ca.crt' } });
    await all.plantB.showsPeer('hub', 'certificate-untrusted');
    await copyFile(join(all.world.dir, 'plant-b.key'), join(all.world.dir, 'renewed.key'));
    await copyFile(join(all.world.dir, 'plant-b.crt'), join(all.world.dir, 'renewed.crt'));
    await until(async () => (await all.plantB.daemon.peer('hub')).connected, {
      what: 'the peer to be there',
      deadlineMs: 60_000,
    });
  });
});

describe('a peer', () => {
  test('of another protocol version is told so, and shown', async () => {
    await using scripted = await all.ghost();
    const control = scripted.greet({ minVersion: 9, maxVersion: 9 });
    expect(await control.ended()).toMatchObject({
      reason: 'version-mismatch',
      detail: expect.stringMatching(/9 to 9/),
    });
    await all.hub.showsPeer('ghost', 'version-mismatch');
    expect((await all.hub.daemon.healthz()).problems).toContainEqual(
      expect.objectContaining({ peer: 'ghost', reason: 'version-mismatch' }),
    );
    const { linkHash } = await declared(scripted);
    const stream = scripted.hello({ lane: ghostLane, linkHash, minVersion: 9, maxVersion: 9 });
    expect((await stream.ended()).reason).toBe('version-mismatch');
    await all.hub.shows(ghostLane, 'version-mismatch', 'parked');
  });

  test('that sends garbage is cut off, and shown', async () => {
    await using scripted = await all.ghost();
    const control = scripted.greet();
    await control.received('greeting');
    control.channel.send(Buffer.from('ffffffffffffffff', 'hex'));
    expect((await control.ended()).reason).toBe('bad-frame');
    await all.hub.showsPeer('ghost', 'bad-frame');
    const exchange = scripted.open('exchange');
    exchange.channel.send(Buffer.from('no frame at all'));
    expect((await exchange.ended()).reason).toBe('bad-frame');
  });

  test('that sends garbage in the middle of a lane parks that lane and no other', async () => {
    await using scripted = await all.ghost();
    const { linkHash } = await declared(scripted);
    const garbled = async (garbage: (epoch: number) => Buffer, reason: Reason): Promise<void> => {
      const stream = scripted.hello({ lane: ghostLane, linkHash });
      const { opening } = await stream.received('welcome');
      stream.channel.send(garbage(opening!.epoch));
      expect((await stream.ended()).reason).toBe(reason);
      await all.hub.shows(ghostLane, reason);
    };
    const batch = (epoch: number, frame: number, after: number): Buffer => {
      const builder = new BatchBuilder('i', after, 1024);
      builder.append(after + 1, 1, 0, Buffer.from('ghostly.x'), Buffer.alloc(0), Buffer.from('x'));
      return builder.frame(epoch, frame, 0);
    };
    await garbled(() => Buffer.from('ffffffffffffffffffff', 'hex'), 'bad-frame');
    await garbled((epoch) => batch(epoch, 2, 0), 'bad-frame');
    await garbled((epoch) => batch(epoch + 1, 1, 0), 'superseded');
    await garbled((epoch) => batch(epoch, 1, 0).subarray(0, -3), 'bad-frame');
  });

  test('that asks for a lane that is none of its own, or of another version of the link, is refused', async () => {
    await using scripted = await all.ghost();
    const { linkHash } = await declared(scripted);
    expect((await scripted.hello({ lane: goodLane, linkHash }).ended()).reason).toBe('link-unknown');
    expect((await scripted.hello({ lane: 'nowhere/ghost/hub', linkHash }).ended()).reason).toBe('link-unknown');
    expect((await scripted.hello({ lane: ghostLane, linkHash: 'other' }).ended()).reason).toBe('link-conflict');
  });

  test('that declares a link without a grant is refused by name at both ends', async () => {
    const link = { kind: 'fan-in', from: { stream: 'TELEMETRY' }, to: { cluster: 'hub', stream: 'FLEET' } };
    await using _b = await all.plantBWith({ links: { pushed: link } });
    await all.plantB.shows('pushed/plant-b/hub', 'not-granted', 'parked');
    const refused = expect.objectContaining({ link: 'pushed', accepted: false, reason: 'not-granted' });
    expect((await all.plantB.daemon.status()).links).toContainEqual(refused);
    expect((await all.hub.daemon.status()).links).toContainEqual(refused);
    expect((await all.plantB.daemon.healthz('pushed')).code).toBe(503);
  });

  test('that grants nothing is shown as the one that refuses', async () => {
    await using _b = await all.plantBWith({ grants: [] });
    await all.hub.shows(badLane, 'not-granted', 'parked');
    expect((await all.plantB.daemon.status()).links).toContainEqual(
      expect.objectContaining({ link: 'telemetry', declaredBy: 'hub', accepted: false, reason: 'not-granted' }),
    );
  });

  /** Greets, and learns the hash of the link that the hub declares. */
  async function declared(scripted: ScriptedPeer): Promise<{ readonly linkHash: string }> {
    const { links } = await scripted.greet().received('declaration');
    return { linkHash: links.find(({ name }) => name === 'ghostly')!.hash };
  }
});
