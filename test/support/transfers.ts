/** A transfer from one agent to another, as tests ask for it. */
import type { Agent } from './agent-handle.ts';
import type { TransferEnd, TransferReport } from './transfer.ts';

export interface Transfer {
  /** Bytes from client to server. */
  readonly up: number;
  readonly down: number;
  /** Who waits for the other's FIN before it sends. */
  readonly waits?: 'client' | 'server';
  readonly slowClient?: TransferEnd['slow'];
  readonly slowServer?: TransferEnd['slow'];
}

export interface TransferResult {
  readonly client: TransferReport;
  readonly server: TransferReport;
}

/** The same for every transfer: the two directions differ. */
const UP_SEED = 1;
const DOWN_SEED = 2;

/** Runs one transfer to `host`. */
export async function transferBetween(
  client: Agent,
  server: Agent,
  host: string,
  { up, down, waits, slowClient, slowServer }: Transfer,
): Promise<TransferResult> {
  const port = await server.call('serveTransfer', {
    send: down,
    receive: up,
    seed: DOWN_SEED,
    peerSeed: UP_SEED,
    ...(waits === 'server' ? { sendWhen: 'after-fin' } : {}),
    ...(slowServer === undefined ? {} : { slow: slowServer }),
  });
  const clientReport = await client.call('transfer', {
    host,
    port,
    send: up,
    receive: down,
    seed: UP_SEED,
    peerSeed: DOWN_SEED,
    ...(waits === 'client' ? { sendWhen: 'after-fin' } : {}),
    ...(slowClient === undefined ? {} : { slow: slowClient }),
  });
  return { client: clientReport, server: await server.call('transferReport', { port }) };
}

/** What both reports must say when every byte arrived once, in its place, and both sides ended. */
export const intact = ({ up, down }: Transfer) => {
  const ended = { wrongAt: -1, fin: true, error: '' };
  return {
    client: { sent: up, received: down, ...ended },
    server: { sent: down, received: up, ...ended },
  };
};

/** `down` bytes at `ms`, in Gbit/s. */
export const gigabitsPerSecond = (bytes: number, ms: number): number => (bytes * 8) / ms / 1e6;
