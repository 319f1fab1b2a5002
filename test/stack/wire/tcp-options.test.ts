import { describe, expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { emitSynOptions, emitTimestamps, TcpOptions } from '../../../src/stack/wire/tcp-options.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import { hex, tcpPacket, viewOf } from '../../support/packet-builder.ts';

function parse(text: string, options = new TcpOptions()): [DropReason, TcpOptions] {
  return [options.parse(viewOf(tcpPacket({ options: hex(text) })), 20), options];
}

test('the options of a SYN from the kernel', () => {
  const options = new TcpOptions();
  expect(options.parse(viewOf(KERNEL_PACKETS.tcpSynV4), 20)).toBe(DropReason.NONE);
  expect(options).toMatchObject({
    mss: 1460,
    sackPermitted: true,
    hasTimestamps: true,
    tsValue: 0x427c25de,
    tsEcho: 0,
    windowScale: 10,
    sackCount: 0,
  });
});

test('timestamps are read alike on the fast path and behind other padding', () => {
  for (const text of [
    '0101080a fffffffe 00000007',
    '080a fffffffe 00000007 0101',
    '01 080a fffffffe 00000007 00',
  ]) {
    const [reason, options] = parse(text);
    expect(reason).toBe(DropReason.NONE);
    expect(options).toMatchObject({ hasTimestamps: true, tsValue: 0xfffffffe, tsEcho: 7 });
  }
});

test('SACK blocks are found by count and position', () => {
  const [reason, options] = parse(
    '0101080a0000000100000002 0101 0512 00000010 00000020 00000030 00000040',
  );
  expect(reason).toBe(DropReason.NONE);
  expect(options.sackCount).toBe(2);
  expect(options.sackAt).toBe(20 + 20 + 16);
  expect(options.hasTimestamps).toBe(true);
});

test('a parse forgets the segment before', () => {
  const [, options] = parse('020405b4 0402 030307 000000');
  expect(options).toMatchObject({ mss: 1460, sackPermitted: true, windowScale: 7 });
  parse('0101080a0000000100000002', options);
  expect(options).toMatchObject({ mss: 0, sackPermitted: false, windowScale: -1 });
  parse('0101 050a 00000010 00000020', options);
  expect(options.sackAt).toBeGreaterThan(0);
  parse('', options);
  expect(options).toEqual(new TcpOptions());
  parse('0101080a0000000100000002', options);
  options.clear();
  expect(options).toEqual(new TcpOptions());
});

test('a window scale over 14 is used as 14 (RFC 7323 §2.3)', () => {
  expect(parse('0303ff00')[1].windowScale).toBe(14);
});

test('what follows the end of options is not read', () => {
  expect(parse('00020000')[0]).toBe(DropReason.NONE);
});

test('an option that nobody knows is stepped over', () => {
  const [reason, options] = parse('fe04abcd 020405b4');
  expect([reason, options.mss]).toEqual([DropReason.NONE, 1460]);
});

describe('a malformed option is refused', () => {
  test.each([
    ['length 0', '02000000'],
    ['length 1', 'fe010000'],
    ['no length', '010101fe'],
    ['a length over the header', '02050000'],
    ['MSS of 3 bytes', '02030500'],
    ['window scale of 4 bytes', '03040700'],
    ['SACK-permitted of 4 bytes', '04040000'],
    ['timestamps of 8 bytes', '0808000000000000'],
    ['SACK without a block', '05020101'],
    ['SACK with half a block', '050600000001 0101'],
  ])('%s', (_name, text) => {
    expect(parse(text)[0]).toBe(DropReason.BAD_TCP_OPTION);
  });
});

test('emitTimestamps writes the layout of RFC 7323 appendix A', () => {
  const bytes = new Uint8Array(14);
  expect(emitTimestamps(viewOf(bytes), 1, 0xfffffffe, 7)).toBe(12);
  expect(bytes).toEqual(hex('00 0101080a fffffffe 00000007 00'));
});

test('emitSynOptions writes all options, or none but the MSS', () => {
  const bytes = new Uint8Array(40);
  expect(emitSynOptions(viewOf(bytes), 0, 1460, 7, true, true, 1, 2)).toBe(24);
  expect(bytes.slice(0, 24)).toEqual(hex('020405b4 0101080a0000000100000002 01010402 01030307'));
  expect(emitSynOptions(viewOf(bytes), 0, 1220, -1, false, false, 0, 0)).toBe(4);
  expect(bytes.slice(0, 4)).toEqual(hex('020404c4'));
  expect(emitSynOptions(viewOf(bytes), 0, 1220, 0, false, false, 0, 0)).toBe(8);
});
