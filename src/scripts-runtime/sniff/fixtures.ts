/**
 * What clients begin with, made to measure: the `fixtures` of `culvert:test`, and the tests of the
 * sniffers. Each gives what arrives piece by piece: segments of a connection, or datagrams. The
 * same call gives the same bytes; where a client draws lots, a fixed sequence stands.
 */
import { cut, u16, utf8, vector8, vector16 } from './fixtures/bytes.ts';
import { clientHello, type HelloOptions } from './fixtures/client-hello.ts';
import { http2Request } from './fixtures/http2.ts';
import { sealedInitials } from './fixtures/quic.ts';

export interface SegmentOptions {
  /** Pieces of about the same length; 1 unless given. */
  readonly segments?: number;
}

export interface TlsOptions extends HelloOptions, SegmentOptions {
  /** TLS records that the hello is cut into; 1 unless given. */
  readonly records?: number;
}

/** The first flight of a TLS 1.3 client; without a name it has no SNI. */
export function tlsClientHello(name: string | undefined, options: TlsOptions = {}): Uint8Array[] {
  const { alpn = ['h2', 'http/1.1'], records = 1, segments = 1 } = options;
  const message = clientHello(name, { ...options, alpn }, LEGACY_SESSION_ID_BYTES);
  const bytes = cut(message, records).flatMap((fragment) => [
    ...[RECORD_HANDSHAKE, ...RECORD_VERSION],
    ...vector16(Array.from(fragment)),
  ]);
  return cut(Uint8Array.from(bytes), segments);
}

export interface HttpOptions extends SegmentOptions {
  readonly method?: string;
  readonly path?: string;
  /** 1 unless given; 2 is without TLS, with prior knowledge. */
  readonly version?: 1 | 2;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request without a body; without a host it has no Host field. */
export function httpRequest(host: string | undefined, options: HttpOptions = {}): Uint8Array[] {
  const { method = 'GET', path = '/', headers = {}, segments = 1 } = options;
  if (options.version === 2) {
    return cut(http2Request(method, path, host, Object.entries(headers)), segments);
  }
  const fields = Object.entries({ ...(host === undefined ? {} : { Host: host }), ...headers });
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
  ];
  return cut(utf8.encode(`${lines.join('\r\n')}\r\n\r\n`), segments);
}

/** The line that an SSH client begins with. */
export function sshBanner(software = 'OpenSSH_9.9', options: SegmentOptions = {}): Uint8Array[] {
  return cut(utf8.encode(`SSH-2.0-${software}\r\n`), options.segments ?? 1);
}

export interface DnsOptions extends SegmentOptions {
  /** `udp` unless given: one datagram. */
  readonly over?: 'udp' | 'tcp';
}

/** @param type  the number of the record type: 1 is A, 28 AAAA, 65 HTTPS */
export function dnsQuery(name: string, type = 1, options: DnsOptions = {}): Uint8Array[] {
  const labels = name.split('.').filter((label) => label !== '');
  const message = [
    ...[0x5a, 0xa5, ...u16(DNS_FLAGS), ...u16(1), ...u16(0), ...u16(0), ...u16(1)],
    ...labels.flatMap((label) => vector8(Array.from(utf8.encode(label)))),
    ...[0, ...u16(type), ...u16(DNS_CLASS_IN)],
    ...DNS_EDNS,
  ];
  if (options.over !== 'tcp') return [Uint8Array.from(message)];
  return cut(Uint8Array.from(vector16(message)), options.segments ?? 1);
}

export interface QuicOptions extends HelloOptions {
  readonly version?: 1 | 2;
  /** Datagrams over which the hello is spread; 1 unless given, 2 when it is post-quantum. */
  readonly datagrams?: number;
  /** CRYPTO frames in each of them, out of order; 1 unless given. */
  readonly frames?: number;
}

/** The first datagrams of a QUIC client: Initial packets of 1200 bytes and more. */
export function quicInitial(name: string | undefined, options: QuicOptions = {}): Uint8Array[] {
  const { alpn = ['h3'], postQuantum = false, version = 1, frames = 1 } = options;
  const message = clientHello(name, { ...options, alpn }, 0, TRANSPORT_PARAMETERS);
  return sealedInitials(version, cut(message, options.datagrams ?? (postQuantum ? 2 : 1)), frames);
}

const RECORD_HANDSHAKE = 22;
/** RFC 8446 §5.1: the first record of a client. */
const RECORD_VERSION = [3, 1];
const LEGACY_SESSION_ID_BYTES = 32;

const DNS_FLAGS = 0x0120;
const DNS_CLASS_IN = 1;
/** An OPT record that offers 1232 bytes, RFC 6891 §6.1.2. */
const DNS_EDNS = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/** RFC 9001 §8.2; max_idle_timeout of 30 s (RFC 9000 §18.2). */
const TRANSPORT_PARAMETERS = [0x00, 0x39, 0x00, 0x06, 0x01, 0x04, 0x80, 0x00, 0x75, 0x30];
