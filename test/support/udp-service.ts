/** UDP services of an agent. Each counts whom it heard. Runs in Node. */
import type dgram from 'node:dgram';
import { dnsAnswer } from './dns.ts';
import { boundSocket, type UdpTarget, udpFamily } from './udp-socket.ts';

/**
 * - `echo` sends back what came;
 * - `who` answers with the sender's address and port, `10.0.0.1 4000`;
 * - `dns` answers questions for A and AAAA (dns.ts);
 * - `silent` answers nothing.
 */
export type UdpServiceKind = 'echo' | 'who' | 'dns' | 'silent';

export interface UdpServiceReport {
  readonly datagrams: number;
  readonly bytes: number;
  /** Datagrams of each sender, by `address port`. */
  readonly senders: Readonly<Record<string, number>>;
}

export class UdpService {
  readonly #socket: dgram.Socket;
  readonly #senders: Record<string, number> = {};
  #datagrams = 0;
  #bytes = 0;

  private constructor(socket: dgram.Socket, kind: UdpServiceKind) {
    this.#socket = socket;
    socket.on('message', (message, { address, port }) => {
      const sender = `${address} ${port}`;
      this.#datagrams++;
      this.#bytes += message.length;
      this.#senders[sender] = (this.#senders[sender] ?? 0) + 1;
      const answer = answerOf(kind, message, sender);
      if (answer !== undefined) socket.send(answer, port, address);
    });
  }

  /** Bound to one address: from the wildcard, the kernel would answer from another one. */
  static async start({ host, port }: UdpTarget, kind: UdpServiceKind): Promise<UdpService> {
    return new UdpService(await boundSocket(udpFamily(host), port, host), kind);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  report(): UdpServiceReport {
    return { datagrams: this.#datagrams, bytes: this.#bytes, senders: this.#senders };
  }

  close(): void {
    this.#socket.close();
  }
}

function answerOf(
  kind: UdpServiceKind,
  message: Buffer,
  sender: string,
): Uint8Array | string | undefined {
  switch (kind) {
    case 'echo':
      return message;
    case 'who':
      return sender;
    case 'dns':
      return dnsAnswer(message);
    case 'silent':
      return undefined;
  }
}
