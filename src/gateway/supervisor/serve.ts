/** Runs a gateway from its start to its end: files, API, signals, exit code. */
import { existsSync, fstatSync, writeSync } from 'node:fs';
import { basename, delimiter, dirname, join, relative, resolve } from 'node:path';
import { loadAutosave } from '../config/autosave.ts';
import {
  type ConfigSource,
  configFilesOf,
  loadConfig,
  materialiseDefaultScript,
} from '../config/default-config.ts';
import { type LoadedConfig, validateConfig } from '../config/load.ts';
import { createApi } from './api/app.ts';
import { claimAddress, followAdmin, listen, resolveAdmin } from './api/listen.ts';
import { welcomeText } from './banner.ts';
import { nameOf } from './config-state.ts';
import { Ending } from './ending.ts';
import { ExitCode } from './exit-code.ts';
import { watchExitFd } from './exit-fd.ts';
import { HostRoutes, recordOf } from './host-routes/host-routes.ts';
import { openKernel, routePoolOf } from './kernel.ts';
import { LogSink } from './log/log-sink.ts';
import { LogStyle } from './log/log-style.ts';
import { LogTap } from './log/log-tap.ts';
import { createLogger, type Logger } from './log/logger.ts';
import { checkPidfile, keepPidfile } from './pidfile.ts';
import type { ReloadRecord } from './scripts/reloads.ts';
import { ServiceManager } from './service-manager.ts';
import { onSignals } from './signals.ts';
import { explained } from './start-error.ts';
import { Supervisor } from './supervisor.ts';
import type { SupervisorOptions } from './supervisor-options.ts';

const STDOUT = 1;

export interface ServeOptions {
  readonly source: ConfigSource;
  /** Start with the config that ran last, where one was saved. */
  readonly resume?: boolean;
  readonly pidfile?: string;
  /** Gets "1" when packets are answered, as slirp4netns does it. */
  readonly readyFd?: number;
  /** The gateway ends when nobody holds the other end of this pipe any more. */
  readonly exitFd?: number;
}

/**
 * Settles with the exit code of the process when the gateway has ended.
 *
 * @throws ConfigError, SystemError, AddressInUseError, StartError, BundleRejectedError,
 *         ScriptHostError  it could not start
 */
export async function serve(options: ServeOptions): Promise<ExitCode> {
  const { source } = options;
  const loaded = (options.resume ? loadAutosave(source) : undefined) ?? loadConfig(source);
  const isDefault = loaded.file === undefined;
  checkOutputs(options);
  const script = isDefault ? writeDefaultScript(source) : undefined;
  const { address, ...place } = resolveAdmin(loaded.config.admin, nameOf(loaded));
  using cleanup = new DisposableStack();
  const socketFile = await claimAddress(address);
  cleanup.use(socketFile);
  const logTap = new LogTap();
  const logStyle = new LogStyle(loaded.config.log);
  const log = createLogger(loaded.config.log, new LogSink(), logTap, logStyle);

  const onNoIpv6 = (error: Error) => log.warn({ why: error.message }, 'no-ipv6');
  const kernel = cleanup.use(openKernel(loaded.config, isDefault ? { onNoIpv6 } : {}));
  const end = Promise.withResolvers<ExitCode>();
  const forced = Promise.withResolvers<void>();
  let onFatal: ExitCode = ExitCode.FAILED;
  const record = recordOf(loaded, source.stateFolder, kernel.device.tun.name);
  const routes = cleanup.use(new HostRoutes(loaded, () => kernel.device.name(), record, log));
  const manager = cleanup.use(new ServiceManager(process.env, log));
  const supervisor = new Supervisor({
    ...{ log, logStyle, kernel, loaded },
    followers: [
      // Addresses of the pool stay routed: see `DeviceSetup.routePool`.
      (wanted) => void routePoolOf(wanted, kernel),
      (wanted, before) => {
        followAdmin(wanted, socketFile);
        return () => followAdmin(before, socketFile);
      },
      (wanted) => routes.follow(wanted),
    ],
    onDeviceBack: () => void routes.restore(),
    onReload: (record) => tellReload(record, manager, () => statusOf(supervisor)),
    configSource: configSourceOf(loaded, source),
    historyFolder: historyFolder(loaded, source, kernel.device.tun.name),
    onStop: (ms) => ending.request({ stop: 'api' }, ms),
    onFatal: () => end.resolve(onFatal),
  });
  const ending = new Ending({
    log,
    drain: (ms) => supervisor.drain(ms),
    drainMs: () => supervisor.config.config.drain,
    onEnding: (ms) => manager.stopping(ms),
    end: (code) => {
      end.resolve(code);
      if (code === ExitCode.FORCED) forced.resolve();
    },
  });
  cleanup.defer(onSignals(supervisor, log, ending));
  const { exitFd } = options;
  if (exitFd !== undefined) watchExitFd(exitFd, () => ending.request({ exit_fd: exitFd }));
  const onError = (error: unknown) => log.error({ err: error }, 'api-error');
  const api = createApi(supervisor, { log, logTap });
  const server = await listen(address, api.fetch, { ...place, onError, file: socketFile });
  cleanup.defer(() => void server.stop());
  try {
    const isUp = await Promise.race([supervisor.start().then(() => true), end.promise]);
    if (isUp === true) {
      onFatal = ExitCode.BROKEN;
      await routes.begin();
      announce(options, loaded, script, log, cleanup);
      manager.ready(
        () => statusOf(supervisor),
        () => areChildrenWell(supervisor),
      );
    }
    return await end.promise;
  } finally {
    await supervisor.stop(forced.promise);
  }
}

const writeDefaultScript = ({ stateFolder }: ConfigSource): string =>
  explained(
    `the default script cannot be written below ${stateFolder} (run as root, or see -D)`,
    () => materialiseDefaultScript(stateFolder),
  );

const configSourceOf = (
  loaded: LoadedConfig,
  source: ConfigSource,
): SupervisorOptions['configSource'] => ({
  read: () => loadConfig(source),
  files: () => configFilesOf(source),
  validate: (value, name) => validateConfig(value, name, source.overrides),
  stateFolder: stateFolder(loaded, source),
});

function announce(
  { pidfile, readyFd, source }: ServeOptions,
  loaded: LoadedConfig,
  script: string | undefined,
  log: Logger,
  cleanup: DisposableStack,
): void {
  if (pidfile !== undefined) cleanup.use(keepPidfile(pidfile, log));
  if (readyFd !== undefined) explained(`--ready-fd ${readyFd}`, () => writeSync(readyFd, '1'));
  log.info({ config: loaded.file, workdir: source.stateFolder, script }, 'started');
  // With a proxy, listeners take what the welcome would have people try.
  if (script === undefined || loaded.config.listeners.length > 0) return;
  // Whoever does not read it must not stop the gateway.
  new LogSink(STDOUT).write(welcomeText(script, loaded.config.admin.listen, programName()));
}

/** Longer than any reload takes. */
const RELOAD_MS_MAX = 240_000;

function tellReload(record: ReloadRecord, manager: ServiceManager, status: () => string): void {
  if (record.isDryRun) return;
  const outcome = () => {
    const { error } = record;
    return error === undefined ? status() : `reload failed, ${status()}: ${error.message}`;
  };
  void manager.reloading(record.decided(RELOAD_MS_MAX), outcome);
}

/** For `systemctl status`. */
function statusOf(supervisor: Supervisor): string {
  const { state, flows, generation } = supervisor.status();
  return `${state}, ${flows.active} flows, generation ${generation.number}`;
}

/** Whether the parts live that only a restart would bring back, should they stay away. */
const areChildrenWell = (supervisor: Supervisor): boolean =>
  !supervisor.notReady().some((reason) => CHILD_DOWN.has(reason));

const CHILD_DOWN = new Set(['data-plane-stuck', 'data-plane-down', 'script-host-down']);

/** Two gateways of one machine have each a device and a history of their own. */
function historyFolder(
  loaded: LoadedConfig,
  source: ConfigSource,
  device: string,
): string | undefined {
  const state = stateFolder(loaded, source);
  // Nobody who starts a gateway by hand wants a folder that was not asked for.
  if (loaded.config.state.folder === undefined && !existsSync(state)) return undefined;
  return join(state, 'generations', device);
}

function stateFolder({ config, folder }: LoadedConfig, source: ConfigSource): string {
  const named = config.state.folder;
  return named === undefined ? source.stateFolder : resolve(folder, named);
}

/** What is written once the gateway runs should not be what ends it. @throws StartError */
function checkOutputs({ pidfile, readyFd, exitFd }: ServeOptions): void {
  if (exitFd !== undefined) explained(`--exit-fd ${exitFd}`, () => fstatSync(exitFd));
  if (readyFd !== undefined) explained(`--ready-fd ${readyFd}`, () => fstatSync(readyFd));
  if (pidfile !== undefined) explained(`--pidfile ${pidfile}`, () => checkPidfile(pidfile));
}

/** How this binary is called from the current folder: by its name when the shell finds it there. */
function programName(): string {
  const { execPath } = process;
  if (process.env['PATH']?.split(delimiter).includes(dirname(execPath))) return basename(execPath);
  const fromHere = relative(process.cwd(), execPath);
  if (fromHere.startsWith('..')) return execPath;
  return fromHere.includes('/') ? fromHere : `./${fromHere}`;
}
