/** Proxies for an agent: a SOCKS5 server (RFC 1928, RFC 1929) and one of the method CONNECT. */
import net from 'node:net';

interface Login {
  readonly user: string;
  readonly password: string;
}

interface ProxyOptions {
  readonly port: number;
  /** What a client has to say; absent: nothing. */
  readonly login?: Login;
}

/** SOCKS reply by the code of a failed connect. */
const REPLIES: Readonly<Record<string, number>> = {
  ENETUNREACH: 3,
  EHOSTUNREACH: 4,
  ECONNREFUSED: 5,
};
const STATUSES: Readonly<Record<string, string>> = {
  EACCES: '403 Forbidden',
  ETIMEDOUT: '504 Gateway Timeout',
};

const servers = new Map<number, net.Server>();

function serve(port: number, onSocket: (socket: net.Socket) => Promise<void>): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    onSocket(socket).catch(() => socket.destroy());
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '::', () => {
      const bound = (server.address() as net.AddressInfo).port;
      servers.set(bound, server);
      resolve(bound);
    });
  });
}

/** Takes exactly so many bytes; what comes behind them stays. */
async function take(socket: net.Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(count) as Buffer | null;
    if (bytes !== null) return bytes;
    await new Promise((resolve, reject) => {
      socket.once('readable', resolve);
      socket.once('close', () => reject(new Error('closed')));
    });
  }
}

/** @returns the socket, or the code of the failure */
function dial(host: string, port: number): Promise<net.Socket | string> {
  const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
}

function join(client: net.Socket, target: net.Socket): void {
  target.on('error', () => client.resetAndDestroy());
  client.on('error', () => target.resetAndDestroy());
  client.pipe(target);
  target.pipe(client);
}

async function onSocks(socket: net.Socket, login: Login | undefined): Promise<void> {
  const [version, methods = 0] = await take(socket, 2);
  if (version !== 5) throw new Error('no SOCKS5');
  const wanted = login === undefined ? 0 : 2;
  const offered = await take(socket, methods);
  socket.write(Uint8Array.of(5, offered.includes(wanted) ? wanted : 0xff));
  if (!offered.includes(wanted)) {
    socket.end();
    return;
  }
  if (login !== undefined && !(await hasLogin(socket, login))) {
    socket.end(Uint8Array.of(1, 1));
    return;
  }
  if (login !== undefined) socket.write(Uint8Array.of(1, 0));
  const [, , , type] = await take(socket, 4);
  const address = await take(socket, type === 4 ? 16 : 4);
  const port = (await take(socket, 2)).readUInt16BE();
  const target = await dial(textOf(address), port);
  const reply = typeof target === 'string' ? (REPLIES[target] ?? 1) : 0;
  socket.write(Uint8Array.of(5, reply, 0, 1, 0, 0, 0, 0, 0, 0));
  if (typeof target === 'string') socket.end();
  else join(socket, target);
}

async function hasLogin(socket: net.Socket, { user, password }: Login): Promise<boolean> {
  const [, userLength = 0] = await take(socket, 2);
  const name = (await take(socket, userLength)).toString();
  const [passwordLength = 0] = await take(socket, 1);
  return name === user && (await take(socket, passwordLength)).toString() === password;
}

function textOf(address: Buffer): string {
  if (address.length === 4) return address.join('.');
  return Array.from({ length: 8 }, (_, i) => address.readUInt16BE(i * 2).toString(16)).join(':');
}

async function onConnect(socket: net.Socket, login: Login | undefined): Promise<void> {
  let header = '';
  while (!header.endsWith('\r\n\r\n')) header += (await take(socket, 1)).toString('latin1');
  const [, host = '', port = ''] = /^CONNECT \[?([^\]\s]+?)\]?:(\d+) HTTP\/1\.1/.exec(header) ?? [];
  const wanted = login && Buffer.from(`${login.user}:${login.password}`).toString('base64');
  if (wanted !== undefined && !header.includes(`Proxy-Authorization: Basic ${wanted}\r\n`)) {
    socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    return;
  }
  const target = await dial(host, Number(port));
  if (typeof target === 'string') {
    socket.end(`HTTP/1.1 ${STATUSES[target] ?? '502 Bad Gateway'}\r\nContent-Length: 0\r\n\r\n`);
    return;
  }
  socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
  join(socket, target);
}

export const proxyMethods = {
  socks5: ({ port, login }: ProxyOptions): Promise<number> =>
    serve(port, (socket) => onSocks(socket, login)),

  httpProxy: ({ port, login }: ProxyOptions): Promise<number> =>
    serve(port, (socket) => onConnect(socket, login)),

  /** Stops listening; connections go on. */
  stopProxy: async ({ port }: { port: number }): Promise<void> => {
    servers.get(port)?.close();
    servers.delete(port);
  },
};
