import type { StreamInfo } from '../brokers/nats/api.ts';
import type { Checkpoint } from '../brokers/nats/control-store.ts';
import type { JetStreamSinkLog } from '../brokers/nats/js-sink-log.ts';
import { readTail } from '../brokers/nats/provenance.ts';
import type { SinkWriter } from '../lane/sink-writer.ts';
import type { WitnessHistory } from '../lane/witness-history.ts';
import type { Logger } from '../lib/logger.ts';
import { samePosition } from '../wire/position.ts';
import { FailureError } from '../wire/reasons.ts';

export interface RecallContext {
  readonly info: StreamInfo;
  readonly sink: JetStreamSinkLog;
  readonly writer: SinkWriter;
  /** cluster/stream of the sink. */
  readonly place: string;
  readonly log: Logger;
}

/**
 * Takes the cursors from the checkpoints, as far as the stream still holds what they speak of, and returns where the scan has to
 * begin. A stream that lost its tail, or is another one, is scanned from its first record (I3: nothing is believed to be held
 * that is not found).
 */
export async function recall(checkpoints: readonly Checkpoint[], context: RecallContext): Promise<number> {
  const { writer, log, info } = context;
  let from = Number.POSITIVE_INFINITY;
  for (const checkpoint of checkpoints) {
    if (await hasRegressed(checkpoint, context)) {
      const { lane, sinkSequence } = checkpoint;
      log.warn('sink-regressed', { lane, sinkSequence, last: info.state.last_seq });
      return 0;
    }
    from = Math.min(from, checkpoint.sinkSequence);
  }
  if (from === Number.POSITIVE_INFINITY) return 0;
  for (const checkpoint of checkpoints) {
    const state = writer.lane(checkpoint.lane);
    const [newest] = checkpoint.witnesses;
    if (checkpoint.cursor !== undefined) state.moveCursor(checkpoint.cursor);
    if (newest !== undefined) state.last = { ...newest, sinkSequence: checkpoint.witnessSink };
    state.accounted = checkpoint.sinkSequence;
  }
  return from;
}

async function hasRegressed(checkpoint: Checkpoint, { info, sink, place }: RecallContext): Promise<boolean> {
  if (checkpoint.sinkSequence > info.state.last_seq) return true;
  const [newest] = checkpoint.witnesses;
  if (newest === undefined || checkpoint.witnessSink === 0) return false;
  const found = await sink.messageAt(checkpoint.witnessSink);
  // A record that is missing proves nothing: it may have expired.
  if (found === undefined) return false;
  const record = readTail(found.headers, place, found.sequence);
  return record?.lane !== checkpoint.lane || record.position.sequence !== newest.position.sequence;
}

/** Refuses streams under whose settings exactly-once cannot be kept by this version. */
export function checkKind({ config }: StreamInfo): void {
  const refuse = (detail: string): never => {
    throw new FailureError('sink-unsupported', `${config.name} ${detail}`);
  };
  if (config.retention !== 'limits') refuse(`has ${config.retention} retention; only limits can be written`);
  if (config.mirror !== undefined) refuse('is a mirror, which takes no messages');
  if (config.sealed === true) refuse('is sealed');
  if (config.no_ack === true) refuse('does not acknowledge (no_ack)');
  if ((config.max_msgs_per_subject ?? -1) > 0)
    refuse('limits messages per subject, so that records vanish before they can be found again');
}

/** What is to be remembered of a lane as of now; takes the newest witness into its history. */
export function checkpointOf(writer: SinkWriter, id: string, history: WitnessHistory): Checkpoint {
  const lane = writer.lane(id);
  const { last, cursor } = lane;
  const newest = lane.witness();
  if (newest !== undefined) history.add(newest);
  const witnesses = history.list();
  // In id mode the place of a record is not exactly known; without it the witness is still one for the source.
  const placed = writer.mode === 'chain' && last !== undefined && samePosition(witnesses[0]?.position, last.position);
  const witnessSink = placed ? last.sinkSequence : 0;
  return { lane: id, cursor, sinkSequence: lane.scanFrom(writer.storedUpTo), witnessSink, witnesses };
}
