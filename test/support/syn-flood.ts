/** SYNs of sources that do not exist, as hping3 `--rand-source` makes them. */

import { referenceChecksum, tcpPacket, viewOf } from './packet-builder.ts';
import { encodeOptions } from './segment-text.ts';

const VNET_HEADER_BYTES = 10;
/** The kernel says so of what it has checked itself, and saves the test a sum. */
const DATA_VALID = 2;
const IP_CHECKSUM = 10;
const IP_SOURCE = 12;
const IP_HEADER_BYTES = 20;

export class SynFlood {
  /** The frame of the SYN, rewritten for each. */
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly #header: Uint8Array;
  readonly #view: DataView;
  #count = 0;

  constructor(destination: string, destinationPort: number) {
    const packet = tcpPacket({
      source: '11.0.0.1',
      destination,
      destinationPort,
      flags: 0x02,
      options: encodeOptions(['mss 1460', 'sackOK', 'TS val 1 ecr 0', 'nop', 'wscale 7']),
    });
    this.frame = new Uint8Array(VNET_HEADER_BYTES + packet.length);
    this.frame[0] = DATA_VALID;
    this.frame.set(packet, VNET_HEADER_BYTES);
    this.#header = this.frame.subarray(VNET_HEADER_BYTES, VNET_HEADER_BYTES + IP_HEADER_BYTES);
    this.#view = viewOf(this.frame.subarray(VNET_HEADER_BYTES));
  }

  /** Makes `frame` the SYN of another source and port: addresses from 11.0.0.0 up. */
  next(): Uint8Array<ArrayBuffer> {
    const view = this.#view;
    const mixed = Math.imul(this.#count, 0x9e37_79b1) >>> 0;
    view.setUint32(IP_SOURCE, 0x0b00_0000 + this.#count);
    view.setUint16(IP_CHECKSUM, 0);
    view.setUint16(IP_CHECKSUM, referenceChecksum(this.#header));
    view.setUint16(IP_HEADER_BYTES, 1024 + (mixed >>> 17));
    view.setUint32(IP_HEADER_BYTES + 4, mixed);
    this.#count += 1;
    return this.frame;
  }
}
