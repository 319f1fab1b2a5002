/** Sequence numbers, RFC 9293 §3.4: uint32 on a circle. Never compare them with `<`. */

declare const seq: unique symbol;

/** A uint32 on the circle of sequence numbers. */
export type Seq = number & { readonly [seq]: true };

/** The low 32 bits of any integer. */
export const asSeq = (n: number): Seq => (n >>> 0) as Seq;

/** `a` moved by `n`, which may be negative. */
export const seqAdd = (a: Seq, n: number): Seq => ((a + n) >>> 0) as Seq;

/** How far `a` lies ahead of `b`: int32, negative when it lies behind. */
export const seqDiff = (a: Seq, b: Seq): number => (a - b) | 0;

export const seqLt = (a: Seq, b: Seq): boolean => ((a - b) | 0) < 0;
export const seqLe = (a: Seq, b: Seq): boolean => ((a - b) | 0) <= 0;
export const seqGt = (a: Seq, b: Seq): boolean => ((a - b) | 0) > 0;
export const seqGe = (a: Seq, b: Seq): boolean => ((a - b) | 0) >= 0;
export const seqMax = (a: Seq, b: Seq): Seq => (((a - b) | 0) >= 0 ? a : b);

/** Whether `value` is one of the `size` numbers that begin with `start`; none when size is 0. */
export const seqInWindow = (value: Seq, start: Seq, size: number): boolean =>
  (value - start) >>> 0 < size;
