/**
 * Which source the upstream of a flow sees: that of the client's mapping (mappings.ts), or a port
 * that only this flow has. What counts in the end is that the tuple of its replies is its own; when
 * all ports are mapped, one port serves flows of several clients, as long as they go to different
 * upstreams.
 */
import type { Arena } from '../arena.ts';
import { CloseReason } from '../close-reason.ts';
import type { TrackSettings } from '../conntrack/context.ts';
import { FlowField } from '../flow-row.ts';
import type { FlowTable } from '../flow-table.ts';
import type { Instant } from '../time.ts';
import { Protocol } from '../wire/protocol.ts';
import { MappingField, type Mappings, NO_MAPPING, NO_PORT } from './mappings.ts';
import { NO_ADDRESS, type Pool } from './pool.ts';

/** Ports that are tried before a flow is refused. */
const OVERLOAD_PROBES = 128;
const IDENTIFIER_MAX = 0xffff;

/** Whether flows of this protocol have something like a port. */
const hasPorts = (protocol: number): boolean =>
  protocol === Protocol.TCP || protocol === Protocol.UDP || isEcho(protocol);

/** Any identifier will do. */
const isEcho = (protocol: number): boolean =>
  protocol === Protocol.ICMP || protocol === Protocol.ICMPV6;

export class SourceNat {
  readonly #view: DataView;
  readonly #flows: FlowTable;
  readonly #settings: TrackSettings;
  readonly #pool: Pool;
  readonly #mappings: Mappings;
  readonly #insertReply: (row: number, now: Instant) => boolean;

  /** @param insertReply  makes the flow findable by its replies; false when they are another's */
  constructor(
    arena: Arena,
    flows: FlowTable,
    settings: TrackSettings,
    pool: Pool,
    mappings: Mappings,
    insertReply: (row: number, now: Instant) => boolean,
  ) {
    this.#view = arena.view;
    this.#flows = flows;
    this.#settings = settings;
    this.#pool = pool;
    this.#mappings = mappings;
    this.#insertReply = insertReply;
  }

  /** Translates the source to an address of the pool. */
  masquerade(row: number, now: Instant): CloseReason {
    const view = this.#view;
    const at = this.#flows.rowAt(row);
    const length = view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16;
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    const sourceAt = at + FlowField.SOURCE;
    const port = view.getUint16(at + FlowField.SOURCE_PORT, true);
    const poolAt = this.#pool.addressFor(sourceAt, length);
    if (poolAt === NO_ADDRESS) return CloseReason.NAT_EXHAUSTED;
    if (!hasPorts(protocol)) {
      const isFree = this.#try(row, poolAt, length, 0, now);
      return isFree ? CloseReason.NONE : CloseReason.NAT_EXHAUSTED;
    }
    const mapping = this.#mappings.findClient(protocol, sourceAt, length, port);
    const mappingAt = this.#mappings.at(mapping);
    const mappedAt = mappingAt + MappingField.POOL;
    // A mapping with an address that the pool has lost serves the flows that it has, and no other.
    if (mapping !== NO_MAPPING && this.#pool.has(mappedAt, length)) {
      const mapped = view.getUint16(mappingAt + MappingField.POOL_PORT, true);
      if (!this.#try(row, mappedAt, length, mapped, now)) {
        return this.#overload(row, mappedAt, length, now);
      }
      this.#mappings.take(mapping);
      view.setInt32(at + FlowField.MAPPING, mapping + 1, true);
      return CloseReason.NONE;
    }
    if (this.#mappings.countOf(protocol, sourceAt, length) >= this.#settings.portsPerSource) {
      return CloseReason.NAT_PORT_LIMIT;
    }
    const first = this.#first(protocol);
    const last = this.#last(protocol);
    const free = this.#mappings.freePort(protocol, poolAt, length, port, first, last);
    if (free === NO_PORT || !this.#try(row, poolAt, length, free, now)) {
      return this.#overload(row, poolAt, length, now);
    }
    const made = this.#mappings.insert(protocol, sourceAt, port, poolAt, free, length);
    view.setInt32(at + FlowField.MAPPING, made + 1, true);
    return CloseReason.NONE;
  }

  /** Keeps the source, and changes its port only when replies could not be told apart. */
  keep(row: number, now: Instant): CloseReason {
    const view = this.#view;
    const at = this.#flows.rowAt(row);
    const length = view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16;
    const sourceAt = at + FlowField.SOURCE;
    const port = view.getUint16(at + FlowField.SOURCE_PORT, true);
    if (this.#try(row, sourceAt, length, port, now)) return CloseReason.NONE;
    if (!hasPorts(view.getUint8(at + FlowField.PROTOCOL))) return CloseReason.NAT_EXHAUSTED;
    return this.#overload(row, sourceAt, length, now);
  }

  /** The flow is over: its mapping may go. */
  release(row: number): void {
    const field = this.#flows.rowAt(row) + FlowField.MAPPING;
    const mapping = this.#view.getInt32(field, true) - 1;
    if (mapping < 0) return;
    this.#mappings.release(mapping);
    this.#view.setInt32(field, 0, true);
  }

  /** Finds the mapping of a flow that an earlier data plane left, or makes it again. */
  adopt(row: number): void {
    const view = this.#view;
    const at = this.#flows.rowAt(row);
    if (view.getInt32(at + FlowField.MAPPING, true) === 0) return;
    const length = view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16;
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    const sourceAt = at + FlowField.SOURCE;
    const port = view.getUint16(at + FlowField.SOURCE_PORT, true);
    const poolAt = at + FlowField.NAT_SOURCE;
    const poolPort = view.getUint16(at + FlowField.NAT_SOURCE_PORT, true);
    // By the pool's end, which only one mapping has: a client may have had two, see `masquerade`.
    let mapping = this.#mappings.findPool(protocol, poolAt, length, poolPort);
    if (mapping === NO_MAPPING) {
      mapping = this.#mappings.insert(protocol, sourceAt, port, poolAt, poolPort, length);
    } else this.#mappings.take(mapping);
    view.setInt32(at + FlowField.MAPPING, mapping + 1, true);
  }

  /** A port that no other flow to the same upstream has; the client's own first. */
  #overload(row: number, addressAt: number, length: number, now: Instant): CloseReason {
    const view = this.#view;
    const at = this.#flows.rowAt(row);
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    const own = view.getUint16(at + FlowField.SOURCE_PORT, true);
    const first = this.#first(protocol);
    const last = this.#last(protocol);
    if (own >= first && own <= last && this.#try(row, addressAt, length, own, now)) {
      return CloseReason.NONE;
    }
    const count = last - first + 1;
    const draw = this.#mappings.draw(addressAt, own);
    const probes = Math.min(count, OVERLOAD_PROBES);
    for (let i = 0; i < probes; i++) {
      const port = first + ((draw + i) % count);
      if (this.#try(row, addressAt, length, port, now)) return CloseReason.NONE;
    }
    return CloseReason.NAT_EXHAUSTED;
  }

  #try(row: number, addressAt: number, length: number, port: number, now: Instant): boolean {
    const view = this.#view;
    const at = this.#flows.rowAt(row);
    for (let i = 0; i < length; i += 4) {
      view.setInt32(at + FlowField.NAT_SOURCE + i, view.getInt32(addressAt + i));
    }
    view.setUint16(at + FlowField.NAT_SOURCE_PORT, port, true);
    return this.#insertReply(row, now);
  }

  #first(protocol: number): number {
    return isEcho(protocol) ? 0 : this.#settings.firstPort;
  }

  #last(protocol: number): number {
    return isEcho(protocol) ? IDENTIFIER_MAX : this.#settings.lastPort;
  }
}
