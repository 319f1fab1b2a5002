/** What real clients begin with, recorded on loopback when a test asks for it. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** How long a client may take to be started and to say something. */
const PATIENCE_MS = 10_000;
/** Who has been silent for so long has said what there is to say before an answer. */
const SILENCE_MS = 150;

export const isInstalled = (tool: string): boolean => Bun.which(tool) !== null;

/** Starts a client against a port of loopback, and gives back how it is stopped. */
export type StartClient = (port: number) => () => void;

/** A client that is a program, stopped when the recording is over. */
export const program =
  (command: (port: number) => string[]): StartClient =>
  (port) => {
    const child = Bun.spawn(command(port), { stdin: 'pipe', stdout: 'ignore', stderr: 'ignore' });
    return () => child.kill();
  };

/**
 * The bytes that a client of TCP sends on its first connection before anybody answers; empty when
 * there are none. Browsers open more than one.
 */
export async function recordStream(start: StartClient): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let connections = 0;
  const recording = new Recording();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (++connections > 1) return;
    socket.on('data', (piece) => {
      pieces.push(Buffer.from(piece));
      recording.heard();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const stop = start(typeof address === 'object' && address !== null ? address.port : 0);
  await recording.over;
  stop();
  server.close();
  return new Uint8Array(Buffer.concat(pieces));
}

/** The datagrams that a client sends from its first port before anybody answers. */
export async function recordDatagrams(start: StartClient): Promise<Uint8Array[]> {
  const datagrams: Uint8Array[] = [];
  const recording = new Recording();
  let firstPort: number | undefined;
  const socket = createSocket('udp4', (datagram, { port }) => {
    firstPort ??= port;
    if (port !== firstPort) return;
    datagrams.push(new Uint8Array(datagram));
    recording.heard();
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const stop = start(socket.address().port);
  await recording.over;
  stop();
  socket.close();
  return datagrams;
}

/** Ends a while after what was heard last, or when nothing is heard at all. */
class Recording {
  readonly over: Promise<void>;
  #end: () => void = () => {};
  #timer: Timer;

  constructor() {
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#timer = setTimeout(() => this.#end(), PATIENCE_MS);
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#end(), SILENCE_MS);
  }
}
