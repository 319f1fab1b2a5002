/**
 * Whether a verdict can be carried out for the flow that it is about. Each of these would otherwise
 * mean something else than the script says, so the decision fails, and the log tells why.
 */
import {
  type ConnectionRequest,
  DIRECT,
  type Endpoint,
  type FlowProtocol,
  type ForwardVerdict,
  type UpstreamKind,
} from '../../stack/verdict.ts';
import { isNamed, type NamedTarget, type ScriptVerdict } from './parse-verdict.ts';

/** Upstreams by name, as the configuration has them. */
export type KnownUpstreams = Readonly<Record<string, UpstreamKind>>;
/** What listeners take, by name, as the configuration has them. */
export type KnownListeners = Readonly<Record<string, FlowProtocol | 'any'>>;

/** The page of the gateway, which is no listener of the configuration. */
const WELCOME = 'welcome';

/**
 * @param upstreams, listeners  undefined where nobody knows the configuration: any name may be one
 * @returns          in words why it does not fit; undefined when it does
 */
export function misfitOf(
  verdict: ScriptVerdict,
  request: ConnectionRequest,
  upstreams?: KnownUpstreams,
  listeners?: KnownListeners,
): string | undefined {
  const { protocol, destination } = request;
  switch (verdict.kind) {
    case 'decline':
      return undefined;
    case 'reject':
      if (verdict.with !== 'tarpit' || protocol === 'tcp') return undefined;
      return `reject(): with "tarpit" is for TCP, and the flow is ${protocol}`;
    case 'redirect':
      return misfitOfRedirect(verdict.listener, protocol, listeners);
    case 'claim':
      return protocol === 'tcp' ? undefined : `claim(): is for TCP, and the flow is ${protocol}`;
    case 'forward': {
      const misfit = misfitOfVia(verdict, protocol, upstreams);
      if (misfit !== undefined || protocol === 'tcp') return misfit;
      if (verdict.handshake === 'accept-first') {
        return `forward(): handshake "accept-first" is for TCP, and the flow is ${protocol}`;
      }
      if (verdict.proxyProtocol === undefined) return undefined;
      return `forward(): proxyProtocol is for TCP, and the flow is ${protocol}`;
    }
    case 'nat': {
      const { to } = verdict;
      if (to === undefined || isNamed(to) || to.family === destination.family) return undefined;
      return `nat(): ${to.ip} is IPv${to.family}, and the flow is IPv${destination.family}`;
    }
  }
}

function misfitOfRedirect(
  name: string,
  protocol: FlowProtocol,
  listeners: KnownListeners | undefined,
): string | undefined {
  if (name === WELCOME) {
    return protocol === 'tcp'
      ? undefined
      : `redirect(): ${name} speaks TCP, and the flow is ${protocol}`;
  }
  if (listeners === undefined) return undefined;
  const takes = Object.hasOwn(listeners, name) ? listeners[name] : undefined;
  if (takes === undefined) {
    const names = [WELCOME, ...Object.keys(listeners)].join(', ');
    return `redirect(): there is no listener "${name}"; there is: ${names}`;
  }
  if (takes === 'any' || takes === protocol) return undefined;
  return `redirect(): listener "${name}" takes ${takes}, and the flow is ${protocol}`;
}

function misfitOfVia(
  { via, to }: { readonly to?: unknown } & Pick<ForwardVerdict, 'via'>,
  protocol: ConnectionRequest['protocol'],
  upstreams: KnownUpstreams | undefined,
): string | undefined {
  if (via === undefined || via === DIRECT || upstreams === undefined) return undefined;
  const kind = Object.hasOwn(upstreams, via) ? upstreams[via] : undefined;
  if (kind === undefined) return `forward(): ${unknownUpstream(via, upstreams)}`;
  if (kind === 'pool' && to !== undefined) {
    return `forward(): upstream "${via}" is a pool, and takes no address`;
  }
  if (kind === 'egress' || protocol === 'tcp') return undefined;
  return `forward(): upstream "${via}" is a ${kind}, for TCP, and the flow is ${protocol}`;
}

/** `there is no upstream "x"; there is: a, b` */
export function unknownUpstream(name: string, upstreams: KnownUpstreams): string {
  const names = Object.keys(upstreams).join(', ');
  return `there is no upstream "${name}"${names === '' ? '' : `; there is: ${names}`}`;
}

/** The port that is meant: none for a ping, and for 0 that which the client asked for. */
export function completePort<Target extends Endpoint | NamedTarget>(
  to: Target,
  { protocol, destination }: ConnectionRequest,
): Target {
  const port = protocol === 'icmp' ? 0 : to.port || destination.port;
  return port === to.port ? to : { ...to, port };
}
