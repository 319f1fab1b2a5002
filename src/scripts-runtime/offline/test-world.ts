/** What one test sees of a gateway: its scripts, their KV, and a clock that the test moves. */
import { DIRECT } from '../../stack/verdict.ts';
import type { KvEntry, ScriptBundle, ScriptLog, ScriptSource } from '../bundle/bundle.ts';
import { isOfPool } from '../conns/dial-via.ts';
import type { ShownVerdict } from '../verdict/show-verdict.ts';
import type { CoverageCounters } from './coverage-counters.ts';
import type { Dialed, NetworkResult, UpstreamPlan } from './fake-network.ts';
import { NameBook } from './name-book.ts';
import { OfflineHost } from './offline-host.ts';
import { type HookRequest, RunError, type RunRequest, type WorldRequest } from './parse-run.ts';
import { VirtualClock } from './virtual-clock.ts';

/** 2026-01-01T00:00:00Z: what a test does with time is the same on every day. */
const TEST_EPOCH_MS = 1_767_225_600_000;

/** Bytes as they cross to the sandbox of the test, where they are bytes again. */
interface CrossingBytes {
  readonly latin1: string;
}

const crossing = (bytes: Uint8Array): CrossingBytes => ({
  latin1: Buffer.from(bytes).toString('latin1'),
});

/** An upstream that the test says nothing about takes the connection, and is silent. */
const SILENT: UpstreamPlan = {
  connectMs: 1,
  sends: [],
  answers: [],
  isEcho: false,
  closes: false,
};

/** A test without a config does not know where the script may go. */
const ANYWHERE = ['*:*'];

/** What a hook that was called gives to the test, as JSON. */
export interface HookResult {
  /** Where the gateway would dial. */
  readonly dialed: readonly string[];
  readonly logs: readonly Pick<ScriptLog, 'level' | 'message' | 'fields'>[];
  /** What each upstream heard, by where it was dialled. */
  readonly upstreamGot: Readonly<Record<string, CrossingBytes>>;
  /** Time inside the sandbox. */
  readonly cpuMs: number;
  /** Time by the clock of the test. */
  readonly tookMs: number;
  /** All that the KV holds now. */
  readonly kv: Readonly<Record<string, string | number>>;
}

/** `10.0.0.1:80`, `10.0.0.1:80 via out`, `via web` of an upstream that chooses itself. */
function dialedBy(to: string | undefined, via: unknown, original: string): string {
  if (via === undefined || via === DIRECT) return to ?? original;
  return to === undefined ? `via ${via}` : `${to} via ${via}`;
}

/** The same of what a claimed flow dials. */
function labelOf(host: OfflineHost, { to, via }: Dialed): string {
  const address = isOfPool(to) ? undefined : host.show(to);
  return dialedBy(address, via, '');
}

/** The same of `run`. */
export interface RunResult extends HookResult {
  readonly verdict: ShownVerdict;
  /** The verdict on one line. */
  readonly text: string;
  /** What the client of a claimed flow heard. */
  readonly clientGot: CrossingBytes;
  /** The upstream that a claimed flow was spliced to. */
  readonly spliced?: string;
  /** How a claimed flow ended. */
  readonly ended?: string;
}

type Dials = NetworkResult['dials'];

interface Tested {
  readonly host: OfflineHost;
  /** What it was loaded with, as text to compare. */
  settings: string;
  generation: number;
}

export class TestWorld {
  readonly #bundle: ScriptBundle;
  readonly #counters: CoverageCounters | undefined;
  readonly #clock = new VirtualClock(TEST_EPOCH_MS);
  readonly #names = new NameBook();
  readonly #tested = new Map<string, Tested>();
  readonly #logs: ScriptLog[] = [];
  #dns: WorldRequest['dns'] = {};
  #flows = 0;

  /** @param counters  of the lines that scripts run, where they shall be counted */
  constructor(bundle: ScriptBundle, counters?: CoverageCounters) {
    this.#bundle = bundle;
    this.#counters = counters;
  }

  /** What scripts have written so far, the oldest first. */
  get logs(): readonly ScriptLog[] {
    return this.#logs;
  }

  /** Milliseconds since 1970. */
  get epochMs(): number {
    return this.#clock.epochMs();
  }

  /** Of the clock of this world, in microseconds. */
  get now(): number {
    return this.#clock.now();
  }

  /** Lets time pass for all scripts; they may be a little ahead of each other meanwhile. */
  advance(ms: number): void {
    const end = this.#clock.now() + ms * 1000;
    for (const { host } of this.#tested.values()) host.advanceTo(end);
    this.#clock.moveTo(end);
  }

  /** @throws RunError  the script is unknown or does not load */
  async run(request: RunRequest): Promise<RunResult> {
    const { host } = await this.#load(request);
    const look = this.#look(request.script, host);
    const { clientSends, clientCloses, flow } = request;
    const { verdict, text, cpuUs, network, ownDials } = await host.decide(
      { flow: ++this.#flows, ...flow },
      { clientSends, clientCloses, upstream: this.#upstreamOf(host, request) },
    );
    const seen = look([...ownDials, ...(network?.dials ?? [])], cpuUs);
    const target = dialedBy(verdict.to, verdict['via'], host.show(flow.destination));
    return {
      ...seen,
      verdict,
      text,
      dialed: verdict.kind === 'forward' ? [...seen.dialed, target] : seen.dialed,
      clientGot: crossing(network?.clientGot ?? new Uint8Array(0)),
      ...(network?.spliced === undefined ? {} : { spliced: labelOf(host, network.spliced) }),
      ...(network?.ended === undefined ? {} : { ended: network.ended }),
    };
  }

  /** @throws RunError  as `run`, or the script has no such hook */
  async callHook(request: HookRequest): Promise<HookResult> {
    const { hook, script } = request;
    if (hook.name === 'load') return this.#loadAnew(request);
    const { host } = await this.#load(request);
    const look = this.#look(script, host);
    const outcome = await host.callHook(
      script,
      hook.name === 'scheduled'
        ? { name: hook.name, event: { name: hook.eventName, at: this.#clock.epochMs() } }
        : { ...hook, flow: { flow: ++this.#flows, ...hook.flow } },
    );
    if (outcome === undefined) throw new RunError(`"${script}" has no method ${hook.name}()`);
    return look(outcome.ownDials, outcome.cpuUs);
  }

  async #loadAnew(request: HookRequest): Promise<HookResult> {
    const { script } = request;
    const host = this.#tested.get(script)?.host ?? this.#makeHost();
    const look = this.#look(script, host);
    await this.#load(request, host);
    const { ownDials, cpuUs } = host.takeLoaded();
    return look(ownDials, cpuUs);
  }

  /** What a test sees of that which happens from now on. */
  #look(script: string, host: OfflineHost): (dials: Dials, cpuUs: number) => HookResult {
    const logged = this.#logs.length;
    const startedAt = this.#clock.now();
    return (dials, cpuUs) => {
      const heard = dials.map(
        ({ got, ...dialed }) => [labelOf(host, dialed), crossing(got)] as const,
      );
      return {
        dialed: heard.map(([address]) => address),
        upstreamGot: Object.fromEntries(heard),
        logs: this.#logs
          .slice(logged)
          .map(({ level, message, fields }) => ({ level, message, ...(fields && { fields }) })),
        cpuMs: cpuUs / 1000,
        tookMs: (this.#clock.now() - startedAt) / 1000,
        kv: Object.fromEntries(host.kvEntries(script)),
      };
    };
  }

  #upstreamOf(host: OfflineHost, { upstreams }: WorldRequest): (dialed: Dialed) => UpstreamPlan {
    return (dialed) => upstreams[labelOf(host, dialed)] ?? SILENT;
  }

  /** With the same settings it is the script that the test asked before, with its state. */
  async #load(request: WorldRequest, anew?: OfflineHost): Promise<Tested> {
    const { script: name, vars, sets, limits, kv, allow, dns } = request;
    const script = this.#bundle.scripts.find((one) => one.name === name);
    if (script === undefined) throw new RunError(`there is no script "${name}"`);
    const settings = JSON.stringify({ vars, sets, limits, allow });
    const known = kv === undefined ? this.#tested.get(name) : undefined;
    this.#dns = dns;
    if (known !== undefined) known.host.upstream = this.#upstreamOf(known.host, request);
    if (known?.settings === settings && anew === undefined) return known;
    const tested = known ?? { host: anew ?? this.#makeHost(), settings, generation: 0 };
    tested.host.upstream = this.#upstreamOf(tested.host, request);
    tested.settings = settings;
    tested.generation++;
    const issues = await tested.host.load(this.#bundleOf(script, request, tested.generation));
    const [issue] = issues;
    if (issue !== undefined) {
      throw new RunError(`${issue.file}:${issue.line}:${issue.column}: ${issue.message}`);
    }
    this.#tested.set(name, tested);
    return tested;
  }

  #makeHost(): OfflineHost {
    return new OfflineHost({
      clock: this.#clock,
      ...(this.#counters && { extension: this.#counters.extension }),
      resolve: (name) => this.#dns[name] ?? this.#names.resolve(name),
      show: (endpoint) => this.#names.show(endpoint),
      log: (line) => {
        // How long a turn takes depends on the machine, and a test shall not: `cpuMs` tells it.
        if (line.fields?.['limit'] !== 'cpuSoftMs') this.#logs.push(line);
      },
    });
  }

  #bundleOf(
    script: ScriptSource,
    { vars, sets, limits, allow, kv = {} }: WorldRequest,
    generation: number,
  ): ScriptBundle {
    const bundle = this.#bundle;
    const entries = Object.entries(kv).map(
      ([key, value]): KvEntry => ({ script: script.name, key, value }),
    );
    return {
      ...bundle,
      generation,
      scripts: [{ ...script, allow: allow ?? script.allow ?? ANYWHERE }],
      vars: vars ?? bundle.vars,
      limits: { ...bundle.limits, ...limits },
      kv: entries,
      ...(sets === undefined ? {} : { sets }),
    };
  }
}
