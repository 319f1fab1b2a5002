/** `URL` and `URLSearchParams`. The gateway parses; the parts are kept here. */
import { ask, sendText, toText } from './bytes.js';
import { lengths } from './host.js';

const encode = encodeURIComponent;

/** The form encoding: https://url.spec.whatwg.org/#concept-urlencoded-serializer */
const escapeForm = (text) =>
  encode(text).replace(/[!'()~]|%20/g, (found) =>
    found === '%20' ? '+' : `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
  );

const parseQuery = (text) => ask('query', sendText('URLSearchParams', toText(text), lengths.query));

function pairsOf(init) {
  if (typeof init !== 'object' || init === null) return parseQuery(init);
  if (typeof init[Symbol.iterator] !== 'function') {
    return Object.keys(init).map((name) => [toText(name), toText(init[name])]);
  }
  return Array.from(init, (pair) => {
    const [name, value, ...more] = pair;
    if (value === undefined || more.length > 0) {
      throw new TypeError('URLSearchParams: every entry is a name and a value');
    }
    return [toText(name), toText(value)];
  });
}

export class URLSearchParams {
  #pairs;
  /** Told of every change: the URL whose query this is. */
  #changed;
  constructor(init = '') {
    this.#pairs = pairsOf(init);
  }
  get size() {
    return this.#pairs.length;
  }
  append(name, value) {
    this.#pairs.push([toText(name), toText(value)]);
    this.#changed?.();
  }
  delete(name, value) {
    const doomed = this.#matches(name, value);
    this.#pairs = this.#pairs.filter((pair) => !doomed(pair));
    this.#changed?.();
  }
  get(name) {
    return this.#pairs.find(this.#matches(name))?.[1] ?? null;
  }
  getAll(name) {
    return this.#pairs.filter(this.#matches(name)).map((pair) => pair[1]);
  }
  has(name, value) {
    return this.#pairs.some(this.#matches(name, value));
  }
  set(name, value) {
    const matches = this.#matches(name);
    const first = this.#pairs.find(matches);
    if (first === undefined) {
      this.append(name, value);
      return;
    }
    first[1] = toText(value);
    this.#pairs = this.#pairs.filter((pair) => pair === first || !matches(pair));
    this.#changed?.();
  }
  sort() {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
    this.#changed?.();
  }
  forEach(callback, thisArg = undefined) {
    for (const [name, value] of this) callback.call(thisArg, value, name, this);
  }
  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }
  *keys() {
    for (const [name] of this.#pairs) yield name;
  }
  *values() {
    for (const [, value] of this.#pairs) yield value;
  }
  toString() {
    return this.#pairs.map(([name, value]) => `${escapeForm(name)}=${escapeForm(value)}`).join('&');
  }
  #matches(name, value) {
    const wanted = toText(name);
    const exact = value === undefined ? undefined : toText(value);
    return (pair) => pair[0] === wanted && (exact === undefined || pair[1] === exact);
  }
  static inner = {
    watch: (params, changed) => {
      params.#changed = changed;
    },
    renew: (params, text) => {
      params.#pairs = parseQuery(text);
    },
  };
}
Object.defineProperty(URLSearchParams.prototype, Symbol.iterator, {
  configurable: true,
  writable: true,
  value: URLSearchParams.prototype.entries,
});
const { watch, renew } = URLSearchParams.inner;
delete URLSearchParams.inner;

function parseUrl(url, base) {
  const text = sendText('URL', toText(url));
  return base === undefined ? ask('url', text) : ask('url', text, sendText('URL', toText(base)));
}

export class URL {
  #parts;
  #params;
  constructor(url, base = undefined) {
    this.#parts = parseUrl(url, base);
    if (this.#parts === undefined) throw new TypeError(`URL: "${url}" is none`);
  }
  static canParse(url, base = undefined) {
    return parseUrl(url, base) !== undefined;
  }
  static parse(url, base = undefined) {
    return URL.canParse(url, base) ? new URL(url, base) : null;
  }
  get origin() {
    return this.#parts.origin;
  }
  get searchParams() {
    if (this.#params === undefined) {
      this.#params = new URLSearchParams(this.#parts.search);
      watch(this.#params, () => this.#change('search', String(this.#params)));
    }
    return this.#params;
  }
  get href() {
    return this.#parts.href;
  }
  set href(value) {
    const parts = parseUrl(value);
    if (parts === undefined) throw new TypeError(`URL: "${value}" is none`);
    this.#parts = parts;
    this.#renewParams();
  }
  toString() {
    return this.#parts.href;
  }
  toJSON() {
    return this.#parts.href;
  }
  #change(member, value) {
    const href = sendText('URL', this.#parts.href);
    const changed = ask('change', href, sendText('URL', member), sendText('URL', toText(value)));
    if (changed !== undefined) this.#parts = changed;
  }
  #renewParams() {
    if (this.#params !== undefined) renew(this.#params, this.#parts.search);
  }
  static inner = {
    get: (url, member) => url.#parts[member],
    set: (url, member, value) => {
      url.#change(member, value);
      if (member === 'search') url.#renewParams();
    },
  };
}
const { get: getPart, set: setPart } = URL.inner;
delete URL.inner;

for (const member of [
  ...['protocol', 'username', 'password', 'host', 'hostname'],
  ...['port', 'pathname', 'search', 'hash'],
]) {
  Object.defineProperty(URL.prototype, member, {
    configurable: true,
    enumerable: true,
    get() {
      return getPart(this, member);
    },
    set(value) {
      setPart(this, member, value);
    },
  });
}
