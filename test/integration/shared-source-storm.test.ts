import { expect, test } from 'vitest';
import type { ExportRules } from '../../src/brokers/broker.ts';
import { SharedSource } from '../../src/brokers/nats/shared-source.ts';
import type { Position, Witness } from '../../src/wire/position.ts';
import { eachServer } from '../support/each-server.ts';
import { plentyOfMemory } from '../support/memory.ts';
import { startNats } from '../support/nats-launcher.ts';
import { client, makeStream, numbered, numberOf, openLink, publishAll } from '../support/nats-rig.ts';
import { Seed } from '../support/seed.ts';
import { SourceProbe } from '../support/source-probe.ts';
import { until } from '../support/until.ts';

const KiB = 1024;
const count = 20_000;
const timing = { expiresMs: 600, heartbeatMs: 250, patienceMs: 30_000 };

/** Every third run of records came from a, another third from b. */
const originOf = (number: number) => ['', 'a', 'b'][Math.floor(number / 11) % 3]!;

/** A lane whose sessions come and go, and which is allowed now a little, now nothing. */
class Restless {
  readonly sequences: number[] = [];
  readonly numbers: number[] = [];
  readonly faults: string[] = [];
  sessions = 0;
  readonly #hub: SharedSource;
  readonly #rules: ExportRules | undefined;
  readonly #seed: Seed;
  #probe: SourceProbe | undefined;
  #cursor: Position | undefined;
  #witness: Witness | undefined;
  #calm = false;

  constructor(hub: SharedSource, rules: ExportRules | undefined, seed: Seed) {
    this.#hub = hub;
    this.#rules = rules;
    this.#seed = seed;
  }

  get position(): number {
    return this.#probe?.position?.sequence ?? this.#cursor?.sequence ?? 0;
  }

  act(): void {
    const probe = this.#probe;
    if (probe === undefined || probe.failures.length > 0) {
      this.end();
      this.#begin();
      return;
    }
    if (probe.openedAt === undefined) return;
    const chance = this.#seed.between(0, 99);
    if (chance < 2) this.end();
    else if (chance < 6) probe.pull(0);
    else if (chance < 30) probe.pull(this.#seed.between(1, 100 * KiB));
  }

  calm(): void {
    this.#calm = true;
    this.#probe?.pull(1 << 30);
  }

  #begin(): void {
    this.sessions++;
    const allowed = () => (this.#calm ? 1 << 30 : this.#seed.pick([0, 1, 20 * KiB, 200 * KiB]));
    this.#probe = new SourceProbe(this.#hub.lane(this.#rules), { pulse: allowed });
    this.#probe.open({
      ...(this.#cursor === undefined ? {} : { cursor: this.#cursor }),
      witnesses: this.#witness === undefined ? [] : [this.#witness],
    });
  }

  /** Ends the session, and keeps what a sink would. */
  end(): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    probe.close();
    this.#probe = undefined;
    for (const { position, payload } of probe.records) {
      this.sequences.push(position.sequence);
      this.numbers.push(numberOf(payload));
    }
    this.faults.push(...probe.faults, ...probe.gaps.map(({ reason }) => `gap: ${reason}`));
    this.#cursor = probe.position ?? this.#cursor;
    if (probe.records.length > 0) this.#witness = probe.witness();
  }
}

await eachServer('newest', (binary) => {
  test.each([1, 2, 3])('lanes that come, go and stall, over a server that is killed; seed %s', async (seed) => {
    await using server = await startNats({ binary });
    await using nc = await client(server.url);
    await using fixture = await openLink(server.url);
    await makeStream(nc, { name: 'S' });
    const drawn = new Seed(seed);
    const hub = new SharedSource({
      link: fixture.link,
      cluster: 'c',
      stream: 'S',
      batchBytes: 8 * KiB,
      prefetchBytes: 64 * KiB,
      ringBytes: 128 * KiB,
      memory: plentyOfMemory(),
      timing,
    });
    const rules = (sink: string): ExportRules => ({ sink, imported: () => false, sourced: true });
    const left = [undefined, 'a', 'b', undefined, 'a'];
    const lanes = left.map(
      (origin) => new Restless(hub, origin === undefined ? undefined : rules(`${origin}/S`), drawn),
    );
    let most = 0;
    const timer = setInterval(() => {
      for (const lane of lanes) lane.act();
      most = Math.max(most, hub.attached);
    }, 2);
    try {
      for (let number = 1; number <= count; number += 500) {
        await publishAll(nc, number, number + 499, (one) => {
          const draft = numbered('S.a', one % 50 === 0 ? 9000 : 100)(one);
          const origin = originOf(one);
          if (origin === '') return draft;
          const text =
            `NATS/1.0\r\nCauseway-Lane: l/${origin}/c;i.${one};0\r\n` +
            `Causeway-Origin: ${origin}/S/i/${one}/1700000000000000001\r\nCauseway-At: c/S/-\r\n\r\n`;
          return { ...draft, headers: Buffer.from(text) };
        });
        if (number === 10_001) {
          await server.kill();
          await server.start();
        }
      }
      for (const lane of lanes) lane.calm();
      await until(() => lanes.every(({ position }) => position === count), {
        what: () => `the end; ${lanes.map(({ position }) => position)}, ${hub.attached} share`,
      });
      // It is about sharing. Where a reader was of use to nobody so far, none is shared for half a minute; at the end all lanes are level.
      await until(() => most > 1, { what: 'lanes that share', deadlineMs: 40_000 });
    } finally {
      clearInterval(timer);
      for (const lane of lanes) lane.end();
    }
    for (const [i, lane] of lanes.entries()) {
      const kept = Array.from({ length: count }, (_, at) => at + 1).filter(
        (number) => originOf(number) !== (left[i] ?? 'x'),
      );
      expect(lane.faults).toEqual([]);
      expect(lane.sequences).toEqual(kept);
      expect(lane.numbers).toEqual(kept);
      expect(lane.sessions).toBeGreaterThan(1);
    }
    // Nothing is left over.
    expect([hub.attached, hub.readers, hub.trunkBytes]).toEqual([0, 0, 0]);
  });
});
