/**
 * The first message of a TLS client, RFC 8446 §4.1.2: what it says about where it wants to go. Read
 * strictly, for what one parser skips and another reads is how names are smuggled past a gateway.
 */
import { ByteReader } from './byte-reader.ts';
import { hostName, latin1 } from './text.ts';

/** Type and length of a handshake message, RFC 8446 §4. */
export const HANDSHAKE_HEADER_BYTES = 4;
export const CLIENT_HELLO = 1;

const VERSION_AND_RANDOM_BYTES = 34;
const SESSION_ID_BYTES_MAX = 32;

/** IANA, TLS ExtensionType values. */
const Extension = {
  SERVER_NAME: 0,
  ALPN: 16,
  /** RFC 9849 §5. */
  ENCRYPTED_CLIENT_HELLO: 0xfe0d,
} as const;

/** NameType, RFC 6066 §3. */
const HOST_NAME = 0;

/** Names in one list; clients send two or three. */
const ALPN_NAMES_MAX = 64;

export interface ClientHello {
  sni?: string;
  readonly alpn: string[];
  ech: boolean;
}

/** Length of a handshake message, header included, by its first HANDSHAKE_HEADER_BYTES. */
export const handshakeLength = (bytes: Uint8Array, at: number): number =>
  HANDSHAKE_HEADER_BYTES +
  (((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0));

/**
 * Reads a message from its header at `at` to `end`.
 *
 * @returns undefined when it is malformed
 */
export function parseClientHello(
  bytes: Uint8Array,
  at: number,
  end: number,
): ClientHello | undefined {
  const reader = new ByteReader(bytes, at + HANDSHAKE_HEADER_BYTES, end);
  const hello: ClientHello = { alpn: [], ech: false };
  reader.skip(VERSION_AND_RANDOM_BYTES);
  const sessionIdLength = reader.u8();
  reader.skip(sessionIdLength);
  const suitesLength = reader.u16();
  reader.skip(suitesLength);
  const compressionsLength = reader.u8();
  reader.skip(compressionsLength);
  const isMalformed =
    reader.isShort ||
    sessionIdLength > SESSION_ID_BYTES_MAX ||
    suitesLength === 0 ||
    suitesLength % 2 !== 0 ||
    compressionsLength === 0;
  if (isMalformed) return undefined;
  // TLS 1.2 may end here, RFC 5246 §7.4.1.2.
  if (reader.left === 0) return hello;
  const extensionsLength = reader.u16();
  if (extensionsLength !== reader.left) return undefined;
  return readExtensions(reader, bytes, hello) ? hello : undefined;
}

/** @returns whether all of them are as they should be */
function readExtensions(reader: ByteReader, bytes: Uint8Array, hello: ClientHello): boolean {
  let hasNames = false;
  let hasAlpn = false;
  while (reader.left > 0) {
    const type = reader.u16();
    const length = reader.u16();
    const at = reader.skip(length);
    if (reader.isShort) return false;
    // RFC 8446 §4.2: none comes twice.
    if (type === Extension.SERVER_NAME) {
      if (hasNames || !readServerName(bytes, at, at + length, hello)) return false;
      hasNames = true;
    } else if (type === Extension.ALPN) {
      if (hasAlpn || !readAlpn(bytes, at, at + length, hello.alpn)) return false;
      hasAlpn = true;
    } else if (type === Extension.ENCRYPTED_CLIENT_HELLO) {
      if (hello.ech) return false;
      hello.ech = true;
    }
  }
  return true;
}

/** RFC 6066 §3; the list has one name, for there is one type of names. */
function readServerName(bytes: Uint8Array, at: number, end: number, hello: ClientHello): boolean {
  const reader = new ByteReader(bytes, at, end);
  const listLength = reader.u16();
  if (listLength !== reader.left || reader.u8() !== HOST_NAME) return false;
  const length = reader.u16();
  const nameAt = reader.skip(length);
  if (reader.isShort || reader.left > 0) return false;
  const name = hostName(bytes, nameAt, nameAt + length);
  if (name === undefined) return false;
  hello.sni = name;
  return true;
}

/** RFC 7301 §3.1. */
function readAlpn(bytes: Uint8Array, at: number, end: number, into: string[]): boolean {
  const reader = new ByteReader(bytes, at, end);
  const listLength = reader.u16();
  if (reader.isShort || listLength !== reader.left || listLength === 0) return false;
  for (let count = 0; reader.left > 0; count++) {
    const length = reader.u8();
    const nameAt = reader.skip(length);
    if (reader.isShort || length === 0 || count >= ALPN_NAMES_MAX) return false;
    if (!isGrease(bytes, nameAt, length)) into.push(latin1(bytes, nameAt, nameAt + length));
  }
  return true;
}

/** Values that stand for nothing, RFC 8701 §2: 0x0a0a, 0x1a1a … 0xfafa. */
const isGrease = (bytes: Uint8Array, at: number, length: number): boolean =>
  length === 2 && bytes[at] === bytes[at + 1] && ((bytes[at] ?? 0) & 0x0f) === 0x0a;
