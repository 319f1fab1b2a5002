/** What is kept of a flow whose client is gone, while its upstream still takes bytes. */
import { FlowField } from '../../../stack/flow-row.ts';
import { NO_SLAB } from '../../../stack/slab-pool.ts';
import { type Instant, NEVER } from '../../../stack/time.ts';

export interface Orphan extends Source {
  fd: number;
  /** First slab that is not sent whole, or NO_SLAB. */
  slabAt: number;
  /** Bytes in slabs, and in the kernel as far as they are not acknowledged, FIN for one. */
  bytes: number;
  inKernel: number;
  /** The client sent FIN first: the upstream gets one too, and no reset. */
  hasEnd: boolean;
  /** It was passed on. */
  isShut: boolean;
  deadline: Instant;
  lookAt: Instant;
  pauseMs: number;
}

/** Who counts as one client: an IPv4 address, or an IPv6 /64. */
interface Source {
  family: number;
  /** The first two words of the address; of IPv4 the second is 0. */
  prefix: number;
  prefixLow: number;
}

export const noOrphan = (): Orphan => ({
  family: 0,
  prefix: 0,
  prefixLow: 0,
  fd: -1,
  slabAt: NO_SLAB,
  bytes: 0,
  inKernel: 0,
  hasEnd: false,
  isShut: false,
  deadline: NEVER,
  lookAt: NEVER,
  pauseMs: 0,
});

/** @param rowAt  of a flow's row: see FlowField */
export function readSource(view: DataView, rowAt: number, into: Source): void {
  into.family = view.getUint8(rowAt + FlowField.FAMILY);
  into.prefix = view.getInt32(rowAt + FlowField.SOURCE);
  into.prefixLow = view.getInt32(rowAt + FlowField.SOURCE + 4);
}

export const isOfSameSource = (view: DataView, rowAt: number, source: Source): boolean =>
  source.prefix === view.getInt32(rowAt + FlowField.SOURCE) &&
  source.prefixLow === view.getInt32(rowAt + FlowField.SOURCE + 4) &&
  source.family === view.getUint8(rowAt + FlowField.FAMILY);
