/**
 * Streams of datagrams as QUIC has them: both ends send full packets all the time, and the
 * receipt of one allows the next. The far end is an `echo` service: what comes back is the other
 * direction. Each datagram carries its number, and the bytes of pattern.ts. Runs in Node.
 */
import type dgram from 'node:dgram';
import { firstMismatch, patternAt } from './pattern.ts';
import { boundSocket, codeOf, type UdpTarget, udpFamily } from './udp-socket.ts';

export interface UdpStreamOptions extends UdpTarget {
  readonly flows: number;
  /** Datagrams of each flow. */
  readonly datagrams: number;
  /** Of each datagram; `NUMBER_BYTES` at least. */
  readonly bytes: number;
  /** Datagrams of a flow on their way at most. */
  readonly window: number;
}

export interface UdpStreamReport {
  readonly sent: number;
  /** Distinct datagrams that came back. */
  readonly returned: number;
  readonly duplicates: number;
  /** Came back after a later one. */
  readonly reordered: number;
  /** Not as they were sent. */
  readonly wrong: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly ms: number;
}

const NUMBER_BYTES = 8;
/** A flow that hears nothing for so long has lost what is on its way. */
const STALL_MS = 3000;

export async function runUdpStreams(options: UdpStreamOptions): Promise<UdpStreamReport> {
  const started = performance.now();
  const flows = await Promise.all(
    Array.from({ length: options.flows }, (_, seed) => UdpStream.open(options, seed)),
  );
  await Promise.all(flows.map((flow) => flow.run()));
  const errors: Record<string, number> = {};
  for (const flow of flows) {
    for (const code of flow.errors) errors[code] = (errors[code] ?? 0) + 1;
  }
  const sum = (count: (flow: UdpStream) => number): number =>
    flows.reduce((total, flow) => total + count(flow), 0);
  return {
    sent: sum((flow) => flow.sent),
    returned: sum((flow) => flow.returned),
    duplicates: sum((flow) => flow.duplicates),
    reordered: sum((flow) => flow.reordered),
    wrong: sum((flow) => flow.wrong),
    errors,
    ms: performance.now() - started,
  };
}

class UdpStream {
  sent = 0;
  returned = 0;
  duplicates = 0;
  reordered = 0;
  wrong = 0;
  readonly errors: string[] = [];
  readonly #socket: dgram.Socket;
  readonly #options: UdpStreamOptions;
  readonly #seed: number;
  readonly #seen: Uint8Array;
  #highest = -1;
  #finish: () => void = () => {};
  #stall: NodeJS.Timeout | undefined;

  private constructor(socket: dgram.Socket, options: UdpStreamOptions, seed: number) {
    this.#socket = socket;
    this.#options = options;
    this.#seed = seed;
    this.#seen = new Uint8Array(options.datagrams);
    socket.on('message', (message) => this.#take(message));
    socket.on('error', (cause) => this.errors.push(codeOf(cause)));
  }

  static async open(options: UdpStreamOptions, seed: number): Promise<UdpStream> {
    const socket = await boundSocket(udpFamily(options.host), 0);
    await new Promise<void>((resolve) => socket.connect(options.port, options.host, resolve));
    return new UdpStream(socket, options, seed);
  }

  /** Resolves when everything came back, or nothing comes any more. */
  async run(): Promise<void> {
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    this.#fill();
    await finished;
    clearTimeout(this.#stall);
    this.#socket.close();
  }

  #fill(): void {
    const { datagrams, window, bytes } = this.#options;
    while (this.sent < datagrams && this.sent - this.returned < window) {
      const datagram = Buffer.concat([
        Buffer.alloc(NUMBER_BYTES),
        patternBytes(this.#seed, this.sent * bytes, bytes - NUMBER_BYTES),
      ]);
      datagram.writeUInt32BE(this.#seed, 0);
      datagram.writeUInt32BE(this.sent, 4);
      this.#socket.send(datagram, (cause) => {
        if (cause !== null) this.errors.push(codeOf(cause));
      });
      this.sent++;
    }
    clearTimeout(this.#stall);
    this.#stall = setTimeout(() => this.#finish(), STALL_MS);
  }

  #take(message: Buffer): void {
    const number = this.#numberOf(message);
    if (number < 0) {
      this.wrong++;
      return;
    }
    if (this.#seen[number] === 1) {
      this.duplicates++;
      return;
    }
    this.#seen[number] = 1;
    this.returned++;
    if (number < this.#highest) this.reordered++;
    else this.#highest = number;
    if (this.returned === this.#options.datagrams) this.#finish();
    else this.#fill();
  }

  /** Number of a datagram; -1 when it is not as it was sent. */
  #numberOf(message: Buffer): number {
    const { bytes, datagrams } = this.#options;
    if (message.length !== bytes || message.readUInt32BE(0) !== this.#seed) return -1;
    const number = message.readUInt32BE(4);
    if (number >= datagrams) return -1;
    const isRight =
      firstMismatch(this.#seed, number * bytes, message.subarray(NUMBER_BYTES)) === -1;
    return isRight ? number : -1;
  }
}

function patternBytes(seed: number, at: number, length: number): Buffer {
  const pieces: Buffer[] = [];
  for (let done = 0; done < length; ) {
    const piece = patternAt(seed, at + done, length - done);
    pieces.push(piece);
    done += piece.length;
  }
  return Buffer.concat(pieces);
}
