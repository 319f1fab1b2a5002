/**
 * A device in memory. The stack writes frames to one side; the other side does what a kernel would
 * do with them (checks the vnet header, completes the checksum) and keeps whole IP packets.
 */
import type { DeviceCapabilities, FrameSink } from '../../src/stack/device.ts';
import { referenceChecksum } from './packet-builder.ts';

const VNET_HEADER_BYTES = 10;
const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_ECN = 0x80;
const CWR = 0x80;
const GSO_UDP_L4 = 5;
const UDP = 17;
const UDP_HEADER_BYTES = 8;
const CHECKSUM_IN_TCP = 16;
const CHECKSUM_IN_UDP = 6;

/** What a kernel with all offloads grants. */
export const FULL_OFFLOAD: DeviceCapabilities = {
  vnetHeader: true,
  checksumOffload: true,
  tso4: true,
  tso6: true,
  tsoEcn: true,
  uso: true,
  mtu: 1500,
};

/** A device without a vnet header: packets as they are. */
export const NO_OFFLOAD: DeviceCapabilities = {
  vnetHeader: false,
  checksumOffload: false,
  tso4: false,
  tso6: false,
  tsoEcn: false,
  uso: false,
  mtu: 1500,
};

export interface OutgoingFrame {
  /** The IP packet, all checksums complete. */
  readonly packet: Uint8Array<ArrayBuffer>;
  /** Payload bytes after which the device cuts; 0 for a single packet. */
  readonly gsoSize: number;
  /** The stack left the checksum to the device. */
  readonly isPartial: boolean;
}

export class MemoryDevice implements FrameSink {
  readonly capabilities: DeviceCapabilities;
  /** What the stack wrote and nobody took yet, oldest first. */
  readonly frames: OutgoingFrame[] = [];
  /** While true, the device refuses every frame. */
  isRefusing = false;
  readonly #bytes: Uint8Array;

  /** @param buffer  the memory of the stack */
  /** Takes any vnet header: one that came in wrong is handed on as it came, by NAT. */
  isCareless = false;

  constructor(buffer: ArrayBuffer, capabilities: DeviceCapabilities) {
    this.#bytes = new Uint8Array(buffer);
    this.capabilities = capabilities;
  }

  transmit(frameAt: number, frameLength: number): boolean {
    if (this.isRefusing) return false;
    const frame = this.#bytes.slice(frameAt, frameAt + frameLength);
    this.frames.push(
      this.capabilities.vnetHeader
        ? this.#complete(frame)
        : { packet: frame, gsoSize: 0, isPartial: false },
    );
    return true;
  }

  #complete(frame: Uint8Array<ArrayBuffer>): OutgoingFrame {
    try {
      return completeFrame(frame);
    } catch (error) {
      if (!this.isCareless) throw error;
      return { packet: frame.slice(VNET_HEADER_BYTES), gsoSize: 0, isPartial: false };
    }
  }

  /** A frame as the stack would read it, around a whole packet. */
  incoming(packet: Uint8Array, gsoSize = 0): Uint8Array<ArrayBuffer> {
    if (!this.capabilities.vnetHeader) return Uint8Array.from(packet);
    const frame = new Uint8Array(VNET_HEADER_BYTES + packet.length);
    frame.set(packet, VNET_HEADER_BYTES);
    if (gsoSize > 0) {
      frame[1] = gsoTypeOf(packet);
      new DataView(frame.buffer).setUint16(4, gsoSize, true);
    }
    return frame;
  }
}

/** The kernel sets the bit for CWR on a superpacket, and wants to be told of it. */
function gsoTypeOf(packet: Uint8Array): number {
  const isIpv4 = packet[0]! >>> 4 === 4;
  if (packet[isIpv4 ? 9 : 6] === UDP) return GSO_UDP_L4;
  const flags = packet[(isIpv4 ? (packet[0]! & 15) * 4 : 40) + 13]!;
  return (isIpv4 ? GSO_TCPV4 : GSO_TCPV6) | ((flags & CWR) === 0 ? 0 : GSO_ECN);
}

/**
 * Does the work of the device.
 *
 * @throws Error when the vnet header does not describe the packet behind it
 */
export function completeFrame(frame: Uint8Array<ArrayBuffer>): OutgoingFrame {
  const header = new DataView(frame.buffer, 0, VNET_HEADER_BYTES);
  const packet = frame.slice(VNET_HEADER_BYTES);
  const view = new DataView(packet.buffer);
  const isPartial = (header.getUint8(0) & NEEDS_CSUM) !== 0;
  const gsoType = header.getUint8(1);
  const headerBytes = header.getUint16(2, true);
  const gsoSize = header.getUint16(4, true);
  const start = header.getUint16(6, true);
  const offset = header.getUint16(8, true);
  if (!isPartial) {
    if (gsoType !== 0 || gsoSize !== 0) throw new Error('GSO without NEEDS_CSUM');
    return { packet, gsoSize, isPartial };
  }
  const isIpv4 = packet[0]! >>> 4 === 4;
  const isUdp = packet[isIpv4 ? 9 : 6] === UDP;
  const transportAt = isIpv4 ? (packet[0]! & 15) * 4 : 40;
  if (start !== transportAt || offset !== (isUdp ? CHECKSUM_IN_UDP : CHECKSUM_IN_TCP)) {
    throw new Error(`checksum at ${start}+${offset}, but the transport is at ${transportAt}`);
  }
  const transportBytes = isUdp ? UDP_HEADER_BYTES : (packet[transportAt + 12]! >>> 4) * 4;
  const headers = transportAt + transportBytes;
  if (headerBytes !== headers) throw new Error(`header length ${headerBytes}, not ${headers}`);
  const expectedType = gsoSize === 0 ? 0 : gsoTypeOf(packet);
  if (gsoType !== expectedType) throw new Error(`GSO type ${gsoType}, not ${expectedType}`);
  if (gsoSize !== 0 && packet.length - headers <= gsoSize) throw new Error('GSO of one segment');
  // The field holds the sum of the pseudo header, so that the sum over all gives the checksum.
  view.setUint16(transportAt + offset, referenceChecksum(packet.subarray(transportAt)));
  return { packet, gsoSize, isPartial };
}
