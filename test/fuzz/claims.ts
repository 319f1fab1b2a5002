/**
 * A script host that has gone mad, or was taken over: any messages at any time about connections
 * that live, have ended, or never were, between clients and upstreams that do as they like. Three
 * things must hold: nothing throws, what the data plane says keeps to messages/conn.ts, and when
 * everybody is gone nothing is left.
 */
import { CONN_BYTES_MAX, CONN_WINDOW_BYTES, ConnKind } from '../../src/gateway/messages/conn.ts';
import type { SocketDial } from '../../src/gateway/messages/conn-encode.ts';
import { Counter } from '../../src/stack/counters.ts';
import { DataPlaneRig } from '../support/dataplane-rig.ts';
import { randomNumbers } from '../support/lossy-link.ts';
import type { ScriptedPeer } from '../support/scripted-peer.ts';
import { type TcpServer, tcpServer } from '../support/tcp-server.ts';

type Random = (below: number) => number;

const STEPS = 250;
const CLIENTS_MAX = 12;
const TCP_AT = 20;
const FIN = 1;

/** A client that acknowledges what it gets, or does not. */
class Client {
  /** Next byte to send, relative to its SYN. */
  next = 1;
  /** What it has to acknowledge, likewise. */
  ack = 1;
  isOpen = false;
  readonly peer: ScriptedPeer;

  constructor(peer: ScriptedPeer) {
    this.peer = peer;
  }

  sends(flags: string, length: number, window = 512): void {
    const { next, ack } = this;
    this.peer.sends(`${flags}. ${next}:${next + length}(${length}) ack ${ack} win ${window}`);
    this.next += length + (flags.includes('F') ? 1 : 0);
  }
}

interface World {
  readonly rig: DataPlaneRig;
  readonly server: TcpServer;
  readonly random: Random;
  readonly clients: Client[];
  /** Names of conns that the host has heard of. */
  readonly conns: number[];
  /** Bytes that the host has asked for and not got, by conn and end; NaN once it is closed. */
  readonly credits: Map<string, number>;
  epoch: number;
}

/** @throws Error  when one of the three does not hold; the seed makes it happen again, nearly */
export async function claimsRound(seed: number): Promise<{ opened: number; refused: number }> {
  const random = randomNumbers(seed + 1);
  for (let i = 0; i < 8; i++) random(2);
  using server = await tcpServer();
  using rig = new DataPlaneRig({ port: 1, claims: 8, sockets: 6 });
  const world: World = {
    ...{ rig, server, random, clients: [], conns: [], credits: new Map(), epoch: 1 },
  };
  for (let i = 0; i < STEPS; i++) {
    STEP[random(STEP.length)]?.(world);
    turn(world);
    if (random(4) === 0) await Bun.sleep(1);
  }
  await end(world);
  const refused = rig.counters.get(Counter.CONN_MESSAGES_REFUSED);
  return { opened: world.conns.length, refused };
}

const STEP: readonly ((world: World) => void)[] = [
  begin,
  begin,
  clientActs,
  clientActs,
  clientActs,
  serverActs,
  hostActs,
  hostActs,
  hostActs,
  hostActs,
  hostActs,
  hostActs,
  noise,
  hostDies,
];

function begin({ rig, clients, random }: World): void {
  const open = clients.filter(({ isOpen }) => isOpen);
  if (open.length >= CLIENTS_MAX) return;
  const client = new Client(rig.newPeer({ port: 1024 + clients.length }));
  rig.claim(client.peer, clients.length + 1);
  clients.push(client);
  const answer = client.peer.read();
  if (answer === undefined || (answer.flags & 4) !== 0) return;
  client.isOpen = true;
  if (random(8) !== 0) client.sends('', 0);
}

function clientActs({ clients, random }: World): void {
  const open = clients.filter(({ isOpen }) => isOpen);
  const client = open[random(open.length)];
  if (client === undefined) return;
  switch (random(6)) {
    case 0:
      client.sends('F', random(100));
      break;
    case 1:
      reset(client);
      break;
    case 2:
      client.sends('', 0, 0);
      break;
    default:
      client.sends('P', 1 + random(1400));
  }
}

function reset(client: Client): void {
  client.peer.sends(`R ${client.next}:${client.next}(0)`);
  client.isOpen = false;
}

function serverActs({ server, random }: World): void {
  const socket = server.sockets[random(server.sockets.length)];
  if (socket === undefined || socket.destroyed) return;
  switch (random(4)) {
    case 0:
      socket.end();
      break;
    case 1:
      socket.resetAndDestroy();
      break;
    default:
      if (!socket.writableEnded) socket.write(new Uint8Array(random(50_000)));
  }
}

function hostActs(world: World): void {
  const { rig, random, conns } = world;
  const { host } = rig;
  host.conn = random(20) === 0 ? random(2 ** 32) : (conns[random(conns.length)] ?? 0);
  host.epoch = random(20) === 0 ? random(2 ** 32) : world.epoch;
  const end = random(5);
  switch (random(9)) {
    case 0:
      want(world, end, random(4) === 0 ? 0 : random(2 ** 32));
      break;
    case 1:
      host.peek(random(65_536), random(100), 100 + random(16_284), random(50), end);
      break;
    case 2:
      host.write(new Uint8Array(1 + random(16_384)), end);
      break;
    case 3:
      if (random(3) === 0) host.fin(end);
      break;
    case 4:
      if (random(4) === 0) host.abort(end);
      break;
    case 5:
      if (random(3) === 0) host.close(end);
      break;
    case 6:
      host.splice(end, { idle: random(3), half: random(3), max: random(2) * random(100_000) });
      break;
    default:
      host.dial(end, target(world));
  }
}

function target({ server, random }: World): SocketDial {
  const to = [
    { ip: '127.0.0.1', port: server.port, family: 4 },
    { ip: '::1', port: server.port, family: 6 },
    { ip: '0.0.0.0', port: 1, family: 4 },
    { ip: '255.255.255.255', port: 65_535, family: 4 },
    { ip: 'ff02::1', port: 9, family: 6 },
  ] as const;
  return {
    to: to[random(10)] ?? to[0],
    isIntoDevice: random(4) === 0,
    timeoutMs: random(3) * random(100),
    ...(random(5) === 0 ? { bind: random(2) === 0 ? '127.0.0.1' : '192.0.2.1' } : {}),
    ...(random(5) === 0 ? { proxyProtocol: random(2) === 0 ? 1 : 2 } : {}),
  };
}

function want({ rig, credits }: World, end: number, bytes: number): void {
  const { host } = rig;
  host.want(bytes, end);
  const key = `${host.conn}/${end}`;
  // What a credit of nothing takes back can be on its way already.
  credits.set(key, (credits.get(key) ?? 0) + (bytes === 0 ? CONN_WINDOW_BYTES : bytes));
}

/** Bytes that are no message, or one with a byte changed. */
function noise({ rig, random, conns, epoch }: World): void {
  const kinds = Object.values(ConnKind);
  const length = random(6) === 0 ? random(2 * CONN_BYTES_MAX) : 12 + random(60);
  const bytes = Uint8Array.from({ length }, () => (random(3) === 0 ? random(256) : 0));
  const view = new DataView(bytes.buffer);
  bytes[0] = random(4) === 0 ? random(256) : (kinds[random(kinds.length)] ?? 0);
  if (length >= 16) {
    view.setUint32(4, conns[random(conns.length)] ?? 0, true);
    view.setUint32(8, epoch, true);
  }
  rig.host.raw(bytes);
}

function hostDies(world: World): void {
  if (world.random(6) !== 0) return;
  const next = (world.epoch & 0xffff) + 1;
  world.rig.setHost(undefined);
  if (world.random(2) === 0) turn(world);
  world.rig.setHost(next);
}

/** A turn of the loop, and what its host and its clients hear of it. */
function turn(world: World): void {
  const { rig, clients } = world;
  rig.turn();
  const before = rig.host.messages.length;
  rig.host.take();
  for (const message of rig.host.messages.splice(before)) hear(world, message);
  for (const { packet } of rig.takeFrames()) {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    const client = clients.find(({ peer }) => peer.options.port === view.getUint16(TCP_AT + 2));
    if (client === undefined || !client.isOpen) continue;
    const headers = TCP_AT + (view.getUint8(TCP_AT + 12) >>> 4) * 4;
    const length = packet.length - headers + (view.getUint8(TCP_AT + 13) & FIN);
    const seq = (view.getUint32(TCP_AT + 4) - client.peer.serverIss) | 0;
    client.ack = Math.max(client.ack, seq + length);
  }
}

function hear(world: World, message: DataPlaneRig['host']['messages'][number]): void {
  const { conn, end, kind, bytes, epoch, text } = message;
  const { conns, credits } = world;
  if (kind === 'STARTED') world.epoch = epoch;
  if (kind === 'OPENED') conns.push(conn);
  const key = `${conn}/${end}`;
  const whole = `${conn}/0`;
  if (Number.isNaN(credits.get(whole)) && kind !== 'STARTED') {
    throw new Error(`${text} of conn ${conn}, which was closed`);
  }
  if (kind === 'DATA') {
    const left = (credits.get(key) ?? 0) - bytes.length;
    if (left < 0) throw new Error(`${text}: ${-left} bytes more than were wanted`);
    credits.set(key, left);
  }
  if (kind === 'CLOSED' && end === 0) credits.set(key, Number.NaN);
}

async function end(world: World): Promise<void> {
  const { rig, clients } = world;
  rig.setHost(undefined);
  for (const client of clients) if (client.isOpen) reset(client);
  const { counters } = rig;
  await rig.until(() => {
    rig.takeFrames();
    const live = [Counter.CLAIMS_NOW, Counter.CLAIM_SOCKETS_NOW].map((c) => counters.get(c));
    return live.every((count) => count === 0);
  });
}
