/** The systemd unit of the gateway, and what belongs to it, as text. */

export interface UnitOptions {
  /** Absolute path of the binary. */
  readonly binary: string;
  /** Absolute path of the config; absent: what `culvert run` finds by itself. */
  readonly config?: string;
  readonly user: string;
  /** systemd knows `notify-reload` since version 253; `notify` reloads by `culvert reload`. */
  readonly type: UnitType;
}

export const UNIT_TYPES = ['notify-reload', 'notify'] as const;
export type UnitType = (typeof UNIT_TYPES)[number];

/** Why a line stands there is said in the unit: who edits it has no source at hand. */
export const systemdUnit = ({ binary, config, user, type }: UnitOptions): string => `[Unit]
Description=culvert edge gateway
Documentation=man:culvert(1)
Wants=network-online.target
After=network-online.target nss-lookup.target

[Service]
Type=${type}
ExecStart=${quote(binary)} run${config === undefined ? '' : ` -c ${quote(config)}`}
${type === 'notify' ? `ExecReload=${quote(binary)} reload\n` : ''}\
# Variables such as CULVERT_LOG_LEVEL=debug; \`culvert environ\` knows all of them.
EnvironmentFile=-/etc/default/culvert
Restart=on-failure
RestartSec=1
# The config is wrong or the device is taken: starting again does not help. It may when a gateway
# that ran has lost its device or its data plane (7).
RestartPreventExitStatus=1
# It was told to end: flows were cut at the end of the drain (3), or at once (2).
SuccessExitStatus=2 3
WatchdogSec=30
# The runtime would answer SIGABRT with a report of a crash that is none.
WatchdogSignal=SIGKILL
TimeoutStartSec=60
TimeoutStopSec=30
# The gateway tells its children when to end: what they carry is drained before.
KillMode=mixed

User=${user}
Group=${user}
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
StateDirectory=culvert
StateDirectoryMode=0750
RuntimeDirectory=culvert
RuntimeDirectoryMode=0750
ConfigurationDirectory=culvert
UMask=0077
LimitNOFILE=infinity

# The only device is that of the tunnel; PrivateDevices= would take it away.
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
# Left out: MemoryDenyWriteExecute=, for scripts and gateway are compiled while they run;
# ProtectProc= and ProcSubset=, for the watchdog looks at the processor time of the script host.

[Install]
WantedBy=multi-user.target
`;

/** For /usr/lib/sysusers.d/culvert.conf. */
export const sysusersEntry = (user: string): string =>
  `u ${user} - "culvert edge gateway" /var/lib/culvert\n`;

/** For /usr/lib/modules-load.d/culvert.conf: the unit may not load modules itself. */
export const MODULES_ENTRY = 'tun\n';

/** As a word of ExecStart=, systemd.service(5) "Command lines" and systemd.unit(5) "Specifiers". */
function quote(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /[\s"'\\;]/.test(escaped) ? `"${escaped.replace(/["\\]/g, '\\$&')}"` : escaped;
}
