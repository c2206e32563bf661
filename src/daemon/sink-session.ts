import type { SinkLaneState } from '../lane/sink-lane-state.ts';
import type { SinkWriterEvent, StoredEffect } from '../lane/sink-writer-events.ts';
import type { InBatch } from '../wire/batch.ts';
import type { Gap } from '../wire/frame.ts';
import type { Position, Witness } from '../wire/position.ts';
import type { Failure } from '../wire/reasons.ts';
import type { Start } from '../wire/start.ts';

/** What a session of a lane hears from its sink stream. */
export interface SinkSessionEvents {
  stored(effect: StoredEffect): void;
  /** The lane waits at a gap until that is acknowledged; undefined: it goes on. */
  parked(failure: Failure | undefined): void;
  /** The session is over: the sink refuses, or another session took the lane. */
  ended(failure: Failure): void;
}

const nothing = { records: 0, duplicates: 0, loops: 0, quarantined: 0 };

/** A session's hold on its lane in the sink. */
export interface SinkSession {
  readonly epoch: number;
  readonly cursor: Position | undefined;
  readonly witnesses: readonly Witness[];
  /** Where the lane begins, if there is no cursor. */
  readonly start?: Start;
  append(batch: InBatch): void;
  gap(gap: Gap): void;
  /** Ends the session; what is in flight is resolved before the lane opens again. */
  close(): void;
  /** Resolves when nothing of the lane is in flight any more; not before the session is closed. */
  released(): Promise<void>;
}

/** The hold of session `epoch` on its lane, for as long as `isOpen` says so. */
export function holdOn(
  { id: lane, cursor, seen }: SinkLaneState,
  epoch: number,
  older: readonly Witness[],
  session: {
    readonly isOpen: () => boolean;
    readonly step: (event: SinkWriterEvent) => void;
    readonly end: () => void;
    /** Something of the lane is in flight. `idle` resolves when that may have changed. */
    readonly holds: () => boolean;
    readonly idle: () => Promise<void>;
  },
): SinkSession {
  const { isOpen, step, end, holds, idle } = session;
  const whileOpen = (work: () => void): void => {
    if (isOpen()) work();
  };
  return {
    epoch,
    cursor,
    witnesses: [...(seen === undefined ? [] : [seen]), ...older],
    append: (batch) => whileOpen(() => step({ type: 'batch', lane, epoch, batch })),
    gap: ({ after, upTo, reason }) => whileOpen(() => step({ type: 'gap', lane, epoch, after, upTo, reason })),
    close: () =>
      whileOpen(() => {
        end();
        step({ type: 'close', lane, epoch });
      }),
    released: async () => {
      while (holds()) await idle();
    },
  };
}

/**
 * A session of a lane without a cursor: the source tells in a batch without records where the lane begins. That is written down
 * before anything behind it is taken, so that a crash changes nothing. `save` gives false when the session is over.
 */
export function withBeginning(
  session: SinkSession,
  stored: SinkSessionEvents['stored'],
  lane: string,
  save: (at: Position) => Promise<boolean>,
): SinkSession {
  let begun = false;
  let waiting: (() => void)[] | undefined;
  const later = (work: () => void): void => {
    if (waiting === undefined) work();
    else waiting.push(work);
  };
  const begin = async ({ incarnation, lastSequence }: InBatch): Promise<void> => {
    const position = { incarnation, sequence: lastSequence };
    waiting = [];
    if (!(await save(position))) return;
    const held = waiting;
    waiting = undefined;
    stored({ type: 'stored', lane, epoch: session.epoch, position, bytes: 0, ...nothing });
    for (const work of held) work();
  };
  return {
    ...session,
    append: (batch) => {
      // A sender of an older version begins with records.
      const tells = !begun && batch.count === 0 && batch.lastSequence < batch.firstSequence;
      begun = true;
      if (tells) void begin(batch);
      else later(() => session.append(batch));
    },
    gap: (gap) => later(() => session.gap(gap)),
  };
}
