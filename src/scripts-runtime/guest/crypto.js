/** `crypto`: random bytes and digests, both made by the gateway. */
import { bytesOf, kindOfArray, receiveBytes, sendBytes } from './bytes.js';
import { DOMException } from './dom-exception.js';
import { host } from './host.js';

/** https://www.w3.org/TR/WebCryptoAPI/#Crypto-method-getRandomValues */
const RANDOM_MAX = 65_536;
const HASHES = ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512'];
const HEX = 16;

const randomBytes = (length) => receiveBytes(host.random(length));

function digest(algorithm, data) {
  const given = typeof algorithm === 'object' ? algorithm?.name : algorithm;
  const name = `${given}`.toUpperCase();
  if (!HASHES.includes(name)) {
    throw new DOMException(`digest: "${given}" is none of ${HASHES}`, 'NotSupportedError');
  }
  return receiveBytes(host.digest(name, sendBytes('digest', data))).buffer;
}

class SubtleCrypto {
  async digest(algorithm, data) {
    return digest(algorithm, data);
  }
}

class Crypto {
  #subtle = new SubtleCrypto();
  get subtle() {
    return this.#subtle;
  }
  getRandomValues(array) {
    const kind = kindOfArray(array);
    if (kind === undefined || kind.startsWith('Float')) {
      throw new DOMException('getRandomValues: no array of integers', 'TypeMismatchError');
    }
    const bytes = bytesOf('getRandomValues', array);
    if (bytes.length > RANDOM_MAX) {
      throw new DOMException(`getRandomValues: over ${RANDOM_MAX} bytes`, 'QuotaExceededError');
    }
    bytes.set(randomBytes(bytes.length));
    return array;
  }
  /** RFC 9562 §5.4. */
  randomUUID() {
    const bytes = randomBytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(HEX).padStart(2, '0')).join('');
    const at = [0, 8, 12, 16, 20, 32];
    return at
      .slice(1)
      .map((end, i) => hex.slice(at[i], end))
      .join('-');
  }
}

export const crypto = new Crypto();
