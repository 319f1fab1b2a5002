/**
 * The keys of a client's Initial packets. They are made of its first Destination Connection ID, so
 * that everybody on the path can read them: RFC 9001 §5.2, for version 2 RFC 9369 §3.3.
 */
import { createHmac } from 'node:crypto';

export interface QuicVersion {
  /** On the wire. */
  readonly number: number;
  /** Long packet type of Initial: RFC 9000 §17.2, RFC 9369 §3.2. */
  readonly initialType: number;
  readonly salt: Uint8Array;
  /** In front of `key`, `iv` and `hp` in the labels. */
  readonly label: string;
}

export const QUIC_VERSIONS: readonly QuicVersion[] = [
  {
    number: 1,
    initialType: 0,
    salt: Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex'),
    label: 'quic',
  },
  {
    number: 0x6b3343cf,
    initialType: 1,
    salt: Buffer.from('0dede3def700a6db819381be6e269dcbf9bd2ed9', 'hex'),
    label: 'quicv2',
  },
];

export interface InitialKeys {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  /** For the header protection. */
  readonly hp: Uint8Array;
}

/** AEAD_AES_128_GCM, RFC 9001 §5.3. */
const KEY_BYTES = 16;
const IV_BYTES = 12;
const HASH_BYTES = 32;

export function clientInitialKeys(version: QuicVersion, connectionId: Uint8Array): InitialKeys {
  const initial = hmac(version.salt, connectionId);
  const secret = expandLabel(initial, 'client in', HASH_BYTES);
  return {
    key: expandLabel(secret, `${version.label} key`, KEY_BYTES),
    iv: expandLabel(secret, `${version.label} iv`, IV_BYTES),
    hp: expandLabel(secret, `${version.label} hp`, KEY_BYTES),
  };
}

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array =>
  createHmac('sha256', key).update(data).digest();

/** HKDF-Expand-Label of RFC 8446 §7.1 without a context; one block of HKDF is enough for all. */
function expandLabel(secret: Uint8Array, label: string, length: number): Uint8Array {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.from([length >>> 8, length & 0xff, name.length, ...name, 0, 1]);
  return hmac(secret, info).subarray(0, length);
}
