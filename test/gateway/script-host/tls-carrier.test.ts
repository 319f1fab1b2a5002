/** TLS over a carrier whose far side is a server of node:tls. */
import { beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { TlsCarrier } from '../../../src/gateway/script-host/tls-carrier.ts';
import {
  CONN_WINDOW_BYTES,
  type ConnEvents,
  type PlainConnPorts,
} from '../../../src/scripts-runtime/conns/ports.ts';
import { Authority } from '../../support/certificates.ts';
import { waitFor } from '../../support/wait.ts';

const [CONN, SOCKET] = [7, 3];

/** Carries one socket of the kernel, and keeps to the rules of a carrier: credit, and window. */
class SocketCarrier implements PlainConnPorts {
  readonly reach = 'up';
  readonly ownConn = (index: number): number => index;
  readonly tls = new TlsCarrier(this);
  readonly seen: string[] = [];
  readonly received: Uint8Array[] = [];
  /** Bytes that were taken over, by what was told. */
  room = 0;
  /** Calls of `fin`, `close` and `abort`. */
  readonly calls: string[] = [];
  /** Holds back `room`. */
  isStuck = false;
  unacked = 0;
  wanted = 0;
  readonly #socket: net.Socket;
  #waiting: Buffer[] = [];
  #hasEnded = false;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    const note = (text: string) => void this.seen.push(text);
    const events: ConnEvents = {
      started: () => note('started'),
      opened: () => note('opened'),
      peeked: () => note('peeked'),
      dialed: () => note('dialed'),
      lost: () => note('lost'),
      data: (_conn, _end, bytes) => void this.received.push(bytes.slice()),
      fin: () => note('fin'),
      room: (_conn, _end, bytes) => {
        this.room += bytes;
      },
      closed: (_conn, end, { reason, code }) => note(`closed ${end} ${reason} ${code ?? '-'}`),
      secured: (_conn, _socket, result) =>
        note('error' in result ? `failed ${result.error}` : `secured ${result.alpn ?? '-'}`),
    };
    this.tls.events = events;
    socket.on('data', (bytes: Buffer) => {
      this.#waiting.push(bytes);
      this.#deliver();
    });
    socket.on('end', () => {
      this.#hasEnded = true;
      this.#deliver();
    });
    socket.on('error', () => {});
  }

  static async connect(port: number): Promise<SocketCarrier> {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await new Promise((resolve) => socket.once('connect', resolve));
    return new SocketCarrier(socket);
  }

  get text(): string {
    return Buffer.concat(this.received).toString();
  }

  get length(): number {
    return this.received.reduce((sum, { length }) => sum + length, 0);
  }

  want(_conn: number, _end: number, bytes: number): void {
    this.wanted = bytes === 0 ? 0 : this.wanted + bytes;
    queueMicrotask(() => this.#deliver());
  }

  write(_conn: number, _end: number, bytes: Uint8Array): void {
    const { length } = bytes;
    this.unacked += length;
    if (this.unacked > CONN_WINDOW_BYTES) throw new Error('more than the window');
    this.#socket.write(Buffer.from(bytes));
    if (this.isStuck) return;
    queueMicrotask(() => this.ack());
  }

  ack(): void {
    const taken = this.unacked;
    this.unacked = 0;
    if (taken > 0) this.tls.incoming.room(CONN, SOCKET, taken);
  }

  fin(): void {
    this.calls.push('fin');
    this.#socket.end();
  }

  close(): void {
    this.calls.push('close');
    this.#socket.end();
  }

  abort(): void {
    this.calls.push('abort');
    this.#socket.destroy();
  }

  peek(): void {}
  dial(): void {}
  splice(): void {}

  #deliver(): void {
    while (this.wanted > 0 && this.#waiting.length > 0) {
      const first = this.#waiting.shift() as Buffer;
      const now = first.subarray(0, Math.min(this.wanted, 16_384));
      if (now.length < first.length) this.#waiting.unshift(first.subarray(now.length));
      this.wanted -= now.length;
      this.tls.incoming.data(CONN, SOCKET, now);
    }
    if (this.#waiting.length > 0 || !this.#hasEnded) return;
    this.#hasEnded = false;
    this.tls.incoming.fin(CONN, SOCKET);
  }
}

interface Server extends Disposable {
  readonly port: number;
}

async function serve(
  files: { cert: string; key: string },
  onSocket: (socket: tls.TLSSocket) => void,
  ALPNProtocols?: string[],
): Promise<Server> {
  const options = {
    cert: readFileSync(files.cert),
    key: readFileSync(files.key),
    allowHalfOpen: true,
    ...(ALPNProtocols && { ALPNProtocols }),
  };
  const server = tls.createServer(options, (socket) => {
    socket.on('error', () => {});
    onSocket(socket);
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  return { port, [Symbol.dispose]: () => void server.close() };
}

describe('TLS', () => {
  let authority: Authority;
  let files: { cert: string; key: string };
  const echo = (socket: tls.TLSSocket) => void socket.pipe(socket);

  beforeAll(() => {
    authority = new Authority();
    files = authority.server('DNS:a.example,IP:127.0.0.1');
  });

  const options = (name = 'a.example', alpn: string[] = []) => ({ name, alpn, inFlight: 0 });

  async function begun(
    port: number,
    given = options(),
    ca: string | undefined = authority.pem,
  ): Promise<SocketCarrier> {
    const carrier = await SocketCarrier.connect(port);
    carrier.tls.ca = ca ?? '';
    carrier.tls.secure(CONN, SOCKET, given);
    await waitFor('the end of the handshake', () => carrier.seen.length > 0);
    return carrier;
  }

  test('bytes pass both ways, and both ends in order', async () => {
    using server = await serve(files, echo);
    const carrier = await begun(server.port);
    expect(carrier.seen).toEqual(['secured -']);
    carrier.tls.write(CONN, SOCKET, Buffer.from('hello'));
    expect(carrier.received).toEqual([]);
    carrier.tls.want(CONN, SOCKET, 100);
    await waitFor('the echo', () => carrier.text === 'hello');
    expect(carrier.room).toBe(5);
    carrier.tls.fin(CONN, SOCKET);
    await waitFor('the end', () => carrier.seen.includes('fin'));
    expect(carrier.calls).toEqual(['fin']);
    carrier.tls.incoming.closed(CONN, SOCKET, { reason: 'eof', bytesUp: 1, bytesDown: 2 });
    expect(carrier.seen).toEqual(['secured -', 'fin', 'closed 3 eof -']);
  });

  test('ALPN is what the server chose', async () => {
    using server = await serve(files, echo, ['http/1.1']);
    const carrier = await begun(server.port, options('a.example', ['h2', 'http/1.1']));
    expect(carrier.seen).toEqual(['secured http/1.1']);
    const other = await begun(server.port, options('a.example', ['smtp']));
    expect(other.seen[0]).toBe('failed the server speaks none of the protocols of "alpn"');
  });

  test('a certificate may be for an address', async () => {
    using server = await serve(files, echo);
    expect((await begun(server.port, options('127.0.0.1'))).seen).toEqual(['secured -']);
  });

  test.each([
    ['another name', 'b.example', 10, true, /b\.example.* is not in the cert's altnames/],
    ['another address', '127.0.0.2', 10, true, /127\.0\.0\.2 is not in the cert's list/],
    ['an expired certificate', 'a.example', -1, true, /^failed the certificate has expired$/],
    [
      'an unknown authority',
      'a.example',
      10,
      false,
      /authority that is not known; "scripts.tls.ca"/,
    ],
  ] as const)('%s fails the handshake', async (_what, name, days, isKnown, message) => {
    const own = authority.server('DNS:a.example,IP:127.0.0.1', days);
    using server = await serve(own, echo);
    const carrier = await begun(server.port, options(name), isKnown ? authority.pem : '');
    expect(carrier.seen[0]).toMatch(message);
  });

  test.each(['..', '-', ':::', 'a'.repeat(254), '_'])(
    'a name like %p never throws',
    async (name) => {
      using server = await serve(files, echo);
      const carrier = await begun(server.port, options(name));
      expect(carrier.seen[0]).toStartWith('failed ');
    },
  );

  test('who does not speak TLS fails the handshake', async () => {
    const server = net.createServer((socket) => void socket.end('220 hello\r\n'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    const carrier = await begun(port);
    expect(carrier.seen[0]).toBe('failed the server does not speak TLS');
    server.close();
  });

  test('much passes in order, within the window, as fast as it is asked for', async () => {
    using server = await serve(files, echo);
    const carrier = await begun(server.port);
    const all = Buffer.alloc(1_000_000, 'abcdefghijklmnopqrstuvwxyz\n');
    let written = 0;
    await waitFor('all of it', () => {
      while (written < all.length && written - carrier.room < CONN_WINDOW_BYTES - 16_384) {
        carrier.tls.write(CONN, SOCKET, all.subarray(written, written + 16_384));
        written += 16_384;
      }
      if (carrier.length < all.length) carrier.tls.want(CONN, SOCKET, 10_000);
      return carrier.length >= all.length;
    });
    expect(Buffer.concat(carrier.received).equals(all)).toBe(true);
  });

  test('nobody asks: what the server says stays in the network', async () => {
    let sent = 0;
    using server = await serve(files, (socket) => {
      const more = (): void => {
        sent += 16_384;
        if (sent < 50_000_000 && socket.write(Buffer.alloc(16_384))) setImmediate(more);
      };
      more();
    });
    const carrier = await begun(server.port);
    carrier.tls.want(CONN, SOCKET, 10);
    await waitFor('the first bytes', () => carrier.length === 10);
    await Bun.sleep(100);
    expect(carrier.length).toBe(10);
    expect(carrier.wanted).toBeLessThanOrEqual(16_384);
  });

  test('no room: what a script writes is not taken over, and not forgotten', async () => {
    let got = 0;
    using server = await serve(files, (socket) => {
      socket.on('data', (bytes) => {
        got += bytes.length;
      });
    });
    const carrier = await begun(server.port);
    carrier.isStuck = true;
    for (let i = 0; i < 4; i++) carrier.tls.write(CONN, SOCKET, Buffer.alloc(16_384, 'x'));
    await Bun.sleep(20);
    expect(carrier.room).toBeLessThan(65_536);
    expect(carrier.unacked).toBeLessThanOrEqual(CONN_WINDOW_BYTES);
    carrier.isStuck = false;
    carrier.ack();
    await waitFor('room', () => carrier.room === 65_536);
    await waitFor('the bytes', () => got === 65_536);
  });

  test('bytes that were on their way before TLS count against the window', async () => {
    using server = await serve(files, echo);
    const carrier = await SocketCarrier.connect(server.port);
    carrier.tls.ca = authority.pem;
    carrier.tls.secure(CONN, SOCKET, { ...options(), inFlight: CONN_WINDOW_BYTES });
    await Bun.sleep(20);
    expect(carrier.unacked).toBe(0);
    carrier.tls.incoming.room(CONN, SOCKET, CONN_WINDOW_BYTES);
    await waitFor('the handshake', () => carrier.seen[0] === 'secured -');
  });

  test('close: what was written arrives, and what comes is not told any more', async () => {
    let got = '';
    using server = await serve(files, (socket) => {
      socket.on('data', (bytes) => {
        got += bytes;
      });
      socket.on('end', () => void socket.end('too late'));
    });
    const carrier = await begun(server.port);
    carrier.tls.write(CONN, SOCKET, Buffer.from('bye'));
    carrier.tls.close(CONN, SOCKET);
    await waitFor('the end', () => got === 'bye' && carrier.calls.includes('close'));
    await Bun.sleep(20);
    expect(carrier.received).toEqual([]);
  });

  test('abort, and the end of its connection, leave nothing to be told', async () => {
    using server = await serve(files, echo);
    for (const act of [
      (tls: TlsCarrier) => tls.abort(CONN, SOCKET),
      (tls: TlsCarrier) => tls.abort(CONN, 0),
      (tls: TlsCarrier) => tls.incoming.lost(() => true),
    ]) {
      const carrier = await begun(server.port);
      act(carrier.tls);
      await Bun.sleep(20);
      expect(carrier.seen.filter((one) => one !== 'lost' && one !== 'fin')).toEqual(['secured -']);
      // Nothing stands between: the number can be another socket's.
      carrier.tls.incoming.fin(CONN, SOCKET);
      expect(carrier.seen.at(-1)).toBe('fin');
    }
  });

  test('rubbish after the handshake is a failure of TLS', async () => {
    using server = await serve(files, echo);
    const carrier = await begun(server.port);
    carrier.tls.incoming.data(CONN, SOCKET, Buffer.from('this is no record of TLS at all'));
    await waitFor('the failure', () => carrier.seen.length > 1);
    expect(carrier.seen[1]).toMatch(/^closed 3 .+ tls$/);
    expect(carrier.calls).toContain('abort');
  });

  test('the event loop has to turn for a moment after something has happened', async () => {
    using server = await serve(files, echo);
    const carrier = await begun(server.port);
    for (let i = 0; i < 10; i++) carrier.tls.turned();
    expect(carrier.tls.isRestless).toBe(false);
    carrier.tls.write(CONN, SOCKET, Buffer.from('x'));
    expect(carrier.tls.isRestless).toBe(true);
  });
});
