/** A log line as pino writes it, in JSON, made into text for eyes or for tools that split words. */

/** Level, time and message stand first; `err` and other objects are JSON in one word. */
type Line = Readonly<Record<string, unknown>>;

/** `12:00:01.250 INFO  flow proto=tcp src=10.0.0.1` */
export function renderText(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Line;
  const clock = (typeof time === 'number' ? new Date(time).toISOString() : String(time)).slice(
    11,
    23,
  );
  const head = `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(msg ?? '')}`;
  return `${escapeControls([head, ...words(fields)].join(' '))}\n`;
}

/** `time=2026-01-02T03:04:05.678901234Z level=info msg=flow proto=tcp src=10.0.0.1` */
export function renderLogfmt(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Line;
  const head = { time, level, ...(msg === undefined ? {} : { msg }) };
  return `${escapeControls(words({ ...head, ...fields }).join(' '))}\n`;
}

const words = (fields: Line): string[] =>
  Object.entries(fields).map(([name, value]) => `${renderName(name)}=${renderValue(value)}`);

/** A name with a space or `=` in it would be another field. */
const renderName = (name: string): string => name.replace(/[ ="]/g, '_');

function renderValue(value: unknown): string {
  if (typeof value === 'object') return quoteSpaced(JSON.stringify(value));
  const text = String(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

/** JSON without spaces reads well as it is; with some it would be several words. */
const quoteSpaced = (json: string): string => (/[\s=]/.test(json) ? JSON.stringify(json) : json);

/**
 * A script chooses what its lines say: they must neither start a line of their own nor speak to
 * the terminal. Escaped are C0, DEL, C1, line separators, and marks that turn the direction.
 */
const escapeControls = (text: string): string =>
  text.replace(
    /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
