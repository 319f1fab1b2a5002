/** Runs packets through a `Coalescer` in one arena, as the slots of a batch would lie there. */
import { Arena } from '../../src/stack/arena.ts';
import { Coalescer } from '../../src/stack/offload/coalesce.ts';

export interface Coalesced {
  readonly bytes: Uint8Array;
  readonly gsoSize: number;
}

export function coalesce(packets: readonly Uint8Array[]): Coalesced[] {
  const slots = packets.reduce((sum, packet) => sum + packet.length + 64, 0);
  const arena = new Arena(new ArrayBuffer(Coalescer.BYTES + slots + 128));
  const out: Coalesced[] = [];
  const coalescer = new Coalescer(arena, (at, end, gsoSize) => {
    out.push({ bytes: arena.bytes.slice(at, end), gsoSize });
  });
  for (const packet of packets) {
    const at = arena.take(packet.length, 1);
    arena.bytes.set(packet, at);
    coalescer.push(at, at + packet.length);
  }
  coalescer.flush();
  return out;
}
