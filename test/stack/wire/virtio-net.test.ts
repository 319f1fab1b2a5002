import { describe, expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import * as vnet from '../../../src/stack/wire/virtio-net.ts';
import { KERNEL_VNET_FRAMES } from '../../support/kernel-packets.ts';
import { viewOf } from '../../support/packet-builder.ts';

const { GsoType, VnetFlag } = vnet;

test('the header of a SYN from the kernel asks for a checksum at 20 + 16', () => {
  const view = viewOf(KERNEL_VNET_FRAMES.tcpSynV4);
  expect(vnet.checkVnetHeader(view, 0, view.byteLength)).toBe(DropReason.NONE);
  expect(vnet.vnetFlags(view, 0)).toBe(VnetFlag.NEEDS_CSUM);
  expect(vnet.gsoType(view, 0)).toBe(GsoType.NONE);
  expect(vnet.gsoSize(view, 0)).toBe(0);
  expect(vnet.checksumStart(view, 0)).toBe(20);
  expect(vnet.checksumOffset(view, 0)).toBe(16);
});

test('emitVnetHeader writes what the accessors read, in host order', () => {
  const bytes = new Uint8Array(12).fill(0xee);
  const view = viewOf(bytes);
  const type = GsoType.TCPV6 | GsoType.ECN;
  vnet.emitVnetHeader(view, 1, VnetFlag.NEEDS_CSUM, type, 72, 1428, 40, 16);
  expect(bytes).toEqual(Uint8Array.of(0xee, 1, 0x84, 72, 0, 0x94, 5, 40, 0, 16, 0, 0xee));
  expect(vnet.gsoType(view, 1)).toBe(GsoType.TCPV6);
  expect(vnet.gsoHasEcn(view, 1)).toBe(true);
  expect(vnet.gsoSize(view, 1)).toBe(1428);
});

test('clearVnetHeader zeroes ten bytes', () => {
  const bytes = new Uint8Array(12).fill(0xee);
  vnet.clearVnetHeader(viewOf(bytes), 1);
  expect(bytes).toEqual(Uint8Array.of(0xee, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xee));
});

describe('checkVnetHeader', () => {
  const FRAME_END = 10 + 60;
  function check(flags: number, type: number, size: number, start: number, end = FRAME_END) {
    const view = new DataView(new ArrayBuffer(FRAME_END));
    vnet.emitVnetHeader(view, 0, flags, type, 0xffff, size, start, 16);
    return vnet.checkVnetHeader(view, 0, end);
  }

  test('does not believe the header length', () => {
    expect(check(0, GsoType.NONE, 0, 0)).toBe(DropReason.NONE);
  });

  test('refuses a frame without room for the header', () => {
    expect(check(0, GsoType.NONE, 0, 0, 9)).toBe(DropReason.FRAME_TOO_SHORT);
  });

  test('takes a checksum field that ends with the frame, and none behind it', () => {
    expect(check(VnetFlag.NEEDS_CSUM, GsoType.NONE, 0, 60 - 18)).toBe(DropReason.NONE);
    expect(check(VnetFlag.NEEDS_CSUM, GsoType.NONE, 0, 60 - 17)).toBe(DropReason.BAD_VNET_HEADER);
    expect(check(VnetFlag.NEEDS_CSUM, GsoType.NONE, 0, 0xffff)).toBe(DropReason.BAD_VNET_HEADER);
    expect(check(VnetFlag.DATA_VALID, GsoType.NONE, 0, 0xffff)).toBe(DropReason.NONE);
  });

  test('takes exactly the GSO types that it knows, and each needs a size', () => {
    const known: number[] = [GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP, GsoType.UDP_L4];
    for (let type = 1; type < 256; type++) {
      const isKnown = known.includes(type & ~GsoType.ECN);
      expect(check(0, type, 1448, 0)).toBe(isKnown ? DropReason.NONE : DropReason.BAD_VNET_HEADER);
      expect(check(0, type, 0, 0)).toBe(DropReason.BAD_VNET_HEADER);
    }
  });
});
