import { describe, expect, test } from 'bun:test';
import { Errno, errnoName } from '../../src/ffi/errno.ts';
import { checked, raise, SystemError } from '../../src/ffi/errors.ts';
import { libc } from '../../src/ffi/libc.ts';

function thrown(action: () => unknown): SystemError {
  try {
    action();
  } catch (error) {
    if (error instanceof SystemError) return error;
  }
  throw new Error('no SystemError');
}

describe('names of errors', () => {
  test('a number has its name with either sign', () => {
    expect(errnoName(11)).toBe('EAGAIN');
    expect(errnoName(-11)).toBe('EAGAIN');
  });

  test('a number without a name here still says which it is', () => {
    expect(errnoName(254)).toBe('E254');
  });
});

describe('SystemError', () => {
  test('its message tells call, device, error and remedy', () => {
    const error = thrown(() => raise(Errno.EPERM, 'ioctl(TUNSETIFF)', { device: 'culvert0' }));
    expect(error.message).toBe('ioctl(TUNSETIFF) on culvert0: EPERM (needs CAP_NET_ADMIN)');
    expect(error).toMatchObject({
      name: 'SystemError',
      code: 'EPERM',
      errno: 1,
      syscall: 'ioctl(TUNSETIFF)',
      device: 'culvert0',
      hint: 'needs CAP_NET_ADMIN',
    });
  });

  test('it takes the sign of a negative errno off', () => {
    expect(thrown(() => raise(-Errno.ENODEV, 'netlink(RTM_NEWLINK)'))).toMatchObject({
      code: 'ENODEV',
      errno: Errno.ENODEV,
    });
  });

  test('a hint of the caller replaces that of the table', () => {
    const error = thrown(() => raise(Errno.EPERM, 'ioctl(TUNSETIFF)', { hint: 'ask root' }));
    expect(error.message).toBe('ioctl(TUNSETIFF): EPERM (ask root)');
  });

  test('the same error means something else for another call', () => {
    expect(thrown(() => raise(Errno.EPERM, 'setuid')).hint).toBe('needs CAP_SETUID');
    expect(thrown(() => raise(Errno.EPERM, 'epoll_ctl')).hint).toBeUndefined();
    expect(thrown(() => raise(Errno.ENOENT, 'open(/dev/net/tun)')).hint).toContain('modprobe tun');
  });

  test('it keeps its cause', () => {
    const cause = new Error('before');
    expect(thrown(() => raise(Errno.EIO, 'read', { cause })).cause).toBe(cause);
  });
});

test('checked passes a result on and throws for -1 with the errno of the call', () => {
  expect(checked(7, 'close')).toBe(7);
  expect(thrown(() => checked(libc.close(-1), 'close')).code).toBe('EBADF');
});
