import { expect, test } from 'bun:test';
import { cString } from '../../src/ffi/libc.ts';
import { type Link, readLinks } from '../../src/ffi/link-message.ts';
import { LinkAttribute, MessageBuilder, MessageType } from '../../src/ffi/netlink-message.ts';
import { HOST_ORDER, IfInfoMsg } from '../../src/ffi/structs.ts';

function message(type: number, index: number, name: string, mtu: number): Uint8Array {
  const builder = new MessageBuilder(256);
  const at = builder.begin(type, 0, 0, IfInfoMsg.BYTES);
  builder.view.setInt32(at + IfInfoMsg.INDEX, index, HOST_ORDER);
  builder.view.setUint32(at + IfInfoMsg.FLAGS, 1, HOST_ORDER);
  builder.raw(LinkAttribute.IFNAME, cString(name));
  builder.uint32(LinkAttribute.MTU, mtu);
  return new Uint8Array(builder.view.buffer.slice(0, builder.length));
}

function read(...messages: readonly Uint8Array[]): [Link, boolean][] {
  const found: [Link, boolean][] = [];
  readLinks(Buffer.concat(messages), (link, isDeleted) => found.push([link, isDeleted]));
  return found;
}

const LINK = { isUp: true, txQueueLength: 0 };

test('several messages of one datagram are told in their order', () => {
  const { RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR } = MessageType;
  expect(
    read(
      message(RTM_NEWLINK, 3, 'a', 1500),
      message(RTM_NEWADDR, 3, 'a', 1500),
      message(RTM_DELLINK, 4, 'bc', 1280),
    ),
  ).toEqual([
    [{ ...LINK, index: 3, name: 'a', mtu: 1500 }, false],
    [{ ...LINK, index: 4, name: 'bc', mtu: 1280 }, true],
  ]);
});

test('what is cut off anywhere is left out, and nothing is read beyond it', () => {
  const whole = message(MessageType.RTM_NEWLINK, 3, 'culvert0', 1500);
  for (let length = 0; length < whole.length; length++) {
    expect(read(whole.slice(0, length))).toEqual([]);
  }
});

test('a message that says it is shorter than it can be is left out', () => {
  const short = message(MessageType.RTM_NEWLINK, 3, 'a', 1500);
  new DataView(short.buffer).setUint32(0, 20, HOST_ORDER);
  expect(read(short)).toEqual([]);
});
