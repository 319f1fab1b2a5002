/** What an agent does with UDP and DNS (agent.ts). Runs in Node. */
import { Resolver } from 'node:dns/promises';
import { addressOfName, dnsName } from './dns.ts';
import { UdpService, type UdpServiceKind, type UdpServiceReport } from './udp-service.ts';
import { codeOf, type UdpNews, type UdpOpen, UdpSocket, type UdpTarget } from './udp-socket.ts';
import { runUdpStreams, type UdpStreamOptions, type UdpStreamReport } from './udp-stream.ts';

export interface DnsLoad {
  readonly server: UdpTarget;
  readonly family: 4 | 6;
  readonly queries: number;
  /** Each query has a socket of its own. */
  readonly atOnce: number;
}

export interface DnsReport {
  /** Queries that brought the address of their name. */
  readonly right: number;
  /** By error code; `WRONG` for another address. */
  readonly errors: Readonly<Record<string, number>>;
}

const DNS_TIMEOUT_MS = 2000;

const services = new Map<string, UdpService>();
const sockets = new Map<number, UdpSocket>();
let nextSocket = 1;

const keyOf = ({ host, port }: UdpTarget): string => `${host} ${port}`;

const serviceAt = (target: UdpTarget): UdpService => {
  const service = services.get(keyOf(target));
  if (service === undefined) throw new Error(`no UDP service at ${keyOf(target)}`);
  return service;
};

const socketOf = (id: number): UdpSocket => {
  const socket = sockets.get(id);
  if (socket === undefined) throw new Error(`no UDP socket ${id}`);
  return socket;
};

/** A query from a fresh socket; what went wrong, or undefined. */
async function queryOnce({ server, family }: DnsLoad, number: number): Promise<string | undefined> {
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: 1 });
  resolver.setServers([
    server.host.includes(':') ? `[${server.host}]:${server.port}` : `${server.host}:${server.port}`,
  ]);
  const name = dnsName(number);
  try {
    const found = family === 6 ? await resolver.resolve6(name) : await resolver.resolve4(name);
    return found[0] === addressOfName(number, family) ? undefined : 'WRONG';
  } catch (cause) {
    return codeOf(cause as Error);
  }
}

export const udpMethods = {
  /** Starts a service at an address of this namespace; port 0 takes a free one. */
  udpServe: async (options: UdpTarget & { kind: UdpServiceKind }): Promise<number> => {
    const service = await UdpService.start(options, options.kind);
    services.set(keyOf({ host: options.host, port: service.port }), service);
    return service.port;
  },

  udpReport: async (target: UdpTarget): Promise<UdpServiceReport> => serviceAt(target).report(),

  udpUnserve: async (target: UdpTarget): Promise<void> => {
    serviceAt(target).close();
    services.delete(keyOf(target));
  },

  /** Opens a socket; `id` names it from then on. */
  udpOpen: async (options: UdpOpen): Promise<{ id: number; port: number }> => {
    const socket = await UdpSocket.open(options);
    sockets.set(nextSocket, socket);
    return { id: nextSocket++, port: socket.port };
  },

  udpSend: async ({ id, text, to }: { id: number; text: string; to?: UdpTarget }): Promise<void> =>
    socketOf(id).send(text, to),

  /** Sends bytes that are no text. */
  udpSendBytes: async ({ id, hex }: { id: number; hex: string }): Promise<void> =>
    socketOf(id).send(Buffer.from(hex, 'hex')),

  /** What the socket got next. */
  udpNext: ({ id, timeoutMs }: { id: number; timeoutMs: number }): Promise<UdpNews> =>
    socketOf(id).next(timeoutMs),

  udpClose: async ({ id }: { id: number }): Promise<void> => {
    socketOf(id).close();
    sockets.delete(id);
  },

  /** One datagram from a fresh, connected socket, and what came of it. */
  udpAsk: async (
    options: UdpTarget & { family: 4 | 6; bytes?: number; timeoutMs?: number },
  ): Promise<UdpNews> => {
    const socket = await UdpSocket.open({ family: options.family, to: options });
    socket.send('x'.repeat(options.bytes ?? 1));
    const news = await socket.next(options.timeoutMs ?? DNS_TIMEOUT_MS);
    socket.close();
    return news;
  },

  /** Streams against an `echo` service. */
  udpStreams: (options: UdpStreamOptions): Promise<UdpStreamReport> => runUdpStreams(options),

  /** Asks a `dns` service for many names. */
  dnsQueries: async (load: DnsLoad): Promise<DnsReport> => {
    const errors: Record<string, number> = {};
    let right = 0;
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < load.queries) {
        const error = await queryOnce(load, next++);
        if (error === undefined) right++;
        else errors[error] = (errors[error] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: load.atOnce }, worker));
    return { right, errors };
  },
};
