/**
 * Refuses dials that would come back into the gateway's own device: each would be a new flow that
 * dials again. The kernel is asked which interface it would use; answers are kept for a moment,
 * for few upstreams take many flows.
 */
import { SystemError } from '../../ffi/errors.ts';
import { Netlink } from '../../ffi/netlink.ts';
import type { Instant } from '../../stack/time.ts';

const CACHE_SLOTS = 1024;
const KEY_WORDS = 5;
/** Routes change seldom; a loop that lasts this long is ended by the next question. */
const CACHE_LIFE_US = 1_000_000;

export class LoopGuard {
  readonly #netlink = new Netlink();
  #deviceName: string;
  /** Indexes of interfaces, and when they were asked for. */
  readonly #indexes = new Map<string, { index: number; askedAt: number }>();
  /** Four words of the address and the mark. */
  readonly #keys = new Int32Array(CACHE_SLOTS * KEY_WORDS);
  readonly #askedAt = new Float64Array(CACHE_SLOTS).fill(Number.NEGATIVE_INFINITY);
  readonly #answers = new Int32Array(CACHE_SLOTS);

  constructor(deviceName: string) {
    this.#deviceName = deviceName;
  }

  /** The device has another name, or is another one. */
  setDevice(name: string): void {
    this.#deviceName = name;
    this.#indexes.clear();
    this.#askedAt.fill(Number.NEGATIVE_INFINITY);
  }

  /**
   * True when the kernel would send to this address through the gateway's device. The device may
   * live in another network namespace; then nothing of ours can come back into it.
   */
  isLoop(
    view: DataView,
    addressAt: number,
    family: 4 | 6,
    mark: number,
    egressIndex: number,
    now: Instant,
  ): boolean {
    const slot = slotOf(view, addressAt, family, mark);
    const isKnown = this.#takeSlot(slot, view, addressAt, family, mark);
    if (!isKnown || now - this.#askedAt[slot]! >= CACHE_LIFE_US) {
      this.#askedAt[slot] = now;
      const index = this.#netlink.routeInterface(view, addressAt, family, mark, egressIndex);
      this.#answers[slot] = index;
    }
    const answer = this.#answers[slot]!;
    return answer > 0 && answer === this.interfaceIndex(this.#deviceName, now);
  }

  /** The same of a socket that is bound to the interface `egress`; empty for none. */
  isLoopFrom(
    view: DataView,
    addressAt: number,
    family: 4 | 6,
    mark: number,
    egress: string,
    now: Instant,
  ): boolean {
    const index = egress === '' ? 0 : this.interfaceIndex(egress, now);
    return this.isLoop(view, addressAt, family, mark, index, now);
  }

  /** Index of the interface in our namespace, or a negative errno. */
  interfaceIndex(name: string, now: Instant): number {
    const known = this.#indexes.get(name);
    if (known !== undefined && now - known.askedAt < CACHE_LIFE_US) return known.index;
    const index = this.#askIndex(name);
    this.#indexes.set(name, { index, askedAt: now });
    return index;
  }

  /** Writes the key to its slot. @returns true when it stood there already */
  #takeSlot(slot: number, view: DataView, addressAt: number, family: 4 | 6, mark: number): boolean {
    const keys = this.#keys;
    const at = slot * KEY_WORDS;
    let isSame = keys[at] === (mark | 0);
    keys[at] = mark;
    for (let word = 0; word < KEY_WORDS - 1; word++) {
      const isPart = family === 6 || word === 0;
      const value = isPart ? view.getInt32(addressAt + word * 4) : 0;
      if (keys[at + 1 + word] !== value) isSame = false;
      keys[at + 1 + word] = value;
    }
    return isSame;
  }

  #askIndex(name: string): number {
    try {
      return this.#netlink.linkIndex(name);
    } catch (error) {
      if (error instanceof SystemError) return -error.errno;
      throw error;
    }
  }
}

function slotOf(view: DataView, addressAt: number, family: 4 | 6, mark: number): number {
  let mix = mark | 0;
  for (let i = 0; i < (family === 4 ? 4 : 16); i += 4) {
    mix = Math.imul(mix ^ view.getInt32(addressAt + i), 0x9e3779b1);
    mix ^= mix >>> 15;
  }
  return (mix >>> 0) % CACHE_SLOTS;
}
