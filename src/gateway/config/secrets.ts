/** What of a config nobody should see who only looks: masked wherever a config is shown. */

const MASK = '***';

/** Names whose values are secrets; a name that ends so says where one is, or how long it is. */
const SECRET_NAME = /(token|secret|password|passphrase|psk|apikey|privatekey)s?$/i;

/** `user:password@` of a URL; the user stays. */
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:)[^/\s@]+@/gi;

/** The value of a key as it can be shown, whatever is inside of it. */
export function maskSecrets(value: unknown, key = ''): unknown {
  if (SECRET_NAME.test(key.replace(/[_-]/g, '')) && isText(value)) return MASK;
  if (Array.isArray(value)) return value.map((item) => maskSecrets(item, key));
  if (typeof value === 'string') return value.replace(URL_PASSWORD, `$1${MASK}@`);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, maskSecrets(inner, name)]),
  );
}

const isText = (value: unknown): boolean =>
  (typeof value === 'string' && value !== '') || typeof value === 'number';
