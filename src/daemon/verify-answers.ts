import { pause } from '../lib/pause.ts';
import { type Failure, FailureError, failureFrom } from '../wire/reasons.ts';
import {
  type VerifyAnswer,
  type VerifyFrame,
  type VerifyPart,
  type VerifyQuestion,
  verifyLimits,
} from '../wire/verify.ts';
import type { Reading, VerifyEnd } from './verify-end.ts';

/** Verifications that peers may have under way here at a time. */
const maxAnswered = 2;
/** A question that takes longer is answered with how far it is. */
const patienceMs = 500;
/** Who asks nothing for so long has forgotten. */
const idleMs = 60_000;

export interface VerifyAnswersOptions {
  /** The own end of a lane that ends at this peer; throws FailureError if there is none. */
  readonly open: (peer: string, lane: string) => VerifyEnd;
  readonly send: (peer: string, frame: VerifyFrame) => void;
}

/** Answers what peers ask to verify lanes. Only digests leave, and only of lanes that the peer takes part in. */
export class VerifyAnswers {
  readonly #options: VerifyAnswersOptions;
  readonly #sessions = new Map<string, Session>();

  constructor(options: VerifyAnswersOptions) {
    this.#options = options;
  }

  question(peer: string, { id, number }: VerifyFrame, question: VerifyQuestion): void {
    const key = `${peer} ${id}`;
    const session = this.#sessions.get(key);
    if (session?.isOver === false) {
      if (question.kind === 'close') session.end();
      else session.question(number, question);
      return;
    }
    const answer = (told: number, body: VerifyAnswer) =>
      this.#options.send(peer, { kind: 'verify', id, number: told, body });
    if (question.kind === 'close') return;
    if (question.kind !== 'open') {
      answer(number, refusal({ reason: 'not-verifiable', detail: 'nothing is known of this verification (any more)' }));
      return;
    }
    if (this.#sessions.size >= maxAnswered) {
      const detail = `${maxAnswered} verifications are under way already; try again later`;
      answer(number, refusal({ reason: 'overloaded', detail }));
      return;
    }
    try {
      const end = this.#options.open(peer, question.lane);
      const made = new Session(end, answer, () => this.#sessions.delete(key));
      this.#sessions.set(key, made);
      made.question(number, question);
    } catch (error) {
      answer(number, refusal(failureFrom(error)));
    }
  }

  /** The peer is gone, and with it who asked. */
  peerDown(peer: string): void {
    for (const [key, session] of this.#sessions) if (key.startsWith(`${peer} `)) session.end();
  }

  stop(): void {
    for (const session of this.#sessions.values()) session.end();
  }
}

function refusal({ reason, detail }: Failure): VerifyAnswer {
  return { kind: 'refused', reason, detail };
}

/** Of one verification. It takes its place until nothing of it is at work any more, so that nobody has more done by beginning again and again. */
class Session {
  readonly #end: VerifyEnd;
  readonly #answer: (number: number, body: VerifyAnswer) => void;
  readonly #ended: () => void;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  /** The newest question, and its answer if it has one. */
  #number = 0;
  #told: VerifyAnswer | undefined;
  #job: ReadingJob | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(end: VerifyEnd, answer: (number: number, body: VerifyAnswer) => void, ended: () => void) {
    this.#end = end;
    this.#answer = answer;
    this.#ended = ended;
    this.#wait();
  }

  question(number: number, question: VerifyQuestion): void {
    this.#wait();
    if (number === this.#number) {
      if (this.#told !== undefined) this.#answer(number, this.#told);
      return;
    }
    // While one is being answered there is no next one.
    if (number !== this.#number + 1 || (this.#number > 0 && this.#told === undefined)) return;
    this.#number = number;
    this.#told = undefined;
    this.#work = this.#answerTo(question)
      .catch((error: unknown): VerifyAnswer => refusal(failureFrom(error)))
      .then((body) => {
        if (this.#closing.signal.aborted) return;
        this.#told = body;
        this.#answer(number, body);
        if (body.kind === 'refused') this.end();
      });
  }

  get isOver(): boolean {
    return this.#closing.signal.aborted;
  }

  end(): void {
    if (this.#closing.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#closing.abort();
    this.#end.close();
    void Promise.all([this.#work, this.#job?.settled]).then(() => this.#ended());
  }

  #wait(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), idleMs);
    this.#timer.unref();
  }

  async #answerTo(question: VerifyQuestion): Promise<VerifyAnswer> {
    switch (question.kind) {
      case 'open':
        return this.#end.open(question);
      case 'places':
        await this.#end.places(question.places);
        return { kind: 'part', read: 0, total: 0, done: true, groups: [], records: [], places: [] };
      case 'read':
        if (this.#job?.isDone === false) throw new FailureError('bad-frame', 'a reading before the last one is done');
        this.#job = new ReadingJob((progress) => this.#end.read(question, progress));
        return this.#job.part(this.#closing.signal);
      default:
        if (this.#job === undefined) throw new FailureError('bad-frame', 'next, where nothing is read');
        return this.#job.part(this.#closing.signal);
    }
  }
}

/** A reading that is told part by part. */
class ReadingJob {
  /** It reads no more. */
  readonly settled: Promise<void>;
  readonly #reading: Promise<Reading>;
  #result: Reading | undefined;
  #read = 0;
  #total = 0;
  /** What has been told. */
  #at = 0;
  isDone = false;

  constructor(read: (progress: (read: number, total: number) => void) => Promise<Reading>) {
    this.#reading = read((done, total) => {
      this.#read = done;
      this.#total = total;
    });
    this.settled = this.#reading.then(
      (result) => {
        this.#result = result;
      },
      // Whoever asks for the next part hears of it.
      () => undefined,
    );
  }

  async part(signal: AbortSignal): Promise<VerifyPart> {
    const woken = new AbortController();
    await Promise.race([this.#reading, pause(patienceMs, AbortSignal.any([signal, woken.signal]))]);
    woken.abort();
    const result = this.#result;
    const base = { kind: 'part', read: this.#read, total: this.#total } as const;
    if (result === undefined) return { ...base, done: false, groups: [], records: [], places: [] };
    const slice = <T>(list: readonly T[], size: number): readonly T[] =>
      list.slice(this.#at * size, (this.#at + 1) * size);
    const { groups, records, places } = verifyLimits;
    const part = {
      groups: slice(result.groups, groups),
      records: slice(result.records, records),
      places: slice(result.places, places),
    };
    this.#at++;
    const rest = (list: readonly unknown[], size: number): boolean => list.length > this.#at * size;
    const more = rest(result.groups, groups) || rest(result.records, records) || rest(result.places, places);
    this.isDone = !more;
    return { ...base, ...part, done: !more, ...(more || result.edge === undefined ? {} : { edge: result.edge }) };
  }
}
