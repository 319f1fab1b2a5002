/**
 * The header in front of every frame of a TUN with IFF_VNET_HDR: `struct virtio_net_hdr` of
 * include/uapi/linux/virtio_net.h. Its fields are in host order, which is little-endian here.
 */
import { DropReason } from '../drop-reason.ts';

/** Offsets in bytes. */
const VnetField = {
  FLAGS: 0,
  GSO_TYPE: 1,
  HEADER_LENGTH: 2,
  GSO_SIZE: 4,
  CHECKSUM_START: 6,
  CHECKSUM_OFFSET: 8,
} as const;

export const VNET_HEADER_BYTES = 10;

export const VnetFlag = {
  /** The checksum field holds the pseudo header's sum only. */
  NEEDS_CSUM: 1,
  /** The checksum was checked. */
  DATA_VALID: 2,
} as const;

export const GsoType = {
  NONE: 0,
  TCPV4: 1,
  /** UFO: fragments of one large datagram. */
  UDP: 3,
  TCPV6: 4,
  /** USO: many datagrams. */
  UDP_L4: 5,
  /** A bit that is added to the TCP types: the segments carry CWR. */
  ECN: 0x80,
} as const;

/** Bits of `VnetFlag`. */
export const vnetFlags = (view: DataView, at: number): number =>
  view.getUint8(at + VnetField.FLAGS);

/** A value of `GsoType`, the ECN bit taken off. */
export const gsoType = (view: DataView, at: number): number =>
  view.getUint8(at + VnetField.GSO_TYPE) & ~GsoType.ECN;

/** Whether the ECN bit stands beside the type. */
export const gsoHasEcn = (view: DataView, at: number): boolean =>
  (view.getUint8(at + VnetField.GSO_TYPE) & GsoType.ECN) !== 0;

/** Payload bytes of each segment; 0 when the frame is a single packet. */
export const gsoSize = (view: DataView, at: number): number =>
  view.getUint16(at + VnetField.GSO_SIZE, true);

/** Where summing begins, counted from the IP header. */
export const checksumStart = (view: DataView, at: number): number =>
  view.getUint16(at + VnetField.CHECKSUM_START, true);

/** The checksum field, counted from `checksumStart`. */
export const checksumOffset = (view: DataView, at: number): number =>
  view.getUint16(at + VnetField.CHECKSUM_OFFSET, true);

/**
 * The door check of a frame [at, end) that begins with a vnet header. The header length in it is
 * a hint that kernels have filled in wrongly; nothing here reads it.
 */
export function checkVnetHeader(view: DataView, at: number, end: number): DropReason {
  if (end - at < VNET_HEADER_BYTES) return DropReason.FRAME_TOO_SHORT;
  if ((vnetFlags(view, at) & VnetFlag.NEEDS_CSUM) !== 0) {
    const checksumEnd = checksumStart(view, at) + checksumOffset(view, at) + 2;
    if (checksumEnd > end - at - VNET_HEADER_BYTES) return DropReason.BAD_VNET_HEADER;
  }
  switch (gsoType(view, at)) {
    case GsoType.NONE:
      return gsoHasEcn(view, at) ? DropReason.BAD_VNET_HEADER : DropReason.NONE;
    case GsoType.TCPV4:
    case GsoType.TCPV6:
    case GsoType.UDP:
    case GsoType.UDP_L4:
      return gsoSize(view, at) > 0 ? DropReason.NONE : DropReason.BAD_VNET_HEADER;
    default:
      return DropReason.BAD_VNET_HEADER;
  }
}

/** Writes a header; `type` is a `GsoType`, with the ECN bit where the segments carry CWR. */
export function emitVnetHeader(
  view: DataView,
  at: number,
  flags: number,
  type: number,
  headerLength: number,
  size: number,
  start: number,
  offset: number,
): void {
  view.setUint8(at + VnetField.FLAGS, flags);
  view.setUint8(at + VnetField.GSO_TYPE, type);
  view.setUint16(at + VnetField.HEADER_LENGTH, headerLength, true);
  view.setUint16(at + VnetField.GSO_SIZE, size, true);
  view.setUint16(at + VnetField.CHECKSUM_START, start, true);
  view.setUint16(at + VnetField.CHECKSUM_OFFSET, offset, true);
}

/** Writes how long the headers of each packet are, which kernels have filled in wrongly. */
export const setHeaderLength = (view: DataView, at: number, length: number): void =>
  view.setUint16(at + VnetField.HEADER_LENGTH, length, true);

/** Writes the header of a plain packet: nothing is left to do. */
export function clearVnetHeader(view: DataView, at: number): void {
  for (let i = 0; i < VNET_HEADER_BYTES; i += 2) view.setUint16(at + i, 0);
}
