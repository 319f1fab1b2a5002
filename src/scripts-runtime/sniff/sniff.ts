/** Sniffing of a connection, by the first bytes of its client. Start here, and at sniffed.ts. */
import { sniffDnsStream } from './dns.ts';
import { sniffHttp } from './http.ts';
import { HTTP2_PREFACE, hasHttp2Preface } from './http2.ts';
import {
  NO_MATCH,
  type Outcome,
  SNIFF_BYTES_MAX,
  type Sniffed,
  type SniffedNothing,
  type SniffProtocol,
  TOO_LONG,
} from './sniffed.ts';
import { sniffSsh } from './ssh.ts';
import { sniffTls } from './tls.ts';

export const STREAM_PROTOCOLS: readonly SniffProtocol[] = ['tls', 'http', 'ssh', 'dns'];

/**
 * @param bytes      all that has arrived, from the first byte on
 * @param protocols  wanted ones; those that are not spoken over TCP never match
 * @returns          `need-more` only below SNIFF_BYTES_MAX
 */
export function sniff(
  bytes: Uint8Array,
  protocols: readonly SniffProtocol[] = STREAM_PROTOCOLS,
): Sniffed | 'need-more' {
  let nothing: SniffedNothing = NO_MATCH;
  let needsMore = false;
  for (const protocol of protocols) {
    const outcome = sniffOne(bytes, protocol);
    if (outcome === 'need-more') needsMore = true;
    else if (outcome === TOO_LONG) nothing = TOO_LONG;
    else if (outcome !== 'no-match') return outcome;
  }
  if (!needsMore) return nothing;
  return bytes.length < SNIFF_BYTES_MAX ? 'need-more' : nothingMore(bytes, protocols, 'limit');
}

/**
 * As `sniff`, when nothing more will come, or nobody waits for it.
 *
 * @param why  the answer where `sniff` would wait: `timeout`, or `no-match` after the client's FIN
 */
export function sniffLast(
  bytes: Uint8Array,
  protocols: readonly SniffProtocol[],
  why: SniffedNothing['why'],
): Sniffed {
  const sniffed = sniff(bytes, protocols);
  return sniffed === 'need-more' ? nothingMore(bytes, protocols, why) : sniffed;
}

/** A client of HTTP/2 may wait for the server before its first request: http2.ts. */
function nothingMore(
  bytes: Uint8Array,
  protocols: readonly SniffProtocol[],
  why: SniffedNothing['why'],
): Sniffed {
  if (protocols.includes('http') && hasHttp2Preface(bytes)) return HTTP2_PREFACE;
  return { proto: 'unknown', why };
}

function sniffOne(bytes: Uint8Array, protocol: SniffProtocol): Outcome {
  switch (protocol) {
    case 'tls':
      return sniffTls(bytes);
    case 'http':
      return sniffHttp(bytes);
    case 'ssh':
      return sniffSsh(bytes);
    case 'dns':
      return sniffDnsStream(bytes);
    default:
      return 'no-match';
  }
}
