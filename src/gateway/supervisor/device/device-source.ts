/** Where the device comes from: made here, there before, or handed over as a descriptor. */
import { TunDevice } from '../../../ffi/tun-device.ts';
import { type DeviceConfig, parseDeviceSource } from '../../config/device-schema.ts';
import { StartError } from '../start-error.ts';

/** The first descriptor that a service manager passes, sd_listen_fds(3). */
const LISTEN_FDS_START = 3;

/** Of one device; the first stands for it. */
export type Queues = readonly [TunDevice, ...TunDevice[]];

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Opens the configured device, or takes it over.
 *
 * @returns its queues, one descriptor each
 * @throws SystemError  with a hint: `EPERM` without CAP_NET_ADMIN, `EBUSY` for a device in use,
 *                      `ENOTTY` or `EINVAL` for a descriptor of something else
 * @throws StartError   when the service manager has passed no such descriptor
 */
export function openDevice(config: DeviceConfig, env: Environment): Queues {
  const source = parseDeviceSource(config.name);
  switch (source.kind) {
    case 'interface':
      return openQueues(config.name, config);
    case 'descriptor':
      return [TunDevice.takeOver(source.fd)];
    case 'systemd':
      return [TunDevice.takeOver(passedDescriptor(source.fdName, env, process.pid))];
  }
}

/** The device as often as it has queues: the first makes it, the others join under its name. */
export function openQueues(
  name: string,
  { offload, queues }: Pick<DeviceConfig, 'offload' | 'queues'>,
): Queues {
  using stack = new DisposableStack();
  const multiQueue = queues > 1;
  const first = stack.use(TunDevice.open({ name, offload, multiQueue }));
  const open = () => stack.use(TunDevice.open({ name: first.name, offload, multiQueue }));
  const all: Queues = [first, ...Array.from({ length: queues - 1 }, open)];
  stack.move();
  return all;
}

/**
 * The descriptor that the service manager passed under that name, sd_listen_fds_with_names(3).
 *
 * @throws StartError
 */
export function passedDescriptor(fdName: string, env: Environment, pid: number): number {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = env;
  const fail = (why: string): never => {
    throw new StartError('ENODEV', `device systemd://${fdName}: ${why}`);
  };
  const count = Number(LISTEN_FDS ?? 0);
  if (!(Number.isInteger(count) && count > 0)) fail('no descriptor was passed (LISTEN_FDS)');
  if (Number(LISTEN_PID) !== pid) {
    fail(`the descriptors are for process ${LISTEN_PID}, and this is ${pid} (LISTEN_PID)`);
  }
  const names = (LISTEN_FDNAMES ?? '').split(':').slice(0, count);
  const index = names.indexOf(fdName);
  if (index < 0) fail(`the names of what was passed are "${names.join('", "')}" (LISTEN_FDNAMES)`);
  return LISTEN_FDS_START + index;
}
