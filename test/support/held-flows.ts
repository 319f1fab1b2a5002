/**
 * Many connections to an echo service that are kept busy: each sends a block, expects it back
 * byte by byte, and sends the next. Runs in Node.
 */
import net from 'node:net';
import { firstMismatch, patternAt } from './pattern.ts';

export interface HeldReport {
  readonly flows: number;
  /** Flows that were opened; the others are in `errors`. */
  readonly opened: number;
  /** Flows that ended before they were told to, by error code; `FIN` for a clean early end. */
  readonly errors: Readonly<Record<string, number>>;
  /** Flows with a byte that was not the one sent. */
  readonly wrong: number;
  readonly bytes: number;
  /** Fewest blocks that came back on one flow. */
  readonly fewestRounds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface HoldOptions {
  readonly host: string;
  readonly port: number;
  readonly flows: number;
  readonly blockBytes: number;
  /** Pause between two blocks of a flow. */
  readonly intervalMs: number;
}

interface Held {
  readonly socket: net.Socket;
  readonly seed: number;
  opened: boolean;
  sent: number;
  received: number;
  rounds: number;
  wrong: boolean;
  error: string;
  closed: boolean;
  sentAt: number;
}

export class HeldFlows {
  readonly #options: HoldOptions;
  readonly #flows: Held[] = [];
  readonly #roundTripsMs: number[] = [];
  #stopping = false;

  constructor(options: HoldOptions) {
    this.#options = options;
  }

  /** Opens all flows; resolves when each is open or has failed. */
  async open(): Promise<void> {
    const opening: Promise<void>[] = [];
    for (let seed = 0; seed < this.#options.flows; seed++) opening.push(this.#openOne(seed));
    await Promise.all(opening);
  }

  /** How many flows are open now. */
  get live(): number {
    return this.#flows.filter((flow) => flow.opened && !flow.closed).length;
  }

  /** Lets each flow finish its block, ends it with FIN, and waits for the peer's. */
  async stop(): Promise<HeldReport> {
    this.#stopping = true;
    await this.ended();
    return this.report();
  }

  /** Resolves when every flow is closed, whoever closed it. */
  async ended(): Promise<void> {
    await Promise.all(
      this.#flows.map(
        (flow) => flow.closed || new Promise((resolve) => flow.socket.once('close', resolve)),
      ),
    );
  }

  report(): HeldReport {
    const errors: Record<string, number> = {};
    for (const { error } of this.#flows) if (error !== '') errors[error] = (errors[error] ?? 0) + 1;
    const sorted = this.#roundTripsMs.toSorted((a, b) => a - b);
    return {
      flows: this.#flows.length,
      opened: this.#flows.filter((flow) => flow.opened).length,
      errors,
      wrong: this.#flows.filter((flow) => flow.wrong).length,
      bytes: this.#flows.reduce((sum, flow) => sum + flow.received, 0),
      fewestRounds: Math.min(...this.#flows.map((flow) => flow.rounds)),
      p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? 0,
      p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    };
  }

  #openOne(seed: number): Promise<void> {
    const { host, port } = this.#options;
    const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
    const flow: Held = {
      socket,
      seed,
      opened: false,
      sent: 0,
      received: 0,
      rounds: 0,
      wrong: false,
      error: '',
      closed: false,
      sentAt: 0,
    };
    this.#flows.push(flow);
    socket.on('data', (bytes: Buffer) => this.#onData(flow, bytes));
    socket.on('end', () => (socket.writableEnded ? socket.end() : endedEarly(flow)));
    socket.on('error', (cause: NodeJS.ErrnoException) => {
      flow.error ||= cause.code ?? cause.message;
    });
    return new Promise((resolve) => {
      socket.on('connect', () => {
        flow.opened = true;
        this.#sendBlock(flow);
        resolve();
      });
      socket.on('close', () => {
        flow.closed = true;
        resolve();
      });
    });
  }

  #sendBlock(flow: Held): void {
    const blockEnd = flow.sent + this.#options.blockBytes;
    while (flow.sent < blockEnd) {
      const chunk = patternAt(flow.seed, flow.sent, blockEnd - flow.sent);
      flow.socket.write(chunk);
      flow.sent += chunk.length;
    }
    flow.sentAt = performance.now();
  }

  #onData(flow: Held, bytes: Buffer): void {
    if (firstMismatch(flow.seed, flow.received, bytes) >= 0) flow.wrong = true;
    flow.received += bytes.length;
    if (flow.received !== flow.sent) return;
    flow.rounds++;
    this.#roundTripsMs.push(performance.now() - flow.sentAt);
    setTimeout(() => {
      if (flow.closed) return;
      if (this.#stopping) flow.socket.end();
      else this.#sendBlock(flow);
    }, this.#options.intervalMs);
  }
}

/**
 * Node tells of an end, too, when a reset came between two reads and a write has taken the error
 * for itself; what is written to such a socket fails.
 */
function endedEarly(flow: Held): void {
  flow.socket.write('?', (cause) => {
    flow.error ||= cause === undefined || cause === null ? 'FIN' : 'ECONNRESET';
    flow.socket.end();
  });
}
