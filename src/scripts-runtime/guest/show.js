/** Values and errors as text for people, however a script shaped them. */
import { lengths, replaceAll, slice } from './host.js';
import { isError, STACK_LENGTH, toJson } from './plain.js';
import { SocketError } from './socket-error.js';

/** Text as long as it is shown. A NUL, at which the border would end it, is shown as U+2400. */
export const cut = (value) => replaceAll(slice(value, 0, lengths.message), '\0', '\u2400');

export const show = (value) => {
  if (typeof value === 'object' && value !== null) {
    try {
      return cut(toJson(value) ?? 'an object');
    } catch {
      return 'an object';
    }
  }
  return typeof value === 'string' ? `"${cut(value)}"` : cut(String(value));
};

/** With what the log says of a connection that failed. */
const nameOf = ({ code, peer }) => `SocketError(${code}${peer === undefined ? '' : ` ${peer}`})`;

/** First line: the error. Then its stack, from which the gateway reads the position. */
export function describe(error) {
  try {
    if (!isError(error)) return `${show(error)}\n`;
    const { message, stack } = error;
    const name = error instanceof SocketError ? nameOf(error) : error.name;
    return `${cut(`${name}: ${message}`)}\n${slice(String(stack ?? ''), 0, STACK_LENGTH)}`;
  } catch {
    return 'an error that cannot be shown\n';
  }
}
