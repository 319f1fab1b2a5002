/**
 * Counters of a script that was instrumented (gateway/author/instrument.ts). It finds them under
 * the name that istanbul gives them; they lie in memory that can be read from outside of the
 * sandbox, also when a limit has ended it.
 */
import { host, uncurry } from './host.js';

const Counters = Uint32Array;
const { values } = Object;
const view = uncurry(Counters.prototype.subarray);

/** Statements, functions, and then the ways of each branch: gateway/author/coverage.ts knows it. */
function counted({ path, hash, s, f, b }) {
  const statements = values(s).length;
  const functions = values(f).length;
  const branches = values(b);
  let total = statements + functions;
  for (let i = 0; i < branches.length; i++) total += branches[i].length;
  const counters = new Counters(host.coverageCounters(path, total));
  let at = 0;
  const take = (length) => {
    at += length;
    return view(counters, at - length, at);
  };
  const taken = { hash, s: take(statements), f: take(functions), b: [] };
  for (let i = 0; i < branches.length; i++) taken.b[i] = take(branches[i].length);
  return taken;
}

const files = new Proxy(
  { __proto__: null },
  {
    __proto__: null,
    set(known, path, found) {
      known[path] = counted(found);
      return true;
    },
  },
);
Object.defineProperty(globalThis, '__coverage__', { value: files });
