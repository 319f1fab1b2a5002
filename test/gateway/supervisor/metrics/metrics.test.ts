import { describe, expect, test } from 'bun:test';
import { renderMetrics } from '../../../../src/gateway/supervisor/metrics/metrics.ts';
import { MetricsText } from '../../../../src/gateway/supervisor/metrics/metrics-text.ts';
import { RESERVED_NAMES } from '../../../../src/scripts-runtime/metrics/script-metrics.ts';
import { sampleMetrics } from '../../../support/metrics-source.ts';

const render = (): string => renderMetrics(sampleMetrics());

describe('the text', () => {
  test.each([
    'culvert_tun_packets_total{direction="in",kind="frame"} 6',
    'culvert_tun_packets_total{direction="in",kind="superframe"} 4',
    'culvert_dropped_packets_total{reason="bad-tcp-checksum",layer="tcp"} 1',
    'culvert_flow_closed_total{reason="eof"} 1',
    'culvert_ingress_frames_total{outcome="tcp"} 9',
    'culvert_ingress_frames_total{outcome="dropped"} 1',
    'culvert_tun_batch_size_bucket{le="2"} 2',
    'culvert_tun_batch_size_count 3',
    'culvert_upstream_connect_seconds_bucket{upstream="direct",le="0.003"} 1',
    'culvert_upstream_connect_seconds_sum{upstream="direct"} 0.0025',
    'culvert_flows_active{proto="udp",verdict="nat"} 2',
    'culvert_config_reloads_total{result="failure"} 1',
    'culvert_config_last_reload_successful 0',
    'culvert_config_last_reload_success_timestamp_seconds 1.5',
    'culvert_script_version_info{script="route",version="4"} 1',
    'culvert_script_flows{script="route",version="3"} 6',
    'culvert_script_generations 2',
    'culvert_script_limit_hits_total{script="route",kind="cpu"} 5',
    'culvert_script_disabled{script="route"} 1',
    'culvert_script_decisions_total{script="route"} 9',
    'culvert_script_cpu_seconds_total{script="route"} 0.000007',
    'culvert_script_restarts_total{script="route",kind="cpu"} 1',
    'culvert_data_plane_restarts_total 2',
    'culvert_conntrack_entries{proto="udp"} 2',
    'culvert_conntrack_early_drop_total{proto="udp"} 4',
    'culvert_flows_total{proto="udp",verdict="nat"} 1',
    'culvert_flows_total{proto="tcp",verdict="forward"} 0',
    'culvert_flow_bytes_total{proto="udp",verdict="nat",direction="up"} 2',
    'culvert_flow_bytes_total{proto="udp",verdict="nat",direction="down"} 3',
    'culvert_tcp_syn_in_flight_limit{scope="source"} 6',
    'culvert_nat_packets_total{kind="packet"} 7',
    'culvert_nat_packets_total{kind="superpacket"} 2',
    'culvert_udp_datagrams_total{direction="down"} 5',
    'culvert_upstream_connects_total{upstream="direct",result="success"} 6',
    'culvert_upstream_connects_total{upstream="web",result="failure"} 2',
    'culvert_upstream_connects_in_flight 5',
    'culvert_upstream_connect_seconds_bucket{upstream="web",le="1"} 2',
    'culvert_upstream_connect_seconds_count{upstream="web"} 3',
    'culvert_upstream_healthy{upstream="web"} 1',
    'culvert_upstream_addresses{upstream="web",state="down"} 1',
    'culvert_icmp_errors_relayed_total 3',
    'culvert_flow_duration_seconds_bucket{proto="tcp",verdict="forward",le="0.1"} 1',
    'culvert_flow_duration_seconds_bucket{proto="tcp",verdict="forward",le="1"} 2',
    'culvert_flow_duration_seconds_bucket{proto="tcp",verdict="forward",le="+Inf"} 3',
    'culvert_flow_duration_seconds_count{proto="tcp",verdict="forward"} 3',
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
