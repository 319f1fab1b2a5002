/**
 * A generation on trial: it decides about a share of new flows, and no longer when too many of its
 * decisions fail. Which flows is a matter of their number alone, so that who asks twice hears the
 * same generation twice.
 */
import { type Decision, NO_SCRIPT } from '../decision.ts';
import type { Generation } from './registry.ts';

export interface CanaryPlan {
  /** Of new flows, 0 to 1. */
  readonly share: number;
  /** Of the decisions in the window, 0 to 1, that may fail. */
  readonly errors: number;
  readonly windowMs: number;
}

/** A canary as it is told. */
export interface CanaryCounts {
  readonly generation: number;
  readonly decisions: number;
  readonly failures: number;
  /** Why it was stopped. */
  readonly stopped?: string;
}

/** A window is looked at in so many parts; the oldest falls out when a new one begins. */
const PARTS = 10;
/** Two failures may be two accidents, however few decisions there were. */
const FAILURES_MIN = 3;
const US_PER_MS = 1000;
const UINT32_COUNT = 2 ** 32;

export class Canary {
  readonly generation: Generation;
  readonly #plan: CanaryPlan;
  readonly #partUs: number;
  /** By part of the window. */
  readonly #decisions = new Uint32Array(PARTS);
  readonly #failures = new Uint32Array(PARTS);
  #part = 0;
  #total = 0;
  #failed = 0;
  #stopped: string | undefined;

  constructor(generation: Generation, plan: CanaryPlan) {
    this.generation = generation;
    this.#plan = plan;
    this.#partUs = (plan.windowMs * US_PER_MS) / PARTS;
  }

  get isStopped(): boolean {
    return this.#stopped !== undefined;
  }

  get counts(): CanaryCounts {
    return {
      generation: this.generation.number,
      decisions: this.#total,
      failures: this.#failed,
      ...(this.#stopped === undefined ? {} : { stopped: this.#stopped }),
    };
  }

  /** Whether the flow of this serial number is its to decide. */
  takes(flow: number): boolean {
    if (this.isStopped) return false;
    return hashOf(flow, this.generation.number) < this.#plan.share * UINT32_COUNT;
  }

  /** A decision of it is out. @param now  microseconds */
  record(decision: Decision, now: number): void {
    // It came too late to be asked about: no script is to blame.
    if (decision.kind === 'failed' && decision.by.script === NO_SCRIPT) return;
    this.#moveTo(Math.floor(now / this.#partUs));
    const at = this.#part % PARTS;
    this.#total++;
    this.#decisions[at]! += 1;
    // A script that was passed over has failed all the same.
    const failure = decision.kind === 'failed' ? decision.failure : decision.failures?.[0]?.failure;
    if (failure === undefined) return;
    this.#failed++;
    this.#failures[at]! += 1;
    const failures = sum(this.#failures);
    const decisions = sum(this.#decisions);
    if (failures < FAILURES_MIN || failures <= decisions * this.#plan.errors) return;
    const { windowMs } = this.#plan;
    const share = `${failures} of ${decisions} decisions failed within ${windowMs} ms`;
    this.#stopped ??= `${share}, the last by "${failure}"`;
  }

  #moveTo(part: number): void {
    const passed = Math.min(part - this.#part, PARTS);
    for (let i = 1; i <= passed; i++) {
      const at = (part - passed + i) % PARTS;
      this.#decisions[at] = 0;
      this.#failures[at] = 0;
    }
    this.#part = Math.max(part, this.#part);
  }
}

const sum = (counts: Uint32Array): number => counts.reduce((total, count) => total + count, 0);

/**
 * 32 bits of a flow's number and a salt, so that two canaries in a row do not have the same flows.
 * The last steps are the finalizer of MurmurHash3.
 */
function hashOf(flow: number, salt: number): number {
  const high = Math.floor(flow / UINT32_COUNT);
  let hash = (flow ^ Math.imul(high, 0x9e3779b1) ^ Math.imul(salt, 0x85ebca77)) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
