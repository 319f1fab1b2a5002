import { describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemdUnit, sysusersEntry, UNIT_TYPES } from '../../../src/gateway/service/unit.ts';
import { ExitCode } from '../../../src/gateway/supervisor/exit-code.ts';
import { scratchFolder } from '../../support/scratch.ts';

const HAS_SYSTEMD = Bun.which('systemd-analyze') !== null;

const unit = (options = {}) =>
  systemdUnit({ binary: '/bin/true', user: 'daemon', type: 'notify', ...options });
/** 0 without systemd. */
const version = Number(
  /^systemd (\d+)/.exec(
    HAS_SYSTEMD ? Bun.spawnSync(['systemd-analyze', '--version']).stdout.toString() : '',
  )?.[1] ?? 0,
);

/** What systemd says about a unit. */
function analyze(text: string, ...args: readonly string[]) {
  const file = join(scratchFolder('unit'), 'culvert.service');
  writeFileSync(file, text);
  const { stdout, stderr, exitCode } = Bun.spawnSync(['systemd-analyze', ...args, file]);
  return { code: exitCode, out: `${stdout}${stderr}` };
}

describe.skipIf(!HAS_SYSTEMD)('systemd', () => {
  test.each(UNIT_TYPES.filter((type) => type === 'notify' || version >= 253))(
    'finds nothing wrong with the unit of type %s',
    (type) =>
      expect(
        analyze(unit({ config: '/etc/culvert/a b.yaml', type }), 'verify', '--man=no'),
      ).toEqual({ code: 0, out: '' }),
  );

  test('would find a line that it does not know', () =>
    expect(analyze(unit().replace('ProtectHome=', 'ProtectHomes='), 'verify').out).toContain(
      'ProtectHomes',
    ));

  test('counts the unit among those that are well protected', () => {
    const { code, out } = analyze(unit(), 'security', '--offline=yes', '--threshold=30');
    expect(out).toMatch(/Overall exposure level/);
    expect(code).toBe(0);
  });
});

test('paths with specifiers, variables and blanks are quoted as systemd reads them', () =>
  expect(unit({ binary: '/opt/a b/c', config: '/x/50%/$y.yaml' })).toContain(
    'ExecStart="/opt/a b/c" run -c /x/50%%/$$y.yaml\n',
  ));

test('a unit that systemd signals has no command of its own to reload', () => {
  expect(unit()).toContain('Type=notify\nExecStart=/bin/true run\nExecReload=/bin/true reload\n');
  expect(unit({ type: 'notify-reload' })).not.toContain('ExecReload');
});

test('the user of the unit has an entry for sysusers', () => {
  expect(unit({ user: 'edge' })).toContain('User=edge\nGroup=edge\n');
  expect(sysusersEntry('edge')).toStartWith('u edge - ');
});

test('a gateway that ran is started again, and one that cannot start is not', () => {
  const prevented = /^RestartPreventExitStatus=(.*)$/m.exec(unit())?.[1]?.split(' ').map(Number);
  expect(prevented).toEqual([ExitCode.FAILED]);
  expect(unit()).toContain('\nRestart=on-failure\n');
});

test('an end is a drain, and not a failure that starts the gateway again', () => {
  expect(unit()).toContain('\nKillMode=mixed\n');
  expect(unit()).toContain('\nSuccessExitStatus=2 3\n');
});
