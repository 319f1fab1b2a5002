/**
 * TCP segments as text, in the manner of packetdrill:
 *
 *   S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>
 *   P. 1:1001(1000) ack 1 win 512
 *   . 1:1(0) ack 1 win 512 <nop,nop,sack 1001:2001 3001:4001>
 *
 * Flags are letters of `SFRPUEW` and `.` for ACK. Then first and last sequence number and the
 * payload's length; all numbers count from the initial sequence numbers. `*` stands for any value.
 */

const FLAG_BITS: Readonly<Record<string, number>> = {
  F: 0x01,
  S: 0x02,
  R: 0x04,
  P: 0x08,
  '.': 0x10,
  U: 0x20,
  E: 0x40,
  W: 0x80,
};

/** Flags, numbers, and what may follow them. */
const LINE = new RegExp(
  [
    /^(?<flags>[SFRPUEW.]+) (?<start>-?\d+):(?<end>-?\d+)\((?<length>\d+)\)/,
    /(?: ack (?<ack>-?\d+))?(?: win (?<win>\d+))?(?: <(?<options>[^>]*)>)?$/,
  ]
    .map(({ source }) => source)
    .join(''),
);

export interface SegmentText {
  readonly flags: number;
  /** Relative to the initial sequence number of the sender. */
  readonly start: number;
  readonly length: number;
  readonly ack: number | undefined;
  readonly window: number | undefined;
  /** Words of the options, as they stand in the line; undefined when the line says nothing. */
  readonly options: readonly string[] | undefined;
}

/** @throws Error when the line is not of the form above */
export function parseSegment(line: string): SegmentText {
  const groups = LINE.exec(line)?.groups;
  if (groups === undefined) throw new Error(`not a segment: ${line}`);
  const number = (name: string) =>
    groups[name] === undefined ? undefined : Number.parseInt(groups[name], 10);
  const start = number('start') ?? 0;
  const length = number('length') ?? 0;
  if (start + length !== number('end')) throw new Error(`numbers do not add up: ${line}`);
  return {
    flags: [...(groups['flags'] ?? '')].reduce((bits, letter) => bits | FLAG_BITS[letter]!, 0),
    start,
    length,
    ack: number('ack'),
    window: number('win'),
    options: groups['options']?.split(',').filter((word) => word !== ''),
  };
}

export const flagLetters = (flags: number): string =>
  Object.entries(FLAG_BITS)
    .filter(([, bit]) => (flags & bit) !== 0)
    .map(([letter]) => letter)
    .join('');

export function formatSegment(segment: SegmentText): string {
  const { flags, start, length, ack, window, options } = segment;
  const parts = [`${flagLetters(flags)} ${start}:${start + length}(${length})`];
  if (ack !== undefined) parts.push(`ack ${ack}`);
  if (window !== undefined) parts.push(`win ${window}`);
  if (options !== undefined) parts.push(`<${options.join(',')}>`);
  return parts.join(' ');
}

/**
 * Bytes of options, filled up with the end-of-list option.
 *
 * @param iss  where the numbers of SACK blocks count from
 */
export function encodeOptions(words: readonly string[], iss = 0): Uint8Array<ArrayBuffer> {
  const bytes = words.flatMap((word) => encodeOption(word, iss));
  while (bytes.length % 4 !== 0) bytes.push(0);
  return Uint8Array.from(bytes);
}

function encodeOption(word: string, iss: number): number[] {
  const [name = '', ...rest] = word.split(' ');
  const values = rest.map((text) => Number.parseInt(text, 10));
  switch (name) {
    case 'nop':
      return [1];
    case 'mss':
      return [2, 4, values[0]! >>> 8, values[0]! & 0xff];
    case 'wscale':
      return [3, 3, values[0]!];
    case 'sackOK':
      return [4, 2];
    case 'TS':
      return [8, 10, ...word32(values[1]!), ...word32(values[3]!)];
    case 'sack': {
      const edges = rest.flatMap((block) => block.split(':')).map((text) => Number(text) + iss);
      return [5, 2 + edges.length * 4, ...edges.flatMap((edge) => word32(edge >>> 0))];
    }
    default:
      throw new Error(`unknown option: ${word}`);
  }
}

const word32 = (value: number) =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) & 0xff);

/** Words of the options in [at, end), without NOPs. @throws Error when they are malformed */
export function decodeOptions(view: DataView, at: number, end: number): string[] {
  const words: string[] = [];
  let position = at;
  while (position < end) {
    const kind = view.getUint8(position);
    if (kind === 0) break;
    if (kind === 1) {
      position += 1;
      continue;
    }
    const length = view.getUint8(position + 1);
    if (length < 2 || position + length > end) throw new Error(`bad length of option ${kind}`);
    words.push(decodeOption(view, position, kind));
    position += length;
  }
  return words;
}

function decodeOption(view: DataView, at: number, kind: number): string {
  switch (kind) {
    case 2:
      return `mss ${view.getUint16(at + 2)}`;
    case 3:
      return `wscale ${view.getUint8(at + 2)}`;
    case 4:
      return 'sackOK';
    case 8:
      return `TS val ${view.getUint32(at + 2)} ecr ${view.getUint32(at + 6)}`;
    case 5:
      return `sack ${decodeBlocks(view, at)}`;
    default:
      return `kind ${kind}`;
  }
}

/** Absolute numbers. */
function decodeBlocks(view: DataView, at: number): string {
  const blocks: string[] = [];
  for (let i = 2; i < view.getUint8(at + 1); i += 8) {
    blocks.push(`${view.getUint32(at + i)}:${view.getUint32(at + i + 4)}`);
  }
  return blocks.join(' ');
}

/** The option word with the numbers of its SACK blocks counted from `iss`. */
export function relativeOption(word: string, iss: number): string {
  if (!word.startsWith('sack ')) return word;
  return word.replace(/\d+/g, (edge) => String((Number(edge) - iss) | 0));
}

/** Whether the words agree, whatever their order; `*` agrees with anything. */
export function sameOptions(expected: readonly string[], actual: readonly string[]): boolean {
  const left = actual.filter((word) => word !== 'nop');
  const wanted = expected.filter((word) => word !== 'nop');
  if (left.length !== wanted.length) return false;
  return wanted.every((word) => {
    const pattern = new RegExp(`^${word.replaceAll('*', '\\d+')}$`);
    return left.some((other) => pattern.test(other));
  });
}
