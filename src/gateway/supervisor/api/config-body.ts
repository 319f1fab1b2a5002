/** Configs as requests bring them, and where in the body something is wrong. */
import type { Context } from 'hono';
import { type Document, isNode, LineCounter } from 'yaml';
import { FILE_MAX_BYTES } from '../../config/documents.ts';
import { ConfigError, type ConfigIssue } from '../../config/load.ts';
import { NESTING_MAX, tooDeep } from '../../config/nesting.ts';
import { parseYaml } from '../../config/parse-yaml.ts';
import { RestartRequiredError } from '../../config/restart-required.ts';
import { ProblemError } from './problem.ts';

/** Parts of a body that errors name. */
export interface ConfigBody {
  readonly value: unknown;
  /** The error with lines and columns of the body, where it has what is wrong. */
  readonly placed: (error: ConfigError) => ConfigError;
}

const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml', 'text/x-yaml'];
const JSON_TYPES = ['application/json'];

export const CONFIG_TYPES = [...YAML_TYPES, ...JSON_TYPES];
export const PATCH_TYPES = ['application/merge-patch+json', ...JSON_TYPES];

/** What a client would rather have. */
export const wantsYaml = (context: Context): boolean =>
  YAML_TYPES.some((type) => context.req.header('Accept')?.includes(type));

const TOO_DEEP = `nested more than ${NESTING_MAX} deep`;

/** @throws ProblemError  415 for another type, 413 for too much, 400 for what is no YAML or JSON */
export async function readConfigBody(
  context: Context,
  types: readonly string[],
): Promise<ConfigBody> {
  const type = (context.req.header('Content-Type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (!types.includes(type)) {
    throw new ProblemError(415, `"${type}" is no config: send ${types.join(', ')}`);
  }
  const text = await context.req.text();
  if (Buffer.byteLength(text) > FILE_MAX_BYTES) {
    throw new ProblemError(413, `a config has at most ${FILE_MAX_BYTES} bytes`);
  }
  const lines = new LineCounter();
  const document = parseYaml(text, {
    lineCounter: lines,
    // A key that is no text is refused as one that nobody knows, and needs no line elsewhere.
    logLevel: 'error',
    // JSON has no aliases, and a merge patch no merge keys.
    schema: type.endsWith('json') ? 'json' : 'core',
  });
  const at = (offset: number) => {
    const { line, col: column } = lines.linePos(offset);
    return { line, column };
  };
  const faults = document.errors.map(({ code, message, pos }) => ({
    path: '',
    // So the parser calls the end of its stack.
    message: code === 'RESOURCE_EXHAUSTION' ? TOO_DEEP : message,
    ...at(pos[0]),
  }));
  refuseFor(faults);
  const locate = (keys: readonly string[]) => {
    for (let depth = keys.length; depth > 0; depth--) {
      const node = document.getIn(keys.slice(0, depth), true);
      if (isNode(node) && node.range) return at(node.range[0]);
    }
    return {};
  };
  const placed = (error: ConfigError) => {
    const Kind = error instanceof RestartRequiredError ? RestartRequiredError : ConfigError;
    const issues = error.issues.map((issue) => ({ ...issue, ...locate(keysOf(issue.path)) }));
    return new Kind('the body', issues, { cause: error.cause });
  };
  // Who sent nothing by mistake would get a gateway of defaults.
  if (document.contents === null) throw new ProblemError(400, 'the body is empty');
  const value = toValue(document);
  const path = tooDeep(value);
  if (path !== undefined) refuseFor([{ path: '', message: TOO_DEEP, ...locate(path) }]);
  return { value, placed };
}

type BodyFault = Pick<ConfigIssue, 'path' | 'message' | 'line' | 'column'>;

/** @throws ProblemError  400, if there is a fault */
function refuseFor(faults: readonly BodyFault[]): void {
  const [first] = faults;
  if (first === undefined) return;
  const place = `${first.line}:${first.column}`;
  throw new ProblemError(400, `the body cannot be read: ${place}: ${first.message}`, faults);
}

/** @throws ProblemError  400 for an alias of nothing, or of too much */
function toValue(document: Pick<Document, 'toJS'>): unknown {
  try {
    return document.toJS() ?? {};
  } catch (cause) {
    if (!(cause instanceof ReferenceError)) throw cause;
    throw new ProblemError(400, `the body cannot be read: ${cause.message}`);
  }
}

/** Of `listeners[0].ports`. */
const keysOf = (path: string): string[] => path.split(/[.[\]]+/).filter(Boolean);
