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
    vanishing: vanishing(config),
    copied: (sources ?? []).map(({ name, external }) => ({ stream: name, index: sourceIndex(name, external?.api) })),
  };
}

/** The setting under which exactly-once cannot be kept by this version. */
function unsuitable(config: StreamInfo['config']): string | undefined {
  if (config.mirror !== undefined) return 'is a mirror, which takes no messages';
  if (config.sealed === true) return 'is sealed';
  if (config.allow_msg_counter === true) return 'takes nothing but counters (allow_msg_counter)';
  return config.no_ack === true ? 'does not acknowledge (no_ack)' : undefined;
}

/** Records that stay for longer than this outlast an outage, in ns. */
const longNs = 24 * 3600e9;

/** What takes records away from it, whether it was asked to hold more or not. */
function vanishing(config: StreamInfo['config']): SinkFacts['vanishing'] {
  if (config.retention !== 'limits') return 'consumed';
  if ((config.max_msgs_per_subject ?? -1) > 0 || config.allow_rollup_hdrs === true) return 'superseded';
  const { max_age: age = 0, allow_msg_ttl: ttl = false } = config;
  return (age > 0 && age <= longNs) || ttl ? 'aged' : undefined;
}
