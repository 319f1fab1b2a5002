/**
 * Whether a verdict can be carried out for the flow that it is about. Each of these would otherwise
 * mean something else than the script says, so the decision fails, and the log tells why.
 */
import type { ConnectionRequest, Endpoint } from '../../stack/verdict.ts';
import { isNamed, type NamedTarget, type ScriptVerdict } from './parse-verdict.ts';

/** @returns in words why it does not fit; undefined when it does */
export function misfitOf(verdict: ScriptVerdict, request: ConnectionRequest): string | undefined {
  const { protocol, destination } = request;
  switch (verdict.kind) {
    case 'decline':
    case 'reject':
      return undefined;
    case 'redirect':
      if (protocol === 'tcp') return undefined;
      return `redirect(): ${verdict.listener} speaks TCP, and the flow is ${protocol}`;
    case 'claim':
      return protocol === 'tcp' ? undefined : `claim(): is for TCP, and the flow is ${protocol}`;
    case 'forward':
      if (protocol === 'tcp') return undefined;
      if (verdict.handshake === 'accept-first') {
        return `forward(): handshake "accept-first" is for TCP, and the flow is ${protocol}`;
      }
      if (verdict.proxyProtocol === undefined) return undefined;
      return `forward(): proxyProtocol is for TCP, and the flow is ${protocol}`;
    case 'nat': {
      const { to } = verdict;
      if (to === undefined || isNamed(to) || to.family === destination.family) return undefined;
      return `nat(): ${to.ip} is IPv${to.family}, and the flow is IPv${destination.family}`;
    }
  }
}

/** The port that is meant: none for a ping, and for 0 that which the client asked for. */
export function completePort<Target extends Endpoint | NamedTarget>(
  to: Target,
  { protocol, destination }: ConnectionRequest,
): Target {
  const port = protocol === 'icmp' ? 0 : to.port || destination.port;
  return port === to.port ? to : { ...to, port };
}
