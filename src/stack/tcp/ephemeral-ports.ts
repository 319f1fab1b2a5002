import type { FlowTable } from '../flow-table.ts';
import { NO_FLOW } from '../flow-table.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { Protocol } from '../wire/protocol.ts';
import { hashTuple } from './syn-packet.ts';

/** RFC 6056 §3.2: the whole range but for the system ports. */
const FIRST_PORT = 1024;
const PORT_COUNT = 65_536 - FIRST_PORT;

/** Sets the hash of a port apart from all else that is made with the same key. */
const PORT_MARK = 0x706f7274;

/**
 * Ports of connections that the stack opens, chosen by RFC 6056 §3.3.3 (algorithm 3): one counter,
 * and for each pair of ends an offset that only we can compute. So a port comes again only when all
 * others have had their turn, and nobody off the path can guess the next one.
 */
export class EphemeralPorts {
  readonly #flows: FlowTable;
  readonly #view: DataView;
  readonly #hash: HalfSipHash;
  #next = 0;

  constructor(flows: FlowTable, view: DataView, hash: HalfSipHash) {
    this.#flows = flows;
    this.#view = view;
    this.#hash = hash;
  }

  /**
   * A port at `sourceAt` from which no flow leads to the destination, one in TIME-WAIT included.
   *
   * @returns 0 when there is none
   */
  choose(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    destinationPort: number,
  ): number {
    const hash = this.#hash;
    hash.start();
    hashTuple(hash, this.#view, sourceAt, destinationAt, addressLength, destinationPort);
    hash.word(PORT_MARK);
    const offset = hash.finish();
    // No more ports can be in use than there are flows.
    let tries = Math.min(PORT_COUNT, this.#flows.used + 1);
    for (; tries > 0; tries--) {
      const port = FIRST_PORT + ((offset + this.#next) % PORT_COUNT);
      this.#next = (this.#next + 1) % PORT_COUNT;
      if (isFree(this.#flows, sourceAt, port, destinationAt, destinationPort, addressLength)) {
        return port;
      }
    }
    return 0;
  }
}

/** Whether no flow is between these ends; the far one stands as the source in its row. */
export function isFree(
  flows: FlowTable,
  sourceAt: number,
  sourcePort: number,
  destinationAt: number,
  destinationPort: number,
  addressLength: number,
): boolean {
  const row = flows.findTuple(
    destinationAt,
    sourceAt,
    addressLength,
    destinationPort,
    sourcePort,
    Protocol.TCP,
  );
  return row === NO_FLOW;
}
