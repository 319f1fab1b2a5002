/**
 * The contract between the stack and whoever decides about a flow: a static listener or a script.
 * Plain values; they cross a process boundary.
 */

/** Names of the congestion controls, in the config, for scripts, and by position in messages. */
export const CONGESTION_NAMES = ['cubic', 'newreno', 'bbr'] as const;
export type CongestionName = (typeof CONGESTION_NAMES)[number];

/**
 * What an upstream that has a name is: addresses to choose from, a proxy that dials for us, or with
 * what options the gateway dials itself.
 */
export type UpstreamKind = 'pool' | 'proxy' | 'egress';
/** Stands for no upstream, where there is one by default. */
export const DIRECT = 'direct';

/** What a flow speaks; `icmp` is an echo of ICMP or ICMPv6. */
export type FlowProtocol = 'tcp' | 'udp' | 'icmp';

/** An address as text, `10.0.0.1` or `fd00::1`, and a port. */
export interface Endpoint {
  readonly ip: string;
  readonly port: number;
  readonly family: 4 | 6;
}

/** `10.0.0.1:443`, `[fd00::1]:443` */
export const formatEndpoint = ({ ip, port, family }: Endpoint): string =>
  family === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;

/**
 * A new flow that waits for a verdict: a SYN, the first datagram, or an ICMP echo request. It is
 * answered exactly once; a late answer is ignored.
 */
export interface ConnectionRequest {
  /** Serial number of the flow: never used twice while the gateway runs. */
  readonly flow: number;
  readonly protocol: FlowProtocol;
  /** Ports of an ICMP echo: its identifier, and 0. */
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** Of TCP only. */
  readonly syn?: {
    /** Maximum segment size in bytes; 536 or 1220 when the SYN has none. */
    readonly mss: number;
    /** Shift count, 0 when window scaling was not offered. */
    readonly windowScale: number;
    /** TTL or hop limit of the SYN's packet. */
    readonly ttl: number;
    /** The SYN asks for ECN (ECE and CWR set, RFC 3168 §6.1.1). */
    readonly ecn: boolean;
  };
  /** The name that the client got the destination for, where a DNS answer to it was seen. */
  readonly dnsName?: string;
  /** Of UDP, where a script asked for it: what the first datagrams are, as JSON for it. */
  readonly sniffed?: string;
}

/** How a refused flow is answered; in messages by position. */
export const REJECT_WITHS = ['rst', 'icmp', 'drop', 'tarpit'] as const;
export type RejectWith = (typeof REJECT_WITHS)[number];
/** Those that end the flow; a tarpit keeps it, for its owner. */
export type EndingReject = Exclude<RejectWith, 'tarpit'>;

/** What the client's SYN waits for: the upstream connection, or nothing. */
export type Handshake = 'dial-first' | 'accept-first';

export interface ForwardVerdict {
  readonly kind: 'forward';
  /** Absent: the original destination. Always an address here: names were resolved before. */
  readonly to?: Endpoint;
  /** Name of an upstream, or DIRECT; absent: as the configuration says. A pool takes no `to`. */
  readonly via?: string;
  readonly handshake: Handshake;
  /** SO_MARK of the upstream socket, over `egress.fwmark`. */
  readonly mark?: number;
  /** Local address of the upstream socket. */
  readonly bind?: string;
  /** PROXY protocol header written first to the upstream. */
  readonly proxyProtocol?: 1 | 2;
  /** Milliseconds; absent: the configured values. */
  readonly connectTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
  readonly halfCloseTimeoutMs?: number;
  /** Towards the client; absent: the configured one. */
  readonly congestion?: CongestionName;
  /** Bytes in both directions together after which the flow is closed with `limit`. */
  readonly maxBytes?: number;
}

/** Not terminated here: rewritten at L3 and handed back to the kernel. */
export interface NatVerdict {
  readonly kind: 'nat';
  /** Absent: the original destination. Always an address here: names were resolved before. */
  readonly to?: Endpoint;
  /** The upstream sees an address of `nat.addresses` as source, not the client's. */
  readonly masquerade: boolean;
  /** Milliseconds; absent: the configured values. */
  readonly idleTimeoutMs?: number;
}

export type Verdict =
  /** Nobody claims the flow: the fallback of the gateway applies. */
  | { readonly kind: 'decline' }
  | { readonly kind: 'reject'; readonly with: RejectWith; readonly reason: string }
  | ForwardVerdict
  | NatVerdict
  /** As a listener of the configuration does; or a page of the gateway, which shows `note`. */
  | { readonly kind: 'redirect'; readonly listener: string; readonly note: string }
  /**
   * The handshake is answered at once, and the script talks to the client. `sniff`: it wants to see
   * first what the client speaks.
   */
  | { readonly kind: 'claim'; readonly sniff: boolean };

/** What becomes of a flow whose decision fails. */
export const ON_ERROR_ACTIONS = ['reject', 'decline', 'forward'] as const;
export type OnError = (typeof ON_ERROR_ACTIONS)[number];

/** Who decided, for logs and the API. */
export interface DecidedBy {
  /** Generation of the scripts. */
  readonly generation: number;
  /** Position of the script in its generation's order. */
  readonly script: number;
}
