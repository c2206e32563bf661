/** How much may be on a line whose speed is not known, and how small batches are cut for a slow one, in bytes. */
export interface LineLimits {
  readonly unknownBytes: number;
  readonly pieceBytes: number;
}

export const lineLimits: LineLimits = { unknownBytes: 8 * 1024, pieceBytes: 4 * 1024 };

/** For so long a line may be busy with what was sent, beyond the time that it takes by itself, in ms. */
const queueMs = 1000;
/** Longer than that no line is taken to be by itself, in ms. */
const maxLengthMs = 2000;
/** For how long the best delivery counts, in ms. */
const memoryMs = 5000;
/** A batch is no larger than this part of what may be on the line. */
const piecesPerWindow = 4;

/** A batch on the line. */
interface Flight {
  /** Bytes that the lane had sent with it. */
  readonly upTo: number;
  readonly sentMs: number;
  /** What had arrived over the whole line when it was sent, and since when that was so. */
  readonly delivered: number;
  readonly deliveredMs: number;
}

interface Delivery {
  readonly atMs: number;
  /** Bytes per ms. */
  readonly rate: number;
}

/** A lane's part of a line. */
export interface LineShare {
  /** Batches larger than this are cut, in bytes. */
  readonly pieceBytes: number;
  /** Whether a piece may be sent now. If not, it is told when its turn has come. */
  request(): boolean;
  sent(bytes: number): void;
  /** So many bytes of the lane have arrived in this session. */
  arrived(totalBytes: number): void;
  leave(): void;
}

/**
 * What all lanes to one peer have on their connection: bytes that were sent and have not arrived. It is kept to what the line
 * delivers in a second, over and above what it takes by itself, by the best delivery of the last seconds. On a fast line
 * that is more than any lane may send. On a slow one it is little, and so the signs of life, which wait behind it, are not late. Nothing
 * else but records is bounded here.
 *
 * An estimate that is too low heals within a few round trips: the window grows by a second's worth with each.
 */
export class Line {
  readonly #limits: LineLimits;
  readonly #nowMs: () => number;
  readonly #shares = new Set<Share>();
  /** Lanes with a piece to send, and no room for it. */
  readonly #waiting = new Set<Share>();
  #turn: Share | undefined;
  #distributing = false;
  #inFlightBytes = 0;
  #delivered = 0;
  #deliveredMs = 0;
  /** The best first, each better than all that are newer. */
  readonly #deliveries: Delivery[] = [];
  #lengthMs = maxLengthMs;
  /** The tag of the lane that had the last turn (see Share.tag). */
  #tag = 0;

  /** `nowMs`: a clock that only goes forward. */
  constructor(limits: LineLimits, nowMs: () => number) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** Bytes that may be on the line. One piece may exceed it. */
  get windowBytes(): number {
    const best = this.#deliveries[0];
    if (best === undefined) return this.#limits.unknownBytes;
    return Math.max(this.#limits.pieceBytes, best.rate * (queueMs + this.#lengthMs));
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  get pieceBytes(): number {
    return Math.max(this.#limits.pieceBytes, this.windowBytes / piecesPerWindow);
  }

  /** A session begins. `turn` is called when it may send after it had to wait. */
  join(turn: () => void): LineShare {
    const share = new Share(this, turn);
    this.#shares.add(share);
    return share;
  }

  request(share: Share): boolean {
    // What was found out about it may no longer be true.
    if (this.#inFlightBytes === 0 && this.#nowMs() - this.#deliveredMs > memoryMs) this.#forget();
    const free = this.#inFlightBytes < this.windowBytes;
    if (free && (this.#turn === share || this.#waiting.size === 0)) return true;
    if (this.#shares.has(share)) this.#waiting.add(share);
    return false;
  }

  sent(share: Share, bytes: number): void {
    const nowMs = this.#nowMs();
    // Nothing was delivered since because nothing was sent.
    if (this.#inFlightBytes === 0) this.#deliveredMs = nowMs;
    this.#turn = undefined;
    this.#tag = Math.max(this.#tag, share.tag);
    share.tag = this.#tag + bytes;
    share.sentBytes += bytes;
    this.#inFlightBytes += bytes;
    const { sentBytes: upTo } = share;
    share.flights.push({ upTo, sentMs: nowMs, delivered: this.#delivered, deliveredMs: this.#deliveredMs });
  }

  arrived(share: Share, totalBytes: number): void {
    if (totalBytes <= share.arrivedBytes || !this.#shares.has(share)) return;
    const bytes = totalBytes - share.arrivedBytes;
    share.arrivedBytes = totalBytes;
    this.#inFlightBytes -= bytes;
    this.#delivered += bytes;
    this.#deliveredMs = this.#nowMs();
    const covered = share.flights.findLastIndex(({ upTo }) => upTo <= totalBytes);
    const newest = share.flights.splice(0, covered + 1).at(-1);
    if (newest !== undefined) this.#measure(newest);
    this.#distribute();
  }

  leave(share: Share): void {
    if (!this.#shares.delete(share)) return;
    this.#waiting.delete(share);
    this.#inFlightBytes -= share.sentBytes - share.arrivedBytes;
    // The next session may well be over another connection.
    if (this.#shares.size === 0) this.#forget();
    this.#distribute();
  }

  /** What was delivered while a batch was under way: that spans all that was on the line before it, so bursts even out. */
  #measure({ sentMs, delivered, deliveredMs }: Flight): void {
    const atMs = this.#deliveredMs;
    this.#lengthMs = Math.min(this.#lengthMs, atMs - sentMs);
    const rate = (this.#delivered - delivered) / Math.max(1, atMs - deliveredMs);
    const kept = this.#deliveries;
    while ((kept.at(-1)?.rate ?? Number.POSITIVE_INFINITY) <= rate) kept.pop();
    kept.push({ atMs, rate });
    while (atMs - kept[0]!.atMs > memoryMs) kept.shift();
  }

  #forget(): void {
    this.#deliveries.length = 0;
    this.#lengthMs = maxLengthMs;
  }

  /** As long as there is room, a piece each for those that wait, first for who has had the least. */
  #distribute(): void {
    if (this.#distributing) return;
    this.#distributing = true;
    while (this.#waiting.size > 0 && this.#inFlightBytes < this.windowBytes) {
      let next: Share | undefined;
      for (const share of this.#waiting) if (next === undefined || share.tag < next.tag) next = share;
      this.#waiting.delete(next!);
      this.#turn = next;
      next!.turn();
    }
    this.#turn = undefined;
    this.#distributing = false;
  }
}

class Share implements LineShare {
  readonly #line: Line;
  readonly turn: () => void;
  /** Batches on the line, oldest first. */
  readonly flights: Flight[] = [];
  /** What it has sent, where time without anything to send counts as if it had kept up with the others: whose is lowest is next. */
  tag = 0;
  sentBytes = 0;
  arrivedBytes = 0;

  constructor(line: Line, turn: () => void) {
    this.#line = line;
    this.turn = turn;
  }

  get pieceBytes(): number {
    return this.#line.pieceBytes;
  }

  request(): boolean {
    return this.#line.request(this);
  }

  sent(bytes: number): void {
    this.#line.sent(this, bytes);
  }

  arrived(totalBytes: number): void {
    this.#line.arrived(this, totalBytes);
  }

  leave(): void {
    this.#line.leave(this);
  }
}
