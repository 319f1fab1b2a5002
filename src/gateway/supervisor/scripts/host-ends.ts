/** How often a script host ended, by the script that it was in and by cause. */
import type { HostEnd } from './host-process.ts';

type Cause = HostEnd['cause'];
type Counts = Readonly<Record<Cause, number>>;

/** Stands for no script, and for those that are no more; the name of none. */
const NO_SCRIPT = '';
const NOTHING: Counts = { cpu: 0, wall: 0, crash: 0, socket: 0 };

export class HostEnds {
  #counts = new Map<string, Counts>([[NO_SCRIPT, NOTHING]]);

  /** By script. */
  get all(): ReadonlyMap<string, Counts> {
    return this.#counts;
  }

  /** Of all scripts together. */
  get sums(): Counts {
    return [...this.#counts.values()].reduce(add, NOTHING);
  }

  note(cause: Cause, script = NO_SCRIPT): void {
    const before = this.#counts.get(script) ?? NOTHING;
    this.#counts.set(script, { ...before, [cause]: before[cause] + 1 });
  }

  /** What was of scripts that are not in `names` is of no script: the sums never fall. */
  prune(names: ReadonlySet<string>): void {
    for (const [script, counts] of this.#counts) {
      if (script === NO_SCRIPT || names.has(script)) continue;
      this.#counts.delete(script);
      this.#counts.set(NO_SCRIPT, add(this.#counts.get(NO_SCRIPT) ?? NOTHING, counts));
    }
  }
}

const add = (a: Counts, b: Counts): Counts => ({
  cpu: a.cpu + b.cpu,
  wall: a.wall + b.wall,
  crash: a.crash + b.crash,
  socket: a.socket + b.socket,
});
