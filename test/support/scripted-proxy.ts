/** A server on loopback that answers the first requests of each connection as a test says. */
import type { Socket, TCPSocketListener } from 'bun';

type Answer = string | Uint8Array | ((socket: Socket<Talk>) => void);

interface Talk {
  /** Answers that are left. */
  readonly script: Answer[];
  /** What the client said, one entry for each answer. */
  readonly heard: Uint8Array[];
}

export class ScriptedProxy {
  readonly connections: Talk[] = [];
  readonly #server: TCPSocketListener<Talk>;
  readonly #answers: readonly Answer[];

  /** @param answers  to the first, the second … piece that a client sends; then it is an echo */
  constructor(answers: readonly Answer[], hostname = '127.0.0.1', port = 0) {
    this.#answers = answers;
    this.#server = Bun.listen<Talk>({
      hostname,
      port,
      allowHalfOpen: true,
      socket: {
        open: (socket) => {
          socket.data = { script: [...this.#answers], heard: [] };
          this.connections.push(socket.data);
        },
        data: (socket, bytes) => {
          socket.data.heard.push(new Uint8Array(bytes));
          const answer = socket.data.script.shift();
          if (typeof answer === 'function') answer(socket);
          else socket.write(answer ?? bytes);
        },
        end: (socket) => void socket.end(),
      },
    });
  }

  get port(): number {
    return this.#server.port;
  }

  [Symbol.dispose](): void {
    this.#server.stop(true);
  }
}

/** A port of loopback on which nobody listens. */
export function closedPort(hostname = '127.0.0.1'): number {
  const server = Bun.listen({ hostname, port: 0, socket: { data: () => {} } });
  const { port } = server;
  server.stop(true);
  return port;
}
