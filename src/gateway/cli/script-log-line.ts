import type { ScriptLog } from '../../scripts-runtime/bundle/bundle.ts';

/** What a script wrote: `info: hello {"port":443}`. */
export const scriptLogLine = ({
  level,
  message,
  fields,
}: Pick<ScriptLog, 'level' | 'message' | 'fields'>): string =>
  `${level}: ${message}${fields === undefined ? '' : ` ${JSON.stringify(fields)}`}`;
