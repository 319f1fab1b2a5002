/** What a script is told about a flow. */
import { parse, settings } from './host.js';
import { load } from './lazy.js';
import {
  DESTINATION_PORT,
  doubles,
  ECN,
  FAMILY,
  FLOW,
  MSS,
  PROTOCOL,
  SOURCE_PORT,
  TTL,
  WINDOW_SCALE,
  words,
} from './page.js';

/** By PROTOCOL_CODES of request-page.ts. */
const PROTOCOLS = ['tcp', 'udp', 'icmp'];

class Endpoint {
  constructor(ip, port, family) {
    this.ip = ip;
    this.port = port;
    this.family = family;
  }
  toString() {
    return this.family === 6 ? `[${this.ip}]:${this.port}` : `${this.ip}:${this.port}`;
  }
}

/** Connections by the signal of their flow: who dials with it says which one it is for. */
const connsBySignal = new WeakMap();
export const connOfSignal = (signal) =>
  signal === undefined ? undefined : connsBySignal.get(signal);

export class FlowInfo {
  #serial;
  #conn = 0;
  #signal;
  constructor(sourceIp, destinationIp, dnsName, sniffed) {
    const family = words[FAMILY];
    this.#serial = doubles[FLOW];
    this.proto = PROTOCOLS[words[PROTOCOL]];
    this.src = new Endpoint(sourceIp, words[SOURCE_PORT], family);
    this.dst = new Endpoint(destinationIp, words[DESTINATION_PORT], family);
    this.originalDst = this.dst;
    if (dnsName !== undefined) this.dnsName = dnsName;
    this.sniffed = sniffed === undefined ? undefined : parse(sniffed);
    if (this.proto === 'tcp') {
      this.syn = {
        mss: words[MSS],
        wscale: words[WINDOW_SCALE],
        ttl: words[TTL],
        ecn: words[ECN] !== 0,
      };
    }
  }
  /** As everywhere (`flowId` of the gateway). */
  get id() {
    return this.#serial.toString(36);
  }
  get iface() {
    return settings.iface;
  }
  get signal() {
    if (this.#signal === undefined) {
      this.#signal = load('abort-signal').makeSignal();
      if (this.#conn !== 0) connsBySignal.set(this.#signal, this.#conn);
    }
    return this.#signal;
  }
  static setConn(flow, conn) {
    flow.#conn = conn;
  }
  static serial(flow) {
    return flow.#serial;
  }
  static abort(flow, why) {
    if (flow.#signal !== undefined) load('abort-signal').abortSignal(flow.#signal, why);
  }
}
export const serialOf = FlowInfo.serial;
export const { setConn } = FlowInfo;
export const abortFlow = FlowInfo.abort;
delete FlowInfo.serial;
delete FlowInfo.setConn;
delete FlowInfo.abort;
