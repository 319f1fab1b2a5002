/** Verdicts, and the functions that make them. */
import { lengths, settings, slice, stringify } from './host.js';
import { DECLINE, FORWARD, REJECT, VERDICT } from './page.js';
import { show } from './show.js';

class Verdict {
  #reply;
  #body;
  constructor(reply, body) {
    this.#reply = reply;
    this.#body = body;
    Object.freeze(this);
  }
  static is(value) {
    return typeof value === 'object' && value !== null && #reply in value;
  }
  static reply(verdict) {
    return verdict.#reply;
  }
  static body(verdict) {
    const body = verdict.#body;
    return body === undefined ? undefined : stringify(body);
  }
}
// No way to the class, and so to another verdict, from a verdict in hand.
delete Verdict.prototype.constructor;
export const { is: isVerdict, reply: replyOf, body: bodyOf } = Verdict;

const DECLINED = new Verdict(DECLINE, undefined);
const FORWARDED = new Verdict(FORWARD, undefined);
const REJECTED = new Verdict(REJECT, undefined);

const text = (value) => typeof value === 'string';
export const shortText = (value) => text(value) && value.length <= lengths.address;
export const count = (value) => Number.isInteger(value) && value >= 0;
export const oneOf =
  (...values) =>
  (value) =>
    values.includes(value);

const REJECT_OPTIONS = { with: oneOf('rst', 'icmp', 'drop', 'tarpit'), reason: text };
const REDIRECT_OPTIONS = { note: text };
const FORWARD_OPTIONS = {
  via: shortText,
  handshake: oneOf('dial-first', 'accept-first'),
  proxyProtocol: oneOf(1, 2),
  bind: shortText,
  mark: count,
  connectTimeoutMs: count,
  idleTimeoutMs: count,
  halfCloseTimeoutMs: count,
  maxBytes: count,
  congestion: oneOf(...settings.congestions),
};
const NAT_OPTIONS = { masquerade: oneOf(true, false), idleTimeoutMs: count };

/** The gateway cuts it again, by bytes and at the end of a character. */
const cutVerdictText = (value) =>
  typeof value === 'string' ? slice(value, 0, lengths.verdictText) : value;

/** A first check, so that the error carries the line of the call; the gateway checks again. */
export function checkOptions(name, options, known) {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${name}: options must be an object`);
  }
  for (const key of Object.keys(options)) {
    if (options[key] === undefined) continue;
    if (!Object.hasOwn(known, key)) throw new TypeError(`${name}: no option "${key}"`);
    if (!known[key](options[key])) {
      throw new TypeError(`${name}: ${key} cannot be ${show(options[key])}`);
    }
  }
}

export const decline = () => DECLINED;

export function reject(options) {
  if (options === undefined) return REJECTED;
  checkOptions('reject()', options, REJECT_OPTIONS);
  const { with: how, reason } = options;
  return new Verdict(VERDICT, { kind: 'reject', with: how, reason: cutVerdictText(reason) });
}

function checkTarget(name, to) {
  if (to === undefined || shortText(to)) return;
  throw new TypeError(`${name}: the address must be text like "10.0.0.1:80", not ${show(to)}`);
}

export function forward(to, options) {
  if (to === undefined && options === undefined) return FORWARDED;
  checkTarget('forward()', to);
  if (options !== undefined) checkOptions('forward()', options, FORWARD_OPTIONS);
  return new Verdict(VERDICT, { ...options, kind: 'forward', to });
}

export function nat(to, options) {
  checkTarget('nat()', to);
  if (options !== undefined) checkOptions('nat()', options, NAT_OPTIONS);
  return new Verdict(VERDICT, { ...options, kind: 'nat', to });
}

export function redirect(listener, options) {
  if (!shortText(listener)) throw new TypeError(`redirect(): no listener ${show(listener)}`);
  if (options !== undefined) checkOptions('redirect()', options, REDIRECT_OPTIONS);
  const note = cutVerdictText(options?.note);
  return new Verdict(VERDICT, { kind: 'redirect', listener, note });
}

/** Whether somebody would talk to the client. */
let isClaiming = false;
export const setClaiming = (is) => {
  isClaiming = is;
};

const CLAIM_OPTIONS = { sniff: oneOf(true, false) };

export function claim(options) {
  if (!isClaiming) {
    throw new TypeError('claim(): the script has no method connect() to talk to the client');
  }
  if (options !== undefined) checkOptions('claim()', options, CLAIM_OPTIONS);
  return new Verdict(VERDICT, { kind: 'claim', sniff: options?.sniff });
}
