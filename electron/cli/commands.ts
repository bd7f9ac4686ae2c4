// SPDX-License-Identifier: Apache-2.0
import type { Connection } from '../contract/client.ts';
import type { Terminal } from './terminal.ts';

/** One option of a command. */
export interface OptionSpec {
  readonly name: string;
  readonly short?: string;
  /** What stands for its value in the help; an option without one is a switch. */
  readonly value?: string;
  /** The only values that it takes. */
  readonly values?: readonly string[];
  readonly text: string;
}

/** A command as the user gave it, parsed. */
export interface Invocation {
  readonly command: string;
  readonly arguments: readonly string[];
  /** The words after `--`. */
  readonly rest: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  readonly terminal: Terminal;
  /** The caller's working directory; asked for only where it matters, as one that was removed has no path. */
  readonly cwd: () => string;
  /** Runs with a connection to the user's core: the one that runs, or one hosted here meanwhile. */
  readonly core: <Result>(
    run: (connection: Connection, hosted: boolean) => Promise<Result>,
    /** `lasting`: it goes on until the user ends it, and `run` is called again where the core goes meanwhile. */
    how?: { readonly lasting: boolean },
  ) => Promise<Result>;
}

/** Does the command. @returns the exit status: 0 done, 1 failed; a TapyardError thrown is shown and means 1 */
export type Run = (invocation: Invocation) => Promise<number>;

/** One command: from this table come the help, the parser and the shell's completion. */
export interface CommandSpec {
  readonly name: string;
  /** Arguments by name; those in brackets may be left out. */
  readonly arguments: readonly string[];
  /** What stands for the words after `--`, which are not the command's own; without it there are none. */
  readonly rest?: string;
  readonly summary: string;
  /** Paragraphs for its help. */
  readonly description: readonly string[];
  readonly options: readonly OptionSpec[];
  readonly examples?: readonly (readonly [command: string, text: string])[];
  /** Exit statuses beside those that all commands have. */
  readonly statuses?: readonly (readonly [status: string, text: string])[];
  /** What an argument can be, for completion and parsing. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  /**
   * It asks the core, waits a little, writes, and is done: no stdin, no terminal, no signal, no environment. So
   * the core can do it in its own process for the native front (brief.ts).
   */
  readonly brief?: true;
  /** Loaded when it is used: `tapyard ls` must not wait for the web server's code. */
  readonly load: () => Promise<Run>;
}

const json: OptionSpec = {
  name: 'json',
  text: 'Print one JSON value on stdout; an error is {"error": {code, message, hint, subject}}.',
};
const lab: OptionSpec = {
  name: 'lab',
  value: 'NAME',
  text: 'The lab. Without it: the lab of ./tapyard.yaml, else the only lab that is up, else the only one.',
};

/** One verb for a guest; the window has the same. */
function verb(name: string, summary: string, ...description: string[]): CommandSpec {
  return {
    name,
    arguments: ['GUEST'],
    summary,
    description,
    options: [lab],
    brief: true,
    load: async () => (await import('./run/guest.ts')).run,
  };
}

export const commands: readonly CommandSpec[] = [
  {
    name: 'open',
    arguments: [],
    summary: 'Open the window, or print the address for a browser',
    description: [
      'Opens the desktop window where an Electron runtime and a display are there; else serves the same window to a browser and prints its address. It says which and why. This is what tapyard does without a command.',
      'Ctrl+C ends it. Guests keep running unless you choose to bring them down; without a terminal they keep running.',
    ],
    options: [{ name: 'demo', text: 'First bring up the lab of the tutorial.' }],
    load: async () => (await import('./run/open.ts')).run,
  },
  {
    name: 'up',
    arguments: ['[FILE]'],
    summary: 'Bring a lab up and wait until its guests have their addresses',
    description: [
      'Makes the kernel hold what the lab file says, step by step, and starts the guests. FILE is ./tapyard.yaml when it is left out. What is there already stays untouched, so it can be repeated.',
      'It waits at most 60 s until each guest has its DHCP lease, and fails naming those without one; the lab stays up. Ctrl+C undoes what was done so far.',
    ],
    options: [
      {
        name: 'scope',
        value: 'SCOPE',
        values: ['private', 'host'],
        text: 'private: a network namespace of the lab’s own, without any privilege (the default). host: bridges on this computer, which needs CAP_NET_ADMIN.',
      },
      json,
    ],
    examples: [
      ['tapyard up', 'The lab of ./tapyard.yaml.'],
      [
        'tapyard up seed.yaml --scope host',
        'Its bridge on this computer; what that needs is asked for, or printed as commands.',
      ],
    ],
    statuses: [['130', 'ended by Ctrl+C; what was done is undone']],
    load: async () => (await import('./run/up.ts')).run,
  },
  {
    name: 'down',
    arguments: [],
    summary: 'Shut the guests down, remove the network, leave nothing behind',
    description: [
      'Asks the guests to shut down, then removes everything that up has made. Disks, logs and the lab file stay.',
    ],
    options: [lab, { name: 'force', text: 'Power the guests off at once instead of asking them.' }],
    load: async () => (await import('./run/down.ts')).run,
  },
  {
    name: 'scope',
    arguments: ['private|host'],
    choices: { 'private|host': ['private', 'host'] },
    summary: 'Move a lab to its own namespaces, or onto this computer',
    description: [
      'private: in namespaces of the lab’s own, without any privilege. host: its bridges on this computer, so that this computer and, where wanted, the LAN reach the guests.',
      'What the host scope needs is asked for first: nothing, where your group may run the installed network helper; else your password, by polkit. Refused, nothing has changed. Then the guests are shut down, and the lab comes up in the other scope. Disks and the lab file stay. A lab that is down is only set to it: its next up asks.',
    ],
    options: [lab],
    examples: [['tapyard scope host', 'Onto this computer.']],
    load: async () => (await import('./run/scope.ts')).run,
  },
  {
    name: 'ls',
    arguments: [],
    summary: 'List guests: state, address, taps, sockets',
    description: [
      'Lists the guests of all labs, or of one. With --json an array of {lab, name, state, pid, accelerator, nics: [{network, tap, mac, address}], sockets: {serial, vnc, qmp}, serialRecord}; pid, accelerator, tap and address are null where there is none.',
      'What is written to sockets.serial (a FIFO) is typed into the guest; the file serialRecord has all that it says on its serial port.',
    ],
    options: [{ ...lab, text: 'Only the guests of this lab.' }, json],
    brief: true,
    load: async () => (await import('./run/ls.ts')).run,
  },
  verb('start', 'Start a guest', 'Starts a guest that is shut off, in a lab that is up.'),
  verb(
    'shutdown',
    'Ask a guest to shut down, and wait until it has',
    'Presses the power button (ACPI). The guest decides; after 60 s this fails and the guest runs on.',
  ),
  verb(
    'force-off',
    'Power a guest off at once',
    'As pulling the plug: what the guest has not written is lost.',
  ),
  verb('pause', 'Stop a guest’s CPUs', 'Its memory and its connections stay.'),
  verb('resume', 'Let a paused guest run on'),
  verb('reset', 'Press the reset button', 'As pressing reset: what the guest has not written is lost.'),
  {
    name: 'nat',
    arguments: ['NETWORK', 'on|off'],
    choices: { 'on|off': ['on', 'off'] },
    summary: 'Let a network’s guests reach the internet, or cut them off',
    description: [
      'Off takes effect at once, for running connections too; the guests still reach the host’s address on their bridge. The lab file is changed with it.',
    ],
    options: [lab, json],
    examples: [['tapyard nat br0 off', 'Cut the guests of br0 off.']],
    brief: true,
    load: async () => (await import('./run/nat.ts')).run,
  },
  {
    name: 'link',
    arguments: ['GUEST', 'up|down', '[NIC]'],
    choices: { 'up|down': ['up', 'down'] },
    summary: 'Cut the cable at a guest’s NIC, or mend it',
    description: [
      'Down takes the carrier away, as if the cable were pulled out of the NIC; up gives it back. NIC counts from 0, which is meant where it is left out. With each start of the guest all cables are whole.',
    ],
    options: [lab, json],
    examples: [['tapyard link guest down', 'What does it do without its network?']],
    brief: true,
    load: async () => (await import('./run/link.ts')).run,
  },
  {
    name: 'shape',
    arguments: ['GUEST', '[NIC]', '[off]'],
    summary: 'Hold a guest’s NIC to a bandwidth, a delay and a loss, or let it go',
    description: [
      'What the guest sends and what it is sent are each held to what the options say, at once where it runs; what they leave out is held to nothing. The lab file keeps it. off takes all of it away. NIC counts from 0, which is meant where it is left out. Without options it tells what the NIC is held to.',
      'RATE is in bits per second, with kbit, mbit and gbit in powers of 1000. DELAY and JITTER are in ms: each packet is held up for so long, so a ping takes twice as long; the delay varies by the jitter, and without a rate packets may overtake each other. LOSS is in %, of the packets in each direction.',
      'A rate needs nothing that a usual kernel lacks. Delay and loss need its module sch_netem (NETEM_MISSING says how to get it), and are refused before anything is changed where it is missing.',
    ],
    options: [
      lab,
      { name: 'rate', value: 'RATE', text: 'At most so fast: 512kbit, 10mbit, 1gbit; from 8kbit to 10gbit.' },
      { name: 'delay', value: 'DELAY', text: 'Hold each packet up: 20ms, 0.5ms; at most 10000ms.' },
      { name: 'jitter', value: 'JITTER', text: 'Let the delay vary by so much: 5ms; at most the delay.' },
      { name: 'loss', value: 'LOSS', text: 'Lose so many packets: 1%, 0.1%.' },
      json,
    ],
    examples: [
      ['tapyard shape web --rate 2mbit', 'How does it do on a slow line?'],
      ['tapyard shape web 1 --delay 150ms --jitter 20ms --loss 1%', 'Its second NIC, far away.'],
      ['tapyard shape web off', 'As fast as the computer can.'],
    ],
    brief: true,
    load: async () => (await import('./run/shape.ts')).run,
  },
  {
    name: 'plug',
    arguments: ['GUEST', 'NETWORK'],
    summary: 'Give a guest one more NIC, also while it runs',
    description: [
      'The guest sees the NIC come at once, on NETWORK; the lab file keeps it. A guest that is off has it with its next start. What it does with it is its own matter: the micro guest asks for an address, others may want to be told.',
    ],
    options: [
      lab,
      { name: 'mac', value: 'MAC', text: 'Its MAC address; chosen where this is left out.' },
      {
        name: 'address',
        value: 'ADDRESS',
        text: 'The IPv4 address that DHCP keeps for it; from the range where this is left out.',
      },
      json,
    ],
    examples: [['tapyard plug web lan --address 192.168.58.7', 'A second leg, in another network.']],
    brief: true,
    load: async () => (await import('./run/plug.ts')).run,
  },
  {
    name: 'unplug',
    arguments: ['GUEST', 'NIC'],
    summary: 'Take a NIC from a guest, also while it runs',
    description: [
      'NIC counts from 0, as in the lab file, which loses it too. A guest that runs has to let go of it; one that does not within 10 s keeps it. The NICs behind it keep their MAC addresses.',
    ],
    options: [lab, json],
    brief: true,
    load: async () => (await import('./run/unplug.ts')).run,
  },
  {
    name: 'console',
    arguments: ['GUEST'],
    summary: 'A guest’s serial console, here; Ctrl+] leaves',
    description: [
      'Shows the last of what the guest has written, then connects this terminal. Every key goes to the guest but Ctrl+], which leaves. When stdin is not a terminal, its bytes are typed and the console is left when both sides have been silent for half a second after its end; what the guest said before is not shown then.',
      'A guest that is off has no console: this fails, and names the file with all that it said.',
    ],
    options: [
      lab,
      {
        name: 'history',
        text: 'Show the last of what the guest has written also where stdin is no terminal.',
      },
    ],
    load: async () => (await import('./run/console.ts')).run,
  },
  {
    name: 'ssh',
    arguments: ['GUEST'],
    rest: '[-- COMMAND...]',
    summary: 'Log in to a guest, or run a command in it, with the system’s ssh',
    description: [
      'The connection is made inside the lab’s network, so it works in both scopes, with no route to the guest, and with NAT off. It logs in with the lab’s key, which the micro guest takes for root; for other guests with your own user’s name unless --user says another.',
      'The micro guest makes its host key at each boot, so that is not checked; those of others are kept in a file of the lab’s own.',
    ],
    options: [lab, { name: 'user', short: 'l', value: 'NAME', text: 'Log in as this user of the guest.' }],
    examples: [
      ['tapyard ssh guest', 'a shell in the guest'],
      ['tapyard ssh guest -- tar c /etc > etc.tar', 'its stdin, stdout and stderr are the command’s'],
    ],
    statuses: [
      ['N', 'what COMMAND, or the shell, ended with'],
      ['255', 'ssh could not connect or log in'],
    ],
    load: async () => (await import('./run/ssh.ts')).run,
  },
  {
    name: 'capture',
    arguments: ['GUEST|INTERFACE'],
    summary: 'The packets of a guest’s NIC, or of an interface of the lab, for Wireshark',
    description: [
      'Writes pcapng to FILE or to stdout until Ctrl+C, then says how many packets came and how many were lost because the reader was slow. GUEST means its first NIC; INTERFACE is a tap, a bridge of the lab, or up0, the private scope’s way out. It needs no privilege: netd captures its own interfaces, and no others.',
      'Each packet is marked with its direction as this computer sees it: inbound is from the guest. What anti-spoofing or the filter drops is seen on the tap all the same.',
    ],
    options: [
      lab,
      { name: 'output', short: 'o', value: 'FILE', text: 'Write to FILE, over what was there.' },
      { name: 'nic', value: 'N', text: 'The guest’s NIC number N, from 0.' },
    ],
    examples: [
      ['tapyard capture guest | wireshark -k -i -', 'Watch it live.'],
      ['tapyard capture br0 -o br0.pcapng', 'What the host itself hears and says on the bridge.'],
    ],
    load: async () => (await import('./run/capture.ts')).run,
  },
  {
    name: 'forward',
    arguments: ['[GUEST]', '[PORT]', '[GUEST_PORT]'],
    summary: 'Let a port of this computer lead to a guest’s, or list those that do',
    description: [
      'Connections to PORT of this computer go to GUEST_PORT (the same where it is left out) of the guest, in both scopes. On 127.0.0.1 that works with NAT off too and without any privilege; an address of the network is let in by a rule in the host scope, while NAT is on. The lab file keeps it. Without arguments it lists the forwards.',
      'It listens on 127.0.0.1, for this computer’s programs only. --address 0.0.0.0, or one of its addresses, lets the network in: whoever reaches that address reaches the guest’s port.',
      'A port that somebody else has is named with its owner, and tried again from time to time.',
      '--udp takes datagrams instead of connections. They go by a rule of the kernel’s alone: in the host scope, from 0.0.0.0 or the address of the way out.',
    ],
    options: [
      lab,
      { name: 'address', value: 'ADDRESS', text: 'Listen on this IPv4 address instead of 127.0.0.1.' },
      { name: 'udp', text: 'A port of UDP instead of TCP; it wants an --address of the network.' },
      { name: 'remove', text: 'Take the forward away, and end the connections that it carries.' },
      json,
    ],
    examples: [
      ['tapyard forward web 8080 80', 'http://127.0.0.1:8080 is the guest’s web server.'],
      ['tapyard forward web 8080 --remove', 'No longer.'],
      ['tapyard forward web 53 --udp --address 0.0.0.0', 'The network may ask the guest’s DNS server.'],
    ],
    brief: true,
    load: async () => (await import('./run/forward.ts')).run,
  },
  {
    name: 'topology',
    arguments: [],
    summary: 'The lab’s network as the kernel has it: uplink, NAT, bridges, ports, guests',
    description: ['What the lab file wants and the kernel lacks is marked with its reason.'],
    options: [lab, json],
    brief: true,
    load: async () => (await import('./run/topology.ts')).run,
  },
  {
    name: 'recipe',
    arguments: [],
    summary: 'The steps that make the lab, each with the command that would do the same',
    description: [
      'Shows for each step whether the kernel holds it now, and how long it took when it was done last.',
      'The script of --shell makes the network when it is run by sh as root; with the word guests it starts the guests on it, with undo it takes all of it back.',
    ],
    options: [lab, { name: 'shell', text: 'Print a script for sh that makes the same network.' }],
    examples: [['tapyard recipe --shell > seed.sh', 'Keep it.']],
    brief: true,
    load: async () => (await import('./run/recipe.ts')).run,
  },
  {
    name: 'log',
    arguments: ['[LAB]'],
    summary: 'What the network helper did: when, for whom, and the equivalent command',
    description: [
      'Shows the last 300 acts for the lab, the oldest first: each change to bridges, addresses, taps, forwarding, the filter, DHCP and DNS, other firewalls and the way out, and each request that was refused, with the rule that said no. Who asked stands with it, or why the helper did it by itself: a firewall that was loaded anew, a way out that moved, a helper that took over from one that was killed.',
      'LAB is chosen as with --lab of other commands when it is left out. The log is kept when the lab goes down. With --json an array of {id, lab, order, time, network, by: {uid, user, pid, program, client}, cause, what, command, error}; time is in milliseconds since 1970, and either by or cause is null. With --follow as well, one such object on each line.',
    ],
    options: [
      { name: 'follow', short: 'f', text: 'Go on until Ctrl+C with what the helper does next.' },
      json,
    ],
    examples: [
      ['tapyard log', 'What was done so far.'],
      ['tapyard log -f', 'Beside another terminal in which you try things.'],
      ["tapyard log --json | jq -r '.[].command // empty'", 'The commands alone.'],
    ],
    load: async () => (await import('./run/log.ts')).run,
  },
  {
    name: 'check',
    arguments: [],
    summary: 'What this computer can do, and the fix for what it cannot',
    description: [
      'Looks and changes nothing, and says what to type for what it cannot do. Exits 1 when something that labs need is missing; what is merely better to have is a warning.',
      'With --mend it runs those of these commands that give the installed network helper back what it has lost by being copied or upgraded: its file capabilities, its group, its mode. Each is shown before it is run, as root by sudo, which asks for your password in its own way. Then it looks again. Run it as yourself. It exits 1 also when a mend failed. Whatever would install something, load a module, loosen a setting or give somebody a right that they had not, it leaves to you.',
    ],
    options: [{ name: 'mend', text: 'Mend what can be mended, asking through sudo.' }, json],
    examples: [
      ['tapyard check', 'What is missing here, and what brings it?'],
      ['tapyard check --mend', 'After an upgrade: give the network helper its capabilities back.'],
    ],
    statuses: [['130', 'a mend ended by Ctrl+C; what was run before stays']],
    load: async () => (await import('./run/check.ts')).run,
  },
  {
    name: 'serve',
    arguments: [],
    summary: 'Serve the window to a browser on this computer',
    description: [
      'Listens on a loopback port that the kernel picks, or on a unix socket, never elsewhere: from afar use ssh -L. The address that it prints works once, within 60 s; only your own user can use it.',
      'Ctrl+C ends it; guests keep running.',
    ],
    options: [
      { name: 'port', value: 'N', text: 'Listen on this port of 127.0.0.1.' },
      { name: 'socket', value: 'PATH', text: 'Listen on a unix socket with mode 0600 instead.' },
    ],
    examples: [['ssh -L 8057:127.0.0.1:8057 lab tapyard serve --port 8057', 'From another computer.']],
    load: async () => (await import('./run/serve.ts')).run,
  },
  {
    name: 'completion',
    arguments: ['bash'],
    choices: { bash: ['bash'] },
    summary: 'Print a script that completes commands and options in your shell',
    description: [
      'For this shell: . <(tapyard completion bash). zsh takes it after autoload bashcompinit; bashcompinit.',
    ],
    options: [],
    load: async () => (await import('./run/completion.ts')).run,
  },
];

/** The command of that name. */
export const commandNamed = (name: string): CommandSpec | undefined =>
  commands.find((command) => command.name === name);
