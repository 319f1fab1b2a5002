/**
 * Every key of a config: what it is for, and whether a reload takes it. The schema has types and
 * bounds; `culvert schema`, the man page and the reload read the rest here. A test holds both
 * together: a key of the schema without a row fails, and so does a row without a key.
 */
import { type SchemaNode, walkSchema } from './schema-tree.ts';

export interface ConfigKey {
  readonly about: string;
  /** Why a gateway that runs refuses a config that changes it; absent: it takes it. */
  readonly fixed?: string;
  /** It takes any value up to that of its start. */
  readonly isCapacity?: boolean;
}

const live = (about: string): ConfigKey => ({ about });
/** Memory, children and the device are made once, from these. */
const fixed = (about: string, why: string): ConfigKey => ({ about, fixed: why });
const capacity = (about: string, why: string): ConfigKey => ({
  about,
  fixed: why,
  isCapacity: true,
});

const LAID_OUT = 'memory is laid out for the value of the start, and flows cannot move in it';

/** By path, as `walkSchema` writes it, in the order of a canonical config. */
export const CONFIG_KEYS: Readonly<Record<string, ConfigKey>> = {
  device: live('The TUN device.'),
  'device.name': fixed(
    'Name of the interface; fd://N, systemd://NAME for one handed over.',
    'history and routes are kept by it; POST /v1/device/swap goes on with another interface',
  ),
  'device.mtu': live('Largest packet of the link, in bytes.'),
  'device.addresses': live('Addresses of the interface, with prefix length.'),
  'device.routes': live('Networks that the main table routes into the device.'),
  'device.txQueueLength': live('Packets that may wait for the gateway to read them.'),
  'device.queues': fixed(
    'Queues of the device, each with a data plane of its own.',
    'each has a process with its part of memory and ports, and flows cannot move to another',
  ),
  'device.recreate': live('Make an interface anew that somebody deletes.'),
  'device.offload': live('Exchange superpackets with the kernel (TSO, USO, checksums).'),

  local: live('Addresses besides those of the device that the gateway answers for.'),
  'local.addresses': live('Addresses, without prefix length.'),

  egress: live('How upstream sockets leave the host.'),
  'egress.fwmark': live('Firewall mark of upstream sockets, decimal or 0x…; 0 for none.'),
  'egress.interface': live('Interface that upstream sockets are bound to; empty for none.'),

  'egress.via': live('Upstream of whatever names none: a name, socks5://…, http://…, direct.'),

  upstreams: live('Pools, proxies and ways out by name, for `via`.'),
  'upstreams.*.addresses': live('Of a pool: "ip:port" of each member.'),
  'upstreams.*.policy': live('Of a pool: who is next.'),
  'upstreams.*.retries': live('Of a pool: further members that a flow tries.'),
  'upstreams.*.health': live('Of a pool: when a member is left out.'),
  'upstreams.*.health.after': live('Failures in a row; 0 for never.'),
  'upstreams.*.health.for': live('For how long.'),
  'upstreams.*.proxy': live(
    'Of a proxy: socks5://IP:PORT or http://IP:PORT, with a login or none.',
  ),
  'upstreams.*.connectTimeout': live('Time for one dial, handshake of a proxy included.'),
  'upstreams.*.interface': live('Interface of its sockets.'),
  'upstreams.*.fwmark': live('Firewall mark of its sockets.'),
  'upstreams.*.source': live('Local address of its sockets; one of each family at most.'),

  routes: live('What the host sends into the device: see `culvert route plan`.'),
  'routes.auto': live('Apply the routes at the start and take them back at the end.'),
  'routes.include': live('Networks to send into the device; with `auto` everything by default.'),
  'routes.exclude': live('Networks that go where they went before.'),
  'routes.interfaces': live('Only what came in by these interfaces; "lo" is the host itself.'),
  'routes.table': live('Number of the routing table.'),
  'routes.priority': live('Priority of the first policy rule.'),

  listeners: live('Static rules; the first that matches decides, before any script.'),
  'listeners[].name': live('Name in logs and metrics.'),
  'listeners[].protocol': live('Protocol that it is for; "any" means all.'),
  'listeners[].destination': live('Networks that the client wants to reach; absent: all.'),
  'listeners[].ports': live('Ports that the client wants to reach: 80, "80,443,8000-8100".'),
  'listeners[].action': live('What becomes of the flow.'),
  'listeners[].to': live('Upstream, "ip" or "ip:port"; absent: where the client wanted to go.'),
  'listeners[].via': live('Of "forward": name of an upstream.'),
  'listeners[].masquerade': live('Of "nat": give the flow a source of `nat.addresses`.'),
  'listeners[].idle': live('Silence after which an open flow ends.'),
  'listeners[].inside': live('Of "prefix": IPv6 prefix of the hosts behind the device.'),
  'listeners[].outside': live('Of "prefix": what the world sees of it (RFC 6296).'),
  'listeners[].with': live('Of "reject": how the client is told.'),

  nat: live('Addresses and ports for rewritten flows.'),
  'nat.addresses': live('Pool of masquerade; routed into the device by the gateway.'),
  'nat.ports': live('Ports of the pool, as a range.'),
  'nat.portsPerSource': live('The same of one source, each protocol by itself; 2/3 by default.'),
  'nat.clampMss': live('Lowers the MSS of rewritten SYNs: to the device, to a number, or not.'),

  conntrack: live('Tracking of rewritten flows.'),
  'conntrack.timeouts': live('How long a rewritten flow is remembered after its last packet.'),
  'conntrack.timeouts.tcpSynSent': live('A SYN was sent and not answered.'),
  'conntrack.timeouts.tcpSynReceived': live('The SYN was answered, not yet acknowledged.'),
  'conntrack.timeouts.tcpEstablished': live('Open TCP connections (RFC 5382 REQ-5).'),
  'conntrack.timeouts.tcpFinWait': live('One side has sent FIN.'),
  'conntrack.timeouts.tcpCloseWait': live('The FIN of one side was acknowledged.'),
  'conntrack.timeouts.tcpLastAck': live('Both sides have sent FIN.'),
  'conntrack.timeouts.tcpTimeWait': live('Both FINs were acknowledged.'),
  'conntrack.timeouts.tcpClose': live('A reset was seen.'),
  'conntrack.timeouts.tcpUnacknowledged': live('Data waits for its acknowledgment.'),
  'conntrack.timeouts.udp': live('UDP that was seen in one direction, or is new.'),
  'conntrack.timeouts.udpStream': live('UDP that goes both ways.'),
  'conntrack.timeouts.dns': live('UDP to port 53.'),
  'conntrack.timeouts.icmp': live('Pings.'),
  'conntrack.timeouts.generic': live('All other protocols.'),
  'conntrack.tcpLiberal': live('Let segments outside of the windows pass.'),
  'conntrack.tcpLoose': live('Track connections that are seen first in their middle.'),
  'conntrack.perSource': live('Rewritten flows of one source; 2/3 of `limits.flows` by default.'),
  'conntrack.buckets': fixed(
    'Buckets of the hash; two per flow by default.',
    'every flow would be hashed anew, and no packet could pass meanwhile',
  ),

  scripts: live('Scripts, and what they may use.'),
  'scripts.load': live('Scripts in the order of asking: a file, or a file with settings.'),
  'scripts.load[].file': live('File of the script, from the folder of the config.'),
  'scripts.load[].name': live('Name of the script; its file name by default.'),
  'scripts.load[].allow': live('Where connect() may go: "10.0.0.0/8:443", "*.corp.example:*".'),
  'scripts.load[].schedule': live('Times at which `scheduled` is called, by name.'),
  'scripts.load[].schedule.*.every': live('Period, such as "30s".'),
  'scripts.load[].schedule.*.cron': live('Five fields of cron, in UTC.'),
  'scripts.files': live('Glob of script files, asked in the order of their names.'),
  'scripts.root': live('Folder below which scripts may import files.'),
  'scripts.vars': live('Text for scripts, as `env.vars`.'),
  'scripts.sets': live('Files of networks or names, for `env.sets`.'),
  'scripts.sets.*.type': live('What its lines are.'),
  'scripts.sets.*.file': live('File with one entry a line.'),
  'scripts.tls': live('TLS of the connections that scripts open.'),
  'scripts.tls.ca': live('File of certificates that are trusted besides those of the system.'),
  'scripts.onError': live('What becomes of a new flow when scripts fail to give a verdict.'),
  'scripts.limits': live('What each script may use; absent: the default of the runtime.'),
  'scripts.limits.cpuSoftMs': live('Processor time of a call after which a warning is logged.'),
  'scripts.limits.cpuHardMs': live('Processor time after which a call is stopped.'),
  'scripts.limits.watchdogMs': live('Time after which a host that does not answer is killed.'),
  'scripts.limits.wallMs': live('How long a decision may take, waiting included.'),
  'scripts.limits.memoryBytes': live('Memory of a script.'),
  'scripts.limits.stackBytes': live('Stack of a script.'),
  'scripts.limits.pending': live('Decisions that may wait at once.'),
  'scripts.limits.timers': live('Timers that may run at once.'),
  'scripts.limits.kvBytes': live('Size of `env.KV`.'),
  'scripts.limits.kvKeyBytes': live('Size of one key of `env.KV`.'),
  'scripts.limits.kvValueBytes': live('Size of one value of `env.KV`.'),
  'scripts.limits.logLinesPerSecond': live('Lines that a script may log in a second.'),
  'scripts.limits.metrics': live('Metrics that a script may have.'),
  'scripts.limits.metricSeries': live('Series of one metric.'),
  'scripts.limits.loadMs': live('Processor time of the top-level code.'),
  'scripts.limits.waits': live('Promises given to `waitUntil` at once.'),
  'scripts.limits.waitMs': live('How long such a promise may take.'),
  'scripts.limits.stateBytes': live('Size of what `unload` hands to the next generation.'),
  'scripts.limits.breakerHits': live('Hard limits hit within the window that disable a script.'),
  'scripts.limits.breakerWindowMs': live('The window of `breakerHits`.'),
  'scripts.limits.claims': live('Connections that a script may hold at once.'),
  'scripts.limits.connCpuMs': live('Processor time for one connection.'),
  'scripts.limits.socketsPerFlow': live('Sockets that a claimed connection may open.'),
  'scripts.limits.socketsOutside': live('Sockets that a script may have outside of flows.'),
  'scripts.limits.dials': live('Dials that may be under way at once.'),
  'scripts.limits.peekBytes': live('Bytes that can be peeked at.'),
  'scripts.limits.sniffMs': live('How long sniffing waits for the client.'),
  'scripts.reload': live('How new scripts take over.'),
  'scripts.reload.lastGood': live('When to start with the bundle that ran last.'),
  'scripts.reload.watch': live('Reload when the config changes on disk, or a file that it names.'),
  'scripts.reload.replay': live('Flows of late that old and new scripts are asked about.'),
  'scripts.reload.drain': live('How long claimed connections stay with replaced scripts.'),
  'scripts.reload.canary': live('Try new scripts with a share of the flows first.'),
  'scripts.reload.canary.share': live('Share of new flows, in percent; 0: take over at once.'),
  'scripts.reload.canary.for': live('Then they take over; 0s: when they are promoted.'),
  'scripts.reload.canary.errors': live('Failed decisions, in percent, that stop the trial.'),
  'scripts.reload.canary.window': live('The window of `errors`.'),

  timeouts: live('Times of flows that the gateway ends itself.'),
  'timeouts.decision': live('How long a flow waits for its verdict.'),
  'timeouts.connect': live('How long a dial may take.'),
  'timeouts.idle': live('Silence after which an open flow ends; 0s: never.'),
  'timeouts.halfClose': live('The same once one side has sent FIN.'),
  'timeouts.keepalive': live('Silence after which a client is asked whether it lives; 0s: never.'),
  'timeouts.user': live('How long sent data may stay unacknowledged; 0s: retries decide.'),
  'timeouts.tarpit': live('How long a client is held that is refused with `tarpit`.'),

  limits: live('Capacities; memory is laid out at the start for some of them.'),
  'limits.flows': capacity('Flows of all kinds.', LAID_OUT),
  'limits.flowsPerSource': live('Terminated connections of one source; 2/3 of `flows` by default.'),
  'limits.heldSyns': live('Flows that are not open yet.'),
  'limits.heldSynsPerSource': live('The same of one source; 2/3 of `heldSyns` by default.'),
  'limits.synCookiesFrom': live('Held SYNs from which on cookies are sent; half by default.'),
  'limits.timeWait': live('Connections in TIME-WAIT.'),
  'limits.sessions': live('Sockets of forwarded UDP flows and pings.'),
  'limits.sessionsPerSource': live('The same of one source; 1/4 of `sessions` by default.'),
  'limits.claims': live('Flows that scripts have claimed and not handed over.'),
  'limits.tarpit': live('Clients that the tarpit holds at a time; one more is reset.'),
  'limits.slabBytes': capacity('Memory for bytes in flight.', LAID_OUT),
  'limits.slabBytesPerFlow': live('The same of one flow.'),

  tcp: live('TCP towards clients.'),
  'tcp.congestion': live('Congestion control of new connections.'),
  'tcp.ecn': live('Agree on ECN with clients that ask for it (RFC 3168).'),

  admin: live('The HTTP API.'),
  'admin.listen': fixed(
    'unix:///PATH, or IP:PORT, which needs a token.',
    'who asks for the reload, and whoever watches, would lose the gateway by it',
  ),
  'admin.token': live('Bearer token with all scopes; better in a file, see `tokenFile`.'),
  'admin.tokenFile': live('File with the bearer token.'),
  'admin.tokens': live('Tokens with a name and scopes.'),
  'admin.tokens[].name': live('Name of its bearer in the audit log.'),
  'admin.tokens[].token': live('The token, or sha256: and its hash.'),
  'admin.tokens[].tokenFile': live('File with the token.'),
  'admin.tokens[].scopes': live('What its bearer may do.'),
  'admin.allow': live('Who besides root and the own user may use the unix socket.'),
  'admin.allow[].uid': live('Number of a user.'),
  'admin.allow[].gid': live('Number of a group.'),
  'admin.allow[].user': live('Name of a user.'),
  'admin.allow[].group': live('Name of a group.'),
  'admin.allow[].scopes': live('What they may do.'),
  'admin.socket': live('The file of the unix socket.'),
  'admin.socket.mode': live('Its mode, such as "0660".'),
  'admin.socket.group': live('Its group.'),
  'admin.hosts': live('Names by which TCP clients may call it, besides addresses and localhost.'),
  'admin.clash': live('Routes that dashboards of Clash know.'),

  log: live('Logs, on standard error.'),
  'log.level': live('Least level that is written.'),
  'log.format': live('JSON lines, logfmt, or text for eyes.'),
  'log.time': live('RFC 3339 with nanoseconds, or milliseconds since 1970.'),
  'log.flows': live('Write a line for each flow that ends.'),

  state: live('What outlives the process.'),
  'state.folder': fixed(
    'Folder of the history of scripts; the working folder by default.',
    'numbers and hashes of generations go on from what was read there at the start',
  ),

  drain: live('How long live flows may take to end after SIGTERM.'),
};

/** Writes what each property is for into a JSON Schema of the config. */
export function describeKeys<Schema extends object>(schema: Schema): Schema {
  walkSchema(schema as SchemaNode, (path, property) => {
    const about = CONFIG_KEYS[path]?.about;
    if (about !== undefined) property.description = about;
  });
  return schema;
}
