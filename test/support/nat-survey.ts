/**
 * What a client finds out about the world behind a NAT, in values that do not depend on who does
 * the NAT: two surveys of the same topology can be compared as they are.
 */
import type { Agent } from './agent-handle.ts';
import { DNAT_PORT, dnatTarget, SERVICE_PORT } from './nat-network.ts';
import { type Family, hostPort, type Topology } from './netns.ts';
import { type PingReport, ping, type TracerouteMode, traceroute } from './route-tools.ts';
import type { UdpNews } from './udp-socket.ts';
import { waitFor } from './wait.ts';

export interface Ends {
  readonly topology: Topology;
  readonly client: Agent;
  readonly server: Agent;
}

/** Where nothing listens. */
const CLOSED_PORT = 9;
/** Ports of the client's own choice, which a NAT with nothing else to do keeps. */
const TCP_SOURCE_PORT = 40_001;
const UDP_SOURCE_PORT = 40_002;
const DNS_PORT = 53;
const QUERIES = 20;
/** Of the link to far, in `pathMtu`. */
const SMALL_MTU = 1300;

/** What the server says of who it was that spoke: source, and destination as it came there. */
export async function whoAmI({ client, server }: Ends, family: Family) {
  const host = family.server;
  const tcpPort = await server.call('who', { port: 0 });
  const udpPort = await server.call('udpServe', { host, port: 0, kind: 'who' });
  const tcp = await client.call('ask', { host, port: tcpPort, localPort: TCP_SOURCE_PORT });
  const { id } = await client.call('udpOpen', { family: family.version, port: UDP_SOURCE_PORT });
  await client.call('udpSend', { id, text: '?', to: { host, port: udpPort } });
  const udp = await client.call('udpNext', { id, timeoutMs: 2000 });
  await client.call('udpClose', { id });
  await server.call('unlisten', { port: tcpPort });
  await server.call('udpUnserve', { host, port: udpPort });
  return {
    tcp: tcp.replace(` ${tcpPort}`, ' PORT'),
    udp: textOf(udp),
    // The socket is not connected: an answer from elsewhere would come in as well.
    udpAnswersFrom: 'from' in udp && udp.from.host === host && udp.from.port === udpPort,
  };
}

/** The same, of a port that leads elsewhere. The service stays: call it once for each topology. */
export async function whoAmIElsewhere({ client, server }: Ends, family: Family) {
  const target = dnatTarget(family);
  const tcpPort = await server.call('who', { port: SERVICE_PORT });
  await server.call('udpServe', { host: target, port: SERVICE_PORT, kind: 'who' });
  const asked = { host: family.server, port: DNAT_PORT };
  const tcp = await client.call('ask', { ...asked, localPort: TCP_SOURCE_PORT + 10 });
  const udp = await client.call('udpAsk', { ...asked, family: family.version });
  await server.call('unlisten', { port: tcpPort });
  await server.call('udpUnserve', { host: target, port: SERVICE_PORT });
  return {
    tcp,
    udpSource: textOf(udp).split(' ')[0],
    // The client's socket is connected: only what comes from the port it asked reaches it.
    udpAnswersFrom: 'from' in udp && udp.from.host === asked.host && udp.from.port === DNAT_PORT,
  };
}

/** Whether programs get what they want. */
export async function programs(ends: Ends, family: Family) {
  const { topology, client, server } = ends;
  const host = family.server;
  const httpPort = await server.call('http', { port: 0, text: 'from the server' });
  const url = `http://${hostPort(host, httpPort)}/`;
  const curl = await topology.run(topology.client, 'curl', '-sS', '-m', '10', url);
  await server.call('unlisten', { port: httpPort });
  await server.call('udpServe', { host, port: DNS_PORT, kind: 'dns' });
  const dns = await client.call('dnsQueries', {
    server: { host, port: DNS_PORT },
    family: family.version,
    queries: QUERIES,
    atOnce: 4,
  });
  await server.call('udpUnserve', { host, port: DNS_PORT });
  // Bound: from the wildcard, the answers to UDP would come from another address.
  const iperf = topology.spawn(topology.server, ['iperf3', '-s', '-B', host]);
  const up = await runIperf(topology, host, '-n', '10M');
  const down = await runIperf(topology, host, '-n', '10M', '-R');
  const udpUp = await runIperf(topology, host, '-u', '-b', '20M', '-l', '1200', '-t', '1');
  const udpDown = await runIperf(topology, host, '-u', '-b', '20M', '-l', '1200', '-t', '1', '-R');
  iperf.kill();
  return {
    curl: curl.stdout,
    dns,
    iperfUp: (up.end.sum_received?.bytes ?? 0) > IPERF_BYTES,
    iperfDown: (down.end.sum_received?.bytes ?? 0) > IPERF_BYTES,
    iperfUdpUp: datagramsOf(udpUp),
    iperfUdpDown: datagramsOf(udpDown),
  };
}

/** What ping and traceroute say; hops of the gateway's own are left out. */
export async function routes(ends: Ends, family: Family, ownHops: readonly string[]) {
  const { topology } = ends;
  const hops = async (mode: TracerouteMode): Promise<string[]> => {
    const all = await traceroute(topology, family.far, mode);
    return all.filter((hop) => !ownHops.includes(hop));
  };
  return {
    server: await ping(topology, family.server),
    far: await ping(topology, family.far),
    large: await ping(topology, family.far, '-s', '8000'),
    unreachable: await pingUntilError(topology, family.unreachable),
    blackHole: await ping(topology, family.blackHole, '-W', '1'),
    udpHops: await hops('udp'),
    icmpHops: await hops('icmp'),
    tcpHops: await hops('tcp'),
  };
}

/** What a client is told of places that refuse it. */
export async function refusals({ client }: Ends, family: Family) {
  const tcp = async (host: string, timeoutMs = 5000) =>
    (await client.call('connect', { host, port: CLOSED_PORT, timeoutMs })).code;
  const udp = async (host: string) =>
    client.call('udpAsk', { host, port: CLOSED_PORT, family: family.version, timeoutMs: 1000 });
  return {
    tcpRefused: await tcp(family.server),
    tcpUnreachable: /^E(HOST|NET)UNREACH$/.test(await tcp(family.unreachable)),
    tcpNoRoute: /^E(HOST|NET)UNREACH$/.test(await tcp(family.noRoute)),
    tcpBlackHole: await tcp(family.blackHole, 500),
    udpRefused: await udp(family.server),
    udpBlackHole: await udp(family.blackHole),
  };
}

/** What ping says when packets must not be cut and the link to far is small. */
export async function pathMtu({ topology }: Ends, family: Family): Promise<PingReport> {
  topology.ip(topology.server, `link set f0 mtu ${SMALL_MTU}`);
  topology.ip(topology.far, `link set r0 mtu ${SMALL_MTU}`);
  const report = await ping(topology, family.far, '-M', 'do', '-s', '1400');
  topology.ip(topology.server, 'link set f0 mtu 1500');
  topology.ip(topology.far, 'link set r0 mtu 1500');
  // The first is answered by a router, the others by the client's own memory of that.
  return { ...report, errors: report.errors.slice(0, 1) };
}

const textOf = (news: UdpNews): string => ('text' in news ? news.text : news.error);

/** Of the 10 MiB that are sent; the end of them may still be on its way at the last look. */
const IPERF_BYTES = 1_000_000;

interface IperfReport {
  readonly error?: string;
  readonly end: {
    readonly sum_received?: { readonly bytes: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number };
  };
}

/** The server needs a moment to listen, and one more to end the run before. */
function runIperf(topology: Topology, host: string, ...flags: string[]): Promise<IperfReport> {
  return waitFor(`iperf3 ${flags.join(' ')}`, async () => {
    const argv = ['iperf3', '-c', host, '-J', ...flags];
    const { stdout } = await topology.run(topology.client, ...argv);
    const report = JSON.parse(stdout) as IperfReport;
    return report.error === undefined && report;
  });
}

function datagramsOf({ end }: IperfReport) {
  const { packets = 0, lost_packets: lost = -1 } = end.sum ?? {};
  return { enough: packets > 1000, lost };
}

/** A kernel limits how many errors it sends to one peer, whatever the sysctls say. */
async function pingUntilError(topology: Topology, host: string): Promise<readonly string[]> {
  const report = await waitFor(`an ICMP error about ${host}`, async () => {
    const each = await ping(topology, host, '-W', '1');
    return each.errors.length > 0 && each;
  });
  return report.errors;
}
