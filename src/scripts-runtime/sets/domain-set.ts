/**
 * Names of hosts. All stand in one array of bytes, found by a hash over their letters from the last
 * to the first: one walk over a name meets every domain that it lies in.
 */
import { domainToASCII } from 'node:url';
import { cutText } from '../cut-text.ts';

const DOT = 0x2e;
/** RFC 1035 §2.3.4, without the length of the root. */
const NAME_LENGTH = 253;
/** UTF-16 units of a name before it is encoded, which of a megabyte takes minutes. */
const WRITTEN_LENGTH = 1024;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** UTF-16 units of an entry in a message about it. */
const SHOWN_LENGTH = 300;

/** What an entry holds, as bits. */
const Scope = { ITSELF: 1, BELOW: 2 } as const;

/** FNV-1a, 32 bits. */
const HASH_START = 0x811c9dc5;
const HASH_PRIME = 0x01000193;

interface Entry {
  /** In lower case and ASCII. */
  readonly name: string;
  readonly scope: number;
}

export class DomainSet {
  readonly #bytes: Uint8Array;
  /** By entry: where its name begins. One more, where the last one ends. */
  readonly #starts: Uint32Array;
  readonly #scopes: Uint8Array;
  /** By hash: entry + 1, or 0. Twice as many as entries, or more; a power of two. */
  readonly #buckets: Uint32Array;
  #count = 0;

  /** @param entries  that `domainFault` finds nothing wrong with */
  constructor(entries: readonly string[]) {
    const parsed = entries.flatMap((entry) => parseDomain(entry) ?? []);
    this.#bytes = new Uint8Array(parsed.reduce((sum, { name }) => sum + name.length, 0));
    this.#starts = new Uint32Array(parsed.length + 1);
    this.#scopes = new Uint8Array(parsed.length);
    this.#buckets = new Uint32Array(2 ** Math.ceil(Math.log2(parsed.length * 2 + 2)));
    for (const entry of parsed) this.#add(entry);
  }

  /** Different names. */
  get size(): number {
    return this.#count;
  }

  /** Whether a name is in the set, or below one that says so. Of ASCII it allocates nothing. */
  has(text: string): boolean {
    let name = text;
    for (let i = 0; i < text.length; i++) {
      if (text.charCodeAt(i) > 0x7f) {
        name = toAscii(text);
        break;
      }
    }
    const end = name.charCodeAt(name.length - 1) === DOT ? name.length - 1 : name.length;
    if (end === 0 || end > NAME_LENGTH) return false;
    let hash = HASH_START;
    for (let i = end - 1; i >= 0; i--) {
      hash = Math.imul(hash ^ lower(name.charCodeAt(i)), HASH_PRIME);
      if (i > 0 && name.charCodeAt(i - 1) !== DOT) continue;
      const scope = this.#scopeOf(name, i, end, hash >>> 0);
      if ((scope & (i === 0 ? Scope.ITSELF : Scope.BELOW)) !== 0) return true;
    }
    return false;
  }

  #add({ name, scope }: Entry): void {
    let hash = HASH_START;
    for (let i = name.length - 1; i >= 0; i--) {
      hash = Math.imul(hash ^ name.charCodeAt(i), HASH_PRIME);
    }
    const bucket = this.#find(name, 0, name.length, hash >>> 0);
    const known = this.#buckets[bucket] ?? 0;
    if (known !== 0) {
      this.#scopes[known - 1] = (this.#scopes[known - 1] ?? 0) | scope;
      return;
    }
    const start = this.#starts[this.#count] ?? 0;
    for (let i = 0; i < name.length; i++) this.#bytes[start + i] = name.charCodeAt(i);
    this.#scopes[this.#count] = scope;
    this.#count++;
    this.#starts[this.#count] = start + name.length;
    this.#buckets[bucket] = this.#count;
  }

  #scopeOf(name: string, at: number, end: number, hash: number): number {
    const entry = this.#buckets[this.#find(name, at, end, hash)] ?? 0;
    return entry === 0 ? 0 : (this.#scopes[entry - 1] ?? 0);
  }

  /** The bucket that has this part of `name`, or the free one where it would be. */
  #find(name: string, at: number, end: number, hash: number): number {
    const mask = this.#buckets.length - 1;
    let bucket = hash & mask;
    for (; ; bucket = (bucket + 1) & mask) {
      const entry = this.#buckets[bucket] ?? 0;
      if (entry === 0 || this.#isAt(entry - 1, name, at, end)) return bucket;
    }
  }

  #isAt(entry: number, name: string, at: number, end: number): boolean {
    const start = this.#starts[entry] ?? 0;
    if ((this.#starts[entry + 1] ?? 0) - start !== end - at) return false;
    for (let i = at; i < end; i++) {
      if (this.#bytes[start + i - at] !== lower(name.charCodeAt(i))) return false;
    }
    return true;
  }
}

/** What is wrong with an entry, in words; undefined when it is a name. */
export function domainFault(entry: string): string | undefined {
  if (parseDomain(entry) !== undefined) return undefined;
  const shown = cutText(entry, SHOWN_LENGTH);
  return `"${shown}" is no name such as example.com, .example.com or *.example.com`;
}

function parseDomain(entry: string): Entry | undefined {
  const [prefix = ''] = /^(?:\*\.|\.)/.exec(entry) ?? [];
  const rest = entry.slice(prefix.length).replace(/\.$/, '');
  if (rest.length > WRITTEN_LENGTH) return undefined;
  const name = /^[\w.-]*$/.test(rest) ? rest.toLowerCase() : toAscii(rest);
  if (name === '' || name.length > NAME_LENGTH) return undefined;
  const labels = name.split('.');
  // A name that ends in a number is an address, or means to be one.
  if (!labels.every((label) => LABEL.test(label)) || /^\d+$/.test(labels.at(-1) ?? '')) {
    return undefined;
  }
  if (prefix === '') return { name, scope: Scope.ITSELF };
  return { name, scope: prefix === '.' ? Scope.ITSELF | Scope.BELOW : Scope.BELOW };
}

/** By UTS #46; empty when it is no name. What Bun offers reads a URL, and would stop at a `/`. */
const toAscii = (name: string): string =>
  /^[\w.\-\u0080-\uffff]*$/.test(name) ? domainToASCII(name) : '';

const lower = (code: number): number => (code >= 0x41 && code <= 0x5a ? code | 0x20 : code);
