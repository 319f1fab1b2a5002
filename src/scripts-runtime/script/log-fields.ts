import { LOG_FIELDS_LENGTH } from '../limits.ts';

/** Fields of a log line: an object as JSON, which the guest made. */
export function parseLogFields(fields: string | undefined): Record<string, unknown> | undefined {
  if (fields === undefined) return undefined;
  if (fields.length > LOG_FIELDS_LENGTH) return { truncated: fields.slice(0, LOG_FIELDS_LENGTH) };
  try {
    const value: unknown = JSON.parse(fields);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : { value };
  } catch {
    return { unprintable: true };
  }
}
