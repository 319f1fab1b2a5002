/** The `admin` section: where the API listens, and who may do what there. */
import { z } from 'zod';
import { objectName } from './values.ts';

/** Where the API listens, and where the CLI looks for it. */
export const DEFAULT_ADMIN = 'unix:///run/culvert/admin.sock';
/** A guessable token is no token. */
const TOKEN_LENGTH_MIN = 16;
/** Of uids and gids: the last one, 2^32 - 1, means "none" to the kernel. */
const ID_MAX = 0xfffffffe;
/** As many names as a gateway may reasonably have. */
const HOSTS_MAX = 64;
/** More than an operator can oversee. */
const RULES_MAX = 256;

/** What a caller may do: look; change scripts; end flows; all of it, and the rest. */
export const SCOPES = ['read', 'reload', 'kill', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** A token, or `sha256:` and its hash in hexadecimal. */
export const adminToken = z
  .string()
  .min(TOKEN_LENGTH_MIN)
  .refine((text) => /^[\x21-\x7e]*$/.test(text), {
    message: 'expected ASCII without spaces: nothing else can be shown as a bearer token',
  })
  .refine((text) => !text.startsWith('sha256:') || /^sha256:[0-9a-f]{64}$/i.test(text), {
    message: 'expected 64 hexadecimal digits behind "sha256:"',
  });
const scopes = z.array(z.enum(SCOPES)).min(1);
const id = z.int().min(0).max(ID_MAX);
const hostName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i, 'expected a host name, without a port');
const accountName = z.string().regex(/^[^\s:]+$/, 'expected a name of a user or group');

const namedToken = z
  .strictObject({
    /** What the audit log calls its bearer. */
    name: objectName,
    token: adminToken.optional(),
    tokenFile: z.string().min(1).optional(),
    scopes,
  })
  .refine((value) => (value.token === undefined) !== (value.tokenFile === undefined), {
    message: 'needs either "token" or "tokenFile"',
  });

const allowed = z
  .strictObject({
    uid: id.optional(),
    gid: id.optional(),
    user: accountName.optional(),
    group: accountName.optional(),
    scopes,
  })
  .refine(
    ({ uid, gid, user, group }) =>
      [uid, gid, user, group].filter((who) => who !== undefined).length === 1,
    { message: 'needs one of "uid", "gid", "user" and "group"' },
  );

export const admin = z
  .strictObject({
    listen: z.string().min(1).default(DEFAULT_ADMIN),
    /** Has all scopes. */
    token: adminToken.optional(),
    tokenFile: z.string().min(1).optional(),
    tokens: z
      .array(namedToken)
      .max(RULES_MAX)
      .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, {
        message: 'two tokens have the same name',
      })
      .prefault([]),
    /** Who besides root and the user of the gateway may use the unix socket. */
    allow: z.array(allowed).max(RULES_MAX).prefault([]),
    socket: z
      .strictObject({
        mode: z
          .string()
          .regex(/^0?[0-7]{3}$/, 'expected a file mode such as "0660"')
          .optional(),
        group: z.union([id, accountName]).optional(),
      })
      .prefault({}),
    /** Names in `Host`, besides addresses and localhost. */
    hosts: z.array(hostName).max(HOSTS_MAX).prefault([]),
    /** Routes that dashboards of Clash know. */
    clash: z.boolean().default(false),
  })
  .refine((value) => value.token === undefined || value.tokenFile === undefined, {
    message: '"token" and "tokenFile" exclude each other',
  });
export type AdminConfig = z.output<typeof admin>;
