/** What the data plane gets of a config. */
import type { ListenerRule, LiveConfig, StartConfig } from '../messages/control.ts';
import type { Config } from './schema.ts';

/** The part that can change while flows live. */
export function toLiveConfig(config: Config, generation: number): LiveConfig {
  const { timeouts } = config;
  return {
    generation,
    listeners: config.listeners.map(toListenerRule),
    localAddresses: [
      ...config.device.addresses.map((address) => address.ip),
      ...config.local.addresses,
    ],
    egress: config.egress,
    timeouts: {
      decisionMs: timeouts.decision,
      connectMs: timeouts.connect,
      idleMs: timeouts.idle,
      halfCloseMs: timeouts.halfClose,
      keepaliveMs: timeouts.keepalive,
      userMs: timeouts.user,
    },
  };
}

/** The part that is fixed at start; `device` is what the kernel made of the request. */
export function toStartConfig(
  config: Config,
  device: { readonly name: string; readonly vnetHeader: boolean; readonly offloads: number },
): StartConfig {
  return {
    deviceName: device.name,
    deviceMtu: config.device.mtu,
    vnetHeader: device.vnetHeader,
    offloads: device.offloads,
    limits: config.limits,
    congestion: config.tcp.congestion,
    ecn: config.tcp.ecn,
  };
}

/** Places of the config that differ and take effect only at the next start. */
export function restartRequired(running: Config, wanted: Config): string[] {
  const fixed = ['device', 'limits', 'tcp', 'admin'] as const;
  return fixed.flatMap((section) =>
    Object.keys({ ...running[section], ...wanted[section] })
      .filter(
        (key) => !Bun.deepEquals(valueAt(running[section], key), valueAt(wanted[section], key)),
      )
      .map((key) => `${section}.${key}`),
  );
}

const valueAt = (section: object, key: string): unknown =>
  new Map<string, unknown>(Object.entries(section)).get(key);

function toListenerRule(listener: Config['listeners'][number]): ListenerRule {
  const { destination } = listener;
  const destinations = destination === undefined ? [] : [destination].flat();
  return {
    name: listener.name,
    protocol: listener.protocol,
    destinations: destinations.map((cidr) => `${cidr.ip}/${cidr.prefixLength}`),
    ports: listener.ports ?? [],
    action: toAction(listener),
  };
}

function toAction(listener: Config['listeners'][number]): ListenerRule['action'] {
  switch (listener.action) {
    case 'forward':
      return listener.to === undefined ? { kind: 'forward' } : { kind: 'forward', to: listener.to };
    case 'reject':
      return {
        kind: 'reject',
        with: listener.with ?? (listener.protocol === 'udp' ? 'icmp' : 'rst'),
      };
    case 'drop':
      return { kind: 'drop' };
  }
}
