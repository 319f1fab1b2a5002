/** What a script is told about a flow. */
import { settings } from './host.js';
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

/** By PROTOCOL_CODES of host-api.ts. */
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

export class FlowInfo {
  #serial;
  #signal;
  constructor(sourceIp, destinationIp) {
    const family = words[FAMILY];
    this.#serial = doubles[FLOW];
    this.proto = PROTOCOLS[words[PROTOCOL]];
    this.src = new Endpoint(sourceIp, words[SOURCE_PORT], family);
    this.dst = new Endpoint(destinationIp, words[DESTINATION_PORT], family);
    this.originalDst = this.dst;
    if (this.proto === 'tcp') {
      this.syn = {
        mss: words[MSS],
        wscale: words[WINDOW_SCALE],
        ttl: words[TTL],
        ecn: words[ECN] !== 0,
      };
    }
  }
  get id() {
    return String(this.#serial);
  }
  get iface() {
    return settings.iface;
  }
  get signal() {
    this.#signal ??= load('abort-signal').makeSignal();
    return this.#signal;
  }
  static serial(flow) {
    return flow.#serial;
  }
  static abort(flow, why) {
    if (flow.#signal !== undefined) load('abort-signal').abortSignal(flow.#signal, why);
  }
}
export const serialOf = FlowInfo.serial;
export const abortFlow = FlowInfo.abort;
delete FlowInfo.serial;
delete FlowInfo.abort;
