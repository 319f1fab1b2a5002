import { icmpPacket, tcpPacket } from './packet-builder.ts';
import type { TcpRig } from './tcp-rig.ts';

/** A router of IPv4 says that a packet was too long for it. @param seq  of its segment, from 1 */
export function sendTooBig(rig: TcpRig, seq: number, mtu: number): void {
  const { address, port, serverAddress, serverPort } = rig.peer.options;
  const quoted = tcpPacket({
    source: serverAddress,
    destination: address,
    sourcePort: serverPort,
    destinationPort: port,
    seq: (rig.peer.serverIss + seq) >>> 0,
    payload: new Uint8Array(1460),
  });
  const ends = { source: '198.18.0.254', destination: serverAddress };
  rig.deliver(icmpPacket({ ...ends, type: 3, code: 4, rest: mtu, payload: quoted.slice(0, 100) }));
}
