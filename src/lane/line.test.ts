import { describe, expect, test } from 'vitest';
import { Line, type LineShare, lineLimits } from './line.ts';

const ackBytes = 100;
/** The clock of the peer is ahead, and fast by a ten thousandth. */
const peerMs = (nowMs: number) => 1_000_000 + 1.0001 * nowMs;

/** What lies between two ends, in virtual time: one queue in each direction, and then its length. */
class Wire {
  nowMs = 0;
  hasTime = true;
  bytesPerMs: number;
  readonly lengthMs: number;
  /** Of the end that is looked at, and of the other one, which may send, too. */
  readonly line: Line;
  readonly far: Line;
  readonly #freeMs = { there: 0, back: 0 };
  readonly #events: { readonly atMs: number; readonly run: () => void }[] = [];

  constructor(bytesPerMs: number, lengthMs: number) {
    this.bytesPerMs = bytesPerMs;
    this.lengthMs = lengthMs;
    const later = (run: () => void, ms: number) => this.#at(this.nowMs + ms, run);
    const hasTime = () => this.hasTime;
    this.line = new Line(lineLimits, { nowMs: () => this.nowMs, later, hasTime });
    this.far = new Line(lineLimits, { nowMs: () => peerMs(this.nowMs), later, hasTime });
  }

  send(way: 'there' | 'back', bytes: number, come: () => void): void {
    this.#freeMs[way] = Math.max(this.#freeMs[way], this.nowMs) + bytes / this.bytesPerMs;
    this.#at(this.#freeMs[way] + this.lengthMs, come);
  }

  #at(atMs: number, run: () => void): void {
    const place = this.#events.findLastIndex((event) => event.atMs <= atMs);
    this.#events.splice(place + 1, 0, { atMs, run });
  }

  /** How long what is sent now has to wait. */
  queueMs(way: 'there' | 'back'): number {
    return Math.max(0, this.#freeMs[way] - this.nowMs);
  }

  run(untilMs: number): void {
    while (this.#events[0] !== undefined && this.#events[0].atMs <= untilMs) {
      const { atMs, run } = this.#events.shift()!;
      this.nowMs = atMs;
      run();
    }
    this.nowMs = untilMs;
  }
}

/** A lane with more to send than the line takes, in records of a size, as long as its receiver has room. */
class Lane {
  readonly #wire: Wire;
  readonly #way: 'there' | 'back';
  readonly #share: LineShare;
  readonly #recordBytes: number;
  creditBytes: number;
  sentBytes = 0;
  arrivedBytes = 0;
  largest = 0;
  /** When it sent something. */
  readonly sentMs: number[] = [];

  constructor(
    wire: Wire,
    recordBytes: number,
    creditBytes = Number.POSITIVE_INFINITY,
    way: 'there' | 'back' = 'there',
  ) {
    this.#wire = wire;
    this.#way = way;
    this.#recordBytes = recordBytes;
    this.creditBytes = creditBytes;
    this.#share = (way === 'there' ? wire.line : wire.far).join(() => this.go());
  }

  go(): void {
    while (this.sentBytes < this.creditBytes && this.#share.request()) {
      const fitting = Math.floor(Math.min(131_072, this.#share.pieceBytes) / this.#recordBytes);
      const bytes = Math.max(1, fitting) * this.#recordBytes;
      this.largest = Math.max(this.largest, bytes);
      this.sentBytes += bytes;
      this.sentMs.push(this.#wire.nowMs);
      this.#share.sent(bytes);
      this.#wire.send(this.#way, bytes, () => this.#come(bytes));
    }
  }

  /** At the other end. */
  #come(bytes: number): void {
    this.arrivedBytes += bytes;
    const [upTo, there] = [this.arrivedBytes, this.#way === 'there'];
    const atMs = Math.round(there ? peerMs(this.#wire.nowMs) : this.#wire.nowMs);
    this.#wire.send(there ? 'back' : 'there', ackBytes, () => this.#share.arrived(upTo, atMs));
  }

  leave(): void {
    this.#share.leave();
  }
}

describe('a slow line', () => {
  const slow = 50_000 / 8 / 1000;

  test('has never more than a few seconds on it, and never stands idle', () => {
    const wire = new Wire(slow, 20);
    const lanes = Array.from({ length: 12 }, () => new Lane(wire, 200));
    for (const lane of lanes) lane.go();
    for (let ms = 100; ms <= 120_000; ms += 100) {
      wire.run(ms);
      expect(wire.queueMs('there')).toBeLessThan(3000);
      expect(wire.queueMs('there')).toBeGreaterThan(0);
    }
  });

  test('is full in both directions, although the word of what has arrived waits behind what the other end sends', () => {
    const wire = new Wire(slow, 20);
    const lane = (way: 'there' | 'back') => new Lane(wire, 250, Number.POSITIVE_INFINITY, way);
    const [one, another, back] = [lane('there'), lane('there'), lane('back')];
    for (const each of [one, another, back]) each.go();
    // For half a day, in which the clocks drift apart by more than anything takes here.
    const untilMs = 40_000_000;
    for (let ms = 30_000; ms <= untilMs; ms += ms < 600_000 ? 100 : 1700) {
      wire.run(ms);
      expect(Math.max(wire.queueMs('there'), wire.queueMs('back'))).toBeLessThan(2500);
    }
    for (const bytes of [one.arrivedBytes + another.arrivedBytes, back.arrivedBytes])
      expect(bytes).toBeGreaterThan(0.92 * slow * untilMs);
  });

  test('is full while somebody has to wait for it, and soon after no more', () => {
    const wire = new Wire(slow, 20);
    expect(wire.line.isFull).toBe(false);
    const lane = new Lane(wire, 200, 100_000);
    lane.go();
    for (let ms = 2000; ms <= 10_000; ms += 100) {
      wire.run(ms);
      expect(wire.line.isFull).toBe(true);
    }
    wire.run(30_000);
    expect([lane.arrivedBytes, wire.line.isFull]).toEqual([100_000, false]);
  });

  test('is full when the transport takes no more and there is time to make batches smaller, and soon after no more', () => {
    const wire = new Wire(slow, 20);
    const share = wire.line.join(() => {});
    wire.hasTime = false;
    share.refused();
    expect(share.isFull).toBe(false);
    wire.hasTime = true;
    share.refused();
    expect(share.isFull).toBe(true);
    wire.run(1000);
    expect(share.isFull).toBe(true);
    wire.run(1001);
    expect(share.isFull).toBe(false);
  });

  test('carries small batches, though a record that is larger travels as it is', () => {
    const wire = new Wire(slow, 20);
    const [small, large] = [new Lane(wire, 200), new Lane(wire, 20_000)];
    small.go();
    wire.run(30_000);
    expect(small.largest).toBeLessThanOrEqual(lineLimits.pieceBytes);
    large.go();
    wire.run(200_000);
    expect(large.largest).toBe(20_000);
    // One of the large ones gives the other lane its turns, byte for byte.
    expect(small.arrivedBytes).toBeGreaterThan(0.4 * (small.arrivedBytes + large.arrivedBytes));
  });

  test('takes one piece at a time, since what is sent in one moment arrives together', () => {
    const wire = new Wire(slow, 20);
    const lanes = Array.from({ length: 5 }, () => new Lane(wire, 200));
    for (const lane of lanes) lane.go();
    wire.run(60_000);
    const sentMs = lanes.flatMap((lane) => lane.sentMs).toSorted((a, b) => a - b);
    for (const [i, ms] of sentMs.slice(1).entries()) expect(ms - sentMs[i]!).toBeGreaterThan(9);
  });

  test('is shared alike by all that have something to send, whatever came before', () => {
    const wire = new Wire(slow, 20);
    const early = new Lane(wire, 150);
    early.go();
    wire.run(60_000);
    const lanes = Array.from({ length: 7 }, (_, i) => new Lane(wire, 100 + 50 * i));
    const before = early.arrivedBytes;
    for (const lane of lanes) lane.go();
    wire.run(260_000);
    const shares = [early.arrivedBytes - before, ...lanes.map(({ arrivedBytes }) => arrivedBytes)];
    const fair = shares.reduce((sum, bytes) => sum + bytes) / shares.length;
    for (const share of shares) expect(Math.abs(share - fair) / fair).toBeLessThan(0.05);
  });

  test('is held neither by a lane whose sink stands still nor by one that has ended', () => {
    const wire = new Wire(slow, 20);
    const stalled = new Lane(wire, 200, 20_000);
    const ended = new Lane(wire, 200);
    const moving = new Lane(wire, 200);
    for (const lane of [stalled, ended, moving]) lane.go();
    wire.run(30_000);
    ended.leave();
    wire.run(40_000);
    expect(stalled.arrivedBytes).toBe(stalled.sentBytes);
    const before = moving.arrivedBytes;
    wire.run(60_000);
    expect(moving.arrivedBytes - before).toBeGreaterThan(0.95 * slow * 20_000);
    // It goes on when its sink does.
    stalled.creditBytes = Number.POSITIVE_INFINITY;
    stalled.go();
    wire.run(80_000);
    expect(stalled.arrivedBytes).toBeGreaterThan(40_000);
  });
});

describe('a fast line', () => {
  test.each([
    ['next door', 500_000, 0.1, 100],
    ['100 ms and 80 MB/s', 80_000, 50, 1000],
    ['600 ms and 10 MB/s', 10_000, 300, 12_000],
  ])('%s is full after a few round trips', (_, bytesPerMs, lengthMs, fullMs) => {
    const wire = new Wire(bytesPerMs, lengthMs);
    const lane = new Lane(wire, 1000);
    lane.go();
    wire.run(fullMs);
    const before = lane.arrivedBytes;
    wire.run(fullMs + 1000);
    expect(lane.arrivedBytes - before).toBeGreaterThan(0.95 * bytesPerMs * 1000);
    expect(lane.largest).toBeGreaterThan(130_000);
  });

  test('grows at least twofold in each round trip', () => {
    const wire = new Wire(80_000, 50);
    const lane = new Lane(wire, 1000);
    lane.go();
    let before = wire.line.windowBytes;
    for (let ms = 101; ms <= 303; ms += 101) {
      wire.run(ms);
      expect(wire.line.windowBytes).toBeGreaterThan(2 * before);
      before = wire.line.windowBytes;
    }
  });

  test('that becomes slow is found slow, and fast again when it is', () => {
    const wire = new Wire(1000, 20);
    const lane = new Lane(wire, 500);
    lane.go();
    wire.run(10_000);
    wire.bytesPerMs = 100;
    wire.run(40_000);
    expect(wire.queueMs('there')).toBeLessThan(2000);
    expect(wire.queueMs('there')).toBeGreaterThan(0);
    wire.bytesPerMs = 1000;
    wire.run(45_000);
    const before = lane.arrivedBytes;
    wire.run(55_000);
    expect(lane.arrivedBytes - before).toBeGreaterThan(9_500_000);
  });
});

test('what was known of the speed is forgotten when nobody sends for long, and when the last session has ended', () => {
  const wire = new Wire(10_000, 5);
  const lane = new Lane(wire, 1000, 5_000_000);
  lane.go();
  wire.run(5000);
  expect(wire.line.windowBytes).toBeGreaterThan(1_000_000);
  wire.run(20_000);
  wire.bytesPerMs = 6;
  lane.creditBytes = Number.POSITIVE_INFINITY;
  lane.go();
  expect(wire.line.inFlightBytes).toBeLessThan(lineLimits.unknownBytes + lineLimits.pieceBytes);
  wire.run(60_000);
  lane.leave();
  expect(wire.line).toMatchObject({ inFlightBytes: 0, windowBytes: lineLimits.unknownBytes });
});
