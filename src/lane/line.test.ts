import { describe, expect, test } from 'vitest';
import { Line, type LineLimits, type LineShare, lineLimits } from './line.ts';

/** A line of so many bytes per ms and a length in ms, each way. What is sent stands in one queue; arrivals are told at once. */
class Wire {
  nowMs = 0;
  bytesPerMs: number;
  readonly lengthMs: number;
  readonly line: Line;
  #freeMs = 0;
  readonly #events: { readonly atMs: number; readonly run: () => void }[] = [];

  constructor(bytesPerMs: number, lengthMs: number, limits: LineLimits = lineLimits) {
    this.bytesPerMs = bytesPerMs;
    this.lengthMs = lengthMs;
    this.line = new Line(limits, () => this.nowMs);
  }

  /** Puts bytes on it; returns when the other end's word of their arrival is back. */
  send(bytes: number, arrived: () => void): void {
    this.#freeMs = Math.max(this.#freeMs, this.nowMs) + bytes / this.bytesPerMs;
    this.at(this.#freeMs + 2 * this.lengthMs, arrived);
  }

  at(atMs: number, run: () => void): void {
    const place = this.#events.findLastIndex((event) => event.atMs <= atMs);
    this.#events.splice(place + 1, 0, { atMs, run });
  }

  /** Bytes that stand before the line. */
  get queuedBytes(): number {
    return Math.max(0, this.#freeMs - this.nowMs) * this.bytesPerMs;
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
  readonly #share: LineShare;
  readonly #recordBytes: number;
  creditBytes: number;
  sentBytes = 0;
  arrivedBytes = 0;
  largest = 0;

  constructor(wire: Wire, recordBytes: number, creditBytes = Number.POSITIVE_INFINITY) {
    this.#wire = wire;
    this.#recordBytes = recordBytes;
    this.creditBytes = creditBytes;
    this.#share = wire.line.join(() => this.go());
  }

  go(): void {
    while (this.sentBytes < this.creditBytes && this.#share.request()) {
      const fitting = Math.floor(Math.min(131_072, this.#share.pieceBytes) / this.#recordBytes);
      const bytes = Math.max(1, fitting) * this.#recordBytes;
      this.largest = Math.max(this.largest, bytes);
      this.sentBytes += bytes;
      this.#share.sent(bytes);
      this.#wire.send(bytes, () => {
        this.arrivedBytes += bytes;
        this.#share.arrived(this.arrivedBytes);
      });
    }
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
      expect(wire.queuedBytes / slow).toBeLessThan(3000);
      expect(wire.queuedBytes).toBeGreaterThan(0);
      expect(wire.line.inFlightBytes).toBeGreaterThan(0);
    }
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
    for (const share of shares) expect(Math.abs(share - fair)).toBeLessThan(2 * lineLimits.pieceBytes);
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
    expect(wire.queuedBytes / 100).toBeLessThan(2000);
    expect(wire.queuedBytes).toBeGreaterThan(0);
    wire.bytesPerMs = 1000;
    wire.run(45_000);
    const before = lane.arrivedBytes;
    wire.run(46_000);
    expect(lane.arrivedBytes - before).toBeGreaterThan(950_000);
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
