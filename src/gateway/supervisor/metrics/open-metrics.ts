/** The OpenMetrics text format, version 1.0.0, for those who ask for it. */

const TYPE = 'application/openmetrics-text';

export const OPEN_METRICS_CONTENT_TYPE = `${TYPE}; version=1.0.0; charset=utf-8`;
export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Whether the header `Accept` names the format, and not with a weight of 0. */
export const wantsOpenMetrics = (accept: string | undefined): boolean =>
  (accept ?? '').split(',').some((range) => {
    const [type, ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    return type === TYPE && !parameters.some((text) => /^q=0(\.0*)?$/.test(text));
  });

/**
 * The same families in that format: the name of a counter's family has no `_total`, quotes in a
 * help text are escaped, and the text says where it ends.
 */
export function toOpenMetrics(text: string): string {
  const counters = new Set(
    Array.from(text.matchAll(/^# TYPE (\S+)_total counter$/gm), ([, name = '']) => name),
  );
  const family = (name: string): string => {
    const base = name.replace(/_total$/, '');
    return counters.has(base) ? base : name;
  };
  const lines = text.replaceAll(
    /^# (HELP|TYPE) (\S+) (.*)$/gm,
    (_, kind: string, name: string, rest: string) =>
      `# ${kind} ${family(name)} ${kind === 'HELP' ? rest.replaceAll('"', '\\"') : rest}`,
  );
  return `${lines}# EOF\n`;
}
