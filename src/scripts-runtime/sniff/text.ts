/** Text out of bytes that a peer has sent, character by character. */

const [SPACE, DOT, UNDERSCORE, HYPHEN, DELETE] = [0x20, 0x2e, 0x5f, 0x2d, 0x7f];
const [DIGIT_0, DIGIT_9] = [0x30, 0x39];
const [UPPER_A, UPPER_Z] = [0x41, 0x5a];
const [LOWER_A, LOWER_Z] = [0x61, 0x7a];
const TO_LOWER = 0x20;

/** RFC 1035 §2.3.4, as text. */
const NAME_LENGTH_MAX = 253;

/** Visible characters of ASCII, without the space. */
export const isVisible = (byte: number): boolean => byte > SPACE && byte < DELETE;

export const isUpperCase = (byte: number): boolean => byte >= UPPER_A && byte <= UPPER_Z;
const isLowerCase = (byte: number): boolean => byte >= LOWER_A && byte <= LOWER_Z;
export const isDigit = (byte: number): boolean => byte >= DIGIT_0 && byte <= DIGIT_9;
export const isAlphanumeric = (byte: number): boolean =>
  isLowerCase(byte) || isUpperCase(byte) || isDigit(byte);

export const lowerCase = (byte: number): number => (isUpperCase(byte) ? byte + TO_LOWER : byte);

/** Each byte a character; nothing is checked. */
export function latin1(bytes: Uint8Array, at: number, end: number): string {
  let text = '';
  for (let i = at; i < end; i++) text += String.fromCharCode(bytes[i] ?? 0);
  return text;
}

/**
 * The name of a host as everybody compares it: in lower case and without the dot at the end.
 *
 * @returns undefined when it is none. Letters, digits, hyphen, underscore and dots make one, which
 *          also takes in IPv4 addresses
 */
export function hostName(bytes: Uint8Array, at: number, end: number): string | undefined {
  const nameEnd = end > at && bytes[end - 1] === DOT ? end - 1 : end;
  if (nameEnd <= at || nameEnd - at > NAME_LENGTH_MAX) return undefined;
  let text = '';
  for (let i = at; i < nameEnd; i++) {
    const byte = bytes[i] ?? 0;
    const isAllowed =
      isAlphanumeric(byte) || byte === HYPHEN || byte === DOT || byte === UNDERSCORE;
    if (!isAllowed) return undefined;
    text += String.fromCharCode(lowerCase(byte));
  }
  return text;
}
