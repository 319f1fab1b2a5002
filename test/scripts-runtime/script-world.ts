/** A script host in the test's own process, with a clock that the test moves. */

import type {
  KvEntry,
  MetricDelta,
  ScheduleEntry,
  ScriptBundle,
  ScriptIssue,
  ScriptLog,
  ScriptSet,
  ScriptStats,
  TextFiles,
} from '../../src/scripts-runtime/bundle/bundle.ts';
import { NO_CONNS } from '../../src/scripts-runtime/conns/no-conns.ts';
import type { ConnPorts } from '../../src/scripts-runtime/conns/ports.ts';
import type { Decision } from '../../src/scripts-runtime/decision.ts';
import type { FlowNote } from '../../src/scripts-runtime/flow-note.ts';
import type { CanaryCounts } from '../../src/scripts-runtime/generations/canary.ts';
import { ScriptHost } from '../../src/scripts-runtime/host.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../../src/scripts-runtime/limits.ts';
import type { DecidedFlow } from '../../src/scripts-runtime/recent-flows.ts';
import type { ConnectionRequest, Endpoint, FlowProtocol } from '../../src/stack/verdict.ts';

export interface LoadOptions {
  readonly generation?: number;
  readonly limits?: Partial<ScriptLimits>;
  readonly vars?: Readonly<Record<string, string>>;
  readonly kv?: readonly KvEntry[];
  readonly disabled?: readonly string[];
  readonly previous?: { readonly generation: number; readonly scripts: readonly string[] };
  /** Of each script. */
  readonly schedule?: Readonly<Record<string, ScheduleEntry>>;
  readonly sets?: Readonly<Record<string, ScriptSet>>;
  /** Of each script. */
  readonly modules?: TextFiles;
}

export interface FlowOptions {
  readonly source?: string;
  readonly flow?: number;
  /** TCP if absent. An `icmp` has no destination port: give 0. */
  readonly protocol?: FlowProtocol;
  /** Microseconds. */
  readonly arrivedAt?: number;
}

const IMPORT = "import { claim, decline, forward, nat, redirect, reject } from 'culvert';\n";

/** A script around the body of `flow(flow, env, ctx)`, whose first line is line 3. */
export const scriptOf = (body: string): string =>
  `${IMPORT}export default { async flow(flow: any, env: any, ctx: any) {\n${body}\n} };\n`;

/** As `scriptOf`, where the verdict is given at once. */
export const syncScriptOf = (body: string): string => scriptOf(body).replace('async flow', 'flow');

export class ScriptWorld {
  /** Microseconds. */
  now = 1_000_000;
  epochMs = 1_700_000_000_000;
  /** How long each turn in a sandbox takes, in milliseconds of this clock. */
  turnMs = 0;
  /** Turns so far. */
  turns = 0;
  readonly answers = new Map<number, Decision>();
  readonly logs: ScriptLog[] = [];
  readonly lookups: { id: number; name: string }[] = [];
  /** Requests whose datagrams the host wants to see. */
  readonly shown: number[] = [];
  readonly journal: KvEntry[] = [];
  readonly metrics: MetricDelta[] = [];
  toldClosed = 0;
  stats: readonly ScriptStats[] = [];
  /** What the host said of its canary, of its generations, to who watches. */
  readonly canaries: CanaryCounts[] = [];
  readonly generations: (readonly number[])[] = [];
  /** What it knows of flows, by serial number; the latest of each kind. */
  readonly notes = new Map<number, FlowNote>();
  readonly decided: { flows: readonly DecidedFlow[]; left: number }[] = [];
  readonly host: ScriptHost;
  #requestId = 0;

  /** @param isRealTime  needed where a script shall run into a limit of processor time */
  constructor(isRealTime = false, conns: ConnPorts = NO_CONNS) {
    this.host = new ScriptHost(
      {
        now: () => (isRealTime ? performance.now() * 1000 : this.now),
        cpuTime: () => (isRealTime ? performance.now() * 1000 : this.now),
        epochMs: () => this.epochMs,
        enter: () => {
          this.turns++;
        },
        leave: () => {
          this.now += this.turnMs * 1000;
        },
        answer: (id, decision) => {
          if (this.answers.has(id)) throw new Error(`request ${id} was answered twice`);
          this.answers.set(id, decision);
        },
        show: (id) => this.shown.push(id),
        resolve: (id, name) => this.lookups.push({ id, name }),
        conns,
        log: (line) => this.logs.push(line),
        kv: (entries) => this.journal.push(...entries),
        metrics: (deltas) => this.metrics.push(...deltas),
        closedTold: () => {
          this.toldClosed++;
        },
        stats: (stats) => {
          this.stats = stats;
        },
        canary: (counts) => this.canaries.push(counts),
        generations: (numbers) => this.generations.push(numbers),
        decided: (flows, left) => this.decided.push({ flows, left }),
        noted: (flow, note) => this.notes.set(flow, { ...this.notes.get(flow), ...note }),
      },
      ['welcome'],
    );
  }

  /** Loads scripts by name, in order. */
  tryLoad(
    scripts: Readonly<Record<string, string>>,
    options: LoadOptions = {},
  ): Promise<readonly ScriptIssue[]> {
    return this.host.load(this.bundleOf(scripts, options));
  }

  bundleOf(scripts: Readonly<Record<string, string>>, options: LoadOptions = {}): ScriptBundle {
    return {
      generation: options.generation ?? 1,
      scripts: Object.entries(scripts).map(([name, source]) => ({
        name,
        file: `${name}.ts`,
        source,
        ...(options.modules && { modules: options.modules }),
        ...(options.schedule && { schedule: options.schedule }),
      })),
      limits: { ...DEFAULT_SCRIPT_LIMITS, ...options.limits },
      vars: options.vars ?? {},
      sets: options.sets ?? {},
      ...(options.previous && { previous: options.previous }),
      kv: options.kv ?? [],
      iface: 'culvert0',
      disabled: options.disabled ?? [],
    };
  }

  async load(scripts: Readonly<Record<string, string>>, options: LoadOptions = {}): Promise<void> {
    const issues = await this.tryLoad(scripts, options);
    if (issues.length > 0) throw new Error(JSON.stringify(issues));
  }

  /** Asks about a flow; returns the id of the request. */
  ask(ip = '192.0.2.1', port = 80, options: FlowOptions = {}): number {
    this.#requestId++;
    this.host.request(this.#requestId, makeRequest(ip, port, options), options.arrivedAt);
    return this.#requestId;
  }

  /** The answer, which must be there at once. */
  decide(ip?: string, port?: number, options?: FlowOptions): Decision {
    const id = this.ask(ip, port, options);
    const decision = this.answers.get(id);
    if (decision === undefined) throw new Error('no answer yet');
    return decision;
  }

  /** `forward 10.0.0.1:80`, `reject rst`, `failed cpu` … by the script at a position. */
  outcome(ip?: string, port?: number, options?: FlowOptions): string {
    return describe(this.decide(ip, port, options));
  }

  /** Moves both clocks and does what is due. */
  advance(ms: number): void {
    this.now += ms * 1000;
    this.epochMs += ms;
    this.host.expire(this.now);
  }

  /** Messages of the log, without fields. */
  get lines(): string[] {
    return this.logs.map(({ message }) => message);
  }
}

export function makeRequest(
  ip: string,
  port: number,
  { source, flow = 7, protocol = 'tcp' }: FlowOptions = {},
): ConnectionRequest {
  const family = ip.includes(':') ? 6 : 4;
  return {
    flow,
    protocol,
    source: { ip: source ?? (family === 6 ? 'fd00::2' : '198.18.0.2'), port: 40_000, family },
    destination: { ip, port, family },
    ...(protocol === 'tcp' ? { syn: { mss: 1460, windowScale: 7, ttl: 64, ecn: false } } : {}),
  };
}

const hostOf = ({ ip, family }: Endpoint): string => (family === 6 ? `[${ip}]` : ip);

export function describe(decision: Decision | undefined): string {
  if (decision === undefined) return 'no answer';
  if (decision.kind === 'failed') return `failed ${decision.failure}`;
  const { verdict } = decision;
  switch (verdict.kind) {
    case 'decline':
      return 'decline';
    case 'reject':
      return `reject ${verdict.with}${verdict.reason && ` ${verdict.reason}`}`;
    case 'redirect':
      return `redirect ${verdict.listener}${verdict.note && ` ${verdict.note}`}`;
    case 'forward':
      return `forward${targetOf(verdict.to)}`;
    case 'claim':
      return verdict.sniff ? 'claim sniff' : 'claim';
    case 'nat':
      return `nat${targetOf(verdict.to)}${verdict.masquerade ? ' masquerade' : ''}`;
  }
}

const targetOf = (to: Endpoint | undefined): string =>
  to === undefined ? '' : ` ${hostOf(to)}:${to.port}`;
