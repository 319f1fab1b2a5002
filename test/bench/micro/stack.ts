/** `bun test/bench/micro/stack.ts`: what pure parts of the packet path cost. It asserts nothing. */

import { Arena } from '../../../src/stack/arena.ts';
import { FlowTable } from '../../../src/stack/flow-table.ts';
import { HalfSipHash } from '../../../src/stack/sip-hash.ts';
import type { Instant } from '../../../src/stack/time.ts';
import { checksum } from '../../../src/stack/wire/checksum.ts';
import { emitIpv4Header, IPV4_HEADER_BYTES, Ipv4Field } from '../../../src/stack/wire/ipv4.ts';
import { Protocol } from '../../../src/stack/wire/protocol.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';
import {
  emitTcpHeader,
  emitTcpPartialChecksum,
  TCP_HEADER_BYTES,
  TcpField,
  TcpFlag,
} from '../../../src/stack/wire/tcp.ts';
import {
  emitVnetHeader,
  GsoType,
  VNET_HEADER_BYTES,
  VnetFlag,
} from '../../../src/stack/wire/virtio-net.ts';
import { nanosecondsPerCall } from './clock.ts';

const BATCH = 1000;
const FLOWS = 65_536;
const ADDRESS_BYTES = 4;
const SERVER_PORT = 443;
const MSS = 1460;

/** Results end up here, so that no call is dead code. */
let sink = 0;

function checksumBytes(length: number): void {
  const view = new DataView(new ArrayBuffer(length));
  crypto.getRandomValues(new Uint8Array(view.buffer));
  const repeat = Math.ceil(65_536 / length);
  const nanoseconds = nanosecondsPerCall(() => {
    for (let i = 0; i < repeat; i++) sink += checksum(view, 0, length);
  });
  print(`checksum of ${length} B`, (length * repeat) / nanoseconds, 'GB/s');
}

/** Hash and find in a full table, in an order that the processor's cache cannot foresee. */
function flowLookup(): void {
  const arena = new Arena(new ArrayBuffer(FlowTable.bytes(FLOWS) + (FLOWS + 2) * 64));
  const table = new FlowTable(arena, FLOWS, new HalfSipHash(0x1234567, 0x89abcde));
  const sourcesAt = arena.take(FLOWS * ADDRESS_BYTES);
  const destinationAt = arena.take(ADDRESS_BYTES);
  arena.view.setUint32(destinationAt, 0xc612_000a);
  for (let i = 0; i < FLOWS; i++) arena.view.setUint32(sourcesAt + i * 4, 0x0a00_0000 + i);
  const portOf = (flow: number): number => 1024 + (flow & 0x3fff);
  const hashOf = (flow: number): number => {
    const ports = portOf(flow) * 0x10000 + SERVER_PORT;
    return table.hashOf(sourcesAt + flow * 4, destinationAt, ADDRESS_BYTES, ports, Protocol.TCP);
  };
  for (let flow = 0; flow < FLOWS; flow++) {
    const [sourceAt, port] = [sourcesAt + flow * 4, portOf(flow)];
    table.insert(
      hashOf(flow),
      sourceAt,
      destinationAt,
      ADDRESS_BYTES,
      port,
      SERVER_PORT,
      Protocol.TCP,
      0 as Instant,
    );
  }
  let flow = 0;
  const nanoseconds = nanosecondsPerCall(() => {
    for (let i = 0; i < BATCH; i++) {
      // A step that shares no factor with the number of flows visits them all.
      flow = (flow + 40_503) & (FLOWS - 1);
      const sourceAt = sourcesAt + flow * 4;
      sink += table.find(
        hashOf(flow),
        sourceAt,
        destinationAt,
        ADDRESS_BYTES,
        portOf(flow),
        SERVER_PORT,
        Protocol.TCP,
      );
    }
  });
  print(`flow lookup among ${FLOWS}`, nanoseconds / BATCH, 'ns');
}

/** The headers of a superframe of 64 KiB: virtio, IPv4, TCP with the pseudo header's sum. */
function headerEmit(): void {
  const view = new DataView(new ArrayBuffer(70_000));
  const ipAt = VNET_HEADER_BYTES;
  const tcpAt = ipAt + IPV4_HEADER_BYTES;
  const packetLength = 65_000;
  const headers = IPV4_HEADER_BYTES + TCP_HEADER_BYTES;
  const sourceAt = ipAt + Ipv4Field.SOURCE;
  const destinationAt = ipAt + Ipv4Field.DESTINATION;
  let sequence = 0;
  const nanoseconds = nanosecondsPerCall(() => {
    for (let i = 0; i < BATCH; i++) {
      sequence += packetLength - headers;
      emitVnetHeader(
        view,
        0,
        VnetFlag.NEEDS_CSUM,
        GsoType.TCPV4,
        headers,
        MSS,
        IPV4_HEADER_BYTES,
        TcpField.CHECKSUM,
      );
      emitIpv4Header(view, ipAt, packetLength, Protocol.TCP, 64, 0, sourceAt, destinationAt);
      emitTcpHeader(
        view,
        tcpAt,
        SERVER_PORT,
        40_000,
        asSeq(sequence),
        asSeq(1),
        TCP_HEADER_BYTES,
        TcpFlag.ACK,
        0xffff,
      );
      emitTcpPartialChecksum(
        view,
        sourceAt,
        destinationAt,
        ADDRESS_BYTES,
        tcpAt,
        ipAt + packetLength,
      );
    }
  });
  sink += view.getUint16(tcpAt + TcpField.CHECKSUM);
  print('headers of a superframe', nanoseconds / BATCH, 'ns');
}

function print(what: string, value: number, unit: string): void {
  console.log(`${what.padEnd(32)} ${value.toFixed(2).padStart(8)} ${unit}`);
}

checksumBytes(40);
checksumBytes(1460);
checksumBytes(65_536);
flowLookup();
headerEmit();
if (Number.isNaN(sink)) throw new Error('a result was not a number');
