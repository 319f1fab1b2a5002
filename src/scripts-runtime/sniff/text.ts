/** Text out of bytes that a peer has sent, character by character. */

const [TAB, SPACE, DOT, DELETE] = [0x09, 0x20, 0x2e, 0x7f];
const [UPPER_A, UPPER_Z] = [0x41, 0x5a];
const TO_LOWER = 0x20;

/** RFC 1035 §2.3.4, as text. */
const NAME_LENGTH_MAX = 253;

/** What a byte may be part of, as bits: a table, since a client can have 16 KiB looked at often. */
export const CharacterClass = {
  /** ASCII without space and controls. */
  VISIBLE: 1,
  /** RFC 9110 §5.6.2. */
  TOKEN: 2,
  /** RFC 9110 §5.5: visible, obs-text, space and tab. */
  FIELD_VALUE: 4,
  /** Methods are case-sensitive, and nobody has registered one in lower case. */
  METHOD: 8,
  /** Letters, digits, hyphen, underscore, dot. */
  HOST: 16,
} as const;

const TOKEN_PATTERN = /[A-Za-z0-9!#$%&'*+\-.^_`|~]/;
const METHOD_PATTERN = /[A-Z-]/;
const HOST_PATTERN = /[A-Za-z0-9._-]/;

const classes = Uint8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  const isIn = (pattern: RegExp, bit: number): number => (pattern.test(character) ? bit : 0);
  return (
    (byte > SPACE && byte < DELETE ? CharacterClass.VISIBLE : 0) |
    ((byte >= SPACE && byte !== DELETE) || byte === TAB ? CharacterClass.FIELD_VALUE : 0) |
    isIn(TOKEN_PATTERN, CharacterClass.TOKEN) |
    isIn(METHOD_PATTERN, CharacterClass.METHOD) |
    isIn(HOST_PATTERN, CharacterClass.HOST)
  );
});

/** Where the run of bytes of a class ends that begins at `at`. */
export function runEnd(bytes: Uint8Array, at: number, of: number): number {
  let end = at;
  while (end < bytes.length && (classes[bytes[end]!]! & of) !== 0) end++;
  return end;
}

/** Visible characters of ASCII, without the space. */
export const isVisible = (byte: number): boolean => byte > SPACE && byte < DELETE;

export const lowerCase = (byte: number): number =>
  byte >= UPPER_A && byte <= UPPER_Z ? byte + TO_LOWER : byte;

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
  if (runEnd(bytes, at, CharacterClass.HOST) < nameEnd) return undefined;
  let text = '';
  for (let i = at; i < nameEnd; i++) text += String.fromCharCode(lowerCase(bytes[i] ?? 0));
  return text;
}
