import { describe, expect, test } from 'bun:test';
import { Histogram } from '../../../../src/gateway/supervisor/metrics/histogram.ts';
import { renderMetrics } from '../../../../src/gateway/supervisor/metrics/metrics.ts';
import { MetricsText } from '../../../../src/gateway/supervisor/metrics/metrics-text.ts';
import { ScriptMetricsTable } from '../../../../src/gateway/supervisor/metrics/script-metrics.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { RESERVED_NAMES } from '../../../../src/scripts-runtime/metrics/script-metrics.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../../src/stack/counters.ts';
import { DropReason } from '../../../../src/stack/drop-reason.ts';

function render(): string {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  counters.add(Counter.DEVICE_FRAMES_IN, 10);
  counters.add(Counter.DEVICE_SUPERFRAMES_IN, 4);
  counters.drop(DropReason.BAD_TCP_CHECKSUM);
  counters.close(CloseReason.EOF);
  counters.add(Counter.NAT_PACKETS, 9);
  counters.add(Counter.NAT_SUPERPACKETS, 2);
  counters.add(Counter.DATAGRAMS_DOWN, 5);
  counters.add(Counter.FLOWS_EARLY_DROPPED, 1);
  counters.add(Counter.ICMP_ERRORS_RELAYED, 3);
  const histogram = new Histogram([0.1, 1]);
  for (const value of [0.05, 0.5, 5]) histogram.observe(value);
  return renderMetrics({
    deviceEvents: new Map([['up', 2]]),
    counters,
    queues: [counters],
    reloads: { ok: 3, failed: 1 },
    lastReloadOk: false,
    lastReloadOkAt: 1_500,
    generation: 4,
    scripts: ['route'],
    trials: { promoted: 1, stopped: 2, aborted: 0 },
    trial: { canary: { generation: 8, decisions: 10, failures: 4 } },
    scriptTotals: new Map([
      ['route', { decisions: 9, errors: 2, limitHits: { cpu: 5 }, cpuUs: 7, disabled: true }],
    ]),
    scriptMetrics: new ScriptMetricsTable(),
    scriptLimits: DEFAULT_SCRIPT_LIMITS,
    closedDropped: 1,
    census: {
      scripts: [{ script: 'route', generation: 3, count: 6 }],
      protocols: new Map([['udp', 2]]),
    },
    scriptHostRestarts: { cpu: 1, wall: 0, crash: 0 },
    dataPlaneRestarts: 2,
    durations: new Map([['forward', histogram]]),
  });
}

describe('the text', () => {
  const SAMPLE =
    /^([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? (-?\d\S*)$/;

  test('is well-formed: every sample follows the HELP and TYPE of its family', () => {
    let family = '';
    for (const line of render().trimEnd().split('\n')) {
      if (line.startsWith('# HELP ')) {
        family = line.split(' ')[2] ?? '';
        expect(line).toMatch(/^# HELP culvert_[a-z_]+ \S.*\.$/);
      } else if (line.startsWith('# TYPE ')) {
        expect(line).toMatch(new RegExp(`^# TYPE ${family} (counter|gauge|summary|histogram)$`));
      } else {
        expect(line).toMatch(SAMPLE);
        expect(line.startsWith(family)).toBe(true);
      }
    }
  });

  test('has each series once', () => {
    const series = render()
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.slice(0, line.lastIndexOf(' ')));
    expect(series.length).toBe(new Set(series).size);
  });

  test('every counter ends with _total', () => {
    const counters = [...render().matchAll(/^# TYPE (\S+) counter$/gm)].map((match) => match[1]);
    expect(counters.length).toBeGreaterThan(10);
    for (const name of counters) expect(name).toEndWith('_total');
  });

  test.each([
    'culvert_tun_packets_total{direction="in",kind="frame"} 6',
    'culvert_tun_packets_total{direction="in",kind="superframe"} 4',
    'culvert_dropped_packets_total{reason="bad-tcp-checksum",layer="tcp"} 1',
    'culvert_flow_closed_total{reason="eof"} 1',
    'culvert_config_reloads_total{result="failure"} 1',
    'culvert_config_last_reload_successful 0',
    'culvert_config_last_reload_success_timestamp_seconds 1.5',
    'culvert_script_version_info{script="route",version="4"} 1',
    'culvert_script_flows{script="route",version="3"} 6',
    'culvert_script_limit_hits_total{script="route",kind="cpu"} 5',
    'culvert_script_disabled{script="route"} 1',
    'culvert_script_restarts_total{kind="cpu"} 1',
    'culvert_data_plane_restarts_total 2',
    'culvert_conntrack_entries{proto="udp"} 2',
    'culvert_conntrack_early_drop_total 1',
    'culvert_nat_packets_total{kind="packet"} 7',
    'culvert_nat_packets_total{kind="superpacket"} 2',
    'culvert_udp_datagrams_total{direction="down"} 5',
    'culvert_icmp_errors_relayed_total 3',
    'culvert_flow_duration_seconds_bucket{verdict="forward",le="0.1"} 1',
    'culvert_flow_duration_seconds_bucket{verdict="forward",le="1"} 2',
    'culvert_flow_duration_seconds_bucket{verdict="forward",le="+Inf"} 3',
    'culvert_flow_duration_seconds_count{verdict="forward"} 3',
  ])('has %s', (line) => expect(render().split('\n')).toContain(line));
});

test('quotes, backslashes and newlines of a label are escaped', () => {
  const text = new MetricsText();
  text.gauge('x', 'A gauge.', [[1, { label: 'a"b\\c\nd' }]]);
  expect(text.toString()).toEndWith('x{label="a\\"b\\\\c\\nd"} 1\n');
});

test('no metric of a script can have a name of ours', () => {
  const ours = Array.from(
    render().matchAll(/^# TYPE culvert_script_(\S+) /gm),
    ([, name = '']) => name,
  );
  expect(ours).toContain('limit');
  expect(ours.filter((name) => !RESERVED_NAMES.has(name))).toEqual([]);
});
