/** The man page, culvert(1), in the macros of man(7). */
import { CONFIG_KEYS, type ConfigKey } from '../../config/keys.ts';
import { type CommandInfo, flatten, type OptionInfo } from './command-tree.ts';

const FILES: readonly (readonly [string, string])[] = [
  ['/etc/culvert/config.yaml', 'config, where no other is named; also .yml and .json'],
  ['/etc/culvert/conf.d/', 'more of it, merged in the order of names'],
  ['/var/lib/culvert/', 'what outlives the process: generations of scripts, made routes'],
  ['/run/culvert/admin.sock', 'the HTTP API'],
];

const SIGNALS: readonly (readonly [string, string])[] = [
  ['SIGHUP, SIGUSR1', 'reload config and scripts; on an error what runs stays'],
  ['SIGTERM, SIGINT', 'take no new flows, wait for the live ones, end; the second ends at once'],
  ['SIGQUIT', 'end at once'],
  ['SIGUSR2, SIGPIPE', 'ignored'],
];

const CODES: readonly (readonly [string, string])[] = [
  ['0', 'a clean end; a check that found nothing'],
  ['1', 'the start failed or a config is wrong: starting again does not help'],
  ['2', 'a second signal; of a client: wrong usage'],
  ['3', 'flows had to be cut when the drain deadline passed'],
  ['4', 'the gateway refused the request'],
  ['5', 'the state changed since it was read'],
  ['6', 'no gateway answers'],
  ['7', 'a gateway that ran has lost its device or its data plane for good; start it again'],
];

/** @param version  of the program, for the foot of the page */
export function manPage(tree: CommandInfo, version: string): string {
  const commands = flatten(tree).filter(({ path }) => path.length > 0);
  return [
    `.TH CULVERT 1 "" ${macroArgument(`culvert ${version}`)} "User Commands"`,
    // Names of flags and variables are not broken into two.
    '.nh',
    '.ad l',
    '.SH NAME',
    'culvert \\- an edge gateway with scripting',
    '.SH SYNOPSIS',
    '.B culvert',
    '.I command',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    text(
      'culvert opens a TUN device, takes every flow that enters it with a TCP/IP stack of its ' +
        'own, and asks static listeners and scripts what to do with it before the first packet ' +
        'is answered.',
    ),
    '.PP',
    text('For each value holds: flag, then environment, then file, then default.'),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    '.SH CONFIGURATION',
    text(
      'Keys of a config file, YAML or JSON. A gateway that runs refuses to change those with *, ' +
        'and to make those with + larger than they were at its start.',
    ),
    ...table(Object.entries(CONFIG_KEYS).map(([key, { about, ...of }]) => [key + mark(of), about])),
    '.SH ENVIRONMENT',
    text('A flag of culvert run can be a variable. An empty one is none.'),
    ...table(variables(tree)),
    '.SH FILES',
    ...table(FILES),
    '.SH SIGNALS',
    ...table(SIGNALS),
    '.SH EXIT STATUS',
    ...table(CODES),
    '.SH SEE ALSO',
    '.BR ip\\-rule (8),',
    '.BR systemd.service (5)',
    '',
  ].join('\n');
}

const mark = ({ fixed, isCapacity }: Omit<ConfigKey, 'about'>): string =>
  fixed === undefined ? '' : isCapacity ? ' +' : ' *';

function commandLines({ path, usage, about, options, aliases }: CommandInfo): string[] {
  const others = aliases.length === 0 ? '' : ` Also: ${aliases.join(', ')}.`;
  return [
    `.SS ${macroArgument(`culvert ${path.join(' ')} ${usage}`)}`,
    text(`${sentence(about)}${others}`),
    ...table(options.map((option) => [option.flags, optionText(option)])),
  ];
}

function optionText({ about, value, fallback, variables }: OptionInfo): string {
  const choices = value?.choices ?? [];
  return [
    sentence(about),
    ...(choices.length === 0 ? [] : [`One of: ${choices.join(', ')}.`]),
    ...(fallback === undefined ? [] : [`Default: ${fallback}.`]),
    ...(variables.length === 0 ? [] : [`Environment: ${variables.join(', ')}.`]),
  ].join(' ');
}

function variables(tree: CommandInfo): [string, string][] {
  const run = tree.commands.find(({ path }) => path[0] === 'run');
  return [
    ...(run?.options ?? []).flatMap(({ variables: names, flags }): [string, string][] =>
      names.length === 0 ? [] : [[names.join(', '), `as ${flags}`]],
    ),
    ['CULVERT_ADMIN_TOKEN', 'bearer token of commands that talk to an API on TCP'],
  ];
}

/** Terms in bold, with what they mean. */
const table = (rows: readonly (readonly [string, string])[]): string[] =>
  rows.flatMap(([term, meaning]) => ['.TP', `.B ${macroArgument(term)}`, text(meaning)]);

const sentence = (words: string): string =>
  `${words.charAt(0).toUpperCase()}${words.slice(1)}${words.endsWith('.') ? '' : '.'}`;

/** A line of text that cannot be taken for a request. */
const text = (line: string): string => roff(line).replace(/^(?=[.'])/, '\\&');

const macroArgument = (words: string): string => `"${roff(words).replaceAll('"', '\\(dq')}"`;

/** Hyphens of flags stay hyphens; what is not ASCII is named by its number. */
const roff = (line: string): string =>
  line
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(
      /[^\n -~]/gu,
      (mark) => `\\[u${(mark.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
    );
