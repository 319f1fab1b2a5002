/** The address of the API as text. */
import { resolve } from 'node:path';
import { parseTarget } from './value-texts.ts';

export type AdminAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly ip: string; readonly port: number };

/** `unix:///run/x.sock`, `/run/x.sock`, `tcp://127.0.0.1:9000`, `127.0.0.1:9000` */
export function parseAdminAddress(text: string): AdminAddress | undefined {
  const path = text.startsWith('unix://') ? text.slice('unix://'.length) : text;
  if (path.startsWith('/')) return { kind: 'unix', path };
  if (path.startsWith('./') || path.startsWith('../')) return { kind: 'unix', path: resolve(path) };
  const target = parseTarget(text.replace(/^(tcp|http):\/\//, '').replace(/\/$/, ''));
  return target?.port === undefined ? undefined : { kind: 'tcp', ip: target.ip, port: target.port };
}
