/** Messages between the supervisor and the data plane (JSON frames, see framing.ts). */
import type { SocketInfo } from '../../ffi/tcp-info.ts';
import type { TrackTimeouts } from '../../stack/conntrack/timeouts.ts';
import type { StateBounds, StateLimits } from '../../stack/layout.ts';
import type { CongestionName, FlowProtocol, OnError, RejectWith } from '../../stack/verdict.ts';
import type { UpstreamReport, UpstreamRule } from './upstreams.ts';

/** A static listener, ready to match: addresses parsed, defaults filled in. */
export interface ListenerRule {
  readonly name: string;
  /** `any` is every protocol, also those that have no name here. */
  readonly protocol: FlowProtocol | 'any';
  /** `10.0.0.0/8` or `fd00::/8`; empty matches every destination. */
  readonly destinations: readonly string[];
  /** Inclusive ranges; empty matches every port. */
  readonly ports: readonly (readonly [from: number, to: number])[];
  readonly action:
    | {
        readonly kind: 'forward';
        readonly to?: ListenerTarget;
        readonly idleTimeoutMs?: number;
        /** Name of an upstream, or DIRECT; absent: `egress.via`. */
        readonly via?: string;
      }
    | {
        readonly kind: 'nat';
        readonly to?: ListenerTarget;
        readonly masquerade: boolean;
        readonly idleTimeoutMs?: number;
      }
    | { readonly kind: 'reject'; readonly with: RejectWith }
    | { readonly kind: 'drop' }
    | PrefixAction;
}

/** Packets of either prefix are translated, and none of them begins a flow: RFC 6296. */
interface PrefixAction {
  readonly kind: 'prefix';
  /** `fd01:203:405::/48` */
  readonly inside: string;
  readonly outside: string;
}

/** Without a port: that of the client's packets. */
export interface ListenerTarget {
  readonly ip: string;
  readonly port?: number;
}

/** What can change while flows live. Times in milliseconds. */
export interface LiveConfig {
  /** Counts up with every change; flows that a listener decided carry it. */
  readonly generation: number;
  readonly listeners: readonly ListenerRule[];
  /** Addresses that are the gateway itself: an ICMP echo to them is answered. */
  readonly localAddresses: readonly string[];
  readonly egress: {
    readonly fwmark: number;
    readonly interface: string;
    /** Upstream of what names none; empty for none. */
    readonly via: string;
  };
  readonly upstreams: readonly UpstreamRule[];
  /** What becomes of a flow about which scripts give no verdict. */
  readonly onError: OnError;
  readonly timeouts: {
    readonly decisionMs: number;
    readonly connectMs: number;
    readonly idleMs: number;
    readonly halfCloseMs: number;
    readonly keepaliveMs: number;
    /** How long sent data may stay unacknowledged; 0 leaves it to the number of timeouts. */
    readonly userMs: number;
  };
  readonly tarpit: TarpitBounds;
  /** Of the TCP towards clients: for connections that are still to begin. */
  readonly tcp: {
    readonly congestion: CongestionName;
    /** Where a client asks for it. */
    readonly ecn: boolean;
  };
  readonly nat: {
    /** The pool: what an upstream may see as source. */
    readonly addresses: readonly string[];
    /** Inclusive. */
    readonly ports: readonly [from: number, to: number];
    /** Of them, for each protocol. */
    readonly portsPerSource: number;
    /** Bytes; `auto` is what fits the device. */
    readonly clampMss: 'auto' | 'off' | number;
  };
  readonly conntrack: {
    readonly timeouts: Readonly<Record<keyof TrackTimeouts, number>>;
    readonly tcpLiberal: boolean;
    readonly tcpLoose: boolean;
    /** Flows that one source may have. */
    readonly perSource: number;
  };
}

/** Of `reject` with `tarpit`. */
export interface TarpitBounds {
  /** Clients that are held at a time; one more is reset. */
  readonly limit: number;
  /** How long one is held. */
  readonly holdMs: number;
}

/** What a data plane must know of the device whose descriptor it gets. */
export interface DeviceFacts {
  readonly name: string;
  readonly mtu: number;
  /** The device was opened with IFF_VNET_HDR and these TUN_F_* offloads were accepted. */
  readonly vnetHeader: boolean;
  readonly offloads: number;
}

/** What is fixed when the data plane starts. */
export interface StartConfig {
  readonly device: DeviceFacts;
  /** What memory is laid out for; what is in force stands in PlaneBounds. */
  readonly limits: StateLimits;
  /** Of a device with several queues: which of them this data plane has. */
  readonly queue?: QueuePlace;
}

/** Bounds that can change while flows live, within what memory is laid out for. */
export interface PlaneBounds {
  readonly limits: StateBounds;
  /** Sockets for UDP and pings. */
  readonly sessions: { readonly limit: number; readonly perSource: number };
  /** Flows that scripts may talk to at a time. */
  readonly claims: number;
}

export interface QueuePlace {
  readonly index: number;
  readonly count: number;
  /** Two uint32, the same for all queues: see QueueOptions of the stack. */
  readonly hashSecret: readonly [number, number];
}

/** What one capture wants. */
export interface CaptureOrder {
  /** 0 to 7, of those that run. */
  readonly slot: number;
  /** Counts up: one that gets a slot anew is another capture. */
  readonly number: number;
  /** Text of a filter. */
  readonly filter: string;
  /** Only packets that are dropped: for this reason, or `any`. */
  readonly drops?: string | undefined;
  /** The most bytes of a packet that are copied. */
  readonly snapLength: number;
}

/** A row of the flow table, and whose it was when it was looked at. */
export interface FlowRef {
  readonly row: number;
  readonly serial: number;
}

export type ToDataPlane =
  | {
      readonly kind: 'start';
      readonly start: StartConfig;
      readonly bounds: PlaneBounds;
      readonly live: LiveConfig;
      readonly scripts: ScriptsState;
    }
  | { readonly kind: 'configure'; readonly live: LiveConfig }
  | { readonly kind: 'scripts'; readonly scripts: ScriptsState }
  /** Other bounds than before. */
  | ({ readonly kind: 'bounds' } & PlaneBounds)
  /** Ends flows, each in its row while the serial number is still its; answered by `killed`. */
  | {
      readonly kind: 'kill';
      readonly id: number;
      readonly flows: readonly FlowRef[];
      /** Scripts that were loaded would decide otherwise about them. */
      readonly isReload?: boolean;
    }
  /** Asks what the kernel knows of the upstream sockets of flows; answered by `inspected`. */
  | { readonly kind: 'inspect'; readonly id: number; readonly flows: readonly FlowRef[] }
  /** All captures that run from now on. */
  | { readonly kind: 'captures'; readonly orders: readonly CaptureOrder[] }
  /** Goes on with the device that was passed as `id` over HANDOVER; answered by `device`. */
  | { readonly kind: 'device'; readonly id: number; readonly device: DeviceFacts }
  /** Nothing is routed to the device before any more: it is emptied and closed. */
  | { readonly kind: 'device-release' }
  /** The interface has another MTU or name. */
  | { readonly kind: 'device-changed'; readonly name: string; readonly mtu: number }
  /**
   * Goes on with other sockets to the script host, which were passed with these numbers over
   * HANDOVER; answered by `host-sockets`.
   */
  | ({ readonly kind: 'host-sockets' } & Readonly<Record<HostSocket, number>>)
  /** No new flows; ends with `drained` when the last connection ended or the deadline passed. */
  | {
      readonly kind: 'drain';
      readonly deadlineMs: number;
      /** The process goes on then, and refuses what comes. */
      readonly stays: boolean;
    };

/**
 * `none`: no script is loaded, an unmatched SYN is refused at once. `down`: the script host is
 * gone and comes back; `onError` says what becomes of what waits and of what comes. `epoch` counts
 * script hosts: an answer of an older one is late.
 */
export interface ScriptsState {
  readonly state: 'none' | 'up' | 'down';
  readonly epoch: number;
}

/** For decisions, and for what is said about claimed connections. */
export type HostSocket = 'decisions' | 'conns';

export type FromDataPlane =
  | { readonly kind: 'ready' }
  /** How many of the flows still lived. */
  | { readonly kind: 'killed'; readonly id: number; readonly count: number }
  | {
      readonly kind: 'inspected';
      readonly id: number;
      readonly sockets: readonly { readonly serial: number; readonly socket: SocketInfo }[];
    }
  | { readonly kind: 'drained'; readonly cut: number }
  /** Frames go to the new device; or, with `error`, still to the old one. */
  | { readonly kind: 'device'; readonly id: number; readonly error?: string }
  /** The device before is closed. */
  | { readonly kind: 'device-released' }
  /** A script host has shut it down: nothing comes or goes over it any more. */
  | { readonly kind: 'host-socket-shut'; readonly socket: HostSocket }
  /** The new ones are in use; or, with `error`, none is. */
  | { readonly kind: 'host-sockets'; readonly error?: string }
  /** What reads and writes of the device showed. */
  | { readonly kind: 'device-state'; readonly state: 'up' | 'down' | 'gone' }
  /** Upstreams of which something has changed, at most once a second each. */
  | { readonly kind: 'upstreams'; readonly upstreams: readonly UpstreamReport[] }
  /** An offload was given up. */
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly event: string;
      readonly fields: Readonly<Record<string, string | number | boolean>>;
    };

/** File descriptors a data plane inherits, besides its standard streams. */
export const DataPlaneFd = {
  TUN: 3,
  STATE: 4,
  COUNTERS: 5,
  SCRIPTS: 6,
  CONNS: 7,
  /** Descriptors that come later, ffi/fd-passing.ts. */
  HANDOVER: 8,
  CAPTURE: 9,
  /** Of a device with several queues: where the other data planes hand over frames. */
  INBOX: 10,
} as const;

/** Behind them, for each other data plane in the order of queues: its state, its inbox. */
export const peerFds = (peer: number) => ({
  state: DataPlaneFd.INBOX + 1 + 2 * peer,
  inbox: DataPlaneFd.INBOX + 2 + 2 * peer,
});
