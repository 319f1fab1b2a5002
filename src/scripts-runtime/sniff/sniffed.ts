/**
 * What a flow turns out to speak, by the first bytes of its client.
 *
 * All sniffers look at the bytes from the first one on, as far as they have arrived, and answer
 * with a match, `need-more` or `no-match`. They keep nothing between two calls (but for
 * datagrams.ts), never throw, and never take a peer's word for a length.
 *
 * A script can bring a sniffer of its own, `conn.sniff({ with: fn })`, of the shape
 * `(bytes: Uint8Array) => T | 'need-more' | undefined | null`. Whoever calls it keeps to this:
 *
 * - it is called with all bytes that have arrived, once there is one, and again each time there
 *   are more; the array is its own copy, and nothing of the connection is consumed;
 * - `'need-more'` asks to be called again; with SNIFF_BYTES_MAX bytes there, or after the client's
 *   FIN, it is called once more and then the answer is `unknown` (`limit`, `no-match`);
 * - undefined or null is `unknown` with `no-match`; any other value is what `sniff()` resolves to,
 *   as it is; a promise is a value as any other, for nobody waits for it;
 * - what it throws rejects `sniff()`;
 * - time-out and server-first end it as they end the others.
 */

/** Peeked bytes at most, of a connection or of the datagrams of a flow. Script API, section 4. */
export const SNIFF_BYTES_MAX = 16_384;

export type Sniffed =
  | {
      readonly proto: 'tls';
      /** In lower case; with ECH the public name of the outer hello. */
      readonly sni?: string;
      /** Without the reserved values of RFC 8701. */
      readonly alpn: readonly string[];
      /** There is an encrypted hello, or something that shall look like one (GREASE). */
      readonly ech: boolean;
    }
  | {
      /** HTTP/1.x, and HTTP/2 without TLS. */
      readonly proto: 'http';
      readonly method: string;
      /** In lower case, without port; an IPv6 address in brackets. */
      readonly host?: string;
      /** Path and query, not decoded; `*` of OPTIONS, and empty of CONNECT. */
      readonly path: string;
    }
  | {
      readonly proto: 'quic';
      readonly sni?: string;
      readonly alpn: readonly string[];
      readonly ech: boolean;
      /** As on the wire: 1, or 0x6b3343cf for version 2. */
      readonly version: number;
    }
  | {
      readonly proto: 'ssh';
      /** The line without its end: `SSH-2.0-OpenSSH_9.2`. */
      readonly banner: string;
    }
  | {
      readonly proto: 'dns';
      /** In lower case, without the dot at the end; `.` is the root. */
      readonly qname: string;
      /** `A`, `AAAA`, `HTTPS` …, or `TYPE65280` (RFC 3597 §5). */
      readonly qtype: string;
    }
  | SniffedNothing;

export interface SniffedNothing {
  readonly proto: 'unknown';
  readonly why: 'timeout' | 'no-match' | 'server-first' | 'limit';
}

/** What can be asked for. `unknown` is an answer only. */
export type SniffProtocol = Exclude<Sniffed['proto'], 'unknown'>;

/** Of one sniffer. */
export type Outcome = Sniffed | 'need-more' | 'no-match';

export const NO_MATCH: SniffedNothing = Object.freeze({ proto: 'unknown', why: 'no-match' });
/** What there is to be read is longer than what may be peeked at. */
export const TOO_LONG: SniffedNothing = Object.freeze({ proto: 'unknown', why: 'limit' });
