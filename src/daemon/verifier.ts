import { randomBytes } from 'node:crypto';
import type { Broker } from '../brokers/broker.ts';
import type { Store } from '../brokers/store.ts';
import { verifyVersion } from '../wire/frame.ts';
import { type Failure, FailureError } from '../wire/reasons.ts';
import type { VerifyFrame, VerifyLimit } from '../wire/verify.ts';
import { exportRules } from './lane-set.ts';
import { VerifyAnswers } from './verify-answers.ts';
import { type Comparison, compare, type VerifyStep } from './verify-compare.ts';
import { LocalEnd, type VerifyEnd, type VerifyLane } from './verify-end.ts';
import type { Difference } from './verify-records.ts';
import { RemoteEnd } from './verify-remote.ts';

/** What is to be compared of a lane. */
export interface VerifyRange {
  readonly since?: VerifyLimit;
  readonly until?: VerifyLimit;
  readonly samplePercent?: number;
}

export interface VerifyEvents {
  readonly progress: (step: VerifyStep, read: number, total: number) => void;
  readonly difference: (difference: Difference) => Promise<void>;
}

/** A lane and the peer at its other end. */
export interface PeeredLane extends VerifyLane {
  readonly peer: string;
}

export interface VerifierOptions {
  readonly broker: Pick<Broker, 'surveySource' | 'surveySink'>;
  readonly store: Pick<Store, 'checkpoint' | 'gaps'>;
  /** Every lane that ends here, as it is by now. */
  readonly lanes: () => readonly PeeredLane[];
  /** Protocol version that is spoken with a peer; undefined while it is not connected. */
  readonly versionOf: (peer: string) => number | undefined;
  readonly send: (peer: string, frame: VerifyFrame) => void;
}

/**
 * Compares lanes of a cluster end to end, with the daemons at their other ends. One at a time: a verification reads whole streams, at both
 * ends.
 */
export class Verifier {
  readonly #options: VerifierOptions;
  readonly #answers: VerifyAnswers;
  /** What is asked of peers, by id. */
  readonly #asking = new Map<string, { readonly peer: string; readonly end: RemoteEnd }>();
  #isBusy = false;

  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#answers = new VerifyAnswers({
      open: (peer, id) => {
        const lane = options.lanes().find((one) => one.plan.id === id && one.peer === peer);
        if (lane === undefined) throw new FailureError('link-unknown', `there is no lane ${id} with ${peer}`);
        return this.#localEnd(lane);
      },
      send: options.send,
    });
  }

  /** The lanes that end here, with the ids of those that can be named. */
  lanes(): readonly PeeredLane[] {
    return this.#options.lanes();
  }

  /** Compares a lane. Throws FailureError where that cannot be done; `signal` breaks it off. */
  async verify(id: string, range: VerifyRange, events: VerifyEvents, signal: AbortSignal): Promise<Comparison> {
    const lane = this.#options.lanes().find(({ plan }) => plan.id === id);
    if (lane === undefined) throw new FailureError('link-unknown', `there is no lane ${id} here`);
    if (this.#isBusy) throw new FailureError('overloaded', 'a verification is under way already');
    this.#isBusy = true;
    const here = this.#localEnd(lane);
    const there = this.#remoteEnd(lane.peer);
    const close = (): void => {
      here.close();
      there.close();
    };
    signal.addEventListener('abort', close);
    try {
      signal.throwIfAborted();
      this.#requirePeer(lane.peer);
      const [source, sink] = lane.role === 'sender' ? [here, there] : [there, here];
      return await compare(source, sink, { ...range, lane: id, random: Math.random }, events);
    } finally {
      signal.removeEventListener('abort', close);
      close();
      this.#isBusy = false;
    }
  }

  /** A frame of a verification, from a peer. */
  frame(peer: string, frame: VerifyFrame): void {
    const { body } = frame;
    switch (body.kind) {
      case 'opened':
      case 'part':
      case 'refused': {
        const asking = this.#asking.get(frame.id);
        if (asking?.peer === peer) asking.end.answer(frame.number, body);
        return;
      }
      default:
        this.#answers.question(peer, frame, body);
    }
  }

  /** A peer is connected over another connection: what was under way over the old one may be lost. */
  moved(peer: string): void {
    for (const asking of this.#asking.values()) if (asking.peer === peer) asking.end.askAgain();
  }

  /** A peer is gone. */
  peerDown(peer: string, failure: Failure | undefined): void {
    this.#answers.peerDown(peer);
    const detail = `${peer} went away: ${failure?.detail ?? 'the connection was lost'}`;
    for (const asking of this.#asking.values())
      if (asking.peer === peer) asking.end.fail({ reason: failure?.reason ?? 'connection-lost', detail });
  }

  stop(): void {
    this.#answers.stop();
    for (const { end } of this.#asking.values()) end.fail({ reason: 'draining', detail: 'the daemon stops' });
  }

  #requirePeer(peer: string): void {
    const version = this.#options.versionOf(peer);
    if (version === undefined) throw new FailureError('unreachable', `${peer} is not connected`);
    if (version >= verifyVersion) return;
    const detail = `the daemon of ${peer} is too old to verify: it speaks protocol version ${version}, and ${verifyVersion} is needed`;
    throw new FailureError('version-mismatch', detail);
  }

  #localEnd(lane: VerifyLane): LocalEnd {
    const { broker, store } = this.#options;
    const { plan, role } = lane;
    const survey =
      role === 'sender'
        ? broker.surveySource(plan.sourceStream, exportRules(plan))
        : broker.surveySink(plan.sinkStream);
    return new LocalEnd({ lane, store, survey });
  }

  #remoteEnd(peer: string): VerifyEnd {
    const id = randomBytes(8).toString('hex');
    const end = new RemoteEnd({ peer, id, send: (frame) => this.#options.send(peer, frame) });
    this.#asking.set(id, { peer, end });
    return {
      open: (question) => end.open(question),
      places: (places) => end.places(places),
      read: (what, progress) => end.read(what, progress),
      close: () => {
        this.#asking.delete(id);
        end.close();
      },
    };
  }
}
