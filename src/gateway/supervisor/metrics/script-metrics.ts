/** Metrics about scripts: their generations, decisions, connections, faults, trials and hosts. */
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import { Histogram as Cells } from '../../../stack/histograms.ts';
import type { ScriptTotals } from '../scripts/script-totals.ts';
import type { MetricsSource } from './metrics-source.ts';
import type { MetricsText, Sample } from './metrics-text.ts';

const US_PER_S = 1_000_000;

export function writeScripts(text: MetricsText, source: MetricsSource): void {
  writeGenerations(text, source);
  writeDecisions(text, source.counters);
  writeConns(text, source.counters);
  writeTotals(text, [...source.accounts.totals.all()]);
  writeTrials(text, source);
  writeHosts(text, source);
}

function writeGenerations(text: MetricsText, source: MetricsSource): void {
  const { active, census, scriptHost } = source;
  text.gauge(
    'culvert_script_version_info',
    'The active generation of each script.',
    active.scripts.map(({ name }) => [1, { script: name, version: active.number }]),
  );
  text.gauge(
    'culvert_script_generations',
    'Generations in the script host: the active one, one on trial, and those that drain.',
    [[scriptHost.drains.inMemory.length]],
  );
  text.gauge(
    'culvert_script_flows',
    'Live flows by the script version that claimed them.',
    census.scripts.map(({ script, generation: version, count }) => [count, { script, version }]),
  );
}

function writeDecisions(text: MetricsText, counters: CounterReader): void {
  text.cells(
    'culvert_script_decision_seconds',
    'Time from a question to its answer.',
    counters,
    Cells.DECISION_US,
    US_PER_S,
  );
  text.counter(
    'culvert_script_decisions_failed_total',
    'Flows about which scripts failed to decide.',
    [[counters.get(Counter.DECISIONS_FAILED)]],
  );
  text.counter('culvert_script_decisions_late_total', 'Answers that nobody waited for.', [
    [counters.get(Counter.DECISIONS_LATE)],
  ]);
  text.counter(
    'culvert_dns_answers_total',
    'DNS answers to clients that scripts learn names from.',
    [
      [counters.get(Counter.DNS_ANSWERS_SEEN), { result: 'seen' }],
      [counters.get(Counter.DNS_ANSWERS_LOST), { result: 'lost' }],
    ],
  );
}

/** Connections that scripts talk on: what they claimed, and what they dialled. */
function writeConns(text: MetricsText, counters: CounterReader): void {
  text.gauge('culvert_claims_active', 'Claimed flows that a script talks to.', [
    [counters.get(Counter.CLAIMS_NOW)],
  ]);
  text.counter('culvert_claims_total', 'Flows that scripts claimed, by what became of them.', [
    [counters.get(Counter.CLAIMS_TOTAL), { result: 'claimed' }],
    [counters.get(Counter.CLAIMS_SPLICED), { result: 'spliced' }],
    [counters.get(Counter.CLAIMS_REFUSED), { result: 'refused' }],
  ]);
  text.gauge('culvert_claim_sockets', 'Sockets that scripts dialled for them.', [
    [counters.get(Counter.CLAIM_SOCKETS_NOW)],
  ]);
  text.counter('culvert_conn_messages_ignored_total', 'Messages of a script host about them.', [
    [counters.get(Counter.CONN_MESSAGES_REFUSED), { reason: 'invalid' }],
    [counters.get(Counter.CONN_MESSAGES_LATE), { reason: 'late' }],
  ]);
  text.counter('culvert_conn_stalls_total', 'How often the socket to the script host was full.', [
    [counters.get(Counter.CONN_STALLS)],
  ]);
  text.gauge('culvert_script_own_sockets', 'Sockets of scripts outside of claimed flows.', [
    [counters.get(Counter.OWN_SOCKETS_NOW)],
  ]);
  text.counter('culvert_script_own_dials_total', 'Dials of scripts outside of claimed flows.', [
    [counters.get(Counter.OWN_DIALS)],
  ]);
}

/** @param totals  by name of the script */
function writeTotals(
  text: MetricsText,
  totals: readonly (readonly [string, ScriptTotals])[],
): void {
  text.counter(
    'culvert_script_decisions_total',
    'Verdicts of each script, those by which it declined too.',
    totals.map(([script, { decisions }]) => [decisions, { script }]),
  );
  text.counter(
    'culvert_script_cpu_seconds_total',
    'Processor time of each script.',
    totals.map(([script, { cpuUs }]) => [cpuUs / US_PER_S, { script }]),
  );
  text.counter(
    'culvert_script_errors_total',
    'Decisions that failed in the script.',
    totals.map(([script, { errors }]) => [errors, { script }]),
  );
  text.counter(
    'culvert_script_limit_hits_total',
    'Limits that a script hit.',
    totals.flatMap(([script, { limitHits }]) =>
      Object.entries(limitHits).map(([kind, hits]): Sample => [hits, { script, kind }]),
    ),
  );
  text.gauge(
    'culvert_script_disabled',
    'Whether a script is disabled after too many limit hits.',
    totals.map(([script, { disabled }]) => [disabled ? 1 : 0, { script }]),
  );
}

/** Bundles on trial; what is of one of them is a gauge, because the next one begins at 0. */
function writeTrials(text: MetricsText, { trials, trial }: MetricsSource): void {
  const { canary, shadow } = trial;
  text.counter(
    'culvert_script_trials_total',
    'Trials of bundles that ended, by how.',
    Object.entries(trials).map(([result, count]) => [count, { result }]),
  );
  text.gauge(
    'culvert_script_canary_decisions',
    'Decisions of the canary so far, by result.',
    canary === undefined
      ? []
      : [
          [canary.decisions - canary.failures, { result: 'verdict' }],
          [canary.failures, { result: 'failed' }],
        ],
  );
  text.gauge(
    'culvert_script_shadow_flows',
    'Flows that the shadow was compared about so far, by result.',
    shadow === undefined
      ? []
      : [
          [shadow.compared - shadow.different, { result: 'same' }],
          [shadow.different, { result: 'different' }],
          [shadow.skipped, { result: 'skipped' }],
        ],
  );
}

function writeHosts(text: MetricsText, source: MetricsSource): void {
  const { active, accounts, scriptHost } = source;
  text.gauge(
    'culvert_script_limit',
    'What each script may use, in the unit that ends the name of the limit.',
    Object.entries(active.limits).map(([limit, value]) => [value, { limit }]),
  );
  text.counter('culvert_script_closed_dropped_total', 'Ends of flows that no script heard of.', [
    [accounts.closed.dropped],
  ]);
  text.counter('culvert_script_flow_notes_lost_total', 'Notes about flows that found no room.', [
    [source.notesLost],
  ]);
  text.counter(
    'culvert_script_restarts_total',
    'Script hosts that ended, by the script that they were in, and by cause.',
    [...scriptHost.ends.all].flatMap(([script, counts]) =>
      Object.entries(counts).map(([kind, count]): Sample => [count, { script, kind }]),
    ),
  );
}
