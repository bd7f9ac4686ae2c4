// SPDX-License-Identifier: Apache-2.0
import type { ErrorCode, ErrorData } from './error.ts';

/** Why something is not let happen, and what to do where whoever refused it did not know better. */
export interface Refusal {
  /** The rule, the file or the setting that says no. */
  readonly rule: string;
  /** What to do now, with a command. */
  readonly fix: string;
}

/**
 * The codes that tell a refusal: what was asked could be done, and a rule forbids it. The CLI and the window show
 * the rule with every such error, and `fix` where it came without a hint.
 */
export const refusals: Partial<Readonly<Record<ErrorCode, Refusal>>> = {
  NOT_ALLOWED: {
    rule: 'A core and a network helper serve their own user (and root), and a browser may not do what a terminal may.',
    fix: 'In a terminal, as the user who brought the lab up: tapyard ls',
  },
  UNSAFE_PATH: {
    rule: 'The network helper takes no privilege from a path that others can write to.',
    fix: 'Each directory of the path, and who may write to it: namei -l PATH. Install it below /usr/libexec/tapyard.',
  },
  HOST_SCOPE_DENIED: {
    rule: 'The host scope needs CAP_NET_ADMIN: by a group that may run the installed helper, by polkit (dev.tapyard.Tapyard.network), or by sudo.',
    fix: 'What is open to you on this computer: tapyard check. Without it: tapyard scope private',
  },
  HOST_SCOPE_DISMISSED: {
    rule: 'polkit asks before it lets you have the host scope (dev.tapyard.Tapyard.network).',
    fix: 'Ask again: tapyard up --scope host. Without it: tapyard scope private',
  },
  MEND_DENIED: {
    rule: 'What a mend runs as root, polkit lets you run (org.freedesktop.policykit.exec) or sudo does.',
    fix: 'In a terminal, where sudo asks: tapyard check --mend',
  },
  MEND_DISMISSED: {
    rule: 'polkit asks before anything is run as root (org.freedesktop.policykit.exec).',
    fix: 'Press Mend again, or in a terminal, where sudo asks: tapyard check --mend',
  },
  USERNS_DENIED: {
    rule: 'A setting of this computer keeps namespaces from ordinary users (a sysctl, AppArmor, or a container around Tapyard).',
    fix: 'Which one, and how to allow them: tapyard check',
  },
  TUN_UNREADABLE: {
    rule: 'The permissions of /dev/net/tun say who may make taps.',
    fix: 'Until the next boot: sudo chmod 0666 /dev/net/tun',
  },
  BRIDGE_NOT_ALLOWED: {
    rule: '/etc/tapyard/netd.conf says who may put guests on which bridge or interface of this computer.',
    fix: 'An administrator adds a line to /etc/tapyard/netd.conf: allow-bridge USER BRIDGE_OR_INTERFACE',
  },
  QUOTA_REACHED: {
    rule: 'How many networks and taps a user may have in the host scope, /etc/tapyard/netd.conf says (256 and 4096 where it does not).',
    fix: 'Take down a lab that you do not need (tapyard ls), or an administrator adds a line to /etc/tapyard/netd.conf: limit-networks USER NUMBER, or limit-taps USER NUMBER',
  },
  WIFI_CANNOT_BRIDGE: {
    rule: 'A Wi-Fi access point takes from a station only frames with the station’s own MAC address (IEEE 802.11).',
    fix: 'In the lab file use mode: nat, or mode: routed with proxyArp: true and a part of the LAN’s subnet, by which guests have addresses of the LAN behind one MAC address; or a bridge with a cable behind it: ip -br link show type bridge',
  },
  NO_SUCH_BRIDGE: {
    rule: 'The uplink of a bridged network is a bridge that an administrator made.',
    fix: 'The bridges that there are: ip -br link show type bridge. For an interface that this computer has no use for: interface in place of uplink',
  },
  INTERFACE_IN_USE: {
    rule: 'A bridged network takes an interface only where this computer has no use for it: as a port of a bridge it loses its addresses and routes.',
    fix: 'Take another interface (ip -br link), or make a bridge with this one by the system’s own means and name that as uplink',
  },
  MODE_NEEDS_HOST_SCOPE: {
    rule: 'In the private scope no address of this computer is the lab’s, and pasta carries no packet under a guest’s own.',
    fix: 'Use mode: nat, or move the lab: tapyard scope host',
  },
  NAME_TAKEN: {
    rule: 'The network helper touches no interface that it did not make (its label and its journal say which).',
    fix: 'Give the network another name. Who made that interface: ip -d link show NAME',
  },
  SUBNET_NOT_ON_LAN: {
    rule: 'With proxyArp a network’s subnet is a part of the LAN’s, of which this computer has an address by its default route.',
    fix: 'What the LAN’s is: ip -4 addr. Choose a part of it that neither begins nor ends with it, as 192.168.1.192/28 of 192.168.1.0/24',
  },
  ADDRESS_TAKEN: {
    rule: 'Guests get no address of the LAN that somebody there has: the LAN was asked by ARP.',
    fix: 'Choose a part of the LAN’s subnet that nobody has, and keep its router’s DHCP from giving it away. Who is there: ip neigh',
  },
  SUBNET_OVERLAP: {
    rule: 'A lab’s subnet must not be in use on this computer, or packets for one of the two would be lost.',
    fix: 'Leave the subnet out in the lab file, and a free one is chosen. What is in use: ip route',
  },
  NIC_IN_USE: {
    rule: 'A NIC’s tap belongs to the one QEMU that holds it.',
    fix: 'End the QEMU that has it: tapyard force-off GUEST',
  },
  MAC_TAKEN: {
    rule: 'On an administrator’s bridge a MAC address belongs to whoever had it first: this computer, or what is behind another port.',
    fix: 'Give the NIC another one (mac in the lab file). Who has it: bridge fdb show br BRIDGE | grep MAC',
  },
  WRONG_LAB: {
    rule: 'In the private scope each lab has a network helper of its own, in namespaces of its own.',
    fix: 'Which labs there are, and what runs of them: tapyard ls',
  },
  PORT_TAKEN: {
    rule: 'A port of an address belongs to the one program that listens on it.',
    fix: 'Who has it: ss -lntup. Or use another port: tapyard forward GUEST PORT GUEST_PORT',
  },
  PORT_DENIED: {
    rule: 'The sysctl net.ipv4.ip_unprivileged_port_start says which ports are for root only.',
    fix: 'Use a port from 1024 on: tapyard forward GUEST PORT GUEST_PORT',
  },
  UDP_NEEDS_RULE: {
    rule: 'UDP is led to guests by a rule of the kernel’s alone: in the host scope, from the uplink’s addresses.',
    fix: 'In the host scope (tapyard scope host): tapyard forward GUEST PORT --udp --address 0.0.0.0',
  },
  DOOR_SHUT: {
    rule: 'Another firewall of this computer drops what the lab sends, and the network helper may not change it.',
    fix: 'What it drops, and the command that lets the lab through: tapyard topology',
  },
  NETD_RUNNING: {
    rule: 'A directory has one network helper.',
    fix: 'Try again in a moment. What runs: tapyard ls',
  },
  RUNTIME_DIR_UNSAFE: {
    rule: 'Sockets are made only in a directory that is yours and nobody else’s (0700).',
    fix: 'Look at it: ls -ld "$XDG_RUNTIME_DIR/tapyard"',
  },
  LAB_FILE_UNREADABLE: {
    rule: 'The permissions of the lab file and its directories say who may read it.',
    fix: 'Each directory of the path, and who may enter it: namei -l FILE',
  },
  LAB_FILE_UNWRITABLE: {
    rule: 'The permissions of the lab file and its directory say who may write it.',
    fix: 'Each directory of the path, and who may write to it: namei -l FILE',
  },
  IMAGE_UNREADABLE: {
    rule: 'QEMU runs as you: the permissions of the image and its directories say whether you may read it.',
    fix: 'Each directory of the path, and who may enter it: namei -l IMAGE',
  },
  SESSION_INVALID: {
    rule: 'An address of the window works once, within 60 s, for your own user.',
    fix: 'Press Enter where tapyard serve runs, or start it again: tapyard serve',
  },
};

/** The refusal that a code tells, undefined where it tells another kind of failure. */
export const refusalOf = (code: string): Refusal | undefined =>
  (refusals as Readonly<Record<string, Refusal | undefined>>)[code];

/** What stands below an error's message: the rule that said no, and what to do now. */
export function adviceOf({ code, hint }: Pick<ErrorData, 'code' | 'hint'>): string[] {
  const refusal = refusalOf(code);
  return [refusal?.rule, hint ?? refusal?.fix].filter((text) => text !== undefined);
}
