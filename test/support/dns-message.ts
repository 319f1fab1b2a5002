/** Answers of DNS servers, byte by byte: also such as no server would send. RFC 1035 §4. */

export const RecordType = { A: 1, NS: 2, CNAME: 5, AAAA: 28, HTTPS: 65 } as const;

export interface RecordFields {
  /** A name with dots, or bytes of one. */
  readonly owner: string | readonly number[];
  readonly type: number;
  readonly data: readonly number[];
  readonly ttl?: number;
  readonly dnsClass?: number;
}

export interface AnswerFields {
  readonly name: string | readonly number[];
  readonly type?: number;
  readonly flags?: number;
  /** As the header says; else as many as there are. */
  readonly count?: number;
  readonly records?: readonly RecordFields[];
  /** Behind the records. */
  readonly tail?: readonly number[];
}

const CLASS_IN = 1;
/** QR, RD, RA. */
const FLAGS = 0x8180;
/** To the name of the question. */
export const POINTER = [0xc0, 12];
/** An OPT record, RFC 6891 §6.1.2. */
export const EDNS = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

const u16 = (value: number): number[] => [(value >>> 8) & 0xff, value & 0xff];

/** On the wire, without pointers. */
export const nameBytes = (name: string): number[] => [
  ...name
    .split('.')
    .filter((label) => label !== '')
    .flatMap((label) => [label.length, ...Buffer.from(label, 'latin1')]),
  0,
];

const bytesOf = (name: string | readonly number[]): readonly number[] =>
  typeof name === 'string' ? nameBytes(name) : name;

export function dnsAnswer(fields: AnswerFields): Uint8Array {
  const { name, type = RecordType.A, flags = FLAGS, records = [], tail = [] } = fields;
  const header = [...u16(0x1234), ...u16(flags), ...u16(1)];
  return Uint8Array.from([
    ...[...header, ...u16(fields.count ?? records.length), ...u16(0), ...u16(0)],
    ...[...bytesOf(name), ...u16(type), ...u16(CLASS_IN)],
    ...records.flatMap(recordBytes),
    ...tail,
  ]);
}

const recordBytes = ({ owner, type, data, ttl = 300, dnsClass = CLASS_IN }: RecordFields) => [
  ...[...bytesOf(owner), ...u16(type), ...u16(dnsClass)],
  ...[...u16(ttl >>> 16), ...u16(ttl), ...u16(data.length), ...data],
];
