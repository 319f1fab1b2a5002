/** Scripts of several files, as JSON of the API has them. */
import { posix } from 'node:path';
import type { Context } from 'hono';
import { z } from 'zod';
import { parseSet } from '../../../scripts-runtime/sets/sets.ts';
import { scriptName, scriptSettings, setType } from '../../config/script-schema.ts';
import type { ScriptSet, ScriptSource } from '../../messages/script-control.ts';
import { ProblemError } from './problem.ts';

/** `route.ts`, `lib/names.json`: from a folder that they share, and not out of it. */
const modulePath = z
  .string()
  .regex(/^(?:(?!\.{1,2}\/)[\w.-]+\/)*(?!.*\.d\.ts$)[\w.-]+\.(?:ts|js|json)$/, {
    message: 'expected a path such as "lib/names.ts", of a .ts, .js or .json file',
  });
const textFiles = z.record(modulePath, z.string());

/** The same as the files of the config have it, line by line. */
const scriptSet = z
  .strictObject({ type: setType, entries: z.array(z.string()) })
  .transform(({ type, entries }, context): ScriptSet => {
    const set = parseSet(type, entries.join('\n'));
    if ('text' in set) return set;
    const message = set.map((fault) => `entry ${fault.line}: ${fault.message}`).join(', ');
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });

/** A script without its name, which is that of the path. */
export const scriptBody = scriptSettings.extend({
  /** The file that starts; the only one, or that of the name of the script. */
  entry: modulePath.optional(),
  files: textFiles,
  tests: textFiles.optional(),
});
export const bundleBody = z.strictObject({
  scripts: z.array(scriptBody.extend({ name: scriptName })),
  vars: z.record(z.string(), z.string()).optional(),
  sets: z.record(scriptName, scriptSet).optional(),
});

/**
 * The body of a request, by a schema.
 *
 * @throws ProblemError  400
 */
export async function readJsonBody<T extends z.ZodType>(
  context: Context,
  schema: T,
): Promise<z.output<T>> {
  let value: unknown;
  try {
    value = await context.req.json();
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new ProblemError(400, `the body is no JSON: ${cause.message}`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.map(({ path, message }) => ({
    path: path.map(String).join('.'),
    message,
  }));
  const [first] = errors;
  throw new ProblemError(400, `the body cannot be used: ${first?.path}: ${first?.message}`, errors);
}

/** @throws ProblemError  400 when no file is the one that starts */
export function toScript(
  name: string,
  { entry, files, tests, allow, schedule }: z.output<typeof scriptBody>,
): ScriptSource {
  const paths = Object.keys(files);
  const chosen = entry ?? [`${name}.ts`, `${name}.js`].find((path) => path in files) ?? only(paths);
  const source = chosen === undefined ? undefined : files[chosen];
  if (chosen === undefined || source === undefined) {
    const what = chosen ?? `${name}.ts`;
    throw new ProblemError(400, `"${what}" is not among the files of "${name}": say "entry"`);
  }
  const folder = posix.dirname(chosen);
  // Paths in a bundle are from the folder of the script.
  const rest = (texts: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(texts)
        .filter(([path]) => path !== chosen)
        .map(([path, text]) => [posix.relative(folder, path), text]),
    );
  return {
    name,
    file: chosen,
    source,
    ...(paths.length > 1 && { modules: rest(files) }),
    ...(tests && { tests: rest(tests) }),
    ...(allow && { allow }),
    ...(schedule && { schedule }),
  };
}

const only = (paths: readonly string[]): string | undefined =>
  paths.length === 1 ? paths[0] : undefined;
