/** `env.sets`: networks and names that the gateway looks up. */
import { host, isPlainText, lengths, settings, slice, uncurry } from './host.js';
import { show } from './show.js';

const indexOf = uncurry(String.prototype.indexOf);

/** Neither an address nor a name, but one with a port: it would be in no set, whatever it has. */
function hasPort(value) {
  if (value[0] === '[') return indexOf(value, ']:') >= 0;
  const colon = indexOf(value, ':');
  return colon >= 0 && indexOf(value, ':', colon + 1) < 0;
}

/** In brackets in a URL and in `Host`, and so in `sniffed.host`. */
const isBracketed = (value) =>
  value[0] === '[' && value[value.length - 1] === ']' && indexOf(value, ':') > 0;

const positions = Object.create(null);
for (let i = 0; i < settings.sets.length; i++) positions[settings.sets[i]] = i;

export const sets = Object.freeze({
  has: (set, value) => {
    const position = typeof set === 'string' ? positions[set] : undefined;
    if (position === undefined) {
      const known = settings.sets.join(', ') || 'none';
      throw new TypeError(`sets.has(): no set ${show(set)}; there is: ${known}`);
    }
    if (typeof value !== 'string') {
      throw new TypeError(`sets.has(): the value must be text, not ${show(value)}`);
    }
    if (hasPort(value)) {
      throw new TypeError(`sets.has(): an address or a name alone, not ${show(value)}`);
    }
    const canBeIn = value.length <= lengths.setValue && isPlainText(value);
    return canBeIn && host.hasInSet(position, isBracketed(value) ? slice(value, 1, -1) : value);
  },
});
