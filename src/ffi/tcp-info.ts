/** What the kernel knows of a TCP socket: `struct tcp_info` of include/uapi/linux/tcp.h. */
import { libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { HOST_ORDER } from './structs.ts';

const IPPROTO_TCP = 6;
const TCP_INFO = 11;

/** Offsets of fields of 32 bits. */
const TcpInfo = {
  SND_MSS: 16,
  UNACKED: 24,
  SACKED: 28,
  LOST: 32,
  LAST_DATA_SENT: 44,
  LAST_DATA_RECV: 52,
  PMTU: 60,
  RTT: 68,
  RTTVAR: 72,
  SND_SSTHRESH: 76,
  SND_CWND: 80,
  TOTAL_RETRANS: 100,
  /** uint64, bytes per second. */
  PACING_RATE: 104,
  NOTSENT_BYTES: 144,
  MIN_RTT: 148,
  /** uint64, bytes per second. */
  DELIVERY_RATE: 160,
  BYTES: 168,
} as const;

/** Microseconds, milliseconds, segments, and bytes per second, as the kernel has them. */
export interface SocketInfo {
  readonly state: number;
  readonly mss: number;
  readonly pmtu: number;
  readonly rttUs: number;
  readonly rttvarUs: number;
  readonly minRttUs: number;
  readonly rtoUs: number;
  readonly cwnd: number;
  readonly ssthresh: number;
  readonly unacked: number;
  readonly sacked: number;
  readonly lost: number;
  readonly retrans: number;
  readonly notSent: number;
  readonly pacingRate: number;
  readonly deliveryRate: number;
  readonly lastSentMs: number;
  readonly lastReceivedMs: number;
}

/** In place of a pacing rate. */
const NO_LIMIT = 2 ** 64;
const STATE_AT = 0;
const RTO_AT = 8;
const info = allocateStruct(TcpInfo.BYTES);
const length = allocateStruct(4);

/** @returns undefined for what is no TCP socket */
export function tcpInfo(fd: number): SocketInfo | undefined {
  // A kernel before 4.9 fills less; what it leaves out reads as 0.
  info.bytes.fill(0);
  length.view.setUint32(0, TcpInfo.BYTES, HOST_ORDER);
  const result = libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info.address, length.address);
  if (result < 0) return undefined;
  const u32 = (at: number) => info.view.getUint32(at, HOST_ORDER);
  const u64 = (at: number) => Number(info.view.getBigUint64(at, HOST_ORDER));
  const pacingRate = u64(TcpInfo.PACING_RATE);
  return {
    state: info.view.getUint8(STATE_AT),
    mss: u32(TcpInfo.SND_MSS),
    pmtu: u32(TcpInfo.PMTU),
    rttUs: u32(TcpInfo.RTT),
    rttvarUs: u32(TcpInfo.RTTVAR),
    minRttUs: u32(TcpInfo.MIN_RTT),
    rtoUs: u32(RTO_AT),
    cwnd: u32(TcpInfo.SND_CWND),
    ssthresh: u32(TcpInfo.SND_SSTHRESH),
    unacked: u32(TcpInfo.UNACKED),
    sacked: u32(TcpInfo.SACKED),
    lost: u32(TcpInfo.LOST),
    retrans: u32(TcpInfo.TOTAL_RETRANS),
    notSent: u32(TcpInfo.NOTSENT_BYTES),
    pacingRate: pacingRate === NO_LIMIT ? 0 : pacingRate,
    deliveryRate: u64(TcpInfo.DELIVERY_RATE),
    lastSentMs: u32(TcpInfo.LAST_DATA_SENT),
    lastReceivedMs: u32(TcpInfo.LAST_DATA_RECV),
  };
}
