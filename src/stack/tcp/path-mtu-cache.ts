/**
 * What was learnt of the paths to destinations, so that the next flow begins with it: RFC 1191 §4
 * ("the PMTU estimate"), RFC 8201 §5.2. Only less than the device's own MTU is ever kept, for ten
 * minutes since it was last seen to be true; then a flow begins with full packets again, and finds
 * out again.
 *
 * A fixed table in which an address has one place, told by a keyed hash: two that share it take
 * turns, and nobody can choose addresses that do. An entry is made by an error about a segment in
 * flight, or by a probe that was lost; so a forger has to guess as for those, and a client can harm
 * its own address only.
 */
import type { Arena } from '../arena.ts';
import { FlowField } from '../flow-row.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { after, type Instant, seconds } from '../time.ts';

const ENTRIES = 256;
/** RFC 1191 §6.3, RFC 8201 §4: not sooner than ten minutes after a Packet Too Big message. */
const LIFE_US = seconds(600);

/** Offsets in bytes; host byte order, but the address, which is as it stands in the flow's row. */
const EntryField = {
  /** float64 */
  EXPIRES_AT: 0,
  ADDRESS: 8,
  /** uint32 each */
  MTU: 24,
  FAMILY: 28,
} as const;
const ENTRY_BYTES = 32;
const ADDRESS_BYTES = 16;

export class PathMtuCache {
  readonly #view: DataView;
  readonly #at: number;
  readonly #hash: HalfSipHash;
  /** Nothing was ever learnt: most gateways never do. */
  #isEmpty = true;

  static readonly BYTES = ENTRIES * ENTRY_BYTES + 64;

  constructor(arena: Arena, hash: HalfSipHash) {
    this.#view = arena.view;
    this.#at = arena.take(ENTRIES * ENTRY_BYTES);
    this.#hash = hash;
    // Of an earlier owner of the memory, whose hash had another key.
    arena.bytes.fill(0, this.#at, this.#at + ENTRIES * ENTRY_BYTES);
  }

  /** Bytes of the longest packet that reaches the client of a flow; 0 when nothing is known. */
  find(flowAt: number, now: Instant): number {
    if (this.#isEmpty) return 0;
    const at = this.#placeOf(flowAt);
    return this.#isOf(at, flowAt, now) ? this.#view.getUint32(at + EntryField.MTU, true) : 0;
  }

  /** The path takes no more than `mtu` bytes. What was known and is less stays, with its time. */
  lower(flowAt: number, mtu: number, now: Instant): void {
    const view = this.#view;
    const at = this.#placeOf(flowAt);
    if (this.#isOf(at, flowAt, now) && view.getUint32(at + EntryField.MTU, true) < mtu) return;
    for (let i = 0; i < ADDRESS_BYTES; i += 4) {
      view.setInt32(at + EntryField.ADDRESS + i, view.getInt32(flowAt + FlowField.SOURCE + i));
    }
    view.setUint32(at + EntryField.FAMILY, view.getUint8(flowAt + FlowField.FAMILY), true);
    view.setUint32(at + EntryField.MTU, mtu, true);
    view.setFloat64(at + EntryField.EXPIRES_AT, after(now, LIFE_US), true);
    this.#isEmpty = false;
  }

  /** A packet of `mtu` bytes has arrived: what was known is wrong, if it is less. */
  forgetBelow(flowAt: number, mtu: number, now: Instant): void {
    const view = this.#view;
    const at = this.#placeOf(flowAt);
    if (!this.#isOf(at, flowAt, now) || view.getUint32(at + EntryField.MTU, true) >= mtu) return;
    view.setFloat64(at + EntryField.EXPIRES_AT, 0, true);
  }

  #isOf(at: number, flowAt: number, now: Instant): boolean {
    const view = this.#view;
    if (view.getFloat64(at + EntryField.EXPIRES_AT, true) <= now) return false;
    const family = view.getUint8(flowAt + FlowField.FAMILY);
    if (view.getUint32(at + EntryField.FAMILY, true) !== family) return false;
    for (let i = 0; i < ADDRESS_BYTES; i += 4) {
      const part = view.getInt32(at + EntryField.ADDRESS + i);
      if (part !== view.getInt32(flowAt + FlowField.SOURCE + i)) return false;
    }
    return true;
  }

  #placeOf(flowAt: number): number {
    this.#hash.start();
    for (let i = 0; i < ADDRESS_BYTES; i += 4) {
      this.#hash.word(this.#view.getInt32(flowAt + FlowField.SOURCE + i));
    }
    return this.#at + (this.#hash.finish() % ENTRIES) * ENTRY_BYTES;
  }
}
