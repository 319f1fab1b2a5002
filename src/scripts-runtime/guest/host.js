/**
 * What the gateway gave: `host`, functions that cross into it; `page`, memory both can read and
 * write without a crossing; and its settings. script/guest.ts is the outer half.
 *
 * A script shares the globals with these modules and can break them for itself; what it cannot do
 * is make a verdict without the functions of verdicts.js, or reach `host`. So what these modules
 * use of the globals is taken here, before a script can replace it.
 */
export const host = globalThis.culvertHost;
delete globalThis.culvertHost;
// A function that is not there must not be looked for where a script can put one.
Object.setPrototypeOf(host, null);

// QuickJS does not have them, and `using` asks for them, in what the bundler makes of it too.
for (const name of ['dispose', 'asyncDispose']) {
  const value = Symbol(`Symbol.${name}`);
  if (!(name in Symbol)) Object.defineProperty(Symbol, name, { value });
}

export const { parse, stringify } = JSON;
const { call } = Function.prototype;
/** A method as a function of `this` and its arguments, which no script can replace. */
export const uncurry = (method) => call.bind(method);
export const slice = uncurry(String.prototype.slice);
export const replaceAll = uncurry(String.prototype.replaceAll);
export const onSettled = uncurry(Promise.prototype.then);
export const join = uncurry(Array.prototype.join);
/** Of an array. */
export const includes = uncurry(Array.prototype.includes);
const hasText = uncurry(String.prototype.includes);
const isWellFormed = uncurry(String.prototype.isWellFormed);
/** Text that crosses as it is: the border ends it at its first NUL, and replaces half pairs. */
export const isPlainText = (text) => isWellFormed(text) && !hasText(text, '\0');
export const settings = parse(host.settings);
export const { lengths } = settings;
export const limits = Object.freeze(settings.limits);
