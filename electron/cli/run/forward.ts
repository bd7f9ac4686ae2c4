// SPDX-License-Identifier: Apache-2.0
import type { Connection } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import { type Listening, listeningText, Port } from '../../contract/lab-file.ts';
import { Ipv4 } from '../../contract/names.ts';
import type { ForwardRow } from '../../contract/rows.ts';
import type { Invocation, Run } from '../commands.ts';
import { Mirror, rowsOf } from '../mirror.ts';
import { labOf } from '../select-lab.ts';
import { adviceText, columns, printJson, safeLine } from '../terminal.ts';

/** How long a forward may take until it listens or fails, ms. */
const settleDeadline = 5000;

/** Where it listens and where it leads, as `ssh -L` writes it. */
const wayText = ({ target, to, guest, way, ...at }: ForwardRow): string =>
  `${listeningText(at)} -> ${guest}${target === null ? '' : ` (${target})`}:${to}${way === 'rule' ? ' by rule' : ''}`;

const waitsFor: Readonly<Partial<Record<ForwardRow['state'], string>>> = {
  waiting: '  once the lab is up and the guest has an address',
  blocked: '  once NAT of its network is on',
};

/** The table of forwards for people. */
export function forwardsText(forwards: readonly ForwardRow[]): string {
  if (forwards.length === 0) return 'No forwards. One is made with: tapyard forward GUEST PORT GUEST_PORT\n';
  const table = columns([
    ['LISTENS ON', 'GUEST', 'PORT', 'WAY', 'STATE', 'FLOWS'],
    ...forwards.map((row) =>
      [
        listeningText(row),
        row.guest,
        String(row.to),
        row.way,
        row.state,
        row.flows === null ? '-' : String(row.flows),
      ].map(safeLine),
    ),
  ]);
  const errors = forwards.flatMap((row) =>
    row.error === null
      ? []
      : [
          `${safeLine(`${listeningText(row)}: ${row.error.message} [${row.error.code}]`)}\n`,
          adviceText(row.error, '  '),
        ],
  );
  return table + errors.join('');
}

export const run: Run = async (invocation) => {
  const { terminal, options } = invocation;
  const [guest, port, to] = invocation.arguments;
  const address = Ipv4.safeParse(options['address'] ?? '127.0.0.1');
  if (!address.success)
    throw new TapyardError('USAGE', `${safeLine(String(options['address']))} is not an IPv4 address.`);
  return invocation.core(async (connection) => {
    const lab = await labOf(connection, invocation);
    if (guest === undefined) {
      const forwards = await forwardsOf(connection, lab);
      if (options['json'] === true) printJson(terminal, forwards);
      else terminal.out(forwardsText(forwards));
      return 0;
    }
    if (port === undefined)
      throw new TapyardError('USAGE', 'Which port of this computer? tapyard forward GUEST PORT [GUEST_PORT]');
    const protocol = options['udp'] === true ? 'udp' : 'tcp';
    const at: Listening = { address: address.data, port: portOf(port), protocol };
    if (options['remove'] === true) {
      await connection.client.forward.remove({ lab, guest, ...at });
      if (options['json'] === true) printJson(terminal, { lab, guest, ...at, removed: true });
      else terminal.out(`${listeningText(at)} no longer leads to ${guest}.\n`);
      return 0;
    }
    return await add(connection, invocation, { lab, guest, ...at, to: portOf(to ?? port) });
  });
};

interface NewForward extends Listening {
  readonly lab: string;
  readonly guest: string;
  readonly to: number;
}

async function add(
  connection: Connection,
  { terminal, options }: Invocation,
  { lab, guest, ...forward }: NewForward,
): Promise<number> {
  await connection.client.forward.add({ lab, guest, forward });
  const mirror = await Mirror.open(connection, connection.client.tables.forwards);
  const own = (rows: readonly ForwardRow[]): ForwardRow | undefined =>
    rows.find((row) => row.lab === lab && listeningText(row) === listeningText(forward));
  // One that waits does so for its lab, which may be down for long.
  await mirror.until((rows) => (own(rows)?.to === forward.to ? true : undefined), settleDeadline);
  const row = own(mirror.list());
  mirror.close();
  if (row?.state === 'failed' && row.error !== null) throw TapyardError.fromData(row.error);
  if (options['json'] === true) printJson(terminal, row ?? null);
  else if (row) terminal.out(`${wayText(row)}${waitsFor[row.state] ?? ''}\n`);
  return 0;
}

async function forwardsOf(connection: Connection, lab: string): Promise<ForwardRow[]> {
  const rows = await rowsOf(connection, connection.client.tables.forwards);
  return rows.filter((row) => row.lab === lab).sort((a, b) => a.port - b.port);
}

/** Throws USAGE. */
function portOf(word: string): number {
  const port = Port.safeParse(/^[0-9]+$/.test(word) ? Number(word) : undefined);
  if (port.success) return port.data;
  throw new TapyardError('USAGE', `${safeLine(word)} is not a port from 1 to 65535.`);
}
