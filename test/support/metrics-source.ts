/** What a gateway that has seen everything would tell its metrics: no family is empty. */
import { Histogram } from '../../src/gateway/supervisor/metrics/histogram.ts';
import type { MetricsSource } from '../../src/gateway/supervisor/metrics/metrics-source.ts';
import { ScriptSeries } from '../../src/gateway/supervisor/metrics/script-series.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../src/scripts-runtime/limits.ts';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import { DropReason } from '../../src/stack/drop-reason.ts';
import { FlowCount } from '../../src/stack/flow-counts.ts';
import { FLOW_ROW_BYTES, FlowField, VerdictCode } from '../../src/stack/flow-row.ts';
import { Histogram as Cells } from '../../src/stack/histograms.ts';
import { Protocol } from '../../src/stack/wire/protocol.ts';

const LIMITS = ['cpu', 'cpu-soft', 'memory', 'wall', 'pending', 'claims', 'stack', 'kv', 'log'];
const limitHits = Object.fromEntries([...LIMITS, 'timers', 'waits'].map((limit) => [limit, 5]));
const TOTALS = { decisions: 9, errors: 2, limitHits, cpuUs: 7, disabled: true };

/** A row of UDP that is rewritten. */
const FLOW = new DataView(new ArrayBuffer(FLOW_ROW_BYTES));
FLOW.setUint8(FlowField.PROTOCOL, Protocol.UDP);
FLOW.setUint8(FlowField.VERDICT, VerdictCode.NAT);

export function sampleMetrics(): MetricsSource {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  counters.add(Counter.DEVICE_FRAMES_IN, 10);
  counters.add(Counter.DEVICE_SUPERFRAMES_IN, 4);
  counters.drop(DropReason.BAD_TCP_CHECKSUM);
  counters.close(CloseReason.EOF);
  counters.add(Counter.NAT_PACKETS, 9);
  counters.add(Counter.NAT_SUPERPACKETS, 2);
  counters.add(Counter.DATAGRAMS_DOWN, 5);
  counters.add(Counter.ICMP_ERRORS_RELAYED, 3);
  counters.add(Counter.IN_TCP, 9);
  counters.add(Counter.DIALS, 9);
  counters.add(Counter.DIALS_FAILED, 2);
  counters.set(Counter.DIALS_NOW, 1);
  counters.set(Counter.VIA_DIALS_NOW, 4);
  counters.set(Counter.HELD_SYNS_SOURCE_LIMIT_NOW, 6);
  for (const count of Object.values(FlowCount)) counters.countFlow(count, FLOW, 0, 1 + count);
  for (const frames of [1, 2, 64]) counters.observe(Cells.BATCH_FRAMES, frames);
  counters.observe(Cells.DIAL_US, 2500);
  const histogram = new Histogram([0.1, 1]);
  for (const value of [0.05, 0.5, 5]) histogram.observe(value);
  return {
    counters,
    queues: [counters],
    device: { events: new Map([['up', 2]]), watchErrors: new Map([['EMFILE', 1]]) },
    reloads: { ok: 3, failed: 1, lastOk: false, lastOkAt: 1_500 },
    active: { number: 4, limits: DEFAULT_SCRIPT_LIMITS, scripts: [{ name: 'route' }] },
    trials: { promoted: 1, stopped: 2, aborted: 0 },
    trial: {
      canary: { generation: 8, decisions: 10, failures: 4 },
      shadow: { compared: 6, different: 1, failed: 0, skipped: 2, differences: [] },
    },
    accounts: {
      totals: { all: () => new Map([['route', TOTALS]]) },
      metrics: new ScriptSeries(),
      closed: { dropped: 1 },
    },
    census: {
      scripts: [{ script: 'route', generation: 3, count: 6 }],
      flows: [{ proto: 'udp', verdict: 'nat', count: 2 }],
      protocols: new Map([['udp', 2]]),
    },
    scriptHost: {
      ends: { all: new Map([['route', { cpu: 1, wall: 0, crash: 0, socket: 0 }]]) },
      drains: { inMemory: [3, 4] },
    },
    dataPlaneRestarts: 2,
    notesLost: 0,
    durations: [{ proto: 'tcp', verdict: 'forward', histogram }],
    upstreams: [
      {
        ...{ name: 'web', kind: 'pool', healthy: true, connects: 3, failures: 2 },
        connect_seconds: 0.5,
        addresses: [
          { address: '10.0.0.5:80', healthy: true, active: 1, connects: 3, failures: 0 },
          { address: '10.0.0.6:80', healthy: false, active: 0, connects: 0, failures: 2 },
        ],
      },
    ],
    connectTimes: () => histogram,
  };
}
