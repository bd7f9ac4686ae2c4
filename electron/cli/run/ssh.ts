// SPDX-License-Identifier: Apache-2.0
import { dirname, join } from 'node:path';
import type { Connection } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import { noSuchGuest } from '../../contract/no-such-guest.ts';
import { guestDirs } from '../../core/guest/spec.ts';
import { sshArgv, type SshTarget } from '../../core/guest/ssh.ts';
import { findProgram, ownProgram } from '../../core/host/programs.ts';
import { labKey } from '../../core/image/ssh-key.ts';
import { netdSocket } from '../../core/net/netd-process.ts';
import type { Invocation, Run } from '../commands.ts';
import { rowsOf } from '../mirror.ts';
import { runProgram } from '../run-program.ts';
import { labOf } from '../select-lab.ts';

/** Where and how to log in to the guest. @throws TapyardError NO_SUCH_GUEST, GUEST_STATE, GUEST_UNREACHABLE */
async function targetOf(connection: Connection, invocation: Invocation): Promise<SshTarget> {
  const [name = ''] = invocation.arguments;
  const { user } = invocation.options;
  const { tables } = connection.client;
  const lab = await labOf(connection, invocation);
  const guest = (await rowsOf(connection, tables.guests)).find(
    (each) => each.lab === lab && each.name === name,
  );
  const subject = `${lab}/${name}`;
  if (guest === undefined) {
    throw noSuchGuest(lab, name);
  }
  if (guest.state !== 'running') {
    throw new TapyardError('GUEST_STATE', `${name} is ${guest.state}.`, {
      hint: guest.state === 'paused' ? `tapyard resume ${name}` : `tapyard start ${name}`,
      subject,
    });
  }
  const address = guest.nics.find((nic) => nic.address !== null)?.address;
  if (address === undefined || address === null) {
    throw new TapyardError('GUEST_UNREACHABLE', `${name} has no address yet.`, {
      hint: `Look at its console: tapyard console ${name}`,
      subject,
    });
  }
  const scope = (await rowsOf(connection, tables.labs)).find((each) => each.name === lab)?.scope;
  const { labData } = guestDirs(lab, name);
  const { privateKey } = await labKey(labData, lab);
  return {
    guest: name,
    lab,
    address,
    micro: guest.image === 'micro',
    user: typeof user === 'string' ? user : undefined,
    privateKey,
    // Beside the key: no guest can be called so, as their disks lie in the same folder.
    knownHosts: join(dirname(privateKey), 'known_hosts'),
    netdSocket: netdSocket(scope ?? 'private', lab),
    tap: ownProgram('tapyard-tap'),
  };
}

/** ssh: the core says where the guest is; the conversation itself needs no core. */
export const run: Run = async (invocation) => {
  const program = findProgram('ssh');
  if (program === undefined) {
    throw new TapyardError('SSH_MISSING', 'ssh is not installed: it is not on the PATH.', {
      hint: 'Install it. Debian, Ubuntu: openssh-client; Fedora: openssh-clients; Arch, openSUSE: openssh.',
      subject: 'ssh',
    });
  }
  const target = await invocation.core((connection) => targetOf(connection, invocation));
  // Ctrl+C is for what runs in the guest: the terminal sends it to ssh as well. The others it does not.
  return await runProgram([program, ...sshArgv(target, invocation.rest)], { passed: ['SIGTERM', 'SIGHUP'] });
};
