/** Sniffing of a UDP flow, by the datagrams with which its client begins. */
import { sniffDnsDatagram } from './dns.ts';
import { QuicSniffer } from './quic.ts';
import {
  NO_MATCH,
  SNIFF_BYTES_MAX,
  type Sniffed,
  type SniffProtocol,
  TOO_LONG,
} from './sniffed.ts';

export const DATAGRAM_PROTOCOLS: readonly SniffProtocol[] = ['quic', 'dns'];

export class DatagramSniffer {
  readonly #quic: QuicSniffer | undefined;
  readonly #isDnsWanted: boolean;
  #pushed = 0;
  #result: Sniffed | 'need-more' = 'need-more';

  /** @param protocols  wanted ones; those that are not spoken over UDP never match */
  constructor(protocols: readonly SniffProtocol[] = DATAGRAM_PROTOCOLS) {
    this.#quic = protocols.includes('quic') ? new QuicSniffer() : undefined;
    this.#isDnsWanted = protocols.includes('dns');
  }

  /** Takes the client's next datagram. Once there is an answer, it stays. */
  push(datagram: Uint8Array): Sniffed | 'need-more' {
    if (this.#result !== 'need-more') return this.#result;
    const isFirst = this.#pushed === 0;
    this.#pushed += datagram.length;
    this.#result = this.#sniff(datagram, isFirst);
    if (this.#result === 'need-more' && this.#pushed >= SNIFF_BYTES_MAX) this.#result = TOO_LONG;
    return this.#result;
  }

  /** A question is one datagram; what QUIC has begun, only QUIC goes on with. */
  #sniff(datagram: Uint8Array, isFirst: boolean): Sniffed | 'need-more' {
    const dns = isFirst && this.#isDnsWanted ? sniffDnsDatagram(datagram) : 'no-match';
    if (typeof dns !== 'string') return dns;
    const quic = this.#quic?.push(datagram) ?? 'no-match';
    return quic === 'no-match' ? NO_MATCH : quic;
  }
}
