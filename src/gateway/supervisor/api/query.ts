/** The parameters of a query. */
import { z } from 'zod';
import { nearest } from '../../../scripts-runtime/suggest.ts';

/**
 * A query of these parameters and no others: a mistyped `dry_run` that is passed over would be no
 * dry run.
 */
export const query = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, { error: nameUnknown });

/** Of a write without parameters. */
export const noQuery = query({});

/** Leaves all other faults to zod. */
function nameUnknown({ code, keys, inst }: z.core.$ZodRawIssue): string | undefined {
  const [key] = (keys ?? []) as string[];
  if (code !== 'unrecognized_keys' || key === undefined) return undefined;
  const known = inst instanceof z.ZodObject ? Object.keys(inst.shape) : [];
  const meant = nearest(key, known);
  return `unknown parameter "${key}"${meant === undefined ? '' : `, did you mean "${meant}"?`}`;
}
