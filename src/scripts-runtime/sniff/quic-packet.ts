/** A client's Initial packet, RFC 9000 §17.2.2: its header, and what is in it. */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { ByteReader } from './byte-reader.ts';
import {
  clientInitialKeys,
  type InitialKeys,
  QUIC_VERSIONS,
  type QuicVersion,
} from './quic-keys.ts';

/** Bits of the first byte. */
const LONG_HEADER = 0x80;
const FIXED_BIT = 0x40;
const TYPE_SHIFT = 4;
const TYPE_MASK = 0x03;
/** What header protection covers of a long header, and in it the length of the packet number. */
const PROTECTED_BITS = 0x0f;
const NUMBER_LENGTH_BITS = 0x03;

/** RFC 9000 §17.2. */
const CONNECTION_ID_BYTES_MAX = 20;
/** A client makes up at least so many: RFC 9000 §7.2. */
const CONNECTION_ID_BYTES_MIN = 8;
const NUMBER_BYTES_MAX = 4;
/** RFC 9001 §5.4.2. */
const SAMPLE_BYTES = 16;
const TAG_BYTES = 16;

/** Positions of one packet in its datagram. */
export interface LongPacket {
  readonly version: QuicVersion;
  readonly isInitial: boolean;
  readonly at: number;
  readonly connectionIdAt: number;
  readonly connectionIdEnd: number;
  readonly numberAt: number;
  readonly end: number;
}

/** @returns undefined when there is no packet with a long header of a version we know */
export function readLongHeader(bytes: Uint8Array, at: number): LongPacket | undefined {
  const reader = new ByteReader(bytes, at, bytes.length);
  const first = reader.u8();
  const number = reader.u32();
  const version = QUIC_VERSIONS.find((known) => known.number === number);
  if ((first & LONG_HEADER) === 0 || (first & FIXED_BIT) === 0) return undefined;
  if (version === undefined) return undefined;
  const destinationLength = reader.u8();
  const connectionIdAt = reader.skip(destinationLength);
  const sourceLength = reader.u8();
  reader.skip(sourceLength);
  if (destinationLength > CONNECTION_ID_BYTES_MAX || sourceLength > CONNECTION_ID_BYTES_MAX) {
    return undefined;
  }
  const isInitial = ((first >>> TYPE_SHIFT) & TYPE_MASK) === version.initialType;
  if (isInitial) reader.skip(reader.varint());
  const length = reader.varint();
  const numberAt = reader.skip(length);
  if (reader.isShort) return undefined;
  const connectionIdEnd = connectionIdAt + destinationLength;
  return { version, isInitial, at, connectionIdAt, connectionIdEnd, numberAt, end: reader.at };
}

/** Opens the Initial packets of one client. */
export class InitialOpener {
  readonly version: QuicVersion;
  readonly #keys: InitialKeys;

  /** @param first  the first Initial packet of the client: its connection ID makes the keys */
  constructor(bytes: Uint8Array, first: LongPacket) {
    const { version, connectionIdAt, connectionIdEnd } = first;
    this.version = version;
    this.#keys = clientInitialKeys(version, bytes.subarray(connectionIdAt, connectionIdEnd));
  }

  /** @returns the frames; undefined when the packet is not what its client has sent */
  open(bytes: Uint8Array, packet: LongPacket): Uint8Array | undefined {
    const { at, numberAt, end } = packet;
    const sampleAt = numberAt + NUMBER_BYTES_MAX;
    if (sampleAt + SAMPLE_BYTES > end) return undefined;
    const mask = this.#mask(bytes.subarray(sampleAt, sampleAt + SAMPLE_BYTES));
    const first = (bytes[at] ?? 0) ^ ((mask[0] ?? 0) & PROTECTED_BITS);
    const numberLength = (first & NUMBER_LENGTH_BITS) + 1;
    const payloadAt = numberAt + numberLength;
    const header = bytes.slice(at, payloadAt);
    header[0] = first;
    const nonce = Uint8Array.from(this.#keys.iv);
    for (let i = 0; i < numberLength; i++) {
      const byte = (bytes[numberAt + i] ?? 0) ^ (mask[i + 1] ?? 0);
      header[numberAt - at + i] = byte;
      // The first packet numbers of a connection are as short as they are sent (RFC 9000 §17.1).
      nonce[nonce.length - numberLength + i]! ^= byte;
    }
    return this.#decrypt(nonce, header, bytes.subarray(payloadAt, end));
  }

  /** RFC 9001 §5.4.3. */
  #mask(sample: Uint8Array): Uint8Array {
    const cipher = createCipheriv('aes-128-ecb', this.#keys.hp, null);
    return cipher.update(sample);
  }

  #decrypt(nonce: Uint8Array, header: Uint8Array, payload: Uint8Array): Uint8Array | undefined {
    const tagAt = payload.length - TAG_BYTES;
    const decipher = createDecipheriv('aes-128-gcm', this.#keys.key, nonce);
    decipher.setAAD(header);
    decipher.setAuthTag(payload.subarray(tagAt));
    const frames = decipher.update(payload.subarray(0, tagAt));
    try {
      decipher.final();
    } catch {
      // The only way in which node:crypto says that the tag is another.
      return undefined;
    }
    return frames;
  }
}

export const isClientInitial = ({ isInitial, connectionIdAt, connectionIdEnd }: LongPacket) =>
  isInitial && connectionIdEnd - connectionIdAt >= CONNECTION_ID_BYTES_MIN;
