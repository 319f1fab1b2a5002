/** The device that the gateway owns: one at a time, and for a moment of a swap the next one too. */
import { SystemError } from '../../../ffi/errors.ts';
import type { GivenAddress } from '../../../ffi/netlink-addresses.ts';
import type { TunDevice } from '../../../ffi/tun-device.ts';
import { type DeviceConfig, parseDeviceSource } from '../../config/device-schema.ts';
import type { DeviceFacts } from '../../messages/control.ts';
import { DeviceChange, type LinkValues, linkChanges } from './device-change.ts';
import { DeviceSetup, type OnNoIpv6 } from './device-setup.ts';
import { openDevice, openQueues, type Queues } from './device-source.ts';
import { type DeviceState, lookAtDevice } from './device-state.ts';

/** The kernel puts a number there. Its own name gets a device when the one before is gone. */
const TEMPORARY_NAME = 'culvert-swap%d';

/** The kernel's own default, where the MTU of a device cannot be read. */
const UNKNOWN_MTU = 1500;

export class Device implements Disposable {
  readonly #onNoIpv6: OnNoIpv6 | undefined;
  #config: DeviceConfig;
  #tuns: Queues;
  #setup: DeviceSetup;
  #isOwn: boolean;
  #lastName: string;
  /** `device.offload` as the present one was opened with. */
  #offload: boolean;
  /** MTU and queue that the next interface is to have, where the one that is gone had others. */
  #owed: LinkValues = {};

  private constructor(tuns: Queues, config: DeviceConfig, onNoIpv6: OnNoIpv6 | undefined) {
    this.#tuns = tuns;
    this.#config = config;
    this.#offload = config.offload;
    this.#onNoIpv6 = onNoIpv6;
    this.#setup = new DeviceSetup(tuns[0], config);
    this.#isOwn = parseDeviceSource(config.name).kind === 'interface';
    this.#lastName = tuns[0].name;
  }

  /**
   * Opens, configures and routes; on a failure nothing is left.
   *
   * @param env       where a service manager says what it has passed
   * @param onNoIpv6  see `DeviceSetup.configure`
   * @throws SystemError, StartError
   */
  static open(
    config: DeviceConfig,
    env: Readonly<Record<string, string | undefined>>,
    onNoIpv6?: OnNoIpv6,
  ): Device {
    const device = new Device(openDevice(config, env), config, onNoIpv6);
    try {
      device.#setup.configure(onNoIpv6);
      device.#setup.addRoutes();
      return device;
    } catch (error) {
      device[Symbol.dispose]();
      throw error;
    }
  }

  /** Its queues; every data plane has one. */
  get tuns(): Queues {
    return this.#tuns;
  }

  /** By its first queue. */
  get tun(): TunDevice {
    return this.#tuns[0];
  }

  /** A descriptor that somebody handed over cannot be made again. */
  get canRecreate(): boolean {
    return this.#config.recreate && this.#isOwn;
  }

  /** The gateway has opened it itself, by its name. */
  get isOwn(): boolean {
    return this.#isOwn;
  }

  /** It is there, and was opened with another `device.offload` than is configured now. */
  get isToBeReopened(): boolean {
    return this.#offload !== this.#config.offload && !this.#isGone;
  }

  /** As it is now, also after a swap or a rename; of one that is gone, as it was last. */
  name(): string {
    try {
      this.#lastName = this.tun.currentName();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
    return this.#lastName;
  }

  /** As the kernel says it now; of one that it does not tell of, as it was asked for. */
  state(): DeviceState {
    return (
      this.#look() ?? {
        ...{ name: this.name(), isUp: false, isHere: true, index: 0 },
        mtu: this.#config.mtu ?? UNKNOWN_MTU,
        txQueueLength: this.#config.txQueueLength,
      }
    );
  }

  /** @param state  as it was seen just now, if it was */
  facts(state = this.state()): DeviceFacts {
    return factsOf(this.tun, state);
  }

  /** @throws SystemError  `EEXIST` where the host has a route of its own to one of them */
  routePool(addresses: readonly string[]): void {
    this.#setup.routePool(addresses);
  }

  /**
   * Goes on with another section of the config: first half, see `DeviceChange`. A device that was
   * deleted is made with it.
   *
   * @param last  what was seen of the device last, should it be gone
   * @throws DeviceChangeError  nothing has changed
   */
  change(wanted: DeviceConfig, last: DeviceState): DeviceChange {
    const change = new DeviceChange(this.#config, wanted, () => ({
      tun: this.tun,
      setup: this.#setup,
    }));
    if (this.#isGone) {
      const { mtu, txQueueLength } = last;
      change.beginWithout({ mtu, txQueueLength, ...this.#owed });
      this.#owed = { ...this.#owed, ...linkChanges(this.#config, wanted) };
    } else {
      change.begin(this.#onNoIpv6);
    }
    this.#follow(wanted);
    return change;
  }

  /** Its second half. @throws SystemError */
  finishChange(change: DeviceChange): void {
    if (!this.#isGone) change.finish(this.#onNoIpv6);
  }

  /** In the place of the second half. @throws SystemError  the first refusal; the rest was done */
  undoChange(change: DeviceChange): void {
    this.#follow(change.before);
    if (this.#isGone) this.#owed = { ...this.#owed, ...change.linkBefore };
    else change.undo(this.#onNoIpv6);
  }

  /** Sets again what an interface loses that goes down. @throws SystemError */
  refresh(): void {
    this.#setup.refresh(this.#onNoIpv6 !== undefined);
  }

  /**
   * Makes another device beside this one, up, without routes, and with what this one has: MTU,
   * queue, addresses; also where somebody has set them by hand, but for what a reload has changed
   * since it is gone.
   *
   * @param name  that of this device, or of another
   * @param last  what was seen of this one last, should it be gone
   * @throws SystemError  `EBUSY` for a persistent device under its own name; as `open`
   */
  prepare(name: string, last?: DeviceState): NextDevice {
    const present = lookAtDevice(this.tun);
    const isSame = name === present?.name && !this.tun.isPersistent();
    const { offload } = this.#config;
    const tuns = openQueues(isSame ? TEMPORARY_NAME : name, this.#config);
    const [tun] = tuns;
    const setup = new DeviceSetup(tun, this.#config);
    const isGone = present === undefined;
    // Further queues of a persistent device are the same interface.
    const isShared = tun.name === present?.name;
    try {
      // Where we may not look at it, its MTU is 0.
      const seen = [present, last].find((state) => state !== undefined && state.mtu > 0);
      setup.configure(this.#onNoIpv6, seen && { ...seen, ...this.#owed });
      const given = present?.isHere && !isShared ? setup.takeAddresses(this.#setup) : [];
      const facts = factsOf(tun, lookAtDevice(tun));
      return { tuns, setup, name, offload, isGone, isShared, given, facts };
    } catch (error) {
      if (!isShared) tidyUp(tun, setup);
      closeAll(tuns);
      throw error;
    }
  }

  /** Has what comes for this device come to the next one. @throws SystemError */
  moveRoutes({ setup, isGone, isShared }: NextDevice): void {
    if (isShared) setup.adopt(this.#setup);
    else if (isGone) setup.restoreRoutes(this.#setup);
    else setup.takeRoutes(this.#setup);
  }

  /** Undoes `moveRoutes`, and what `prepare` has made. */
  abandon({ tuns, setup, isGone, isShared, given }: NextDevice): void {
    try {
      if (!isGone && !isShared) this.#setup.takeRoutes(setup);
    } finally {
      if (!isShared) tidyUp(tuns[0], setup, given);
      closeAll(tuns);
    }
  }

  /** Goes on with the next one. Its name is still to be given, see `DeviceKeeper`. */
  commit({ tuns, setup, offload, isShared, given }: NextDevice): void {
    if (!isShared) tidyUp(this.tun, this.#setup, given);
    closeAll(this.#tuns);
    this.#tuns = tuns;
    this.#setup = setup;
    this.#owed = {};
    this.#offload = offload;
    this.#isOwn = true;
  }

  [Symbol.dispose](): void {
    tidyUp(this.tun, this.#setup);
    closeAll(this.#tuns);
  }

  #look(): DeviceState | undefined {
    try {
      return lookAtDevice(this.tun);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return undefined;
    }
  }

  get #isGone(): boolean {
    return this.tun.probe() === 'gone';
  }

  #follow(config: DeviceConfig): void {
    this.#config = config;
    this.#setup.follow(config);
  }
}

/** A device that stays when its descriptor is closed gets rid of what is ours, or came with it. */
function tidyUp(tun: TunDevice, setup: DeviceSetup, given: readonly GivenAddress[] = []): void {
  try {
    if (tun.isPersistent()) setup.undo(given);
  } catch (error) {
    // It was deleted, or moved to where we cannot work: nothing of ours is left to be undone.
    if (!(error instanceof SystemError)) throw error;
  }
}

const closeAll = (tuns: Queues): void => {
  for (const tun of tuns) tun[Symbol.dispose]();
};

/** A device that is to take the place of another. */
export interface NextDevice {
  readonly tuns: Queues;
  readonly setup: DeviceSetup;
  /** That it shall have. */
  readonly name: string;
  /** Superpackets were asked for. */
  readonly offload: boolean;
  /** The one before was deleted. */
  readonly isGone: boolean;
  /** It is the same interface, by other queues. */
  readonly isShared: boolean;
  /** Addresses that it has of the one before. */
  readonly given: readonly GivenAddress[];
  readonly facts: DeviceFacts;
}

const factsOf = (tun: TunDevice, state: DeviceState | undefined): DeviceFacts => ({
  name: state?.name ?? tun.name,
  mtu: state === undefined || state.mtu === 0 ? UNKNOWN_MTU : state.mtu,
  vnetHeader: tun.vnetHeader,
  offloads: tun.offloads,
});
