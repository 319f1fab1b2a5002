/** `env.sets`: the sets of a bundle, made once for all of its scripts. */
import type { ScriptSet } from '../bundle/bundle.ts';
import { CidrSet, cidrFault } from './cidr-set.ts';
import { DomainSet, domainFault } from './domain-set.ts';

/** A line of a set that is no entry. */
export interface SetFault {
  /** 1-based. */
  readonly line: number;
  readonly message: string;
}

/** UTF-16 units: no entry is longer, and to encode a name of megabytes takes hours. */
export const SET_VALUE_LENGTH = 1024;

/** As many as somebody reads. */
const FAULTS_MAX = 20;

/** From what a person writes, one entry a line and comments from `#`, to a set of a bundle. */
export function parseSet(type: ScriptSet['type'], text: string): ScriptSet | readonly SetFault[] {
  const faultOf = type === 'cidr' ? cidrFault : domainFault;
  const entries: string[] = [];
  const faults: SetFault[] = [];
  let line = 0;
  for (const written of text.split('\n')) {
    line++;
    const comment = written.indexOf('#');
    const entry = (comment < 0 ? written : written.slice(0, comment)).trim();
    if (entry === '') continue;
    const message = faultOf(entry);
    if (message === undefined) entries.push(entry);
    else if (faults.push({ line, message }) === FAULTS_MAX) break;
  }
  return faults.length > 0 ? faults : { type, text: entries.join('\n') };
}

interface Made {
  readonly type: ScriptSet['type'];
  readonly text: string;
  readonly content: CidrSet | DomainSet;
}

export class Sets {
  /** In the order in which a script knows them. */
  readonly names: readonly string[];
  readonly #made: readonly Made[];

  /** @param before  of the bundle before: what is the same is not made again */
  constructor(sets: Readonly<Record<string, ScriptSet>>, before?: Sets) {
    const made = before === undefined ? [] : before.#made;
    this.names = Object.keys(sets);
    this.#made = Object.values(sets).map(
      (set) => made.find(({ type, text }) => type === set.type && text === set.text) ?? make(set),
    );
  }

  /** @param index  of a name in `names` */
  has(index: number, value: string): boolean {
    if (value.length > SET_VALUE_LENGTH) return false;
    return this.#made[index]?.content.has(value) ?? false;
  }
}

function make({ type, text }: ScriptSet): Made {
  const entries = text === '' ? [] : text.split('\n');
  return { type, text, content: type === 'cidr' ? new CidrSet(entries) : new DomainSet(entries) };
}
