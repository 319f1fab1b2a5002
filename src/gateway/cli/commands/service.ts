/** `culvert service`: what a service manager wants to know. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import {
  MODULES_ENTRY,
  systemdUnit,
  sysusersEntry,
  UNIT_TYPES,
  type UnitType,
} from '../../service/unit.ts';
import { print } from '../output.ts';

interface UnitFlags {
  readonly config?: string;
  readonly binary: string;
  readonly user: string;
  readonly type: UnitType;
}

const DEFAULT_USER = 'culvert';

export function addService(program: Command): void {
  const service = program.command('service').description('print files for a service manager');
  service
    .command('unit')
    .description('print a systemd unit: /etc/systemd/system/culvert.service')
    .option('-c, --config <file>', 'config file of the service')
    .option('--binary <file>', 'binary that it starts', process.execPath)
    .option('--user <name>', 'user that it runs as', DEFAULT_USER)
    .addOption(
      new Option('--type <type>', 'how it reloads; "notify" is for systemd before 253')
        .choices(UNIT_TYPES)
        .default(UNIT_TYPES[0]),
    )
    .action(({ config, binary, user, type }: UnitFlags) => {
      const named = config === undefined ? {} : { config: resolve(config) };
      print(systemdUnit({ binary: resolve(binary), user, type, ...named }).trimEnd());
    });
  service
    .command('sysusers')
    .description('print the user of the unit: /usr/lib/sysusers.d/culvert.conf')
    .option('--user <name>', 'user that the unit runs as', DEFAULT_USER)
    .action(({ user }: Pick<UnitFlags, 'user'>) => print(sysusersEntry(user).trimEnd()));
  service
    .command('modules')
    .description('print the kernel modules of the unit: /usr/lib/modules-load.d/culvert.conf')
    .action(() => print(MODULES_ENTRY.trimEnd()));
}
