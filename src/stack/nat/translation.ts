/**
 * What a verdict makes of a flow that is to be rewritten: where it goes, which source is seen
 * there, and the tuple by which its replies are known. The row says it all to `rewritePacket`:
 *
 *   original   source → destination     leaves as   NAT source → upstream
 *   reply      upstream → NAT source    leaves as   destination → source
 */
import { CloseReason } from '../close-reason.ts';
import type { TrackContext, TrackSettings } from '../conntrack/context.ts';
import { FlowField, TrackBit } from '../flow-row.ts';
import { type FlowTable, NO_FLOW } from '../flow-table.ts';
import type { Packet } from '../packet.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { Sources } from '../sources.ts';
import type { Instant } from '../time.ts';
import { addressEquals } from '../wire/ip-address.ts';
import { Protocol } from '../wire/protocol.ts';
import { MappingField, Mappings, NO_MAPPING } from './mappings.ts';
import { Pool } from './pool.ts';
import { rewriteDestination, rewriteSource } from './rewrite.ts';
import { SourceNat } from './source-nat.ts';

const V4_BYTES = 4;
const V6_BYTES = 16;

/** Bytes of an address of the flow whose row lies at `at`. */
const addressBytes = (view: DataView, at: number): number =>
  view.getUint8(at + FlowField.FAMILY) === 4 ? V4_BYTES : V6_BYTES;

export class Translation {
  readonly #view: DataView;
  readonly #flows: FlowTable;
  readonly #settings: TrackSettings;
  readonly #pool: Pool;
  readonly #mappings: Mappings;
  readonly #sourceNat: SourceNat;
  readonly #sources: Sources;
  readonly #expire: (row: number, now: Instant) => void;

  static bytes(flows: number): number {
    return Pool.BYTES + Mappings.bytes(flows) + Sources.bytes(flows);
  }

  /** @param expire  ends a flow whose time is over */
  constructor(
    { arena, flows, counters }: TrackContext,
    settings: TrackSettings,
    hash: HalfSipHash,
    expire: (row: number, now: Instant) => void,
  ) {
    this.#view = arena.view;
    this.#flows = flows;
    this.#settings = settings;
    this.#expire = expire;
    this.#pool = new Pool(arena, hash);
    this.#mappings = new Mappings(arena, flows.capacity, hash, counters);
    this.#sources = new Sources(arena, flows.capacity, hash);
    this.#sourceNat = new SourceNat(
      arena,
      flows,
      settings,
      this.#pool,
      this.#mappings,
      (row, now) => this.#insertReply(row, now),
    );
  }

  /** The addresses that sources are translated to; flows keep what they have. See pool.ts. */
  setPool(addresses: readonly Uint8Array[]): void {
    this.#pool.set(addresses);
  }

  /** Whether a source has as many rewritten flows as it may. */
  isFull(sourceAt: number, addressLength: number): boolean {
    return this.#sources.count(sourceAt, addressLength) >= this.#settings.perSource;
  }

  /** @returns NONE, or why the flow in `row` cannot be translated: it may be refused then */
  make(row: number, masquerade: boolean, now: Instant): CloseReason {
    const at = this.#flows.rowAt(row);
    const length = addressBytes(this.#view, at);
    if (this.isFull(at + FlowField.SOURCE, length)) return CloseReason.LIMIT;
    if (!this.#target(at)) return CloseReason.VERDICT_UNFIT;
    // It was rewritten before: the kernel has routed it back into the device.
    if (this.#pool.has(at + FlowField.SOURCE, length)) return CloseReason.DIAL_LOOP;
    const isToPool = this.#pool.has(at + FlowField.UPSTREAM, length);
    if (isToPool && !this.#hairpin(at, length)) return CloseReason.DIAL_LOOP;
    const nat = this.#sourceNat;
    const reason = masquerade || isToPool ? nat.masquerade(row, now) : nat.keep(row, now);
    if (reason !== CloseReason.NONE) return reason;
    this.#noteBits(at, length);
    this.#sources.take(at + FlowField.SOURCE, length, this.#isMapped(at));
    return CloseReason.NONE;
  }

  /** Takes over what an earlier data plane made. @returns false when it cannot be had again */
  adopt(row: number): boolean {
    const at = this.#flows.rowAt(row);
    if (!this.#flows.adopt(row)) return false;
    if (this.#flows.insertReply(row) !== NO_FLOW) {
      this.#flows.remove(row);
      return false;
    }
    this.#sourceNat.adopt(row);
    const length = addressBytes(this.#view, at);
    this.#sources.take(at + FlowField.SOURCE, length, this.#isMapped(at));
    return true;
  }

  /** The flow is over. */
  release(row: number): void {
    const at = this.#flows.rowAt(row);
    const length = addressBytes(this.#view, at);
    this.#sources.release(at + FlowField.SOURCE, length, this.#isMapped(at));
    this.#sourceNat.release(row);
  }

  #isMapped(at: number): boolean {
    return this.#view.getInt32(at + FlowField.MAPPING, true) !== 0;
  }

  /** Writes where the flow really goes. @returns false when that is of another family */
  #target(at: number): boolean {
    const view = this.#view;
    const family = view.getUint8(at + FlowField.FAMILY);
    const upstreamFamily = view.getUint8(at + FlowField.UPSTREAM_FAMILY);
    if (upstreamFamily === 0) {
      for (let i = 0; i < V6_BYTES; i += 4) {
        const word = view.getInt32(at + FlowField.DESTINATION + i);
        view.setInt32(at + FlowField.UPSTREAM + i, word);
      }
      view.setUint8(at + FlowField.UPSTREAM_FAMILY, family);
      view.setUint16(at + FlowField.UPSTREAM_PORT, 0, true);
    } else if (upstreamFamily !== family) return false;
    const keepsPort = view.getUint16(at + FlowField.UPSTREAM_PORT, true) === 0;
    if (keepsPort || !this.#hasServerPort(at)) {
      const port = view.getUint16(at + FlowField.DESTINATION_PORT, true);
      view.setUint16(at + FlowField.UPSTREAM_PORT, port, true);
    }
    return true;
  }

  /** TCP and UDP have two ports; an echo has one, the client's. */
  #hasServerPort(at: number): boolean {
    const protocol = this.#view.getUint8(at + FlowField.PROTOCOL);
    return protocol === Protocol.TCP || protocol === Protocol.UDP;
  }

  /**
   * The flow goes to an address of the pool. When that is a client, as the world sees it, the flow
   * goes there (RFC 4787 REQ-9); only clients may, for filtering depends on address and port (RFC
   * 4787 §5) for everybody else.
   */
  #hairpin(at: number, length: number): boolean {
    const view = this.#view;
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    if (!this.#hasServerPort(at)) return false;
    const upstreamAt = at + FlowField.UPSTREAM;
    const port = view.getUint16(at + FlowField.UPSTREAM_PORT, true);
    const mapping = this.#mappings.findPool(protocol, upstreamAt, length, port);
    if (mapping === NO_MAPPING) return false;
    if (!this.#sources.isClient(at + FlowField.SOURCE, length)) return false;
    const mappingAt = this.#mappings.at(mapping);
    for (let i = 0; i < length; i += 4) {
      view.setInt32(upstreamAt + i, view.getInt32(mappingAt + MappingField.CLIENT + i));
    }
    const clientPort = view.getUint16(mappingAt + MappingField.CLIENT_PORT, true);
    view.setUint16(at + FlowField.UPSTREAM_PORT, clientPort, true);
    return true;
  }

  /** The tuple of replies may be that of a flow that is over, and not yet taken out. */
  #insertReply(row: number, now: Instant): boolean {
    const other = this.#flows.insertReply(row);
    if (other === NO_FLOW) return true;
    const expiresAtField = this.#flows.rowAt(other) + FlowField.EXPIRES_AT;
    const expiresAt = this.#view.getFloat64(expiresAtField, true);
    if (expiresAt === 0 || expiresAt > now) return false;
    this.#expire(other, now);
    return this.#flows.insertReply(row) === NO_FLOW;
  }

  /** What is rewritten, as `rewritePacket` and readers of the row want to know it. */
  #noteBits(at: number, length: number): void {
    const view = this.#view;
    let bits = view.getUint8(at + FlowField.TRACK_BITS);
    if (
      view.getUint16(at + FlowField.SOURCE_PORT) !==
        view.getUint16(at + FlowField.NAT_SOURCE_PORT) ||
      !addressEquals(view, at + FlowField.SOURCE, at + FlowField.NAT_SOURCE, length)
    ) {
      bits |= TrackBit.SOURCE_NAT;
    }
    if (
      view.getUint16(at + FlowField.DESTINATION_PORT) !==
        view.getUint16(at + FlowField.UPSTREAM_PORT) ||
      !addressEquals(view, at + FlowField.DESTINATION, at + FlowField.UPSTREAM, length)
    ) {
      bits |= TrackBit.DESTINATION_NAT;
    }
    view.setUint8(at + FlowField.TRACK_BITS, bits);
  }
}

/** Gives a packet the addresses and ports that the other side knows. */
export function rewritePacket(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  packet: Packet,
): void {
  const bits = view.getUint8(rowAt + FlowField.TRACK_BITS);
  if ((bits & TrackBit.SOURCE_NAT) !== 0) {
    if (isReply) {
      const port = view.getUint16(rowAt + FlowField.SOURCE_PORT, true);
      rewriteDestination(view, packet, rowAt + FlowField.SOURCE, port);
    } else {
      const port = view.getUint16(rowAt + FlowField.NAT_SOURCE_PORT, true);
      rewriteSource(view, packet, rowAt + FlowField.NAT_SOURCE, port);
    }
  }
  if ((bits & TrackBit.DESTINATION_NAT) === 0) return;
  if (isReply) {
    const port = view.getUint16(rowAt + FlowField.DESTINATION_PORT, true);
    rewriteSource(view, packet, rowAt + FlowField.DESTINATION, port);
  } else {
    const port = view.getUint16(rowAt + FlowField.UPSTREAM_PORT, true);
    rewriteDestination(view, packet, rowAt + FlowField.UPSTREAM, port);
  }
}
