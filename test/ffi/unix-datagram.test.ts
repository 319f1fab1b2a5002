import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { sendUnixDatagram } from '../../src/ffi/unix-datagram.ts';
import { DatagramReceiver } from '../support/datagram-receiver.ts';
import { scratchFolder } from '../support/scratch.ts';

describe.each([
  ['a path', () => join(scratchFolder('notify'), 's.sock')],
  ['an abstract name', () => `@culvert-test-${process.pid}-${performance.now()}`],
])('a socket at %s', (_, name) => {
  test('gets the bytes as one datagram, from this process', () => {
    const path = name();
    using receiver = new DatagramReceiver(path);
    sendUnixDatagram(path, 'READY=1\nSTATUS=größer');
    sendUnixDatagram(path, '');
    expect(receiver.next()).toBe('READY=1\nSTATUS=größer');
    expect(receiver.next()).toBe('');
    expect(receiver.next()).toBeUndefined();
  });
});

test('a socket that is not there is an error with its code', () => {
  expect(() => sendUnixDatagram('/nonexistent/x', 'x')).toThrow('sendto on /nonexistent/x: ENOENT');
  expect(() => sendUnixDatagram('@culvert-nobody', 'x')).toThrow('ECONNREFUSED');
  expect(() => sendUnixDatagram(`/${'x'.repeat(200)}`, 'x')).toThrow('ENAMETOOLONG');
});
