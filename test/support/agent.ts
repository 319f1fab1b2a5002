/**
 * A program that stands in one network namespace and does there what a test asks for: one JSON
 * request per line on standard input, one JSON answer per line on standard output. It runs in
 * Node, not in Bun, so that the far end of a test is not made of the same parts as the gateway,
 * and because Bun reports every failed connect as ECONNREFUSED.
 */
import http from 'node:http';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { leaveMethods } from './agent-leave.ts';
import { proxyMethods } from './agent-proxy.ts';
import { udpMethods } from './agent-udp.ts';
import { HeldFlows, type HeldReport, type HoldOptions } from './held-flows.ts';
import { runTransfer, type TransferEnd, type TransferReport } from './transfer.ts';

export interface ConnectResult {
  readonly open: boolean;
  /** `ECONNREFUSED` and so on; `PENDING` when nothing came before the timeout. */
  readonly code: string;
  readonly ms: number;
}

type Target = { readonly host: string; readonly port: number };

const RESET_AFTER_MS = 50;

const servers = new Map<number, net.Server>();
const reports = new Map<number, Promise<TransferReport>>();
const holds = new Map<number, HeldFlows>();
let nextHold = 1;

/** Listens on IPv4 and IPv6; port 0 takes a free one. */
function listen(port: number, onSocket: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, onSocket);
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen({ port, host: '::', backlog: 8192 }, () => {
      const bound = (server.address() as net.AddressInfo).port;
      servers.set(bound, server);
      resolve(bound);
    });
  });
}

function connectOnce(target: Target & { timeoutMs: number }): Promise<ConnectResult> {
  const started = performance.now();
  const socket = net.connect({ host: target.host, port: target.port });
  return new Promise((resolve) => {
    const settle = (open: boolean, code: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ open, code, ms: performance.now() - started });
    };
    const timer = setTimeout(() => settle(false, 'PENDING'), target.timeoutMs);
    socket.on('connect', () => settle(true, ''));
    socket.on('error', (cause: NodeJS.ErrnoException) => settle(false, cause.code ?? 'ERROR'));
  });
}

/** An IPv4 address without the prefix that a socket of both families puts before it. */
const plain = (address: string): string => address.replace(/^::ffff:/, '');

const held = (id: number): HeldFlows => {
  const flows = holds.get(id);
  if (flows === undefined) throw new Error(`no held flows ${id}`);
  return flows;
};

const methods = {
  ...udpMethods,
  ...proxyMethods,
  ...leaveMethods,

  /** Sends back what comes, and FIN after FIN. */
  echo: ({ port }: { port: number }): Promise<number> =>
    listen(port, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    }),

  /** Accepts and resets at once. */
  resetter: ({ port }: { port: number }): Promise<number> =>
    listen(port, (socket) => {
      socket.on('error', () => socket.destroy());
      // A reset at once would meet the gateway's dial, and be told as a refusal.
      setTimeout(() => socket.resetAndDestroy(), RESET_AFTER_MS);
    }),

  /** Answers who connects with its address and port, and where it connected to. */
  who: ({ port }: { port: number }): Promise<number> =>
    listen(port, (socket) => {
      socket.on('error', () => socket.destroy());
      const { remoteAddress = '', remotePort, localAddress = '', localPort } = socket;
      socket.end(`${plain(remoteAddress)} ${remotePort} ${plain(localAddress)} ${localPort}`);
    }),

  /** Accepts, and neither says anything nor closes. */
  mute: ({ port }: { port: number }): Promise<number> =>
    listen(port, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.resume();
    }),

  /** Connects and sends FIN at once; the socket stays, half closed. */
  halfClose: ({ host, port }: Target): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ host, port, allowHalfOpen: true });
      socket.on('error', reject);
      socket.on('connect', () => socket.end(resolve));
    }),

  /** Connects, optionally from a port of its own, and gives what is said until FIN. */
  ask: ({ localPort, ...target }: Target & { localPort?: number }): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ ...target, ...(localPort === undefined ? {} : { localPort }) });
      let text = '';
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
      });
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    }),

  /** Answers every HTTP request with `text`. */
  http: ({ port, text }: { port: number; text: string }): Promise<number> =>
    new Promise((resolve, reject) => {
      const server = http.createServer((_request, response) => response.end(text));
      server.on('error', reject);
      server.listen(port, '::', () => {
        const bound = (server.address() as net.AddressInfo).port;
        servers.set(bound, server);
        resolve(bound);
      });
    }),

  /** Takes part in one transfer with the first who connects. */
  serveTransfer: async (end: TransferEnd): Promise<number> => {
    // Node 20 has no Promise.withResolvers.
    let started: (report: Promise<TransferReport>) => void = () => {};
    const report = new Promise<TransferReport>((resolve) => {
      started = resolve;
    });
    const port = await listen(0, (socket) => started(runTransfer(socket, end)));
    reports.set(port, report);
    return port;
  },

  /** The report of that transfer, once it ended. */
  transferReport: async ({ port }: { port: number }): Promise<TransferReport> => {
    const report = await reports.get(port);
    if (report === undefined) throw new Error(`no transfer on port ${port}`);
    reports.delete(port);
    await methods.unlisten({ port });
    return report;
  },

  unlisten: async ({ port }: { port: number }): Promise<void> => {
    servers.get(port)?.close();
    servers.delete(port);
  },

  transfer: ({ host, port, ...end }: Target & TransferEnd): Promise<TransferReport> =>
    runTransfer(net.connect({ host, port, allowHalfOpen: true }), end),

  connect: connectOnce,

  /** Connects to every port of a range, a few at a time. */
  scan: async ({ host, from, to }: { host: string; from: number; to: number }) => {
    const open: number[] = [];
    const codes: Record<string, number> = {};
    let next = from;
    const worker = async (): Promise<void> => {
      while (next <= to) {
        const port = next++;
        const result = await connectOnce({ host, port, timeoutMs: 10_000 });
        if (result.open) open.push(port);
        else codes[result.code] = (codes[result.code] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: 32 }, worker));
    return { open: open.toSorted((a, b) => a - b), codes };
  },

  /** Opens flows to an echo service and keeps them busy; the number names them. */
  hold: async (options: HoldOptions): Promise<number> => {
    const flows = new HeldFlows(options);
    await flows.open();
    holds.set(nextHold, flows);
    return nextHold++;
  },

  holdLive: async ({ id }: { id: number }): Promise<number> => held(id).live,

  holdStop: ({ id }: { id: number }): Promise<HeldReport> => held(id).stop(),

  /** Resolves once every flow was closed by somebody else. */
  holdEnded: async ({ id }: { id: number }): Promise<HeldReport> => {
    await held(id).ended();
    return held(id).report();
  },
};

export type AgentMethods = typeof methods;

interface Request {
  readonly id: number;
  readonly method: keyof AgentMethods;
  readonly params: never;
}

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, method, params } = JSON.parse(line) as Request;
    try {
      const result = await methods[method](params);
      process.stdout.write(`${JSON.stringify({ id, result })}\n`);
    } catch (cause) {
      process.stdout.write(`${JSON.stringify({ id, error: String(cause) })}\n`);
    }
  })
  .on('close', () => process.exit(0));
