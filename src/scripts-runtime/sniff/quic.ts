/**
 * QUIC: the ClientHello in the Initial packets of a client, in one datagram or several, and in any
 * order. A packet that does not decrypt is passed over, as a server does (RFC 9001 §5.5).
 */
import {
  CLIENT_HELLO,
  HANDSHAKE_HEADER_BYTES,
  handshakeLength,
  parseClientHello,
} from './client-hello.ts';
import { CryptoStream } from './crypto-stream.ts';
import { InitialOpener, isClientInitial, type LongPacket, readLongHeader } from './quic-packet.ts';
import { type Outcome, SNIFF_BYTES_MAX, TOO_LONG } from './sniffed.ts';

/** A client that has sent an Initial packet. */
interface Client {
  readonly opener: InitialOpener;
  readonly stream: CryptoStream;
}

export class QuicSniffer {
  #client: Client | undefined;

  /** Takes the next datagram of the client. */
  push(datagram: Uint8Array): Outcome {
    let packet = readLongHeader(datagram, 0);
    while (packet !== undefined) {
      if (packet.isInitial && !this.#onInitial(datagram, packet)) return 'no-match';
      // RFC 9000 §12.2: several packets may share a datagram.
      packet = packet.end < datagram.length ? readLongHeader(datagram, packet.end) : undefined;
    }
    return this.#client === undefined ? 'no-match' : outcomeOf(this.#client);
  }

  /** @returns false when this is no client of QUIC */
  #onInitial(datagram: Uint8Array, packet: LongPacket): boolean {
    const isFirst = this.#client === undefined;
    if (isFirst && !isClientInitial(packet)) return false;
    this.#client ??= {
      opener: new InitialOpener(datagram, packet),
      stream: new CryptoStream(),
    };
    const { opener, stream } = this.#client;
    if (packet.version !== opener.version) return true;
    const frames = opener.open(datagram, packet);
    return frames === undefined ? !isFirst : stream.take(frames);
  }
}

function outcomeOf({ opener, stream }: Client): Outcome {
  const { bytes, length } = stream;
  if (length > 0 && bytes[0] !== CLIENT_HELLO) return 'no-match';
  if (length < HANDSHAKE_HEADER_BYTES) return 'need-more';
  const end = handshakeLength(bytes, 0);
  if (end > SNIFF_BYTES_MAX) return TOO_LONG;
  if (length < end) return 'need-more';
  const hello = parseClientHello(bytes, 0, end);
  if (hello === undefined) return 'no-match';
  return { proto: 'quic', ...hello, version: opener.version.number };
}
