/**
 * Names, where nobody resolves any: each gets an address of either family that no network has,
 * and a verdict that comes back with one is shown with the name again.
 */
import type { Endpoint } from '../../stack/verdict.ts';

/** 240.0.0.0/4, reserved (RFC 1112 §4), and 100::/64, which is discarded (RFC 6666 §4). */
function addressesOf(index: number): readonly [v4: string, v6: string] {
  const groups = [index >>> 16, index & 0xffff].map((group) => group.toString(16));
  return [
    `240.${index >>> 16}.${(index >>> 8) & 0xff}.${index & 0xff}`,
    // As everybody writes it (RFC 5952 §4.2), since it is found again by its text.
    `100::${groups.join(':').replace(/^0:/, '')}`,
  ];
}

const INDEX_COUNT = 1 << 24;

export class NameBook {
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #names = new Map<string, string>();

  /** Addresses that stand for `name`. */
  resolve(name: string): readonly string[] {
    const known = this.#addresses.get(name);
    if (known !== undefined) return known;
    const made = addressesOf((this.#addresses.size + 1) % INDEX_COUNT);
    this.#addresses.set(name, made);
    for (const address of made) this.#names.set(address, name);
    return made;
  }

  /** `10.0.0.1:80`, `[fd00::1]:80`, `example.com:80` */
  show({ ip, port, family }: Endpoint): string {
    const host = this.#names.get(ip) ?? (family === 6 ? `[${ip}]` : ip);
    return `${host}:${port}`;
  }
}
