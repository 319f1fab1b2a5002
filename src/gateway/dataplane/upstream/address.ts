/**
 * An address that is dialled for many flows: how its dials went of late, and how much it carries.
 * Health is passive: nothing is sent to find it out, dials of flows tell.
 */
import { type Instant, millis, NEVER } from '../../../stack/time.ts';
import { writeAddress } from '../../../stack/wire/ip-address.ts';
import type { AddressReport, UpstreamEndpoint } from '../../messages/upstreams.ts';

/** So many failures in a row, 0 for never, and it is left out for so many milliseconds. */
export interface HealthRule {
  readonly after: number;
  readonly forMs: number;
}

export class UpstreamAddress {
  readonly port: number;
  readonly family: 4 | 6;
  /** Its bytes, in network order, from 0 on. */
  readonly view = new DataView(new ArrayBuffer(16));
  /** `10.0.0.5:8443` */
  readonly text: string;
  /** Mixed into the hash of a client: the same for as long as the address stands in the config. */
  readonly key: number;
  /** Position in the table of upstreams.ts. */
  slot = 0;
  /** No config has it any more; only flows. */
  isRetired = false;
  /** Flows and dials. */
  active = 0;
  connects = 0;
  failures = 0;
  lastError = '';
  /** Something was not told yet. */
  isChanged = true;
  #inRow = 0;
  #downUntil: Instant = NEVER;
  #isProbed = false;

  constructor({ ip, port }: UpstreamEndpoint) {
    this.port = port;
    this.family = writeAddress(ip, this.view, 0) === 4 ? 4 : 6;
    this.text = this.family === 4 ? `${ip}:${port}` : `[${ip}]:${port}`;
    this.key = hashOf(this.view, port);
  }

  /** It is left out, or has not been tried again since. */
  isDown({ after }: HealthRule): boolean {
    return after > 0 && this.#inRow >= after;
  }

  /** A flow may choose it now: it is not left out, or it is this flow's turn to try it again. */
  isEligible(rule: HealthRule, now: Instant): boolean {
    return !this.isDown(rule) || (now >= this.#downUntil && !this.#isProbed);
  }

  /** A dial to it begins. */
  begin(rule: HealthRule): void {
    this.active++;
    this.isChanged = true;
    if (this.isDown(rule)) this.#isProbed = true;
  }

  /** @returns true when it was left out until now */
  succeeded(rule: HealthRule): boolean {
    const wasDown = this.isDown(rule);
    this.connects++;
    this.#inRow = 0;
    this.#isProbed = false;
    this.lastError = '';
    return wasDown;
  }

  /**
   * A dial failed.
   *
   * @param isItsFault  false when something behind it failed, or the machine that dialled
   * @returns           true when it is left out from now on
   */
  failed(rule: HealthRule, why: string, isItsFault: boolean, now: Instant): boolean {
    const wasDown = this.isDown(rule);
    this.failures++;
    this.lastError = why;
    this.#isProbed = false;
    if (!isItsFault) return false;
    this.#inRow++;
    this.#downUntil = (now + millis(rule.forMs)) as Instant;
    return !wasDown && this.isDown(rule);
  }

  /** Whoever tried it again went away before it was known how it is. */
  abandoned(): void {
    this.#isProbed = false;
  }

  report(rule: HealthRule): AddressReport {
    return {
      address: this.text,
      healthy: !this.isDown(rule),
      active: this.active,
      connects: this.connects,
      failures: this.failures,
      ...(this.lastError === '' ? {} : { last_error: this.lastError }),
    };
  }
}

function hashOf(view: DataView, port: number): number {
  let mix = port;
  for (let at = 0; at < 16; at += 4) mix = mixed(mix ^ view.getInt32(at));
  return mix;
}

/** The finalizer of MurmurHash3: each bit of the input changes half of those of the output. */
export function mixed(value: number): number {
  let mix = value | 0;
  mix = Math.imul(mix ^ (mix >>> 16), 0x85eb_ca6b);
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2b2_ae35);
  return mix ^ (mix >>> 16);
}
