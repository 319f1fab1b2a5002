/** Traces of loss recovery: a peer that permits SACK, a round trip away. */
import { type RigOptions, TcpRig } from './tcp-rig.ts';

export const MSS = 1460;
export const ROUND_TRIP_MS = 100;

/** ESTABLISHED after a handshake of one round trip; payloads of a packet are MSS bytes. */
export function farRig(options: RigOptions = {}): TcpRig {
  const rig = new TcpRig({ sack: true, ...options });
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  rig.peer.sends(rig.synLine);
  rig.peer.expects(rig.synAnswer);
  rig.clock.advance(ROUND_TRIP_MS * 1000);
  rig.peer.sends('. 1:1(0) ack 1 win 2000');
  return rig;
}

/** `count` full segments in one superpacket, and the answer is half a round trip away. */
export function sendFlight(rig: TcpRig, count: number): void {
  rig.send(count * MSS);
  const sent = sentPackets(rig);
  if (sent.length === 0) throw new Error('nothing was sent');
}

/** Reads what waits, as numbers of the packets in the stream: `[0, 1, 2]`. FIN is `-1`. */
export function sentPackets(rig: TcpRig): number[] {
  return rig.peer.readAll().flatMap((segment) => {
    const first = (rig.peer.relative(segment) - 1) / MSS;
    const count = Math.ceil(segment.payload.length / MSS);
    const numbers = Array.from({ length: count }, (_, index) => first + index);
    return (segment.flags & 1) === 0 ? numbers : [...numbers, -1];
  });
}

/** An ACK of all packets before `acked`, with blocks of packets [from, to). */
export function ack(rig: TcpRig, acked: number, ...blocks: [from: number, to: number][]): void {
  rig.peer.sends(ackLine(rig, acked, blocks));
}

/** The same with ECE, RFC 3168. */
export function echo(rig: TcpRig, acked: number, ...blocks: [from: number, to: number][]): void {
  rig.peer.sends(`E${ackLine(rig, acked, blocks)}`);
}

function ackLine(rig: TcpRig, acked: number, blocks: [number, number][]): string {
  const at = (packet: number) => 1 + packet * MSS;
  const words: string[] = [];
  if (rig.peer.options.timestamps) {
    words.push(`nop,nop,TS val ${rig.clock.ms} ecr ${rig.peer.tsRecent}`);
  }
  if (blocks.length > 0) {
    words.push(`nop,nop,sack ${blocks.map(([from, to]) => `${at(from)}:${at(to)}`).join(' ')}`);
  }
  return `. 1:1(0) ack ${at(acked)} win 2000 <${words.join(',')}>`;
}

export const roundTrip = (rig: TcpRig): void => rig.clock.advance(ROUND_TRIP_MS * 1000);
