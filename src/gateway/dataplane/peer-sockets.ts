/**
 * Frames between the data planes of one device with several queues (stack/peers.ts): each has an
 * inbox, a socket into which all others write. It never waits; what a full inbox does not take is
 * dropped and counted by who wanted to write it.
 */
import type { Epoll } from '../../ffi/epoll.ts';
import { EpollEvent } from '../../ffi/epoll.ts';
import { Errno } from '../../ffi/errno.ts';
import { SharedMemory } from '../../ffi/memory.ts';
import { receive, send, setNonBlocking } from '../../ffi/sockets.ts';
import { FRAME_BYTES, type StateLimits, stateBytes } from '../../stack/layout.ts';
import { PeerTable } from '../../stack/peer-table.ts';
import type { PeerSink } from '../../stack/peers.ts';
import type { Stack } from '../../stack/stack.ts';
import type { Instant } from '../../stack/time.ts';
import { DataPlaneFd, peerFds } from '../messages/control.ts';

/** Frames taken in one turn, as of the device. */
const BATCH = 64;

export class PeerSockets implements PeerSink {
  /** Of all other data planes, in the order of their queues. */
  readonly tables: readonly PeerTable[];
  readonly #inboxes: readonly number[];
  readonly #base: number;

  /**
   * @param peers   how many other data planes there are
   * @param base    address of the first byte of the own state
   */
  constructor(peers: number, limits: StateLimits, base: number) {
    const fds = Array.from({ length: peers }, (_, peer) => peerFds(peer));
    this.tables = fds.map(
      ({ state }) => new PeerTable(SharedMemory.map(state, stateBytes(limits)).buffer, limits),
    );
    this.#inboxes = fds.map(({ inbox }) => inbox);
    this.#base = base;
    for (const fd of [DataPlaneFd.INBOX, ...this.#inboxes]) setNonBlocking(fd);
  }

  watch(epoll: Epoll, token: number): void {
    epoll.add(DataPlaneFd.INBOX, EpollEvent.IN, token);
  }

  handOver(peer: number, at: number, length: number): boolean {
    const fd = this.#inboxes[peer]!;
    for (;;) {
      const sent = send(fd, this.#base + at, length);
      if (sent !== -Errno.EINTR) return sent === length;
    }
  }

  /** Takes what the others have written. */
  read(stack: Stack, now: Instant): void {
    for (let i = 0; i < BATCH; i++) {
      const got = receive(DataPlaneFd.INBOX, this.#base + stack.frameAt, FRAME_BYTES);
      if (got === -Errno.EINTR) continue;
      if (got <= 0) return;
      stack.ingestHandedOver(stack.frameAt, got, now);
    }
  }
}
