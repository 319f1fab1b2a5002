/** Routes of an interface as a whole: whoever made them, they are brought to another one. */
import { SystemError } from './errors.ts';
import type { Netlink } from './netlink.ts';
import { findAttribute, MessageFlag, MessageType, RouteAttribute } from './netlink-message.ts';
import { AddressFamily, HOST_ORDER, RtAttr, RtMsg } from './structs.ts';

const RT_TABLE_MAIN = 254;
const RT_TABLE_LOCAL = 255;
/** Made by the kernel itself, with an address. */
const RTPROT_KERNEL = 2;
const RTN_UNICAST = 1;
/** The gateway is taken to be on the link; all other flags tell of a state. */
const RTNH_F_ONLINK = 4;

/**
 * Has every route that leads into interface `from`, in whatever table, lead into `to` instead, each
 * in one step. Those that belong to addresses stay: the other interface has its own.
 *
 * @throws SystemError  `EPERM`, `ENODEV`, `ENETDOWN`
 */
export function moveRoutes(netlink: Netlink, from: number, to: number): void {
  for (const route of routesOf(netlink, from)) putRoute(netlink, route, to);
}

/**
 * What has the kernel forget routes, with none of them lost: the last address of an interface takes
 * all of its family along. A route that can no more be, as its own source has gone, is no more.
 *
 * @throws  what `work` throws; the routes are there all the same
 */
export function keepingRoutes(netlink: Netlink, index: number, work: () => void): void {
  const routes = routesOf(netlink, index);
  try {
    work();
  } finally {
    for (const route of routes) putRouteBack(netlink, route, index);
  }
}

function putRouteBack(netlink: Netlink, route: Uint8Array<ArrayBuffer>, index: number): void {
  try {
    putRoute(netlink, route, index);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
  }
}

function putRoute(netlink: Netlink, route: Uint8Array<ArrayBuffer>, to: number): void {
  const flags = MessageFlag.ACK | MessageFlag.CREATE | MessageFlag.REPLACE;
  const view = new DataView(route.buffer);
  const oif = findAttribute(view, RtMsg.BYTES, route.length, RouteAttribute.OIF);
  view.setInt32(oif + RtAttr.BYTES, to, HOST_ORDER);
  const hop = view.getUint32(RtMsg.FLAGS, HOST_ORDER) & RTNH_F_ONLINK;
  view.setUint32(RtMsg.FLAGS, hop, HOST_ORDER);
  netlink.request(MessageType.RTM_NEWROUTE, flags, route, to);
}

/**
 * Whether the main table has a route to the prefix that leads into the interface, whoever made it.
 *
 * @param destination  4 or 16 bytes, network order, host bits zero
 */
export function isRouted(
  netlink: Netlink,
  index: number,
  destination: Uint8Array,
  prefixLength: number,
): boolean {
  const family = destination.length === 4 ? AddressFamily.INET : AddressFamily.INET6;
  return routesOf(netlink, index).some((route) => {
    const view = new DataView(route.buffer);
    if (view.getUint8(RtMsg.FAMILY) !== family) return false;
    if (view.getUint8(RtMsg.TABLE) !== RT_TABLE_MAIN) return false;
    if (view.getUint8(RtMsg.DESTINATION_LENGTH) !== prefixLength) return false;
    const at = findAttribute(view, RtMsg.BYTES, route.length, RouteAttribute.DST);
    // The default route has none.
    if (at < 0) return true;
    const from = at + RtAttr.BYTES;
    return destination.every((byte, position) => route[from + position] === byte);
  });
}

/** Bodies of their messages, as the kernel tells them. */
function routesOf(netlink: Netlink, index: number): Uint8Array<ArrayBuffer>[] {
  const found: Uint8Array<ArrayBuffer>[] = [];
  const everything = new Uint8Array(RtMsg.BYTES);
  netlink.request(MessageType.RTM_GETROUTE, MessageFlag.DUMP, everything, index, (type, body) => {
    if (type === MessageType.RTM_NEWROUTE && isOwnRouteOf(body, index)) {
      found.push(Uint8Array.from(body));
    }
  });
  return found;
}

function isOwnRouteOf(body: Uint8Array, index: number): boolean {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (view.getUint8(RtMsg.TYPE) !== RTN_UNICAST) return false;
  if (view.getUint8(RtMsg.PROTOCOL) === RTPROT_KERNEL) return false;
  if (view.getUint8(RtMsg.TABLE) === RT_TABLE_LOCAL) return false;
  const oif = findAttribute(view, RtMsg.BYTES, body.length, RouteAttribute.OIF);
  return oif >= 0 && view.getInt32(oif + RtAttr.BYTES, HOST_ORDER) === index;
}
