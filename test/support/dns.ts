/** The smallest name server: every name has an address, which its first label gives. RFC 1035. */

const HEADER_BYTES = 12;
/** QR, opcode 0, AA; RD comes back as it was asked. */
const FLAGS_ANSWER = 0x8400;
const FLAG_RECURSION_DESIRED = 0x0100;
const TYPE_A = 1;
const TYPE_AAAA = 28;
const CLASS_IN = 1;
const TTL_S = 60;
/** A pointer to the name in the question, which follows the header. RFC 1035 §4.1.4. */
const NAME_POINTER = 0xc000 | HEADER_BYTES;

/** Last byte of the address of a name; never 0. */
const hostOf = (number: number): number => 1 + (number % 254);

/** `q6.example` has `192.0.2.7`, or `2001:db8::7`. */
export const addressOfName = (number: number, family: 4 | 6): string =>
  family === 4 ? `192.0.2.${hostOf(number)}` : `2001:db8::${hostOf(number).toString(16)}`;

export const dnsName = (number: number): string => `q${number}.example`;

/** The answer to a message with one question; undefined for anything else. */
export function dnsAnswer(query: Buffer): Buffer | undefined {
  if (query.length < HEADER_BYTES || query.readUInt16BE(4) !== 1) return undefined;
  const firstLabelLength = query[HEADER_BYTES] ?? 0;
  const label = query.toString('latin1', HEADER_BYTES + 1, HEADER_BYTES + 1 + firstLabelLength);
  const nameEnd = query.indexOf(0, HEADER_BYTES) + 1;
  if (nameEnd === 0 || nameEnd + 4 > query.length) return undefined;
  const type = query.readUInt16BE(nameEnd);
  const data = recordData(type, Number(label.slice(1)));
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(query.readUInt16BE(0), 0);
  header.writeUInt16BE(FLAGS_ANSWER | (query.readUInt16BE(2) & FLAG_RECURSION_DESIRED), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(data === undefined ? 0 : 1, 6);
  const question = query.subarray(HEADER_BYTES, nameEnd + 4);
  if (data === undefined) return Buffer.concat([header, question]);
  const record = Buffer.alloc(12);
  record.writeUInt16BE(NAME_POINTER, 0);
  record.writeUInt16BE(type, 2);
  record.writeUInt16BE(CLASS_IN, 4);
  record.writeUInt32BE(TTL_S, 6);
  record.writeUInt16BE(data.length, 10);
  return Buffer.concat([header, question, record, data]);
}

/** `192.0.2.N` or `2001:db8::N`; undefined for other types. */
function recordData(type: number, number: number): Buffer | undefined {
  if (type === TYPE_A) return Buffer.from([192, 0, 2, hostOf(number)]);
  if (type !== TYPE_AAAA) return undefined;
  const address = Buffer.alloc(16);
  address.writeUInt32BE(0x20010db8, 0);
  address[15] = hostOf(number);
  return address;
}
