import type { SinkFacts } from '../broker.ts';
import type { StreamInfo } from './api.ts';
import { sourceIndex } from './stream-source.ts';

/** What a server says of a sink stream, as far as it matters to the lanes that end in it. */
export function sinkFacts({ created, config, state }: StreamInfo): SinkFacts {
  const { num_replicas: replicas, sources } = config;
  return {
    created,
    firstSequence: state.first_seq,
    lastSequence: state.last_seq,
    messages: state.messages,
    replicas,
    unsuitable: unsuitable(config),
    copied: (sources ?? []).map(({ name, external }) => ({ stream: name, index: sourceIndex(name, external?.api) })),
  };
}

/** The setting under which exactly-once cannot be kept by this version. */
function unsuitable(config: StreamInfo['config']): string | undefined {
  if (config.retention !== 'limits') return `has ${config.retention} retention; only limits can be written`;
  if (config.mirror !== undefined) return 'is a mirror, which takes no messages';
  if (config.sealed === true) return 'is sealed';
  if (config.allow_msg_counter === true) return 'takes nothing but counters (allow_msg_counter)';
  if (config.no_ack === true) return 'does not acknowledge (no_ack)';
  return (config.max_msgs_per_subject ?? -1) > 0
    ? 'limits messages per subject, so that records vanish before they can be found again'
    : undefined;
}
