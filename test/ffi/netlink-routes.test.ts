import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { Netlink } from '../../src/ffi/netlink.ts';
import { keepingRoutes } from '../../src/ffi/netlink-routes.ts';
import { ip, isRoot, NetworkNamespace } from './support/namespace.ts';

describe.skipIf(!isRoot)('routes of an interface', () => {
  let namespace: NetworkNamespace;
  beforeEach(() => {
    namespace = new NetworkNamespace();
    ip('tuntap', 'add', 'dev', 'cvr0', 'mode', 'tun');
    ip('addr', 'add', '10.9.0.1/24', 'dev', 'cvr0');
    ip('link', 'set', 'cvr0', 'up');
    ip('route', 'add', '198.51.100.0/24', 'dev', 'cvr0');
  });
  afterEach(() => namespace[Symbol.dispose]());

  /** Without its last address the kernel forgets them. */
  const removeAddress = () => ip('addr', 'del', '10.9.0.1/24', 'dev', 'cvr0');

  test('outlive the last address', () => {
    using netlink = new Netlink();
    keepingRoutes(netlink, netlink.linkIndex('cvr0'), () => void removeAddress());
    expect(ip('route')).toContain('198.51.100.0/24 dev cvr0');
  });

  test('do so where the work fails half way, and the failure is told', () => {
    using netlink = new Netlink();
    const work = () => {
      removeAddress();
      throw new Error('half way');
    };
    expect(() => keepingRoutes(netlink, netlink.linkIndex('cvr0'), work)).toThrow('half way');
    expect(ip('route')).toContain('198.51.100.0/24 dev cvr0');
  });
});
