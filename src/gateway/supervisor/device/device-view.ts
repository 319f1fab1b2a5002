/** The device as `GET /v1/device` shows it. */
import { TunOffload } from '../../../ffi/ioctls.ts';
import type { DeviceView } from '../api/device-schemas.ts';
import type { Device } from './device.ts';
import type { DeviceEvents } from './device-events.ts';
import type { DeviceState } from './device-state.ts';

const NAMES = Object.entries(TunOffload).map(([name, bit]) => ({ name: name.toLowerCase(), bit }));

/** `csum`, `tso4`, …: of bits TUN_F_*. */
export const offloadNames = (bits: number): string[] =>
  NAMES.filter(({ bit }) => (bits & bit) !== 0).map(({ name }) => name);

/** @param hasOffload  segmentation is in use now */
export function viewDevice(
  device: Device,
  { last }: DeviceEvents,
  state: DeviceState,
  hasOffload: boolean,
): DeviceView {
  const { tun } = device;
  return {
    ...viewState(state),
    up: state.isUp && tun.probe() === 'up',
    persistent: tun.probe() !== 'gone' && tun.isPersistent(),
    vnet_header: tun.vnetHeader,
    offloads: offloadNames(tun.offloads),
    offload: hasOffload,
    events: last.map((entry) => ({
      number: entry.number,
      at: new Date(entry.at).toISOString(),
      event: entry.event,
      device: viewState(entry.state),
    })),
  };
}

const viewState = ({ name, isUp, mtu, txQueueLength, isHere }: DeviceState) => ({
  ...{ name, up: isUp, mtu, tx_queue_length: txQueueLength, here: isHere },
});
