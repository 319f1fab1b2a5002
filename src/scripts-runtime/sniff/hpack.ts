/**
 * The first header block of an HTTP/2 connection, RFC 7541: four of its fields, and the others only
 * so far as to find their ends. The dynamic table is kept as long as it grows: nothing is evicted,
 * because that makes an index invalid at most, and never means another entry.
 */
import { ByteReader } from './byte-reader.ts';
import { decodeHuffman } from './huffman.ts';
import { latin1 } from './text.ts';

/** The fields that are wanted; all others are OTHER, or PSEUDO when their name begins with `:`. */
type Name = 'method' | 'path' | 'authority' | 'host' | 'pseudo' | 'other';
type Wanted = Exclude<Name, 'pseudo' | 'other'>;

export type RequestHeaders = { [name in Wanted]?: string };

interface Field {
  readonly name: Name;
  readonly value: string;
}

/** RFC 7541 Appendix A: where the entries end, and the ones that matter. */
const STATIC_ENTRIES = 61;
const STATIC_PSEUDO_LAST = 14;
const STATIC_FIELDS: ReadonlyMap<number, Field> = new Map([
  [1, { name: 'authority', value: '' }],
  [2, { name: 'method', value: 'GET' }],
  [3, { name: 'method', value: 'POST' }],
  [4, { name: 'path', value: '/' }],
  [5, { name: 'path', value: '/index.html' }],
  [38, { name: 'host', value: '' }],
]);
const STATIC_PSEUDO: Field = { name: 'pseudo', value: '' };
const STATIC_OTHER: Field = { name: 'other', value: '' };

const NAMES: ReadonlyMap<string, Name> = new Map([
  [':method', 'method'],
  [':path', 'path'],
  [':authority', 'authority'],
  ['host', 'host'],
]);

/** What a field may look like to be handed out. */
const VALUE_PATTERNS: Readonly<Record<Wanted, RegExp>> = {
  method: /^[A-Z-]{1,24}$/,
  path: /^(?:\/[!-~]*|\*)$/,
  authority: /^[!-~]*$/,
  host: /^[!-~]*$/,
};

/** Representations, by their first bits, and the bits that are left for a number: §6. */
const INDEXED = { mask: 0x80, prefix: 7 };
const LITERAL_INDEXED = { mask: 0x40, prefix: 6 };
const SIZE_UPDATE = { mask: 0x20, prefix: 5 };
const LITERAL_PREFIX = 4;
const STRING_HUFFMAN = 0x80;
const STRING_PREFIX = 7;
/** Bytes after the first of a number; four are 2^28, far beyond what is peeked at. */
const NUMBER_BYTES_MAX = 4;

/** @returns undefined when the block is malformed, or no request could begin with it */
export function decodeHeaders(block: Uint8Array): RequestHeaders | undefined {
  const reader = new ByteReader(block, 0, block.length);
  const dynamic: Field[] = [];
  const headers: RequestHeaders = {};
  let isPseudoOver = false;
  while (reader.left > 0) {
    const first = block[reader.at] ?? 0;
    if ((first & (INDEXED.mask | LITERAL_INDEXED.mask | SIZE_UPDATE.mask)) === SIZE_UPDATE.mask) {
      readNumber(reader, SIZE_UPDATE.prefix);
      continue;
    }
    const field = readField(reader, block, dynamic, first);
    if (field === undefined || reader.isShort) return undefined;
    const { name, value } = field;
    const isPseudo = name !== 'other' && name !== 'host';
    // RFC 9113 §8.3: pseudo-header fields stand in front.
    if (isPseudo && isPseudoOver) return undefined;
    isPseudoOver ||= !isPseudo;
    if (name === 'other' || name === 'pseudo') continue;
    if (headers[name] !== undefined || !VALUE_PATTERNS[name].test(value)) return undefined;
    headers[name] = value;
  }
  return reader.isShort ? undefined : headers;
}

function readField(
  reader: ByteReader,
  block: Uint8Array,
  dynamic: Field[],
  first: number,
): Field | undefined {
  if ((first & INDEXED.mask) !== 0) return entryAt(readNumber(reader, INDEXED.prefix), dynamic);
  const isKept = (first & LITERAL_INDEXED.mask) !== 0;
  const index = readNumber(reader, isKept ? LITERAL_INDEXED.prefix : LITERAL_PREFIX);
  const name = index === 0 ? readName(reader, block) : entryAt(index, dynamic)?.name;
  const value = readString(reader, block);
  if (name === undefined || value === undefined) return undefined;
  const field = { name, value };
  if (isKept) dynamic.unshift(field);
  return field;
}

function entryAt(index: number, dynamic: readonly Field[]): Field | undefined {
  if (index === 0) return undefined;
  if (index > STATIC_ENTRIES) return dynamic[index - STATIC_ENTRIES - 1];
  return STATIC_FIELDS.get(index) ?? (index <= STATIC_PSEUDO_LAST ? STATIC_PSEUDO : STATIC_OTHER);
}

function readName(reader: ByteReader, block: Uint8Array): Name | undefined {
  const text = readString(reader, block);
  if (text === undefined) return undefined;
  return NAMES.get(text) ?? (text.startsWith(':') ? 'pseudo' : 'other');
}

/** §5.2. */
function readString(reader: ByteReader, block: Uint8Array): string | undefined {
  const isHuffman = ((block[reader.at] ?? 0) & STRING_HUFFMAN) !== 0;
  const length = readNumber(reader, STRING_PREFIX);
  const at = reader.skip(length);
  if (reader.isShort) return undefined;
  return isHuffman ? decodeHuffman(block, at, at + length) : latin1(block, at, at + length);
}

/** §5.1. Too long a number makes the reader short. */
function readNumber(reader: ByteReader, prefix: number): number {
  const limit = 2 ** prefix - 1;
  let value = reader.u8() & limit;
  if (value < limit) return value;
  for (let i = 0; i < NUMBER_BYTES_MAX; i++) {
    const byte = reader.u8();
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  reader.skip(Number.POSITIVE_INFINITY);
  return 0;
}
