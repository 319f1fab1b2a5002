/**
 * Goes on with another device while flows live. The new one is read and written from one turn to
 * the next; the old one is read on until the supervisor has moved the routes, so that nothing is
 * lost which the kernel had sent there.
 */
import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import { SystemError } from '../../../ffi/errors.ts';
import { TunOffload } from '../../../ffi/ioctls.ts';
import { closeFd } from '../../../ffi/sockets.ts';
import { TunDevice } from '../../../ffi/tun-device.ts';
import type { DeviceCapabilities } from '../../../stack/device.ts';
import type { Stack } from '../../../stack/stack.ts';
import type { Instant } from '../../../stack/time.ts';
import type { DeviceFacts } from '../../messages/control.ts';
import type { LoopGuard } from '../loop-guard.ts';
import { closePassed, takeDescriptor } from '../passed-descriptors.ts';
import type { Reports } from '../reports.ts';
import type { FrameSource, TunInput } from './tun-input.ts';
import type { TunHandle, TunPort } from './tun-port.ts';

/** The kernel takes it for both families or for none. */
const USO = TunOffload.USO4 | TunOffload.USO6;
/** Batches read from a device that nothing is routed to any more: all that its queue can hold. */
const LAST_BATCHES_MAX = 1000;

export function capabilitiesOf({ vnetHeader, offloads, mtu }: DeviceFacts): DeviceCapabilities {
  const has = (bits: number): boolean => vnetHeader && (offloads & bits) === bits;
  return {
    vnetHeader,
    checksumOffload: has(TunOffload.CSUM),
    tso4: has(TunOffload.TSO4),
    tso6: has(TunOffload.TSO6),
    tsoEcn: has(TunOffload.TSO_ECN),
    uso: has(USO),
    mtu,
  };
}

export interface DeviceSwapParts {
  readonly epoll: Epoll;
  readonly port: TunPort;
  readonly input: TunInput;
  readonly stack: Stack;
  readonly guard: LoopGuard;
  readonly reports: Reports;
  /** Of the arena's first byte. */
  readonly base: number;
}

export class DeviceSwap {
  readonly #parts: DeviceSwapParts;
  readonly #oldToken: number;
  #old: OldDevice | undefined;

  /** @param oldToken  with which the loop hears of the device before */
  constructor(parts: DeviceSwapParts, oldToken: number) {
    this.#parts = parts;
    this.#oldToken = oldToken;
    // Passed to a data plane that did not live to take it: here it would keep its device alive.
    closePassed();
  }

  /** Takes the descriptor that was passed as `id`, and tells how it went. */
  take(id: number, facts: DeviceFacts, now: Instant): void {
    const { reports } = this.#parts;
    const fd = takeDescriptor(id);
    if (fd === undefined) {
      reports.message({ kind: 'device', id, error: 'its descriptor did not come' });
      return;
    }
    try {
      this.#swap(TunDevice.adopt(fd, facts), facts, now);
      reports.message({ kind: 'device', id });
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      closeFd(fd);
      reports.message({ kind: 'device', id, error: error.message });
    }
  }

  /** The interface has another name or MTU. */
  changed(name: string, mtu: number, now: Instant): void {
    this.#parts.guard.setDevice(name);
    this.#parts.stack.setDeviceMtu(mtu, now);
  }

  /** Reads a batch of the device before. */
  readOld(now: Instant): void {
    if (this.#old === undefined) return;
    this.#parts.input.readBatch(this.#old, now);
    if (this.#old.hasFailed) this.#close();
  }

  /** Nothing comes to the device before any more: empties and closes it, and says so. */
  release(now: Instant): void {
    const { input, reports } = this.#parts;
    for (let i = 0; i < LAST_BATCHES_MAX && this.#old?.hasFailed === false; i++) {
      if (input.readBatch(this.#old, now) === 0) break;
    }
    this.#close();
    reports.message({ kind: 'device-released' });
  }

  #swap(device: TunDevice, facts: DeviceFacts, now: Instant): void {
    const { epoll, port, stack, guard, base } = this.#parts;
    // Throws when the interface is gone already.
    device.currentName();
    // A swap after the other: of the first, what is left is in the kernel's hands.
    this.#close();
    const { vnetHeader } = port;
    const wasGone = port.isGone;
    const before = port.swap(device, capabilitiesOf(facts));
    guard.setDevice(facts.name);
    stack.setDeviceMtu(facts.mtu, now);
    this.#old = new OldDevice(before, vnetHeader, base);
    if (wasGone) this.#close();
    else epoll.add(before.fd, EpollEvent.IN, this.#oldToken);
  }

  #close(): void {
    if (this.#old === undefined) return;
    this.#parts.epoll.remove(this.#old.fd);
    closeFd(this.#old.fd);
    this.#old = undefined;
  }
}

class OldDevice implements FrameSource {
  readonly vnetHeader: boolean;
  hasFailed = false;
  readonly #device: TunHandle;
  readonly #base: number;

  constructor(device: TunHandle, vnetHeader: boolean, base: number) {
    this.#device = device;
    this.vnetHeader = vnetHeader;
    this.#base = base;
  }

  get fd(): number {
    return this.#device.fd;
  }

  read(at: number, length: number): number {
    const got = this.#device.read(this.#base + at, length);
    if (got < 0) this.hasFailed = true;
    return Math.max(0, got);
  }
}
