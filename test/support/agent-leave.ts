/** Clients that leave in the middle, and servers that read late. */
import net from 'node:net';

interface Late {
  readonly socket: Promise<net.Socket>;
  bytes: number;
}

const clients = new Map<number, net.Socket>();
const late = new Map<number, Late>();
let nextClient = 1;

export const leaveMethods = {
  /** Connects, writes `bytes`, and FIN where it is wanted; the number names the client. */
  fill: ({
    host,
    port,
    bytes,
    withEnd,
  }: {
    host: string;
    port: number;
    bytes: number;
    withEnd: boolean;
  }): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ host, port, allowHalfOpen: true });
      socket.on('error', reject);
      socket.on('connect', () => {
        const done = () => {
          clients.set(nextClient, socket);
          resolve(nextClient++);
        };
        socket.write(Buffer.alloc(bytes, 7), () => {
          if (withEnd) socket.end(done);
          else done();
        });
      });
    }),

  /** Resets the connection of such a client. */
  leave: async ({ id }: { id: number }): Promise<void> => {
    clients.get(id)?.resetAndDestroy();
    clients.delete(id);
  },

  /** Accepts one connection, and reads nothing. */
  late: ({ host }: { host: string }): Promise<number> =>
    new Promise((resolve, reject) => {
      let taken: (socket: net.Socket) => void = () => {};
      const socket = new Promise<net.Socket>((found) => {
        taken = found;
      });
      const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, taken);
      server.on('error', reject);
      server.listen({ host, port: 0 }, () => {
        const { port } = server.address() as net.AddressInfo;
        late.set(port, { socket, bytes: 0 });
        resolve(port);
      });
      void socket.then(() => server.close());
    }),

  /** Reads all of it now. @returns how many bytes, and how it ended: `end`, `ECONNRESET` */
  lateRead: async ({ port }: { port: number }): Promise<{ bytes: number; end: string }> => {
    const entry = late.get(port);
    if (entry === undefined) throw new Error(`nobody is late on port ${port}`);
    const socket = await entry.socket;
    late.delete(port);
    return new Promise((resolve) => {
      const ended = (end: string) => {
        socket.destroy();
        resolve({ bytes: entry.bytes, end });
      };
      socket.on('data', (chunk: Buffer) => {
        entry.bytes += chunk.length;
      });
      socket.on('end', () => ended('end'));
      socket.on('error', (cause: NodeJS.ErrnoException) => ended(cause.code ?? 'ERROR'));
      socket.resume();
    });
  },
};
