import { describe, expect, test } from 'bun:test';
import { Errno } from '../../../../src/ffi/errno.ts';
import { closeFd } from '../../../../src/ffi/sockets.ts';
import {
  dialFailure,
  openSocket,
  startConnect,
} from '../../../../src/gateway/dataplane/forward/dial.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { IcmpErrorKind } from '../../../../src/stack/icmp-error-kind.ts';
import { writeAddress } from '../../../../src/stack/wire/ip-address.ts';

describe('a failed dial tells the client what happened', () => {
  const cases = [
    [Errno.ECONNREFUSED, 'rst', CloseReason.DIAL_REFUSED, undefined],
    [Errno.ENETUNREACH, 'icmp', CloseReason.DIAL_UNREACHABLE, IcmpErrorKind.NETWORK],
    [Errno.EHOSTUNREACH, 'icmp', CloseReason.DIAL_UNREACHABLE, IcmpErrorKind.HOST],
    [Errno.EACCES, 'icmp', CloseReason.DIAL_UNREACHABLE, IcmpErrorKind.PROHIBITED],
    [Errno.ETIMEDOUT, 'icmp', CloseReason.DIAL_TIMEOUT, IcmpErrorKind.HOST],
    [Errno.EMFILE, 'rst', CloseReason.DIAL_FAILED, undefined],
  ] as const;
  for (const [errno, how, reason, code] of cases) {
    test(`errno ${errno} is answered with ${how}`, () => {
      const failure = dialFailure(errno);
      expect(failure.how).toBe(how);
      expect(failure.reason).toBe(reason);
      if (code !== undefined) expect(failure.code).toBe(code);
    });
  }
});

describe('openSocket', () => {
  const plain = { mark: 0, interface: '', bind: '' };
  const view = new DataView(new ArrayBuffer(16));

  test('a listening port is being connected to, for both families', () => {
    for (const [family, ip] of [
      [4, '127.0.0.1'],
      [6, '::1'],
    ] as const) {
      const server = Bun.listen({ hostname: ip, port: 0, socket: { data() {} } });
      writeAddress(ip, view, 0);
      const fd = openSocket(family, plain);
      expect(fd).toBeGreaterThan(0);
      expect(startConnect(fd, view, 0, family, server.port)).toBe(0);
      closeFd(fd);
      server.stop(true);
    }
  });

  test('a bind address of the other family is refused, and no descriptor is left', () => {
    const before = openDescriptors();
    expect(openSocket(4, { ...plain, bind: '::1' })).toBe(-Errno.EAFNOSUPPORT);
    expect(openDescriptors()).toBe(before);
  });

  test('an interface that does not exist is an error, and no descriptor is left', () => {
    const before = openDescriptors();
    expect(openSocket(4, { ...plain, interface: 'nosuch0' })).toBeLessThan(0);
    expect(openDescriptors()).toBe(before);
  });
});

const openDescriptors = (): number => [...new Bun.Glob('*').scanSync('/proc/self/fdinfo')].length;
