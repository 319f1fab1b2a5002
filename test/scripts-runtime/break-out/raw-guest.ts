/** A sandbox that runs a text as it is: no bundler has looked at it before. */

import { NO_GUEST_CONNS } from '../../../src/scripts-runtime/conns/no-conns.ts';
import { makeBareEngine } from '../../../src/scripts-runtime/engine/bare-engine.ts';
import { Kv } from '../../../src/scripts-runtime/kv/kv.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../../../src/scripts-runtime/limits.ts';
import { ScriptMetrics } from '../../../src/scripts-runtime/metrics/script-metrics.ts';
import { Guest, type GuestPorts } from '../../../src/scripts-runtime/script/guest.ts';
import { Sets } from '../../../src/scripts-runtime/sets/sets.ts';
import { makeRequest } from '../script-world.ts';

const BUDGET_US = 10_000_000;

export interface RawGuest {
  readonly guest: Guest;
  /** What the ports were called with, in order: `log …`, `settle …`. */
  readonly calls: string[];
  /** Messages of the log. */
  readonly lines: string[];
  /** All that the WebAssembly instance has. */
  memoryBytes(): number;
  /** Asks about a flow and runs all jobs. */
  decide(): Guest['result'];
}

/**
 * @param body      of `async flow(flow, env, ctx)`; its verdict is `decline()`
 * @param budgetUs  of each decision, in microseconds
 */
export async function rawGuest(
  body: string,
  before = '',
  limitsGiven: Partial<ScriptLimits> = {},
  budgetUs = BUDGET_US,
): Promise<RawGuest> {
  const calls: string[] = [];
  const lines: string[] = [];
  const ports: GuestPorts = {
    log: (level, flow, message) => {
      calls.push(`log ${level} ${flow}`);
      lines.push(message);
    },
    settle: (call, reply, text) => calls.push(`settle ${call} ${reply} ${text}`),
    startTimer: (id, delayMs) => {
      calls.push(`startTimer ${id} ${delayMs}`);
      return true;
    },
    stopTimer: (id) => calls.push(`stopTimer ${id}`),
    hit: (limit) => calls.push(`hit ${limit}`),
    hookDone: (call, error) => calls.push(`hookDone ${call} ${error}`),
    startWait: (id) => {
      calls.push(`startWait ${id}`);
      return true;
    },
    endWait: (id, error) => calls.push(`endWait ${id} ${error}`),
    conns: NO_GUEST_CONNS,
  };
  const limits = { ...DEFAULT_SCRIPT_LIMITS, ...limitsGiven };
  const bare = await makeBareEngine();
  const { kvBytes, kvKeyBytes, kvValueBytes } = limits;
  const guest = new Guest(
    bare,
    {
      version: '1',
      iface: 'culvert0',
      vars: {},
      services: ['welcome'],
      limits,
      sets: new Sets({}),
      metrics: new ScriptMetrics('a', limits, new Map()),
    },
    new Kv('a', { kvBytes, kvKeyBytes, kvValueBytes }, () => 0),
    ports,
    { now: () => performance.now() * 1000, cpuTime: () => performance.now() * 1000 },
  );
  const code = `import { decline, forward, reject } from 'culvert';\n${before}
    export default { async flow(flow, env, ctx) {${body}\nreturn decline(); } };`;
  const problem = guest.load(code, 'culvert/raw.js', BUDGET_US);
  if (problem !== undefined) throw new Error(JSON.stringify(problem));
  let call = 0;
  return {
    guest,
    calls,
    lines,
    memoryBytes: () => bare.getWasmMemory().buffer.byteLength,
    decide: () => {
      call++;
      guest.decide(call, makeRequest('192.0.2.1', 80), budgetUs);
      return guest.result;
    },
  };
}

/** What `body` returns, as JSON. */
export async function rawEvaluate(body: string): Promise<unknown> {
  const raw = await rawGuest(
    `console.log('=' + JSON.stringify(await (async () => {${body}\n})()) )`,
  );
  raw.decide();
  const line = raw.lines.find((one) => one.startsWith('='));
  if (line === undefined) throw new Error([...raw.lines, ...raw.calls].join('\n'));
  return JSON.parse(line.slice(1));
}
