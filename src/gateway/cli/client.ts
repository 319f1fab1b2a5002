/** Talks to the API of a gateway that runs. */
import { z } from 'zod';
import { type AdminAddress, parseAdminAddress } from '../config/admin-address.ts';
import { problem } from '../supervisor/api/schemas.ts';
import { ExitCode } from '../supervisor/exit-code.ts';
import { CommandError } from './command-error.ts';

/** Longer than any change of scripts takes. */
const TIMEOUT_MS = 240_000;

export interface CallOptions {
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the call; without it, the time that the longest change takes does. */
  readonly signal?: AbortSignal;
}

export interface Answer<T> {
  readonly value: T;
  readonly etag: string | undefined;
}

export class ApiClient {
  readonly #admin: string;
  readonly #address: AdminAddress;
  readonly #token: string | undefined;

  /**
   * @param admin  `unix:///run/culvert/admin.sock` or `127.0.0.1:9000`
   * @throws CommandError  usage, for what is no address
   */
  constructor(admin: string, token: string | undefined) {
    const address = parseAdminAddress(admin);
    if (address === undefined) {
      throw new CommandError(
        ExitCode.USAGE,
        `--admin "${admin}" is neither unix:///PATH nor IP:PORT`,
      );
    }
    this.#admin = admin;
    this.#address = address;
    this.#token = token;
  }

  /**
   * Calls and reads the answer as the schema says.
   *
   * @throws CommandError  unreachable, refused, or a failed precondition
   */
  async call<Schema extends z.ZodType>(
    schema: Schema,
    method: string,
    path: string,
    options: CallOptions = {},
  ): Promise<Answer<z.output<Schema>>> {
    const response = await this.send(method, path, options);
    if (!response.ok) throw await refusal(response);
    const value = response.status === 204 ? undefined : await response.json();
    return { value: schema.parse(value), etag: response.headers.get('ETag') ?? undefined };
  }

  /** The bare answer, whatever its status. @throws CommandError  unreachable */
  async send(method: string, path: string, options: CallOptions = {}): Promise<Response> {
    const { body, headers, signal = AbortSignal.timeout(TIMEOUT_MS) } = options;
    const host = this.#address.kind === 'unix' ? 'localhost' : formatHost(this.#address);
    try {
      return await fetch(`http://${host}${path}`, {
        method,
        headers: {
          ...headers,
          ...(this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` }),
        },
        signal,
        ...(body === undefined ? {} : { body }),
        ...(this.#address.kind === 'unix' ? { unix: this.#address.path } : {}),
      });
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
      throw new CommandError(
        ExitCode.UNREACHABLE,
        `no culvert answers at ${this.#admin}: ${code} (does \`culvert run\` run? see --admin)`,
        { cause },
      );
    }
  }

  /** A change that says which state it starts from: the one that is active now. */
  async change<Schema extends z.ZodType>(
    schema: Schema,
    method: string,
    path: string,
    options: CallOptions = {},
  ): Promise<z.output<Schema>> {
    const { etag } = await this.call(z.unknown(), 'GET', '/v1/generations');
    const headers = { ...options.headers, 'If-Match': etag ?? '*' };
    return (await this.call(schema, method, path, { ...options, headers })).value;
  }
}

/** What the gateway says no with. */
export async function refusal(response: Response): Promise<CommandError> {
  const isPrecondition = response.status === 412 || response.status === 428;
  const code = isPrecondition ? ExitCode.PRECONDITION : ExitCode.REFUSED;
  const parsed = problem.safeParse(await response.json().catch(() => undefined));
  if (!parsed.success) return new CommandError(code, `the gateway answered ${response.status}`);
  return new CommandError(code, `${parsed.data.title.toLowerCase()}: ${parsed.data.detail}`);
}

const formatHost = (address: Extract<AdminAddress, { kind: 'tcp' }>): string =>
  address.ip.includes(':') ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
