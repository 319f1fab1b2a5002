/**
 * What goes wrong between a session and its upstream, told to the client as the network said it:
 * ICMP errors from the socket's error queue, with the router that sent them, and refusals of our
 * own kernel.
 */
import { pathMtu } from '../../../ffi/datagram-sockets.ts';
import { Errno } from '../../../ffi/errno.ts';
import { ErrorOrigin, ErrorQueue } from '../../../ffi/error-queue.ts';
import type { Counters } from '../../../stack/counters.ts';
import { DropReason } from '../../../stack/drop-reason.ts';
import { FlowField } from '../../../stack/flow-row.ts';
import { IcmpErrorKind } from '../../../stack/icmp-error-kind.ts';
import { OWN_ADDRESS } from '../../../stack/icmp-sender.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT } from '../../../stack/slab-pool.ts';
import type { Instant } from '../../../stack/time.ts';
import { adjust } from '../../../stack/wire/checksum.ts';
import { IcmpField } from '../../../stack/wire/icmp.ts';
import { Icmpv4Type } from '../../../stack/wire/icmpv4.ts';
import { Icmpv6Type } from '../../../stack/wire/icmpv6.ts';
import { addressEquals } from '../../../stack/wire/ip-address.ts';
import { IPV4_HEADER_BYTES } from '../../../stack/wire/ipv4.ts';
import { IPV6_HEADER_BYTES } from '../../../stack/wire/ipv6.ts';
import { dialFailure } from '../forward/dial.ts';
import type { UpstreamTable } from '../forward/upstream-table.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionStack } from './session-stack.ts';
import { PathMode, SessionKind, type SessionTable } from './session-table.ts';

/** Errors taken off one socket at a time; a forger shall not keep the others waiting. */
const SHARE = 64;
/** More than an error towards the client quotes. */
const QUOTED_BYTES_MAX = 1400;
const OFFENDER_AT = QUOTED_BYTES_MAX;
const ADDRESS_BYTES = 16;

/** An error that is not passed on. */
const NO_KIND = -1;

/** By code of "destination unreachable": RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1. */
const UNREACHABLE_4: readonly number[] = [
  IcmpErrorKind.NETWORK,
  IcmpErrorKind.HOST,
  IcmpErrorKind.PROTOCOL,
  IcmpErrorKind.PORT,
  IcmpErrorKind.TOO_BIG,
  IcmpErrorKind.HOST,
  IcmpErrorKind.NETWORK,
  IcmpErrorKind.HOST,
  IcmpErrorKind.HOST,
  IcmpErrorKind.PROHIBITED,
  IcmpErrorKind.PROHIBITED,
  IcmpErrorKind.NETWORK,
  IcmpErrorKind.HOST,
  IcmpErrorKind.PROHIBITED,
  IcmpErrorKind.PROHIBITED,
  IcmpErrorKind.PROHIBITED,
];
/** RFC 4443 §3.1. */
const UNREACHABLE_6: readonly number[] = [
  IcmpErrorKind.NETWORK,
  IcmpErrorKind.PROHIBITED,
  IcmpErrorKind.HOST,
  IcmpErrorKind.HOST,
  IcmpErrorKind.PORT,
  IcmpErrorKind.PROHIBITED,
  IcmpErrorKind.PROHIBITED,
];

/** A value of `IcmpErrorKind`, or NO_KIND. */
function kindOf(origin: number, type: number, code: number): number {
  if (origin === ErrorOrigin.ICMP) {
    if (type === Icmpv4Type.UNREACHABLE) return UNREACHABLE_4[code] ?? NO_KIND;
    return type === Icmpv4Type.TIME_EXCEEDED && code === 0 ? IcmpErrorKind.HOP_LIMIT : NO_KIND;
  }
  if (origin !== ErrorOrigin.ICMP6) return NO_KIND;
  if (type === Icmpv6Type.UNREACHABLE) return UNREACHABLE_6[code] ?? NO_KIND;
  if (type === Icmpv6Type.PACKET_TOO_BIG) return IcmpErrorKind.TOO_BIG;
  return type === Icmpv6Type.TIME_EXCEEDED && code === 0 ? IcmpErrorKind.HOP_LIMIT : NO_KIND;
}

export class SessionErrors {
  readonly #stack: SessionStack;
  readonly #upstreams: UpstreamTable;
  readonly #table: SessionTable;
  readonly #counters: Counters;
  /** Address of the arena's first byte, for the kernel. */
  readonly #base: number;
  readonly #queue = new ErrorQueue();
  #slabAt = NO_SLAB;

  constructor(context: SessionContext) {
    this.#stack = context.stack;
    this.#upstreams = context.upstreams;
    this.#table = context.table;
    this.#counters = context.counters;
    this.#base = context.base;
  }

  /** Passes on what stands in the error queue of a session. @returns how many there were */
  drain(row: number, now: Instant): number {
    const { slabs } = this.#stack;
    if (this.#slabAt === NO_SLAB) this.#slabAt = slabs.take(OFFENDER_AT + ADDRESS_BYTES);
    // Without memory the errors are taken off all the same: a send fails while they stand there.
    const room = this.#slabAt === NO_SLAB ? 0 : QUOTED_BYTES_MAX;
    const at = this.#slabAt + SLAB_PAYLOAD_AT;
    const fd = this.#upstreams.fd(row);
    for (let count = 0; count < SHARE; count++) {
      const got = this.#queue.read(fd, this.#base + at, room);
      if (got < 0) return count;
      if (room > 0) this.#relay(row, at, got, now);
    }
    return SHARE;
  }

  /**
   * Our own kernel refused a datagram that lies at `at` of the arena.
   *
   * @param errno  positive
   */
  onRefused(row: number, errno: number, at: number, length: number, now: Instant): void {
    switch (errno) {
      case Errno.EAGAIN:
      case Errno.ENOBUFS:
        this.#counters.drop(DropReason.UPSTREAM_FULL);
        return;
      case Errno.EMSGSIZE:
        this.#onTooBig(row, at, length, now);
        return;
      case Errno.ENETUNREACH:
      case Errno.EHOSTUNREACH:
      case Errno.ENETDOWN:
      case Errno.EACCES:
      case Errno.EPERM:
        this.#stack.relayError(row, dialFailure(errno).code, 0, OWN_ADDRESS, at, length, now);
        break;
    }
    this.#counters.drop(DropReason.UPSTREAM_SEND_FAILED);
  }

  #onTooBig(row: number, at: number, length: number, now: Instant): void {
    this.#counters.drop(DropReason.PACKET_TOO_BIG);
    const view = this.#stack.arena.view;
    const rowAt = this.#stack.flows.rowAt(row);
    const family = view.getUint8(rowAt + FlowField.UPSTREAM_FAMILY) === 4 ? 4 : 6;
    const mtu = pathMtu(this.#upstreams.fd(row), family);
    // Where it may be cut, it was longer than any packet.
    if (mtu <= 0 || this.#table.pathMode[row] !== PathMode.DO_NOT_FRAGMENT) return;
    this.#tellTooBig(row, mtu, family, OWN_ADDRESS, at, length, now);
  }

  #relay(row: number, at: number, length: number, now: Instant): void {
    const queue = this.#queue;
    const kind = kindOf(queue.origin, queue.type, queue.code);
    if (kind === NO_KIND) return;
    if (this.#table.kind[row] !== SessionKind.UDP && !this.#restoreEcho(row, at, length)) return;
    const offenderAt = this.#offender(row, at + OFFENDER_AT);
    if (kind !== IcmpErrorKind.TOO_BIG) {
      this.#stack.relayError(row, kind as IcmpErrorKind, 0, offenderAt, at, length, now);
      return;
    }
    const family = queue.origin === ErrorOrigin.ICMP ? 4 : 6;
    // RFC 1191 §5: old routers do not say how long a packet may be; our kernel has made a guess.
    const mtu = queue.info > 0 ? queue.info : pathMtu(this.#upstreams.fd(row), family);
    if (mtu > 0) this.#tellTooBig(row, mtu, family, offenderAt, at, length, now);
  }

  /** @param mtu  of the path to the upstream, over `family` */
  #tellTooBig(
    row: number,
    mtu: number,
    family: 4 | 6,
    offenderAt: number,
    at: number,
    length: number,
    now: Instant,
  ): void {
    const clientFamily = this.#stack.arena.view.getUint8(
      this.#stack.flows.rowAt(row) + FlowField.FAMILY,
    );
    const longer = IPV6_HEADER_BYTES - IPV4_HEADER_BYTES;
    const change = clientFamily === family ? 0 : clientFamily === 4 ? -longer : longer;
    if (clientFamily === 6) this.#table.toldTooBig[row] = 1;
    const kind = IcmpErrorKind.TOO_BIG;
    this.#stack.relayError(row, kind, mtu + change, offenderAt, at, length, now);
  }

  /**
   * Where the address of who sent the error stands, as `Stack.relayError` takes it. An error of the
   * upstream itself comes from where the client thinks the upstream is, and so does one of a router
   * of the other family.
   */
  #offender(row: number, toAt: number): number {
    const view = this.#stack.arena.view;
    const rowAt = this.#stack.flows.rowAt(row);
    const family = this.#queue.copyOffender(view, toAt);
    if (family !== view.getUint8(rowAt + FlowField.FAMILY)) return 0;
    const isUpstream =
      family === view.getUint8(rowAt + FlowField.UPSTREAM_FAMILY) &&
      addressEquals(view, toAt, rowAt + FlowField.UPSTREAM, family === 4 ? 4 : ADDRESS_BYTES);
    return isUpstream ? 0 : toAt;
  }

  /**
   * Makes a quoted echo request that of the client again, but for its identifier, which the stack
   * puts there. @returns false when it is of somebody else: a raw socket hears of all echoes
   */
  #restoreEcho(row: number, at: number, length: number): boolean {
    if (length < IcmpField.BODY) return false;
    const view = this.#stack.arena.view;
    const ours = view.getUint16(at + IcmpField.IDENTIFIER);
    if (this.#table.kind[row] === SessionKind.RAW_ECHO && ours !== this.#table.identifier[row]) {
      return false;
    }
    const theirs = view.getUint16(this.#stack.flows.rowAt(row) + FlowField.SOURCE_PORT, true);
    const sum = view.getUint16(at + IcmpField.CHECKSUM);
    view.setUint16(at + IcmpField.CHECKSUM, adjust(sum, ours, theirs));
    return true;
  }
}
