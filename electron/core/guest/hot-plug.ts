// SPDX-License-Identifier: Apache-2.0
import { ErrorData, TapyardError } from '../../contract/error.ts';
import { z } from '../../contract/zod.ts';
import { runProgram } from '../host/process.ts';
import { ownProgram } from '../host/programs.ts';
import { shapeWord } from './launch.ts';
import type { Machine } from './machine.ts';
import type { GuestSpec, HeldTap, NicSpec } from './spec.ts';

/*
 * NICs that come to a QEMU that runs, and go. Its NIC number n is the netdev netn and the device nicn in the port
 * portn (argv.ts). The tap is handed over by tapyard-tap on a monitor of its own, as Node can send no descriptor and
 * one that QEMU got belongs to the monitor that it came by; the device is added here.
 */

/** tapyard-tap gives up by itself before; this is for one that hangs. */
const tapDeadlineMs = 20_000;

const Report = z.union([
  z.object({
    tap: z.object({
      tap: z.string(),
      ifindex: z.number().int(),
      steps: z.array(z.object({ id: z.string(), ms: z.number(), changed: z.boolean() })),
    }),
  }),
  z.object({ error: z.object(ErrorData.shape) }),
]);

const Peripherals = z.array(z.looseObject({ name: z.string() }));

/** How many NICs a QEMU with this command line has a place for. */
export const portCount = (argv: readonly string[]): number =>
  argv.filter((word) => /^pcie-root-port,id=port\d+,/.test(word)).length;

/** The lowest number that no NIC of a QEMU has. Throws NO_FREE_PORT. */
export function freeNumber(guest: string, argv: readonly string[], taps: readonly HeldTap[]): number {
  const ports = portCount(argv);
  const used = new Set(taps.map(({ nic }) => nic));
  for (let number = 0; number < ports; number++) if (!used.has(number)) return number;
  throw new TapyardError(
    'NO_FREE_PORT',
    `${guest} has no free port for one more NIC: all ${ports} are in use.`,
    {
      hint: 'Shut it down first. With its next start it has new ones.',
      subject: guest,
    },
  );
}

/** Hands QEMU a tap for NIC `number`. Throws what netd says of a NIC, QMP_FAILED, DEADLINE, NETD_MISSING. */
export async function giveTap(
  { lab, name, netdSocket }: GuestSpec,
  nic: Omit<NicSpec, 'index'>,
  number: number,
  monitor: string,
): Promise<HeldTap> {
  const { network, mac, tap, shape } = nic;
  const words = ['plug', '--netd', netdSocket, '--qmp', monitor, '--lab', lab, '--guest', name];
  words.push('--nic', String(number), '--network', network, '--mac', mac, '--tap', tap);
  if (shape) words.push('--shape', shapeWord(shape));
  const { stdout, stderr } = await runProgram(ownProgram('tapyard-tap'), words, {
    deadlineMs: tapDeadlineMs,
  });
  const report = Report.safeParse(parseLine(stdout));
  if (!report.success)
    throw new TapyardError('INTERNAL', `tapyard-tap reported nothing: ${stderr.slice(0, 500)}`, {
      hint: 'In a checkout run: npm run setup. In an installation, install the package again.',
    });
  if ('error' in report.data) throw TapyardError.fromData(report.data.error);
  return { nic: number, network, mac, fd: null, ...report.data.tap };
}

/** Adds the device to the netdev that {@link giveTap} has made. Throws QMP_FAILED, DEADLINE. */
export async function addDevice(machine: Machine, { nic, mac }: HeldTap): Promise<void> {
  await machine.execute('device_add', {
    driver: 'virtio-net-pci',
    id: `nic${nic}`,
    bus: `port${nic}`,
    netdev: `net${nic}`,
    mac,
    romfile: '',
  });
}

/** Takes a netdev away, and with it the tap; none is fine. */
export async function dropNetdev(machine: Machine, number: number): Promise<void> {
  await machine.execute('netdev_del', { id: `net${number}` }).catch(() => undefined);
}

/** The number of the NIC that a DEVICE_DELETED is about; undefined where it is about something else. */
export function deletedNic({
  event,
  data,
}: {
  event: string;
  data: Readonly<Record<string, unknown>>;
}): number | undefined {
  if (event !== 'DEVICE_DELETED' || typeof data['device'] !== 'string') return undefined;
  const number = /^nic(\d+)$/.exec(data['device'])?.[1];
  return number === undefined ? undefined : Number(number);
}

/**
 * What QEMU really has of `taps`: a core that was killed may have given a tap without a device, or not have heard
 * that the guest let go of one. Netdevs without a device are taken away.
 */
export async function trueTaps(
  machine: Machine,
  argv: readonly string[],
  taps: readonly HeldTap[],
): Promise<readonly HeldTap[]> {
  const ports = portCount(argv);
  if (ports === 0) return taps;
  const reply = Peripherals.safeParse(await machine.ask('qom-list', { path: '/machine/peripheral' }));
  if (!reply.success) return taps;
  const devices = new Set(reply.data.map(({ name }) => name));
  const empty = Array.from({ length: ports }, (_, port) => port).filter((port) => !devices.has(`nic${port}`));
  await Promise.all(empty.map((port) => dropNetdev(machine, port)));
  return taps.filter(({ nic }) => devices.has(`nic${nic}`));
}

function parseLine(text: string): unknown {
  try {
    return JSON.parse(text.split('\n', 1)[0] ?? '');
  } catch {
    return undefined;
  }
}
