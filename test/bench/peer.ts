/** A peer: one gateway that the bench measures. Each is a file in `peers/` that exports `peer`. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError, launch, must, waitFor } from './command.ts';
import type { Requirement } from './requirements.ts';
import { probe } from './server.ts';
import { endProcesses, hasDevice, inside, pidsOf, type Topology, TUN } from './topology.ts';

/** Where a peer is to work. */
export interface Place {
  readonly tun: string;
  readonly mtu: number;
  /** Path of the client's namespace. */
  readonly clientNamespace: string;
  /** An empty folder of this peer. */
  readonly folder: string;
}

/**
 * How the client's packets reach the peer:
 * - `tun`: it makes the TUN device in its own namespace, and the bench moves it to the client;
 * - `attach`: it puts the device into the client's namespace and configures it itself;
 * - `routed-tun`: it makes the TUN device in its own namespace, where the kernel routes what comes
 *   from the client, and what servers send to `NAT_ADDRESS`, into it;
 * - `kernel`: there is no device, the client is routed to the gateway's namespace.
 */
type PeerKind = 'tun' | 'attach' | 'routed-tun' | 'kernel';

export interface Peer {
  /** One line for the report. */
  readonly about: string;
  readonly kind: PeerKind;
  readonly requires: readonly Requirement[];
  /** Debian package or command whose version the report names. */
  readonly version?: VersionSource;
  /** Files to write into its folder before it starts, by name. */
  readonly files?: (place: Place) => Readonly<Record<string, string>>;
  /** The gateway, run in the gateway's namespace; none when the kernel does it all. */
  readonly command?: (place: Place) => readonly string[];
  /** nftables rules for the gateway's namespace. */
  readonly nftables?: string;
  /** Tells that it serves; without this it does so once its device is there. */
  readonly isReady?: (place: Place) => Promise<boolean>;
  /** Most connections it can hold with the open files it may have, when not all. */
  readonly maxHeld?: number;
  /** UDP is not its business: the kernel would carry it, or nobody. */
  readonly tcpOnly?: boolean;
  /** It is compiled while it runs: each load runs for some seconds before it counts. */
  readonly warmsUp?: boolean;
}

export type VersionSource = { readonly debian: string } | { readonly command: readonly string[] };

const START_TIMEOUT_S = 10;

/** From the device's appearance until the peer has surely configured it. */
const SETTLE_MS = 800;

/** A peer at work in a topology. */
export class RunningPeer {
  readonly peer: Peer;
  readonly topology: Topology;
  readonly #place: Place;
  readonly #log: string;
  #child: Bun.Subprocess | undefined;

  private constructor(name: string, peer: Peer, topology: Topology, workFolder: string) {
    this.peer = peer;
    this.topology = topology;
    this.#place = {
      tun: TUN,
      mtu: 1500,
      clientNamespace: `/run/netns/${topology.client}`,
      folder: join(workFolder, name),
    };
    this.#log = join(workFolder, `${name}.log`);
  }

  /**
   * Starts a peer and proves that a connection comes through.
   *
   * @throws BenchError  with the end of the peer's log; nothing of it is left running
   */
  static async start(
    name: string,
    peer: Peer,
    topology: Topology,
    workFolder: string,
  ): Promise<RunningPeer> {
    const running = new RunningPeer(name, peer, topology, workFolder);
    try {
      await running.#start();
      return running;
    } catch (error) {
      await running.stop();
      const message = `${name} does not start: ${messageOf(error)}${running.#logTail()}`;
      throw new BenchError(message, { cause: error });
    }
  }

  /** The processes of the gateway. */
  async pids(): Promise<number[]> {
    const pids = new Set(await pidsOf(this.topology.gateway));
    if (this.#child !== undefined && this.#isAlive()) pids.add(this.#child.pid);
    return [...pids];
  }

  /** @throws BenchError  when the gateway ended by itself */
  checkAlive(): void {
    if (this.#child === undefined || this.#isAlive()) return;
    const end = this.#child.exitCode ?? this.#child.signalCode;
    throw new BenchError(`the gateway ended (${end})${this.#logTail()}`);
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined && this.#isAlive()) {
      // Its first process ends the others in its own order; what is left is ended below.
      this.#child.kill('SIGTERM');
      await waitFor(2, () => !this.#isAlive());
    }
    await endProcesses(() => this.pids());
    await this.topology.reset();
  }

  async #start(): Promise<void> {
    const { peer, topology } = this;
    mkdirSync(this.#place.folder, { recursive: true });
    for (const [name, text] of Object.entries(peer.files?.(this.#place) ?? {})) {
      writeFileSync(join(this.#place.folder, name), text);
    }
    if (peer.nftables !== undefined) {
      const load = inside(topology.gateway, ['nft', '-f', '-']);
      await must(load, { input: peer.nftables });
    }
    if (peer.command !== undefined) {
      this.#child = launch(inside(topology.gateway, peer.command(this.#place)), this.#log);
    }
    if (peer.kind === 'kernel') await topology.routeThroughKernel();
    else await this.#awaitDevice();
    if (peer.kind === 'tun') await topology.moveTun(this.#place.mtu);
    if (peer.kind === 'routed-tun') await topology.routeThroughTun();
    const answers = await waitFor(START_TIMEOUT_S, () => {
      this.checkAlive();
      return probe(topology);
    });
    if (!answers) throw new BenchError('no connection comes through');
  }

  async #awaitDevice(): Promise<void> {
    const { gateway, client } = this.topology;
    const namespace = this.peer.kind === 'attach' ? client : gateway;
    const appeared = await waitFor(START_TIMEOUT_S, async () => {
      this.checkAlive();
      return hasDevice(namespace, TUN);
    });
    if (!appeared) throw new BenchError(`no device ${TUN} within ${START_TIMEOUT_S} s`);
    const isReady = this.peer.isReady;
    if (isReady !== undefined && !(await waitFor(START_TIMEOUT_S, () => isReady(this.#place)))) {
      throw new BenchError(`not ready within ${START_TIMEOUT_S} s`);
    }
    await Bun.sleep(SETTLE_MS);
  }

  #isAlive(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  #logTail(): string {
    const text = existsSync(this.#log) ? readFileSync(this.#log, 'utf8').trim() : '';
    return text === '' ? '' : `; its log ends: ${text.slice(-300)}`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
