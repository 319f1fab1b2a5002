/** Nearly right packets, which reach further into a parser than random bytes do. */
import fc from 'fast-check';
import { KERNEL_PACKETS, KERNEL_VNET_FRAMES } from './kernel-packets.ts';

/** A packet of the kernel with a few bytes changed, perhaps cut short. */
export function mutatedPacket(): fc.Arbitrary<Uint8Array> {
  const originals = [...Object.values(KERNEL_PACKETS), ...Object.values(KERNEL_VNET_FRAMES)];
  const changes = fc.array(fc.tuple(fc.nat(100), fc.nat(0xff)), { maxLength: 4 });
  return fc
    .tuple(fc.constantFrom(...originals), changes, fc.nat(100))
    .map(([original, changed, length]) => {
      const bytes = original.slice(0, length < 50 ? length : original.length);
      for (const [at, value] of changed) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
}
