/**
 * Types of the module `culvert:test`, which tests of scripts import: files `NAME.test.ts` beside
 * `NAME.ts`, run by `culvert script test`. A test runs in a sandbox of its own. The script under
 * test runs in another, in the engine and with the limits of a gateway; time is that of the test.
 */
declare module 'culvert:test' {
  import type { BaseEnv, FlowResult, GatewayScript } from 'culvert';

  type Body = () => void | Promise<void>;

  export interface Test {
    (name: string, body: Body): void;
    /** A test for each row; `%d`, `%s` and `%p` in the name stand for its values. */
    each<Row extends readonly unknown[] | [unknown]>(
      table: readonly Row[],
    ): (name: string, body: (...row: Row) => void | Promise<void>) => void;
    each<Value>(
      table: readonly Value[],
    ): (name: string, body: (value: Value) => void | Promise<void>) => void;
  }

  export interface TestFunction extends Test {
    readonly skip: Test;
    /** Only these run, of all that the file has. */
    readonly only: Test;
  }

  export const test: TestFunction;
  export const it: TestFunction;
  /** A group of tests. Its body runs at once, and cannot be async. */
  export const describe: TestFunction;
  /** Of the group in which they stand, and of the groups in it. */
  export function beforeEach(body: Body): void;
  export function afterEach(body: Body): void;

  export interface Matchers<Result> {
    toBe(expected: unknown): Result;
    /** Deeply; a field that is undefined is as good as none. */
    toEqual(expected: unknown): Result;
    toStrictEqual(expected: unknown): Result;
    toMatchObject(expected: unknown): Result;
    toBeTruthy(): Result;
    toBeFalsy(): Result;
    toBeNull(): Result;
    toBeUndefined(): Result;
    toBeDefined(): Result;
    toBeNaN(): Result;
    toBeTypeOf(type: string): Result;
    toBeInstanceOf(type: abstract new (...args: never[]) => unknown): Result;
    toBeOneOf(values: Iterable<unknown>): Result;
    toBeGreaterThan(bound: number | bigint): Result;
    toBeGreaterThanOrEqual(bound: number | bigint): Result;
    toBeLessThan(bound: number | bigint): Result;
    toBeLessThanOrEqual(bound: number | bigint): Result;
    toBeCloseTo(expected: number, digits?: number): Result;
    toContain(item: unknown): Result;
    toContainEqual(item: unknown): Result;
    toHaveLength(length: number): Result;
    toMatch(pattern: string | RegExp): Result;
    toStartWith(text: string): Result;
    toEndWith(text: string): Result;
    toHaveProperty(path: string | readonly string[], value?: unknown): Result;
    /** Text in the message, a pattern, a class, or an error with the same message. */
    toThrow(wanted?: unknown): Result;
  }

  export interface Expectation extends Matchers<void> {
    readonly not: Matchers<void>;
    readonly resolves: Matchers<Promise<void>> & { readonly not: Matchers<Promise<void>> };
    readonly rejects: Matchers<Promise<void>> & { readonly not: Matchers<Promise<void>> };
  }

  export interface Expect {
    /** `message` stands in front of what is said about a failure. */
    (actual: unknown, message?: string): Expectation;
    anything(): unknown;
    any(type: unknown): unknown;
    objectContaining(fields: object): unknown;
    arrayContaining(items: readonly unknown[]): unknown;
    stringContaining(text: string): unknown;
    stringMatching(pattern: string | RegExp): unknown;
    unreachable(message?: string): never;
  }
  export const expect: Expect;

  /**
   * Ends are `10.0.0.1:80` or `[fd00::1]:80`. A ping has its identifier as the port of `src`, 0
   * when it is left out, and no port of `dst`.
   */
  export interface FlowFields {
    proto?: 'tcp' | 'udp' | 'icmp';
    src: string;
    dst: string;
    /** Of TCP. What is left out is as usual: mss 1460, wscale 7, ttl 64, no ECN. */
    syn?: { mss?: number; wscale?: number; ttl?: number; ecn?: boolean };
    /** What a DNS answer to the client called `dst`: `flow.dnsName`. */
    dnsName?: string;
  }

  const made: unique symbol;
  export interface TestFlow {
    readonly [made]: 'flow';
  }
  /** A new flow, of TCP when `proto` is absent. */
  export function flow(fields: FlowFields): TestFlow;

  export interface HelloOptions {
    alpn?: readonly string[];
    /** With a key share of post-quantum size. */
    postQuantum?: boolean;
    /** With an Encrypted Client Hello: the name is the outer one. */
    ech?: boolean;
  }

  type Bytes = string | Uint8Array;

  export interface Upstream {
    refuses?: 'refused' | 'unreachable' | 'timeout' | 'loop' | 'limit';
    /** Until it answers the dial; 1 unless given. */
    connectMs?: number;
    /** What it says first. */
    sends?: Bytes | readonly Bytes[];
    /** What it says once it has heard something. */
    answers?: Bytes | readonly Bytes[];
    /** It says everything back. */
    echo?: boolean;
    /** It ends its direction when it has said everything. */
    closes?: boolean;
    /** How TLS with it ends: with this protocol, or with an error. Bytes stay as they are. */
    tls?: { alpn?: string } | { fails: string };
  }

  /** The world in which a hook is called. */
  export interface HookOptions {
    env?: {
      /** `scripts.vars` of the configuration. */
      vars?: Record<string, string>;
      /** Networks and addresses, or names. */
      sets?: Record<string, readonly string[]>;
      /** What the KV holds at first; with it the script starts anew. */
      kv?: Record<string, string | number>;
    };
    /** Over the usual ones; their names are those of `ctx.limits`. */
    limits?: Record<string, number>;
    /** Where `connect()` may go; else as the configuration of the script has it, or anywhere. */
    allow?: readonly string[];
    /** By address, or by name where the script dials one. Others connect, and are silent. */
    upstreams?: Record<string, Upstream>;
    /** Addresses of names, none for a name that does not resolve. Others resolve to themselves. */
    dns?: Record<string, string | readonly string[]>;
  }

  export interface RunOptions extends HookOptions {
    /** What the client of a claimed flow sends, piece by piece: the next when one was taken. */
    clientSends?: Bytes | readonly Bytes[];
    /** The client ends its direction then. One that does not is given up when nothing happens. */
    clientCloses?: boolean;
  }

  /** A verdict by its kind, with its options; `failed` where it gave none: `logs` say why. */
  export interface TestVerdict {
    readonly kind: 'decline' | 'reject' | 'forward' | 'nat' | 'redirect' | 'claim' | 'failed';
    /** Of `forward` and `nat`, when the script named an upstream. */
    readonly to?: string;
    /** Of `failed`: `error`, `cpu`, `memory`, `wall`, `bad-verdict` … */
    readonly failure?: string;
    /** Of `failed`: what becomes of the flow by `scripts.onError`, unless it is rejected. */
    readonly onError?: 'decline' | 'forward';
    readonly [option: string]: unknown;
  }

  export interface TestLog {
    readonly level: 'debug' | 'info' | 'warn' | 'error';
    readonly message: string;
    readonly fields?: Readonly<Record<string, unknown>>;
  }

  export interface HookResult {
    /** Where the gateway dials, in order; `10.0.0.1:80 via out` by an upstream that has a name. */
    readonly dialed: readonly string[];
    /** What each upstream heard, by where it was dialled. */
    readonly upstreamGot: Readonly<Record<string, Uint8Array>>;
    /** Lines of `ctx.log` and `console`, and what the gateway says about the script. */
    readonly logs: readonly TestLog[];
    /** Time inside the sandbox, in milliseconds of this machine. */
    readonly cpuMs: number;
    /** Milliseconds by the clock of the test. */
    readonly tookMs: number;
    /** All that the KV holds now. */
    readonly kv: Readonly<Record<string, string | number>>;
  }

  export interface RunResult extends HookResult {
    readonly verdict: TestVerdict;
    /** The verdict on one line: `forward 10.0.0.1:80`, `reject reason=no ssh`. */
    readonly text: string;
    /** What the client of a claimed flow heard. */
    readonly clientGot: Uint8Array;
    /** The upstream that a claimed flow was spliced to. */
    readonly spliced?: string;
    /** How a claimed flow ended: `eof`, or `killed` by the script. */
    readonly ended?: string;
  }

  /**
   * Asks a script about a flow, and lets time pass until it has answered. Within a test it is the
   * same script each time, with its state, unless `env` or `limits` differ; the KV stays even then.
   *
   * @param script  as its file exports it by default: `import script from './NAME'`
   */
  export function run<Env extends BaseEnv>(
    script: GatewayScript<Env>,
    flow: TestFlow,
    options?: RunOptions,
  ): Promise<RunResult>;

  /**
   * Calls `scheduled()` of a script, of the same one as `run`, and lets time pass until it is over.
   * What it throws is a line of `logs`, as in a gateway.
   *
   * @param event  the name that `schedule` of the configuration gives to it
   */
  export function scheduled<Env extends BaseEnv>(
    script: GatewayScript<Env>,
    event: string,
    options?: HookOptions,
  ): Promise<HookResult>;

  /** The same of `closed()`. What is left out of the result is 0, and `eof`. */
  export function closed<Env extends BaseEnv>(
    script: GatewayScript<Env>,
    flow: TestFlow,
    result?: Partial<FlowResult>,
    options?: HookOptions,
  ): Promise<HookResult>;

  /**
   * Loads a script once more, as a reload does: `unload()` of what was there, and then `load()`.
   * Fails where it does not load.
   */
  export function load<Env extends BaseEnv>(
    script: GatewayScript<Env>,
    options?: HookOptions,
  ): Promise<HookResult>;

  /** What clients begin with: pieces as they come, for `clientSends`. */
  export const fixtures: {
    tlsClientHello(
      name: string | undefined,
      options?: HelloOptions & { records?: number; segments?: number },
    ): Uint8Array[];
    httpRequest(
      host: string | undefined,
      options?: {
        method?: string;
        path?: string;
        /** 2 is without TLS, with prior knowledge. */
        version?: 1 | 2;
        headers?: Record<string, string>;
        segments?: number;
      },
    ): Uint8Array[];
    sshBanner(software?: string, options?: { segments?: number }): Uint8Array[];
    /** `type` is the number of the record type: 1 is A, 28 AAAA, 65 HTTPS. */
    dnsQuery(
      name: string,
      type?: number,
      options?: { over?: 'udp' | 'tcp'; segments?: number },
    ): Uint8Array[];
    quicInitial(
      name: string | undefined,
      options?: HelloOptions & { version?: 1 | 2; datagrams?: number; frames?: number },
    ): Uint8Array[];
  };

  /** The time of scripts and of timers in the test. It stands still while nobody waits. */
  export const clock: {
    /** Milliseconds since 1970; 2026-01-01T00:00:00Z when a test begins. */
    now(): number;
    /** Lets time pass: timers fire in their order. */
    advance(ms: number): Promise<void>;
  };
}
