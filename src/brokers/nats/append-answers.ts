import type { Msg } from 'nats';
import type { Failure } from '../../wire/reasons.ts';
import type { SinkLogEvents } from '../broker.ts';
import { failureOfCode, isChainBroken } from './errors.ts';
import { decimal, rawHeaders, rawPayload, rawSubject } from './raw-message.ts';

const dot = 46;
const seqKey = Buffer.from('"seq":');

/**
 * The answers to a round of appends. Each append has a reply subject `inbox.round.ordinal`; PubAcks are read without JSON unless
 * there is something to explain, and told in the order of the appends, whatever order they come in.
 */
export class AppendAnswers {
  readonly #inbox: string;
  readonly #stream: string;
  readonly #ackStart: Buffer;
  readonly #events: Omit<SinkLogEvents, 'held'>;
  readonly #compare: (sequence: number) => Promise<Failure | undefined>;
  #round = 0;
  #sent = 0;
  /** Appends whose fate is known: stored, refused, or never sent. */
  #decided = 0;
  #waiting: { readonly count: number; readonly done: () => void }[] = [];
  /** Stored, without a hole from the first on; and those that came before an earlier one, with their sequences (0: held already). */
  #stored = 0;
  readonly #early = new Map<number, number>();
  #lastSequence = 0;
  #reporting = false;
  /** Tell every record's own place. */
  #each = false;

  /** `compare`: whether the record at a sequence is what its id says; why not, if not. Does not reject. */
  constructor(
    inbox: string,
    stream: string,
    events: Omit<SinkLogEvents, 'held'>,
    compare: (sequence: number) => Promise<Failure | undefined>,
  ) {
    this.#inbox = inbox;
    this.#compare = compare;
    this.#stream = stream;
    this.#ackStart = Buffer.from(`{"stream":"${stream}"`);
    this.#events = events;
  }

  /** A new round: answers to earlier ones are of no interest any more. */
  begin(): void {
    this.loseAll();
    this.#round++;
    this.#sent = 0;
    this.#decided = 0;
    this.#stored = 0;
    this.#early.clear();
  }

  /** Reply subject of the next append. `each`: it matters where each record is stored, because others write in between. */
  next(each: boolean): string {
    this.#each = each;
    this.#sent++;
    return `${this.#inbox}.${this.#round}.${this.#sent}`;
  }

  /** The last append was not sent after all, and takes no place in the round. */
  takeBack(): void {
    this.#sent--;
  }

  /** One append will never be answered. */
  lose(): void {
    this.#decide(this.#decided + 1);
  }

  /** No append of this round will be answered any more. */
  loseAll(): void {
    this.#decide(this.#sent);
  }

  /** Waits until the fate of every append so far is known, for so many milliseconds at most. */
  quiet(limitMs: number): Promise<void> {
    const count = this.#sent;
    if (this.#decided >= count) return Promise.resolve();
    return new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((waiting) => waiting.done !== done);
        resolve();
      }, limitMs);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.push({ count, done });
    });
  }

  #decide(count: number): void {
    this.#decided = count;
    if (this.#waiting.length === 0) return;
    const done = this.#waiting.filter((waiting) => waiting.count <= count);
    this.#waiting = this.#waiting.filter((waiting) => waiting.count > count);
    for (const waiting of done) waiting.done();
  }

  /** A message on `inbox.*.*`. */
  take(message: Msg): void {
    const subject = rawSubject(message);
    const at = subject.lastIndexOf(dot);
    if (decimal(subject, this.#inbox.length + 1, at) !== this.#round) return;
    const ordinal = decimal(subject, at + 1, subject.length);
    if (ordinal <= this.#stored) return;
    const payload = rawPayload(message);
    const sequence = this.#plain(payload);
    if (sequence === undefined) this.#explain(ordinal, payload, rawHeaders(message));
    else this.#store(ordinal, sequence);
  }

  #store(ordinal: number, sequence: number): void {
    this.#decide(this.#decided + 1);
    this.#events.answered?.(ordinal, sequence);
    if (ordinal !== this.#stored + 1) {
      this.#early.set(ordinal, sequence);
      return;
    }
    let next: number | undefined = sequence;
    while (next !== undefined) {
      this.#stored++;
      this.#lastSequence = next;
      if (this.#each) this.#events.stored(this.#stored, next);
      next = this.#early.get(this.#stored + 1);
      this.#early.delete(this.#stored + 1);
    }
    if (!this.#each) this.#report();
  }

  /** Once for all answers of a socket read: in a chain the newest one speaks for all. */
  #report(): void {
    if (this.#reporting) return;
    this.#reporting = true;
    queueMicrotask(() => {
      this.#reporting = false;
      if (this.#stored > 0) this.#events.stored(this.#stored, this.#lastSequence);
    });
  }

  /** `{"stream":"S", "seq":123}` and nothing else: the sequence. Anything more has to be explained. */
  #plain(payload: Buffer): number | undefined {
    const start = this.#ackStart;
    if (payload.length < start.length + 8 || payload.compare(start, 0, start.length, 0, start.length) !== 0)
      return undefined;
    const at = payload.indexOf(seqKey, start.length);
    if (at < 0) return undefined;
    let end = at + seqKey.length;
    while (end < payload.length && payload[end]! >= 48 && payload[end]! <= 57) end++;
    if (payload[end] !== 0x7d || end === at + seqKey.length) return undefined;
    return decimal(payload, at + seqKey.length, end);
  }

  #explain(ordinal: number, payload: Buffer, headers: Buffer): void {
    if (payload.length === 0 && headers.toString('latin1', 9, 12) === '503') {
      // The stream has no leader at the moment, or no stream owns the subject.
      this.lose();
      this.#events.answered?.(ordinal, undefined);
      this.#events.unsure({ reason: 'sink-blocked', detail: 'nobody takes the subject at the moment' }, false);
      return;
    }
    const answer = pubAnswer(payload);
    // Somebody else answers on the subject too; JetStream's own answer comes, or it is missed in time.
    if (answer === undefined) return;
    if (!('error' in answer) && answer.stream === this.#stream && answer.duplicate !== true) {
      this.#store(ordinal, answer.seq);
      return;
    }
    if (!('error' in answer) && answer.stream === this.#stream) {
      void this.#decideDuplicate(ordinal, answer.seq);
      return;
    }
    this.lose();
    if ('error' in answer) {
      this.#events.answered?.(ordinal, undefined);
      const { err_code: code, description } = answer.error;
      this.#events.unsure(failureOfCode(code, description), isChainBroken(code));
    } else {
      const detail = `stream ${answer.stream} owns a subject of this link`;
      this.#events.unsure({ reason: 'sink-subject', detail }, false);
    }
  }

  /** The server has seen the id, and says where. Whether it stored this very record under it is a question, and not an answer (I3). */
  async #decideDuplicate(ordinal: number, sequence: number): Promise<void> {
    const round = this.#round;
    const failure = await this.#compare(sequence);
    if (round !== this.#round) return;
    if (failure === undefined) {
      // Perhaps under another lane: a place for ours it is not.
      this.#store(ordinal, 0);
      return;
    }
    this.lose();
    this.#events.unsure(failure, false);
  }
}

type PubAnswer =
  | { readonly stream: string; readonly seq: number; readonly duplicate?: boolean }
  | { readonly error: { readonly err_code: number; readonly description: string } };

/** An answer of JetStream to a publish; undefined for anything else. */
function pubAnswer(payload: Buffer): PubAnswer | undefined {
  if (payload[0] !== 0x7b) return undefined;
  let answer: Partial<{ stream: unknown; seq: unknown; error: { err_code?: unknown } | null }>;
  try {
    answer = JSON.parse(payload.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const refused = typeof answer.error?.err_code === 'number';
  const taken = typeof answer.stream === 'string' && typeof answer.seq === 'number';
  return refused || taken ? (answer as PubAnswer) : undefined;
}
