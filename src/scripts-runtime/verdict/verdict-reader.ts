/** Verdicts that scripts give as JSON. Most scripts give few different ones, so they are kept. */
import { VERDICT_JSON_LENGTH } from '../limits.ts';
import { parseVerdict, type ScriptVerdict } from './parse-verdict.ts';

const KEPT_MAX = 512;
/** UTF-16 units; longer ones hold text that was made for the one flow. */
const KEPT_TEXT_LENGTH = 1024;

export class VerdictReader {
  readonly #services: readonly string[];
  readonly #kept = new Map<string, ScriptVerdict>();

  /** @param services  as `parseVerdict` has them */
  constructor(services: readonly string[]) {
    this.#services = services;
  }

  /** @returns the verdict, or in words why it is none */
  read(text: string): ScriptVerdict | string {
    const known = this.#kept.get(text);
    if (known !== undefined) return known;
    const verdict = this.#parse(text);
    if (typeof verdict === 'string' || text.length > KEPT_TEXT_LENGTH) return verdict;
    if (this.#kept.size >= KEPT_MAX) this.#kept.clear();
    this.#kept.set(text, verdict);
    return verdict;
  }

  #parse(text: string): ScriptVerdict | string {
    if (text.length > VERDICT_JSON_LENGTH) return 'the verdict is too long';
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      value = undefined;
    }
    return parseVerdict(value, this.#services);
  }
}
