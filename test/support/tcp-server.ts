/** An upstream on loopback, and its side of the connections that it took. */
import net from 'node:net';

export interface TcpServer extends Disposable {
  readonly port: number;
  readonly sockets: readonly net.Socket[];
  /** Connections whose client has sent FIN. */
  readonly ended: number;
  /** Codes of errors: `ECONNRESET`. */
  readonly errors: readonly string[];
  /** All that came, as text, as bytes, and how much. */
  received(): string;
  bytes(): Buffer;
  length(): number;
}

export async function tcpServer(): Promise<TcpServer> {
  const sockets: net.Socket[] = [];
  const errors: string[] = [];
  const chunks: Buffer[] = [];
  let length = 0;
  let ended = 0;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''));
    socket.on('data', (bytes) => {
      chunks.push(Buffer.from(bytes));
      length += bytes.length;
    });
    socket.on('end', () => {
      ended += 1;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    sockets,
    errors,
    get ended() {
      return ended;
    },
    received: () => Buffer.concat(chunks).toString(),
    bytes: () => Buffer.concat(chunks),
    length: () => length,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
