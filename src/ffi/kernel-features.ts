/** What this kernel offers the gateway, for `culvert version --json`. */
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { SystemError } from './errors.ts';
import { TunOffload } from './ioctls.ts';
import { effectiveUid } from './process.ts';
import { TunDevice } from './tun-device.ts';

export interface KernelFeatures {
  /** As `uname -r` prints it. */
  readonly kernel: string;
  /** /dev/net/tun is there. */
  readonly tunDevice: boolean;
  /** CAP_NET_ADMIN is in force for this process. */
  readonly netAdmin: boolean;
  /** What a TUN device can do; null when it was not tried, for which one must be root. */
  readonly tun: TunFeatures | null;
}

export interface TunFeatures {
  readonly vnetHeader: boolean;
  readonly checksum: boolean;
  readonly tso4: boolean;
  readonly tso6: boolean;
  /** Segmentation of UDP; the kernel takes it for both families or for none. Linux 6.2. */
  readonly uso: boolean;
}

const CAP_NET_ADMIN = 12n;

/** The kernel replaces `%d`; the device is down and gone before the call returns. */
const PROBE_NAME = 'cvprobe%d';

export function kernelFeatures(): KernelFeatures {
  return {
    kernel: release(),
    tunDevice: existsSync('/dev/net/tun'),
    netAdmin: hasNetAdmin(),
    tun: effectiveUid() === 0 ? probeTun() : null,
  };
}

/** CapEff of this process has the bit. proc(5). */
function hasNetAdmin(): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

/** Null where root may not make a device: in a container, or without the module. */
function probeTun(): TunFeatures | null {
  try {
    using device = TunDevice.open({ name: PROBE_NAME, offload: true });
    const accepts = (bits: number): boolean =>
      device.vnetHeader && device.setOffloads(TunOffload.CSUM | bits) === 0;
    return {
      vnetHeader: device.vnetHeader,
      checksum: accepts(0),
      tso4: accepts(TunOffload.TSO4),
      tso6: accepts(TunOffload.TSO6),
      uso: accepts(TunOffload.USO4 | TunOffload.USO6),
    };
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}
