/**
 * PROXY protocol headers, versions 1 and 2, as HAProxy's specification has them
 * (doc/proxy-protocol.txt, sections 2.1 and 2.2): the client's address for the upstream.
 */
import { FlowField } from '../../../stack/flow-row.ts';
import { formatAddress } from '../../../stack/wire/ip-address.ts';

/** Section 2.2: CR LF CR LF NUL CR LF "QUIT" LF. */
const SIGNATURE_V2 = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const VERSION_2_PROXY = 0x21;
const STREAM_INET = 0x11;
const STREAM_INET6 = 0x21;

/** @param at  the flow's row */
export function proxyHeader(version: 1 | 2, view: DataView, at: number): Uint8Array<ArrayBuffer> {
  const length = view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16;
  const sourcePort = view.getUint16(at + FlowField.SOURCE_PORT, true);
  const destinationPort = view.getUint16(at + FlowField.DESTINATION_PORT, true);
  if (version === 1) {
    const source = formatAddress(view, at + FlowField.SOURCE, length);
    const destination = formatAddress(view, at + FlowField.DESTINATION, length);
    const family = length === 4 ? 'TCP4' : 'TCP6';
    const line = `PROXY ${family} ${source} ${destination} ${sourcePort} ${destinationPort}\r\n`;
    return new Uint8Array(new TextEncoder().encode(line));
  }
  const addresses = 2 * length + 4;
  const header = new Uint8Array(SIGNATURE_V2.length + 4 + addresses);
  const out = new DataView(header.buffer);
  header.set(SIGNATURE_V2);
  out.setUint8(12, VERSION_2_PROXY);
  out.setUint8(13, length === 4 ? STREAM_INET : STREAM_INET6);
  out.setUint16(14, addresses);
  for (let i = 0; i < length; i++) {
    out.setUint8(16 + i, view.getUint8(at + FlowField.SOURCE + i));
    out.setUint8(16 + length + i, view.getUint8(at + FlowField.DESTINATION + i));
  }
  out.setUint16(16 + 2 * length, sourcePort);
  out.setUint16(18 + 2 * length, destinationPort);
  return header;
}
