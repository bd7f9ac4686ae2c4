// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { installedNetd, isProgram } from '../host/programs.ts';
import {
  groupCommands,
  type HostScopeGround,
  hostScopeWays,
  netdCapabilities,
  polkitLacks,
  thisComputer,
} from '../net/host-scope.ts';
import { NetdReady } from '../net/netd-protocol.ts';
import { type Check, type Finding, mendable, ok, warning } from './check.ts';
import { givenBack, installedNow, type InstalledNetd, isForGroup } from './installed-netd.ts';

/** How long netd may take to say that a directory is none, ms. */
const deadline = 5000;

/** What the installed netd answers to a directory that is not there: which of its refusals comes first. */
export type Answer = { readonly code: string; readonly message: string } | undefined;

/**
 * What is open, from what the installed netd answers: file capabilities are in no file that could be read, they go
 * when a file is copied or upgraded, and a mount or a session can make them nothing. `netd`: it is installed,
 * whoever may run it.
 */
export function judge(
  ground: HostScopeGround,
  installed: {
    readonly netd: InstalledNetd | undefined;
    readonly answer: Answer;
    readonly noNewPrivileges: boolean;
  },
): Finding {
  if (ground.root) return ok('You are root, who needs no leave.');
  // Who runs the installed one with its privilege, wherever that is from, has it.
  const runs = ground.isProgram(installedNetd) && installed.answer?.code === 'BAD_DIRECTORY';
  if (installed.noNewPrivileges && !runs)
    return warning(
      'This session has no_new_privs, in which file capabilities, polkit’s pkexec and sudo count for nothing.',
      { text: 'Start Tapyard outside of the container or sandbox that set it.' },
    );
  const asked = hostScopeWays(ground).some(({ kind }) => kind === 'polkit');
  const beside = asked ? 'polkit asks for a password.' : `polkit cannot be asked: ${lacking(ground)}.`;
  if (ground.isProgram(installedNetd)) {
    if (runs) return ok(`You may run ${installedNetd}: nobody is asked.`);
    if (installed.answer?.code !== 'NO_PRIVILEGE')
      return warning(
        `${installedNetd} does not start: ${installed.answer?.message ?? 'it says nothing'}. Without it ${beside}`,
        { text: 'Install it anew:', command: groupCommands(ground) },
      );
    return lost(ground, installed.netd, beside);
  }
  const { netd } = installed;
  if (netd !== undefined && givenBack(netd) !== undefined) {
    // Of group root it is for nobody else: the group is lost, and perhaps more.
    if (netd.gid === 0) return lost(ground, netd, beside);
    if (isClosed(netd)) return closed(netd, beside);
  }
  if (asked) return ok(`Each time it is asked for, ${beside}`);
  if (netd !== undefined && netd.gid !== 0) {
    if (isClosed(netd)) return closed(netd, beside);
    return warning(`${installedNetd} is installed, and not for you to run. Without it ${beside}`, {
      text: 'Its group is shown by the first command; with the second you are in it, once you have logged in again:',
      command: joinItsGroup,
    });
  }
  return warning(`Only through sudo, as tapyard up --scope host shows it. ${beside}`, {
    text: 'The private scope needs none of it. To let one group have the host scope:',
    command: groupCommands(ground),
  });
}

const joinItsGroup = `stat -c %G ${installedNetd}\nsudo usermod -aG "$(stat -c %G ${installedNetd})" "$USER"`;

/** Whether it is for a group that may not run it: its mode was lost, and perhaps more. */
const isClosed = ({ gid, mode }: InstalledNetd): boolean => gid !== 0 && (mode & 0o010) === 0;

function closed(netd: InstalledNetd, beside: string): Finding {
  const found = `${installedNetd} is installed, and its group may not run it`;
  if (netd.unsafe !== undefined) return exposed(found, netd.unsafe, beside);
  const why = `${found}. Without it ${beside}`;
  const commands = givenBack(netd);
  if (commands !== undefined)
    return mendable('host-scope', why, 'Give it its mode and its file capabilities back:', commands);
  const chmod = `sudo chmod 0750 ${installedNetd}`;
  return netd.groups.includes(netd.gid)
    ? warning(why, { text: 'Give it its mode back:', command: chmod })
    : warning(why, {
        text: 'Give it its mode back. You are not in its group, which the second command shows; with the third you are, once you have logged in again:',
        command: `${chmod}\n${joinItsGroup}`,
      });
}

/** That others than root can change it, so that it must have no privilege. */
const exposed = (found: string, unsafe: string, beside: string): Finding =>
  warning(
    `${found}, and it must have no capabilities as it lies there: ${unsafe}. Who can change it would have its privilege. Without it ${beside}`,
    { text: 'See who may write to it, and let nobody but root:', command: `namei -l ${installedNetd}` },
  );

/** The installed netd has no privilege; who may give it back, and by what. */
function lost(ground: HostScopeGround, netd: InstalledNetd | undefined, beside: string): Finding {
  const forGroup = netd === undefined || isForGroup(netd);
  const what = forGroup ? 'its file capabilities' : 'its group or mode, and its file capabilities';
  const found = `${installedNetd} has lost ${what}, as a file does that is copied or upgraded`;
  if (netd?.unsafe !== undefined) return exposed(found, netd.unsafe, beside);
  const commands = netd && givenBack(netd);
  const why = `${found} (or its file system is mounted nosuid). Without it ${beside}`;
  if (commands !== undefined) return mendable('host-scope', why, 'Give them back:', commands);
  if (forGroup)
    return warning(why, {
      text: 'Give them back (setcap is in the package libcap2-bin, elsewhere libcap):',
      command: `sudo setcap ${netdCapabilities} ${installedNetd}`,
    });
  return warning(
    `${found}. With them as it is, everybody on this computer would have the host scope. Without it ${beside}`,
    { text: 'Install it anew, for one group:', command: groupCommands(ground) },
  );
}

const lacking = (ground: HostScopeGround): string =>
  polkitLacks(ground)
    .map(({ what }) => what)
    .join(', ');

/** Asks the installed netd for nothing: it says NO_PRIVILEGE where it has none, else that the directory is none. */
function answerOf(program: string): Promise<Answer> {
  const args = ['--scope', 'host', '--dir', '/nonexistent/tapyard'];
  return new Promise((resolve) =>
    execFile(program, args, { timeout: deadline, env: {}, cwd: '/' }, (_error, stdout) =>
      resolve(read(stdout)),
    ),
  );
}

function read(line: string): Answer {
  try {
    const said = NetdReady.parse(JSON.parse(line));
    return 'error' in said ? said.error : undefined;
  } catch {
    return undefined;
  }
}

/** Which way to the host scope is open to this user. */
export const hostScope: Check = {
  id: 'host-scope',
  title: 'Host scope',
  async look() {
    const ground = thisComputer();
    return judge(ground, {
      netd: installedNow(),
      answer: !ground.root && isProgram(installedNetd) ? await answerOf(installedNetd) : undefined,
      noNewPrivileges: /^NoNewPrivs:\s*1$/m.test(readFileSync('/proc/self/status', 'utf8')),
    });
  },
};
