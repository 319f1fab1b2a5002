/** What a client of PostgreSQL says first: "Message Formats" of its manual, protocol 3. */

const STARTUP = 196_608;
const CANCEL = 80_877_102;
const SSL = 80_877_103;
const GSS_ENCRYPTION = 80_877_104;
/** Length and code, which all of them begin with. */
const HEADER_LENGTH = 8;
/** As the server has it (MAX_STARTUP_PACKET_LENGTH). */
const LENGTH_MAX = 10_000;

export type PostgresHello =
  /** `parameters`: `user`, `database`, `options` … */
  | { proto: 'startup'; parameters: ReadonlyMap<string, string> }
  /** Asks whether to encrypt; one byte is the answer, and another hello follows. */
  | { proto: 'encryption' }
  | { proto: 'cancel' };

/** For `conn.sniff({ with: readPostgres })`. */
export function readPostgres(bytes: Uint8Array): PostgresHello | 'need-more' | undefined {
  if (bytes.length < HEADER_LENGTH) return bytes[0] ? undefined : 'need-more';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0);
  if (length < HEADER_LENGTH || length > LENGTH_MAX) return undefined;
  switch (view.getUint32(4)) {
    case SSL:
    case GSS_ENCRYPTION:
      return { proto: 'encryption' };
    case CANCEL:
      return { proto: 'cancel' };
    case STARTUP: {
      if (bytes.length < length) return 'need-more';
      const words = new TextDecoder().decode(bytes.subarray(HEADER_LENGTH, length)).split('\0');
      const parameters = new Map<string, string>();
      for (let i = 0; i + 1 < words.length && words[i] !== ''; i += 2) {
        parameters.set(words[i] ?? '', words[i + 1] ?? '');
      }
      return { proto: 'startup', parameters };
    }
    default:
      return undefined;
  }
}
