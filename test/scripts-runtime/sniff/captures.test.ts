/**
 * Real clients, as far as this machine has them: recorded now, then sniffed as a whole and byte by
 * byte. The runtime of the tests is one of them, so that TLS and QUIC are always there.
 */
import { describe, expect, test } from 'bun:test';
import { Resolver } from 'node:dns/promises';
import { connect } from 'node:tls';
import { DatagramSniffer } from '../../../src/scripts-runtime/sniff/datagrams.ts';
import { sniff } from '../../../src/scripts-runtime/sniff/sniff.ts';
import {
  isInstalled,
  program,
  recordDatagrams,
  recordStream,
  type StartClient,
} from '../../support/client-captures.ts';
import { sniffByteByByte } from '../../support/splits.ts';

const NAME = 'capture.corp.example';

interface Client {
  readonly tool: string;
  readonly start: StartClient;
  readonly expected: Record<string, unknown>;
}

const url = (scheme: string, port: number): string => `${scheme}://${NAME}:${port}/path?q=1`;
const curl = (scheme: string, ...options: string[]): StartClient =>
  program((port) => {
    const resolve = ['--resolve', `${NAME}:${port}:127.0.0.1`];
    return ['curl', '-sk', '--noproxy', '*', ...resolve, ...options, url(scheme, port)];
  });
const openssl = (...options: string[]): StartClient =>
  program((port) => ['openssl', 's_client', '-connect', `127.0.0.1:${port}`, ...options]);
const node: StartClient = program((port) => {
  const options = JSON.stringify({ port, servername: NAME, ALPNProtocols: ['a', 'b'] });
  return ['node', '-e', `require('tls').connect(${options}).on('error', () => {})`];
});
const bunTls: StartClient = (port) => {
  const options = { host: '127.0.0.1', port, servername: NAME, ALPNProtocols: ['h2', 'x'] };
  const socket = connect(options).on('error', () => {});
  return () => socket.destroy();
};

const tls = { proto: 'tls', sni: NAME, ech: false };
const http = { proto: 'http', method: 'GET', host: NAME, path: '/path?q=1' };

/** X25519MLKEM768 came with OpenSSL 3.5. */
const hasPostQuantum = (): boolean => {
  if (!isInstalled('openssl')) return false;
  const { stdout } = Bun.spawnSync(['openssl', 'list', '-kem-algorithms']);
  return /MLKEM768/i.test(stdout.toString());
};

const CLIENTS: Readonly<Record<string, Client>> = {
  'openssl, TLS 1.3': {
    tool: 'openssl',
    start: openssl('-servername', NAME, '-alpn', 'h2,http/1.1'),
    expected: { ...tls, alpn: ['h2', 'http/1.1'] },
  },
  'openssl, TLS 1.2 without a name': {
    tool: 'openssl',
    start: openssl('-noservername', '-tls1_2'),
    expected: { proto: 'tls', alpn: [], ech: false },
  },
  'curl, HTTPS': { tool: 'curl', start: curl('https'), expected: tls },
  'curl, HTTP/1.1': { tool: 'curl', start: curl('http', '--http1.1'), expected: http },
  'curl, HTTP/2 with prior knowledge': {
    tool: 'curl',
    start: curl('http', '--http2-prior-knowledge'),
    expected: http,
  },
  'curl, a proxy': {
    tool: 'curl',
    start: program((port) => [
      'curl',
      '-sx',
      `http://127.0.0.1:${port}`,
      `http://${NAME}/path?q=1`,
    ]),
    expected: http,
  },
  'curl, a tunnel': {
    tool: 'curl',
    start: program((port) => ['curl', '-sx', `http://127.0.0.1:${port}`, `https://${NAME}/`]),
    expected: { proto: 'http', method: 'CONNECT', host: NAME, path: '' },
  },
  'node, TLS': { tool: 'node', start: node, expected: { ...tls, alpn: ['a', 'b'] } },
  'the runtime of the tests, TLS': {
    tool: process.execPath,
    start: bunTls,
    expected: { ...tls, alpn: ['h2', 'x'] },
  },
  OpenSSH: {
    tool: 'ssh',
    start: program((port) => ['ssh', '-p', String(port), '-oBatchMode=yes', 'nobody@127.0.0.1']),
    expected: { proto: 'ssh', banner: expect.stringMatching(/^SSH-2\.0-OpenSSH/) },
  },
};

describe.each(Object.entries(CLIENTS))('%s', (_what, { tool, start, expected }) => {
  test.skipIf(!isInstalled(tool))('is known as a whole, and byte by byte', async () => {
    const bytes = await recordStream(start);
    expect(sniff(bytes)).toMatchObject(expected);
    expect(sniffByteByByte(bytes).sniffed).toMatchObject(expected);
  });
});

test.skipIf(!hasPostQuantum())('openssl, post-quantum, is longer than a segment', async () => {
  const bytes = await recordStream(openssl('-servername', NAME, '-groups', 'X25519MLKEM768'));
  expect(bytes.length).toBeGreaterThan(1460);
  expect(sniffByteByByte(bytes)).toMatchObject({ sniffed: tls, length: bytes.length });
});

test('QUIC of the runtime of the tests', async () => {
  const datagrams = await recordDatagrams((port) => {
    const aborter = new AbortController();
    const options = {
      protocol: 'http3',
      signal: aborter.signal,
      tls: { rejectUnauthorized: false },
    };
    fetch(`https://127.0.0.1:${port}/`, options as RequestInit).catch(() => {});
    return () => aborter.abort();
  });
  const sniffer = new DatagramSniffer();
  const answers = datagrams.map((datagram) => sniffer.push(datagram));
  expect(answers.at(-1)).toMatchObject({ proto: 'quic', version: 1, alpn: ['h3'] });
});

test('DNS of the runtime of the tests', async () => {
  const [question = new Uint8Array()] = await recordDatagrams((port) => {
    const resolver = new Resolver({ timeout: 1000, tries: 1 });
    resolver.setServers([`127.0.0.1:${port}`]);
    resolver.resolve4(NAME).catch(() => {});
    return () => resolver.cancel();
  });
  expect(new DatagramSniffer().push(question)).toEqual({
    proto: 'dns',
    qname: NAME,
    qtype: 'A',
  });
});
