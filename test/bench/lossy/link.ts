/** The lossy link between client and gateway: a relay in the place of the veth pair c0/g0. */

import { join } from 'node:path';
import { CLEAN, type LaneShape } from '../../support/lane.ts';
import { BenchError, must, run } from '../command.ts';
import { inside, type Topology } from '../topology.ts';
import { READY_LINE, type RelayOptions, type RelayReport } from './relay.ts';

/** What the link does to packets besides its rate and delay. */
export interface Fault {
  readonly name: string;
  readonly shape: Partial<LaneShape>;
}

const lossOf = (percent: number): Fault => ({
  name: `loss ${percent} %`,
  shape: { loss: percent / 100 },
});

/** Packets that are late are overtaken by a dozen others at the rate of the bench. */
const LATE_BY_US = 3000;

/** Columns of the cells, as the report names them; each holds for both directions. */
export const FAULTS: readonly Fault[] = [
  lossOf(0),
  lossOf(0.1),
  lossOf(1),
  lossOf(5),
  { name: 'reordering 1 %', shape: { late: 0.01, lateByUs: LATE_BY_US } },
  { name: 'duplication 1 %', shape: { duplicate: 0.01 } },
];

/** Round-trip times of the link, in milliseconds, queue not included. */
export const ROUND_TRIPS_MS = [0, 20, 100];

/** The queue in front of the wire: what netem and pfifo have, 1000 packets. */
const QUEUE_BYTES = 1000 * 1500;

/** Of every kernel here; what the machine uses otherwise does not matter. */
export const CONGESTION_CONTROL = 'cubic';

const MTU = 1500;
/** The devices' own queues must not overflow in the place of the link's. */
const DEVICE_QUEUE = 16_384;
const CLIENT = { device: 'c0', address: '10.98.0.2/24' };
const GATEWAY = { device: 'g0', address: '10.98.0.1/24' };

export function laneShape(megabits: number, roundTripMs: number, fault: Fault): LaneShape {
  return {
    ...CLEAN,
    bitsPerSecond: megabits * 1e6,
    delayUs: (roundTripMs * 1000) / 2,
    queueBytes: QUEUE_BYTES,
    ...fault.shape,
  };
}

/** A relay at work: `open` puts it between client and gateway, `close` takes it away. */
export class Link {
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit'>;
  readonly #lines: AsyncIterator<string>;

  private constructor(process: Bun.Subprocess<'pipe', 'pipe', 'inherit'>) {
    this.#process = process;
    this.#lines = linesOf(process.stdout);
  }

  /** @throws BenchError when the relay does not start */
  static async open(topology: Topology, shape: LaneShape, seed: number): Promise<Link> {
    const options: RelayOptions = {
      near: CLIENT.device,
      far: GATEWAY.device,
      up: shape,
      down: shape,
      seed,
    };
    // Its clock is the link: it must not wait for those that it carries packets for.
    const command = [
      'chrt',
      '--rr',
      '1',
      process.execPath,
      join(import.meta.dir, 'relay.ts'),
      JSON.stringify(options),
    ];
    const relay = Bun.spawn(inside(topology.gateway, command), {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'inherit',
    });
    const link = new Link(relay);
    const { value } = await link.#lines.next();
    if (value !== READY_LINE) throw new BenchError('the relay does not start');
    await must(
      words(`ip -n ${topology.gateway} link set ${CLIENT.device} netns ${topology.client}`),
    );
    await configure(topology.gateway, GATEWAY.device, GATEWAY.address);
    await configure(topology.client, CLIENT.device, CLIENT.address);
    await topology.routeThroughKernel();
    await useOn(topology.client, 'default via 10.98.0.1');
    await useOn(topology.gateway, '10.98.0.0/24 dev g0');
    return link;
  }

  /** Ends the relay and its devices; what is still under way is lost. */
  async close(): Promise<RelayReport> {
    await this.#process.stdin.end();
    const { value } = await this.#lines.next();
    await this.#process.exited;
    return JSON.parse(value ?? '{}');
  }
}

/** Takes away the veth pair whose place the relay takes. */
export async function removeVeth(topology: Topology): Promise<void> {
  await run(words(`ip -n ${topology.gateway} link del ${GATEWAY.device}`));
}

/**
 * Sets the congestion control for connections that do not cross the link. It is a property of
 * routes, because the sysctl of a namespace takes only what the machine allows to everybody.
 */
export async function useCongestionControl(topology: Topology): Promise<void> {
  await useOn(topology.gateway, 'default via 10.99.0.2');
  await useOn(topology.server, 'default via 10.99.0.1');
  await useOn(topology.server, '10.99.0.0/24 dev dn0');
}

async function useOn(namespace: string, route: string): Promise<void> {
  await must(words(`ip -n ${namespace} route replace ${route} congctl ${CONGESTION_CONTROL}`));
}

async function configure(namespace: string, device: string, address: string): Promise<void> {
  await must(words(`ip -n ${namespace} addr add ${address} dev ${device}`));
  const up = `ip -n ${namespace} link set ${device} mtu ${MTU} txqueuelen ${DEVICE_QUEUE} up`;
  await must(words(up));
  await run(inside(namespace, ['sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=0`]));
}

const words = (text: string): string[] => text.split(' ');

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}
