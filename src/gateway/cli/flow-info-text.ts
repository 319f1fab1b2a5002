/** Live flows as `ss -ti` shows sockets: a line of ends, and below it what is known of each. */
import type { z } from 'zod';
import type { flowInfo } from '../supervisor/api/flow-info-schemas.ts';
import { address } from './flow-table.ts';
import { formatBytes } from './output.ts';

type Flow = z.output<typeof flowInfo>;
type Tcp = NonNullable<Flow['tcp']>;
type Socket = NonNullable<Flow['socket']>;

export const flowInfoText = (flows: readonly Flow[]): string =>
  flows.map((flow) => linesOf(flow).join('\n\t ')).join('\n');

function linesOf(flow: Flow): string[] {
  const { proto, state, tcp, socket } = flow;
  const ends = `${address(flow.src, flow.src_port)} -> ${address(flow.dst, flow.dst_port)}`;
  const by = flow.script === undefined ? flow.rule : `${flow.script}@${flow.script_version}`;
  const who = by === undefined ? flow.verdict : `${flow.verdict} by ${by}`;
  const moved = `up ${formatBytes(flow.bytes_up)} down ${formatBytes(flow.bytes_down)}`;
  const phase = flow.phase === 'open' || flow.phase === 'closing' ? '' : ` ${flow.phase}`;
  const lines = [`${proto} ${state}${phase} ${ends} id:${flow.id} ${who} ${moved}`];
  if (tcp !== undefined) lines.push(`client ${tcpText(tcp, flow.retrans)}`);
  if (flow.nat_addr !== undefined) lines.push(`nat source ${flow.nat_addr}`);
  if (flow.upstream_addr !== undefined) {
    const text = socket === undefined ? '' : ` ${socketText(socket)}`;
    lines.push(`upstream ${flow.upstream_addr}${text}`);
  }
  return lines;
}

/** In the words and the order of ss. */
function tcpText(tcp: Tcp, retrans: number): string {
  const { slabs, timers, mss } = tcp;
  const segments = (bytes: number) => (mss === 0 ? 0 : Math.ceil(bytes / mss));
  return words([
    ...tcp.options,
    tcp.congestion,
    tcp.recovery === 'open' ? '' : tcp.recovery,
    tcp.snd_wscale === undefined ? '' : `wscale:${tcp.snd_wscale},${tcp.rcv_wscale}`,
    `rto:${tcp.rto_ms}`,
    tcp.backoff === 0 ? '' : `backoff:${tcp.backoff}`,
    `rtt:${tcp.rtt_ms}/${tcp.rttvar_ms}`,
    `mss:${mss}`,
    `pmtu:${tcp.pmtu}`,
    `rcvmss:${tcp.rcv_mss}`,
    `cwnd:${segments(tcp.cwnd)}`,
    tcp.ssthresh === undefined ? '' : `ssthresh:${segments(tcp.ssthresh)}`,
    `bytes_sent:${tcp.bytes_sent}`,
    `bytes_acked:${tcp.bytes_acked}`,
    `bytes_received:${tcp.bytes_received}`,
    tcp.rtt_ms === 0 ? '' : `send ${rate((tcp.cwnd * 1000) / tcp.rtt_ms)}`,
    `lastsnd:${Math.round(tcp.last_sent_ms)}`,
    `lastrcv:${Math.round(tcp.last_received_ms)}`,
    tcp.pacing_rate === undefined ? '' : `pacing_rate ${rate(tcp.pacing_rate)}`,
    tcp.delivery_rate === undefined ? '' : `delivery_rate ${rate(tcp.delivery_rate)}`,
    `unacked:${segments(tcp.in_flight)}`,
    retrans === 0 ? '' : `retrans:${retrans}`,
    tcp.lost === 0 ? '' : `lost:${segments(tcp.lost)}`,
    tcp.sacked === 0 ? '' : `sacked:${segments(tcp.sacked)}`,
    `snd_wnd:${tcp.snd_wnd}`,
    `rcv_wnd:${tcp.rcv_wnd}`,
    `minrtt:${tcp.min_rtt_ms}`,
    `slabs:(send:${slabs.send},backlog:${slabs.backlog},early:${slabs.early})`,
    ...Object.entries(timers).map(([name, ms]) => `timer:(${name},${Math.round(ms)}ms)`),
  ]);
}

const socketText = (socket: Socket): string =>
  words([
    socket.state,
    `rto:${socket.rto_ms}`,
    `rtt:${socket.rtt_ms}/${socket.rttvar_ms}`,
    `mss:${socket.mss}`,
    `pmtu:${socket.pmtu}`,
    `cwnd:${socket.cwnd}`,
    socket.ssthresh > SSTHRESH_MAX ? '' : `ssthresh:${socket.ssthresh}`,
    `lastsnd:${socket.last_sent_ms}`,
    `lastrcv:${socket.last_received_ms}`,
    `pacing_rate ${rate(socket.pacing_rate)}`,
    `delivery_rate ${rate(socket.delivery_rate)}`,
    `unacked:${socket.unacked}`,
    socket.retrans === 0 ? '' : `retrans:${socket.retrans}`,
    socket.lost === 0 ? '' : `lost:${socket.lost}`,
    socket.sacked === 0 ? '' : `sacked:${socket.sacked}`,
    socket.notsent === 0 ? '' : `notsent:${socket.notsent}`,
    `minrtt:${socket.min_rtt_ms}`,
  ]);

/** TCP_INFINITE_SSTHRESH of include/net/tcp.h: no loss was met yet. */
const SSTHRESH_MAX = 0x7fff_fffe;

const words = (all: readonly string[]): string => all.filter((word) => word !== '').join(' ');

/** `12.3Mbps`, from bytes per second. */
function rate(bytesPerSecond: number): string {
  const units = ['bps', 'Kbps', 'Mbps', 'Gbps', 'Tbps'];
  let value = bytesPerSecond * 8;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${Math.round(value)}bps` : `${value.toFixed(1)}${units[unit]}`;
}
