/**
 * What was made, in a file, so that exactly that is taken back: by another process, and also when
 * the gateway has crashed. Routes and rules end with the machine and with the network namespace;
 * a file of before a reboot means nothing any more.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { parseCidr } from '../../config/value-texts.ts';
import { explained, StartError } from '../start-error.ts';
import { giveToOwnerOf } from './folder-owner.ts';
import { addressText, bytesOf, type Step } from './plan.ts';

const family = z.union([z.literal(4), z.literal(6)]);
const step = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('route'),
    table: z.number(),
    to: z.string(),
    type: z.enum(['unicast', 'throw']),
  }),
  z.object({
    kind: z.literal('rule'),
    rule: z.object({
      family,
      priority: z.number(),
      table: z.number(),
      exceptMark: z.number().optional(),
      inputInterface: z.string().optional(),
      suppressPrefixLength: z.number().optional(),
    }),
  }),
]);
const record = z.object({
  version: z.literal(1),
  boot: z.string(),
  namespace: z.string(),
  steps: z.array(step),
});

/** Steps that were made for one device. */
export class RouteRecord {
  readonly file: string;
  /** Whoever writes has its lock: `lockRecord`. */
  readonly lockFile: string;

  constructor(folder: string, device: string) {
    this.file = join(folder, `routes-${device}.json`);
    this.lockFile = join(folder, `routes-${device}.lock`);
  }

  /** Empty where nothing was made since the machine was started. @throws StartError */
  read(): Step[] {
    const text = this.#text();
    if (text === undefined) return [];
    const parsed = record.safeParse(parseJson(text));
    if (!parsed.success) {
      const hint = 'look at `ip rule`, and remove the file';
      throw new StartError('ROUTE_RECORD', `${this.file} is no record of routes (${hint})`);
    }
    const { boot, namespace, steps } = parsed.data;
    const here = currentPlace();
    return boot === here.boot && namespace === here.namespace ? steps.flatMap(decode) : [];
  }

  /** As a whole or not at all; without steps there is no file. @throws StartError */
  write(steps: readonly Step[]): void {
    if (steps.length === 0) {
      rmSync(this.file, { force: true });
      return;
    }
    const text = JSON.stringify({ version: 1, ...currentPlace(), steps: steps.map(encode) });
    explained(this.file, () => {
      mkdirSync(dirname(this.file), { recursive: true });
      const aside = `${this.file}.new`;
      // The folder may be that of the gateway's user, who must not lead root elsewhere by a link.
      rmSync(aside, { force: true });
      const fd = openSync(aside, 'wx', 0o600);
      try {
        writeSync(fd, `${text}\n`);
        giveToOwnerOf(dirname(this.file), fd);
      } finally {
        closeSync(fd);
      }
      renameSync(aside, this.file);
    });
  }

  #text(): string | undefined {
    return explained(this.file, () => {
      const fd = openThere(this.file);
      if (fd === undefined) return undefined;
      try {
        if (fstatSync(fd).isFile()) return readFileSync(fd, 'utf8');
        throw new StartError('NOT_A_FILE', `${this.file} is no regular file: remove it`);
      } finally {
        closeSync(fd);
      }
    });
  }
}

/**
 * Never through a link, and never waiting for who writes a pipe: the folder may be that of the
 * gateway's user, and this process root.
 *
 * @returns undefined where there is no such file
 */
function openThere(file: string): number | undefined {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    return openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Where routes and rules live. */
const currentPlace = () => ({
  boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
  namespace: readlinkSync('/proc/self/ns/net'),
});

function encode(made: Step): z.output<typeof step> {
  if (made.kind === 'rule') return { kind: 'rule', rule: { ...made.rule } };
  const { table, kind, prefixLength } = made.route;
  return { kind: 'route', table, type: kind, to: `${addressText(made.route)}/${prefixLength}` };
}

function decode(made: z.output<typeof step>): Step[] {
  if (made.kind === 'rule') {
    const { exceptMark, inputInterface, suppressPrefixLength, ...rule } = made.rule;
    return [
      {
        kind: 'rule',
        rule: {
          ...rule,
          ...(exceptMark === undefined ? {} : { exceptMark }),
          ...(inputInterface === undefined ? {} : { inputInterface }),
          ...(suppressPrefixLength === undefined ? {} : { suppressPrefixLength }),
        },
      },
    ];
  }
  const net = parseCidr(made.to);
  if (net === undefined) return [];
  const { family: version, prefixLength } = net;
  const destination = bytesOf(net);
  const route = { family: version, destination, prefixLength, table: made.table, kind: made.type };
  return [{ kind: 'route', route }];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
