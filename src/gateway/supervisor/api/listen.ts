/** Where the API listens: a unix socket, whose peers the kernel names, or TCP for tokens. */
import { type AdminAddress, parseAdminAddress } from '../../config/admin-address.ts';
import type { AdminConfig } from '../../config/admin-schema.ts';
import { ConfigError, type LoadedConfig } from '../../config/load.ts';
import { explained, StartError } from '../start-error.ts';
import { idOf } from './accounts.ts';
import {
  AddressInUseError,
  SOCKET_MODE,
  SocketFile,
  type SocketPermissions,
} from './socket-file.ts';
import type { Handler } from './transport/answer-of.ts';
import { ApiServer, type ApiServerOptions } from './transport/server.ts';

/** `sun_path` of unix(7), without its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** What a socket file is like, and how its clients are served. */
export interface ListenOptions extends ApiServerOptions, SocketPermissions {
  /** Where it was claimed before. */
  readonly file?: SocketFile | undefined;
}

export interface AdminPlace extends SocketPermissions {
  readonly address: AdminAddress;
}

/**
 * The place that a config names.
 *
 * @throws ConfigError  for no address, TCP without a token, a group that nobody knows
 */
export function resolveAdmin(admin: AdminConfig, file: string): AdminPlace {
  const fault = (path: string, message: string) => new ConfigError(file, [{ path, message }]);
  const address = parseAdminAddress(admin.listen);
  if (address === undefined) {
    throw fault('admin.listen', `"${admin.listen}" is neither unix:///PATH nor IP:PORT`);
  }
  if (address.kind === 'unix') {
    const bytes = Buffer.byteLength(address.path);
    if (bytes > SOCKET_PATH_BYTES_MAX) {
      const most = SOCKET_PATH_BYTES_MAX;
      throw fault('admin.listen', `a path of ${bytes} bytes; of a unix socket at most ${most}`);
    }
  } else if ([admin.token ?? admin.tokenFile, ...admin.tokens].every((one) => one === undefined)) {
    throw fault('admin.token', 'TCP needs a token: set admin.token, tokenFile or tokens');
  }
  const { group } = admin.socket;
  const gid = typeof group === 'string' ? idOf('group', group) : group;
  if (group !== undefined && gid === undefined) {
    throw fault('admin.socket.group', `"${group}" is not known on this machine: write its number`);
  }
  return { address, mode: socketMode(admin), ...(gid === undefined ? {} : { gid }) };
}

/** Whom the rules let in must reach the socket; who they are is asked of the kernel then. */
function socketMode({ allow, tokens, socket: { mode, group } }: AdminConfig): number {
  if (mode !== undefined) return Number.parseInt(mode, 8);
  if (group !== undefined) return 0o660;
  return allow.length + tokens.length > 0 ? 0o666 : SOCKET_MODE;
}

/**
 * Starts to serve. A socket file that nobody listens on is replaced.
 *
 * @throws AddressInUseError
 * @throws StartError  `EADDRNOTAVAIL`, `EACCES` and their like
 */
export async function listen(
  address: AdminAddress,
  handler: Handler,
  { mode, gid, file: claimed, ...options }: ListenOptions = {},
): Promise<ApiServer> {
  if (address.kind === 'tcp') {
    const { ip: host, port } = address;
    const server = new ApiServer(handler, options);
    await serveAt(`port ${port} of ${host}`, () => server.listen({ host, port }));
    return server;
  }
  const { path } = address;
  const file = claimed ?? (await SocketFile.claim(path));
  const server = new ApiServer(handler, { ...options, place: file });
  try {
    await file.make(() => serveAt(path, () => server.listen({ path })));
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
  try {
    file.admit({ mode, gid });
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/**
 * Makes sure that the address is free, and keeps it so. Undefined for TCP, where the kernel does.
 *
 * @throws AddressInUseError, StartError
 */
export const claimAddress = async (address: AdminAddress): Promise<SocketFile | undefined> =>
  address.kind === 'unix' ? SocketFile.claim(address.path) : undefined;

/**
 * Lets the file of the socket let in whom another config names.
 *
 * @throws ConfigError  nothing has changed
 */
export function followAdmin(
  { config, file = 'embedded default' }: LoadedConfig,
  socket: SocketFile | undefined,
): void {
  const { address: _, ...permissions } = resolveAdmin(config.admin, file);
  try {
    socket?.admit(permissions);
  } catch (cause) {
    if (!(cause instanceof StartError)) throw cause;
    throw new ConfigError(file, [{ path: 'admin.socket', message: cause.message }], { cause });
  }
}

/** @throws AddressInUseError, StartError */
async function serveAt(place: string, serve: () => Promise<void>): Promise<void> {
  try {
    await serve();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new AddressInUseError(`${place} is in use (see --admin)`, { cause });
    }
    explained(`the API cannot listen on ${place}`, () => {
      throw cause;
    });
  }
}
