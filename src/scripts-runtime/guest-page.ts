/** The page of memory that a sandbox and the gateway both read and write. */
import type { ConnectionRequest, FlowProtocol } from '../stack/verdict.ts';
import { CONN_PAGE_BYTES } from './conns/guest-conns.ts';

/** Offsets in bytes of the page. All uint32, but FLOW, a float64. The same as in guest/page.js. */
export const PageField = {
  FLOW: 0,
  CALL: 8,
  PROTOCOL: 12,
  FAMILY: 16,
  SOURCE_PORT: 20,
  DESTINATION_PORT: 24,
  MSS: 28,
  WINDOW_SCALE: 32,
  TTL: 36,
  ECN: 40,
  REPLY: 44,
} as const;
/** What connections cross in lies behind. */
export const PAGE_BYTES = CONN_PAGE_BYTES;

/** How a call went. The text that belongs to it is in brackets. The same as in guest/page.js. */
export const Reply = {
  DECLINE: 1,
  /** To the original destination, with no options. */
  FORWARD: 2,
  /** With no options. */
  REJECT: 3,
  /** Any other verdict [its fields as JSON]. */
  VERDICT: 4,
  /** A promise: `settle` will be called. */
  PENDING: 5,
  /** [the error; from the second line its stack] */
  THREW: 6,
  /** [what came back instead] */
  NO_VERDICT: 7,
  /** A hook that gives no verdict is over [what it handed over]. */
  DONE: 8,
} as const;
export type Reply = (typeof Reply)[keyof typeof Reply];

/** In the page: positions in PROTOCOLS of guest/flow-info.js. */
const PROTOCOL_CODES = { tcp: 0, udp: 1, icmp: 2 } as const satisfies Record<FlowProtocol, number>;

/** Writes what a script is asked about. */
export function writeRequest(page: DataView, call: number, request: ConnectionRequest): void {
  const { source, destination, syn } = request;
  page.setFloat64(PageField.FLOW, request.flow, true);
  page.setUint32(PageField.CALL, call, true);
  page.setUint32(PageField.PROTOCOL, PROTOCOL_CODES[request.protocol], true);
  page.setUint32(PageField.FAMILY, source.family, true);
  page.setUint32(PageField.SOURCE_PORT, source.port, true);
  page.setUint32(PageField.DESTINATION_PORT, destination.port, true);
  page.setUint32(PageField.REPLY, 0, true);
  if (syn === undefined) return;
  page.setUint32(PageField.MSS, syn.mss, true);
  page.setUint32(PageField.WINDOW_SCALE, syn.windowScale, true);
  page.setUint32(PageField.TTL, syn.ttl, true);
  page.setUint32(PageField.ECN, syn.ecn ? 1 : 0, true);
}

/** Whether a text belongs to the reply. */
export const hasText = (reply: Reply): boolean =>
  reply === Reply.VERDICT ||
  reply === Reply.THREW ||
  reply === Reply.NO_VERDICT ||
  reply === Reply.DONE;
