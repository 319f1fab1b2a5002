/**
 * Types of the culvert script API: what this version of culvert implements, and nothing else.
 * Keep this file beside your scripts; it is printed by `culvert types`.
 *
 * The second part declares the globals that a script has besides the standard library.
 */
declare module 'culvert' {
  /** `10.0.0.1:80`, `[fd00::1]:80` or `example.com:80`. */
  export type Addr = `${string}:${number}` | `[${string}]:${number}`;

  /** An address alone, `10.0.0.1` or `[fd00::1]`: the port stays that of the client's packets. */
  export type Host = `${number}.${number}.${number}.${number}` | `[${string}]`;

  export interface Endpoint {
    /** Without brackets: `10.0.0.1`, `fd00::1`. */
    readonly ip: string;
    /** Of `icmp`, which has no ports: the identifier of the echo as source, 0 as destination. */
    readonly port: number;
    readonly family: 4 | 6;
    toString(): Addr;
  }

  /** A new flow. Its first packet waits for your verdict. */
  export interface FlowInfo {
    /** The same in the log, in the API and in `culvert flows`. */
    readonly id: string;
    /** `udp` is a first datagram; `icmp` is a ping, the echo request of ICMP or ICMPv6. */
    readonly proto: 'tcp' | 'udp' | 'icmp';
    readonly src: Endpoint;
    readonly dst: Endpoint;
    /** Where the client wanted to go: `dst`, as long as nothing rewrites it before the script. */
    readonly originalDst: Endpoint;
    /**
     * The name that the client asked DNS for and got `dst` as an address of, where that was seen:
     * in answers over UDP that the gateway carried to this client, for an hour at most. A hint, not
     * proof: an address may have several names (the last one counts), and answers over TCP, TLS,
     * HTTPS or QUIC are not seen.
     */
    readonly dnsName?: string;
    /** Name of the TUN device. */
    readonly iface: string;
    /** Of `tcp` only. */
    readonly syn?: {
      /** Maximum segment size in bytes. */
      readonly mss: number;
      /** Window scale as a shift count. */
      readonly wscale: number;
      /** TTL or hop limit. */
      readonly ttl: number;
      /** The client asks for Explicit Congestion Notification. */
      readonly ecn: boolean;
    };
    /** Of `udp` only, and when `sniffs` of a script asks for it. */
    readonly sniffed: SniffedDatagrams | undefined;
    /** Fires while you `await`, when the client gave up or the time for a verdict is over. */
    readonly signal: AbortSignal;
  }

  /** What a UDP flow begins with. */
  export type SniffedDatagrams =
    | {
        readonly proto: 'quic';
        /** In lower case; with ECH the public name of the outer hello. */
        readonly sni?: string;
        readonly alpn: readonly string[];
        /** There is an encrypted hello, or what looks like one. */
        readonly ech: boolean;
        /** As on the wire: 1, or 0x6b3343cf for version 2. */
        readonly version: number;
      }
    | {
        readonly proto: 'dns';
        /** In lower case, without the dot at the end; `.` is the root. */
        readonly qname: string;
        /** `A`, `HTTPS` …, or `TYPE65280`. */
        readonly qtype: string;
      }
    /** `timeout`: 300 ms did not bring all of a QUIC hello. `limit`: nor did 16 KiB. */
    | { readonly proto: 'unknown'; readonly why: 'timeout' | 'no-match' | 'limit' };

  const verdict: unique symbol;
  /** What becomes of the flow. Only the functions below make one. */
  export interface Verdict {
    readonly [verdict]: 'decline' | 'reject' | 'forward' | 'nat' | 'redirect' | 'claim';
  }

  /** Not mine: ask the next script. When all decline, the flow is rejected. */
  export function decline(): Verdict;

  export interface RejectOptions {
    /**
     * `rst` (default): connection refused; UDP hears "port unreachable" and a ping "unreachable".
     * `icmp`: administratively prohibited. `drop`: silence. `tarpit`, for TCP only: the client is
     * answered, may send nothing, and hears nothing; it is held until it goes, or for as long as
     * `timeouts.tarpit` says, at no cost of memory. Where `limits.tarpit` are held, it is `rst`.
     */
    with?: 'rst' | 'icmp' | 'drop' | 'tarpit';
    /** Shown in the log; at most 200 bytes, the rest is cut off. */
    reason?: string;
  }
  /** Refuse the flow. */
  export function reject(options?: RejectOptions): Verdict;

  export interface ForwardOptions {
    /**
     * Name of an upstream of the configuration (`upstreams`), or `direct` for none; `egress.via` by
     * default. A pool has addresses of its own and takes no address here. For UDP and pings only
     * `direct`, and one that is `interface`, `fwmark` or `source`.
     */
    via?: string;
    /**
     * `dial-first` (default): the client is answered once the upstream is connected.
     * `accept-first` is for TCP only.
     */
    handshake?: 'dial-first' | 'accept-first';
    /** Tell the upstream who the client is; for TCP only. */
    proxyProtocol?: 1 | 2;
    /** Local address of the connection to the upstream. */
    bind?: string;
    /** Firewall mark of the connection to the upstream. */
    mark?: number;
    /** Of TCP. Here and below, 0 is as if it were not given: what the configuration says. */
    connectTimeoutMs?: number;
    /** Silence after which the flow ends. */
    idleTimeoutMs?: number;
    /** Of TCP. */
    halfCloseTimeoutMs?: number;
    /** Close the flow after so many bytes, both directions together. */
    maxBytes?: number;
    /** Of TCP, towards the client; `tcp.congestion` of the configuration by default. */
    congestion?: 'cubic' | 'newreno' | 'bbr';
  }
  /**
   * Carry the flow over a socket of the gateway to `to`; with no address, to where the client
   * wanted to go. The answers of UDP and of pings come back the same way. A ping has no port.
   */
  export function forward(to?: Addr | Host, options?: ForwardOptions): Verdict;

  export interface NatOptions {
    /**
     * The upstream sees an address of `nat.addresses` of the configuration as source (default).
     * `false` leaves the source alone: then the upstream must answer by way of the gateway.
     */
    masquerade?: boolean;
    /** Silence after which an established flow ends; `conntrack.timeouts` by default. */
    idleTimeoutMs?: number;
  }
  /**
   * Do not end the flow here: rewrite its packets and hand them back to the kernel, which routes
   * them to `to`, or to where the client wanted to go. `to` is of the family of the flow.
   */
  export function nat(to?: Addr | Host, options?: NatOptions): Verdict;

  /**
   * Treat the flow as a listener of the configuration does, as if it had matched: by its action,
   * target, upstream and times, whatever its destinations and ports. It must take the protocol of
   * the flow, and there must be one of that name, which is known when the flow comes.
   *
   * `welcome` is a page of the gateway itself, for TCP; only that has a `note`, which it shows.
   */
  export function redirect(listener: string, options?: { note?: string }): Verdict;

  export interface ClaimOptions {
    /** You will look at what the client says first, before anything else. */
    sniff?: boolean;
  }
  /**
   * Accept the flow, and talk to the client in `connect()` of the script. The client is answered
   * before anything is known of an upstream: it sees a reset where `forward()` would have refused.
   * For TCP only.
   */
  export function claim(options?: ClaimOptions): Verdict;

  export interface SocketInfo {
    readonly remoteAddress: Addr;
    readonly localAddress: Addr;
    /** With TLS: the protocol of `alpn` that the server has chosen, if it chose one. */
    readonly alpn?: string;
  }

  /**
   * One end of a connection. Nothing is read before you ask for it, and what you write is taken
   * as fast as the far side takes it: await each call.
   */
  export interface Socket extends AsyncDisposable {
    /** Fails with a `SocketError` where nobody answers. */
    readonly opened: Promise<SocketInfo>;
    /** Settles once, when both directions have ended; fails unless they ended in order. */
    readonly closed: Promise<void>;
    /**
     * The same as streams, for code that wants them: once one of them was asked for, the methods
     * below that read, write and splice throw.
     */
    readonly readable: ReadableStream<Uint8Array>;
    readonly writable: WritableStream<Uint8Array>;
    /** The bytes that came next; null when the far side has said all. One call at a time. */
    read(options?: ReadOptions): Promise<Uint8Array | null>;
    /** Resolves when the bytes are on their way. Text becomes UTF-8. */
    write(data: Uint8Array | string): Promise<void>;
    /** Says that nothing more is written; reading goes on. */
    closeWrite(): Promise<void>;
    /** Ends both directions in order: what was written arrives, what comes is not read any more. */
    close(): Promise<void>;
    /** Resets the connection; `reason` is for the log. Ends a spliced connection too. */
    abort(reason?: string): void;
    /**
     * Of a socket that was opened with `secureTransport: 'starttls'`: begins TLS behind all that
     * was written. Go on with the socket that it returns. What the server said before and nobody
     * has read is not trusted: then it fails.
     */
    startTls(options?: TlsOptions): Socket;
  }

  export interface TlsOptions {
    /** Name that the certificate must have; by default that which `connect()` was told. */
    sni?: string;
    /** Protocols that are offered to the server, the favourite first: `['h2', 'http/1.1']`. */
    alpn?: readonly string[];
  }

  export interface ReadOptions {
    /** Bytes; what came with them is there for the next call. By default all that came together. */
    max?: number;
  }

  /** What a client speaks, by its first bytes. */
  export type Sniffed =
    | {
        readonly proto: 'tls';
        /** In lower case; with ECH the public name of the outer hello. */
        readonly sni?: string;
        readonly alpn: readonly string[];
        /** There is an encrypted hello, or what looks like one. */
        readonly ech: boolean;
      }
    | {
        readonly proto: 'http';
        readonly method: string;
        /** In lower case, without port. */
        readonly host?: string;
        readonly path: string;
      }
    | { readonly proto: 'ssh'; readonly banner: string }
    | { readonly proto: 'dns'; readonly qname: string; readonly qtype: string }
    | {
        readonly proto: 'unknown';
        /**
         * `timeout`: the client did not say enough in time. `server-first`: a socket of this
         * connection has something to say first. `limit`: `peekBytes` did not tell.
         */
        readonly why: 'timeout' | 'no-match' | 'server-first' | 'limit';
      };

  export interface PeekOptions {
    /** Resolves as soon as so many bytes are there (1). */
    min?: number;
    /** At most `ctx.limits.peekBytes`, which is the default. */
    max?: number;
    /** `ctx.limits.sniffMs` by default; then what is there is the answer. */
    timeoutMs?: number;
  }

  export interface SniffOptions {
    /** All of them by default. */
    protocols?: readonly ('tls' | 'http' | 'ssh' | 'dns')[];
    /** `ctx.limits.sniffMs` by default. */
    timeoutMs?: number;
  }

  export interface CustomSniffOptions<T> {
    /**
     * Gets all bytes that have arrived, again each time there are more, as long as it answers
     * `need-more`. Nothing (undefined, null) is `unknown`; any other answer is that of `sniff()`.
     * It answers at once: a promise is an error.
     */
    with: (bytes: Uint8Array) => T | 'need-more' | undefined | null;
    timeoutMs?: number;
  }

  export interface SpliceOptions {
    /** Each as of `forward()`. */
    idleTimeoutMs?: number;
    halfCloseTimeoutMs?: number;
    maxBytes?: number;
  }

  export interface SpliceResult {
    /** From the client, and to the client. */
    readonly bytesUp: number;
    readonly bytesDown: number;
    /** How the flow ended, as in the log: `eof`, `idle`, `client-reset`, `upstream-reset` … */
    readonly reason: string;
  }

  /**
   * A connection that `claim()` accepted. When `connect()` is done, it ends, unless it is spliced
   * or its streams are in use.
   */
  export interface Conn extends Socket {
    readonly flow: FlowInfo;
    /** What the client has said, which stays there to be read or spliced. */
    peek(options?: PeekOptions): Promise<Uint8Array>;
    /** Waits until it is known what the client speaks. Takes nothing. */
    sniff(options?: SniffOptions): Promise<Sniffed>;
    sniff<T>(options: CustomSniffOptions<T>): Promise<T | Extract<Sniffed, { proto: 'unknown' }>>;
    /**
     * Joins the client with a socket of `connect()`, natively: from now on no byte passes through
     * the script, and both live on when the script does not. Waits for the socket to open; fails
     * if it does not, and then another can be tried. Resolves when the flow has ended. With a
     * socket that speaks TLS it fails with the code `tls`: copy what comes with `read()` and
     * `write()`, or let TLS pass through to a server of your own.
     */
    splice(socket: Socket, options?: SpliceOptions): Promise<SpliceResult>;
  }

  /** `sni` and `alpn` are for TLS, and by default also those of `startTls()`. */
  export interface ConnectOptions extends TlsOptions {
    /**
     * `on`: TLS from the first byte; `opened` waits for the handshake. `starttls`: later, with
     * `startTls()`. Certificates are verified always, against the public authorities and those of
     * `scripts.tls.ca` of the configuration; else the socket fails with the code `tls`. Such a
     * socket cannot be spliced.
     */
    secureTransport?: 'off' | 'on' | 'starttls';
    /** By a socket of the gateway (default), or by its own TCP into the device, for a client. */
    into?: 'direct' | 'tun';
    /**
     * Name of an upstream of the configuration, or `direct` for none; `egress.via` by default. Not
     * of `tun`. The error of a name that there is not has the code `denied`.
     */
    via?: string;
    /** Local address. */
    bind?: string;
    /** Firewall mark, of `direct`. */
    mark?: number;
    /** Tell the upstream who the client is, in front of all else. For a client. */
    proxyProtocol?: 1 | 2;
    /** For the name and all of its addresses together. */
    connectTimeoutMs?: number;
    /** Aborts the socket. `conn.flow.signal` also says for which connection it is opened. */
    signal?: AbortSignal;
  }

  /**
   * Opens a connection for the one that the script is busy with, and ends with it. The addresses
   * of a name are tried in turn (RFC 8305). Where a script may go is the list `allow` beside it in
   * the configuration; without a list, where its client wanted to go, and nowhere else. Only with
   * `via` of a pool `to` is undefined: then it goes to an address of the pool.
   *
   * In `flow`, `scheduled`, `load` and `closed` it is for that call: it ends when the promise of
   * the call is settled, and those that `ctx.waitUntil` was given meanwhile. What was written
   * arrives. There must be a list `allow` then, and options about a client are refused. A script
   * has `limits.socketsOutside` such sockets at a time, and each call that has some
   * `limits.connCpuMs` of processor time. In `load` of a gateway that starts there is no network
   * yet: do not wait for it there, but give the promise to `ctx.waitUntil`. Where a bundle is only
   * looked at, there is none at all (`unreachable`).
   */
  export function connect(
    to: Addr | { readonly hostname: string; readonly port: number } | undefined,
    options?: ConnectOptions,
  ): Socket;

  /**
   * Why a connection is not, or not any more. A hook that throws it is logged with `code` and
   * `peer`; it is not counted as an error of the script, but a verdict is missing all the same.
   */
  export class SocketError extends TypeError {
    constructor(code: SocketError['code'], message?: string);
    /** With whom: as `connect()` was told, or the address of the client. */
    readonly peer?: string;
    /**
     * `loop`: the way leads back into the gateway. `denied`: not on the list `allow`, or the
     * gateway itself. `limit`: of the script (`ctx.limits`). `aborted`: it was there and is gone.
     * `tls`: the message says what is wrong with the certificate, or with the server.
     */
    readonly code:
      | 'refused'
      | 'unreachable'
      | 'timeout'
      | 'dns'
      | 'tls'
      | 'loop'
      | 'denied'
      | 'limit'
      | 'aborted';
  }

  export interface StoreOptions {
    /** Time to live; for ever by default. */
    ttlMs?: number;
    /**
     * Where `limits.kvBytes` is full, what was made first goes (counted as `kv-evicted`). For
     * counters by client, which strangers can fill. By default the call throws `LimitError`.
     */
    evict?: boolean;
  }

  /**
   * Values that outlive a reload of the script, and a restart of the process it runs in. Keys,
   * values and the sum of all are limited (`ctx.limits`); over a limit a call throws `LimitError`.
   */
  export interface KV {
    get(key: string): string | number | undefined;
    set(key: string, value: string | number, options?: StoreOptions): void;
    /** Sets only where there is nothing; tells whether it did. */
    add(key: string, value: string | number, options?: StoreOptions): boolean;
    /** Sets only where `old` is (`undefined`: nothing); tells whether it did. */
    cas(key: string, old: string | number | undefined, value: string | number): boolean;
    /** Adds `by` (1), starting at `init` (0). `ttlMs` counts from the first call. */
    incr(key: string, by?: number, options?: StoreOptions & { init?: number }): number;
    /** Tells whether there was something. */
    delete(key: string): boolean;
    /** At most `limit` (1000), oldest first. */
    keys(options?: { prefix?: string; limit?: number }): string[];
  }

  /**
   * Fields first, then the message: `log.info({ port: 80 }, 'new flow')`; or text alone. An error
   * as a field, `{ err }`, has `type`, `message` and `stack`; an error alone is shown with that.
   */
  export interface Log {
    debug(first: object | string, message?: string): void;
    info(first: object | string, message?: string): void;
    warn(first: object | string, message?: string): void;
    error(first: object | string, message?: string): void;
  }

  /** Networks and names of `scripts.sets` of the configuration. */
  export interface Sets {
    /**
     * Of networks: whether the address `value` lies in one. Of names: whether `value` is one of
     * them (`example.com`), or lies below one (`*.example.com`), or either (`.example.com`).
     * A set that does not exist is an error, and so is a value with a port (`String(flow.src)`);
     * an IPv6 address may stand in brackets, as in `sniffed.host`.
     */
    has(set: string, value: string): boolean;
  }

  export interface BaseEnv {
    readonly KV: KV;
    readonly sets: Sets;
    /** `scripts.vars` of the configuration. */
    readonly vars: Readonly<Record<string, string>>;
  }

  /**
   * Shown as `culvert_script_<name>{script="…",…}` in `/metrics`. A name keeps its kind and the
   * names of its labels. What goes over `limits.metricSeries` is counted in one series, whose
   * labels all are `__other__`; what goes over `limits.metrics` throws `LimitError`. Keep what they
   * return.
   */
  export interface Metrics {
    /** Only grows; by 1 where nothing else is said. */
    counter(name: string, labels?: Record<string, string>): { inc(by?: number): void };
    gauge(name: string, labels?: Record<string, string>): { set(value: number): void };
    /** For seconds: its buckets go from 5 ms to 10 s. */
    histogram(name: string, labels?: Record<string, string>): { observe(value: number): void };
  }

  export interface Ctx {
    readonly metrics: Metrics;
    /** Lines carry the script, its generation and the flow. */
    readonly log: Log;
    /** Number of the generation this script was loaded with. */
    readonly version: string;
    /** Fires when a newer generation has taken over. */
    readonly signal: AbortSignal;
    /** What the script may use, by name; the unit ends the name. */
    readonly limits: Readonly<Record<string, number>>;
    /**
     * Keeps this generation of the script until the promise is settled, for `limits.waitMs` at
     * most. Where it is rejected, the log says so; what rejects where nobody waits is lost in
     * silence, so give it here. Over `limits.waits` it throws `LimitError`.
     */
    waitUntil(promise: Promise<unknown>): void;
  }

  /** How a flow ended. */
  export interface FlowResult {
    /** Payload from the client, and to it. */
    readonly bytesUp: number;
    readonly bytesDown: number;
    readonly durationMs: number;
    /** As in the log: `eof`, `client-reset`, `upstream-reset`, `idle`, `killed` and others. */
    readonly reason: string;
  }

  /**
   * What a script exports: `export default { … } satisfies GatewayScript`. A method whose name is
   * nearly one of these is an error when the script loads, for it may be misspelt. Other methods
   * and values beside the hooks are left alone.
   */
  export interface GatewayScript<E extends BaseEnv = BaseEnv> {
    /**
     * Decides about a new flow, before its handshake is answered: about a SYN, about the first
     * datagram between two ends of UDP, or about a ping. If this throws, takes too long, or returns
     * no verdict or one that does not fit the flow, the flow is rejected; or what `scripts.onError`
     * of the configuration says: the next script is asked, or the flow is forwarded.
     */
    flow(flow: FlowInfo, env: E, ctx: Ctx): Verdict | Promise<Verdict>;

    /**
     * Called before the first flow, and waited for. `old` is what was here before: null where there
     * was nothing, without `state` where that was lost with its sandbox. If this throws or takes
     * longer than `limits.wallMs`, the script does not load, and what was here before stays. It is
     * called with null when a bundle is only checked, too.
     */
    load?(
      old: { readonly version: string; readonly state?: unknown } | null,
      env: E,
      ctx: Ctx,
    ): void | Promise<void>;

    /**
     * Called when another generation is about to take over. What it returns is handed over as JSON,
     * of `limits.stateBytes` at most. Flows may still be asked about afterwards.
     */
    unload?(env: E, ctx: Ctx): unknown;

    /**
     * Called by the clock, as `schedule` of the configuration has it: at multiples of `every`, or
     * by `cron` in UTC. `at` is when it was due, in milliseconds since 1970. While a promise that
     * it returned is not settled, it is not called again by the same name.
     */
    scheduled?(
      event: { readonly name: string; readonly at: number },
      env: E,
      ctx: Ctx,
    ): void | Promise<void>;

    /**
     * Called when a flow is over that this script let through. Meant for accounts: when flows end
     * faster than scripts can hear of it, some are left out and counted. `flow` has no `syn`.
     */
    closed?(flow: FlowInfo, result: FlowResult, env: E, ctx: Ctx): void | Promise<void>;

    /**
     * What to find out about UDP flows first. `flow.sniffed` is the answer then; until a client of
     * QUIC has sent all of its hello, its flow waits for it, 300 ms at most.
     */
    sniffs?: readonly ('quic' | 'dns')[];
    /**
     * Talks to a client after `claim()`. A connection stays with the generation that claimed it.
     * If this throws, the client is reset.
     */
    connect?(conn: Conn, env: E, ctx: Ctx): void | Promise<void>;
  }
}
