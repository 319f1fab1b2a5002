/** docs/metrics.md, made of what the gateway says about itself. */
import { type Family, readExposition } from './exposition.ts';

/** Labels with more values than this are not listed. */
const VALUES_MAX = 10;
/** Labels whose values come from the operator's configuration, or are versions. */
const OPEN_LABELS = new Set([
  'script',
  'version',
  'commit',
  'bun',
  'limit',
  'upstream',
  'proto',
  'verdict',
]);

const HEAD = `# Metrics

\`GET /metrics\` on the admin socket, in the Prometheus text format, or as OpenMetrics to a client
that accepts \`application/openmetrics-text\`. Times are seconds and sizes bytes. No label names an
address, a host or an SNI.

Every frame is somewhere. The sums hold at each moment between two packets:

\`\`\`
sum(culvert_tun_packets_total{direction="in"})
  = sum(culvert_ingress_frames_total) + sum(culvert_ingress_frames_waiting)
sum(culvert_tun_packets_total{direction="out"})
  = sum(culvert_egress_frames_total) - culvert_dropped_packets_total{reason="device-write-failed"}
\`\`\`

A dropped packet has a reason in \`culvert_dropped_packets_total\`. All but six are reasons of its
arrival, and together the outcome \`dropped\`; what was forwarded or delivered may still be lost
behind that: \`device-write-failed\`, \`packet-too-big\`, \`upstream-full\`,
\`upstream-send-failed\`, \`upstream-too-long\`; and \`icmp-rate-limit\` is an error that was due
and not sent.

All times are histograms, so that they can be added up and a percentile be taken of the sum:
\`histogram_quantile(0.99, sum by (le) (rate(culvert_upstream_connect_seconds_bucket[5m])))\`.

\`culvert_flows_total\` counts a flow when its verdict falls, or under \`none\` when it ends
without one; those that still wait are \`culvert_flows_active{verdict="none"}\`. Bytes that move
before the verdict, as they may behind a SYN cookie, are those of \`none\`.

Labels that one might look for:

* \`culvert_conntrack_entries_limit\` has no \`proto\`: the table is one for all.
* \`culvert_tcp_syn_in_flight\` is there for \`scope="global"\` alone: those of one source would
  name it.
* \`culvert_upstream_connect_seconds\` has no \`result\`: only dials that succeeded are timed, for
  one that fails mostly takes its time-out.
* \`culvert_script_decision_seconds\` has no \`script\`: it is measured in the data plane, from the
  question to the answer, which knows no scripts. What each of them costs is
  \`culvert_script_cpu_seconds_total\` by \`culvert_script_decisions_total\`.
* \`culvert_script_errors_total\` has no \`kind\`: an error is a decision that came to nothing, and
  those by a limit are in \`culvert_script_limit_hits_total\` by the name of the limit, as are
  limits that cost a script something else: a line of its log, a timer, a write to its KV.
* \`culvert_script_restarts_total\` has the script that the host was in when it ended. It is
  empty where it was in none, or in one that was only tried, and for those that are no more.

| name | type | labels | what it says |
|---|---|---|---|
`;

export const documentMetrics = (text: string): string =>
  `${HEAD}${readExposition(text).map(row).join('\n')}

Metrics of scripts stand beside these as \`culvert_script_<name>\`, with the label \`script\` and
those that the script gave them.
`;

const row = (family: Family): string =>
  `| \`${family.name}\` | ${family.type} | ${labelsOf(family)} | ${family.help} |`;

function labelsOf({ series }: Family): string {
  const values = new Map<string, Set<string>>();
  for (const { labels } of series) {
    for (const [label, value] of Object.entries(labels)) {
      if (label === 'le') continue;
      values.set(label, (values.get(label) ?? new Set()).add(value));
    }
  }
  return [...values]
    .map(([label, known]) => {
      if (OPEN_LABELS.has(label) || known.size > VALUES_MAX) return `\`${label}\``;
      return `\`${label}\`: ${[...known].join(', ')}`;
    })
    .join('; ');
}
