/** Clients of an HTTP server that send what they like, as slowly as they like. */
import { connect, type NetConnectOpts, type Socket } from 'node:net';

export interface RawClient {
  readonly socket: Socket;
  /** What it has got, a character for each byte. */
  text: string;
  isClosed: boolean;
}

export class RawClients {
  readonly #sockets: Socket[] = [];

  /** A client that sends this much. */
  open(to: NetConnectOpts, text: string): RawClient {
    const socket = connect(to);
    this.#sockets.push(socket);
    const client: RawClient = { socket, text: '', isClosed: false };
    socket.on('data', (bytes) => {
      client.text += bytes.toString('latin1');
    });
    socket.on('close', () => {
      client.isClosed = true;
    });
    socket.on('error', () => undefined);
    if (text !== '') socket.write(text);
    return client;
  }

  /** Ends all of them at once. */
  destroy(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
  }
}
