import { expect, test } from 'bun:test';
import { readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { KERNEL_PACKETS } from './kernel-packets.ts';
import { concat, hex } from './packet-builder.ts';
import { encodePcap, withPcap } from './pcap.ts';

const { udpV4 } = KERNEL_PACKETS;

test('a capture is a file header and a record for each packet', () => {
  expect(encodePcap([udpV4, udpV4])).toEqual(
    concat([
      hex('a1b2c3d4 0002 0004 00000000 00000000 00040000 00000065'),
      hex('00000000 00000000 00000023 00000023'),
      udpV4,
      hex('00000000 00000001 00000023 00000023'),
      udpV4,
    ]),
  );
});

test('a failed assertion names the capture and describes its packets', () => {
  let message = '';
  try {
    withPcap('failing', [udpV4], () => {
      throw new Error('not as it should be');
    });
  } catch (error) {
    message = String(error);
  }
  expect(message).toContain('not as it should be');
  expect(message).toContain('10.9.0.1:35624 > 10.9.0.2:9: udp, length 7');
  const path = /packets in (.*\.pcap)/.exec(message)?.[1] ?? '';
  expect(new Uint8Array(readFileSync(path))).toEqual(encodePcap([udpV4]));
  rmSync(dirname(path), { recursive: true });
});

test('an assertion that holds writes nothing and throws nothing', () => {
  expect(() => withPcap('holding', [udpV4], () => {})).not.toThrow();
});
