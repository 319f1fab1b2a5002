/** Captures of packets, in the classic libpcap format (draft-ietf-opsawg-pcap), for Wireshark. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describePacket } from '../../src/stack/wire/pretty.ts';

const MAGIC = 0xa1b2c3d4;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;
const SNAP_LENGTH = 262_144;
/** Each record is an IPv4 or IPv6 packet, without any header in front. */
const LINKTYPE_RAW = 101;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

/**
 * The bytes of a capture.
 *
 * @param timesUs  of the packets, in microseconds; without it they are numbered by microseconds
 */
export function encodePcap(
  packets: readonly Uint8Array[],
  timesUs?: readonly number[],
): Uint8Array<ArrayBuffer> {
  const size = packets.reduce((sum, p) => sum + RECORD_HEADER_BYTES + p.length, FILE_HEADER_BYTES);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setUint16(4, VERSION_MAJOR);
  view.setUint16(6, VERSION_MINOR);
  view.setUint32(16, SNAP_LENGTH);
  view.setUint32(20, LINKTYPE_RAW);
  let at = FILE_HEADER_BYTES;
  for (const [index, packet] of packets.entries()) {
    const timeUs = Math.floor(timesUs?.[index] ?? index);
    view.setUint32(at, Math.floor(timeUs / 1e6));
    view.setUint32(at + 4, timeUs % 1e6);
    view.setUint32(at + 8, packet.length);
    view.setUint32(at + 12, packet.length);
    bytes.set(packet, at + RECORD_HEADER_BYTES);
    at += RECORD_HEADER_BYTES + packet.length;
  }
  return bytes;
}

/** Writes a capture into a folder of its own and returns its path. */
export function writePcap(
  name: string,
  packets: readonly Uint8Array[],
  timesUs?: readonly number[],
): string {
  const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), `${name}.pcap`);
  writeFileSync(path, encodePcap(packets, timesUs));
  return path;
}

/**
 * Runs assertions about packets. When one fails, the packets go into a capture, and its path and
 * a line for each packet into the error.
 */
export function withPcap(name: string, packets: readonly Uint8Array[], assertions: () => void) {
  try {
    assertions();
  } catch (cause) {
    const path = writePcap(name, packets);
    const lines = packets.map((packet) => {
      const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
      return `  ${describePacket(view, 0, packet.length)}`;
    });
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${message}\npackets in ${path}:\n${lines.join('\n')}`, { cause });
  }
}
