/** All metrics, from the shared counters and what the supervisor itself knows. */

import { CLOSE_REASON_NAMES, CloseReason } from '../../../stack/close-reason.ts';
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import { DropReason } from '../../../stack/drop-reason.ts';
import { FlowCount } from '../../../stack/flow-counts.ts';
import { Histogram as Cells } from '../../../stack/histograms.ts';
import { buildInfo } from '../build-info.ts';
import { writeDeviceHealth } from '../device/device-metrics.ts';
import { flowSamples, protoSamples } from './flow-samples.ts';
import type { MetricsSource } from './metrics-source.ts';
import { MetricsText, type Sample } from './metrics-text.ts';
import { writePackets } from './packet-metrics.ts';
import { writeQueues } from './queue-metrics.ts';
import { writeScripts } from './script-metrics.ts';
import { writeUpstreams } from './upstream-metrics.ts';

export function renderMetrics(source: MetricsSource): string {
  const text = new MetricsText();
  writeGateway(text, source);
  writeFlows(text, source);
  writeUpstreams(text, source.counters, source.upstreams, source.connectTimes);
  writeTracking(text, source);
  writePackets(text, source.counters);
  writeDevice(text, source.counters);
  writeDeviceHealth(text, source.counters, source.device);
  writeQueues(text, source.queues);
  writeTcp(text, source.counters);
  writeScripts(text, source);
  source.accounts.metrics.write(text);
  return text.toString();
}

function writeGateway(text: MetricsText, source: MetricsSource): void {
  const { reloads, dataPlaneRestarts } = source;
  text.gauge('culvert_build_info', 'What this binary is.', [[1, buildInfo]]);
  text.counter('culvert_config_reloads_total', 'Reloads and changes of scripts.', [
    [reloads.ok, { result: 'success' }],
    [reloads.failed, { result: 'failure' }],
  ]);
  text.gauge('culvert_config_last_reload_successful', 'Whether the last reload succeeded.', [
    [reloads.lastOk ? 1 : 0],
  ]);
  text.gauge(
    'culvert_config_last_reload_success_timestamp_seconds',
    'When a reload last succeeded.',
    [[reloads.lastOkAt / 1000]],
  );
  text.counter('culvert_data_plane_restarts_total', 'Data planes that died and were replaced.', [
    [dataPlaneRestarts],
  ]);
}

function writeFlows(text: MetricsText, { counters, durations, census }: MetricsSource): void {
  const get = (counter: Counter) => counters.get(counter);
  text.gauge(
    'culvert_flows_active',
    'Flows that live, by protocol and verdict.',
    census.flows.map(({ proto, verdict, count }) => [count, { proto, verdict }]),
  );
  const counted = (count: FlowCount, labels = {}) => flowSamples(counters, count, labels);
  text.counter(
    'culvert_flows_total',
    'Flows that got a verdict, or ended without one.',
    counted(FlowCount.FLOWS),
  );
  text.counter('culvert_flow_bytes_total', 'Payload bytes of flows.', [
    ...counted(FlowCount.BYTES_UP, { direction: 'up' }),
    ...counted(FlowCount.BYTES_DOWN, { direction: 'down' }),
  ]);
  text.histograms(
    'culvert_flow_duration_seconds',
    'How long flows lived.',
    durations.map(({ proto, verdict, histogram }) => [{ proto, verdict }, histogram]),
  );
  text.counter(
    'culvert_flow_closed_total',
    'Flows that ended, by reason.',
    reasons(CLOSE_REASON_NAMES, CloseReason.NONE, (reason) => counters.closed(reason)),
  );
  text.gauge('culvert_slab_bytes', 'Buffer memory in use.', [[get(Counter.SLAB_BYTES_NOW)]]);
  text.gauge('culvert_slab_bytes_limit', 'Buffer memory that may be used.', [
    [get(Counter.SLAB_BYTES_LIMIT_NOW)],
  ]);
  text.counter('culvert_upstream_bytes_total', 'Payload through the sockets of upstreams.', [
    [get(Counter.UPSTREAM_BYTES_SENT), { direction: 'up' }],
    [get(Counter.UPSTREAM_BYTES_RECEIVED), { direction: 'down' }],
  ]);
  text.gauge('culvert_upstream_orphans', 'Sockets that still send what lost clients have left.', [
    [get(Counter.ORPHANS_NOW)],
  ]);
  text.counter(
    'culvert_upstream_orphan_bytes_total',
    'Bytes that were acknowledged to a client and not sent before it was lost.',
    [
      [get(Counter.ORPHAN_BYTES_SENT), { result: 'sent' }],
      [get(Counter.ORPHAN_BYTES_LOST), { result: 'lost' }],
    ],
  );
}

/** The table of all flows, and those of them that our TCP does not end. */
function writeTracking(text: MetricsText, { counters, census }: MetricsSource): void {
  const get = (counter: Counter) => counters.get(counter);
  text.gauge(
    'culvert_conntrack_entries',
    'Rows of the flow table in use.',
    [...census.protocols].map(([proto, count]) => [count, { proto }]),
  );
  text.gauge('culvert_conntrack_entries_limit', 'Flows that there may be: `limits.flows`.', [
    [get(Counter.FLOWS_LIMIT_NOW)],
  ]);
  text.counter('culvert_conntrack_reaped_total', 'Flows taken out as their time was over.', [
    [get(Counter.FLOWS_REAPED)],
  ]);
  text.counter(
    'culvert_conntrack_early_drop_total',
    'Flows that gave way in a full table.',
    protoSamples(counters, FlowCount.EARLY_DROPPED),
  );
  text.gauge('culvert_nat_flows', 'Flows that are rewritten.', [[get(Counter.NAT_FLOWS_NOW)]]);
  text.gauge('culvert_nat_mappings', 'Mappings to addresses of the pool.', [
    [get(Counter.NAT_MAPPINGS_NOW)],
  ]);
  text.counter('culvert_nat_packets_total', 'Packets rewritten and handed back.', [
    [get(Counter.NAT_PACKETS) - get(Counter.NAT_SUPERPACKETS), { kind: 'packet' }],
    [get(Counter.NAT_SUPERPACKETS), { kind: 'superpacket' }],
  ]);
  text.counter('culvert_nat_prefix_packets_total', 'Packets translated by a prefix rule.', [
    [get(Counter.PREFIX_PACKETS)],
  ]);
  text.gauge('culvert_udp_sessions', 'Flows over datagram sockets: UDP and ICMP echo.', [
    [get(Counter.SESSIONS_NOW)],
  ]);
  text.counter('culvert_udp_datagrams_total', 'Datagrams moved by these sessions.', [
    [get(Counter.DATAGRAMS_UP), { direction: 'up' }],
    [get(Counter.DATAGRAMS_DOWN), { direction: 'down' }],
  ]);
  text.counter('culvert_udp_syscalls_total', 'System calls that moved them.', [
    [get(Counter.DATAGRAM_SENDS), { direction: 'up' }],
    [get(Counter.DATAGRAM_RECEIVES), { direction: 'down' }],
  ]);
}

function writeDevice(text: MetricsText, counters: CounterReader): void {
  const get = (counter: Counter) => counters.get(counter);
  const kinds = (direction: string, all: number, large: number): Sample[] => [
    [all - large, { direction, kind: 'frame' }],
    [large, { direction, kind: 'superframe' }],
  ];
  text.cells(
    'culvert_tun_batch_size',
    'Frames that one wake-up of the loop read.',
    counters,
    Cells.BATCH_FRAMES,
    1,
  );
  text.counter('culvert_tun_packets_total', 'Frames of the device.', [
    ...kinds('in', get(Counter.DEVICE_FRAMES_IN), get(Counter.DEVICE_SUPERFRAMES_IN)),
    ...kinds('out', get(Counter.DEVICE_FRAMES_OUT), get(Counter.DEVICE_SUPERFRAMES_OUT)),
  ]);
  text.counter('culvert_tun_bytes_total', 'Bytes of the device.', [
    [get(Counter.DEVICE_BYTES_IN), { direction: 'in' }],
    [get(Counter.DEVICE_BYTES_OUT), { direction: 'out' }],
  ]);
  text.gauge('culvert_tun_up', 'Whether the device is up.', [[get(Counter.DEVICE_UP_NOW)]]);
  text.gauge('culvert_tun_offload_enabled', 'Whether superpackets are in use.', [
    [get(Counter.OFFLOAD_NOW) > 0 ? 1 : 0],
  ]);
  text.counter('culvert_ip_reassembled_total', 'Packets that were made of fragments.', [
    [get(Counter.PACKETS_REASSEMBLED)],
  ]);
  text.counter('culvert_icmp_sent_total', 'ICMP errors sent.', [[get(Counter.ICMP_SENT)]]);
  text.counter('culvert_icmp_errors_matched_total', 'ICMP errors about a segment in flight.', [
    [get(Counter.ICMP_ERRORS_MATCHED)],
  ]);
  text.counter('culvert_icmp_errors_relayed_total', 'ICMP errors passed on, translated.', [
    [get(Counter.ICMP_ERRORS_RELAYED)],
  ]);
  text.counter('culvert_icmp_echo_replies_total', 'Pings answered.', [
    [get(Counter.ICMP_ECHO_REPLIES)],
  ]);
}

/** Counters of the TCP that need no label: [counter, name, help]. */
const TCP_COUNTERS: readonly (readonly [Counter, string, string])[] = [
  [Counter.TCP_RETRANSMITS, 'retransmits', 'Segments sent again.'],
  [Counter.TCP_FAST_RETRANSMITS, 'fast_retransmits', 'Losses found by duplicate ACKs.'],
  [Counter.TCP_TIMEOUTS, 'timeouts', 'Retransmission timeouts.'],
  [Counter.TCP_OUT_OF_ORDER, 'out_of_order', 'Segments that came before their turn.'],
  [Counter.PATH_MTU_LOWERED, 'path_mtu_lowered', 'Flows whose path MTU was found to be less.'],
  [Counter.ECN_MARKED, 'ecn_marked', 'Data packets that came with CE.'],
  [Counter.ECN_WINDOW_CUTS, 'ecn_window_cuts', 'Windows cut because a client saw CE.'],
  [
    Counter.BLACK_HOLES_SUSPECTED,
    'black_holes_suspected',
    'Flows that went on in shorter segments, as full ones timed out.',
  ],
  [Counter.TCP_RESETS_SENT, 'resets_sent', 'RST segments sent.'],
  [Counter.TCP_RESETS_RECEIVED, 'resets_received', 'RST segments accepted.'],
  [Counter.TCP_CHALLENGE_ACKS, 'challenge_acks', 'Challenge ACKs sent.'],
  [Counter.TCP_ZERO_WINDOW_PROBES, 'zero_window_probes', 'Probes of a closed window.'],
  [Counter.TCP_KEEPALIVES, 'keepalives', 'Keepalive probes sent.'],
];

function writeTcp(text: MetricsText, counters: CounterReader): void {
  const get = (counter: Counter) => counters.get(counter);
  text.gauge('culvert_tcp_syn_in_flight', 'Flows that are not open yet.', [
    [get(Counter.HELD_SYNS_NOW), { scope: 'global' }],
  ]);
  text.gauge('culvert_tcp_syn_in_flight_limit', 'Flows that may be not open yet.', [
    [get(Counter.HELD_SYNS_LIMIT_NOW), { scope: 'global' }],
    [get(Counter.HELD_SYNS_SOURCE_LIMIT_NOW), { scope: 'source' }],
  ]);
  text.counter('culvert_tcp_syn_cookies_total', 'SYN cookies, by what became of them.', [
    [get(Counter.SYN_COOKIES_SENT), { result: 'sent' }],
    [get(Counter.SYN_COOKIES_RECEIVED), { result: 'received' }],
    [get(Counter.SYN_COOKIES_FAILED), { result: 'failed' }],
  ]);
  text.counter('culvert_tcp_syn_rejected_total', 'SYNs over a limit.', [
    [counters.dropped(DropReason.HELD_SYN_LIMIT), { scope: 'global' }],
    [counters.dropped(DropReason.HELD_SYN_SOURCE_LIMIT), { scope: 'source' }],
    [counters.dropped(DropReason.FLOW_SOURCE_LIMIT), { scope: 'source-flows' }],
  ]);
  text.gauge('culvert_tarpit_active', 'Clients that the tarpit holds.', [
    [get(Counter.TARPIT_NOW)],
  ]);
  text.counter('culvert_tarpit_total', 'Clients refused with `tarpit`.', [
    [get(Counter.TARPIT_TOTAL), { result: 'held' }],
    [get(Counter.TARPIT_REFUSED), { result: 'reset' }],
  ]);
  text.gauge('culvert_tcp_time_wait', 'Flows in TIME-WAIT.', [[get(Counter.TIME_WAIT_NOW)]]);
  for (const [counter, name, help] of TCP_COUNTERS) {
    text.counter(`culvert_tcp_${name}_total`, help, [[get(counter)]]);
  }
}

const reasons = (
  names: readonly string[],
  none: number,
  count: (reason: number) => number,
): Sample[] =>
  names.flatMap((reason, index): Sample[] => (index === none ? [] : [[count(index), { reason }]]));
