import { type SocketInfo, tcpInfo } from '../../ffi/tcp-info.ts';
import type { Stack } from '../../stack/stack.ts';
import type { FlowRef } from '../messages/control.ts';
import type { UpstreamTable } from './forward/upstream-table.ts';

/** What the kernel knows of the upstream sockets of flows that are TCP, by serial number. */
export function inspectFlows(
  stack: Stack,
  upstreams: UpstreamTable,
  flows: readonly FlowRef[],
): { readonly serial: number; readonly socket: SocketInfo }[] {
  return flows.flatMap(({ row, serial }) => {
    const fd = stack.flows.isLive(row, serial) ? upstreams.fd(row) : -1;
    const socket = fd < 0 ? undefined : tcpInfo(fd);
    return socket === undefined ? [] : [{ serial, socket }];
  });
}
