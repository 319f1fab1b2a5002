/** `ctx.log` and `console`. */
import { host, lengths, slice, stringify } from './host.js';
import { isError, toJson } from './plain.js';
import { cut, describe, show } from './show.js';

const isObject = (value) => typeof value === 'object' && value !== null;
const textOf = (value) => {
  if (isError(value)) return describe(value);
  return isObject(value) ? show(value) : cut(String(value));
};

/** pino's order: fields first, then the message; text alone is the message. */
function writeLog(level, serial, first, message) {
  if (!isObject(first) || isError(first)) {
    const line = textOf(first);
    host.log(level, serial, message === undefined ? line : `${line} ${textOf(message)}`);
    return;
  }
  let fields;
  try {
    fields = toJson(first);
  } catch (error) {
    fields = stringify({ unprintable: cut(String(error)) });
  }
  const line = message === undefined ? '' : textOf(message);
  host.log(
    level,
    serial,
    line,
    fields === undefined ? undefined : slice(fields, 0, lengths.fields),
  );
}

export const makeLog = (serial) =>
  Object.freeze({
    debug: (first, message) => writeLog(0, serial, first, message),
    info: (first, message) => writeLog(1, serial, first, message),
    warn: (first, message) => writeLog(2, serial, first, message),
    error: (first, message) => writeLog(3, serial, first, message),
  });

const globalLog = makeLog(0);
const printAll = (values) => values.map(textOf).join(' ');
export const console = Object.freeze({
  debug: (...values) => globalLog.debug(printAll(values)),
  log: (...values) => globalLog.info(printAll(values)),
  info: (...values) => globalLog.info(printAll(values)),
  warn: (...values) => globalLog.warn(printAll(values)),
  error: (...values) => globalLog.error(printAll(values)),
});
