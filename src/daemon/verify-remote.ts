import { type Failure, FailureError } from '../wire/reasons.ts';
import {
  type VerifyAnswer,
  type VerifyFrame,
  type VerifyGroup,
  type VerifyOpen,
  type VerifyOpened,
  type VerifyPart,
  type VerifyQuestion,
  type VerifyRead,
  type VerifyRecord,
  verifyLimits,
} from '../wire/verify.ts';
import { maxPlaces, maxRecords, type Reading, type ReadProgress, type VerifyEnd } from './verify-end.ts';
import { maxGroups } from './verify-groups.ts';

/** An answer comes within about a second; what takes longer tells how far it is meanwhile. */
const answerMs = 30_000;
/** While the own end is read, the peer hears so often that this is not over. */
const keepMs = 15_000;

export interface RemoteEndOptions {
  readonly peer: string;
  /** Of this verification. */
  readonly id: string;
  readonly send: (frame: VerifyFrame) => void;
}

interface Asked {
  readonly question: VerifyQuestion;
  readonly resolve: (answer: VerifyOpened | VerifyPart) => void;
  readonly reject: (error: FailureError) => void;
  readonly timer: NodeJS.Timeout;
}

/** The peer's end of a lane: asks one question at a time over the control stream, and believes no answer that is larger than it may be. */
export class RemoteEnd implements VerifyEnd {
  readonly #options: RemoteEndOptions;
  #number = 0;
  #asked: Asked | undefined;
  #over: Failure | undefined;

  readonly #keeping: NodeJS.Timeout;

  constructor(options: RemoteEndOptions) {
    this.#options = options;
    this.#keeping = setInterval(() => {
      // The newest question once more: its answer comes again, and nobody waits for it.
      if (this.#asked === undefined && this.#number > 0) this.#send({ kind: 'next' });
    }, keepMs);
    this.#keeping.unref();
  }

  async open(question: VerifyOpen): Promise<VerifyOpened> {
    const answer = await this.#ask(question);
    if (answer.kind !== 'opened') throw this.#unexpected();
    return answer;
  }

  async places(places: readonly number[]): Promise<void> {
    for (let at = 0; at < places.length; at += verifyLimits.places)
      await this.#ask({ kind: 'places', places: places.slice(at, at + verifyLimits.places) });
  }

  async read(what: VerifyRead, progress: ReadProgress): Promise<Reading> {
    const groups: VerifyGroup[] = [];
    const records: VerifyRecord[] = [];
    const places: number[] = [];
    for (let question: VerifyQuestion = what; ; question = { kind: 'next' }) {
      const part = await this.#ask(question);
      if (part.kind !== 'part') throw this.#unexpected();
      groups.push(...part.groups);
      records.push(...part.records);
      places.push(...part.places);
      if (groups.length > maxGroups || records.length > maxRecords || places.length > maxPlaces)
        throw new FailureError('bad-frame', `${this.#options.peer} tells more than there can be`);
      progress(part.read, part.total);
      if (part.done) return { groups, records, places, ...(part.edge === undefined ? {} : { edge: part.edge }) };
    }
  }

  close(): void {
    if (this.#over === undefined) this.#send({ kind: 'close' });
    this.fail({ reason: 'draining', detail: 'the verification was broken off' });
  }

  /** What the peer says to this verification. */
  answer(number: number, body: VerifyAnswer): void {
    const asked = this.#asked;
    if (asked === undefined || number !== this.#number) return;
    clearTimeout(asked.timer);
    this.#asked = undefined;
    if (body.kind !== 'refused') asked.resolve(body);
    else {
      clearInterval(this.#keeping);
      this.#over = { reason: body.reason, detail: body.detail };
      asked.reject(new FailureError(body.reason, `${this.#options.peer}: ${body.detail}`));
    }
  }

  /** The control stream goes over another connection: the question or its answer may be lost. */
  askAgain(): void {
    if (this.#asked !== undefined) this.#send(this.#asked.question);
  }

  /** Nothing more will be answered. */
  fail(failure: Failure): void {
    this.#over ??= failure;
    clearInterval(this.#keeping);
    const asked = this.#asked;
    if (asked === undefined) return;
    clearTimeout(asked.timer);
    this.#asked = undefined;
    asked.reject(new FailureError(failure.reason, failure.detail));
  }

  #ask(question: VerifyQuestion): Promise<VerifyOpened | VerifyPart> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(new FailureError(this.#over.reason, this.#over.detail));
        return;
      }
      this.#number++;
      const late: Failure = {
        reason: 'peer-silent',
        detail: `${this.#options.peer} did not answer within ${answerMs / 1000} s`,
      };
      const timer = setTimeout(() => this.fail(late), answerMs);
      this.#asked = { question, resolve, reject, timer };
      this.#send(question);
    });
  }

  #send(body: VerifyQuestion): void {
    this.#options.send({ kind: 'verify', id: this.#options.id, number: this.#number, body });
  }

  #unexpected(): FailureError {
    return new FailureError('bad-frame', `${this.#options.peer} answers another question`);
  }
}
