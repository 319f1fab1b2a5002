/** What the data plane gets of a config. */
import { boundsOf } from '../../stack/layout.ts';
import type {
  DeviceFacts,
  ListenerRule,
  LiveConfig,
  PlaneBounds,
  StartConfig,
} from '../messages/control.ts';
import type { UpstreamRule } from '../messages/upstreams.ts';
import { destinationsOf, type ListenerConfig } from './listener-schema.ts';
import { queueLimits } from './queues.ts';
import type { Config } from './schema.ts';
import { allUpstreams, defaultVia } from './upstream-schema.ts';
import { type Cidr, familyOf } from './value-texts.ts';

/** The part that can change while flows live. Its upstreams have no numbers yet. */
export function toLiveConfig(config: Config, generation: number): LiveConfig {
  const { timeouts, conntrack, egress } = config;
  return {
    generation,
    listeners: config.listeners.map(toListenerRule),
    localAddresses: [
      ...config.device.addresses.map((address) => address.ip),
      ...config.local.addresses,
    ],
    egress: { fwmark: egress.fwmark, interface: egress.interface, via: defaultVia(egress) },
    upstreams: toUpstreamRules(config),
    onError: config.scripts.onError,
    timeouts: {
      decisionMs: timeouts.decision,
      connectMs: timeouts.connect,
      idleMs: timeouts.idle,
      halfCloseMs: timeouts.halfClose,
      keepaliveMs: timeouts.keepalive,
      userMs: timeouts.user,
    },
    tarpit: { limit: config.limits.tarpit, holdMs: timeouts.tarpit },
    tcp: config.tcp,
    nat: config.nat,
    conntrack: {
      timeouts: conntrack.timeouts,
      tcpLiberal: conntrack.tcpLiberal,
      tcpLoose: conntrack.tcpLoose,
      perSource: conntrack.perSource,
    },
  };
}

/** All upstreams that have names; what numbers they have in rows is for others to say. */
export const toUpstreamRules = (config: Config): UpstreamRule[] =>
  [...allUpstreams(config)].map(([name, upstream]) => ({ ...upstream, name, id: 0 }));

/** The part that is fixed at start; `device` is what the kernel made of the request. */
export function toStartConfig(config: Config, device: DeviceFacts): StartConfig {
  return { device, limits: queueLimits(config) };
}

/** The part that is only compared with: of all queues, but for `limits`, which are of each. */
export const toPlaneBounds = (config: Config): PlaneBounds => ({
  limits: boundsOf(queueLimits(config)),
  sessions: { limit: config.limits.sessions, perSource: config.limits.sessionsPerSource },
  claims: config.limits.claims,
});

/** Empty where there is none. */
const textOf = (block: Cidr | undefined): string =>
  block === undefined ? '' : `${block.ip}/${block.prefixLength}`;

function toListenerRule(listener: ListenerConfig): ListenerRule {
  const destinations = destinationsOf(listener).map(textOf);
  return {
    name: listener.name,
    protocol: listener.protocol,
    destinations: destinations.length > 0 ? destinations : defaultDestinations(listener),
    ports: listener.ports ?? [],
    action: toAction(listener),
  };
}

/** A packet that is rewritten stays of its family, so a target takes those of its own only. */
function defaultDestinations({ action, to }: ListenerConfig): string[] {
  if (action !== 'nat' || to === undefined) return [];
  return [familyOf(to.ip) === 4 ? '0.0.0.0/0' : '::/0'];
}

function toAction(listener: ListenerConfig): ListenerRule['action'] {
  const { to, idle, masquerade = true, via, inside, outside } = listener;
  const carried = {
    ...(to === undefined ? {} : { to }),
    ...(idle === undefined ? {} : { idleTimeoutMs: idle }),
  };
  switch (listener.action) {
    case 'forward':
      return { kind: 'forward', ...carried, ...(via === undefined ? {} : { via }) };
    case 'nat':
      return { kind: 'nat', ...carried, masquerade };
    case 'reject':
      return {
        kind: 'reject',
        with: listener.with ?? (listener.protocol === 'icmp' ? 'icmp' : 'rst'),
      };
    case 'drop':
      return { kind: 'drop' };
    case 'prefix':
      return { kind: 'prefix', inside: textOf(inside), outside: textOf(outside) };
  }
}
