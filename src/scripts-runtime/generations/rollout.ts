/** How generations take over from each other: at once, or as a canary first. */
import type { ConnectionRequest } from '../../stack/verdict.ts';
import type { Decision } from '../decision.ts';
import type { LoadOptions } from '../host-ports.ts';
import { Canary, type CanaryCounts } from './canary.ts';
import { drainDeadline, type Generation, type Registry } from './registry.ts';

export interface RolloutPorts {
  /** Microseconds. */
  now(): number;
  /** Which generations are in memory has changed. */
  changed(): void;
  /** No new flow comes to it any more. */
  leaving(generation: Generation): void;
  activated(generation: Generation): void;
  /** The canary was stopped. */
  stopped(counts: CanaryCounts): void;
}

export class Rollout {
  readonly #registry: Registry;
  readonly #ports: RolloutPorts;
  #canary: Canary | undefined;
  /** Of the bundle that was loaded last. */
  #drainMs = 0;

  constructor(registry: Registry, ports: RolloutPorts) {
    this.#registry = registry;
    this.#ports = ports;
  }

  get counts(): CanaryCounts | undefined {
    return this.#canary?.counts;
  }

  /** Those that are asked about new flows. */
  get serving(): readonly Generation[] {
    const { active } = this.#registry;
    return [active, this.#canary?.generation].filter((generation) => generation !== undefined);
  }

  /** A bundle was loaded. */
  take(loaded: Generation, { canary, drainMs = 0 }: LoadOptions): void {
    this.drop();
    this.#drainMs = drainMs;
    if (canary === undefined) {
      this.#activate(loaded);
    } else {
      this.#canary = new Canary(loaded, canary);
      this.#registry.add(loaded);
    }
    this.#ports.changed();
  }

  /** Whose the flow is to decide; undefined before the first bundle. */
  pick({ flow }: ConnectionRequest): Generation | undefined {
    return this.#canary?.takes(flow) ? this.#canary.generation : this.#registry.active;
  }

  record(decision: Decision): void {
    const canary = this.#canary;
    if (canary?.generation.number !== decision.by.generation) return;
    canary.record(decision, this.#ports.now());
  }

  /** The canary decides about all new flows from now on. @returns false when it is gone */
  promote(generation: number): boolean {
    const canary = this.#canary;
    if (canary?.generation.number !== generation || canary.isStopped) return false;
    this.#canary = undefined;
    this.#activate(canary.generation);
    this.#ports.changed();
    return true;
  }

  /** The canary decides about no flow any more; what waits in it is still answered. */
  drop(): void {
    const canary = this.#canary;
    if (canary === undefined) return;
    this.#canary = undefined;
    this.#ports.leaving(canary.generation);
    canary.generation.retire(this.#drainDeadline);
    this.#registry.sweep();
    this.#ports.changed();
  }

  /** Where the canary fails too often, the active bundle decides about all flows again. */
  afterTurn(): void {
    const canary = this.#canary;
    if (!canary?.isStopped) return;
    this.drop();
    this.#ports.stopped(canary.counts);
  }

  #activate(next: Generation): void {
    const { active } = this.#registry;
    if (active !== undefined) this.#ports.leaving(active);
    this.#ports.activated(next);
    this.#registry.activate(next, this.#drainDeadline);
  }

  get #drainDeadline(): number {
    return drainDeadline(this.#ports.now(), this.#drainMs);
  }
}
