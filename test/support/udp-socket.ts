/** UDP sockets of an agent: a queue of what came, datagrams and errors alike. Runs in Node. */
import dgram from 'node:dgram';
import net from 'node:net';

export interface UdpTarget {
  readonly host: string;
  readonly port: number;
}

export interface UdpOpen {
  readonly family: 4 | 6;
  /** Absent: any address. */
  readonly host?: string;
  /** Absent: a free port. */
  readonly port?: number;
  /** Connected to it, so that ICMP errors about what was sent reach the socket. */
  readonly to?: UdpTarget;
}

/** What a socket got: a datagram and who sent it, or an error such as `ECONNREFUSED`. */
export type UdpNews =
  | { readonly text: string; readonly bytes: number; readonly from: UdpTarget }
  | { readonly error: string };

/** Nothing came in time. */
const SILENCE: UdpNews = { error: 'SILENCE' };

export const udpFamily = (host: string): 4 | 6 => (net.isIPv6(host) ? 6 : 4);

export class UdpSocket {
  readonly #socket: dgram.Socket;
  readonly #news: UdpNews[] = [];
  readonly #isConnected: boolean;
  #wake: (() => void) | undefined;

  private constructor(socket: dgram.Socket, isConnected: boolean) {
    this.#socket = socket;
    this.#isConnected = isConnected;
    socket.on('message', (message, { address, port }) =>
      this.#add({
        text: message.toString('latin1'),
        bytes: message.length,
        from: { host: address, port },
      }),
    );
    socket.on('error', (cause) => this.#add({ error: codeOf(cause) }));
  }

  static async open({ family, host, port, to }: UdpOpen): Promise<UdpSocket> {
    const socket = await boundSocket(family, port ?? 0, host);
    if (to !== undefined) {
      await new Promise<void>((resolve) => socket.connect(to.port, to.host, resolve));
    }
    return new UdpSocket(socket, to !== undefined);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Errors of the kernel come out of `next`. */
  send(data: string | Uint8Array, to?: UdpTarget): void {
    const done = (cause: Error | null): void => {
      if (cause !== null) this.#add({ error: codeOf(cause) });
    };
    if (this.#isConnected || to === undefined) this.#socket.send(data, done);
    else this.#socket.send(data, to.port, to.host, done);
  }

  /** What came first, or comes within the time; `SILENCE` as its error when nothing did. */
  async next(timeoutMs: number): Promise<UdpNews> {
    if (this.#news.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#wake = undefined;
    return this.#news.shift() ?? SILENCE;
  }

  close(): void {
    this.#socket.close();
  }

  #add(news: UdpNews): void {
    this.#news.push(news);
    this.#wake?.();
  }
}

/** Receive buffers for a whole window of large datagrams. */
const RECEIVE_BUFFER_BYTES = 200_000;

export function boundSocket(family: 4 | 6, port: number, host?: string): Promise<dgram.Socket> {
  const socket = dgram.createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    recvBufferSize: RECEIVE_BUFFER_BYTES,
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port, ...(host === undefined ? {} : { address: host }) }, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

export const codeOf = (cause: Error): string =>
  (cause as NodeJS.ErrnoException).code ?? cause.message;
