/** A request in the page of a sandbox: numbers cross there, and addresses as text beside it. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { ConnectionRequest, FlowProtocol } from '../../stack/verdict.ts';

/** Offsets in bytes of the page. All uint32, but FLOW, a float64. The same as in guest/page.js. */
const PageField = {
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
export const REPLY_AT = PageField.REPLY;
export const CALL_AT = PageField.CALL;

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

/** Text of a request that may be absent, as an argument. The caller disposes of it. */
export const optionalText = (context: QuickJSContext, text: string | undefined): QuickJSHandle =>
  text === undefined ? context.undefined : context.newString(text);
