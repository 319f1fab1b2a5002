/**
 * Networks as sorted ranges that do not overlap, in typed arrays: a look is a binary search, and
 * 100,000 networks are less than a MiB of IPv4, three of IPv6.
 */
import { readAddress } from './address.ts';

const WORDS = 4;
/** More than the bits of a prefix: start and length of a network of IPv4 in one number. */
const LENGTHS = 64;

/** Of `has` and `add`, which are over before anybody else runs. */
const address = new Uint32Array(WORDS);

export class CidrSet {
  /** Inclusive, in order. */
  readonly #starts4: Uint32Array;
  readonly #ends4: Uint32Array;
  /** The same, four words each. */
  readonly #starts6: Uint32Array;
  readonly #ends6: Uint32Array;

  /** @param entries  that `cidrFault` finds nothing wrong with */
  constructor(entries: readonly string[]) {
    const networks4: number[] = [];
    const networks6: number[] = [];
    for (const entry of entries) addNetwork(entry, networks4, networks6);
    [this.#starts4, this.#ends4] = merge4(Float64Array.from(networks4).sort());
    [this.#starts6, this.#ends6] = merge6(networks6);
  }

  /** Ranges that are left of the networks. */
  get size(): number {
    return this.#starts4.length + this.#starts6.length / WORDS;
  }

  /** Whether the text is an address in one of the networks. Allocates nothing. */
  has(text: string): boolean {
    switch (readAddress(text, 0, text.length, address)) {
      case 4:
        return this.#has4(address[3] ?? 0);
      case 6:
        return this.#has6();
      default:
        return false;
    }
  }

  #has4(value: number): boolean {
    let low = 0;
    let high = this.#starts4.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts4[middle] ?? 0) <= value) low = middle + 1;
      else high = middle;
    }
    return low > 0 && value <= (this.#ends4[low - 1] ?? 0);
  }

  #has6(): boolean {
    let low = 0;
    let high = this.#starts6.length / WORDS;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare6(this.#starts6, middle * WORDS, address, 0) <= 0) low = middle + 1;
      else high = middle;
    }
    return low > 0 && compare6(address, 0, this.#ends6, (low - 1) * WORDS) <= 0;
  }
}

/** What is wrong with an entry, in words; undefined when it is a network or an address. */
export function cidrFault(entry: string): string | undefined {
  return readNetwork(entry) < 0
    ? `"${entry}" is neither an address nor a network such as 10.0.0.0/8`
    : undefined;
}

/** Length of the prefix, whose bits are in `address`; -1 for what is no network. */
function readNetwork(entry: string): number {
  const slash = entry.indexOf('/');
  const family = readAddress(entry, 0, slash < 0 ? entry.length : slash, address);
  if (family === 0) return -1;
  if (slash < 0) return family === 4 ? 32 : 128;
  const digits = entry.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits)) return -1;
  // A mapped network is written in bits of IPv6.
  const length = Number(digits) - (family === 4 && entry.includes(':') ? 96 : 0);
  return length >= 0 && length <= (family === 4 ? 32 : 128) ? length : -1;
}

const isIpv4 = (entry: string): boolean =>
  readAddress(entry, 0, entry.indexOf('/') < 0 ? entry.length : entry.indexOf('/'), address) === 4;

function addNetwork(entry: string, networks4: number[], networks6: number[]): void {
  const length = readNetwork(entry);
  if (length < 0) return;
  if (isIpv4(entry)) {
    networks4.push((((address[3] ?? 0) & maskOf(length)) >>> 0) * LENGTHS + length);
    return;
  }
  for (let word = 0; word < WORDS; word++) {
    networks6.push(((address[word] ?? 0) & maskOf(length - word * 32)) >>> 0);
  }
  networks6.push(length);
}

/** The highest `length` bits of 32. */
const maskOf = (length: number): number =>
  length <= 0 ? 0 : length >= 32 ? 0xffff_ffff : ~(0xffff_ffff >>> length);

/** @param networks  start and length, sorted */
function merge4(networks: Float64Array): [starts: Uint32Array, ends: Uint32Array] {
  const starts = new Uint32Array(networks.length);
  const ends = new Uint32Array(networks.length);
  let count = 0;
  for (const network of networks) {
    const start = Math.floor(network / LENGTHS);
    const end = start + 2 ** (32 - (network % LENGTHS)) - 1;
    const last = count === 0 ? -2 : (ends[count - 1] ?? 0);
    if (start <= last + 1) {
      ends[count - 1] = Math.max(last, end);
    } else {
      starts[count] = start;
      ends[count++] = end;
    }
  }
  return [starts.slice(0, count), ends.slice(0, count)];
}

/** @param networks  five numbers each: the words of the start, and the length */
function merge6(networks: readonly number[]): [starts: Uint32Array, ends: Uint32Array] {
  const count = networks.length / (WORDS + 1);
  const words = Uint32Array.from(networks);
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) =>
    compare6(words, a * (WORDS + 1), words, b * (WORDS + 1)),
  );
  const starts = new Uint32Array(count * WORDS);
  const ends = new Uint32Array(count * WORDS);
  const end = new Uint32Array(WORDS);
  let at = 0;
  for (const network of order) {
    const from = network * (WORDS + 1);
    const length = words[from + WORDS] ?? 0;
    for (let word = 0; word < WORDS; word++) {
      end[word] = (words[from + word] ?? 0) | ~maskOf(length - word * 32);
    }
    // Networks overlap by lying one in the other, so what begins inside ends inside.
    const isInside = at > 0 && compare6(words, from, ends, at - WORDS) <= 0;
    if (isInside && compare6(end, 0, ends, at - WORDS) <= 0) continue;
    const place = isInside ? at - WORDS : at;
    if (!isInside) for (let w = 0; w < WORDS; w++) starts[place + w] = words[from + w] ?? 0;
    ends.set(end, place);
    at = place + WORDS;
  }
  return [starts.slice(0, at), ends.slice(0, at)];
}

function compare6(a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): number {
  for (let word = 0; word < WORDS; word++) {
    const difference = (a[aAt + word] ?? 0) - (b[bAt + word] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
