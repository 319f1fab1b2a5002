/**
 * A stream of bytes in which every position is known beforehand, so that a receiver can say which
 * byte is wrong, and a lost, doubled or swapped piece cannot pass. It is one random block, turned
 * a little further each time it repeats; a seed turns it too, so that two streams differ.
 */

/** A prime: no buffer size of ours divides it. */
const BLOCK_BYTES = 1_048_573;
/** Primes as well: how far each repetition, and each seed, turns the block. */
const TURN_PER_REPETITION = 7919;
const TURN_PER_SEED = 104_729;

/** The block twice, so that a turned block is one piece. */
const block: Buffer = (() => {
  const bytes = Buffer.alloc(2 * BLOCK_BYTES);
  let x = 0x9e3779b9;
  for (let i = 0; i < BLOCK_BYTES; i++) {
    // xorshift32, Marsaglia 2003.
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x;
  }
  bytes.copy(bytes, BLOCK_BYTES, 0, BLOCK_BYTES);
  return bytes;
})();

/** Up to `max` bytes of the stream from position `at`; fewer where the block repeats. */
export function patternAt(seed: number, at: number, max: number): Buffer {
  const repetition = Math.floor(at / BLOCK_BYTES);
  const inBlock = at % BLOCK_BYTES;
  const turn = (repetition * TURN_PER_REPETITION + seed * TURN_PER_SEED) % BLOCK_BYTES;
  const start = (inBlock + turn) % BLOCK_BYTES;
  return block.subarray(start, start + Math.min(max, BLOCK_BYTES - inBlock));
}

/** Position of the first byte of `bytes` that is not that of the stream from `at`; -1 if none. */
export function firstMismatch(seed: number, at: number, bytes: Buffer): number {
  let done = 0;
  while (done < bytes.length) {
    const expected = patternAt(seed, at + done, bytes.length - done);
    const got = bytes.subarray(done, done + expected.length);
    if (!got.equals(expected)) {
      return at + done + got.findIndex((byte, i) => byte !== expected[i]);
    }
    done += expected.length;
  }
  return -1;
}
