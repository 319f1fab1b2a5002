import { LOG_FIELDS_LENGTH } from '../limits.ts';

/**
 * Fields of a log line: an object as JSON, which the guest made.
 *
 * @param withPlaces  for each text in it: stacks led to the source. Not for the JSON itself, in
 *                    which a line ends otherwise, and which may be too long before it
 */
export function parseLogFields(
  fields: string | undefined,
  withPlaces: (text: string) => string,
): Record<string, unknown> | undefined {
  if (fields === undefined) return undefined;
  if (fields.length > LOG_FIELDS_LENGTH) {
    return { truncated: withPlaces(fields.slice(0, LOG_FIELDS_LENGTH)) };
  }
  try {
    const value: unknown = JSON.parse(fields, (_key, one: unknown) =>
      typeof one === 'string' ? withPlaces(one) : one,
    );
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : { value };
  } catch {
    return { unprintable: true };
  }
}
