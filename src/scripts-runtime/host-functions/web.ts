/**
 * What the globals of a script need from outside of the sandbox: random bytes, digests, a clock,
 * and native code for what would be slow in there. Text comes and goes as JSON, and is `unknown`
 * until it was looked at; null is the answer to what cannot be done.
 */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import { type HostFunctions, parseText, readNumber, readText } from './arguments.ts';

/**
 * Bytes, or UTF-16 units of text, that cross at once. The copies on the way are not counted
 * against the memory of the script, and native code is not interrupted.
 */
export const TRANSFER_MAX = 1024 * 1024;

/** UTF-16 units of a query that is taken apart: each pair of it costs as much as a short text. */
export const QUERY_MAX = 64 * 1024;

/**
 * UTF-16 units of a host in a URL. A name has 253; to encode one of a megabyte takes minutes, in
 * which nobody else is heard.
 */
const HOST_MAX = 1024;
/** The host in a text that begins a URL of those that have one which is encoded. */
const HOST = /^[^a-z/\\]*(?:(?:https?|wss?|ftp|file):[/\\]*|[/\\]{2,})([^/\\?#]*)/i;
/** What the parser of URLs passes over. */
const BLANK = /[\t\n\r]/g;

/** https://www.w3.org/TR/webcrypto/#Crypto-method-getRandomValues */
const RANDOM_MAX = 65_536;

const US_PER_MS = 1000;

/** https://www.w3.org/TR/webcrypto/#sha-registration, and the names that Bun has for them. */
const HASHES: Readonly<Record<string, Bun.SupportedCryptoAlgorithms>> = {
  'SHA-1': 'sha1',
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
};

/** Those whose characters end where it can be told without a table. */
const ENCODINGS = ['utf-8', 'utf-16le', 'windows-1252'] as const;
type Encoding = (typeof ENCODINGS)[number];

const URL_PARTS = [
  ...['href', 'origin', 'protocol', 'username', 'password', 'host'],
  ...['hostname', 'port', 'pathname', 'search', 'hash'],
] as readonly (keyof URL)[];
/** Parts that can be set; `href` is a URL of its own. */
const SETTABLE = [
  ...(['protocol', 'username', 'password', 'host', 'hostname'] as const),
  ...(['port', 'pathname', 'search', 'hash'] as const),
];

type TextOperation = (texts: readonly string[]) => unknown;

const TEXT_OPERATIONS: Readonly<Record<string, TextOperation>> = {
  url: ([url = '', base]) =>
    hasLongHost(url) || hasLongHost(base ?? '') ? null : partsOf(URL.parse(url, base)),
  change: ([href = '', member, value = '']) => {
    if (hasLongHost(href) || (member?.startsWith('host') && value.length > HOST_MAX)) return null;
    const url = URL.parse(href);
    const part = SETTABLE.find((name) => name === member);
    if (url === null || part === undefined) return null;
    url[part] = value;
    return partsOf(url);
  },
  query: ([text]) => Array.from(new URLSearchParams(text?.slice(0, QUERY_MAX))),
  atob: ([text = '']) => orNull(() => atob(text)),
  btoa: ([text = '']) => orNull(() => btoa(text)),
  encoding: ([label = '']) => {
    const name = orNull(() => new TextDecoder(label as Encoding).encoding);
    return ENCODINGS.find((encoding) => encoding === name) ?? null;
  },
};

/** @param now  microseconds of a clock that does not go back */
export function webFunctions(context: QuickJSContext, now: () => number): HostFunctions {
  const startedAt = now();
  const answer = (value: unknown) =>
    value === null ? context.null : context.newString(JSON.stringify(value));
  const bytes = (made: Uint8Array) => context.newArrayBuffer(bufferOf(made));
  const textOf = (handle: QuickJSHandle | undefined) =>
    parseText(readText(context, handle) ?? '""');
  return {
    web: (operation, ...texts) => {
      const run = own(TEXT_OPERATIONS, readText(context, operation));
      return answer(run?.(texts.map(textOf)) ?? null);
    },
    encode: (text) => bytes(new TextEncoder().encode(textOf(text))),
    decode: (encoding, isFatal, buffer) => {
      const name = readText(context, encoding);
      const known = ENCODINGS.find((one) => one === name);
      if (known === undefined || buffer === undefined) return context.null;
      const options = { fatal: readNumber(context, isFatal) === 1, ignoreBOM: true };
      using source = context.getArrayBuffer(buffer);
      return answer(orNull(() => new TextDecoder(known, options).decode(source.value)));
    },
    digest: (algorithm, buffer) => {
      const hash = own(HASHES, readText(context, algorithm));
      if (hash === undefined || buffer === undefined) return context.null;
      using source = context.getArrayBuffer(buffer);
      return bytes(new Bun.CryptoHasher(hash).update(source.value).digest());
    },
    random: (length) => {
      const count = Math.min(readNumber(context, length), RANDOM_MAX);
      return bytes(crypto.getRandomValues(new Uint8Array(count)));
    },
    now: () => context.newNumber(Math.floor((now() - startedAt) / US_PER_MS)),
  };
}

const own = <T>(table: Readonly<Record<string, T>>, name: string | undefined): T | undefined =>
  name !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;

const hasLongHost = (text: string): boolean =>
  text.length > HOST_MAX && (HOST.exec(text.replaceAll(BLANK, ''))?.[1] ?? '').length > HOST_MAX;

const partsOf = (url: URL | null): unknown =>
  url === null ? null : Object.fromEntries(URL_PARTS.map((name) => [name, url[name]]));

/** A buffer with these bytes and no others. */
const bufferOf = (bytes: Uint8Array): ArrayBuffer =>
  bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;

/** What the function gives; null where it throws, as native code does for input that is wrong. */
function orNull<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null;
  }
}
