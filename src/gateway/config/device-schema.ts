/** The section `device`: the TUN device, made here, found, or handed over by somebody else. */
import { z } from 'zod';
import { cidr } from './values.ts';

/** Longest name the kernel takes for an interface, IFNAMSIZ - 1. */
const DEVICE_NAME_MAX = 15;
/** Smallest link of IPv6, RFC 8200 §5. */
const MTU_MIN = 1280;
/** Largest IP packet, and 15 bytes less for the kernel's own limit on a TUN device. */
const MTU_MAX = 65520;
const MTU_DEFAULT = 1500;
/** More than a host has cores to spare; Linux has up to 256 queues of a TUN device. */
const QUEUES_MAX = 16;

export const deviceName = z
  .string()
  .regex(/^[^\s/:%]+$/, 'expected a name of an interface')
  .max(DEVICE_NAME_MAX);

const DESCRIPTOR = /^fd:\/\/(\d{1,9})$/;
const PASSED = /^systemd:\/\/([!-9;-~]{1,255})$/;

/** What `device.name` names. */
export type DeviceSource =
  | { readonly kind: 'interface'; readonly name: string }
  /** A descriptor that was inherited. */
  | { readonly kind: 'descriptor'; readonly fd: number }
  /** One of `LISTEN_FDS`, by its name in `LISTEN_FDNAMES`. */
  | { readonly kind: 'systemd'; readonly fdName: string };

/** Reads a name that has passed the schema. */
export function parseDeviceSource(name: string): DeviceSource {
  const fd = DESCRIPTOR.exec(name)?.[1];
  if (fd !== undefined) return { kind: 'descriptor', fd: Number(fd) };
  const fdName = PASSED.exec(name)?.[1];
  return fdName === undefined ? { kind: 'interface', name } : { kind: 'systemd', fdName };
}

/** By the one with a scheme, if it has one, so that an error says what is wrong with it. */
const source = z.string().superRefine((name, context) => {
  if (DESCRIPTOR.test(name) || PASSED.test(name)) return;
  const { error } = deviceName.safeParse(name);
  for (const { message } of error?.issues ?? []) context.addIssue({ code: 'custom', message });
});

export const device = z
  .strictObject({
    name: source.default('culvert0'),
    mtu: z.int().min(MTU_MIN).max(MTU_MAX).optional(),
    addresses: z.array(cidr).prefault([]),
    routes: z.array(cidr).prefault([]),
    txQueueLength: z.int().min(1).max(1_000_000).default(1000),
    offload: z.boolean().default(true),
    /** Data planes, each a process with a queue of the device. */
    queues: z.int().min(1).max(QUEUES_MAX).default(1),
    /** Whether an interface that somebody deletes is made again. */
    recreate: z.boolean().default(true),
  })
  .refine(({ name, queues }) => queues === 1 || parseDeviceSource(name).kind === 'interface', {
    path: ['queues'],
    message: 'a descriptor that is handed over is one queue',
  })
  .transform(({ mtu, ...device }) => ({
    ...device,
    // Whoever hands over a device has set it up.
    mtu: mtu ?? (parseDeviceSource(device.name).kind === 'interface' ? MTU_DEFAULT : undefined),
  }));

export type DeviceConfig = z.output<typeof device>;
