/** Bundles and flows for tests that run scripts without a gateway. */
import type { ScriptBundle } from '../../../src/scripts-runtime/bundle/bundle.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../../../src/scripts-runtime/limits.ts';
import { Replay } from '../../../src/scripts-runtime/offline/replay.ts';
import type { ReplayedVerdict } from '../../../src/scripts-runtime/offline/report.ts';
import type { RecordedFlow } from '../../../src/scripts-runtime/recorded-flow.ts';

/** Scripts by name, in order. */
export const bundleOf = (
  scripts: Readonly<Record<string, string>>,
  limits: Partial<ScriptLimits> = {},
): ScriptBundle => ({
  generation: 1,
  scripts: Object.entries(scripts).map(([name, source]) => ({
    name,
    file: `${name}.ts`,
    source,
  })),
  limits: { ...DEFAULT_SCRIPT_LIMITS, ...limits },
  vars: {},
  kv: [],
  iface: 'culvert0',
});

/** Of TCP, from `10.0.0.5` to an address and port. */
export const flowTo = (ip: string, port: number, extra: Partial<RecordedFlow> = {}) => ({
  protocol: 'tcp' as const,
  source: { ip: '10.0.0.5', port: 40_000, family: 4 as const },
  destination: { ip, port, family: ip.includes(':') ? (6 as const) : (4 as const) },
  syn: { mss: 1460, windowScale: 7, ttl: 64, ecn: false },
  ...extra,
});

/** Decides flows in their order. */
export async function replayFlows(
  bundle: ScriptBundle,
  flows: readonly RecordedFlow[],
): Promise<readonly ReplayedVerdict[]> {
  const startMs = flows.find(({ atMs }) => atMs !== undefined)?.atMs ?? Date.now();
  const replay = await Replay.load(bundle, startMs);
  const verdicts: ReplayedVerdict[] = [];
  for (const flow of flows) {
    const { logs: _, ...verdict } = await replay.decide(flow);
    verdicts.push(verdict);
  }
  return verdicts;
}
