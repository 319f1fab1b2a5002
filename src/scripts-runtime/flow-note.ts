/**
 * What is known of a flow beyond its row, for logs and whoever looks at flows: what its client
 * speaks, the name that its upstream was dialled by, and the listener to which a script gave it.
 */
import type { Decision } from './decision.ts';
import type { Sniffed } from './sniff/sniffed.ts';

export interface FlowNote {
  readonly sniff?: FlowSniff;
  /** Empty when the address was given. */
  readonly dnsName?: string;
  /** The listener to which the script gave it. */
  readonly rule?: string;
  /** By which the client knows the destination, from a DNS answer. */
  readonly seenName?: string;
}

export interface FlowSniff {
  /** `unknown` when a script has looked and found nothing that it knows. */
  readonly proto: Sniffed['proto'];
  /** Of TLS and QUIC. */
  readonly sni?: string;
  /** Of HTTP; of DNS the name that is asked for. */
  readonly host?: string;
  readonly alpn?: readonly string[];
}

export type OnNoted = (flow: number, note: FlowNote) => void;

/** As much of it as a name may have, RFC 1035 §2.3.4; `Host` may be anything. */
export const NOTE_NAME_MAX = 255;
/** Protocols that a client offers; browsers offer two. */
export const NOTE_ALPN_MAX = 8;

const cut = (text: string): string => text.slice(0, NOTE_NAME_MAX);

export function sniffNote(sniffed: Sniffed): FlowSniff {
  const { proto } = sniffed;
  switch (proto) {
    case 'tls':
    case 'quic': {
      const { sni, alpn } = sniffed;
      const offered = alpn.slice(0, NOTE_ALPN_MAX).map(cut);
      return {
        proto,
        ...(sni === undefined ? {} : { sni: cut(sni) }),
        ...(offered.length === 0 ? {} : { alpn: offered }),
      };
    }
    case 'http':
      return sniffed.host === undefined ? { proto } : { proto, host: cut(sniffed.host) };
    case 'dns':
      return { proto, host: cut(sniffed.qname) };
    case 'ssh':
    case 'unknown':
      return { proto };
  }
}

/** @param services  of the gateway, which are no listeners */
export function decisionNote(
  decision: Decision,
  services: readonly string[],
): FlowNote | undefined {
  if (decision.kind === 'failed') return undefined;
  const { verdict, name } = decision;
  if (name !== undefined) return { dnsName: name };
  if (verdict.kind !== 'redirect' || services.includes(verdict.listener)) return undefined;
  return { rule: verdict.listener };
}
