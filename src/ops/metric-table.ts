import { healthz } from './health.ts';
import {
  type DaemonStatus,
  type GapStatus,
  type LaneStatus,
  type LinkStatus,
  laneStates,
  type NatsStatus,
  type PeerStatus,
} from './status.ts';

/** Every label that a metric of ours may have. */
export type Label =
  | 'link'
  | 'lane'
  | 'peer'
  | 'direction'
  | 'reason'
  | 'state'
  | 'stage'
  | 'version'
  | 'node_version'
  | 'cluster'
  | 'group';
export type Labels = Readonly<Partial<Record<Label, string>>>;

/** Sets one series. An undefined value sets none: unknown is absent, never zero (I6). */
export type Put = (value: number | undefined, labels?: Labels) => void;

/** A metric that is read off a status. Counters are totals that the lanes keep. */
export interface StatusMetric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly labels: readonly Label[];
  readonly read: (status: DaemonStatus, put: Put) => void;
}

export const laneLabels = ['link', 'lane', 'peer', 'direction'] as const satisfies readonly Label[];

/** Labels of a lane: `out` at its sender, `in` at its receiver. */
export function labelsOf(lane: Pick<LaneStatus, 'link' | 'lane' | 'peer' | 'role'>): Labels {
  const { link, lane: id, peer, role } = lane;
  return { link, lane: id, peer, direction: role === 'sender' ? 'out' : 'in' };
}

/** Every metric that comes from the status, in the order in which it is shown. */
export const statusMetrics: readonly StatusMetric[] = [
  daemon('process_start_timestamp_seconds', 'When the daemon started.', (s) => seconds(s.startedAtMs)),
  daemon('ready', '1 if the peer port takes connections.', (s) => flag(s.ready && !s.draining)),
  daemon('active', '0 while another daemon of the cluster is the active one.', (s) =>
    flag(s.standby?.state !== 'standby'),
  ),
  daemon('active_change_timestamp_seconds', 'When that last changed.', (s) => seconds(s.standby?.sinceMs)),
  {
    ...daemon('takeovers_total', 'How often this daemon became the active one.', (s) => s.standby?.takeoversTotal),
    type: 'counter',
  },
  daemon('healthy', '1 if /healthz answers 200.', (s) => flag(healthz(s).ok)),
  daemon('topology_generation', 'Number of plans loaded since the start.', (s) => s.file.generation),
  daemon('topology_loaded_timestamp_seconds', 'When the plan was loaded.', (s) => seconds(s.file.loadedAtMs)),
  daemon('topology_error', '1 while the topology file cannot be used.', (s) => flag(s.file.error !== undefined)),
  daemon('topology_pending', 'Changed options that wait for a restart.', (s) => s.file.pending?.length ?? 0),
  daemon('certificate_expiry_timestamp_seconds', 'End of validity of the own certificate.', (s) =>
    seconds(s.certificateNotAfterMs),
  ),
  daemon('memory_resident_bytes', 'Resident memory of the process.', (s) => s.memory.rssBytes),
  daemon('memory_budget_bytes', 'Memory for records.', (s) => s.memory.budgetBytes),
  daemon('memory_used_bytes', 'What records take or may take of it.', (s) => s.memory.usedBytes),
  daemon('event_loop_delay_seconds', 'Delay of the event loop.', (s) => seconds(s.eventLoopDelayMs)),
  nats('nats_connected', '1 while connected to the NATS servers.', (n) => flag(n.connected)),
  nats('nats_change_timestamp_seconds', 'When the NATS connection was made or lost.', (n) => seconds(n.sinceMs)),

  {
    name: 'causeway_refused_connections_total',
    type: 'counter',
    help: 'Connections that the listener did not take, or cut to make room, by reason.',
    labels: ['reason'],
    read: (status, put) => {
      for (const [reason, count] of Object.entries(status.refusedConnections ?? {})) put(count, { reason });
    },
  },
  {
    name: 'causeway_group_members',
    type: 'gauge',
    help: 'Members of a group: expected, seen, connected, never-seen.',
    labels: ['group', 'state'],
    read: (status, put) => {
      for (const { group, expected, seen, connected, neverSeen } of status.groups) {
        put(expected, { group, state: 'expected' });
        put(seen, { group, state: 'seen' });
        put(connected, { group, state: 'connected' });
        put(neverSeen, { group, state: 'never-seen' });
      }
    },
  },
  {
    name: 'causeway_peer_connected',
    type: 'gauge',
    help: '1 while the control stream to the peer is open.',
    // No other series has the group: it follows from the peer, and can be joined from here.
    labels: ['peer', 'group'],
    read: (status, put) => {
      for (const { peer: name, group = '', connected } of status.peers) put(flag(connected), { peer: name, group });
    },
  },
  peer('peer_last_seen_timestamp_seconds', 'When the peer was last connected.', (p) => seconds(p.lastSeenMs)),
  peer('peer_answered_generation', 'Generation of our file that the peer answered.', (p) => p.answeredGeneration),
  peer('peer_change_timestamp_seconds', 'When the peer connected or was lost.', (p) => seconds(p.sinceMs)),
  {
    ...peer('peer_rotations_total', 'Connections made anew by plan while the old one stood.', (p) => p.rotationsTotal),
    type: 'counter',
  },
  peer('peer_rtt_seconds', 'Round trip to the peer.', (p) => seconds(p.rttMs)),
  peer('peer_clock_offset_seconds', "The peer's clock minus ours.", (p) => seconds(p.clockOffsetMs)),
  peer('peer_certificate_expiry_timestamp_seconds', "End of validity of the peer's certificate.", (p) =>
    seconds(p.certificateNotAfterMs),
  ),
  {
    name: 'causeway_peer_reason_info',
    type: 'gauge',
    help: 'What is wrong with the peer.',
    labels: ['peer', 'reason'],
    read: (status, put) => {
      for (const { peer, reason } of status.peers) if (reason !== undefined) put(1, { peer, reason });
    },
  },
  {
    name: 'causeway_link_accepted',
    type: 'gauge',
    help: '1 if both ends agree to the link, 0 if one refused it.',
    labels: ['link', 'peer'],
    read: (status, put) => {
      // A link that both ends declare is judged by both.
      const refused = new Set(status.links.filter(({ accepted }) => !accepted).map(keyOf));
      for (const each of status.links) put(flag(!refused.has(keyOf(each))), { link: each.link, peer: each.peer });
    },
  },

  {
    name: 'causeway_lane_state',
    type: 'gauge',
    help: '1 for the state that the lane is in, 0 for each other.',
    labels: [...laneLabels, 'state'],
    read: (status, put) => {
      for (const lane of status.lanes) {
        for (const state of laneStates) put(flag(lane.state === state), { ...labelsOf(lane), state });
      }
    },
  },
  {
    name: 'causeway_lane_reason_info',
    type: 'gauge',
    help: 'Why the lane is in its state.',
    labels: [...laneLabels, 'reason'],
    read: (status, put) => {
      for (const lane of status.lanes)
        if (lane.reason !== undefined) put(1, { ...labelsOf(lane), reason: lane.reason });
    },
  },
  lane('lane_change_timestamp_seconds', 'When the lane entered its state.', (l) => seconds(l.sinceMs)),
  lane('lane_stored_sequence', 'Source sequence up to which the sink has stored.', (l) => l.storedSequence),
  lane('lane_head_sequence', 'Newest sequence known at the source.', (l) => l.headSequence),
  lane('lane_head_timestamp_seconds', 'When the newest sequence was last learned.', (l) => seconds(l.headAtMs)),
  lane('lane_progress_timestamp_seconds', 'When the stored position last moved.', (l) => seconds(l.progressAtMs)),
  lane('lane_lag_records', 'Records at the source that the sink has not stored.', (l) => l.lagRecords),
  lane('lane_lag_seconds', 'Age of the oldest record that is not stored; 0 when level.', (l) => l.lagSeconds),
  lane('lane_retention_seconds', 'Time until the source deletes what is not stored.', (l) => l.retention?.seconds),
  lane('lane_credit_bytes', 'Bytes that may still be sent.', (l) => l.creditBytes),
  lane('lane_inflight_bytes', 'Bytes sent and not yet acknowledged as stored.', (l) => l.inflightBytes),
  laneTotal('lane_records_total', 'Records stored by the sink.', (l) => l.recordsTotal),
  laneTotal('lane_raw_bytes_total', 'Bytes of these records.', (l) => l.bytesTotal),
  laneTotal('lane_wire_bytes_total', 'Bytes of the frames that carried them.', (l) => l.wireBytesTotal),
  laneTotal('lane_duplicates_total', 'Records that the sink held already.', (l) => l.duplicatesTotal),
  laneTotal('lane_quarantined_total', 'Records that the sink refused for good.', (l) => l.quarantinedTotal),
  laneTotal('lane_loop_drops_total', 'Records that had been here before.', (l) => l.loopDropsTotal),
  laneTotal(
    'lane_sourced_drops_total',
    'Records that JetStream had copied, not carried on.',
    (l) => l.sourcedDropsTotal,
  ),
  laneTotal('lane_lost_records_total', 'Records that will never be delivered.', (l) => l.lostTotal),
  laneTotal('lane_gaps_total', 'Ranges of positions that were lost.', (l) => l.gapsTotal),
  openGaps('unacknowledged_gaps', 'Gaps in the ledger that nobody acknowledged.', (g) => g.gaps),
  openGaps('unacknowledged_gap_records', 'Records that these gaps take in.', (g) => g.records),
  laneTotal('lane_reconnects_total', 'Streams opened after the first.', (l) => l.reconnectsTotal),
];

/** Zero for a lane that ends here and has none, once the ledger was read; what is left of lanes that are no more counts, too. */
function openGaps(name: string, help: string, value: (gaps: GapStatus) => number | undefined): StatusMetric {
  const read = ({ gaps, lanes }: DaemonStatus, put: Put): void => {
    if (gaps === undefined) return;
    for (const { lane, link, role } of lanes)
      if (role === 'receiver' && !gaps.some((gap) => gap.lane === lane)) put(0, { link, lane });
    for (const gap of gaps) put(value(gap), { link: gap.link, lane: gap.lane });
  };
  return { name: `causeway_${name}`, type: 'gauge', help, labels: ['link', 'lane'], read };
}

function daemon(name: string, help: string, value: (status: DaemonStatus) => number | undefined): StatusMetric {
  return { name: `causeway_${name}`, type: 'gauge', help, labels: [], read: (status, put) => put(value(status)) };
}

function nats(name: string, help: string, value: (nats: NatsStatus) => number | undefined): StatusMetric {
  const read = ({ cluster: own, nats: ownNats, served }: DaemonStatus, put: Put): void => {
    put(value(ownNats), { cluster: own });
    for (const { cluster, ...each } of served) put(value(each), { cluster });
  };
  return { name: `causeway_${name}`, type: 'gauge', help, labels: ['cluster'], read };
}

function keyOf({ link, peer }: LinkStatus): string {
  return `${link} ${peer}`;
}

function peer(name: string, help: string, value: (peer: PeerStatus) => number | undefined): StatusMetric {
  const read = (status: DaemonStatus, put: Put): void => {
    for (const each of status.peers) put(value(each), { peer: each.peer });
  };
  return { name: `causeway_${name}`, type: 'gauge', help, labels: ['peer'], read };
}

function lane(name: string, help: string, value: (lane: LaneStatus) => number | undefined): StatusMetric {
  const read = (status: DaemonStatus, put: Put): void => {
    for (const each of status.lanes) put(value(each), labelsOf(each));
  };
  return { name: `causeway_${name}`, type: 'gauge', help, labels: laneLabels, read };
}

function laneTotal(name: string, help: string, value: (lane: LaneStatus) => number): StatusMetric {
  return { ...lane(name, help, value), type: 'counter' };
}

function flag(value: boolean): number {
  return value ? 1 : 0;
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}
