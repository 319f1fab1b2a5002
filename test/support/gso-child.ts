/**
 * A sender of UDP superpackets, as QUIC servers are: one call of the kernel for many datagrams
 * (UDP_SEGMENT, Linux 4.18). Node has no such call. Run by Bun in a namespace:
 *
 *   gso-child.ts send   HOST PORT BYTES PER_CALL CALLS    to a service
 *   gso-child.ts answer HOST PORT BYTES PER_CALL CALLS    to the first that says something
 */
import { dlopen, ptr } from 'bun:ffi';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
/** linux/udp.h */
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
/** Receivers without buffers for all of it take it in pieces. */
const PAUSE_MS = 5;

const { symbols: libc } = dlopen('libc.so.6', {
  socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  bind: { args: ['i32', 'ptr', 'u32'], returns: 'i32' },
  connect: { args: ['i32', 'ptr', 'u32'], returns: 'i32' },
  setsockopt: { args: ['i32', 'i32', 'i32', 'ptr', 'u32'], returns: 'i32' },
  send: { args: ['i32', 'ptr', 'u64', 'i32'], returns: 'i64' },
  recvfrom: { args: ['i32', 'ptr', 'u64', 'i32', 'ptr', 'ptr'], returns: 'i64' },
});

const [role, host = '', ...numbers] = process.argv.slice(2);
const [port = 0, bytes = 0, perCall = 0, calls = 0] = numbers.map(Number);

const fd = check('socket', libc.socket(host.includes(':') ? AF_INET6 : AF_INET, SOCK_DGRAM, 0));
const address = socketAddress();
if (role === 'answer') {
  check('bind', libc.bind(fd, ptr(address), address.length));
  process.stdout.write('ready\n');
  const first = new Uint8Array(1);
  const length = new Uint32Array([address.length]);
  check('recvfrom', libc.recvfrom(fd, ptr(first), 1, 0, ptr(address), ptr(length)));
}
check('connect', libc.connect(fd, ptr(address), address.length));
const segment = new Int32Array([bytes]);
check('UDP_SEGMENT', libc.setsockopt(fd, SOL_UDP, UDP_SEGMENT, ptr(segment), 4));
const payload = new Uint8Array(bytes * perCall).fill(0x78);
for (let i = 0; i < calls; i++) {
  check('send', libc.send(fd, ptr(payload), payload.length, 0));
  await Bun.sleep(PAUSE_MS);
}

function check(call: string, result: number | bigint): number {
  if (Number(result) < 0) throw new Error(`${call} failed`);
  return Number(result);
}

/** struct sockaddr_in or sockaddr_in6, of netinet/in.h. */
function socketAddress(): Uint8Array {
  const ip = parseAddress(host);
  if (ip === undefined) throw new Error(`${host} is no address`);
  const isIpv6 = ip.length === 16;
  const struct = new Uint8Array(new ArrayBuffer(isIpv6 ? 28 : 16));
  const view = new DataView(struct.buffer);
  view.setUint16(0, isIpv6 ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port);
  struct.set(ip, isIpv6 ? 8 : 4);
  return struct;
}
