/** What the host keeps of a claimed connection, and of a call that has sockets. */
import type { ConnectionRequest } from '../../stack/verdict.ts';
import type { Generation } from '../generations/registry.ts';
import type { Script } from '../script/script.ts';
import type { Dialing } from './dialing.ts';
import type { ConnNews, DialRefusal } from './guest-conns.ts';
import { CLIENT_END, type SecureOptions } from './ports.ts';

/** A decision that claimed its flow. */
export interface Claim {
  readonly requestId: number;
  readonly request: ConnectionRequest;
  readonly generation: Generation;
  readonly script: Script;
  /** Microseconds; whose client has not come by then does not come any more. */
  readonly deadline: number;
}

/** `carrier` of an end that is being dialled. */
export const NO_SOCKET = 0;

export class EndRow {
  /** 0 is the client. */
  readonly id: number;
  /** What the carrier calls it: CLIENT_END, or the number of the attempt that was taken. */
  carrier: number = CLIENT_END;
  isOpen = false;
  /** That a script dialled; empty of an address, and of a client. */
  name = '';
  /** Bytes that were wanted and have not come. */
  credit = 0;
  /** Bytes that were written and not taken over. */
  inFlight = 0;
  /** The script waits for room. */
  owesRoom = false;
  /** Number of the last peek, a uint16. */
  peek = 0;
  isPeeking = false;
  dialing: Dialing | undefined;
  /** Whose certificate the far side must have: TLS begins as soon as it is connected. */
  secure: Pick<SecureOptions, 'name' | 'alpn'> | undefined;
  /** Of a socket that is connected, and not open before the handshake of TLS is done. */
  info: { readonly remoteAddress: string; readonly localAddress: string } | undefined;
  /** Microseconds; when a dial is over. */
  deadline = Number.POSITIVE_INFINITY;

  constructor(id: number) {
    this.id = id;
  }
}

export class ConnRow {
  /** Ours, for the sandbox: never used twice. Of a call its number (script-calls.ts). */
  readonly id: number;
  /** What the carrier calls it. */
  readonly carrier: number;
  readonly script: Script;
  /** Undefined of a call, which has no client. */
  readonly claim: Claim | undefined;
  readonly ends = new Map<number, EndRow>();
  /** By the carrier's number; also of attempts that may lose. */
  readonly sockets = new Map<number, EndRow>();
  /** For the sandbox, in its next turn. */
  news: ConnNews[] = [];
  isReady = false;
  isStarted = false;
  /** The socket that its bytes go to natively. */
  splicedWith: EndRow | undefined;
  /** Of a call: why it opens no more sockets. */
  refusal: DialRefusal | undefined;
  /** The carrier has ended it; its script is to hear of that. */
  isOver = false;
  isGone = false;
  /** By which its upstream was dialled, as was noted; empty of an address. */
  dnsName = '';
  /** Microseconds in the sandbox. */
  cpuUs = 0;
  lastEnd = 0;

  constructor(id: number, carrier: number, script: Script, claim?: Claim) {
    this.id = id;
    this.carrier = carrier;
    this.script = script;
    this.claim = claim;
    if (claim === undefined) return;
    const client = new EndRow(CLIENT_END);
    client.isOpen = true;
    this.ends.set(CLIENT_END, client);
  }

  /** Serial number of the flow; 0 of a call. */
  get flow(): number {
    return this.claim?.request.flow ?? 0;
  }

  get isSpliced(): boolean {
    return this.splicedWith !== undefined;
  }

  /** An end by the carrier's number of it. */
  endAt(carrier: number): EndRow | undefined {
    if (carrier === CLIENT_END) return this.ends.get(CLIENT_END);
    const end = this.sockets.get(carrier);
    // An attempt that is still out is nobody's yet.
    return end?.carrier === carrier ? end : undefined;
  }
}
