// SPDX-License-Identifier: Apache-2.0
import { resolve } from 'node:path';
import process from 'node:process';
import type { Connection } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import { ownProgram } from '../../core/host/programs.ts';
import { netdSocket } from '../../core/net/netd-process.ts';
import type { Invocation, Run } from '../commands.ts';
import { rowsOf } from '../mirror.ts';
import { runProgram } from '../run-program.ts';
import { labOf } from '../select-lab.ts';
import { safeLine } from '../terminal.ts';

/** capture: the core says which interface is meant; the packets themselves need no core. */
export const run: Run = async (invocation) => {
  const { options } = invocation;
  const file = typeof options['output'] === 'string' ? options['output'] : undefined;
  if (file === undefined && process.stdout.isTTY)
    throw new TapyardError('USAGE', 'A capture is no text, and stdout is a terminal.', {
      hint: 'Into a file: -o FILE. Into Wireshark: tapyard capture … | wireshark -k -i -',
    });
  const command = await invocation.core((connection) => commandFor(connection, invocation));
  const into = file === undefined ? [] : ['--output', resolve(invocation.cwd(), file)];
  // Each of them ends it, and it writes its last block then. Ctrl+C the terminal sends to both, which does no harm.
  return await runProgram([...command, ...into], { passed: ['SIGINT', 'SIGTERM', 'SIGHUP'] });
};

/** The words of tapyard-tap. @throws TapyardError NO_SUCH_NIC, GUEST_STATE */
async function commandFor(connection: Connection, invocation: Invocation): Promise<string[]> {
  const { tables } = connection.client;
  const lab = await labOf(connection, invocation);
  const scope = (await rowsOf(connection, tables.labs)).find((each) => each.name === lab)?.scope;
  return [
    ownProgram('tapyard-tap'),
    'capture',
    '--netd',
    netdSocket(scope ?? 'private', lab),
    '--lab',
    lab,
    await interfaceOf(connection, invocation, lab),
  ];
}

/** Of a guest its NIC's tap; any other word is an interface, of which netd knows whether it is the lab's. */
async function interfaceOf(connection: Connection, invocation: Invocation, lab: string): Promise<string> {
  const [name = ''] = invocation.arguments;
  const { nic: given } = invocation.options;
  const guest = (await rowsOf(connection, connection.client.tables.guests)).find(
    (each) => each.lab === lab && each.name === name,
  );
  if (guest === undefined) {
    if (given === undefined) return name;
    throw new TapyardError('NO_SUCH_GUEST', `The lab ${lab} has no guest “${name}” with NICs.`, {
      hint: 'An interface is captured without --nic. Guests: tapyard ls',
      subject: `${lab}/${name}`,
    });
  }
  const index = Number(given ?? 0);
  const nic = Number.isInteger(index) ? guest.nics[index] : undefined;
  const subject = `${lab}/${name}`;
  if (nic === undefined)
    throw new TapyardError(
      'NO_SUCH_NIC',
      `The guest ${name} has no NIC eth${safeLine(String(given ?? 0))}.`,
      {
        hint: guest.nics.length === 0 ? 'It has none at all.' : `It has eth0 to eth${guest.nics.length - 1}.`,
        subject,
      },
    );
  if (nic.tap === null)
    throw new TapyardError('GUEST_STATE', `${name} is ${guest.state}, so eth${index} has no tap.`, {
      hint: `tapyard start ${name}`,
      subject,
    });
  return nic.tap;
}
