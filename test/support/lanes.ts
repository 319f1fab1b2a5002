/** The ways in which a gateway carries what it does not end: each a world of its own. */
import type { ConfigInput } from '../../src/gateway/config/schema.ts';
import { DNAT_PORT, dnatTarget, SERVICE_PORT } from './nat-network.ts';
import { FAMILIES, hostPort } from './netns.ts';
import { FORWARD_ALL, World, type WorldOptions } from './world.ts';

export interface Lane {
  readonly name: string;
  readonly verdict: 'nat' | 'forward';
  readonly options: WorldOptions;
}

/** `DNAT_PORT` leads elsewhere, whatever carries the rest. */
const dnatListeners = FAMILIES.flatMap((family) =>
  (['tcp', 'udp'] as const).map((protocol) => ({
    name: `elsewhere-${protocol}-${family.name}`,
    protocol,
    destination: family.server,
    ports: [DNAT_PORT],
    action: 'nat' as const,
    to: hostPort(dnatTarget(family), SERVICE_PORT),
  })),
);

/** Every flow is rewritten; no script is asked. */
export const NAT_ALL: ConfigInput = {
  listeners: [...dnatListeners, { name: 'all', protocol: 'any', action: 'nat' }],
};

export const LANES: readonly Lane[] = [
  {
    name: 'nat by a listener',
    verdict: 'nat',
    options: { config: NAT_ALL, scripts: {} },
  },
  {
    name: 'forward by a script',
    verdict: 'forward',
    options: { config: { listeners: dnatListeners }, scripts: { all: FORWARD_ALL } },
  },
];

export const startLane = ({ options }: Lane): Promise<World> => World.startNat(options);
