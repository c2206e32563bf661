/** How much may be on a line whose speed is not known, and how small batches are cut for a slow one, in bytes. */
export interface LineLimits {
  readonly unknownBytes: number;
  readonly pieceBytes: number;
}

export const lineLimits: LineLimits = { unknownBytes: 8 * 1024, pieceBytes: 2 * 1024 };

/** For so long a line may be busy with what was sent, in ms. */
const queueMs = 750;
/** No longer than that a record and the word of its arrival are taken to be under way besides, in ms. */
const maxTripMs = 2000;
/** As the mean of about so many: from one to the next it varies, and two ends that follow that swing each other up. */
const smoothed = 3;
/** For how long the best delivery counts, in ms. */
const memoryMs = 5000;
/** The line is emptied so often to see how long its way is by itself, in ms: the clocks of the two ends do not run alike. */
const seekMs = 300_000;
/** Smaller pieces than a TLS record are sent so far apart, in ms: those in one record arrive together, and none before the last. */
const apartMs = 10;
const tlsRecordBytes = 16 * 1024;
/** A line is full for so long after somebody had to wait for it, in ms. */
const fullMs = 1000;
/** A batch is no larger than this part of what may be on the line. */
const piecesPerWindow = 4;

/** A batch on the line. */
interface Flight {
  /** Bytes that the lane had sent with it. */
  readonly upTo: number;
  readonly sentMs: number;
  /** Nothing was in front of it. */
  readonly alone: boolean;
  readonly since: Delivered;
}

/** What is known to have arrived over the whole line, and since when. */
interface Delivered {
  readonly bytes: number;
  readonly atMs: number;
  /** The same by the peer's clock; unknown where the line was empty until a batch was sent then. */
  readonly peerMs?: number;
}

interface Delivery {
  readonly atMs: number;
  /** Bytes per ms. */
  readonly rate: number;
}

/** What a line needs of the world. */
export interface LineDriver {
  /** A clock that only goes forward. */
  nowMs(): number;
  /** Calls `run` after so many ms. */
  later(run: () => void, ms: number): void;
  /** Whether the processor could do more than it does. */
  hasTime(): boolean;
}

/** A lane's part of a line. */
export interface LineShare {
  /** Batches larger than this are cut, in bytes. */
  readonly pieceBytes: number;
  /** There is more to send than the line takes. */
  readonly isFull: boolean;
  /** Whether a piece may be sent now. If not, it is told when its turn has come. */
  request(): boolean;
  sent(bytes: number): void;
  /** The transport takes no more for now. */
  refused(): void;
  /** So many bytes of the lane have arrived in this session, the last of them at `peerMs` by the peer's clock. */
  arrived(totalBytes: number, peerMs: number): void;
  leave(): void;
}

/**
 * What all lanes to one peer have on their connection: bytes of records, compressed or not, that were sent and are not known to have arrived. It is kept to what
 * the line delivers within `queueMs`, and while a batch and the word of its arrival are under way. On a fast line that is more than any
 * lane may send. On a slow one it is little, and so the signs of life, which wait behind it, are not late.
 *
 * How fast it delivers is the best of the last seconds, by the peer's clock, since words of arrivals may come in bunches. How long a batch waited for others in front of it is what its way took longer
 * than that of the quickest one: the peer tells when it came, by its own clock. That is not counted as being under way, or the
 * window would grow with its own queue. The word of its arrival may wait, too, behind what the peer sends, and that is counted, or of two
 * ends that send, one would have the line to itself. An estimate that is too low heals within a few round trips, since the window is larger
 * than what is delivered in one.
 */
export class Line {
  readonly #limits: LineLimits;
  readonly #driver: LineDriver;
  readonly #shares = new Set<Share>();
  /** Lanes with a piece to send, and no room for it. */
  readonly #waiting = new Set<Share>();
  #turn: Share | undefined;
  #distributing = false;
  /** A piece was sent just now. */
  #pausing = false;
  #inFlightBytes = 0;
  #delivered: Delivered = { bytes: 0, atMs: 0 };
  /** The best first, each better than all that are newer. */
  readonly #deliveries: Delivery[] = [];
  /** What a batch and the word of its arrival take together, without the wait in the queue, in ms. */
  #tripMs = 0;
  /** The shortest way of a batch, from the clock here to the one there, in ms; sought last at `atMs`. */
  #shortest = { ms: Number.POSITIVE_INFINITY, atMs: 0 };
  #seeking = false;
  /** When somebody last found no room. */
  #fullAtMs = Number.NEGATIVE_INFINITY;
  /** The tag of the lane that had the last turn (see Share.tag). */
  #tag = 0;

  constructor(limits: LineLimits, driver: LineDriver) {
    this.#limits = limits;
    this.#driver = driver;
  }

  /** Bytes that may be on the line. One piece may exceed it. */
  get windowBytes(): number {
    const best = this.#deliveries[0];
    if (best === undefined) return this.#limits.unknownBytes;
    return Math.max(this.#limits.pieceBytes, best.rate * (queueMs + this.#tripMs));
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  get pieceBytes(): number {
    return Math.max(this.#limits.pieceBytes, this.windowBytes / piecesPerWindow);
  }

  get isFull(): boolean {
    return this.#driver.nowMs() - this.#fullAtMs <= fullMs;
  }

  /** A session begins. `turn` is called when it may send after it had to wait. */
  join(turn: () => void): LineShare {
    const share = new Share(this, turn);
    this.#shares.add(share);
    return share;
  }

  request(share: Share): boolean {
    // What was found out about it may no longer be true.
    if (this.#inFlightBytes === 0 && this.#driver.nowMs() - this.#delivered.atMs > memoryMs) this.#forget();
    const free = this.#isFree();
    if (free && (this.#turn === share || this.#waiting.size === 0)) return true;
    if (this.#inFlightBytes >= this.windowBytes) this.#fullAtMs = this.#driver.nowMs();
    if (this.#shares.has(share)) this.#waiting.add(share);
    return false;
  }

  #isFree(): boolean {
    if (this.#pausing) return false;
    return this.#seeking ? this.#inFlightBytes === 0 : this.#inFlightBytes < this.windowBytes;
  }

  sent(share: Share, bytes: number): void {
    const nowMs = this.#driver.nowMs();
    const alone = this.#inFlightBytes === 0;
    // Nothing was delivered since because nothing was sent.
    if (alone) this.#delivered = { bytes: this.#delivered.bytes, atMs: nowMs };
    this.#turn = undefined;
    this.#tag = Math.max(this.#tag, share.tag);
    share.tag = this.#tag + bytes;
    share.sentBytes += bytes;
    this.#inFlightBytes += bytes;
    if (this.pieceBytes < tlsRecordBytes) this.#pause();
    share.flights.push({ upTo: share.sentBytes, sentMs: nowMs, alone, since: this.#delivered });
  }

  #pause(): void {
    this.#pausing = true;
    this.#driver.later(() => {
      this.#pausing = false;
      this.#distribute();
    }, apartMs);
  }

  /**
   * Either the connection is slow, by loss for instance, whatever it delivers at its best, or the other end has more to do than it can. In the latter case
   * this end has much to do as well, as a rule.
   */
  refused(): void {
    if (this.#driver.hasTime()) this.#fullAtMs = this.#driver.nowMs();
  }

  arrived(share: Share, totalBytes: number, peerMs: number): void {
    if (totalBytes <= share.arrivedBytes || !this.#shares.has(share)) return;
    const bytes = totalBytes - share.arrivedBytes;
    share.arrivedBytes = totalBytes;
    this.#inFlightBytes -= bytes;
    this.#delivered = { bytes: this.#delivered.bytes + bytes, atMs: this.#driver.nowMs(), peerMs };
    const covered = share.flights.findLastIndex(({ upTo }) => upTo <= totalBytes);
    const newest = share.flights.splice(0, covered + 1).at(-1);
    if (newest !== undefined) this.#measure(newest, peerMs);
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
  #measure({ sentMs, alone, since }: Flight, peerMs: number): void {
    const { bytes, atMs } = this.#delivered;
    const wayMs = peerMs - sentMs;
    if (alone && this.#seeking) this.#shortest = { ms: wayMs, atMs };
    this.#shortest.ms = Math.min(this.#shortest.ms, wayMs);
    this.#seeking = atMs - this.#shortest.atMs > seekMs;
    const tripMs = Math.min(maxTripMs, Math.max(0, atMs - sentMs - (wayMs - this.#shortest.ms)));
    this.#tripMs += (tripMs - this.#tripMs) / (this.#deliveries.length === 0 ? 1 : smoothed);
    const tookMs = since.peerMs === undefined ? atMs - since.atMs : peerMs - since.peerMs;
    const rate = (bytes - since.bytes) / Math.max(1, tookMs);
    const kept = this.#deliveries;
    while ((kept.at(-1)?.rate ?? Number.POSITIVE_INFINITY) <= rate) kept.pop();
    kept.push({ atMs, rate });
    while (atMs - kept[0]!.atMs > memoryMs) kept.shift();
  }

  #forget(): void {
    this.#deliveries.length = 0;
    this.#tripMs = 0;
    this.#shortest = { ms: Number.POSITIVE_INFINITY, atMs: this.#driver.nowMs() };
    this.#seeking = false;
  }

  /** As long as there is room, a piece each for those that wait, first for who has had the least. */
  #distribute(): void {
    if (this.#distributing) return;
    this.#distributing = true;
    while (this.#waiting.size > 0 && this.#isFree()) {
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

  get isFull(): boolean {
    return this.#line.isFull;
  }

  request(): boolean {
    return this.#line.request(this);
  }

  sent(bytes: number): void {
    this.#line.sent(this, bytes);
  }

  refused(): void {
    this.#line.refused();
  }

  arrived(totalBytes: number, peerMs: number): void {
    this.#line.arrived(this, totalBytes, peerMs);
  }

  leave(): void {
    this.#line.leave(this);
  }
}
