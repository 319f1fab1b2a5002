/** What most end-to-end tests need: a network, a gateway in it, and an agent at each end. */
import type { ConfigInput } from '../../src/gateway/config/schema.ts';
import { Agent } from './agent-handle.ts';
import { Gateway } from './gateway.ts';
import { routeThroughTun } from './nat-network.ts';
import { IPV4, IPV6, Topology } from './netns.ts';

export interface WorldOptions {
  /** Laid over a config with device culvert0, and a log line for each flow. */
  readonly config?: ConfigInput;
  readonly scripts?: Readonly<Record<string, string>>;
}

/** Forwards everything to where it wants to go. */
export const FORWARD_ALL = `
import { forward } from "culvert";
export default { flow() { return forward(); } };
`;

export const DEVICE = 'culvert0';
const MTU = 1500;

export class World implements AsyncDisposable {
  readonly topology: Topology;
  readonly client: Agent;
  readonly server: Agent;
  readonly gateway: Gateway;

  private constructor(topology: Topology, client: Agent, server: Agent, gateway: Gateway) {
    this.topology = topology;
    this.client = client;
    this.server = server;
    this.gateway = gateway;
  }

  /** The gateway runs in gw; its TUN stands in client, which has no other way out. */
  static start(options: WorldOptions = {}): Promise<World> {
    return World.#start(options, (topology) =>
      topology.moveToClient(DEVICE, options.config?.device?.mtu ?? MTU),
    );
  }

  /** The TUN stays in gw; the client's packets come there over c0 and are routed into it. */
  static startRouted(options: WorldOptions = {}): Promise<World> {
    return World.#start(options, (topology) => topology.routeThroughKernel());
  }

  /**
   * As `startRouted`, and what the gateway rewrites goes on from its TUN to the server, and back to
   * the addresses of its NAT. There is a host one hop behind the server (`Family.far`).
   */
  static startNat(options: WorldOptions = {}): Promise<World> {
    const config = { nat: { addresses: [IPV4.pool, IPV6.pool] }, ...options.config };
    return World.#start({ ...options, config }, (topology) => {
      topology.addFar();
      routeThroughTun(topology, DEVICE);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway[Symbol.asyncDispose]();
    await this.topology[Symbol.asyncDispose]();
  }

  static async #start(
    { config, scripts }: WorldOptions,
    connect: (topology: Topology) => void,
  ): Promise<World> {
    const topology = Topology.create();
    try {
      const gateway = await Gateway.start(topology, {
        config: {
          local: { addresses: [IPV4.gateway, IPV6.gateway] },
          ...config,
          device: { name: DEVICE, mtu: MTU, ...config?.device },
        },
        scripts: scripts ?? { all: FORWARD_ALL },
      });
      connect(topology);
      await gateway.ready();
      const client = await Agent.start(topology, topology.client);
      const server = await Agent.start(topology, topology.server);
      return new World(topology, client, server, gateway);
    } catch (error) {
      await topology[Symbol.asyncDispose]();
      throw error;
    }
  }
}
