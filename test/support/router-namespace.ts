/**
 * A router and a host behind it, as two namespaces; this thread is the host. The router has no
 * route but those of the link, and an interface with a smaller MTU behind which nobody is.
 *
 *   here: veth0 10.77.0.1, fd77::1 ── veth1 10.77.0.2, fd77::2 :router
 *                                     small0 10.78.0.0/24, fd78::/64
 */
import { closeSync, openSync } from 'node:fs';
import { ip, NetworkNamespace } from '../ffi/support/namespace.ts';

const SMALL_MTU = 1300;

const shell = (command: string): void => {
  const { exitCode, stderr } = Bun.spawnSync(['sh', '-c', command]);
  if (exitCode !== 0) throw new Error(`${command}: ${stderr}`);
};

/** A path by which other processes know the network namespace of this thread. */
function namespacePath(): { readonly path: string; readonly fd: number } {
  const fd = openSync('/proc/thread-self/ns/net', 'r');
  return { path: `/proc/${process.pid}/fd/${fd}`, fd };
}

export class RouterNamespace {
  readonly #router: NetworkNamespace;
  readonly #host: NetworkNamespace;

  constructor() {
    this.#router = new NetworkNamespace();
    shell('echo 1 > /proc/sys/net/ipv4/ip_forward');
    shell('echo 1 > /proc/sys/net/ipv6/conf/all/forwarding');
    ip('link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth1');
    ip('link', 'add', 'small0', 'type', 'veth', 'peer', 'name', 'small1');
    ip('link', 'set', 'small0', 'mtu', String(SMALL_MTU));
    ip('link', 'set', 'small1', 'up');
    for (const [device, ...addresses] of [
      ['veth1', '10.77.0.2/24', 'fd77::2/64'],
      ['small0', '10.78.0.1/24', 'fd78::1/64'],
    ] as const) {
      ip('link', 'set', device, 'up');
      for (const address of addresses) ip('address', 'add', address, 'dev', device, 'nodad');
    }
    const router = namespacePath();
    this.#host = new NetworkNamespace();
    const host = namespacePath();
    shell(`nsenter --net=${router.path} ip link set veth0 netns ${host.path}`);
    closeSync(router.fd);
    closeSync(host.fd);
    ip('link', 'set', 'veth0', 'up');
    ip('address', 'add', '10.77.0.1/24', 'dev', 'veth0');
    ip('address', 'add', 'fd77::1/64', 'dev', 'veth0', 'nodad');
    ip('route', 'add', 'default', 'via', '10.77.0.2');
    ip('-6', 'route', 'add', 'default', 'via', 'fd77::2');
  }

  [Symbol.dispose](): void {
    this.#host[Symbol.dispose]();
    this.#router[Symbol.dispose]();
  }
}
