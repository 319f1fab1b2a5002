/**
 * An end of a claimed connection that is a socket of the kernel. Watched edge-triggered, as those
 * of the splice are, so that it can become one: readiness is believed until EAGAIN.
 */

import { Errno } from '../../ffi/errno.ts';
import { allocateStruct } from '../../ffi/memory.ts';
import { discard, peek, receive, send, shutdownWrite } from '../../ffi/sockets.ts';
import type { EndPort, Landing } from './claims/claim.ts';
import type { SlabQueue } from './forward/slab-queue.ts';
import { NO_SLOT } from './upstream/upstreams.ts';

/** Bytes thrown away with one call. */
const DISCARD_BYTES = 1024 * 1024;

export class FdPort implements EndPort {
  readonly fd: number;
  /** Where claim-sockets.ts keeps it. */
  readonly slot: number;
  hasEnded = false;
  isBroken = false;
  isReadable = false;
  isWritable = true;
  /** The far side has sent FIN: what can be read now is all. */
  isEnding = false;
  /** Of an upstream that has a name: its number in rows, and the slot of the address. */
  upstreamId = 0;
  upstreamSlot = NO_SLOT;
  /** Address of the arena's first byte, for the kernel. */
  readonly #base: number;

  constructor(fd: number, slot: number, base: number) {
    this.fd = fd;
    this.slot = slot;
    this.#base = base;
  }

  push(queue: SlabQueue): number {
    let pushed = 0;
    while (queue.length > 0 && this.isWritable && !this.isBroken) {
      const length = queue.frontLength;
      const sent = send(this.fd, this.#base + queue.frontAt, length);
      if (sent < length) {
        if (sent < 0 && sent !== -Errno.EAGAIN && sent !== -Errno.EINTR) this.isBroken = true;
        this.isWritable = sent === -Errno.EINTR;
      }
      if (sent <= 0) continue;
      queue.consume(sent);
      pushed += sent;
    }
    return pushed;
  }

  finish(): void {
    shutdownWrite(this.fd);
  }

  /** Only the kernel knows how much there is. */
  mayHave(): boolean {
    return this.isReadable || this.hasEnded;
  }

  peek({ address }: Landing, max: number): number {
    if (this.hasEnded) return 0;
    const got = peek(this.fd, address, max);
    if (got > 0) return got;
    if (max > 0) this.#noteNone(got);
    return 0;
  }

  isAll(peeked: number, max: number): boolean {
    return this.hasEnded || (this.isEnding && peeked < max);
  }

  read({ address }: Landing, max: number): number {
    if (!this.isReadable) return 0;
    const got = receive(this.fd, address, max);
    if (got > 0) return got;
    this.#noteNone(got);
    return 0;
  }

  discard(): number {
    if (!this.isReadable) return 0;
    const got = discard(this.fd, DISCARD_BYTES);
    if (got > 0) return got;
    this.#noteNone(got);
    return 0;
  }

  /** Whether the far side has ended or failed is found out now, though nobody wants to read. */
  probe(): void {
    if (!this.hasEnded && !this.isBroken) this.peek(PROBE, 1);
  }

  #noteNone(result: number): void {
    if (result === -Errno.EINTR) return;
    this.isReadable = false;
    if (result === 0) this.hasEnded = true;
    else if (result !== -Errno.EAGAIN) this.isBroken = true;
  }
}

const probed = allocateStruct(1);
const PROBE: Landing = { bytes: probed.bytes, at: 0, address: probed.address };
