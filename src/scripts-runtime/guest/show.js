/** Values and errors as text for people, however a script shaped them. */
import { lengths, slice, stringify } from './host.js';
import { SocketError } from './socket-error.js';

const STACK_LENGTH = 1500;

export const cut = (value) => slice(value, 0, lengths.message);

export const show = (value) => {
  if (typeof value === 'object' && value !== null) {
    try {
      return cut(stringify(value) ?? 'an object');
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
    if (!(error instanceof Error)) return `${show(error)}\n`;
    const { message, stack } = error;
    const name = error instanceof SocketError ? nameOf(error) : error.name;
    return `${cut(`${name}: ${message}`)}\n${slice(String(stack ?? ''), 0, STACK_LENGTH)}`;
  } catch {
    return 'an error that cannot be shown\n';
  }
}
